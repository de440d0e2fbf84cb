#include "rtnl/miss_filter.h"

#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace overns {
namespace {

// Classic BPF runs on the first message of each datagram; multicast notifications come one to a datagram. Its loads are
// big-endian where netlink is host order, so a type is compared as the bytes lie: `wire` swaps on a little-endian host.
constexpr std::uint32_t wire(std::uint16_t value) {
  return std::endian::native == std::endian::little ? static_cast<std::uint32_t>((value & 0xff) << 8 | value >> 8)
                                                    : value;
}

constexpr std::uint32_t kAttributes = NLMSG_HDRLEN + sizeof(ndmsg);
constexpr std::uint32_t kNetnsid = NLA_HDRLEN + sizeof(std::int32_t);

constexpr sock_filter kFilter[] = {
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(nlmsghdr, nlmsg_type)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wire(RTM_GETNEIGH), 11, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wire(RTM_DELNEIGH), 0, 11),
    // NDA_LLADDR comes first, or behind NDA_LINK_NETNSID; X = where.
    BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 0),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, kAttributes + offsetof(nlattr, nla_type)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wire(NDA_LINK_NETNSID), 0, 1),
    BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, kNetnsid),
    BPF_STMT(BPF_LD | BPF_H | BPF_IND, kAttributes + offsetof(nlattr, nla_type)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wire(NDA_LLADDR), 0, 5),
    BPF_STMT(BPF_LD | BPF_W | BPF_IND, kAttributes + NLA_HDRLEN),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
    BPF_STMT(BPF_LD | BPF_H | BPF_IND, kAttributes + NLA_HDRLEN + 4),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

// Little-endian hosts have the states that are looked at in the first byte of ndm_state.
constexpr std::uint32_t kState = NLMSG_HDRLEN + offsetof(ndmsg, ndm_state) + (std::endian::native == std::endian::big);
constexpr std::uint32_t kDecayed = NUD_STALE | NUD_DELAY | NUD_PROBE;

constexpr sock_filter kChangesFirst[] = {
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(nlmsghdr, nlmsg_type)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wire(RTM_NEWNEIGH), 0, 9),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NLMSG_HDRLEN + offsetof(ndmsg, ndm_family)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_BRIDGE, 2, 0),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kState),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kDecayed, 3, 4),
    // Of br0 without NTF_SELF; written by the resolver with NTF_EXT_LEARNED, where vxlan does not learn.
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NLMSG_HDRLEN + offsetof(ndmsg, ndm_flags)),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, NTF_SELF | NTF_EXT_LEARNED),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NTF_SELF, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

constexpr auto kWithChanges = [] {
  std::array<sock_filter, std::size(kChangesFirst) + std::size(kFilter)> both{};
  std::copy(std::begin(kFilter), std::end(kFilter),
            std::copy(std::begin(kChangesFirst), std::end(kChangesFirst), both.begin()));
  return both;
}();

}  // namespace

std::span<const sock_filter> miss_filter() { return kFilter; }

std::span<const sock_filter> miss_and_change_filter() { return kWithChanges; }

bool has_decayed(const NeighborEntry& entry) {
  return entry.family != AF_BRIDGE && (entry.flags & NTF_PROXY) == 0 && (entry.state & (kDecayed | NUD_FAILED)) != 0;
}

}  // namespace overns
