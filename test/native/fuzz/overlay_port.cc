// resolver/overlay_port.h and all below it, served by the fuzzer itself: no thread, a clock that it sets, and so the
// same again for the same bytes.
#include "resolver/overlay_port.h"

#include <linux/rtnetlink.h>

#include "kernel/overlay_story.h"

using namespace overns;

namespace {

class Direct final : public fuzz::OverlayStory::Server {
 public:
  void add(std::shared_ptr<OverlayPort> port) override {
    port_ = std::move(port);
    port_->bind(&turn_);
    packets_.resize(port_->packet_size());
    pump(OverlayPort::kAllSources);
  }
  void run(std::function<void(OverlayPort&)> task) override {
    task(*port_);
    pump(0);
  }
  void pump(std::uint8_t sources) override {
    port_->pump(sources, buffer_, packets_);
    port_->expire();
    turn_.events.clear();
  }
  void take(std::vector<OutLookup>& lookups) override {
    lookups.insert(lookups.end(), turn_.lookups.begin(), turn_.lookups.end());
    turn_.lookups.clear();
  }
  void remove() override { port_.reset(); }

 private:
  // As a reactor keeps them between its overlays.
  static inline DatagramBatch buffer_;
  static inline DatagramBatch packets_;
  Turn turn_;
  std::shared_ptr<OverlayPort> port_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Direct server;
  fuzz::OverlayStory(fuzz::Input(Bytes(data, size)), server).play();
  return 0;
}
