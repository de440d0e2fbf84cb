// One overlay as the resolver thread holds it: its sockets, and the engine that decides.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "engine/miss_engine.h"
#include "netlink/command_socket.h"
#include "resolver/datagram_batch.h"
#include "resolver/endpoint_alias.h"
#include "resolver/entry_writer.h"
#include "resolver/host_addresses.h"
#include "resolver/punt.h"
#include "resolver/redirect_tap.h"
#include "rtnl/link.h"
#include "rtnl/neighbor.h"

namespace overns {

Nanoseconds monotonic_now();

struct OverlayPortOptions {
  std::string netns;  // path of the overlay's namespace
  std::string link = "vxlan1";
  std::string bridge = "br0";
  std::string host_netns;         // path of the host's namespace; empty: the caller's
  bool punt = true;               // catch the packets of L2 misses
  bool beside = false;            // another one serves the overlay still, until alone() is called
  int receive_buffer = 16 << 20;  // of the miss socket, bytes
  // Which kinds of event are told, bits 1 << EventKind; may change at any time.
  std::shared_ptr<std::atomic<std::uint32_t>> wanted = std::make_shared<std::atomic<std::uint32_t>>(0);
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

// Work in steps that has ended.
struct Finished {
  std::uint32_t overlay = 0;
  std::size_t missing = 0;  // as the engine counts it then
};

// Events and lookups of the ports of one reactor, gathered for a turn of the loop.
struct Turn {
  std::vector<OutEvent> events;
  std::vector<OutLookup> lookups;
  std::vector<Finished> finished;
};

class OverlayPort final : public EngineOutput {
 public:
  // Opens all sockets and reads what is there. Runs on any thread; afterwards the port belongs to the reactor's.
  static Result<std::unique_ptr<OverlayPort>> open(std::uint32_t id, const OverlayPortOptions& options);
  ~OverlayPort() override { close_punt(); }  // with nobody to read it, the punt would be a hole

  std::uint32_t id() const { return id_; }
  MissEngine& engine() { return *engine_; }
  const EngineCounters& counters() const { return engine_->counters(); }
  std::atomic<std::uint32_t>& wanted() { return *options_.wanted; }
  // Descriptors that there is something to read from, as bits.
  enum Source : std::uint8_t {
    kLinks = 1,
    kMisses = 2,
    kArp = 4,
    kNd = 8,
    kPackets = 16,
    kHost = 32,
    kDeparted = 64,
    kHints = 128
  };
  static constexpr std::uint8_t kAllSources = 255;
  std::vector<std::pair<int, Source>> descriptors() const;
  // Why the packets of L2 misses were lost when it was opened, as the kernel drops them; empty when they were caught.
  const std::string& no_punt() const { return no_punt_; }
  // The other one that served it has let go.
  void alone();
  // Takes the punt away, so that the kernel notifies of L2 misses again.
  void close_punt();
  // Addresses whose entries an earlier agent has kept for as long as they are used, found when it was opened.
  const std::vector<AskKey>& kept() const { return kept_; }
  // The largest packet to make room for, bytes.
  std::size_t packet_size() const { return packet_size_; }

  void bind(Turn* turn) { turn_ = turn; }
  // Reads from the sources given and answers. What is left over stays readable. Returns how many misses and requests
  // were read.
  int pump(std::uint8_t sources, DatagramBatch& buffer, DatagramBatch& packets);
  Nanoseconds expire();
  // There is more to do than one call of pump() does, for which nothing else tells.
  bool busy() const { return engine_->busy(); }

