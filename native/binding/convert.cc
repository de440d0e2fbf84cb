#include "binding/convert.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cmath>
#include <cstring>

namespace overns {
namespace {

template <class Number>
struct Name {
  const char* text;
  Number value;
};

constexpr Name<std::uint16_t> kNeighborStates[] = {
    {"incomplete", NUD_INCOMPLETE}, {"reachable", NUD_REACHABLE}, {"stale", NUD_STALE},
    {"delay", NUD_DELAY},           {"probe", NUD_PROBE},         {"failed", NUD_FAILED},
    {"noarp", NUD_NOARP},           {"permanent", NUD_PERMANENT}, {"none", NUD_NONE},
};
// The words of bridge(8): static does not age, dynamic does and gives way to a learned move.
constexpr Name<std::uint16_t> kFdbStates[] = {
    {"permanent", NUD_PERMANENT},
    {"static", NUD_NOARP},
    {"dynamic", NUD_REACHABLE},
    {"stale", NUD_STALE},
};
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

// Reads the fields of one object; the first thing wrong raises a JavaScript exception that names the field.
class Fields {
 public:
  Fields(Napi::Env env, Napi::Object object) : env_(env), object_(object) {}

  bool failed() const { return ended_ || env_.IsExceptionPending(); }
  Napi::Env env() const { return env_; }

  std::optional<Napi::Value> get(const char* name) const {
    if (failed()) return std::nullopt;
    const Napi::Value value = object_.Get(name);
    ended_ = value.IsEmpty();
    if (failed() || value.IsUndefined() || value.IsNull()) return std::nullopt;
    return value;
  }

  std::optional<std::string> text(const char* name) const {
    const auto value = get(name);
    if (!value) return std::nullopt;
    if (!value->IsString()) return wrong<std::string>(name, "a string");
    std::string read = value->As<Napi::String>().Utf8Value();
    if (read.find('\0') != std::string::npos) return wrong<std::string>(name, "a string without NUL");
    return read;
  }

  std::optional<bool> boolean(const char* name) const {
    const auto value = get(name);
    if (!value) return std::nullopt;
    if (!value->IsBoolean()) return wrong<bool>(name, "a boolean");
    return value->As<Napi::Boolean>().Value();
  }

  std::optional<std::uint64_t> number(const char* name, std::uint64_t max) const {
    const auto value = get(name);
    if (!value) return std::nullopt;
    if (!value->IsNumber()) return wrong<std::uint64_t>(name, "a number");
    const double read = value->As<Napi::Number>().DoubleValue();
    if (!(read >= 0) || read > static_cast<double>(max) || std::floor(read) != read)
      return out_of_range<std::uint64_t>(name, "an integer from 0 to " + std::to_string(max));
    return static_cast<std::uint64_t>(read);
  }

  std::optional<Mac> mac(const char* name) const {
    const auto value = text(name);
    if (!value) return std::nullopt;
    const auto parsed = Mac::parse(*value);
    return parsed ? parsed : out_of_range<Mac>(name, "a MAC address like 02:42:c0:a8:00:02");
  }

  std::optional<Ip> ip(const char* name) const {
    const auto value = text(name);
    if (!value) return std::nullopt;
    const auto parsed = Ip::parse(*value);
    return parsed ? parsed : out_of_range<Ip>(name, "an IP address");
  }

  template <class Number, std::size_t N>
  std::optional<Number> word(const char* name, const Name<Number> (&names)[N]) const {
    const auto value = text(name);
    if (!value) return std::nullopt;
    for (const auto& known : names) {
      if (*value == known.text) return known.value;
    }
    return out_of_range<Number>(name, "a known word");
  }

  template <class Value>
  std::optional<Value> wrong(const char* name, const std::string& expected) const {
    return raise(Napi::TypeError::New(env_, std::string(name) + ": expected " + expected), "ERR_INVALID_ARG_TYPE");
  }
  template <class Value>
  std::optional<Value> out_of_range(const char* name, const std::string& expected) const {
    return raise(Napi::RangeError::New(env_, std::string(name) + ": expected " + expected), "ERR_INVALID_ARG_VALUE");
  }

 private:
  // With Node's own code, as the arguments that lib checks.
  static std::nullopt_t raise(const Napi::Error& error, const char* code) {
    error.Set("code", code);
    error.ThrowAsJavaScriptException();
    return std::nullopt;
  }

