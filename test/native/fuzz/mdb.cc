// rtnl/mdb.h: what is listed and never written.
#include "rtnl/mdb.h"

#include "decoder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::one_message(data, size, [](const overns::Message& message) {
    std::vector<overns::MdbEntry> told;
    overns::decode_mdb(message, told);
  });
  return 0;
}
