// What may happen to an overlay that is served, told by a fuzzer's bytes to the fake kernel; and what must hold of what
// is done about it. The bytes: how the port is opened, a chunk that decides how the kernel answers requests, then
// steps.
#pragma once

#include <algorithm>

#include "../input.h"
#include "engine/frame.h"
#include "fake_kernel.h"
#include "resolver/overlay_port.h"
#include "resolver/prime.h"

namespace fuzz {

// Steps of a story. What they need follows: a chunk (a length in two bytes, and the bytes) for the raw ones.
enum Step : std::uint8_t {
  kMissBytes,
  kArpBytes,
  kNdBytes,
  kPacketBytes,
  kLinkBytes,
  kHostLinkBytes,
  kMiss,     // of a numbered address
  kRequest,  // for a numbered address
  kPacket,   // for a numbered MAC
  kLink,
  kHostLo,
  kPump,
  kAdvance,
  kAnswer,
  kPut,
  kForget,
  kReset,
  kStoreDown,
  kOverrun,
  kCut,
  kForged,
  kDepartedBytes,
  kHintBytes,
  kHint,      // of a numbered address, for another
  kDeparted,  // to a numbered MAC
  kSteps
};

class OverlayStory {
 public:
  // The one who serves the port: the fuzzer itself, or a reactor.
  class Server {
   public:
    virtual ~Server() = default;
    virtual void add(std::shared_ptr<overns::OverlayPort> port) = 0;
    virtual void run(std::function<void(overns::OverlayPort&)> task) = 0;
    virtual void pump(std::uint8_t sources) = 0;
    virtual void take(std::vector<overns::OutLookup>& lookups) = 0;
    virtual void remove() = 0;
  };

  OverlayStory(Input input, Server& server)
      : how_(input.u8()), answers_(input.chunk()), input_(input), server_(server) {}

  void play() {
    fake::Kernel& kernel = fake::Kernel::get();
    kernel.on_request = [this](const overns::Message& message) { check_request(message); };
    kernel.on_frame = [](overns::Bytes frame) {
      require(overns::parse_arp_request(frame) || overns::parse_neighbor_solicitation(frame) || announces(frame),
              "a request is replayed, or a neighbour announced");
    };
    kernel.on_forward = [this](overns::Bytes packet, const overns::Ip& vtep, std::uint16_t) {
      require(overns::parse_vxlan_packet(packet).has_value(), "a VXLAN packet is sent on");
      require(vtep.is_unicast() && vtep != here_ && vtep.family == here_.family, "to another host");
    };
    kernel.on_redirect = [](overns::Bytes bytes) {
      constexpr std::size_t kIpv4 = 14 + 20;
      require(bytes.size() >= kVnetHeader + kIpv4, "a whole packet is sent on");
      require((bytes[kVnetHeader] & 1) == 0, "which is for one alone");
    };
    kernel.reset([this] { return answers_.u8(); }, [this] { return answers_.chunk(); });

    overns::OverlayPortOptions options;
    if ((how_ & 1) != 0) here_ = *overns::Ip::parse("fd10::10");
    options.punt = (how_ & 2) == 0;
    options.engine.vtep = here_;
    options.engine.prime = (how_ & 16) == 0;
    options.engine.max_lookups = (how_ & 4) != 0 ? 2 : 256;
    options.engine.answer_ttl_ms = (how_ & 8) != 0 ? 500 : 60000;
    {
      auto opened = overns::OverlayPort::open(1, options);
      if (opened) {
        std::shared_ptr<overns::OverlayPort> port(std::move(*opened));
        port->wanted() = ~0U;
        server_.add(port);
        while (!input_.empty()) step();
        server_.pump(overns::OverlayPort::kAllSources);
        const auto& stats = port->counters();
        require(stats.forwarded + stats.packets_dropped <= packets_, "no packet is counted twice");
        server_.remove();
      }
    }
    require(kernel.open_sockets() == 0, "no socket is left open");
  }

 private:
  static constexpr std::size_t kVnetHeader = 10;  // virtio_net_hdr, before a frame that may be sent on

