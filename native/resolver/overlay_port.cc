#include "resolver/overlay_port.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "netlink/socket.h"
#include "netns/socket.h"
#include "rtnl/address.h"
#include "rtnl/miss_filter.h"
#include "rtnl/neighbor.h"

namespace overns {
namespace {

constexpr int kTapBuffer = 4 << 20;
constexpr Nanoseconds kPuntRetry = 1'000'000'000;
constexpr int kMaxRounds = 16;  // of reading packets, before other overlays get their turn

Status bind_tap(int fd, std::int32_t bridge, std::uint16_t protocol) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(protocol);
  address.sll_ifindex = bridge;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return system_failure("bind", "tap");
  return done();
}

// A packet socket on the bridge: sees the frames that the bridge passes up, which are the flooded ones, at no cost to
// the data path.
Result<UniqueFd> open_tap(const std::string& netns, std::int32_t bridge, std::uint16_t protocol,
                          const sock_fprog& filter) {
  // Protocol 0: deaf until the filter is in place.
  auto fd = open_socket(netns, AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
  if (!fd) return fd;
  if (setsockopt(fd->get(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0)
    return system_failure("setsockopt", "SO_ATTACH_FILTER");
  set_receive_buffer(fd->get(), kTapBuffer);
  if (Status bound = bind_tap(fd->get(), bridge, protocol); !bound) return bound.failure();
  return fd;
}

Result<UniqueFd> open_arp_tap(const std::string& netns, std::int32_t bridge) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ETH_HLEN + 6),  // ar_op
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 128),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  return open_tap(netns, bridge, ETH_P_ARP, {sizeof code / sizeof code[0], code});
}

Result<UniqueFd> open_nd_tap(const std::string& netns, std::int32_t bridge) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETH_HLEN + 6),  // next header
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 58, 0, 3),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETH_HLEN + 40),  // ICMPv6 type
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 135, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 256),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  return open_tap(netns, bridge, ETH_P_IPV6, {sizeof code / sizeof code[0], code});
}

std::string text_of(const Failure& failure) { return failure.message.empty() ? failure.call : failure.message; }

}  // namespace

Nanoseconds monotonic_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<Nanoseconds>(now.tv_sec) * 1'000'000'000 + static_cast<Nanoseconds>(now.tv_nsec);
}

// --- opening ---------------------------------------------------------------------------------------------------

Result<std::unique_ptr<OverlayPort>> OverlayPort::open(std::uint32_t id, const OverlayPortOptions& options) {
  auto command = CommandSocket::open(options.netns);
  if (!command) return command.failure();
  std::unique_ptr<OverlayPort> port(new OverlayPort(id, options, std::move(*command)));
  if (Status status = port->start(); !status) return status.failure();
  return port;
}

Status OverlayPort::start() {
  auto vxlan = link_index(command_, options_.link);
  if (!vxlan) return vxlan.failure();
  auto bridge = link_index(command_, options_.bridge);
  if (!bridge) return bridge.failure();
  vxlan_ = *vxlan;
  bridge_ = *bridge;
  engine_ = std::make_unique<MissEngine>(options_.engine, *this);

  // Events before the dumps: what changes meanwhile is then told.
  const std::uint32_t groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR};
  auto link_events = open_event_socket(options_.netns, {groups, 1 << 20, {}});
  if (!link_events) return link_events.failure();
  link_events_ = std::move(*link_events);
  const std::uint32_t neigh_group[] = {RTNLGRP_NEIGH};
  auto miss = open_event_socket(options_.netns, {neigh_group, options_.receive_buffer, miss_filter()});
  if (!miss) return miss.failure();
  miss_ = std::move(*miss);
  auto arp = open_arp_tap(options_.netns, bridge_);
  if (!arp) return arp.failure();
  arp_tap_ = std::move(*arp);
  auto nd = open_nd_tap(options_.netns, bridge_);
  if (!nd) return nd.failure();
  nd_tap_ = std::move(*nd);

  const Status host = watch_host();
  if (Status status = read_addresses(); !status) return status;
  if (Status status = read_links(); !status) return status;
  if (Status status = adopt_neighbors(); !status) return status;
  if (!options_.punt) {
    no_punt_ = "switched off";
  } else if (Status status = host ? open_punt() : host.failure(); !status) {
    // Without it L2 misses are still notified and answered; the packets before the answer are lost.
    no_punt_ = text_of(status.failure());
    punt_.reset();
  }
  // One that an earlier agent left behind keeps the kernel from notifying.
  if (!punt_row_) remove_left_rows(command_, vxlan_, loopback_of(options_.engine.vtep));
  return done();
}

