#include "binding/convert.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "base/text.h"
#include "binding/fields.h"

namespace overns {
namespace {

constexpr Name<std::uint8_t> kFlags[] = {
    {"use", NTF_USE},
    {"self", NTF_SELF},
    {"master", NTF_MASTER},
    {"proxy", NTF_PROXY},
    {"extern_learn", NTF_EXT_LEARNED},
    {"offload", NTF_OFFLOADED},
    {"sticky", NTF_STICKY},
    {"router", NTF_ROUTER},
};

}  // namespace

std::string text_of(const Napi::Value& value) {
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

std::uint32_t number_of(const Napi::Value& value, std::uint32_t fallback) {
  return value.IsNumber() ? value.As<Napi::Number>().Uint32Value() : fallback;
}

bool truth_of(const Napi::Value& value) { return value.IsBoolean() && value.As<Napi::Boolean>().Value(); }

Napi::Object describe(Napi::Env env, const Failure& failure) {
  auto object = Napi::Object::New(env);
  object.Set("errno", -failure.error);
  object.Set("syscall", failure.call);
  if (!failure.message.empty()) object.Set("message", to_utf8(failure.message));
  if (!failure.kernel_message.empty()) object.Set("kernelMessage", to_utf8(failure.kernel_message));
  if (!failure.attribute.empty()) object.Set("attribute", failure.attribute);
  return object;
}

Napi::Value to_js(Napi::Env env, const Failure& failure) {
  const Napi::Error error = Napi::Error::New(env, failure.message.empty() ? failure.call : to_utf8(failure.message));
  Napi::Object object = error.Value().As<Napi::Object>();
  object.Set("errno", -failure.error);
  object.Set("syscall", failure.call);
  if (!failure.kernel_message.empty()) object.Set("kernelMessage", to_utf8(failure.kernel_message));
  if (!failure.attribute.empty()) object.Set("attribute", failure.attribute);
  return object;
}

std::uint16_t creation_flags(Verb verb) {
  switch (verb) {
    case Verb::kAdd: return NLM_F_CREATE | NLM_F_EXCL;
    case Verb::kReplace: return NLM_F_CREATE | NLM_F_REPLACE;
    case Verb::kAppend: return NLM_F_CREATE | NLM_F_APPEND;
    default: return 0;
  }
}

std::optional<Table> parse_table(const std::string& name) {
  if (name == "link") return Table::kLink;
  if (name == "address") return Table::kAddress;
  if (name == "route") return Table::kRoute;
  if (name == "neighbor") return Table::kNeighbor;
  if (name == "fdb") return Table::kFdb;
  if (name == "rule") return Table::kRule;
  if (name == "nexthop") return Table::kNexthop;
  if (name == "counters") return Table::kCounters;
  if (name == "vlan") return Table::kVlan;
  if (name == "mdb") return Table::kMdb;
  return std::nullopt;
}

std::optional<Command> parse_command(Napi::Env env, Table table, const Napi::Object& operation,
                                     const std::string& path) {
  Command command;
  const Fields outer(env, operation, path);
  const auto verb = outer.word("op", kVerbs);
  const auto item = outer.get("item");
  if (outer.failed()) return std::nullopt;
  if (!verb || !item || !item->IsObject()) return outer.wrong<Command>("item", "an object with an op");
  command.verb = static_cast<Verb>(*verb);
  const bool listed_once = table == Table::kRule || table == Table::kNexthop;
  if (listed_once && command.verb != Verb::kAdd && command.verb != Verb::kReplace && command.verb != Verb::kDelete)
    return outer.out_of_range<Command>("op", "add, replace or delete");
  const Fields fields(env, item->As<Napi::Object>(), path);
  if (table != Table::kLink) command.link = fields.link("link", "linkIndex");
  switch (table) {
    case Table::kLink: parse_link(fields, command); break;
    case Table::kAddress: parse_address(fields, command); break;
    case Table::kRoute: parse_route(fields, command); break;
    case Table::kRule: parse_rule(fields, command); break;
    case Table::kNexthop: parse_nexthop(fields, command); break;
    default: return outer.wrong<Command>("table", "link, address, route, rule or nexthop");
  }
  if (fields.failed()) return std::nullopt;
  if (command.link.empty() && table == Table::kAddress) return fields.wrong<Command>("link", "a link's name");
  return command;
}

std::optional<Filter> parse_filter(Napi::Env env, Table table, const Napi::Object& object) {
  const Fields fields(env, object);
  Filter filter;
  filter.name = fields.text("name").value_or("");
  const bool elsewhere = table == Table::kLink || table == Table::kCounters;  // their `link` is no name
  if (!elsewhere) filter.link = fields.link("link", "linkIndex");
  filter.kind = fields.text("kind").value_or("");
  filter.master = table == Table::kMdb ? fields.link("bridge", "bridgeIndex") : fields.link("master", "masterIndex");
  if (table == Table::kFdb || table == Table::kMdb) filter.via = fields.link("via", "viaIndex");
  filter.proxies = fields.boolean("proxies").value_or(false);
  const auto family = table == Table::kRule ? parse_rule_family(fields) : fields.family();
  filter.family = family.value_or(std::uint8_t{AF_UNSPEC});
  filter.table = static_cast<std::uint32_t>(fields.number("table", UINT32_MAX).value_or(0));
  if (table == Table::kRoute) {
    filter.protocol = fields.word_or_number("protocol", kRouteProtocols).value_or(RTPROT_UNSPEC);
    filter.type = parse_route_type(fields).value_or(RTN_UNSPEC);
  }
  if (fields.failed()) return std::nullopt;
  return filter;
}

std::optional<FlushCommand> parse_flush(Napi::Env env, const Napi::Object& object) {
  // Says for each word of a state, as bridge(8) has it, which bits are looked at and what they have to be.
  struct States {
    std::uint16_t match, mask;
  };
  static constexpr Name<int> kStates[] = {{"permanent", 0}, {"static", 1}, {"dynamic", 2}};
  static constexpr States kBits[] = {
      {NUD_PERMANENT, NUD_PERMANENT}, {NUD_NOARP, NUD_NOARP | NUD_PERMANENT}, {0, NUD_NOARP | NUD_PERMANENT}};
  const Fields fields(env, object);
  FlushCommand command;
  NeighborEntry& match = command.flush.match;
  command.link = fields.link("link", "linkIndex");
  command.via = fields.link("via", "viaIndex");
  match.ip = fields.ip("dst").value_or(Ip{});
  if (const auto vni = fields.number("vni", 0xffffff)) match.vni = static_cast<std::uint32_t>(*vni);
  if (const auto vni = fields.number("sourceVni", 0xffffff)) match.source_vni = static_cast<std::uint32_t>(*vni);
  if (const auto port = fields.number("port", UINT16_MAX)) match.port = static_cast<std::uint16_t>(*port);
  match.vlan = static_cast<std::uint16_t>(fields.number("vlan", 4094, 1).value_or(0));
  match.nexthop = static_cast<std::uint32_t>(fields.number("nexthop", UINT32_MAX, 1).value_or(0));
  if (const auto state = fields.word("state", kStates)) {
    match.state = kBits[*state].match;
    command.flush.state_mask = kBits[*state].mask;
  }
  // Which of the two tables is not a property of the entries.
  constexpr std::uint8_t kWhere = NTF_SELF | NTF_MASTER;
  const std::uint8_t with = fields.bits("flags", kFlags).value_or(0);
  const std::uint8_t without = fields.bits("withoutFlags", kFlags).value_or(0);
  match.flags = (with & kWhere) != 0 ? with : static_cast<std::uint8_t>(with | NTF_SELF);
  command.flush.flags_mask = static_cast<std::uint8_t>((with | without) & ~kWhere);
  if (!fields.failed() && command.link.empty()) fields.wrong<Unit>("link", "a link's name");
  if (fields.failed()) return std::nullopt;
  return command;
}

}  // namespace overns
