#include "engine/remote_vteps.h"

namespace overns {

std::uint32_t RemoteVteps::number_of(const Ip& ip) {
  if (const auto known = numbers_.find(ip); known != numbers_.end()) return known->second;
  std::uint32_t number;
  if (free_.empty()) {
    number = static_cast<std::uint32_t>(remotes_.size());
    remotes_.emplace_back();
  } else {
    number = free_.back();
    free_.pop_back();
  }
  remotes_[number] = {ip, 0, nullptr};
  numbers_.emplace(ip, number);
  return number;
}

void RemoteVteps::point(std::uint32_t& link, std::uint32_t to) {
  if (link == to) return;
  if (to != 0) ++remotes_[to].users;
  if (link != 0 && --remotes_[link].users == 0) {
    numbers_.erase(remotes_[link].ip);
    free_.push_back(link);
    remotes_[link] = {};
  }
  link = to;
}

}  // namespace overns