// Without the host's namespace nothing is known of it but the VTEP.
Status OverlayPort::watch_host() {
  if (!options_.punt && options_.host_netns.empty()) return done();
  const std::uint32_t groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR};
  auto host_events = open_event_socket(options_.host_netns, {groups, 1 << 20, {}});
  if (!host_events) return host_events.failure();
  auto host = CommandSocket::open(options_.host_netns);
  if (!host) return host.failure();
  host_events_ = std::move(*host_events);
  host_command_ = std::move(*host);
  return read_host_addresses();
}

Status OverlayPort::read_host_addresses() {
  RequestBatch batch;
  encode_get_addresses(batch, 0, AF_UNSPEC);
  auto dump = host_command_->dump(batch);
  if (!dump) return dump.failure();
  host_addresses_.clear();
  MessageReader reader(dump->bytes);
  while (const auto message = reader.next()) see_host_address(*message);
  tell_host();
  return done();
}

bool OverlayPort::see_host_address(const Message& message) {
  const auto address = decode_address(message);
  if (!address || address->ip.empty()) return false;
  const auto key = std::tuple(address->index, address->ip, address->prefix);
  if (message.header.nlmsg_type == RTM_DELADDR) return host_addresses_.erase(key) > 0;
  std::vector<Ip> reserved;
  constexpr unsigned kNoNetwork = 31;  // RFC 3021: from here on both ends are hosts
  if (address->ip.is_v4() && address->prefix < kNoNetwork) {
    Ip network = address->peer.is_v4() ? address->peer : address->ip;
    Ip broadcast = network;
    for (unsigned bit = address->prefix; bit < 32; ++bit) {
      const auto mask = static_cast<std::uint8_t>(0x80U >> (bit % 8));
      network.bytes[bit / 8] &= static_cast<std::uint8_t>(~mask);
      broadcast.bytes[bit / 8] |= mask;
    }
    reserved = {network, broadcast};
  }
  if (address->broadcast.is_v4()) reserved.push_back(address->broadcast);
  return host_addresses_.insert_or_assign(key, std::move(reserved)).second;
}

void OverlayPort::tell_host() {
  std::set<Ip> addresses;
  std::set<Ip> reserved;
  for (const auto& [key, more] : host_addresses_) {
    addresses.insert(std::get<Ip>(key));
    reserved.insert(more.begin(), more.end());
  }
  engine_->set_host(std::move(addresses), std::move(reserved));
}

Status OverlayPort::open_punt() {
  if (Status status = disable_local_bypass(command_, vxlan_); !status) return status;
  auto punt = PuntSocket::open(options_.host_netns, options_.engine.vtep, vxlan_port_, vni_);
  if (!punt) return punt.failure();
  punt_ = std::move(*punt);

  RequestBatch batch;
  encode_get_link(batch, 0, "lo");
  auto answer = host_command_->query(batch);
  if (!answer) return answer.failure();
  MessageReader reader(*answer);
  const auto message = reader.next();
  const auto lo = message ? decode_link(*message) : std::nullopt;
  if (!lo || (lo->flags & IFF_UP) == 0) {
    no_punt_ = "the host's lo is down";
    return done();  // it may come up
  }
  lo_up_ = true;
  Status status = add_punt_row(command_, vxlan_, *punt_);
  punt_row_ = status.ok();
  return status;
}

