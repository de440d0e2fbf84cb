#include "binding/entry_rows.h"

#include <sys/socket.h>

#include <cstring>

#include "base/text.h"
#include "binding/fields.h"

namespace overns {

namespace {

// Given away as it is: a copy of a big listing costs as much as reading it.
template <class Item>
Napi::Buffer<std::uint8_t> give(Napi::Env env, std::vector<Item>& items) {
  constexpr std::size_t kCopied = 16 << 10;
  const std::size_t bytes = items.size() * sizeof(Item);
  auto* data = reinterpret_cast<std::uint8_t*>(items.data());
  if (bytes <= kCopied) return Napi::Buffer<std::uint8_t>::Copy(env, data, bytes);
  auto* kept = new std::vector<Item>(std::move(items));
  items = {};
  return Napi::Buffer<std::uint8_t>::New(
      env, reinterpret_cast<std::uint8_t*>(kept->data()), bytes,
      [](Napi::BasicEnv, std::uint8_t*, std::vector<Item>* owner) { delete owner; }, kept);
}

}  // namespace

std::uint16_t EntryRows::number(std::int32_t index) {
  if (index == last_index_) return last_number_;
  const auto known = numbers_.find(index);
  if (known != numbers_.end()) {
    last_number_ = known->second;
  } else {
    // Beyond what a row can number nobody has links; the last of them then stands for all others.
    if (indexes_.size() < EntryRow::kNoLink) indexes_.push_back(index);
    last_number_ = numbers_[index] = static_cast<std::uint16_t>(indexes_.size() - 1);
  }
  last_index_ = index;
  return last_number_;
}

void EntryRows::name_links(const LinkNames& names) {
  for (std::size_t i = links_.size(); i < indexes_.size(); ++i) {
    const auto name = names.find(indexes_[i]);
    // A proxy may be on no link.
    const bool none = indexes_[i] == 0;
    links_.push_back(name != names.end() ? name->second : none ? std::string() : "if" + std::to_string(indexes_[i]));
  }
  numbers_.clear();
  last_index_ = -1;
}

void EntryRows::add(const NeighborEntry& entry, RowAction action, bool vxlan) {
  const bool miss = action == RowAction::kL2Miss || action == RowAction::kL3Miss;
  const bool fdb = entry.family == AF_BRIDGE;
  EntryRow row{};
  row.kind = miss ? RowKind::kMiss : fdb ? RowKind::kFdb : RowKind::kNeighbor;
  row.action = action;
  row.flags = entry.flags;
  row.state = entry.state;
  row.text = static_cast<std::uint32_t>(text_.size());
  char text[Ip::kTextSize + Mac::kTextSize];
  if (!entry.ip.empty()) row.ip_length = static_cast<std::uint8_t>(entry.ip.write(text));
  if (entry.mac) row.mac_length = static_cast<std::uint8_t>(entry.mac->write(text + row.ip_length));
  text_.insert(text_.end(), text, text + row.ip_length + row.mac_length);
  row.link = number(entry.index);
  row.via = entry.via == 0 ? EntryRow::kNoLink : number(static_cast<std::int32_t>(entry.via));
  row.master = entry.master == 0 ? EntryRow::kNoLink : number(static_cast<std::int32_t>(entry.master));
  row.port = entry.port.value_or(0);
  row.vlan = entry.vlan;
  row.protocol = entry.protocol;
  row.vni = entry.vni.value_or(EntryRow::kNone);
  row.nexthop = entry.nexthop;
  row.source_vni = entry.source_vni.value_or(EntryRow::kNone);
  row.extended_flags = entry.extended_flags;
  row.activity = entry.activity;
  row.link_netnsid = entry.link_netnsid.value_or(0);
  row.object = EntryRow::kNone;
  if (!entry.unknown.empty()) {
    row.object = static_cast<std::uint32_t>(unknown_.size());
    unknown_.push_back(entry.unknown);
  }
  const bool rare = entry.via != 0 || entry.master != 0 || row.port != 0 || row.vlan != 0 || row.protocol != 0 ||
                    row.extended_flags != 0 || row.activity != 0 || entry.link_netnsid || row.vni != EntryRow::kNone ||
                    row.source_vni != EntryRow::kNone || row.nexthop != 0 || row.object != EntryRow::kNone;
  row.marks = static_cast<std::uint8_t>((vxlan ? EntryRow::kVxlan : 0) | (rare ? EntryRow::kRare : 0) |
                                        (entry.link_netnsid ? EntryRow::kElsewhere : 0));
  rows_.push_back(row);
}

void EntryRows::add_object() {
  EntryRow row{};
  row.text = static_cast<std::uint32_t>(text_.size());
  row.object = objects_++;
  rows_.push_back(row);
}

void EntryRows::clear() { *this = {}; }

Napi::Object EntryRows::to_js(Napi::Env env) {
  auto object = Napi::Object::New(env);
  auto links = Napi::Array::New(env, links_.size());
  auto indexes = Napi::Array::New(env, links_.size());
  for (std::uint32_t i = 0; i < links_.size(); ++i) {
    links.Set(i, to_utf8(links_[i]));
    indexes.Set(i, indexes_[i]);
  }
  object.Set("rows", give(env, rows_));
  object.Set("text", give(env, text_));
  object.Set("links", links);
  object.Set("indexes", indexes);
  if (!unknown_.empty()) {
    auto unknown = Napi::Array::New(env, unknown_.size());
    for (std::uint32_t i = 0; i < unknown_.size(); ++i) {
      Napi::HandleScope scope(env);
      auto each = Napi::Object::New(env);
      set_unknown(each, unknown_[i]);
      unknown.Set(i, each.Get("unknown"));
    }
    object.Set("unknown", unknown);
  }
  clear();
  return object;
}

}  // namespace overns
