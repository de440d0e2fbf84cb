#include "binding/monitor.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include <cstring>

#include "base/text.h"
#include "binding/entry_rows.h"
#include "binding/instance.h"
#include "binding/signal.h"
#include "netlink/event_reader.h"
#include "netlink/socket.h"
#include "rtnl/miss_filter.h"

namespace overns {
namespace {

// Room for about 100,000 messages, taken only while they wait: a burst may come while other threads have the CPUs.
constexpr int kReceiveBuffer = 64 << 20;

enum Group : unsigned {
  kLinkGroup = 1,
  kAddressGroup = 2,
  kRouteGroup = 4,
  kNeighGroup = 8,
  kMissGroup = 16,
  kNexthopGroup = 32,
  kRuleGroup = 64,
};

std::optional<unsigned> parse_group(const std::string& name) {
  if (name == "link") return kLinkGroup;
  if (name == "address") return kAddressGroup;
  if (name == "route") return kRouteGroup;
  if (name == "neigh") return kNeighGroup;
  if (name == "miss") return kMissGroup;
  if (name == "nexthop") return kNexthopGroup;
  if (name == "rule") return kRuleGroup;
  return std::nullopt;
}

std::uint64_t monotonic() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

// A bridge tells of its ports in words of its own (RTM_NEWLINK of AF_BRIDGE), which stand for a part of the link only.
using BridgePorts = std::map<std::int32_t, Link>;

// The links of the namespace, as far as its events need them.
struct Links {
  LinkNames names;
  BridgePorts ports;
};

struct Opened {
  UniqueFd socket;
  CommandSocket command;
  Links links;
};

void keep_port(BridgePorts& ports, const Link& link) {
  if (link.slave_kind == "bridge") {
    ports.insert_or_assign(link.index, link);
  } else {
    ports.erase(link.index);
  }
}

Result<Links> list_links(CommandSocket& command, unsigned groups) {
  Links links;
  RequestBatch batch;
  encode_get_link(batch, 0, {});
  auto dump = command.dump(batch);
  if (!dump) return dump.failure();
  MessageReader reader(dump->bytes);
  while (const auto message = reader.next()) {
    const auto link = decode_link(*message);
    if (!link) continue;
    links.names[link->index] = link->name;
    if ((groups & kLinkGroup) != 0) keep_port(links.ports, *link);
  }
  return links;
}

Result<Opened> open_events(const std::string& netns, unsigned groups, int receive_buffer) {
  std::vector<std::uint32_t> numbers;
  // Links always: their names are needed to tell of anything else.
  const bool misses_only = groups == kMissGroup;
  if (!misses_only) numbers.push_back(RTNLGRP_LINK);
  if ((groups & kAddressGroup) != 0) numbers.insert(numbers.end(), {RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR});
  if ((groups & kRouteGroup) != 0) numbers.insert(numbers.end(), {RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE});
  if ((groups & (kNeighGroup | kMissGroup)) != 0) numbers.push_back(RTNLGRP_NEIGH);
  if ((groups & kNexthopGroup) != 0) numbers.push_back(RTNLGRP_NEXTHOP);
  if ((groups & kRuleGroup) != 0) numbers.insert(numbers.end(), {RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE});
  EventSocketOptions options{numbers, receive_buffer, misses_only ? miss_filter() : std::span<const sock_filter>{}};
  auto socket = open_event_socket(netns, options);
  if (!socket) return socket.failure();
  auto command = CommandSocket::open(netns);
  if (!command) return command.failure();
  auto links = list_links(*command, groups);
  if (!links) return links.failure();
  return Opened{std::move(*socket), std::move(*command), std::move(*links)};
}

}  // namespace

class Monitor : public Napi::ObjectWrap<Monitor> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Monitor",
                       {InstanceMethod<&Monitor::ref>("ref"), InstanceMethod<&Monitor::unref>("unref"),
                        InstanceMethod<&Monitor::close>("close")});
  }
  explicit Monitor(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Monitor>(info) {}
  ~Monitor() override { shut(); }

  void begin(std::shared_ptr<MonitorHub> hub, Opened opened, unsigned groups, Napi::FunctionReference on_batch);
  void deliver(Napi::Env env, const EventBytes& events);

 private:
  void shut();
  void ref(const Napi::CallbackInfo&);
  void unref(const Napi::CallbackInfo&);
  void close(const Napi::CallbackInfo&) { shut(); }
  std::optional<Napi::Object> convert(Napi::Env env, const Message& message, const MessageReader& following,
                                      EntryRows& rows);
  std::optional<Napi::Object> convert_link(Napi::Env env, const Message& message, const MessageReader& following,
                                           EntryRows& rows);
  void know(std::int32_t index, const MessageReader& following);
  void forget(std::int32_t index);

  std::shared_ptr<MonitorHub> hub_;
  std::uint32_t id_ = 0;
  bool referenced_ = false;
  unsigned groups_ = 0;
  Links links_;
  std::int32_t known_ = 0;  // whose name was looked for last
  std::optional<CommandSocket> command_;
  Napi::FunctionReference on_batch_;
};