void OverlayPort::close_punt() {
  constexpr int kTries = 5;
  constexpr timespec kPause{0, 2'000'000};
  for (int i = 0; punt_ && punt_row_ && i < kTries; ++i) {
    if (remove_punt_row(command_, vxlan_, *punt_)) break;
    nanosleep(&kPause, nullptr);
  }
  punt_row_ = false;
}

// Puts the row there, or back; tried again in a while when the kernel refuses it.
void OverlayPort::place_punt() {
  punt_row_ = punt_ && add_punt_row(command_, vxlan_, *punt_).ok();
  punt_again_ = punt_row_ ? 0 : monotonic_now() + kPuntRetry;
}

Nanoseconds OverlayPort::expire() {
  const Nanoseconds now = monotonic_now();
  if (punt_again_ != 0 && now >= punt_again_) {
    punt_again_ = 0;
    if (punt_ && !punt_row_ && !lost_ && lo_up_) place_punt();
  }
  const Nanoseconds next = engine_->expire(now);
  if (punt_again_ == 0) return next;
  return next == 0 ? punt_again_ : std::min(next, punt_again_);
}

std::vector<std::pair<int, OverlayPort::Source>> OverlayPort::descriptors() const {
  std::vector<std::pair<int, Source>> open{
      {miss_.get(), kMisses}, {arp_tap_.get(), kArp}, {nd_tap_.get(), kNd}, {link_events_.get(), kLinks}};
  if (punt_) open.emplace_back(punt_->fd(), kPackets);
  if (host_events_.valid()) open.emplace_back(host_events_.get(), kHost);
  return open;
}

Status OverlayPort::read_links() {
  RequestBatch batch;
  encode_get_link(batch, 0, {});
  auto dump = command_.dump(batch);
  if (!dump) return dump.failure();
  std::vector<Link> links;
  MessageReader reader(dump->bytes);
  while (const auto message = reader.next()) {
    if (auto link = decode_link(*message)) links.push_back(std::move(*link));
  }
  // What is not there has gone without a word, or with one that was lost.
  const auto absent = [&](std::int32_t index) {
    return !dump->interrupted && std::ranges::none_of(links, [&](const Link& link) { return link.index == index; });
  };
  std::vector<std::int32_t> gone(local_links_.begin(), local_links_.end());
  for (const auto& [index, mac] : own_links_) gone.push_back(index);
  if (!lost_) gone.push_back(vxlan_);
  for (const std::int32_t index : gone) {
    if (!absent(index)) continue;
    Link link;
    link.index = index;
    see_link(link, true);
  }
  for (const Link& link : links) see_link(link, false);
  return done();
}

Status OverlayPort::read_addresses() {
  RequestBatch batch;
  encode_get_addresses(batch, 0, AF_UNSPEC);
  auto dump = command_.dump(batch);
  if (!dump) return dump.failure();
  auto before = std::exchange(own_addresses_, {});
  MessageReader reader(dump->bytes);
  while (const auto message = reader.next()) see_address(*message);
  for (const auto& [index, ips] : before) tell_own(index);
  return done();
}

void OverlayPort::see_address(const Message& message) {
  const auto address = decode_address(message);
  if (!address || address->ip.empty()) return;
  auto& ips = own_addresses_[address->index];
  if (message.header.nlmsg_type == RTM_DELADDR) {
    ips.erase(address->ip);
  } else {
    ips.insert(address->ip);
  }
  tell_own(address->index);
}

// Frames for the bridge itself, or for its ports, are for nobody else.
void OverlayPort::tell_own(std::int32_t link) {
  const auto own = own_links_.find(link);
  std::vector<Ip> ips;
  if (own != own_links_.end() && link == bridge_) ips.assign(own_addresses_[link].begin(), own_addresses_[link].end());
  engine_->set_own(link, ips, own != own_links_.end() ? own->second : Mac{});
}