  Napi::Env env_;
  Napi::Object object_;
  mutable bool ended_ = false;  // the worker is being terminated: what is not read any more was not left out
};

// "192.168.0.2/24"; without a prefix length the whole address.
bool parse_prefix(const Fields& fields, const char* name, const std::string& text, Ip& ip, std::uint8_t& prefix) {
  const std::size_t slash = text.find('/');
  const auto parsed = Ip::parse(std::string_view(text).substr(0, slash));
  if (!parsed) {
    fields.out_of_range<Ip>(name, "an address with a prefix length, like 192.168.0.2/24");
    return false;
  }
  const int bits = parsed->is_v4() ? 32 : 128;
  int length = bits;
  if (slash != std::string::npos) {
    const std::string digits = text.substr(slash + 1);
    const bool plain =
        !digits.empty() && digits.size() <= 3 && digits.find_first_not_of("0123456789") == std::string::npos;
    length = plain ? std::stoi(digits) : -1;
    if (length < 0 || length > bits) {
      fields.out_of_range<Ip>(name, "an address with a prefix length from 0 to " + std::to_string(bits));
      return false;
    }
  }
  ip = *parsed;
  prefix = static_cast<std::uint8_t>(length);
  return true;
}

void parse_info(const Fields& fields, LinkSpec& spec) {
  for (const InfoPolicy& policy : info_policies(spec.kind)) {
    if (policy.value == ValueType::kIp4 || policy.value == ValueType::kIp6) {
      const auto ip = fields.ip(policy.name);
      if (ip && ip->is_v4() == (policy.value == ValueType::kIp4)) spec.info.push_back({&policy, *ip});
      continue;
    }
    if (policy.value == ValueType::kBool || policy.value == ValueType::kFlag) {
      if (const auto value = fields.boolean(policy.name)) spec.info.push_back({&policy, std::uint64_t{*value}});
      continue;
    }
    std::uint64_t max = UINT32_MAX;
    if (policy.value == ValueType::kU8) max = UINT8_MAX;
    if (policy.value == ValueType::kU16 || policy.value == ValueType::kBe16) max = UINT16_MAX;
    if (const auto value = fields.number(policy.name, max)) spec.info.push_back({&policy, *value});
  }
}

void parse_link(const Fields& fields, Command& command) {
  LinkSpec spec;
  spec.kind = fields.text("kind").value_or("");
  spec.name = fields.text("name").value_or("");
  spec.index = static_cast<std::int32_t>(fields.number("index", INT32_MAX).value_or(0));
  spec.up = fields.boolean("up");
  if (const auto mtu = fields.number("mtu", UINT32_MAX)) spec.mtu = static_cast<std::uint32_t>(*mtu);
  spec.mac = fields.mac("mac");
  spec.alias = fields.text("alias");
  if (const auto master = fields.text("master")) {
    command.master = *master;
    command.no_master = master->empty();
  }
  // By index where the name lies in another namespace than the socket.
  if (const auto master = fields.number("masterIndex", INT32_MAX)) spec.master = static_cast<std::uint32_t>(*master);
  command.netns = fields.text("netns").value_or("");
  parse_info(fields, spec);
  if (const auto value = fields.get("peer")) {
    if (!value->IsObject()) {
      fields.wrong<Unit>("peer", "an object");
      return;
    }
    const Fields of(fields.env(), value->As<Napi::Object>());
    LinkPeer peer;
    peer.name = of.text("name").value_or("");
    peer.mac = of.mac("mac");
    if (const auto mtu = of.number("mtu", UINT32_MAX)) peer.mtu = static_cast<std::uint32_t>(*mtu);
    command.peer_netns = of.text("netns").value_or("");
    spec.peer = peer;
  }
  if (!fields.failed() && spec.name.empty() && spec.index == 0) fields.wrong<Unit>("name", "a link's name or index");
  command.item = std::move(spec);
}

void parse_address(const Fields& fields, Command& command) {
  InterfaceAddress address;
  const auto text = fields.text("address");
  if (!text) {
    if (!fields.failed()) fields.wrong<Unit>("address", "a string");
    return;
  }
  if (!parse_prefix(fields, "address", *text, address.ip, address.prefix)) return;
  if (fields.boolean("nodad").value_or(false)) address.flags |= IFA_F_NODAD;
  if (fields.boolean("noprefixroute").value_or(false)) address.flags |= IFA_F_NOPREFIXROUTE;
  address.scope = static_cast<std::uint8_t>(fields.number("scope", 255).value_or(0));
  address.label = fields.text("label").value_or("");
  command.item = address;
}

void parse_route(const Fields& fields, Command& command) {
  RouteEntry route;
  route.gateway = fields.ip("gateway").value_or(Ip{});
  route.source = fields.ip("source").value_or(Ip{});
  const auto destination = fields.text("dst");
  if (destination && *destination != "default") {
    if (!parse_prefix(fields, "dst", *destination, route.destination, route.prefix)) return;
  }
  route.family = !route.destination.empty() ? route.destination.family
                 : !route.gateway.empty()   ? route.gateway.family
                                            : static_cast<std::uint8_t>(AF_INET);
  if (route.prefix == 0) route.destination = Ip{};
  route.table = static_cast<std::uint32_t>(fields.number("table", UINT32_MAX).value_or(RT_TABLE_MAIN));
  route.priority = static_cast<std::uint32_t>(fields.number("metric", UINT32_MAX).value_or(0));
  const bool deletion = command.verb == Verb::kDelete;
  // As `ip route`: routes of the administrator, on-link ones of link scope.
  route.protocol = deletion ? 0 : RTPROT_BOOT;
  route.type = deletion ? 0 : RTN_UNICAST;
  route.scope = RT_SCOPE_UNIVERSE;
  if (deletion) {
    route.scope = RT_SCOPE_NOWHERE;
  } else if (route.gateway.empty() && route.family == AF_INET) {
    route.scope = RT_SCOPE_LINK;
  }
  command.item = route;
}

template <class Number, std::size_t N>
std::string word_of(Number value, const Name<Number> (&names)[N]) {
  for (const auto& known : names) {
    if (known.value == value) return known.text;
  }
  return std::to_string(value);
}

Napi::Value name_of(Napi::Env env, const LinkNames& names, std::int32_t index) {
  const auto found = names.find(index);
  return Napi::String::New(env, found != names.end() ? found->second : "if" + std::to_string(index));
}

std::string with_prefix(const Ip& ip, std::uint8_t prefix) { return ip.to_string() + "/" + std::to_string(prefix); }

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
  if (!failure.message.empty()) object.Set("message", failure.message);
  if (!failure.kernel_message.empty()) object.Set("kernelMessage", failure.kernel_message);
  if (!failure.attribute.empty()) object.Set("attribute", failure.attribute);
  return object;
}

Napi::Value to_js(Napi::Env env, const Failure& failure) {
  const Napi::Error error = Napi::Error::New(env, failure.message.empty() ? failure.call : failure.message);
  Napi::Object object = error.Value().As<Napi::Object>();
  object.Set("errno", -failure.error);
  object.Set("syscall", failure.call);
  if (!failure.kernel_message.empty()) object.Set("kernelMessage", failure.kernel_message);
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
  return std::nullopt;
}

std::optional<Command> parse_command(Napi::Env env, Table table, const Napi::Object& operation) {
  static constexpr Name<int> kVerbs[] = {{"add", static_cast<int>(Verb::kAdd)},
                                         {"replace", static_cast<int>(Verb::kReplace)},
                                         {"append", static_cast<int>(Verb::kAppend)},
                                         {"delete", static_cast<int>(Verb::kDelete)},
                                         {"set", static_cast<int>(Verb::kSet)}};
  Command command;
  const Fields outer(env, operation);
  const auto verb = outer.word("op", kVerbs);
  const auto item = outer.get("item");
  if (outer.failed()) return std::nullopt;
  if (!verb || !item || !item->IsObject()) return outer.wrong<Command>("item", "an object with an op");
  command.verb = static_cast<Verb>(*verb);
  const Fields fields(env, item->As<Napi::Object>());
  if (table != Table::kLink) command.link = fields.text("link").value_or("");
  switch (table) {
    case Table::kLink: parse_link(fields, command); break;
    case Table::kAddress: parse_address(fields, command); break;
    case Table::kRoute: parse_route(fields, command); break;
    case Table::kNeighbor:
    case Table::kFdb: return outer.wrong<Command>("table", "link, address or route");
  }
  if (fields.failed()) return std::nullopt;
  if (command.link.empty() && table != Table::kLink && table != Table::kRoute)
    return fields.wrong<Command>("link", "a link's name");
  return command;
}

std::optional<Filter> parse_filter(Napi::Env env, const Napi::Object& object) {
  const Fields fields(env, object);
  Filter filter;
  filter.name = fields.text("name").value_or("");
  filter.link = fields.text("link").value_or("");
  filter.kind = fields.text("kind").value_or("");
  filter.master = fields.text("master").value_or("");
  filter.table = static_cast<std::uint32_t>(fields.number("table", UINT32_MAX).value_or(0));
  if (fields.failed()) return std::nullopt;
  return filter;
}

Napi::Object to_js(Napi::Env env, const Link& link, const LinkNames& names) {
  static constexpr const char* kOperstates[] = {"unknown", "notpresent", "down", "lowerlayerdown",
                                                "testing", "dormant",    "up"};
  auto object = Napi::Object::New(env);
  object.Set("name", link.name);
  object.Set("index", link.index);
  if (!link.kind.empty()) object.Set("kind", link.kind);
  if (link.mac) object.Set("mac", link.mac->to_string());
  object.Set("mtu", link.mtu);
  object.Set("up", (link.flags & IFF_UP) != 0);
  object.Set("running", (link.flags & IFF_RUNNING) != 0);
  object.Set("flags", link.flags);
  if (link.operstate < sizeof kOperstates / sizeof kOperstates[0]) object.Set("operstate", kOperstates[link.operstate]);
  if (link.master != 0) object.Set("master", name_of(env, names, static_cast<std::int32_t>(link.master)));
  if (link.link) object.Set("link", *link.link);
  if (link.link_netnsid) object.Set("linkNetnsid", *link.link_netnsid);
  if (!link.alias.empty()) object.Set("alias", link.alias);
  if (!link.alternative_names.empty()) {
    auto list = Napi::Array::New(env, link.alternative_names.size());
    for (std::uint32_t i = 0; i < link.alternative_names.size(); ++i) list.Set(i, link.alternative_names[i]);
    object.Set("alternativeNames", list);
  }
  for (const InfoValue& item : link.info) {
    if (const auto* ip = std::get_if<Ip>(&item.value)) {
      object.Set(item.policy->name, ip->to_string());
      continue;
    }
    const std::uint64_t number = std::get<std::uint64_t>(item.value);
    if (item.policy->value == ValueType::kBool || item.policy->value == ValueType::kFlag) {
      object.Set(item.policy->name, number != 0);
    } else {
      object.Set(item.policy->name, static_cast<double>(number));
    }
  }
  return object;
}

Napi::Object to_js(Napi::Env env, const InterfaceAddress& address, const LinkNames& names) {
  static constexpr Name<std::uint8_t> kScopes[] = {
      {"global", RT_SCOPE_UNIVERSE}, {"site", RT_SCOPE_SITE}, {"link", RT_SCOPE_LINK}, {"host", RT_SCOPE_HOST}};
  auto object = Napi::Object::New(env);
  object.Set("link", name_of(env, names, address.index));
  object.Set("address", with_prefix(address.ip, address.prefix));
  object.Set("family", address.ip.is_v4() ? "inet" : "inet6");
  object.Set("scope", word_of(address.scope, kScopes));
  object.Set("flags", address.flags);
  if (!address.label.empty()) object.Set("label", address.label);
  return object;
}

Napi::Object to_js(Napi::Env env, const RouteEntry& route, const LinkNames& names) {
  auto object = Napi::Object::New(env);
  object.Set("dst", route.destination.empty() ? std::string("default") : with_prefix(route.destination, route.prefix));
  object.Set("family", route.family == AF_INET ? "inet" : "inet6");
  if (!route.gateway.empty()) object.Set("gateway", route.gateway.to_string());
  if (route.index != 0) object.Set("link", name_of(env, names, route.index));
  if (!route.source.empty()) object.Set("source", route.source.to_string());
  object.Set("table", route.table);
  if (route.priority != 0) object.Set("metric", route.priority);
  object.Set("type", static_cast<double>(route.type));
  object.Set("scope", static_cast<double>(route.scope));
  object.Set("protocol", static_cast<double>(route.protocol));
  return object;
}

Napi::Object to_js(Napi::Env env, const NeighborEntry& entry, const LinkNames& names) {
  auto object = Napi::Object::New(env);
  const bool fdb = entry.family == AF_BRIDGE;
  object.Set("link", name_of(env, names, entry.index));
  if (!entry.ip.empty()) object.Set(fdb ? "dst" : "ip", entry.ip.to_string());
  if (entry.mac) object.Set("mac", entry.mac->to_string());
  if (fdb) {
    // A state may combine bits; the one that decides about ageing names it.
    const std::uint16_t state = (entry.state & NUD_PERMANENT) != 0 ? NUD_PERMANENT
                                : (entry.state & NUD_NOARP) != 0   ? NUD_NOARP
                                                                   : entry.state;
    object.Set("state", word_of(state, kFdbStates));
  } else {
    object.Set("state", word_of(entry.state, kNeighborStates));
  }
  auto flags = Napi::Array::New(env);
  for (const auto& flag : kFlags) {
    if ((entry.flags & flag.value) != 0) flags.Set(flags.Length(), flag.text);
  }
  if (fdb || flags.Length() > 0) object.Set("flags", flags);
  if (entry.vni) object.Set("vni", *entry.vni);
  if (entry.port) object.Set("port", *entry.port);
  if (entry.via != 0) object.Set("via", name_of(env, names, static_cast<std::int32_t>(entry.via)));
  if (entry.master != 0) object.Set("master", name_of(env, names, static_cast<std::int32_t>(entry.master)));
  if (entry.vlan != 0) object.Set("vlan", entry.vlan);
  if (entry.nexthop != 0) object.Set("nexthop", entry.nexthop);
  if (entry.protocol != 0) object.Set("protocol", entry.protocol);
  return object;
}

}  // namespace overns
