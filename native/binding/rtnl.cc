#include "binding/rtnl.h"

#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <tuple>

#include "base/text.h"
#include "binding/entries.h"
#include "binding/entry_rows.h"
#include "binding/instance.h"
#include "binding/worker.h"
#include "netns/namespace.h"
#include "rtnl/neighbor_table.h"

namespace overns {
namespace {

// Shared with the work under way: closing the handle while a request runs frees nothing under it.
struct Channel {
  explicit Channel(CommandSocket opened) : socket(std::move(opened)) {}
  std::mutex mutex;
  CommandSocket socket;
};

using Answers = std::vector<std::optional<Failure>>;

// Turns names into indexes and paths into descriptors, once a batch.
class NameResolver {
 public:
  explicit NameResolver(CommandSocket& socket) : socket_(socket), rules(socket) {}

  Status index(const std::string& name, std::int32_t& index) { return this->index(LinkRef{name}, index); }

  Status index(const LinkRef& link, std::int32_t& index, bool deletion = false) {
    if (link.empty()) return done();
    const auto key = std::tuple(link.name, link.index, deletion);
    const auto known = indexes_.find(key);
    if (known != indexes_.end()) {
      index = known->second;
      return done();
    }
    auto found = resolve_link(socket_, link, deletion);
    if (!found) return found.failure();
    index = indexes_[key] = *found;
    return done();
  }

  // Names in place of links' indexes.
  Status values(std::vector<AttributeValue>& values) {
    for (AttributeValue& each : values) {
      const auto* name = std::get_if<std::string>(&each.value);
      if (name == nullptr || each.policy->value != ValueType::kLink) continue;
      std::int32_t found = 0;
      if (Status status = index(*name, found); !status) return status;
      each.value = static_cast<std::uint64_t>(found);
    }
    return done();
  }

  Status descriptor(const std::string& path, int& fd) {
    if (path.empty()) return done();
    auto opened = open_namespace(path);
    if (!opened) return opened.failure();
    fd = opened->get();
    descriptors_.push_back(std::move(*opened));
    return done();
  }

 private:
  CommandSocket& socket_;
  std::map<std::tuple<std::string, std::int32_t, bool>, std::int32_t> indexes_;
  std::vector<UniqueFd> descriptors_;