  // EngineOutput
  void program(std::span<const KernelEntry> entries, std::span<int> errors) override {
    writer_.program(entries, errors);
  }
  void confirm() override { writer_.confirm(); }
  void withdraw(std::span<const AskKey> keys, std::span<int> errors) override { writer_.withdraw(keys, errors); }
  int withdraw_vtep(const Ip& vtep) override { return writer_.withdraw_vtep(vtep); }
  bool is_behind_bridge(const Mac& mac) override;
  void replay(Bytes frame) override;
  bool prime(Bytes frame, const Mac& mac, const Ip& vtep) override;
  void announce(const Ip& ip, const Mac& mac) override;
  void set_departed(std::span<const Mac> macs) override;
  void forward(Bytes packet, const Ip& vtep) override;
  void send_forwarded() override;
  void look_up(const AskKey& key, std::uint32_t token, Nanoseconds miss_at) override;
  void emit(const EngineEvent& event) override;
  Nanoseconds now() override { return monotonic_now(); }

 private:
  static constexpr int kMaxRounds = 16;  // of reading from one source, before other overlays get their turn

  OverlayPort(std::uint32_t id, OverlayPortOptions options, CommandSocket command)
      : id_(id), options_(std::move(options)), command_(std::move(command)), beside_(options_.beside) {}

  Status start();
  void set_vxlan(std::int32_t index) {
    vxlan_ = index;
    writer_.set_device(index);
  }
  Status read_links();
  Status read_addresses();
  void apply_address(const Message& message);
  void update_own(std::int32_t link);
  Status watch_host();
  Status read_host_addresses();
  Status adopt_fdb();
  Status adopt_neighbors();
  void apply_learned(const NeighborEntry& entry);
  void remove_decayed(std::span<const AskKey> keys);
  Status open_punt();
  void remove_left_punt();
  void place_punt();
  void tell_punt(const char* reason, int error);
  bool is_lo_up();
  void apply_lo(bool up);
  bool is_punt_row(const Message& message) const;
  int read_packets(DatagramBatch& packets);
  void read_departed();
  int read_hints(DatagramBatch& buffer);
  void read_host_events(DatagramBatch& buffer);
  int read_misses(DatagramBatch& buffer);
  int read_taps(DatagramBatch& buffer, int fd, bool arp);
  void count_drops();
  void read_link_events(DatagramBatch& buffer);
  void apply_link(const Link& link, bool gone);
  bool is_there(const Link& link);

  const std::uint32_t id_;
  const OverlayPortOptions options_;
  CommandSocket command_;
  EntryWriter writer_{command_};
  UniqueFd miss_;
  UniqueFd arp_tap_;  // also sends the replays
  UniqueFd nd_tap_;
  UniqueFd hint_tap_;  // hears of requests that other hosts send on
  std::optional<RedirectTap> redirect_;
  UniqueFd link_events_;
  std::optional<PuntSocket> punt_;
  UniqueFd host_events_;  // the host's addresses; its lo carries the punt
  std::optional<CommandSocket> host_command_;
  HostAddresses host_addresses_;
  bool beside_ = false;
  bool punt_row_ = false;
  bool lo_up_ = false;
  bool punt_told_ = false;      // whether packets are caught, as it was told last
  Nanoseconds punt_again_ = 0;  // when to try again to place its row, 0 = not
  std::string no_punt_;
  std::vector<AskKey> kept_;
  std::size_t packet_size_ = 0;
  std::uint32_t vni_ = 0;
  std::uint16_t vxlan_port_ = 0;
  std::uint32_t vxlan_device_ = 0;  // what vxlan's packets leave through, an index of the host's
  std::int32_t vxlan_ = 0;
  std::int32_t bridge_ = 0;
  std::set<std::int32_t> local_links_;                  // the veths of containers
  std::map<std::int32_t, Mac> own_links_;               // br0, vxlan1 and the ports of br0
  std::map<std::int32_t, std::set<Ip>> own_addresses_;  // by link
  bool lost_ = false;
  bool links_incomplete_ = false;  // events of links have been lost, and are yet to be made good by a listing
  bool host_incomplete_ = false;   // those of the host
  std::uint32_t drops_ = 0;        // of misses, by the kernel
  bool congested_ = false;         // it has dropped some, and may still do so
  Turn* turn_ = nullptr;
  std::unique_ptr<MissEngine> engine_;
};

}  // namespace overns
