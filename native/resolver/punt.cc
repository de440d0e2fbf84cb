#include "resolver/punt.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "engine/frame.h"
#include "netns/proc_files.h"
#include "netns/socket.h"
#include "rtnl/link.h"
#include "rtnl/link_attributes.h"
#include "rtnl/neighbor.h"

namespace overns {
namespace {

constexpr int kBuffer = 16 << 20;
constexpr std::size_t kVxlanHeader = 8;
constexpr std::uint8_t kValidVni = 0x08;
constexpr int kMaxRows = 16;
constexpr std::size_t kVniOffset = 4;
// Below lie ports of old and well-known services. The others are tried in random order.
constexpr int kFirstPort = 600;
constexpr int kLastPort = 1023;
// UDP services above it: ipmi, ipp, ldaps, tinc, heartbeat, kerberos, DNS over QUIC, FTPS, telnets, IMAPS, POP3S.
constexpr std::uint16_t kServices[] = {623, 631, 636, 655, 664, 694, 749, 750, 853, 989, 990, 992, 993, 995};

socklen_t socket_address(const Ip& ip, std::uint16_t port, sockaddr_storage& address) {
  address = {};
  if (ip.is_v4()) {
    auto* in = reinterpret_cast<sockaddr_in*>(&address);
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    std::memcpy(&in->sin_addr, ip.bytes.data(), 4);
    return sizeof *in;
  }
  auto* in6 = reinterpret_cast<sockaddr_in6*>(&address);
  in6->sin6_family = AF_INET6;
  in6->sin6_port = htons(port);
  std::memcpy(&in6->sin6_addr, ip.bytes.data(), 16);
  return sizeof *in6;
}

// `device`: what its packets leave through, as a VRF, whose addresses nobody else can bind; 0: what the routes say.
Result<UniqueFd> open_udp(const std::string& netns, const Ip& ip, std::uint32_t device) {
  auto fd = open_socket(netns, ip.family, SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO_UDP);
  if (!fd) return fd;
  const int index = static_cast<int>(device);
  if (index != 0 && setsockopt(fd->get(), SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof index) != 0)
    return system_failure("setsockopt", "SO_BINDTOIFINDEX");
  sockaddr_storage address;
  const socklen_t length = socket_address(ip, 0, address);
  if (bind(fd->get(), reinterpret_cast<sockaddr*>(&address), length) != 0)
    return system_failure("bind", ip.to_string());
  return fd;
}

// Lets only what has the secret into the buffer. For a UDP socket the filter sees the packet from the UDP header on.
Status attach_filter(int fd, std::uint32_t secret) {
  constexpr std::uint32_t kUdpHeader = 8;
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kUdpHeader + kVniOffset),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, secret << 8, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog program{sizeof code / sizeof code[0], code};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
    return system_failure("setsockopt", "SO_ATTACH_FILTER");
  return done();
}

Result<std::uint32_t> random_number() {
  std::uint32_t number = 0;
  if (getrandom(&number, sizeof number, 0) != sizeof number) return system_failure("getrandom");
  return number;
}

// Bound to a port that is free and not everybody's.
Result<std::uint16_t> bind_privileged(int fd, const std::string& netns, const Ip& address) {
  auto first_unprivileged = read_number_sysctl(netns, "ipv4/ip_unprivileged_port_start");
  if (!first_unprivileged) return first_unprivileged.failure();
  const std::vector<std::uint16_t> ports = punt_ports(*first_unprivileged);
  if (ports.empty()) {
    return Failure{EACCES,
                   "bind",
                   "everybody may bind every port here (net.ipv4.ip_unprivileged_port_start is " +
                       std::to_string(*first_unprivileged) + ")",
                   {},
                   {}};
  }
  auto start = random_number();
  if (!start) return start.failure();
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::uint16_t port = ports[(*start + i) % ports.size()];
    sockaddr_storage name;
    const socklen_t length = socket_address(address, port, name);
    if (bind(fd, reinterpret_cast<sockaddr*>(&name), length) == 0) return port;
    if (errno == EACCES) return Failure{EACCES, "bind", "a port below 1024 needs CAP_NET_BIND_SERVICE", {}, {}};
    if (errno != EADDRINUSE) return system_failure("bind", address.to_string());
  }
  return Failure{EADDRINUSE, "bind", "all ports from 600 to 1023 are in use", {}, {}};
}

