// rtnl/link_counters.h: what is listed and never written.
#include "rtnl/link_counters.h"

#include "decoder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::one_message(data, size, [](const overns::Message& message) { (void)overns::decode_counters(message); });
  return 0;
}
