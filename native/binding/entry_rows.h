// Neighbours, FDB entries and misses on their way to JavaScript: rows of fixed size and one text with all their
// strings, read by lib/rtnl/entry-decoder.ts. A property set through Node-API costs more than the whole row.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "binding/convert.h"

namespace overns {

enum class RowKind : std::uint8_t { kObject, kNeighbor, kFdb, kMiss };
enum class RowAction : std::uint8_t { kListed, kNew, kDelete, kL2Miss, kL3Miss };
// Their names in lib, by number.
inline constexpr std::array kRowKindNames{"object", "neighbor", "fdb", "miss"};
inline constexpr std::array kRowActionNames{"listed", "new", "delete", "l2Miss", "l3Miss"};

struct EntryRow {  // little-endian, like every platform that Node's prebuilds run on
  RowKind kind;
  RowAction action;
  std::uint8_t flags;      // NTF_*
  std::uint8_t ip_length;  // of the text, 0 = none
  std::uint16_t state;     // NUD_*
  std::uint8_t mac_length;
  std::uint8_t marks;  // kVxlan, kRare
  std::uint32_t text;  // where the IP begins in the text; the MAC follows
  std::uint16_t link;  // numbers of names
  std::uint16_t via;
  std::uint16_t master;
  std::uint16_t port;  // 0 = none
  std::uint16_t vlan;  // 0 = none
  std::uint8_t protocol;
  std::uint8_t activity;  // FDB_NOTIFY_*
  std::uint32_t vni;
  std::uint32_t source_vni;
  std::uint32_t nexthop;         // 0 = none
  std::uint32_t object;          // number of the whole event, or of its unknown attributes
  std::int32_t link_netnsid;     // with kElsewhere
  std::uint32_t extended_flags;  // NTF_EXT_*

  static constexpr std::uint8_t kVxlan = 1;      // a miss: asked by a vxlan device
  static constexpr std::uint8_t kRare = 2;       // there is something in the fields behind `link`
  static constexpr std::uint8_t kElsewhere = 4;  // `via` is a link of another namespace
  static constexpr std::uint16_t kNoLink = 0xffff;
  static constexpr std::uint32_t kNone = 0xffffffff;
};
static_assert(sizeof(EntryRow) == 48);

// Written on any thread, handed over on the JavaScript thread.
class EntryRows {
 public:
  void add(const NeighborEntry& entry, RowAction action, bool vxlan = false);
  // The place of an event of another kind among them, which JavaScript gets as an object.
  void add_object();
  // The links of the rows so far, by these names; a row added later may be of another link under the same index.
  void name_links(const LinkNames& names);
  std::size_t size() const { return rows_.size(); }
  void clear();

  // { rows: Buffer, text: Buffer, links: string[], indexes: number[], unknown?: (UnknownAttribute[])[] }; what was
  // added is gone then.
  Napi::Object to_js(Napi::Env env);

 private:
  std::uint16_t number(std::int32_t index);

  std::vector<EntryRow> rows_;
  std::vector<char> text_;
  std::vector<std::int32_t> indexes_;  // by number
  std::vector<std::string> links_;     // by number, as many as are named
  std::map<std::int32_t, std::uint16_t> numbers_;
  std::int32_t last_index_ = -1;
  std::uint16_t last_number_ = EntryRow::kNoLink;
  std::vector<std::vector<UnknownAttribute>> unknown_;
  std::uint32_t objects_ = 0;
};

}  // namespace overns