class MonitorHub {
 public:
  static std::shared_ptr<MonitorHub> of(Napi::Env env) {
    Instance& data = instance(env);
    if (data.hub) return data.hub;
    auto hub = std::make_shared<MonitorHub>();
    MonitorHub* raw = hub.get();
    hub->reader = std::make_unique<EventReader>([raw] { raw->signal->send(); });
    hub->signal = JsSignal::open(
        env, "overns:monitor", [raw](Napi::Env called) { raw->deliver(called); }, [raw] { raw->reader->stop(); });
    if (!hub->signal) return nullptr;
    hub->signal->unref();
    if (!hub->reader->start()) {
      hub->signal->close();
      return nullptr;
    }
    data.hub = hub;
    return hub;
  }
  ~MonitorHub() { reader->stop(); }

  void deliver(Napi::Env env) {
    for (const auto& [id, events] : reader->take()) {
      const auto found = monitors.find(id);
      if (found != monitors.end()) found->second->deliver(env, events);
      if (env.IsExceptionPending()) return;
    }
  }
  void count_reference(int by) {
    const int before = references;
    references += by;
    if (before == 0 && references > 0) signal->ref();
    if (before > 0 && references == 0) signal->unref();
  }

  std::shared_ptr<JsSignal> signal;
  std::unique_ptr<EventReader> reader;
  std::map<std::uint32_t, Monitor*> monitors;
  int references = 0;
};

void Monitor::begin(std::shared_ptr<MonitorHub> hub, Opened opened, unsigned groups, Napi::FunctionReference on_batch) {
  hub_ = std::move(hub);
  groups_ = groups;
  links_ = std::move(opened.links);
  command_ = std::move(opened.command);
  on_batch_ = std::move(on_batch);
  id_ = hub_->reader->add(std::move(opened.socket));
  hub_->monitors[id_] = this;
  hub_->count_reference(1);
  referenced_ = true;
  Ref();  // alive until closed: the hub points to it
}

void Monitor::shut() {
  if (!hub_) return;
  hub_->monitors.erase(id_);
  hub_->reader->remove(id_);
  if (referenced_) hub_->count_reference(-1);
  referenced_ = false;
  hub_.reset();
  command_.reset();
  on_batch_.Reset();
  Unref();
}

void Monitor::ref(const Napi::CallbackInfo&) {
  if (!hub_ || referenced_) return;
  referenced_ = true;
  hub_->count_reference(1);
}

void Monitor::unref(const Napi::CallbackInfo&) {
  if (!hub_ || !referenced_) return;
  referenced_ = false;
  hub_->count_reference(-1);
}

