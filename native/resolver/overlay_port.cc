#include "resolver/overlay_port.h"

#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

#include "netlink/socket.h"
#include "resolver/announce.h"
#include "resolver/prime.h"
#include "resolver/tap.h"
#include "rtnl/address.h"
#include "rtnl/miss_filter.h"
#include "rtnl/neighbor.h"

namespace overns {
namespace {

constexpr Nanoseconds kPuntRetry = 1'000'000'000;
constexpr const char* kLoDown = "the host's lo is down";

// What was asked, on what or why not, and what the kernel says.
std::string text_of(const Failure& failure) {
  const std::string about = failure.message.empty() ? failure.call : failure.call + ": " + failure.message;
  return about + ": " + std::generic_category().message(failure.error);
}

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
  set_vxlan(*vxlan);
  bridge_ = *bridge;
  engine_ = std::make_unique<MissEngine>(options_.engine, *this);

  // Events before the dumps: what changes meanwhile is then told.
  const std::uint32_t groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR};
  auto link_events = open_event_socket(options_.netns, {groups, 1 << 20, {}});
  if (!link_events) return link_events.failure();
  link_events_ = std::move(*link_events);
  const std::uint32_t neigh_group[] = {RTNLGRP_NEIGH};
  auto miss = open_event_socket(options_.netns, {neigh_group, options_.receive_buffer, miss_and_change_filter()});
  if (!miss) return miss.failure();
  miss_ = std::move(*miss);
  auto arp = open_arp_tap(options_.netns, bridge_);
  if (!arp) return arp.failure();
  arp_tap_ = std::move(*arp);
  auto nd = open_nd_tap(options_.netns, bridge_);
  if (!nd) return nd.failure();
  nd_tap_ = std::move(*nd);
  if (options_.engine.prime) {
    auto hints = open_hint_tap(options_.netns, vxlan_);
    if (!hints) return hints.failure();
    hint_tap_ = std::move(*hints);
  }
  if (options_.engine.redirect_ms != 0) {
    auto redirect = RedirectTap::open(options_.netns);
    if (!redirect) return redirect.failure();
    redirect_ = std::move(*redirect);
  }

  const Status host = watch_host();
  if (Status status = read_addresses(); !status) return status;
  if (Status status = read_links(); !status) return status;
  if (Status status = adopt_fdb(); !status) return status;
  if (Status status = adopt_neighbors(); !status) return status;
  if (!options_.punt) {
    no_punt_ = "switched off";
  } else if (Status status = host ? open_punt() : host.failure(); !status) {
    // Without it L2 misses are still notified and answered; the packets before the answer are lost.
    no_punt_ = text_of(status.failure());
    punt_.reset();
  }
  if (!beside_) remove_left_punt();
  return done();
}

// A row that an earlier agent left behind keeps the kernel from notifying, and has all copied to nobody.
void OverlayPort::remove_left_punt() {
  remove_left_rows(command_, vxlan_, loopback_of(options_.engine.vtep), punt_row_ ? &*punt_ : nullptr);
}

void OverlayPort::alone() {
  if (!std::exchange(beside_, false) || lost_) return;
  engine_->confirm();  // one conversation at a time
  remove_left_punt();
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
  // A listing that has missed some takes none away: they would be believed as other hosts' VTEPs.
  if (!dump->interrupted) host_addresses_.clear();
  MessageReader reader(dump->bytes);
  while (const auto message = reader.next()) host_addresses_.apply(*message);
  engine_->set_host(host_addresses_.all(), host_addresses_.reserved());
  return done();
}

Status OverlayPort::open_punt() {
  if (Status status = disable_local_bypass(command_, vxlan_); !status) return status;
  auto punt = PuntSocket::open(options_.host_netns, options_.engine.vtep, vxlan_port_, vni_, vxlan_device_);
  if (!punt) return punt.failure();
  punt_ = std::move(*punt);

  lo_up_ = is_lo_up();
  if (!lo_up_) {
    no_punt_ = kLoDown;
    return done();  // it may come up
  }
  Status status = add_punt_row(command_, vxlan_, *punt_, beside_);
  punt_row_ = punt_told_ = status.ok();
  return status;
}

bool OverlayPort::is_lo_up() {
  RequestBatch batch;
  encode_get_link(batch, 0, "lo");
  auto answer = host_command_->query(batch);
  if (!answer) return false;
  MessageReader reader(*answer);
  const auto message = reader.next();
  const auto lo = message ? decode_link(*message) : std::nullopt;
  return lo && (lo->flags & IFF_UP) != 0;
}

