#include "binding/tables.h"

#include <array>
#include <cstddef>
#include <span>

#include "binding/entries.h"
#include "binding/entry_rows.h"
#include "binding/fields.h"
#include "binding/resolver_events.h"
#include "engine/counters.h"
#include "engine/event.h"

namespace overns {
namespace {

struct LayoutField {
  const char* name;  // in lib
  std::size_t offset;
};

constexpr LayoutField kEntryRow[] = {
    {"kind", offsetof(EntryRow, kind)},
    {"action", offsetof(EntryRow, action)},
    {"flags", offsetof(EntryRow, flags)},
    {"ipLength", offsetof(EntryRow, ip_length)},
    {"state", offsetof(EntryRow, state)},
    {"macLength", offsetof(EntryRow, mac_length)},
    {"marks", offsetof(EntryRow, marks)},
    {"text", offsetof(EntryRow, text)},
    {"link", offsetof(EntryRow, link)},
    {"via", offsetof(EntryRow, via)},
    {"master", offsetof(EntryRow, master)},
    {"port", offsetof(EntryRow, port)},
    {"vlan", offsetof(EntryRow, vlan)},
    {"protocol", offsetof(EntryRow, protocol)},
    {"activity", offsetof(EntryRow, activity)},
    {"vni", offsetof(EntryRow, vni)},
    {"sourceVni", offsetof(EntryRow, source_vni)},
    {"nexthop", offsetof(EntryRow, nexthop)},
    {"object", offsetof(EntryRow, object)},
    {"linkNetnsid", offsetof(EntryRow, link_netnsid)},
    {"extendedFlags", offsetof(EntryRow, extended_flags)},
    {"size", sizeof(EntryRow)},
};

constexpr LayoutField kEntryRecord[] = {
    {"verb", offsetof(EntryRecord, verb)},
    {"flags", offsetof(EntryRecord, flags)},
    {"state", offsetof(EntryRecord, state)},
    {"family", offsetof(EntryRecord, family)},
    {"hasMac", offsetof(EntryRecord, has_mac)},
    {"mac", offsetof(EntryRecord, mac)},
    {"ip", offsetof(EntryRecord, ip)},
    {"vni", offsetof(EntryRecord, vni)},
    {"port", offsetof(EntryRecord, port)},
    {"vlan", offsetof(EntryRecord, vlan)},
    {"link", offsetof(EntryRecord, link)},
    {"via", offsetof(EntryRecord, via)},
    {"nexthop", offsetof(EntryRecord, nexthop)},
    {"sourceVni", offsetof(EntryRecord, source_vni)},
    {"protocol", offsetof(EntryRecord, protocol)},
    {"extendedFlags", offsetof(EntryRecord, extended_flags)},
    {"activity", offsetof(EntryRecord, activity)},
    {"size", sizeof(EntryRecord)},
};

Napi::Object layout(Napi::Env env, std::span<const LayoutField> fields) {
  auto object = Napi::Object::New(env);
  for (const LayoutField& field : fields) object.Set(field.name, static_cast<double>(field.offset));
  return object;
}

Napi::Array words(Napi::Env env, std::span<const char* const> names) {
  auto array = Napi::Array::New(env, names.size());
  for (std::uint32_t i = 0; i < names.size(); ++i) array.Set(i, names[i]);
  return array;
}

Napi::Object event_fields(Napi::Env env) {
  auto object = Napi::Object::New(env);
  for (const EventField& field : event_field_rows()) {
    auto kinds = Napi::Array::New(env);
    std::uint32_t count = 0;
    for (std::size_t kind = 0; kind < kEventKindNames.size(); ++kind) {
      if ((field.kinds >> kind & 1U) != 0) kinds.Set(count++, kEventKindNames[kind]);
    }
    object.Set(field.name, kinds);
  }
  return object;
}

Napi::Object counter_types(Napi::Env env) {
  auto object = Napi::Object::New(env);
  for (const CounterRow& row : kCounterRows)
    object.Set(row.name, row.type == CounterType::kGauge ? "gauge" : "counter");
  return object;
}

}  // namespace

Napi::Object native_tables(Napi::Env env) {
  auto tables = Napi::Object::New(env);
  tables.Set("eventKinds", words(env, kEventKindNames));
  tables.Set("eventFields", event_fields(env));
  tables.Set("causes", words(env, kCauseNames));
  tables.Set("counters", counter_types(env));
  tables.Set("rowKinds", words(env, kRowKindNames));
  tables.Set("rowActions", words(env, kRowActionNames));
  auto verbs = Napi::Object::New(env);
  for (const auto& verb : kVerbs) verbs.Set(verb.text, static_cast<double>(verb.value));
  tables.Set("verbs", verbs);
  tables.Set("entryRow", layout(env, kEntryRow));
  tables.Set("entryRecord", layout(env, kEntryRecord));
  return tables;
}

}  // namespace overns
