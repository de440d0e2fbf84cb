// Routes to and from JavaScript.
#include "base/text.h"
#include "binding/fields.h"

#include <linux/in_route.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace overns {
namespace {

constexpr Name<std::uint8_t> kRouteTypes[] = {
    {"unicast", RTN_UNICAST},
    {"local", RTN_LOCAL},
    {"broadcast", RTN_BROADCAST},
    {"anycast", RTN_ANYCAST},
    {"multicast", RTN_MULTICAST},
    {"blackhole", RTN_BLACKHOLE},
    {"unreachable", RTN_UNREACHABLE},
    {"prohibit", RTN_PROHIBIT},
    {"throw", RTN_THROW},
    {"nat", RTN_NAT},
    {"xresolve", RTN_XRESOLVE},
    {"unspec", RTN_UNSPEC},
};
// Flags of the answer to a question for one route (RTCF_*), named as iproute2 does; one bit means something else in a
// table.
constexpr Name<std::uint32_t> kAnswerFlags[] = {
    {"dead", RTNH_F_DEAD},           {"pervasive", RTNH_F_PERVASIVE}, {"onlink", RTNH_F_ONLINK},
    {"offload", RTNH_F_OFFLOAD},     {"linkdown", RTNH_F_LINKDOWN},   {"unresolved", RTNH_F_UNRESOLVED},
    {"trap", RTNH_F_TRAP},           {"cloned", RTM_F_CLONED},        {"rt_notify", RTCF_NOTIFY},
    {"redirected", RTCF_REDIRECTED}, {"direct_dst", RTCF_DIRECTDST},  {"redirect", RTCF_DOREDIRECT},
    {"src_direct", RTCF_DIRECTSRC},  {"dst_nat", RTCF_DNAT},          {"src_nat", RTCF_SNAT},
    {"broadcast", RTCF_BROADCAST},   {"multicast", RTCF_MULTICAST},   {"reject", RTCF_REJECT},
    {"local", RTCF_LOCAL},
};
constexpr Name<std::uint8_t> kPreferences[] = {{"medium", 0}, {"high", 1}, {"low", 3}};  // RFC 4191

// The bits that an application sets; what the kernel tells of a route is no part of a request.
constexpr std::uint32_t kSettable = RTNH_F_ONLINK | RTNH_F_PERVASIVE;

void parse_hops(const Fields& fields, RouteEntry& route, Command& command) {
  const auto hops = fields.objects("nexthops");
  if (!hops) return;
  for (const Fields& each : *hops) {
    RouteHop hop;
    hop.gateway = each.ip("gateway").value_or(Ip{});
    hop.weight = static_cast<std::uint32_t>(each.number("weight", 256, 1).value_or(1));
    hop.flags = static_cast<std::uint8_t>(each.bits("flags", kRouteFlags).value_or(0) & kSettable);
    hop.unknown = each.unknown();
    command.hops.push_back(each.link("link", "linkIndex"));
    route.hops.push_back(hop);
  }
}

// As `ip route` chooses where nothing is said.
void complete(const Fields& fields, RouteEntry& route, bool deletion) {
  const bool local = route.type == RTN_LOCAL || route.type == RTN_BROADCAST || route.type == RTN_ANYCAST;
  route.table = static_cast<std::uint32_t>(
      fields.number("table", UINT32_MAX, 1).value_or(local ? RT_TABLE_LOCAL : RT_TABLE_MAIN));
  route.protocol = fields.word_or_number("protocol", kRouteProtocols).value_or(deletion ? RTPROT_UNSPEC : RTPROT_BOOT);
  std::uint8_t scope = RT_SCOPE_UNIVERSE;
  if (route.family == AF_INET) {
    const bool direct = route.gateway.empty() && route.hops.empty() && route.nexthop == 0;
    switch (route.type) {
      case RTN_LOCAL: scope = RT_SCOPE_HOST; break;
      case RTN_BROADCAST:
      case RTN_MULTICAST:
      case RTN_ANYCAST: scope = RT_SCOPE_LINK; break;
      case RTN_UNICAST:
      case RTN_UNSPEC:
        if (deletion) {
          scope = RT_SCOPE_NOWHERE;
        } else if (direct) {
          scope = RT_SCOPE_LINK;
        }
        break;
      default: break;
    }
  }
  route.scope = fields.word_or_number("scope", kScopes).value_or(scope);
}

}  // namespace

