#include "engine/told_macs.h"

namespace overns {

void ToldMacs::keep(const Ip& ip, const Mac& mac) {
  const auto [told, fresh] = macs_.insert(ip);
  told->mac = mac;
  if (!fresh) return;
  order_.push(ip);
  if (order_.size() <= kMost) return;
  const Ip oldest = order_.front();
  order_.pop();
  macs_.erase(oldest);
}

Mac ToldMacs::take(const Ip& ip) {
  const Told* told = macs_.find(ip);
  if (told == nullptr) return {};
  const Mac mac = told->mac;
  macs_.erase(ip);
  return mac;
}

}  // namespace overns
