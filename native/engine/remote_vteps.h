// The other hosts that endpoints are on. They are few and repeat, so an endpoint holds a number; what belongs to a
// host as a whole has its place here, and goes with the last endpoint that leads to it.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/address.h"

namespace overns {

struct RemoteVtep {
  Ip ip;
  std::uint32_t users = 0;      // slots of the endpoint table that lead to it
  const char* fault = nullptr;  // why nothing may be programmed that leads to it; static text
};

class RemoteVteps {
 public:
  // The number of a VTEP, made if need be; it stays as long as it has users. Number 0 is none.
  std::uint32_t number_of(const Ip& ip);
  const RemoteVtep& operator[](std::uint32_t number) const { return remotes_[number]; }
  std::size_t size() const { return numbers_.size(); }

  // Lets `link`, a slot's number, lead to another VTEP; 0: to none.
  void point(std::uint32_t& link, std::uint32_t to);

  template <class Visit>
  void for_each(Visit visit) {
    for (const auto& [ip, number] : numbers_) visit(remotes_[number]);
  }

 private:
  std::vector<RemoteVtep> remotes_{RemoteVtep{}};
  std::map<Ip, std::uint32_t> numbers_;
  std::vector<std::uint32_t> free_;
};

}  // namespace overns
