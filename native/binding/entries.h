// Neighbour and FDB commands as records of fixed size, written by lib/rtnl/entry-encoder.ts.
#pragma once

#include <span>
#include <string>
#include <string_view>
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
  std::uint16_t link;  // number of a link
  std::uint16_t via;   // kNoLink
  std::uint32_t nexthop;
  std::uint32_t source_vni;  // kNoVni
  std::uint8_t protocol;
  std::uint8_t extended_flags;  // NTF_EXT_*
  std::uint8_t activity;        // FDB_NOTIFY_*
  std::uint8_t unused;

  static constexpr std::uint32_t kNoVni = 0xffffffff;
  static constexpr std::uint16_t kNoLink = 0xffff;
};
static_assert(sizeof(EntryRecord) == 52);

struct EntryFailure {
  std::size_t index;
  Failure failure;
};

// Makes each of `count` records from `first` on a copy of the one before it, with the MAC and the IP that two lines of
// the text say, or leaves it as it is where both are empty. False when there is anything else in the text, and what the
// records then hold means nothing.
bool read_addresses(std::span<std::uint8_t> records, std::size_t first, std::size_t count, std::string_view text);

// The index of a link that is given by its name, its index or both, which then have to agree: a row as it was listed
// must not be written to another link. For a deletion the index is enough, once nothing has the name.
Result<std::int32_t> resolve_link(CommandSocket& socket, const LinkRef& link, bool deletion);

// Sends the records in order; the failures among them, by index.
Result<std::vector<EntryFailure>> send_entries(CommandSocket& socket, bool fdb, Bytes records,
                                               const std::vector<LinkRef>& links);

}  // namespace overns
