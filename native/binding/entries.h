// Neighbour and FDB commands as records of fixed size, written by lib/entry-encoder.ts.
#pragma once

#include <string>
#include <vector>

#include "binding/convert.h"

namespace overns {

struct EntryRecord {   // little-endian, like every platform that Node's prebuilds run on
  std::uint8_t verb;   // Verb
  std::uint8_t flags;  // NTF_*
  std::uint16_t state;
  std::uint8_t family;  // of the IP: 4, 6, or 0 = none
  std::uint8_t has_mac;
  std::uint8_t mac[6];
  std::uint8_t ip[16];
  std::uint32_t vni;  // kNoVni
  std::uint16_t port;
  std::uint16_t vlan;
  std::uint16_t link;  // number of a name
  std::uint16_t via;   // kNoLink
  std::uint32_t nexthop;
  std::uint32_t source_vni;  // kNoVni
  std::uint8_t protocol;
  std::uint8_t extended_flags;  // NTF_EXT_*
  std::uint16_t unused;

  static constexpr std::uint32_t kNoVni = 0xffffffff;
  static constexpr std::uint16_t kNoLink = 0xffff;
};
static_assert(sizeof(EntryRecord) == 52);

struct EntryFailure {
  std::size_t index;
  Failure failure;
};

// Sends the records in order; the failures among them, by index.
Result<std::vector<EntryFailure>> send_entries(CommandSocket& socket, bool fdb, Bytes records,
                                               const std::vector<std::string>& links);

}  // namespace overns
