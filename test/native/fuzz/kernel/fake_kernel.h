// A kernel for fuzzers. The linker (--wrap, see CMakeLists.txt) leads the socket calls of the code under test here, so
// that what runs is what ships: netlink, packet and UDP sockets are queues which the fuzzer fills, requests are
// answered well or badly as it decides, and the clock stands still until told.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "base/address.h"
#include "netlink/message.h"
#include "rtnl/neighbor.h"

namespace fake {

enum class Role : std::uint8_t { kCommand, kMisses, kLinks, kHostLinks, kArp, kNd, kPunt, kSender, kDeparted, kHints };

constexpr std::int32_t kBridge = 2;
constexpr std::int32_t kVxlan = 4;
constexpr std::uint32_t kVni = 42;

struct Datagram {
  std::vector<std::uint8_t> bytes;
  std::size_t length = 0;  // as the kernel says; more than there are bytes: it was cut
  std::uint32_t from = 0;  // port id: 0 = the kernel
  int error = 0;           // instead of all that
};

class Kernel {
 public:
  static Kernel& get();

  // No sockets, an overlay with a bridge, a vxlan device and one container, and a host with its lo up. `decide` says of
  // each request how it is answered: 0, also when there is nothing left to decide by, is well.
  void reset(std::function<std::uint8_t()> decide, std::function<overns::Bytes()> bytes);
  void deliver(Role role, Datagram datagram);
  void drop_misses(std::uint32_t count);  // and tell of it (ENOBUFS)
  void advance(std::uint64_t nanoseconds);
  std::uint64_t now();
  std::uint32_t punt_vni();  // what packets for unknown MACs bear; 0: there is no row
  std::size_t open_sockets();

  // What the code under test did; called with the bytes.
  std::function<void(const overns::Message&)> on_request;
  std::function<void(overns::Bytes)> on_frame;
  std::function<void(overns::Bytes, const overns::Ip&, std::uint16_t)> on_forward;
  std::function<void(overns::Bytes)> on_redirect;

  // A link of the overlay as RTM_NEWLINK (or RTM_DELLINK) tells it.
  static std::vector<std::uint8_t> link_message(std::uint16_t type, std::int32_t index, const char* name,
                                                const char* kind, const char* alias, std::uint32_t mtu, bool up,
                                                std::uint32_t vni);

  // For the wrapped calls only.
  struct Socket {
    Role role = Role::kCommand;
    bool netlink = false;
    std::deque<Datagram> queue;
  };
  Socket* find(int fd);
  int open(int domain);
  void close(int fd);
  void join(int fd, std::uint32_t group);
  void bind_packet(int fd, std::uint16_t protocol);
  bool sent(int fd, overns::Bytes bytes);  // false: refused
  bool pop(int fd, Datagram& datagram);
  std::uint32_t drops();
  // The index that vxlan1 is listed under from now on.
  void set_vxlan(std::int32_t index);
  std::recursive_mutex mutex;  // the reactor has a thread of its own

 private:
  void answer(int fd, const overns::Message& request);
  void answer_well(int fd, const overns::Message& request, bool interrupted);
  void acknowledge(int fd, std::uint32_t sequence, std::int32_t error);
  void reply(int fd, std::vector<std::uint8_t> bytes, std::uint32_t sequence, std::uint16_t flags);
  void put(int fd, Datagram datagram);
  int apply(const overns::NeighborEntry& entry, bool removed);

  std::map<int, Socket> sockets_;
  std::map<overns::Ip, overns::Mac> neighbors_;
  std::map<overns::Mac, overns::Ip> fdb_;
  struct Punt {
    std::uint16_t port = 0;
    std::uint32_t vni = 0;
  };
  std::map<overns::Ip, Punt> punts_;
  std::function<std::uint8_t()> decide_;
  std::function<overns::Bytes()> bytes_;
  std::uint64_t now_ = 0;
  std::uint32_t drops_ = 0;
  std::int32_t vxlan_ = kVxlan;
  std::size_t udp_ = 0;
};

}  // namespace fake
