// engine/miss_engine.h: a story told by the fuzzer, with all that holds in every one of them.
#include "engine_story.h"
#include "input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(overns::Bytes(data, size));
  const std::string wrong =
      support::play_story([&](std::uint32_t bound) { return (bound <= 256 ? input.u8() : input.u16()) % bound; },
                          [&] { return !input.empty(); });
  fuzz::require(wrong.empty(), wrong.c_str());
  return 0;
}