NeighborEntry punt_row(std::int32_t index, const Ip& address, std::uint16_t port, std::optional<std::uint32_t> vni) {
  NeighborEntry entry;
  entry.family = AF_BRIDGE;
  entry.index = index;
  entry.state = NUD_PERMANENT;
  entry.flags = NTF_SELF;
  entry.mac = Mac{};
  entry.ip = address;
  entry.port = port;
  entry.vni = vni;
  return entry;
}

}  // namespace

std::optional<PuntedPacket> parse_vxlan_packet(Bytes packet) {
  if (packet.size() < kVxlanHeader + ETH_HLEN || (packet[0] & kValidVni) == 0) return std::nullopt;
  PuntedPacket punted;
  punted.vni = static_cast<std::uint32_t>(packet[4] << 16 | packet[5] << 8 | packet[6]);
  punted.destination = *Mac::from(packet.subspan(kVxlanHeader, ETH_ALEN));
  punted.target = ip_destination(packet.subspan(kVxlanHeader));
  punted.packet = packet;
  return punted;
}

void write_vni(std::span<std::uint8_t> packet, std::uint32_t vni) {
  packet[kVniOffset] = static_cast<std::uint8_t>(vni >> 16);
  packet[kVniOffset + 1] = static_cast<std::uint8_t>(vni >> 8);
  packet[kVniOffset + 2] = static_cast<std::uint8_t>(vni);
}

std::vector<std::uint16_t> punt_ports(int first_unprivileged) {
  std::vector<std::uint16_t> ports;
  for (int port = kFirstPort; port <= kLastPort && port < first_unprivileged; ++port) {
    if (std::ranges::find(kServices, port) == std::end(kServices)) ports.push_back(static_cast<std::uint16_t>(port));
  }
  return ports;
}

Ip loopback_of(const Ip& vtep) { return *Ip::parse(vtep.is_v4() ? "127.0.0.1" : "::1"); }

std::size_t vxlan_packet_size(std::uint32_t mtu) {
  constexpr std::size_t kHeaders = 64;  // VXLAN, Ethernet, and room
  return std::min<std::size_t>(mtu, UINT16_MAX - kHeaders) + kHeaders;
}