Status OverlayPort::adopt_neighbors() {
  for (const std::uint8_t family : {AF_INET, AF_INET6}) {
    RequestBatch batch;
    encode_get_neighbors(batch, family, vxlan_, 0);
    auto dump = command_.dump(batch);
    if (!dump) return dump.failure();
    MessageReader reader(dump->bytes);
    while (const auto message = reader.next()) {
      const auto entry = decode_neighbor(*message);
      if (entry && entry->index == vxlan_ && entry->state == NUD_PERMANENT && entry->mac && entry->ip.is_unicast())
        engine_->adopt(entry->ip, *entry->mac, monotonic_now());
    }
  }
  return done();
}

// --- reading ---------------------------------------------------------------------------------------------------

int OverlayPort::pump(std::uint8_t sources, DatagramBatch& buffer, DatagramBatch& packets) {
  // First: what is local must be known before a miss for it is answered.
  if ((sources & kLinks) != 0) read_link_events(buffer);
  if ((sources & kHost) != 0) read_host_events(buffer);
  int read = (sources & kMisses) != 0 ? read_misses(buffer) : 0;
  // The entries are programmed before the requests are read: these have arrived by then, and are replayed at once.
  const MissEngine::Answered answered = engine_->program();
  if (answered.v4 || (sources & kArp) != 0) read += read_taps(buffer, arp_tap_.get(), true);
  if (answered.v6 || (sources & kNd) != 0) read += read_taps(buffer, nd_tap_.get(), false);
  engine_->confirm();
  engine_->flush();
  if (punt_ && (sources & kPackets) != 0) {
    // What came while the entry was being programmed leaves before anything else is done.
    for (int round = 0; round < kMaxRounds && read_packets(packets) > 0; ++round) engine_->flush();
  }
  return read;
}

int OverlayPort::read_packets(DatagramBatch& packets) {
  packets.resize(packet_size_);  // the MTU may have grown
  const int got = packets.receive(punt_->fd());
  if (got <= 0) return 0;
  const Nanoseconds at = monotonic_now();
  for (int i = 0; i < got; ++i) {
    if (packets.truncated(i)) continue;
    const auto punted = parse_vxlan_packet(packets.datagram(i));
    if (!punted || punted->vni != punt_->secret()) continue;
    write_vni(packets.bytes(i), vni_);
    engine_->on_packet(punted->destination, punted->packet, at);
  }
  punt_->send();
  return got;
}

bool OverlayPort::is_punt_row(const Message& message) const {
  const auto entry = decode_neighbor(message);
  return entry && entry->index == vxlan_ && entry->mac && entry->mac->is_zero() && punt_ &&
         entry->ip == punt_->address() && entry->port == punt_->port() && entry->vni == punt_->secret();
}

void OverlayPort::read_host_events(DatagramBatch& buffer) {
  bool incomplete = false;
  bool changed = false;
  for (;;) {
    const int got = buffer.receive(host_events_.get());
    if (got < 0 && errno == ENOBUFS) {
      incomplete = true;
      continue;
    }
    if (got <= 0) {
      if (incomplete) {
        (void)read_host_addresses();
      } else if (changed) {
        tell_host();
      }
      return;
    }
    for (int i = 0; i < got; ++i) {
      if (!buffer.from_kernel(i)) continue;
      incomplete = incomplete || buffer.truncated(i);
      MessageReader reader(buffer.datagram(i));
      while (const auto message = reader.next()) {
        if (message->header.nlmsg_type == RTM_NEWADDR || message->header.nlmsg_type == RTM_DELADDR) {
          changed = see_host_address(*message) || changed;
          continue;
        }
        if (!punt_) continue;
        const auto link = decode_link(*message);
        if (!link || link->name != "lo" || message->header.nlmsg_type != RTM_NEWLINK) continue;
        const bool up = (link->flags & IFF_UP) != 0;
        lo_up_ = up;
        if (up && !punt_row_ && !lost_) {
          place_punt();
        } else if (!up && punt_row_) {
          // Nothing arrives over a lo that is down: better the kernel's notifications than silence.
          close_punt();
        }
      }
    }
  }
}

