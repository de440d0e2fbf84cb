// rtnl/rule.h: what is listed and never written.
#include "rtnl/rule.h"

#include "decoder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::one_message(data, size, [](const overns::Message& message) { (void)overns::decode_rule(message); });
  return 0;
}