// Finds the name of a link that an event is about. Some are reported before their link is (a new bridge's own FDB
// entry): its name is in what comes next, or the kernel has it. Whoever hears of misses alone hears of no links.
void Monitor::know(std::int32_t index, const MessageReader& following) {
  if (index <= 0 || index == known_) return;
  known_ = index;
  if (groups_ != kMissGroup) {
    if (links_.names.contains(index)) return;
    MessageReader ahead = following;
    while (const auto message = ahead.next()) {
      if (message->header.nlmsg_type != RTM_NEWLINK && message->header.nlmsg_type != RTM_DELLINK) continue;
      const auto link = decode_link(*message);
      if (!link || link->index != index || link->name.empty()) continue;
      links_.names[index] = link->name;
      return;
    }
  }
  ifreq request{};
  request.ifr_ifindex = index;
  if (ioctl(command_->fd(), SIOCGIFNAME, &request) != 0) return;
  links_.names[index].assign(request.ifr_name, strnlen(request.ifr_name, sizeof request.ifr_name));
}

void Monitor::forget(std::int32_t index) {
  links_.names.erase(index);
  links_.ports.erase(index);
  known_ = 0;
}

std::optional<Napi::Object> Monitor::convert_link(Napi::Env env, const Message& message, const MessageReader& following,
                                                  EntryRows& rows) {
  auto link = decode_link(message);
  if (!link) return std::nullopt;
  const bool gone = message.header.nlmsg_type == RTM_DELLINK;
  if (link->family == AF_BRIDGE) {
    // A port that leaves is reported as a link, too.
    const auto port = links_.ports.find(link->index);
    if (gone || port == links_.ports.end() || link->bridge_port.empty()) return std::nullopt;
    Link& whole = port->second;
    whole.bridge_port = std::move(link->bridge_port);
    std::erase_if(whole.unknown, [](const UnknownAttribute& each) { return each.within != nullptr; });
    for (UnknownAttribute& each : link->unknown) {
      if (each.within != nullptr) whole.unknown.push_back(std::move(each));
    }
    link = whole;
  } else {
    rows.name_links(links_.names);  // as they were called until now
    links_.names[link->index] = link->name;
    if ((groups_ & kLinkGroup) != 0) keep_port(links_.ports, *link);
  }
  std::optional<Napi::Object> object;
  if ((groups_ & kLinkGroup) != 0) {
    know(static_cast<std::int32_t>(link->master), following);
    object = to_js(env, *link, links_.names);
    if (!link->kind.empty()) object->Set("linkKind", to_utf8(link->kind));
  }
  if (gone) forget(link->index);  // nothing more is reported of it
  return object;
}

// An entry or a miss becomes a row; for anything else JavaScript gets the object.
std::optional<Napi::Object> Monitor::convert(Napi::Env env, const Message& message, const MessageReader& following,
                                             EntryRows& rows) {
  const std::uint16_t type = message.header.nlmsg_type;
  const auto event = [&](Napi::Object object, const char* kind, bool gone) {
    object.Set("kind", kind);
    object.Set("action", gone ? "delete" : "new");
    return object;
  };
  if (type == RTM_NEWLINK || type == RTM_DELLINK) {
    const auto object = convert_link(env, message, following, rows);
    if (!object) return std::nullopt;
    return event(*object, "link", type == RTM_DELLINK);
  }
  if (type == RTM_NEWADDR || type == RTM_DELADDR) {
    const auto address = decode_address(message);
    if (!address) return std::nullopt;
    know(address->index, following);
    return event(to_js(env, *address, links_.names), "address", type == RTM_DELADDR);
  }
  if (type == RTM_NEWROUTE || type == RTM_DELROUTE) {
    const auto route = decode_route(message);
    if (!route) return std::nullopt;
    know(route->index, following);
    for (const RouteHop& hop : route->hops) know(hop.index, following);
    auto object = to_js(env, *route, links_.names);
    // Only the notifications of routes tell (fib_table_insert, fib6_add_rt2node).
    if (type == RTM_NEWROUTE && (message.header.nlmsg_flags & NLM_F_REPLACE) != 0) object.Set("replaced", true);
    return event(object, "route", type == RTM_DELROUTE);
  }
  if (type == RTM_NEWRULE || type == RTM_DELRULE) {
    const auto rule = decode_rule(message);
    if (!rule) return std::nullopt;
    auto object = to_js(env, *rule, links_.names);
    object.Set("ruleAction", object.Get("action"));  // `action` is the event's
    return event(object, "rule", type == RTM_DELRULE);
  }
  if (type == RTM_NEWNEXTHOP || type == RTM_DELNEXTHOP) {
    const auto nexthop = decode_nexthop(message);
    if (!nexthop) return std::nullopt;
    know(nexthop->index, following);
    know(static_cast<std::int32_t>(nexthop->master), following);
    return event(to_js(env, *nexthop, links_.names), "nexthop", type == RTM_DELNEXTHOP);
  }
  const auto entry = decode_neighbor(message);
  if (!entry) return std::nullopt;
  know(entry->index, following);
  if (type == RTM_GETNEIGH) {
    // A vxlan's miss; an app_solicit one of an ordinary device is a request (NLM_F_REQUEST) of an INCOMPLETE entry.
    const RowAction query = entry->ip.empty() ? RowAction::kL2Miss : RowAction::kL3Miss;
    rows.add(*entry, query, decode_miss(message).has_value());
  } else if ((groups_ & kNeighGroup) != 0) {
    if (entry->master != 0) know(static_cast<std::int32_t>(entry->master), following);
    if (entry->via != 0 && !entry->link_netnsid) know(static_cast<std::int32_t>(entry->via), following);
    rows.add(*entry, type == RTM_DELNEIGH ? RowAction::kDelete : RowAction::kNew);
  }
  return std::nullopt;
}

