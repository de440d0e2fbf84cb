#include "binding/resolver_events.h"

namespace overns {
namespace {

template <class... Kinds>
constexpr std::uint32_t of(Kinds... kinds) {
  return ((1U << static_cast<unsigned>(kinds)) | ...);
}

constexpr EventKind kResolved = EventKind::kResolved;
constexpr EventKind kUnresolved = EventKind::kUnresolved;
constexpr EventKind kRejected = EventKind::kRejected;
constexpr std::uint32_t kAboutMiss = of(kResolved, kUnresolved, kRejected, EventKind::kMiss);

Napi::Value text(Napi::Env env, const std::string& value) { return Napi::String::New(env, value); }
Napi::Value number(Napi::Env env, double value) { return Napi::Number::New(env, value); }

constexpr EventField kFields[] = {
    // Exactly one of the first two.
    {"ip", kAboutMiss,
     [](Napi::Env env, const EngineEvent& event) {
       return event.key.is_l3() ? text(env, event.key.ip().to_string()) : env.Undefined();
     }},
    {"queriedMac", kAboutMiss,
     [](Napi::Env env, const EngineEvent& event) {
       return event.key.is_l3() ? env.Undefined() : text(env, event.key.mac().to_string());
     }},
    {"missAtNs", kAboutMiss,
     [](Napi::Env env, const EngineEvent& event) -> Napi::Value { return Napi::BigInt::New(env, event.miss_at); }},
    {"token", kAboutMiss, [](Napi::Env env, const EngineEvent& event) { return number(env, event.token); }},
    {"mac", of(kResolved, kRejected, EventKind::kContradicted),
     [](Napi::Env env, const EngineEvent& event) { return text(env, event.mac.to_string()); }},
    {"vtep", of(kResolved, kRejected, EventKind::kContradicted),
     [](Napi::Env env, const EngineEvent& event) { return text(env, event.vtep.to_string()); }},
    {"learned", of(EventKind::kContradicted),
     [](Napi::Env env, const EngineEvent& event) { return text(env, event.learned.to_string()); }},
    {"ttlMs", of(kResolved),
     [](Napi::Env env, const EngineEvent& event) {
       return event.ttl_ms == 0 ? env.Undefined() : number(env, event.ttl_ms);
     }},
    {"by", of(kResolved),
     [](Napi::Env env, const EngineEvent& event) { return text(env, event.by_store ? "store" : "table"); }},
    {"tookUs", of(kResolved),
     [](Napi::Env env, const EngineEvent& event) {
       return number(env, static_cast<double>(event.at - event.miss_at) / 1000.0);
     }},
    {"cause", of(kUnresolved),
     [](Napi::Env env, const EngineEvent& event) {
       return text(env, kCauseNames[static_cast<std::size_t>(event.cause)]);
     }},
    {"reason", of(kRejected, EventKind::kPuntOff),
     [](Napi::Env env, const EngineEvent& event) { return text(env, event.reason); }},
    {"errno", of(kRejected, EventKind::kPuntOff),
     [](Napi::Env env, const EngineEvent& event) { return number(env, -event.error); }},
    {"dropped", of(EventKind::kOverrun),
     [](Napi::Env env, const EngineEvent& event) { return number(env, event.dropped); }},
};

}  // namespace

std::span<const EventField> event_field_rows() { return kFields; }

std::string key_text(const AskKey& key) { return key.is_l3() ? key.ip().to_string() : key.mac().to_string(); }

Napi::Object to_js(Napi::Env env, const OutEvent& out) {
  const EngineEvent& event = out.event;
  auto object = Napi::Object::New(env);
  object.Set("overlay", out.overlay);
  object.Set("kind", kEventKindNames[static_cast<std::size_t>(event.kind)]);
  object.Set("atNs", Napi::BigInt::New(env, event.at));
  for (const EventField& field : kFields) {
    if ((field.kinds & of(event.kind)) == 0) continue;
    const Napi::Value value = field.read(env, event);
    if (!value.IsEmpty() && !value.IsUndefined()) object.Set(field.name, value);
  }
  return object;
}

Napi::Object to_js(Napi::Env env, const OutLookup& lookup) {
  auto object = Napi::Object::New(env);
  object.Set("overlay", lookup.overlay);
  object.Set("token", lookup.token);
  object.Set("l3", lookup.key.is_l3());
  object.Set("key", key_text(lookup.key));
  object.Set("missAtNs", Napi::BigInt::New(env, lookup.miss_at));
  return object;
}

}  // namespace overns
