// rtnl/nexthop.h: nexthops and groups of them, decoded, encoded and decoded again.
#include "decoder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::decoder("nexthops", data, size);
}