// Nothing arrives over a lo that is down: better the kernel's notifications than silence.
void OverlayPort::apply_lo(bool up) {
  lo_up_ = up;
  if (up && !punt_row_ && !lost_) {
    place_punt();
  } else if (!up) {
    close_punt();
    tell_punt(kLoDown, 0);
  }
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
  Status status = disable_local_bypass(command_, vxlan_);
  if (status) status = add_punt_row(command_, vxlan_, *punt_, beside_);
  punt_row_ = status.ok();
  punt_again_ = punt_row_ ? 0 : monotonic_now() + kPuntRetry;
  if (punt_row_) {
    tell_punt(nullptr, 0);
  } else if (status.failure().error != ENODEV) {  // whose end is told by itself
    tell_punt("the kernel refuses the entry that leads them here", status.failure().error);
  }
}

// Tells that packets are caught no longer, or again.
void OverlayPort::tell_punt(const char* reason, int error) {
  const bool caught = reason == nullptr;
  if (caught == punt_told_) return;
  punt_told_ = caught;
  EngineEvent event;
  event.kind = caught ? EventKind::kPuntOn : EventKind::kPuntOff;
  event.reason = reason;
  event.error = error;
  event.at = monotonic_now();
  emit(event);
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
  if (redirect_) open.emplace_back(redirect_->fd(), kDeparted);
  if (hint_tap_.valid()) open.emplace_back(hint_tap_.get(), kHints);
  return open;
}

namespace {

// An entry of a remote endpoint that may be replaced: no static one, which is a hand's, and no punt.
bool is_remote(const NeighborEntry& entry, std::int32_t vxlan) {
  return entry.family == AF_BRIDGE && entry.index == vxlan && (entry.flags & NTF_SELF) != 0 && entry.mac &&
         entry.mac->is_unicast() && !entry.ip.empty() && !entry.port && entry.nexthop == 0 &&
         (entry.state & (NUD_PERMANENT | NUD_NOARP)) == 0;
}

}  // namespace

Status OverlayPort::adopt_fdb() {
  RequestBatch batch;
  encode_get_neighbors(batch, AF_BRIDGE, vxlan_, 0);
  auto dump = command_.dump(batch);
  if (!dump) return dump.failure();
  MessageReader reader(dump->bytes);
  while (const auto message = reader.next()) {
    const auto entry = decode_neighbor(*message);
    if (entry && is_remote(*entry, vxlan_))
      engine_->adopt(*entry->mac, entry->ip, (entry->flags & NTF_EXT_LEARNED) == 0, monotonic_now());
  }
  return done();
}

// A notification may be of before the entry was replaced: what contradicts the store is looked at once more.
void OverlayPort::apply_learned(const NeighborEntry& entry) {
  if (!is_remote(entry, vxlan_)) return;
  Ip vtep = entry.ip;
  if (engine_->contradicts(*entry.mac, vtep)) {
    engine_->confirm();  // one conversation at a time
    const auto now = find_fdb_entry(command_, vxlan_, *entry.mac);
    if (!now || !is_remote(*now, vxlan_)) return;
    vtep = now->ip;
  }
  engine_->on_learned(*entry.mac, vtep, monotonic_now());
}

Status OverlayPort::adopt_neighbors() {
  std::vector<AskKey> decayed;
  for (const std::uint8_t family : {AF_INET, AF_INET6}) {
    RequestBatch batch;
    encode_get_neighbors(batch, family, vxlan_, 0);
    auto dump = command_.dump(batch);
    if (!dump) return dump.failure();
    MessageReader reader(dump->bytes);
    while (const auto message = reader.next()) {
      const auto entry = decode_neighbor(*message);
      if (entry && entry->index == vxlan_ && entry->state == NUD_PERMANENT && entry->mac && entry->ip.is_unicast()) {
        if (!writer_.learning() && engine_->adopt_kept(entry->ip, *entry->mac)) {
          kept_.push_back(AskKey::of(entry->ip));
          kept_.push_back(AskKey::of(*entry->mac));
        } else {
          engine_->adopt(entry->ip, *entry->mac, monotonic_now());
        }
      }
      if (entry && entry->index == vxlan_ && has_decayed(*entry)) decayed.push_back(AskKey::of(entry->ip));
    }
  }
  remove_decayed(decayed);
  return done();
}

// Removes neighbours that keep the kernel from asking: others wrote them, without `permanent`.
void OverlayPort::remove_decayed(std::span<const AskKey> keys) {
  if (keys.empty()) return;
  std::vector<int> errors(keys.size());
  writer_.withdraw(keys, errors);
}

// --- reading ---------------------------------------------------------------------------------------------------