  static overns::Ip ip(std::uint8_t number) {
    overns::Ip ip = *overns::Ip::parse((number & 0x80) != 0 ? "fd00::" : "192.168.0.0");
    ip.bytes[ip.is_v4() ? 3 : 15] = number & 0x7f;
    return ip;
  }
  static overns::Mac mac(std::uint8_t number) { return {{2, 0x42, 0xc0, 0xa8, 0, number}}; }
  overns::Ip vtep(std::uint8_t number) const {
    overns::Ip ip = here_;
    ip.bytes[ip.is_v4() ? 3 : 15] = number;
    return ip;
  }

  // Whether the frame is, byte by byte, the announcement of the address and MAC that it names.
  static bool announces(overns::Bytes frame) {
    constexpr std::size_t kArpSender = 14 + 14;
    constexpr std::size_t kIpv6Source = 14 + 8;
    if (frame.size() < kIpv6Source + 16) return false;
    const bool arp = frame[12] == 8 && frame[13] == 6;
    const overns::Ip ip =
        arp ? *overns::Ip::from(frame.subspan(kArpSender, 4)) : *overns::Ip::from(frame.subspan(kIpv6Source, 16));
    const overns::Mac mac = *overns::Mac::from(frame.subspan(6, 6));
    const overns::Announcement expected(ip, mac);
    return ip.is_unicast() && mac.is_unicast() && std::ranges::equal(frame, expected.bytes());
  }

  void deliver(fake::Role role, overns::Bytes bytes) {
    if (role == fake::Role::kPunt) ++packets_;
    fake::Kernel::get().deliver(role, {{bytes.begin(), bytes.end()}});
  }
  void deliver(fake::Role role, const overns::RequestBatch& batch, std::uint16_t type) {
    std::vector<std::uint8_t> bytes(batch.request(0).begin(), batch.request(0).end());
    const nlmsghdr header{static_cast<std::uint32_t>(bytes.size()), type, 0, 0, 0};
    std::memcpy(bytes.data(), &header, sizeof header);
    deliver(role, bytes);
  }

  void miss(std::uint8_t number, bool l3) {
    overns::NeighborEntry entry;
    entry.family = AF_INET;
    entry.index = fake::kVxlan;
    entry.state = NUD_STALE;
    if (l3) {
      entry.ip = ip(number);
    } else {
      entry.mac = mac(number);
    }
    overns::RequestBatch batch;
    encode_neighbor(batch, RTM_GETNEIGH, 0, entry);
    deliver(fake::Role::kMisses, batch, RTM_GETNEIGH);
  }

  void request(std::uint8_t asker, std::uint8_t number) {
    const overns::Ip target = ip(number);
    std::vector<std::uint8_t> frame(target.is_v4() ? 42 : 78);
    const overns::Mac from = mac(asker);
    std::memcpy(frame.data() + 6, from.bytes.data(), 6);
    if (target.is_v4()) {
      const std::uint8_t arp[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 1};
      std::memcpy(frame.data() + 12, arp, sizeof arp);
      std::memcpy(frame.data() + 38, target.bytes.data(), 4);
    } else {
      const std::uint8_t ipv6[] = {0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255};
      std::memcpy(frame.data() + 12, ipv6, sizeof ipv6);
      frame[54] = 135;
      std::memcpy(frame.data() + 62, target.bytes.data(), 16);
    }
    deliver(target.is_v4() ? fake::Role::kArp : fake::Role::kNd, frame);
  }

  void packet(std::uint8_t number, std::uint8_t vni, std::uint16_t size) {
    std::vector<std::uint8_t> bytes(22 + size);
    bytes[0] = 8;
    bytes[6] = vni;
    // As the row has it: what bears another the socket's filter drops.
    if (vni % 8 != 0) overns::write_vni(bytes, fake::Kernel::get().punt_vni());
    const overns::Mac to = mac(number);
    std::memcpy(bytes.data() + 8, to.bytes.data(), 6);
    deliver(fake::Role::kPunt, bytes);
  }

  // As another host's resolver sends it of an ARP request.
  void hint(std::uint8_t asker, std::uint8_t number) {
    std::vector<std::uint8_t> frame(42);
    const overns::Mac from = mac(asker);
    const std::uint8_t arp[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 1};
    std::memcpy(frame.data() + 6, from.bytes.data(), 6);
    std::memcpy(frame.data() + 12, arp, sizeof arp);
    std::memcpy(frame.data() + 22, from.bytes.data(), 6);
    std::memcpy(frame.data() + 28, ip(asker).bytes.data(), 4);
    std::memcpy(frame.data() + 38, ip(number).bytes.data(), 4);
    deliver(fake::Role::kHints, overns::PrimePackets(frame, mac(number), fake::kVni).hint().subspan(8));
  }

