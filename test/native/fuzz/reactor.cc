// resolver/reactor.h: the resolver thread itself, awake as the fake kernel's sockets become readable.
#include "resolver/reactor.h"

#include <linux/rtnetlink.h>

#include <condition_variable>

#include "kernel/overlay_story.h"

using namespace overns;

namespace {

class Threaded final : public fuzz::OverlayStory::Server {
 public:
  Threaded() { fuzz::require(reactor_.start().ok(), "a thread"); }

  void add(std::shared_ptr<OverlayPort> port) override {
    id_ = port->id();
    fuzz::require(reactor_.add(port).ok(), "the port is served");
  }
  void run(std::function<void(OverlayPort&)> task) override {
    reactor_.post(id_, std::move(task));
    settle();
  }
  void pump(std::uint8_t) override { settle(); }
  void take(std::vector<OutLookup>& lookups) override {
    reactor_.take(box_);
    lookups.insert(lookups.end(), box_.lookups.begin(), box_.lookups.end());
  }
  void remove() override {
    reactor_.remove(id_);
    reactor_.stop();
  }

 private:
  // The thread has been through a whole turn: what was readable has been read, and answered.
  void settle() {
    for (int i = 0; i < 2; ++i) {
      std::mutex mutex;
      std::condition_variable condition;
      bool passed = false;
      reactor_.post(id_, [&](OverlayPort&) {
        const std::lock_guard lock(mutex);
        passed = true;
        condition.notify_one();
      });
      std::unique_lock lock(mutex);
      condition.wait(lock, [&] { return passed; });
    }
  }

  Reactor reactor_{[] {}};
  Outbox box_;
  std::uint32_t id_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Threaded server;
  fuzz::OverlayStory(fuzz::Input(Bytes(data, size)), server).play();
  return 0;
}
