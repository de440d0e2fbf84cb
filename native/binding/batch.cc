#include "binding/batch.h"

#include <linux/rtnetlink.h>

#include "binding/name_resolver.h"

namespace overns {
namespace {

Status encode(RequestBatch& batch, Command& command, NameResolver& names) {
  std::uint16_t flags = creation_flags(command.verb);
  const bool deletion = command.verb == Verb::kDelete;
  if (auto* link = std::get_if<LinkSpec>(&command.item)) {
    if (deletion) {
      if (link->index == 0 && link->name.empty()) {
        encode_delete_link_group(batch, command.group.value_or(0));
      } else {
        encode_delete_link(batch, link->index, link->name);
      }
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
      if (Status status = names.rules().deletes(*rule); !status) return status;
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

}  // namespace

Result<Answers> run_batch(CommandSocket& socket, std::vector<Command>& commands) {
  NameResolver names(socket);
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
  if (Status status = socket.execute(batch, sent); !status) return status.failure();
  RuleList rules(socket);  // as they are now
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const Command& command = commands[positions[i]];
    if (const auto* rule = std::get_if<RuleEntry>(&command.item); rule && sent[i] && sent[i]->error == EEXIST)
      sent[i] = add_existing_rule(socket, rules, command.verb, *rule, std::move(*sent[i]));
    answers[positions[i]] = std::move(sent[i]);
  }
  return answers;
}

}  // namespace overns