  // As another host sends it, in its time to live.
  void departed(std::uint8_t number, std::uint8_t hops) {
    std::vector<std::uint8_t> bytes(kVnetHeader + 54);
    const overns::Mac to = mac(number);
    std::memcpy(bytes.data() + kVnetHeader, to.bytes.data(), 6);
    const std::uint8_t ipv4[] = {8, 0, 0x45};
    std::memcpy(bytes.data() + kVnetHeader + 12, ipv4, sizeof ipv4);
    bytes[kVnetHeader + 14 + 8] = hops;
    deliver(fake::Role::kDeparted, bytes);
  }

  void link(std::uint8_t what, std::uint8_t number) {
    const std::uint16_t type = (what & 1) != 0 ? RTM_DELLINK : RTM_NEWLINK;
    const std::string alias = "overns " + mac(number).to_string() + " " + ip(number).to_string() + "/24 c";
    std::vector<std::uint8_t> bytes;
    switch (what >> 1 & 3) {
      case 0:
        if (type == RTM_NEWLINK) fake::Kernel::get().set_vxlan(fake::kVxlan + (what >> 4 & 1));
        bytes = fake::Kernel::link_message(type, fake::kVxlan + (what >> 4 & 1), "vxlan1", "vxlan", "", number * 100U,
                                           true, fake::kVni + (what >> 3 & 1));
        break;
      case 1:
        bytes =
            fake::Kernel::link_message(type, fake::kBridge + (what >> 4 & 1) * 50, "br0", "bridge", "", 1450, true, 0);
        break;
      default:
        bytes = fake::Kernel::link_message(type, 10 + (what >> 4), "c2", "veth", (what & 8) != 0 ? "" : alias.c_str(),
                                           1450, true, 0);
        break;
    }
    deliver(fake::Role::kLinks, bytes);
  }

  void answer() {
    server_.take(lookups_);
    if (lookups_.empty()) return;
    const std::size_t which = input_.u8() % lookups_.size();
    const overns::OutLookup lookup = lookups_[which];
    lookups_.erase(lookups_.begin() + static_cast<std::ptrdiff_t>(which));
    const auto said = static_cast<overns::LookupResult>(input_.u8() % 4);
    const overns::Mac hardware = mac(input_.u8());
    const overns::Ip where = vtep(input_.u8());
    const std::uint32_t ttl = input_.u16() * 10U;
    server_.run([=](overns::OverlayPort& port) {
      port.engine().on_answer(lookup.token, lookup.key, said, hardware, where, ttl, overns::monotonic_now());
    });
  }

