#include "resolver/redirect_tap.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "netns/socket.h"
#include "resolver/tap.h"

namespace overns {
namespace {

constexpr int kTapBytes = 4 << 20;
constexpr std::size_t kVnetHeader = 10;  // virtio_net_hdr of linux/virtio_net.h, which is no C++
constexpr std::size_t kLargestRead = kVnetHeader + ETH_HLEN + (1 << 16);  // what GRO makes of many

// The last four bytes of a MAC tell apart nearly all: who reads the frame looks at the rest.
std::uint32_t tail_of(const Mac& mac) {
  std::uint32_t tail;
  std::memcpy(&tail, mac.bytes.data() + 2, sizeof tail);
  return ntohl(tail);
}

// Replaces the filter at once; without MACs it lets nothing pass.
Status set_filter(int fd, std::span<const Mac> macs) {
  constexpr auto ancillary = [](int what) { return static_cast<std::uint32_t>(SKF_AD_OFF + what); };
  std::vector<sock_filter> code;
  if (!macs.empty()) {
    code = {
        // One of this host's own frames, or one with a VLAN tag, which would be lost on the way.
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ancillary(SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OTHERHOST, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ancillary(SKF_AD_VLAN_TAG_PRESENT)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        // vxlan's proxy would swallow ARP.
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 2 * ETH_ALEN),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2),
    };
  }
  for (std::size_t i = 0; i < macs.size(); ++i) {
    code.push_back(
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, tail_of(macs[i]), static_cast<std::uint8_t>(macs.size() - i), 0));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, 0));
  code.push_back(BPF_STMT(BPF_RET | BPF_K, UINT32_MAX));
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
    return system_failure("setsockopt", "SO_ATTACH_FILTER");
  return done();
}

}  // namespace

Result<RedirectTap> RedirectTap::open(const std::string& netns) {
  RedirectTap tap;
  auto fd = open_socket(netns, AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
  if (!fd) return fd.failure();
  const int on = 1;
  if (setsockopt(fd->get(), SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) != 0)
    return system_failure("setsockopt", "PACKET_VNET_HDR");
  // Spares what this host sends the filter.
  (void)setsockopt(fd->get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
  set_receive_buffer(fd->get(), kTapBytes);
  if (Status status = set_filter(fd->get(), {}); !status) return status.failure();
  tap.fd_ = std::move(*fd);
  return tap;
}

Status RedirectTap::listen(std::int32_t vxlan, std::span<const Mac> macs) {
  if (Status status = set_filter(fd_.get(), macs); !status) return status;
  if (macs.empty()) return done();
  buffer_.resize(kLargestRead);
  if (Status status = bind_tap(fd_.get(), vxlan, ETH_P_ALL); !status) return status;
  vxlan_ = vxlan;
  return done();
}

std::optional<std::span<std::uint8_t>> RedirectTap::receive() {
  size_ = 0;
  if (vxlan_ == 0) return std::nullopt;
  iovec part{buffer_.data(), buffer_.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  ssize_t got;
  do {
    got = recvmsg(fd_.get(), &header, MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return std::nullopt;
  if (got > static_cast<ssize_t>(kVnetHeader) && (header.msg_flags & MSG_TRUNC) == 0)
    size_ = static_cast<std::size_t>(got);
  return std::span(buffer_).subspan(kVnetHeader, size_ == 0 ? 0 : size_ - kVnetHeader);
}

void RedirectTap::send_back() {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = vxlan_;
  std::memcpy(&address.sll_protocol, buffer_.data() + kVnetHeader + std::size_t{2} * ETH_ALEN,
              sizeof address.sll_protocol);
  // A full transmit queue loses it, as any Ethernet may.
  (void)sendto(fd_.get(), buffer_.data(), size_, MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&address),
               sizeof address);
}

}  // namespace overns