void Monitor::deliver(Napi::Env env, const EventBytes& events) {
  auto objects = Napi::Array::New(env);
  std::uint32_t count = 0;
  EntryRows rows;
  if (groups_ == kMissGroup) known_ = 0;  // it may have been renamed since
  MessageReader reader(events.bytes);
  while (const auto message = reader.next()) {
    Napi::HandleScope scope(env);
    const auto object = convert(env, *message, reader, rows);
    if (!object) continue;
    rows.add_object();
    objects.Set(count++, *object);
  }
  rows.name_links(links_.names);
  const std::uint64_t dropped = events.overrun + events.overflow;
  if (rows.size() == 0 && dropped == 0) return;
  if (dropped > 0) {
    // Links may have been among them.
    if (auto links = list_links(*command_, groups_)) links_ = std::move(*links);
    known_ = 0;
  }
  // By a handle of its own: it may close the monitor.
  on_batch_.Value().Call({rows.to_js(env), objects, Napi::BigInt::New(env, monotonic()),
                          Napi::Number::New(env, static_cast<double>(dropped))});
}

Napi::Function define_monitor(Napi::Env env) { return Monitor::define(env); }

Napi::Value open_monitor(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  unsigned groups = 0;
  if (info[1].IsArray()) {
    const auto list = info[1].As<Napi::Array>();
    for (std::uint32_t i = 0; i < list.Length(); ++i) {
      const auto group = parse_group(text_of(list.Get(i)));
      if (!group) {
        Napi::RangeError::New(env, "groups: expected link, address, route, neigh, miss, nexthop or rule")
            .ThrowAsJavaScriptException();
        return env.Undefined();
      }
      groups |= *group;
    }
  }
  if (groups == 0 || !info[2].IsFunction()) {
    Napi::TypeError::New(env, "openMonitor(netns, groups, onBatch)").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  // Right here and not on the pool: when this returns, no event is missed any more. It takes a fraction of a
  // millisecond.
  auto opened = open_events(text_of(info[0]), groups, static_cast<int>(number_of(info[3], kReceiveBuffer)));
  if (!opened) {
    Napi::Error(env, to_js(env, opened.failure())).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  auto hub = MonitorHub::of(env);
  if (!hub) {
    Napi::Error::New(env, "the monitor thread cannot be started").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const Napi::Object object = instance(env).monitor.New({});
  // Either gives nothing while the environment ends.
  Monitor* monitor = object.IsEmpty() ? nullptr : Monitor::Unwrap(object);
  if (monitor == nullptr) return env.Undefined();
  monitor->begin(hub, std::move(*opened), groups, Napi::Persistent(info[2].As<Napi::Function>()));
  return object;
}

}  // namespace overns