  void step() {
    fake::Kernel& kernel = fake::Kernel::get();
    switch (input_.u8() % kSteps) {
      case kMissBytes: deliver(fake::Role::kMisses, input_.chunk()); break;
      case kArpBytes: deliver(fake::Role::kArp, input_.chunk()); break;
      case kNdBytes: deliver(fake::Role::kNd, input_.chunk()); break;
      case kPacketBytes: deliver(fake::Role::kPunt, input_.chunk()); break;
      case kLinkBytes: deliver(fake::Role::kLinks, input_.chunk()); break;
      case kHostLinkBytes: deliver(fake::Role::kHostLinks, input_.chunk()); break;
      case kMiss: {
        const std::uint8_t number = input_.u8();
        miss(number, input_.u8() % 4 != 3);
        break;
      }
      case kRequest: {
        const std::uint8_t asker = input_.u8();
        request(asker, input_.u8());
        break;
      }
      case kPacket: {
        const std::uint8_t number = input_.u8();
        packet(number, fake::kVni + (input_.u8() & 1), input_.u16() % 9000);
        break;
      }
      case kLink: {
        const std::uint8_t what = input_.u8();
        link(what, input_.u8());
        break;
      }
      case kHostLo: {
        const bool up = (input_.u8() & 1) != 0;
        deliver(fake::Role::kHostLinks, fake::Kernel::link_message(RTM_NEWLINK, 1, "lo", "", "", 65536, up, 0));
        break;
      }
      case kPump: server_.pump(input_.u8()); break;
      case kAdvance:
        kernel.advance(input_.u16() * 1'000'000ULL);
        server_.pump(0);
        break;
      case kAnswer: answer(); break;
      case kPut: {
        const overns::Ip target = ip(input_.u8());
        const overns::Mac hardware = mac(input_.u8());
        const overns::Ip where = vtep(input_.u8());
        server_.run(
            [=](overns::OverlayPort& port) { port.engine().put(target, hardware, where, overns::monotonic_now()); });
        break;
      }
      case kForget: {
        const std::uint8_t number = input_.u8();
        const bool address = (input_.u8() & 1) != 0;
        server_.run([=](overns::OverlayPort& port) {
          if (address) {
            port.engine().forget(ip(number));
          } else {
            port.engine().forget(mac(number));
          }
        });
        break;
      }
      case kReset: {
        const bool believed = (input_.u8() & 1) != 0;
        server_.run([=](overns::OverlayPort& port) {
          port.engine().begin_reset(200);
          while (port.engine().find_missing()) {
          }
          if (!believed) return;
          port.engine().begin_sweep();
          while (port.engine().sweep()) {
          }
        });
        break;
      }
      case kStoreDown: {
        const bool down = (input_.u8() & 1) != 0;
        server_.run([=](overns::OverlayPort& port) { port.engine().set_store_down(down); });
        break;
      }
      case kOverrun: kernel.drop_misses(input_.u8()); break;
      case kCut: {
        // A datagram that did not fit, of any netlink socket.
        const std::uint8_t which = input_.u8();
        const overns::Bytes bytes = input_.chunk();
        const fake::Role roles[] = {fake::Role::kMisses, fake::Role::kLinks, fake::Role::kHostLinks, fake::Role::kPunt};
        if (which % 4 == 3) ++packets_;
        kernel.deliver(roles[which % 4], {{bytes.begin(), bytes.end()}, bytes.size() + 100'000U});
        break;
      }
      case kForged: {
        const std::uint8_t which = input_.u8();
        const overns::Bytes bytes = input_.chunk();
        const fake::Role roles[] = {fake::Role::kMisses, fake::Role::kLinks, fake::Role::kHostLinks};
        kernel.deliver(roles[which % 3], {{bytes.begin(), bytes.end()}, bytes.size(), 4711});
        break;
      }
      case kHintBytes: deliver(fake::Role::kHints, input_.chunk()); break;
      case kHint: {
        const std::uint8_t asker = input_.u8();
        hint(asker, input_.u8());
        break;
      }
      case kDepartedBytes: deliver(fake::Role::kDeparted, input_.chunk()); break;
      case kDeparted: {
        const std::uint8_t number = input_.u8();
        departed(number, input_.u8());
        break;
      }
      default: break;
    }
  }

  void check_request(const overns::Message& message) const {
    require((message.header.nlmsg_flags & NLM_F_REQUEST) != 0, "a request says that it is one");
    const auto entry = decode_neighbor(message);
    if (!entry || message.header.nlmsg_type == RTM_GETNEIGH) return;
    const bool added = message.header.nlmsg_type == RTM_NEWNEIGH;
    if (entry->family != AF_BRIDGE) {
      require(entry->ip.family == entry->family, "a neighbour has an address of its family");
      if (!added) return;
      require(entry->state == NUD_PERMANENT && entry->ip.is_unicast(), "a neighbour that stays, and is one");
      require(entry->mac && entry->mac->is_unicast(), "with the MAC of one");
      return;
    }
    require(entry->mac.has_value(), "an FDB entry has a MAC");
    if (entry->mac->is_zero()) {
      require((entry->port >= 600 && entry->port < 1024 && entry->vni) || !added,
              "packets are punted to a port of the privileged, with a secret");
      return;
    }
    if (!added) return;
    require(entry->mac->is_unicast() && entry->state == NUD_REACHABLE, "an FDB entry that ages, of one MAC");
    require(entry->ip.is_unicast() && entry->ip.family == here_.family && entry->ip != here_, "to another host");
  }

  const std::uint8_t how_;
  Input answers_;  // read by the thread that serves
  Input input_;
  Server& server_;
  overns::Ip here_ = *overns::Ip::parse("10.0.0.10");
  std::vector<overns::OutLookup> lookups_;
  std::uint64_t packets_ = 0;
};

}  // namespace fuzz
