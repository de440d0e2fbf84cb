// One overlay as the resolver thread holds it: its sockets, and the engine that decides.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <linux/if_packet.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "netlink/command_socket.h"
#include "resolver/miss_engine.h"
#include "rtnl/link.h"

namespace overns {

Nanoseconds monotonic_now();

struct OverlayPortOptions {
  std::string netns;  // path of the overlay's namespace
  std::string link = "vxlan1";
  std::string bridge = "br0";
  int receive_buffer = 16 << 20;  // of the miss socket, bytes
  EngineOptions engine;
};

struct OutEvent {
  std::uint32_t overlay = 0;
  EngineEvent event;
};
struct OutLookup {
  std::uint32_t overlay = 0;
  AskKey key;
  std::uint32_t token = 0;
  Nanoseconds miss_at = 0;
};

// What the ports of one reactor hand to its consumer, gathered for a turn of the loop.
struct Turn {
  std::vector<OutEvent> events;
  std::vector<OutLookup> lookups;
};

// Buffers for reading many datagrams in one call; shared by the ports of one reactor.
class DatagramBatch {
 public:
  static constexpr unsigned kCount = 64;
  static constexpr std::size_t kSize = 2048;

  DatagramBatch();
  int receive(int fd);  // recvmmsg without waiting: how many, or -1 with errno
  Bytes datagram(int i) const;
  bool truncated(int i) const;
  // Port id 0: sent by the kernel.
  bool from_kernel(int i) const;

 private:
  std::vector<std::uint8_t> storage_;
  std::array<iovec, kCount> parts_{};
  std::array<sockaddr_storage, kCount> from_{};
  std::array<mmsghdr, kCount> headers_{};
};

class OverlayPort final : public EngineOutput {
 public:
  // Opens all sockets and reads what is there. Runs on any thread; afterwards the port belongs to the reactor's.
  static Result<std::unique_ptr<OverlayPort>> open(std::uint32_t id, const OverlayPortOptions& options);

  std::uint32_t id() const { return id_; }
  MissEngine& engine() { return *engine_; }
  const EngineStats& stats() const { return engine_->stats(); }
  std::atomic<std::uint32_t>& wanted() { return wanted_; }  // bits 1 << EventKind
  std::array<int, 4> descriptors() const { return {miss_.get(), arp_tap_.get(), nd_tap_.get(), link_events_.get()}; }

  void bind(Turn* turn) { turn_ = turn; }
  // Reads all that is there and answers it. False when there may be more: call again soon.
  bool pump(DatagramBatch& buffer);
  Nanoseconds expire() { return engine_->expire(monotonic_now()); }

  // EngineOutput
  void program(std::span<const Programming> items, std::span<int> errors) override;
  void withdraw(const Ip& ip, const Mac& mac) override;
  void replay(Bytes frame) override;
  void look_up(const AskKey& key, std::uint32_t token, Nanoseconds miss_at) override;
  void emit(const EngineEvent& event) override;
  Nanoseconds now() override { return monotonic_now(); }

 private:
  OverlayPort(std::uint32_t id, OverlayPortOptions options, CommandSocket command)
      : id_(id), options_(std::move(options)), command_(std::move(command)) {}

  Status start();
  Status read_links();
  Status adopt_neighbors();
  int read_misses(DatagramBatch& buffer);
  int read_taps(DatagramBatch& buffer, int fd, bool arp);
  void read_link_events(DatagramBatch& buffer);
  void see_link(const Link& link, bool gone);

  const std::uint32_t id_;
  const OverlayPortOptions options_;
  CommandSocket command_;
  UniqueFd miss_;
  UniqueFd arp_tap_;  // also sends the replays
  UniqueFd nd_tap_;
  UniqueFd link_events_;
  std::int32_t vxlan_ = 0;
  std::int32_t bridge_ = 0;
  bool lost_ = false;
  std::uint32_t drops_ = 0;
  std::atomic<std::uint32_t> wanted_{0};
  Turn* turn_ = nullptr;
  RequestBatch batch_;
  std::vector<std::optional<Failure>> answers_;
  std::unique_ptr<MissEngine> engine_;
};

// What overns writes into the alias of a container's veth, `overns MAC IP/LEN[,IP/LEN...] [CONTAINER]`; nothing for
// another alias. The kernel keeps it, so no state file is needed.
struct EndpointAlias {
  Mac mac;
  std::vector<Ip> ips;
};
std::optional<EndpointAlias> parse_endpoint_alias(std::string_view alias);

}  // namespace overns
