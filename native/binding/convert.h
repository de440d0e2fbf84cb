// Between JavaScript values and the typed structs of the floors below. Everything that comes in is checked here.
#pragma once

#define NAPI_VERSION 8
#include <napi.h>

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "netlink/command_socket.h"
#include "rtnl/address.h"
#include "rtnl/bridge_vlan.h"
#include "rtnl/link.h"
#include "rtnl/link_counters.h"
#include "rtnl/mdb.h"
#include "rtnl/neighbor.h"
#include "rtnl/nexthop.h"
#include "rtnl/route.h"
#include "rtnl/rule.h"

namespace overns {

// An Error with errno (negative), syscall and the kernel's words; the library makes a NetlinkError of it.
Napi::Value to_js(Napi::Env env, const Failure& failure);
Napi::Object describe(Napi::Env env, const Failure& failure);  // the same as a plain object

// Reads a value of that type; "", 0 and false where it is none. Napi's own conversions end the process on the empty
// value that every read may give from the moment on that a worker is being terminated.
std::string text_of(const Napi::Value& value);
std::uint32_t number_of(const Napi::Value& value, std::uint32_t fallback = 0);
bool truth_of(const Napi::Value& value);

enum class Table { kLink, kAddress, kRoute, kNeighbor, kFdb, kRule, kNexthop, kCounters, kVlan, kMdb };
std::optional<Table> parse_table(const std::string& name);

enum class Verb : std::uint8_t { kAdd, kReplace, kAppend, kDelete, kSet };
std::uint16_t creation_flags(Verb verb);  // NLM_F_*

// A link as it was given: by its name, one of its alternative names, its index, or as it is listed with both.
struct LinkRef {
  std::string name;
  std::int32_t index = 0;
  bool empty() const { return name.empty() && index == 0; }
};

// One command as JavaScript wrote it. Names are resolved where the socket is, on the worker.
struct Command {
  Verb verb = Verb::kAdd;
  std::variant<LinkSpec, InterfaceAddress, RouteEntry, RuleEntry, NexthopEntry> item;
  LinkRef link;               // the device that an address or route is on; the old name of a link that gets another
  std::vector<LinkRef> hops;  // of the route's ways
  std::string master;         // a link's
  std::string parent;         // of a vlan or macvlan
  bool no_master = false;     // the link leaves its bridge
  std::optional<std::uint32_t> group;  // of links that are deleted together
  std::string netns;                   // path; where a link is to live
  std::string peer_netns;
};
// Throws a JavaScript exception (and returns nothing) on a value of the wrong type or range.
// `path`: in front of the names in errors.
std::optional<Command> parse_command(Napi::Env env, Table table, const Napi::Object& operation,
                                     const std::string& path);

struct Filter {
  std::string name;  // of a link
  LinkRef link;
  std::string kind;
  LinkRef master;  // or the bridge that multicast groups are of
  LinkRef via;     // of FDB entries
  bool proxies = false;
  std::uint8_t family = 0;
  std::uint32_t table = 0;
  std::uint8_t protocol = 0;  // of routes
  std::uint8_t type = 0;
};
std::optional<Filter> parse_filter(Napi::Env env, Table table, const Napi::Object& filter);

using LinkNames = std::map<std::int32_t, std::string>;
Napi::Object to_js(Napi::Env env, const Link& link, const LinkNames& names);
Napi::Object to_js(Napi::Env env, const InterfaceAddress& address, const LinkNames& names);
Napi::Object to_js(Napi::Env env, const RouteEntry& route, const LinkNames& names);
Napi::Object to_js(Napi::Env env, const RuleEntry& rule, const LinkNames& names);
Napi::Object to_js(Napi::Env env, const NexthopEntry& nexthop, const LinkNames& names);
Napi::Object to_js(Napi::Env env, const LinkCounters& counters, const LinkNames& names);
Napi::Object to_js(Napi::Env env, const BridgeVlan& vlan, const LinkNames& names);
Napi::Object to_js(Napi::Env env, const MdbEntry& entry, const LinkNames& names);

// A question for one route, the links by their names.
struct RouteCommand {
  RouteQuery query;
  std::string link;
  std::string input_link;
};
std::optional<RouteCommand> parse_route_query(Napi::Env env, const Napi::Object& query);

// A bulk deletion of FDB entries, with the links by their names.
struct FlushCommand {
  FdbFlush flush;
  LinkRef link;
  LinkRef via;
};
std::optional<FlushCommand> parse_flush(Napi::Env env, const Napi::Object& filter);

}  // namespace overns