int OverlayPort::read_misses(DatagramBatch& buffer) {
  const int got = buffer.receive(miss_.get());
  if (got < 0) {
    if (errno != ENOBUFS) return 0;
    count_drops();
    congested_ = true;
    return 1;
  }
  const Nanoseconds at = monotonic_now();
  for (int i = 0; i < got; ++i) {
    if (!buffer.from_kernel(i) || buffer.truncated(i)) continue;
    MessageReader reader(buffer.datagram(i));
    while (const auto message = reader.next()) {
      if (message->header.nlmsg_type == RTM_DELNEIGH) {
        // Somebody has flushed the FDB: the punt is put back.
        if (punt_row_ && !lost_ && is_punt_row(*message)) place_punt();
        continue;
      }
      const auto miss = decode_miss(*message);
      if (!miss || miss->index != vxlan_) continue;
      engine_->on_miss(miss->is_l3() ? AskKey::of(miss->ip) : AskKey::of(miss->mac), at);
    }
  }
  // Until its queue is empty a socket that overflowed is given nothing, without another error (NETLINK_S_CONGESTED).
  if (congested_ && got < static_cast<int>(DatagramBatch::kCount)) {
    congested_ = false;
    count_drops();
  }
  return got;
}

void OverlayPort::count_drops() {
  const std::uint32_t drops = socket_drops(miss_.get());
  if (drops != drops_) engine_->on_overrun(drops - drops_, monotonic_now());
  drops_ = drops;
}

int OverlayPort::read_taps(DatagramBatch& buffer, int fd, bool arp) {
  const int got = buffer.receive(fd);
  if (got <= 0) return 0;
  const Nanoseconds at = monotonic_now();
  for (int i = 0; i < got; ++i) {
    const Bytes frame = buffer.datagram(i);
    const auto request = arp ? parse_arp_request(frame) : parse_neighbor_solicitation(frame);
    if (request) engine_->on_request(*request, at);
  }
  return got;
}

void OverlayPort::read_link_events(DatagramBatch& buffer) {
  bool incomplete = false;
  for (;;) {
    const int got = buffer.receive(link_events_.get());
    if (got < 0 && errno == ENOBUFS) {
      incomplete = true;
      continue;
    }
    if (got <= 0) {
      if (!incomplete) return;
      // Only now: until its queue is empty a socket that overflowed is given nothing, without another error
      // (NETLINK_S_CONGESTED), and what is queued is older than a dump.
      incomplete = false;
      (void)read_addresses();
      (void)read_links();  // a failure leaves what is known; the next event tells more
      continue;
    }
    for (int i = 0; i < got; ++i) {
      if (!buffer.from_kernel(i)) continue;
      incomplete = incomplete || buffer.truncated(i);
      MessageReader reader(buffer.datagram(i));
      while (const auto message = reader.next()) {
        const std::uint16_t type = message->header.nlmsg_type;
        if (type == RTM_NEWADDR || type == RTM_DELADDR) {
          see_address(*message);
        } else if (const auto link = decode_link(*message)) {
          see_link(*link, type == RTM_DELLINK);
        }
      }
    }
  }
}

// An event may be older than the dump that told of the device's end.
bool OverlayPort::is_there(const Link& link) {
  auto index = link_index(command_, link.name);
  return index.ok() ? *index == link.index : index.failure().error != ENODEV;
}