int OverlayPort::pump(std::uint8_t sources, DatagramBatch& buffer, DatagramBatch& packets) {
  // First: what is local must be known before a miss for it is answered.
  if ((sources & kLinks) != 0) read_link_events(buffer);
  if ((sources & kHost) != 0) read_host_events(buffer);
  int read = (sources & kMisses) != 0 ? read_misses(buffer) : 0;
  if (hint_tap_.valid() && (sources & kHints) != 0) read += read_hints(buffer);
  // The entries are programmed before the requests are read: these have arrived by then, and are replayed at once.
  const MissEngine::Answered answered = engine_->program();
  if (answered.v4 || (sources & kArp) != 0) read += read_taps(buffer, arp_tap_.get(), true);
  if (answered.v6 || (sources & kNd) != 0) read += read_taps(buffer, nd_tap_.get(), false);
  engine_->confirm();
  engine_->flush();
  if (punt_ && (sources & kPackets) != 0) {
    // Packets that came while the entry was being programmed leave before anything else is done.
    for (int round = 0; round < kMaxRounds && read_packets(packets) > 0; ++round) engine_->flush();
  }
  if (redirect_ && (sources & kDeparted) != 0) read_departed();
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
    engine_->on_packet(punted->destination, punted->target, punted->packet, at);
  }
  punt_->send();
  return got;
}

void OverlayPort::read_departed() {
  constexpr int kMost = 64;  // before other overlays get their turn
  for (int i = 0; i < kMost; ++i) {
    const auto frame = redirect_->receive();
    if (!frame) return;
    if (engine_->redirect(*frame, monotonic_now())) redirect_->send_back();
  }
}

bool OverlayPort::is_punt_row(const Message& message) const {
  const auto entry = decode_neighbor(message);
  return entry && entry->index == vxlan_ && entry->mac && entry->mac->is_zero() && punt_ &&
         entry->ip == punt_->address() && entry->port == punt_->port() && entry->vni == punt_->secret();
}

void OverlayPort::read_host_events(DatagramBatch& buffer) {
  bool changed = false;
  for (int round = 0; round < kMaxRounds; ++round) {
    const int got = buffer.receive(host_events_.get());
    if (got < 0 && errno == ENOBUFS) {
      host_incomplete_ = true;
      continue;
    }
    if (got <= 0) {
      if (host_incomplete_) {
        host_incomplete_ = false;
        (void)read_host_addresses();
        if (punt_) apply_lo(is_lo_up());
        return;
      }
      break;
    }
    for (int i = 0; i < got; ++i) {
      if (!buffer.from_kernel(i)) continue;
      host_incomplete_ = host_incomplete_ || buffer.truncated(i);
      MessageReader reader(buffer.datagram(i));
      while (const auto message = reader.next()) {
        if (message->header.nlmsg_type == RTM_NEWADDR || message->header.nlmsg_type == RTM_DELADDR) {
          changed = host_addresses_.apply(*message) || changed;
          continue;
        }
        if (!punt_) continue;
        const auto link = decode_link(*message);
        if (link && link->name == "lo" && message->header.nlmsg_type == RTM_NEWLINK)
          apply_lo((link->flags & IFF_UP) != 0);
      }
    }
  }
  if (changed) engine_->set_host(host_addresses_.all(), host_addresses_.reserved());
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
      if (message->header.nlmsg_type == RTM_NEWNEIGH) {
        const auto entry = decode_neighbor(*message);
        if (entry && !lost_) apply_learned(*entry);
        if (entry && entry->index == vxlan_ && !lost_ && has_decayed(*entry)) {
          const AskKey key = AskKey::of(entry->ip);
          remove_decayed({&key, 1});
        }
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

int OverlayPort::read_hints(DatagramBatch& buffer) {
  const int got = buffer.receive(hint_tap_.get());
  if (got <= 0) return 0;
  const Nanoseconds at = monotonic_now();
  for (int i = 0; i < got; ++i) {
    if (const auto request = parse_hint(buffer.datagram(i))) engine_->on_primed(*request, at);
  }
  return got;
}

// --- EngineOutput ----------------------------------------------------------------------------------------------

bool OverlayPort::is_behind_bridge(const Mac& mac) {
  confirm();  // one conversation at a time
  const auto entry = find_fdb_entry(command_, bridge_, mac);
  return entry && entry->index != vxlan_;
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

bool OverlayPort::prime(Bytes frame, const Mac& mac, const Ip& vtep) {
  if (!punt_ || frame.size() > PrimePackets::kMaxFrame) return false;
  const PrimePackets packets(frame, mac, vni_);
  punt_->forward(packets.hint(), vtep);
  punt_->forward(packets.request(), vtep);
  punt_->send();
  return true;
}

void OverlayPort::announce(const Ip& ip, const Mac& mac) { overns::announce(arp_tap_.get(), bridge_, ip, mac); }

void OverlayPort::set_departed(std::span<const Mac> macs) {
  if (!redirect_) return;
  // Where vxlan learns, the new host would take the sender to be here. What the kernel refuses leaves all as without
  // it: lost until the sender hears.
  (void)redirect_->listen(vxlan_, writer_.learning() ? std::span<const Mac>{} : macs);
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

}  // namespace overns
