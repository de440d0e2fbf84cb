#include "binding/listing.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>

#include "binding/name_resolver.h"

namespace overns {
namespace {

// One link, asked for by its name: as cheap among thousands, and the kernel first finishes what a change of the
// link's carrier brings about (linkwatch_sync_dev), which a dump does not make it do.
Result<Listing> list_link(CommandSocket& socket, const Filter& filter) {
  Listing listing;
  std::int32_t wanted_master = 0;
  if (Status status = NameResolver(socket).index(filter.master, wanted_master); !status) return status.failure();
  const auto get = [&](std::int32_t index, const std::string& name) -> Result<std::optional<Link>> {
    RequestBatch batch;
    encode_get_link(batch, index, name);
    auto answer = socket.query(batch);
    if (!answer) {
      if (answer.failure().error == ENODEV) return std::optional<Link>();
      return answer.failure();
    }
    MessageReader reader(*answer);
    const auto message = reader.next();
    return message ? decode_link(*message) : std::nullopt;
  };
  auto found = get(0, filter.name);
  if (!found) return found.failure();
  if (!*found || (!filter.kind.empty() && (*found)->kind != filter.kind)) return listing;
  if (wanted_master != 0 && (*found)->master != static_cast<std::uint32_t>(wanted_master)) return listing;
  if (const auto master = static_cast<std::int32_t>((*found)->master); master != 0) {
    auto bridge = get(master, {});
    if (!bridge) return bridge.failure();
    if (*bridge) listing.names[master] = (*bridge)->name;
  }
  listing.names[(*found)->index] = (*found)->name;
  listing.items.emplace_back(std::move(**found));
  return listing;
}

// Counters of one link, asked for by its name for the same reasons.
Result<Listing> list_counters(CommandSocket& socket, const Filter& filter) {
  Listing listing;
  RequestBatch batch;
  encode_get_link(batch, LinkQuery{.name = filter.name, .counters = true});
  auto answer = socket.query(batch);
  if (!answer) {
    if (answer.failure().error == ENODEV) return listing;
    return answer.failure();
  }
  MessageReader reader(*answer);
  const auto message = reader.next();
  auto counters = message ? decode_counters(*message) : std::nullopt;
  if (counters && (filter.kind.empty() || counters->kind == filter.kind)) listing.items.emplace_back(*counters);
  return listing;
}

}  // namespace

Result<Listing> get_route(CommandSocket& socket, RouteCommand& command) {
  NameResolver names(socket);
  if (Status status = names.index(command.link, command.query.index); !status) return status.failure();
  if (Status status = names.index(command.input_link, command.query.input_index); !status) return status.failure();
  RequestBatch batch;
  encode_get_route(batch, command.query);
  auto answer = socket.query(batch);
  if (!answer) return answer.failure();
  MessageReader reader(*answer);
  const auto message = reader.next();
  auto route = message ? decode_route(*message) : std::nullopt;
  if (!route) return Failure{EBADMSG, message_name(RTM_GETROUTE), "malformed answer", {}, {}};
  Listing listing;
  const auto name = [&](std::int32_t index) -> Status {
    if (index == 0 || listing.names.contains(index)) return done();
    RequestBatch request;
    encode_get_link(request, index, {});
    auto found = socket.query(request);
    // One that has gone meanwhile keeps its number.
    if (!found) return found.failure().error == ENODEV ? done() : Status(found.failure());
    MessageReader links(*found);
    const auto first = links.next();
    if (const auto link = first ? decode_link(*first) : std::nullopt) listing.names[index] = link->name;
    return done();
  };
  if (Status status = name(route->index); !status) return status.failure();
  if (Status status = name(route->input_index); !status) return status.failure();
  for (const RouteHop& hop : route->hops) {
    if (Status status = name(hop.index); !status) return status.failure();
  }
  listing.items.emplace_back(std::move(*route));
  return listing;
}

Result<Listing> list_table(CommandSocket& socket, Table table, const Filter& filter) {
  if (table == Table::kLink && !filter.name.empty()) return list_link(socket, filter);
  if (table == Table::kCounters && !filter.name.empty()) return list_counters(socket, filter);
  Listing listing;
  std::int32_t index = 0;
  std::int32_t master = 0;
  NameResolver names(socket);
  if (Status status = names.index(filter.link, index); !status) return status.failure();
  if (Status status = names.index(filter.master, master); !status) return status.failure();
  std::int32_t via = 0;
  if (Status status = names.index(filter.via, via); !status) return status.failure();

  RequestBatch batch;
  switch (table) {
    case Table::kLink:
    case Table::kCounters:
      encode_get_link(batch, LinkQuery{.kind = filter.kind,
                                       .master = static_cast<std::uint32_t>(master),
                                       .counters = table == Table::kCounters});
      break;
    case Table::kAddress: encode_get_addresses(batch, index, filter.family); break;
    case Table::kRoute:
      encode_get_routes(batch, {filter.family, filter.table, index, filter.protocol, filter.type});
      break;
    case Table::kRule: encode_get_rules(batch, filter.family); break;
    case Table::kNexthop: encode_get_nexthops(batch, filter.family, index, static_cast<std::uint32_t>(master)); break;
    case Table::kNeighbor:
      encode_get_neighbors(batch, filter.family, index, static_cast<std::uint32_t>(master), filter.proxies);
      break;
    case Table::kVlan: encode_get_vlans(batch); break;
    case Table::kMdb: encode_get_mdb(batch); break;
    case Table::kFdb: encode_get_neighbors(batch, AF_BRIDGE, index, static_cast<std::uint32_t>(master)); break;
  }
  const auto matches = [&](std::int32_t item) { return index == 0 || item == index; };
  const bool entries = table == Table::kNeighbor || table == Table::kFdb;
  const auto keep = [&](const Message& message) {
    if (entries) {
      const auto entry = decode_neighbor(message);
      // The kernel looks at the master of a device that it goes through, which has entries of its own as well.
      const bool in_master =
          !entry || table != Table::kFdb || master == 0 || entry->master == static_cast<std::uint32_t>(master);
      if (entry && matches(entry->index) && in_master && (via == 0 || entry->via == static_cast<std::uint32_t>(via)))
        listing.rows.add(*entry, RowAction::kListed);
    } else if (table == Table::kLink) {
      if (auto link = decode_link(message); link && (filter.kind.empty() || link->kind == filter.kind) &&
                                            (master == 0 || link->master == static_cast<std::uint32_t>(master)))
        listing.items.emplace_back(std::move(*link));
    } else if (table == Table::kCounters) {
      if (auto counters = decode_counters(message); counters && (filter.kind.empty() || counters->kind == filter.kind))
        listing.items.emplace_back(std::move(*counters));
    } else if (table == Table::kAddress) {
      if (auto address = decode_address(message); address && matches(address->index))
        listing.items.emplace_back(std::move(*address));
    } else if (table == Table::kRoute) {
      const auto leaves = [&](const RouteEntry& route) {
        return matches(route.index) || std::any_of(route.hops.begin(), route.hops.end(),
                                                   [&](const RouteHop& hop) { return matches(hop.index); });
      };
      if (auto route = decode_route(message);
          route && leaves(*route) && (filter.table == 0 || route->table == filter.table))
        listing.items.emplace_back(std::move(*route));
    } else if (table == Table::kRule) {
      if (auto rule = decode_rule(message)) listing.items.emplace_back(std::move(*rule));
    } else if (table == Table::kNexthop) {
      if (auto nexthop = decode_nexthop(message); nexthop && matches(nexthop->index))
        listing.items.emplace_back(std::move(*nexthop));
    } else if (table == Table::kVlan) {
      std::vector<BridgeVlan> vlans;
      decode_vlans(message, vlans);
      for (BridgeVlan& each : vlans) {
        if (matches(each.index)) listing.items.emplace_back(std::move(each));
      }
    } else if (table == Table::kMdb) {
      std::vector<MdbEntry> groups;
      decode_mdb(message, groups);
      for (MdbEntry& each : groups) {
        if (matches(each.index) && (master == 0 || each.bridge == master) && (via == 0 || each.via == via))
          listing.items.emplace_back(std::move(each));
      }
    }
  };
  auto interrupted = socket.dump(
      batch,
      [&] {
        listing.items.clear();
        listing.rows.clear();
      },
      keep);
  if (!interrupted) {
    // A table without routes does not exist.
    if (table == Table::kRoute && filter.table != 0 && interrupted.failure().error == ENOENT) return listing;
    // A kernel that was built without them, or has not loaded its bridges yet, has none.
    if ((table == Table::kVlan || table == Table::kMdb) && interrupted.failure().error == EOPNOTSUPP) return listing;
    return interrupted.failure();
  }
  listing.interrupted = *interrupted;

  // The names that the entries refer to: from one dump of the links, or from the listing itself.
  if (table == Table::kRule || table == Table::kCounters) return listing;
  if (table == Table::kLink && filter.kind.empty() && master == 0) {
    for (const auto& item : listing.items) {
      const auto& link = std::get<Link>(item);
      listing.names[link.index] = link.name;
    }
    return listing;
  }
  RequestBatch links;
  encode_get_link(links, 0, {});
  auto all = socket.dump(links);
  if (!all) return all.failure();
  MessageReader link_reader(all->bytes);
  while (const auto message = link_reader.next()) {
    if (const auto link = decode_link(*message)) listing.names[link->index] = link->name;
  }
  listing.rows.name_links(listing.names);
  return listing;
}

}  // namespace overns