 public:
  RuleList rules;
};

Status encode(RequestBatch& batch, Command& command, NameResolver& names) {
  std::uint16_t flags = creation_flags(command.verb);
  const bool deletion = command.verb == Verb::kDelete;
  if (auto* link = std::get_if<LinkSpec>(&command.item)) {
    if (deletion) {
      encode_delete_link(batch, link->index, link->name);
      return done();
    }
    std::int32_t master = 0;
    if (Status status = names.index(command.master, master); !status) return status;
    if (!command.master.empty() || command.no_master) link->master = static_cast<std::uint32_t>(master);
    if (!command.link.empty()) {
      if (Status status = names.index(command.link, link->index); !status) return status;
    }
    if (!command.parent.empty()) {
      std::int32_t parent = 0;
      if (Status status = names.index(command.parent, parent); !status) return status;
      link->link = static_cast<std::uint32_t>(parent);
    }
    for (auto* values : {&link->info, &link->bridge_port}) {
      if (Status status = names.values(*values); !status) return status;
    }
    if (Status status = names.descriptor(command.netns, link->netns_fd); !status) return status;
    if (link->peer) {
      if (Status status = names.descriptor(command.peer_netns, link->peer->netns_fd); !status) return status;
    }
    // Changed where it exists; asked to replace it, the kernel refuses (rtnl_newlink).
    if (command.verb == Verb::kReplace) flags = NLM_F_CREATE;
    encode_link(batch, *link, flags);
    return done();
  }
  std::int32_t index = 0;
  if (Status status = names.index(command.link, index, deletion); !status) return status;
  if (auto* address = std::get_if<InterfaceAddress>(&command.item)) {
    address->index = index;
    encode_address(batch, deletion ? RTM_DELADDR : RTM_NEWADDR, flags, *address);
  } else if (auto* route = std::get_if<RouteEntry>(&command.item)) {
    route->index = index;
    for (std::size_t i = 0; i < route->hops.size(); ++i) {
      if (Status status = names.index(command.hops[i], route->hops[i].index, deletion); !status) return status;
    }
    encode_route(batch, deletion ? RTM_DELROUTE : RTM_NEWROUTE, flags, *route);
  } else if (const auto* rule = std::get_if<RuleEntry>(&command.item)) {
    if (deletion) {
      if (Status status = names.rules.deletes(*rule); !status) return status;
    }
    // Otherwise the kernel takes a rule a second time, and it changes none.
    constexpr std::uint16_t kOnce = NLM_F_CREATE | NLM_F_EXCL;
    encode_rule(batch, deletion ? RTM_DELRULE : RTM_NEWRULE, deletion ? std::uint16_t{0} : kOnce, *rule);
  } else if (auto* nexthop = std::get_if<NexthopEntry>(&command.item)) {
    nexthop->index = index;
    if (deletion) {
      encode_delete_nexthop(batch, nexthop->id);
    } else {
      encode_nexthop(batch, flags, *nexthop);
    }
  }
  return done();
}

// One that the kernel says to be there.
std::optional<Failure> add_existing_rule(CommandSocket& socket, RuleList& rules, Verb verb, const RuleEntry& rule,
                                         Failure refused) {
  auto there = rules.has(rule);
  if (!there) return there.failure();
  // All of a rule is its key: one that is there is as it shall be.
  if (*there) return verb == Verb::kReplace ? std::nullopt : std::optional(std::move(refused));
  RequestBatch batch;
  encode_rule(batch, RTM_NEWRULE, NLM_F_CREATE, rule);
  const Status status = socket.execute(batch);
  rules.forget();
  return status ? std::nullopt : std::optional(status.failure());
}

Result<Answers> run_batch(Channel& channel, std::vector<Command>& commands) {
  const std::lock_guard lock(channel.mutex);
  NameResolver names(channel.socket);
  RequestBatch batch;
  Answers answers(commands.size());
  std::vector<std::size_t> positions;
  positions.reserve(commands.size());
  for (std::size_t i = 0; i < commands.size(); ++i) {
    if (Status status = encode(batch, commands[i], names); !status) {
      answers[i] = status.failure();
    } else {
      positions.push_back(i);
    }
  }
  if (positions.empty()) return answers;
  Answers sent;
  if (Status status = channel.socket.execute(batch, sent); !status) return status.failure();
  RuleList rules(channel.socket);  // as they are now
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const Command& command = commands[positions[i]];
    if (const auto* rule = std::get_if<RuleEntry>(&command.item); rule && sent[i] && sent[i]->error == EEXIST)
      sent[i] = add_existing_rule(channel.socket, rules, command.verb, *rule, std::move(*sent[i]));
    answers[positions[i]] = std::move(sent[i]);
  }
  return answers;
}

struct Listing {
  std::vector<std::variant<Link, InterfaceAddress, RouteEntry, RuleEntry, NexthopEntry, LinkCounters>> items;
  EntryRows rows;  // of neighbours and FDB entries
  LinkNames names;
  bool interrupted = false;
};

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

// Of one link by its name, for the same reasons.
Result<Listing> list_counters(CommandSocket& socket, const Filter& filter) {
  Listing listing;
  RequestBatch batch;
  encode_get_counters(batch, filter.name, {}, 0);
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

// The route that the kernel chooses, and the names of the few links in it.
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
    const auto told = links.next();
    if (const auto link = told ? decode_link(*told) : std::nullopt) listing.names[index] = link->name;
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

Result<Listing> run_list(Channel& channel, Table table, const Filter& filter) {
  const std::lock_guard lock(channel.mutex);
  if (table == Table::kLink && !filter.name.empty()) return list_link(channel.socket, filter);
  if (table == Table::kCounters && !filter.name.empty()) return list_counters(channel.socket, filter);
  Listing listing;
  std::int32_t index = 0;
  std::int32_t master = 0;
  NameResolver names(channel.socket);
  if (Status status = names.index(filter.link, index); !status) return status.failure();
  if (Status status = names.index(filter.master, master); !status) return status.failure();
  std::int32_t via = 0;
  if (Status status = names.index(filter.via, via); !status) return status.failure();

  RequestBatch batch;
  switch (table) {
    case Table::kLink: encode_get_links(batch, filter.kind, static_cast<std::uint32_t>(master)); break;
    case Table::kCounters: encode_get_counters(batch, {}, filter.kind, static_cast<std::uint32_t>(master)); break;
    case Table::kAddress: encode_get_addresses(batch, index, filter.family); break;
    case Table::kRoute:
      encode_get_routes(batch, {filter.family, filter.table, index, filter.protocol, filter.type});
      break;
    case Table::kRule: encode_get_rules(batch, filter.family); break;
    case Table::kNexthop: encode_get_nexthops(batch, filter.family, index, static_cast<std::uint32_t>(master)); break;
    case Table::kNeighbor:
      encode_get_neighbors(batch, filter.family, index, static_cast<std::uint32_t>(master), filter.proxies);
      break;
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
    }
  };
  auto interrupted = channel.socket.dump(
      batch,
      [&] {
        listing.items.clear();
        listing.rows.clear();
      },
      keep);
  if (!interrupted) {
    // A table without routes does not exist.
    if (table == Table::kRoute && filter.table != 0 && interrupted.failure().error == ENOENT) return listing;
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
  auto all = channel.socket.dump(links);
  if (!all) return all.failure();
  MessageReader link_reader(all->bytes);
  while (const auto message = link_reader.next()) {
    if (const auto link = decode_link(*message)) listing.names[link->index] = link->name;
  }
  listing.rows.name_links(listing.names);
  return listing;
}

class Rtnl : public Napi::ObjectWrap<Rtnl> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Rtnl",
                       {InstanceMethod<&Rtnl::batch>("batch"), InstanceMethod<&Rtnl::entries>("entries"),
                        InstanceMethod<&Rtnl::list>("list"), InstanceMethod<&Rtnl::route>("route"),
                        InstanceMethod<&Rtnl::flush>("flush"), InstanceMethod<&Rtnl::nsid>("nsid"),
                        InstanceMethod<&Rtnl::neighbor_queue>("neighborQueue"), InstanceMethod<&Rtnl::close>("close")});
  }

  explicit Rtnl(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Rtnl>(info) {
    if (info.Length() != 1 || !info[0].IsExternal()) {
      Napi::TypeError::New(info.Env(), "use openRtnl()").ThrowAsJavaScriptException();
      return;
    }
    channel_ = *info[0].As<Napi::External<std::shared_ptr<Channel>>>().Data();
  }

 private:
  bool closed(Napi::Env env) const {
    if (channel_) return false;
    Napi::Error::New(env, "the socket is closed").ThrowAsJavaScriptException();
    return true;
  }

  Napi::Value batch(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    const auto table = info[0].IsString() ? parse_table(info[0].As<Napi::String>()) : std::nullopt;
    if (!table || !info[1].IsArray()) {
      Napi::TypeError::New(env, "batch(table, operations)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    const auto list = info[1].As<Napi::Array>();
    auto commands = std::make_shared<std::vector<Command>>();
    commands->reserve(list.Length());
    for (std::uint32_t i = 0; i < list.Length(); ++i) {
      Napi::HandleScope scope(env);
      const Napi::Value item = list.Get(i);
      if (!item.IsObject()) {
        Napi::TypeError::New(env, "operation " + std::to_string(i) + ": expected an object")
            .ThrowAsJavaScriptException();
        return env.Undefined();
      }
      auto command = parse_command(env, *table, item.As<Napi::Object>());
      if (!command) return env.Undefined();
      commands->push_back(std::move(*command));
    }
    return PromiseWorker<Answers>::run(
        env, [channel = channel_, commands] { return run_batch(*channel, *commands); },
        [](Napi::Env of, Answers& answers) -> Napi::Value {
          auto result = Napi::Array::New(of, answers.size());
          for (std::uint32_t i = 0; i < answers.size(); ++i) {
            result.Set(i, answers[i] ? Napi::Value(describe(of, *answers[i])) : of.Null());
          }
          return result;
        });
  }

  // entries(table, records, links, indexes): the failures as [index, failure, index, failure, ...]
  Napi::Value entries(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    if (!info[1].IsTypedArray() || !info[2].IsArray() || !info[3].IsArray()) {
      Napi::TypeError::New(env, "entries(table, records, links, indexes)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    const bool fdb = text_of(info[0]) == "fdb";
    const auto array = info[1].As<Napi::Uint8Array>();
    const Bytes records(array.Data(), array.ByteLength());
    const auto names = info[2].As<Napi::Array>();
    const auto indexes = info[3].As<Napi::Array>();
    std::vector<LinkRef> links;
    for (std::uint32_t i = 0; i < names.Length(); ++i)
      links.push_back({from_utf8(text_of(names.Get(i))), static_cast<std::int32_t>(number_of(indexes.Get(i)))});
    // The records are read where they lie; the reference keeps them there.
    auto keep = std::make_shared<Napi::ObjectReference>(Napi::Persistent(array.As<Napi::Object>()));
    return PromiseWorker<std::vector<EntryFailure>>::run(
        env,
        [channel = channel_, fdb, records, links] {
          const std::lock_guard lock(channel->mutex);
          return send_entries(channel->socket, fdb, records, links);
        },
        [keep](Napi::Env of, std::vector<EntryFailure>& failures) -> Napi::Value {
          auto result = Napi::Array::New(of, failures.size() * 2);
          std::uint32_t at = 0;
          for (const EntryFailure& each : failures) {
            Napi::HandleScope scope(of);
            result.Set(at++, static_cast<double>(each.index));
            result.Set(at++, describe(of, each.failure));
          }
          return result;
        });
  }

  Napi::Value list(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    const auto table = info[0].IsString() ? parse_table(info[0].As<Napi::String>()) : std::nullopt;
    if (!table || !info[1].IsObject()) {
      Napi::TypeError::New(env, "list(table, filter)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    const auto filter = parse_filter(env, *table, info[1].As<Napi::Object>());
    if (!filter) return env.Undefined();
    const bool entries = *table == Table::kNeighbor || *table == Table::kFdb;
    return PromiseWorker<Listing>::run(
        env, [channel = channel_, table = *table, filter = *filter] { return run_list(*channel, table, filter); },
        [entries](Napi::Env of, Listing& listing) -> Napi::Value {
          if (entries) {
            auto rows = listing.rows.to_js(of);
            if (listing.interrupted) rows.Set("interrupted", true);
            return rows;
          }
          auto result = Napi::Array::New(of, listing.items.size());
          for (std::uint32_t i = 0; i < listing.items.size(); ++i) {
            Napi::HandleScope scope(of);
            std::visit([&](const auto& item) { result.Set(i, to_js(of, item, listing.names)); }, listing.items[i]);
          }
          // Data and error both: the caller gets what there is and learns that it may not be consistent.
          if (listing.interrupted) result.Set("interrupted", true);
          return result;
        });
  }

  // route(query): the one route that the kernel chooses.
  Napi::Value route(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    if (!info[0].IsObject()) {
      Napi::TypeError::New(env, "route(query)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    auto command = parse_route_query(env, info[0].As<Napi::Object>());
    if (!command) return env.Undefined();
    return PromiseWorker<Listing>::run(
        env,
        [channel = channel_, command = std::move(*command)]() mutable {
          const std::lock_guard lock(channel->mutex);
          return get_route(channel->socket, command);
        },
        [](Napi::Env of, Listing& listing) -> Napi::Value {
          return to_js(of, std::get<RouteEntry>(listing.items.front()), listing.names);
        });
  }

  // flush(filter): a bulk deletion of FDB entries.
  Napi::Value flush(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    if (!info[0].IsObject()) {
      Napi::TypeError::New(env, "flush(filter)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    auto command = parse_flush(env, info[0].As<Napi::Object>());
    if (!command) return env.Undefined();
    return PromiseWorker<Unit>::run(
        env,
        [channel = channel_, command = std::move(*command)]() mutable -> Result<Unit> {
          const std::lock_guard lock(channel->mutex);
          NameResolver names(channel->socket);
          NeighborEntry& match = command.flush.match;
          std::int32_t via = 0;
          if (Status status = names.index(command.link, match.index); !status) return status.failure();
          if (Status status = names.index(command.via, via); !status) return status.failure();
          match.via = static_cast<std::uint32_t>(via);
          RequestBatch batch;
          encode_flush_fdb(batch, command.flush);
          return channel->socket.execute(batch);
        },
        to_undefined);
  }

  Napi::Value nsid(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    const std::string path = text_of(info[0]);
    return PromiseWorker<std::int32_t>::run(
        env,
        [channel = channel_, path]() -> Result<std::int32_t> {
          const std::lock_guard lock(channel->mutex);
          auto fd = open_namespace(path);
          if (!fd) return fd.failure();
          return namespace_id(channel->socket, fd->get());
        },
        [](Napi::Env of, std::int32_t& id) -> Napi::Value { return Napi::Number::New(of, id); });
  }

  // neighborQueue(link, bytes): for both families; one that the namespace lacks is left out.
  Napi::Value neighbor_queue(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    return PromiseWorker<Unit>::run(
        env,
        [channel = channel_, link = from_utf8(text_of(info[0])), bytes = number_of(info[1])]() -> Result<Unit> {
          const std::lock_guard lock(channel->mutex);
          auto index = link_index(channel->socket, link);
          if (!index) return index.failure();
          for (const std::uint8_t family : {AF_INET, AF_INET6}) {
            RequestBatch batch;
            encode_neighbor_queue(batch, family, *index, bytes);
            const Status status = channel->socket.execute(batch);
            if (!status && status.failure().error != ENOENT) return status.failure();
          }
          return done();
        },
        to_undefined);
  }

  void close(const Napi::CallbackInfo&) { channel_.reset(); }

  std::shared_ptr<Channel> channel_;
};

template <class Open>
Napi::Value open_channel(Napi::Env env, Open open) {
  return PromiseWorker<std::shared_ptr<Channel>>::run(
      env,
      [open = std::move(open)]() -> Result<std::shared_ptr<Channel>> {
        auto socket = open();
        if (!socket) return socket.failure();
        return std::make_shared<Channel>(std::move(*socket));
      },
      [](Napi::Env of, std::shared_ptr<Channel>& channel) -> Napi::Value {
        return instance(of).rtnl.New({Napi::External<std::shared_ptr<Channel>>::New(of, &channel)});
      });
}

}  // namespace

Napi::Function define_rtnl(Napi::Env env) { return Rtnl::define(env); }

Napi::Value open_rtnl(const Napi::CallbackInfo& info) {
  return open_channel(info.Env(), [netns = text_of(info[0])] { return CommandSocket::open(netns); });
}

Napi::Value open_scratch_rtnl(const Napi::CallbackInfo& info) {
  return open_channel(info.Env(), [] { return CommandSocket::open_scratch(); });
}

}  // namespace overns
