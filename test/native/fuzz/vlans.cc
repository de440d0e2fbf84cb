// rtnl/bridge_vlan.h: what is listed and never written.
#include "rtnl/bridge_vlan.h"

#include "decoder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::one_message(data, size, [](const overns::Message& message) {
    std::vector<overns::BridgeVlan> told;
    overns::decode_vlans(message, told);
  });
  return 0;
}
