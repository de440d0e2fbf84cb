// Events and lookups of the resolver thread as objects of JavaScript.
#pragma once

#include "binding/convert.h"

#include <span>
#include <string>

#include "resolver/overlay_port.h"

namespace overns {

// A field of an event beside `overlay`, `kind` and `atNs`, which each has.
struct EventField {
  const char* name;
  std::uint32_t kinds;  // bits 1 << EventKind: which have it
  Napi::Value (*read)(Napi::Env env, const EngineEvent& event);
};
std::span<const EventField> event_field_rows();

std::string key_text(const AskKey& key);
Napi::Object to_js(Napi::Env env, const OutEvent& out);
Napi::Object to_js(Napi::Env env, const OutLookup& lookup);

}  // namespace overns