std::optional<std::uint8_t> parse_route_type(const Fields& fields) {
  return fields.word_or_number("type", kRouteTypes);
}

void parse_route(const Fields& fields, Command& command) {
  RouteEntry route;
  const bool deletion = command.verb == Verb::kDelete;
  const auto text = fields.get("dst");
  if (!text) {
    if (!fields.failed()) fields.wrong<Unit>("dst", "a string");
    return;
  }
  const bool fallback = text->IsString() && text->As<Napi::String>().Utf8Value() == "default";
  if (!fallback) {
    const auto destination = fields.prefix("dst");
    if (!destination) return;
    route.destination = destination->ip;
    route.prefix = destination->length;
  }
  route.gateway = fields.ip("gateway").value_or(Ip{});
  parse_hops(fields, route, command);
  const auto family = fields.family();
  if (fields.failed()) return;
  if (!route.destination.empty()) {
    route.family = route.destination.family;
    if (family && *family != route.family) fields.out_of_range<Unit>("family", "that of dst");
  } else if (family) {
    route.family = *family;
  } else if (!route.gateway.empty()) {
    route.family = route.gateway.family;
  } else if (!route.hops.empty() && !route.hops.front().gateway.empty()) {
    route.family = route.hops.front().gateway.family;
  } else {
    route.family = AF_INET;
  }
  if (route.prefix == 0) route.destination = Ip{};
  if (const auto from = fields.prefix("from")) {
    route.from = from->ip;
    route.from_prefix = from->length;
    if (from->ip.family != route.family) fields.out_of_range<Unit>("from", "an address of the same family as dst");
  }
  route.source = fields.ip("source").value_or(Ip{});
  if (!fields.failed() && !route.source.empty() && route.source.family != route.family)
    fields.out_of_range<Unit>("source", "an address of the same family as dst");
  if (const auto metric = fields.number("metric", UINT32_MAX)) route.priority = static_cast<std::uint32_t>(*metric);
  route.tos = static_cast<std::uint8_t>(fields.number("tos", UINT8_MAX).value_or(0));
  route.type = parse_route_type(fields).value_or(deletion ? RTN_UNSPEC : RTN_UNICAST);
  route.flags = fields.bits("flags", kRouteFlags).value_or(0) & kSettable;
  route.nexthop = static_cast<std::uint32_t>(fields.number("nexthop", UINT32_MAX, 1).value_or(0));
  route.preference = fields.word("preference", kPreferences);
  // As it is listed, it may have expired, and be deleted all the same.
  const auto seconds = fields.integer("expires", deletion ? INT32_MIN : 0, UINT32_MAX);
  if (seconds && *seconds >= 0) route.expires = *seconds;
  if (const auto metrics = fields.object("metrics")) metrics->values(route_metric_policies(), route.metrics);
  static constexpr const char* kNests[] = {"metrics"};
  route.unknown = fields.unknown(kNests);
  // A request without a gateway deletes a route with one as well; an empty one means the route without (ip6_route_del).
  const bool direct = route.gateway.empty() && route.hops.empty() && route.nexthop == 0;
  if (deletion && direct && route.family == AF_INET6 && command.link.index != 0) route.gateway.family = AF_INET6;
  complete(fields, route, deletion);
  command.item = std::move(route);
}

