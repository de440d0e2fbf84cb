// Listings of the kernel's tables, with the names of the links in them.
#pragma once

#include <variant>
#include <vector>

#include "binding/convert.h"
#include "binding/entry_rows.h"

namespace overns {

struct Listing {
  std::vector<
      std::variant<Link, InterfaceAddress, RouteEntry, RuleEntry, NexthopEntry, LinkCounters, BridgeVlan, MdbEntry>>
      items;
  EntryRows rows;  // of neighbours and FDB entries
  LinkNames names;
  bool interrupted = false;
};

// Lists a table. A row that does not match the filter is left out, whether or not the kernel can apply it.
Result<Listing> list_table(CommandSocket& socket, Table table, const Filter& filter);
// The one route that the kernel chooses, and the names of the few links in it.
Result<Listing> get_route(CommandSocket& socket, RouteCommand& command);

}  // namespace overns