Result<PuntSocket> PuntSocket::open(const std::string& host_netns, const Ip& vtep, std::uint16_t vxlan_port,
                                    std::uint32_t vni, std::uint32_t device) {
  PuntSocket punt;
  punt.address_ = loopback_of(vtep);
  punt.vxlan_port_ = vxlan_port;
  do {
    auto random = random_number();
    if (!random) return random.failure();
    punt.secret_ = *random >> 8;
  } while (punt.secret_ == 0 || punt.secret_ == vni);
  auto listener = open_socket(host_netns, vtep.family, SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO_UDP);
  if (!listener) return listener.failure();
  // Before it can receive anything.
  if (Status status = attach_filter(listener->get(), punt.secret_); !status) return status.failure();
  set_receive_buffer(listener->get(), kBuffer);
  auto port = bind_privileged(listener->get(), host_netns, punt.address_);
  if (!port) return port.failure();
  punt.port_ = *port;
  punt.listener_ = std::move(*listener);

  // From the VTEP's own address: the peer learns the outer source.
  auto sender = open_udp(host_netns, vtep, device);
  if (!sender) return sender.failure();
  const int size = kBuffer;
  if (setsockopt(sender->get(), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
    setsockopt(sender->get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  if (vtep.is_v4()) {
    const int dont = IP_PMTUDISC_DONT;  // as vxlan sends by default: DF unset
    setsockopt(sender->get(), IPPROTO_IP, IP_MTU_DISCOVER, &dont, sizeof dont);
  }
  punt.sender_ = std::move(*sender);
  return punt;
}

void PuntSocket::forward(Bytes packet, const Ip& vtep) {
  if (queued_ == kCount) send();
  parts_[queued_] = {const_cast<std::uint8_t*>(packet.data()), packet.size()};
  socket_address(vtep, vxlan_port_, to_[queued_]);
  ++queued_;
}

void PuntSocket::send() {
  if (queued_ == 0) return;
  std::array<mmsghdr, kCount> messages{};
  for (unsigned i = 0; i < queued_; ++i) {
    messages[i].msg_hdr.msg_iov = &parts_[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = &to_[i];
    messages[i].msg_hdr.msg_namelen = address_.is_v4() ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  }
  unsigned done = 0;
  while (done < queued_) {
    const int sent = sendmmsg(sender_.get(), &messages[done], queued_ - done, 0);
    // One that cannot be sent (no route, a full queue) is lost as it would be on the wire; the others go on.
    done += sent > 0 ? static_cast<unsigned>(sent) : 1;
  }
  queued_ = 0;
}

void remove_left_rows(CommandSocket& command, std::int32_t index, const Ip& address, const PuntSocket* but) {
  // A row to a loopback port is a listener's; without the listener it swallows frames without a word.
  for (int i = 0; i < kMaxRows; ++i) {
    const auto left = find_fdb_entry(command, index, Mac{});
    if (!left || left->ip != address || !left->port) return;
    if (but != nullptr && *left->port == but->port() && left->vni == but->secret()) return;
    RequestBatch batch;
    encode_neighbor(batch, RTM_DELNEIGH, 0, punt_row(index, left->ip, *left->port, left->vni));
    if (!command.execute(batch)) return;
  }
}

Status add_punt_row(CommandSocket& command, std::int32_t index, const PuntSocket& punt, bool beside) {
  if (!beside) remove_left_rows(command, index, punt.address(), &punt);
  RequestBatch batch;
  encode_neighbor(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND,
                  punt_row(index, punt.address(), punt.port(), punt.secret()));
  Status status = command.execute(batch);
  // Ours already: told of its removal, which is of before it was put back.
  if (!status && status.failure().error == EEXIST) return done();
  return status;
}

Status remove_punt_row(CommandSocket& command, std::int32_t index, const PuntSocket& punt) {
  RequestBatch batch;
  encode_neighbor(batch, RTM_DELNEIGH, 0, punt_row(index, punt.address(), punt.port(), punt.secret()));
  Status status = command.execute(batch);
  // Gone already is as good, and so is the device.
  if (!status && (status.failure().error == ENOENT || status.failure().error == ENODEV)) return done();
  return status;
}

Status disable_local_bypass(CommandSocket& command, std::int32_t index) {
  LinkSpec spec;
  spec.kind = "vxlan";
  spec.index = index;
  for (const AttributePolicy& policy : info_policies("vxlan")) {
    if (std::string_view(policy.name) == "localbypass") spec.info.push_back({&policy, std::uint64_t{0}});
  }
  RequestBatch batch;
  encode_link(batch, spec, 0);
  if (Status status = command.execute(batch); !status) return status;
  // A kernel that does not know the attribute ignores it.
  RequestBatch query;
  encode_get_link(query, index, {});
  auto answer = command.query(query);
  if (!answer) return answer.failure();
  MessageReader reader(*answer);
  const auto message = reader.next();
  const auto link = message ? decode_link(*message) : std::nullopt;
  if (link) {
    for (const AttributeValue& value : link->info) {
      if (std::string_view(value.policy->name) == "localbypass" && std::get<std::uint64_t>(value.value) == 0)
        return done();
    }
  }
  return Failure{EOPNOTSUPP, "RTM_NEWLINK", "localbypass needs Linux 6.4", {}, {}};
}

}  // namespace overns