void OverlayPort::see_link(const Link& link, bool gone) {
  if (link.family == AF_BRIDGE) return;
  if (!gone && link.index == vxlan_) {
    packet_size_ = std::max(packet_size_, vxlan_packet_size(link.mtu));
    for (const AttributeValue& value : link.info) {
      const auto* number = std::get_if<std::uint64_t>(&value.value);
      if (number != nullptr && value.policy->type == IFLA_VXLAN_ID) vni_ = static_cast<std::uint32_t>(*number);
      if (number != nullptr && value.policy->type == IFLA_VXLAN_PORT) vxlan_port_ = static_cast<std::uint16_t>(*number);
    }
  }
  if (gone && link.index == vxlan_ && !lost_) {
    lost_ = true;
    engine_->forget_programmed();
    EngineEvent event;
    event.kind = EventKind::kOverlayLost;
    event.at = monotonic_now();
    emit(event);
  } else if (!gone && lost_ && link.name == options_.link && link.kind == "vxlan" && is_there(link)) {
    lost_ = false;
    vxlan_ = link.index;
    punt_row_ = false;
    if (punt_ && lo_up_ && disable_local_bypass(command_, vxlan_)) place_punt();
    EngineEvent event;
    event.kind = EventKind::kOverlayBack;
    event.at = monotonic_now();
    emit(event);
  }
  if (!gone && link.name == options_.bridge && link.kind == "bridge" && link.index != bridge_) {
    // A new bridge in the place of the one that was listened on.
    bridge_ = link.index;
    (void)bind_tap(arp_tap_.get(), bridge_, ETH_P_ARP);
    (void)bind_tap(nd_tap_.get(), bridge_, ETH_P_IPV6);
  }
  const bool own =
      !gone && link.mac && !link.mac->is_zero() &&
      (link.index == bridge_ || link.index == vxlan_ || link.master == static_cast<std::uint32_t>(bridge_));
  if (own) own_links_[link.index] = *link.mac;
  if (own || own_links_.erase(link.index) > 0) tell_own(link.index);
  const auto endpoint = gone ? std::nullopt : parse_endpoint_alias(link.alias);
  if (endpoint) {
    local_links_.insert(link.index);
    engine_->set_local(link.index, endpoint->ips, endpoint->mac);
  } else if (local_links_.erase(link.index) > 0) {
    engine_->set_local(link.index, {}, Mac{});
  }
}

// --- EngineOutput ----------------------------------------------------------------------------------------------

void OverlayPort::program(std::span<const KernelEntry> items, std::span<int> errors) {
  // All but the last chunk are seen through here; its answers can wait until the requests have been replayed.
  constexpr std::size_t kChunk = CommandSocket::kDeferred / 2;
  for (std::size_t at = 0; at < items.size(); at += kChunk) {
    confirm();
    const std::size_t count = std::min(kChunk, items.size() - at);
    submit(items.subspan(at, count), errors.subspan(at, count));
  }
}

void OverlayPort::submit(std::span<const KernelEntry> items, std::span<int> errors) {
  batch_.clear();
  for (const KernelEntry& item : items) {
    NeighborEntry entry;
    entry.index = vxlan_;
    if (!item.ip.empty()) {
      // PERMANENT: a REACHABLE one decays to STALE, after which requests are dropped and no miss fires. Its TTL is
      // kept by the engine.
      entry.family = item.ip.family;
      entry.state = NUD_PERMANENT;
      entry.ip = item.ip;
      entry.mac = item.mac;
      encode_neighbor(batch_, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, entry);
    }
    // REACHABLE (`dynamic`): the kernel may learn a move and age it out; a PERMANENT one would black-hole the moved
    // MAC.
    entry.family = AF_BRIDGE;
    entry.state = NUD_REACHABLE;
    entry.flags = NTF_SELF;
    entry.ip = item.vtep;
    entry.mac = item.mac;
    encode_neighbor(batch_, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, entry);
  }
  if (const Status status = command_.submit(batch_); !status) {
    std::fill(errors.begin(), errors.end(), status.failure().error);
    return;
  }
  submitted_ = items;
  outcome_ = errors;
}