std::optional<RouteCommand> parse_route_query(Napi::Env env, const Napi::Object& object) {
  const Fields fields(env, object);
  RouteCommand command;
  RouteQuery& query = command.query;
  const auto small = [&](const char* name) -> std::optional<std::uint8_t> {
    const auto read = fields.number(name, UINT8_MAX);
    return read ? std::optional(static_cast<std::uint8_t>(*read)) : std::nullopt;
  };
  const auto port = [&](const char* name) -> std::optional<std::uint16_t> {
    const auto read = fields.number(name, UINT16_MAX, 1);
    return read ? std::optional(static_cast<std::uint16_t>(*read)) : std::nullopt;
  };
  const auto wide = [&](const char* name) -> std::optional<std::uint32_t> {
    const auto read = fields.number(name, UINT32_MAX);
    return read ? std::optional(static_cast<std::uint32_t>(*read)) : std::nullopt;
  };
  const auto destination = fields.ip("dst");
  if (!destination) return fields.failed() ? std::nullopt : fields.wrong<RouteCommand>("dst", "a string");
  query.destination = *destination;
  query.source = fields.ip("source").value_or(Ip{});
  if (!fields.failed() && !query.source.empty() && query.source.family != query.destination.family)
    fields.out_of_range<Unit>("source", "an address of the same family as dst");
  command.link = fields.link("link");
  command.input_link = fields.link("inputLink");
  query.mark = wide("mark");
  query.uid = wide("uid");
  query.tos = small("tos").value_or(0);
  query.ip_protocol = small("ipProtocol");
  query.source_port = port("sourcePort");
  query.destination_port = port("destinationPort");
  query.match = fields.boolean("match").value_or(false);
  if (fields.failed()) return std::nullopt;
  return command;
}

Napi::Object to_js(Napi::Env env, const RouteEntry& route, const LinkNames& names) {
  auto object = Napi::Object::New(env);
  object.Set("dst", route.destination.empty() && route.prefix == 0 ? std::string("default")
                                                                   : with_prefix(route.destination, route.prefix));
  object.Set("family", family_word(route.family));
  object.Set("type", word_or_number(env, route.type, kRouteTypes));
  if (!route.from.empty()) object.Set("from", with_prefix(route.from, route.from_prefix));
  if (!route.gateway.empty()) object.Set("gateway", route.gateway.to_string());
  set_link(object, "link", "linkIndex", names, route.index);
  if (!route.source.empty()) object.Set("source", route.source.to_string());
  if (route.table != RT_TABLE_UNSPEC) object.Set("table", route.table);
  if (route.priority) object.Set("metric", *route.priority);
  if (route.tos != 0) object.Set("tos", static_cast<double>(route.tos));
  object.Set("scope", word_or_number(env, route.scope, kScopes));
  object.Set("protocol", word_or_number(env, route.protocol, kRouteProtocols));
  const bool answer = (route.flags & RTM_F_CLONED) != 0;
  if (route.flags != 0)
    object.Set("flags", answer ? words_of(env, route.flags, kAnswerFlags) : words_of(env, route.flags, kRouteFlags));
  if (!route.hops.empty()) {
    auto list = Napi::Array::New(env, route.hops.size());
    for (std::uint32_t i = 0; i < route.hops.size(); ++i) {
      const RouteHop& hop = route.hops[i];
      auto each = Napi::Object::New(env);
      if (!hop.gateway.empty()) each.Set("gateway", hop.gateway.to_string());
      set_link(each, "link", "linkIndex", names, hop.index);
      each.Set("weight", hop.weight);
      if (hop.flags != 0) each.Set("flags", words_of(env, std::uint32_t{hop.flags}, kRouteFlags));
      set_unknown(each, hop.unknown);
      list.Set(i, each);
    }
    object.Set("nexthops", list);
  }
  if (route.nexthop != 0) object.Set("nexthop", route.nexthop);
  if (route.input_index != 0) object.Set("inputLink", name_of(env, names, route.input_index));
  if (route.mark) object.Set("mark", *route.mark);
  if (route.uid) object.Set("uid", *route.uid);
  if (route.preference) object.Set("preference", word_of(*route.preference, kPreferences));
  if (route.expires) object.Set("expires", static_cast<double>(*route.expires));
  if (!route.metrics.empty()) {
    auto metrics = Napi::Object::New(env);
    set_values(metrics, route.metrics);
    object.Set("metrics", metrics);
  }
  set_unknown(object, route.unknown);
  return object;
}

}  // namespace overns