void OverlayPort::confirm() {
  if (submitted_.empty()) return;
  const Status status = command_.collect(batch_, answers_);
  std::size_t request = 0;
  for (std::size_t i = 0; i < submitted_.size(); ++i) {
    outcome_[i] = status ? 0 : status.failure().error;
    const std::size_t count = submitted_[i].ip.empty() ? 1 : 2;
    for (std::size_t k = 0; k < count; ++k, ++request) {
      const auto& answer = answers_[request];
      // EEXIST: the kernel has learned the same meanwhile.
      if (answer && answer->error != EEXIST && outcome_[i] == 0) outcome_[i] = answer->error;
    }
  }
  submitted_ = {};
}

void OverlayPort::withdraw(std::span<const AskKey> keys, std::span<int> errors) {
  confirm();  // one conversation at a time
  batch_.clear();
  for (const AskKey& key : keys) {
    NeighborEntry entry;
    entry.index = vxlan_;
    if (key.is_l3()) {
      entry.family = key.kind;
      entry.ip = key.ip();
    } else {
      entry.family = AF_BRIDGE;
      entry.flags = NTF_SELF;
      entry.mac = key.mac();
    }
    encode_neighbor(batch_, RTM_DELNEIGH, 0, entry);
  }
  const Status status = command_.execute(batch_, answers_);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const int error = !status ? status.failure().error : answers_[i] ? answers_[i]->error : 0;
    // ENOENT is what is wanted, and a device that is gone has taken its entries along.
    errors[i] = error == ENOENT || error == ENODEV ? 0 : error;
  }
}

void OverlayPort::withdraw_vtep(const Ip& vtep) {
  confirm();
  batch_.clear();
  FdbFlush flush;
  flush.match.family = AF_BRIDGE;
  flush.match.index = vxlan_;
  flush.match.flags = NTF_SELF;
  flush.match.ip = vtep;
  encode_flush_fdb(batch_, flush);
  (void)command_.execute(batch_, answers_);
}

void OverlayPort::replay(Bytes frame) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = vxlan_;
  std::memcpy(&address.sll_protocol, frame.data() + std::size_t{2} * ETH_ALEN, sizeof address.sll_protocol);
  // A full transmit queue loses a frame that the asker repeats in a second, as any Ethernet may.
  (void)sendto(arp_tap_.get(), frame.data(), frame.size(), MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&address),
               sizeof address);
}

void OverlayPort::forward(Bytes packet, const Ip& vtep) {
  if (punt_) punt_->forward(packet, vtep);
}

void OverlayPort::send_forwarded() {
  if (punt_) punt_->send();
}

void OverlayPort::look_up(const AskKey& key, std::uint32_t token, Nanoseconds miss_at) {
  turn_->lookups.push_back({id_, key, token, miss_at});
}

void OverlayPort::emit(const EngineEvent& event) {
  const auto bit = 1U << static_cast<unsigned>(event.kind);
  if (turn_ != nullptr && (options_.wanted->load(std::memory_order_relaxed) & bit) != 0)
    turn_->events.push_back({id_, event});
}

// --- aliases ---------------------------------------------------------------------------------------------------

std::optional<EndpointAlias> parse_endpoint_alias(std::string_view alias) {
  constexpr std::string_view kPrefix = "overns ";
  if (!alias.starts_with(kPrefix)) return std::nullopt;
  alias.remove_prefix(kPrefix.size());
  const std::size_t space = alias.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const auto mac = Mac::parse(alias.substr(0, space));
  if (!mac) return std::nullopt;
  EndpointAlias endpoint;
  endpoint.mac = *mac;
  std::string_view list = alias.substr(space + 1);
  list = list.substr(0, list.find(' '));
  while (!list.empty()) {
    const std::string_view item = list.substr(0, list.find(','));
    const auto ip = Ip::parse(item.substr(0, item.find('/')));
    if (!ip) return std::nullopt;
    endpoint.ips.push_back(*ip);
    list.remove_prefix(std::min(item.size() + 1, list.size()));
  }
  if (endpoint.ips.empty()) return std::nullopt;
  return endpoint;
}

}  // namespace overns
