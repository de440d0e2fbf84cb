#include "binding/entries.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace overns {
namespace {

constexpr std::size_t kRound = 4096;  // records turned into requests at a time

struct NamedLink {
  std::int32_t index = 0;
  std::optional<Failure> failure;
  std::int32_t listed = 0;  // for a deletion, which goes on without the name
};

NeighborEntry entry_of(const EntryRecord& record, bool fdb, std::int32_t link, std::int32_t via) {
  NeighborEntry entry;
  entry.index = link;
  entry.state = record.state;
  entry.flags = record.flags;
  if (record.family != 0) entry.ip = *Ip::from({record.ip, record.family == 4 ? std::size_t{4} : std::size_t{16}});
  entry.family = fdb ? std::uint8_t{AF_BRIDGE} : entry.ip.family;
  if (record.has_mac != 0) entry.mac = *Mac::from({record.mac, 6});
  if (record.vni != EntryRecord::kNoVni) entry.vni = record.vni;
  if (record.port != 0) entry.port = record.port;
  entry.vlan = record.vlan;
  entry.nexthop = record.nexthop;
  if (record.source_vni != EntryRecord::kNoVni) entry.source_vni = record.source_vni;
  entry.protocol = record.protocol;
  entry.extended_flags = record.extended_flags;
  entry.activity = record.activity;
  entry.via = static_cast<std::uint32_t>(via);
  return entry;
}

// The text up to the next line's begin; nothing where there is none left.
std::optional<std::string_view> next_line(std::optional<std::string_view>& text) {
  if (!text) return std::nullopt;
  const std::size_t end = text->find('\n');
  const std::string_view line = text->substr(0, end);
  if (end == std::string_view::npos) {
    text.reset();
  } else {
    text->remove_prefix(end + 1);
  }
  return line;
}

}  // namespace

bool read_addresses(std::span<std::uint8_t> records, std::size_t first, std::size_t count, std::string_view text) {
  const std::size_t known = records.size() / sizeof(EntryRecord);
  if (first > known || count > known - first) return false;
  std::optional rest = text;
  for (std::size_t i = first; i < first + count; ++i) {
    const auto mac_text = next_line(rest);
    const auto ip_text = next_line(rest);
    if (!ip_text) return false;
    if (mac_text->empty() && ip_text->empty()) continue;
    const auto mac = Mac::parse(*mac_text);
    const auto ip = Ip::parse(*ip_text);
    // Written as IPv6, an IPv4 address is refused.
    if (i == 0 || !mac || !ip || ip->is_v4_mapped()) return false;
    EntryRecord record;
    std::memcpy(&record, records.data() + (i - 1) * sizeof record, sizeof record);
    record.family = ip->is_v4() ? 4 : 6;
    record.has_mac = 1;
    std::memcpy(record.mac, mac->bytes.data(), sizeof record.mac);
    std::memcpy(record.ip, ip->bytes.data(), sizeof record.ip);
    std::memcpy(records.data() + i * sizeof record, &record, sizeof record);
  }
  return !rest || count == 0;
}

Result<std::int32_t> resolve_link(CommandSocket& socket, const LinkRef& link, bool deletion) {
  if (link.name.empty()) return link.index;
  auto found = link_index(socket, link.name);
  if (!found) {
    if (deletion && link.index != 0 && found.failure().error == ENODEV) return link.index;
    return found;
  }
  if (link.index != 0 && *found != link.index) return Failure{ENODEV, "RTM_GETLINK", link.name, {}, "linkIndex"};
  return found;
}

Result<std::vector<EntryFailure>> send_entries(CommandSocket& socket, bool fdb, Bytes records,
                                               const std::vector<LinkRef>& links) {
  std::vector<EntryFailure> failures;
  std::vector<NamedLink> named(links.size());
  for (std::size_t i = 0; i < links.size(); ++i) {
    auto index = resolve_link(socket, links[i], false);
    if (index) {
      named[i].index = *index;
      continue;
    }
    named[i].failure = index.failure();
    if (auto deleted = resolve_link(socket, links[i], true); deleted) named[i].listed = *deleted;
  }
  const std::size_t count = records.size() / sizeof(EntryRecord);
  RequestBatch batch;
  std::vector<std::size_t> positions;
  for (std::size_t from = 0; from < count; from += kRound) {
    batch.clear();
    positions.clear();
    for (std::size_t i = from; i < std::min(count, from + kRound); ++i) {
      EntryRecord record;
      std::memcpy(&record, records.data() + i * sizeof record, sizeof record);
      const bool has_via = record.via != EntryRecord::kNoLink;
      if (record.link >= named.size() || (has_via && record.via >= named.size())) {
        failures.push_back({i, Failure{EINVAL, "batch", "malformed record", {}, {}}});
        continue;
      }
      const NamedLink& link = named[record.link];
      const NamedLink none;
      const NamedLink& via = has_via ? named[record.via] : none;
      const auto verb = static_cast<Verb>(record.verb);
      const auto refused = [&](const NamedLink& each) {
        return each.failure && !(verb == Verb::kDelete && each.listed != 0);
      };
      if (refused(link) || refused(via)) {
        failures.push_back({i, refused(link) ? *link.failure : *via.failure});
        continue;
      }
      const auto index = [](const NamedLink& each) { return each.failure ? each.listed : each.index; };
      encode_neighbor(batch, verb == Verb::kDelete ? RTM_DELNEIGH : RTM_NEWNEIGH, creation_flags(verb),
                      entry_of(record, fdb, index(link), index(via)));
      positions.push_back(i);
    }
    if (positions.empty()) continue;
    const Status status = socket.execute(batch, [&](std::size_t at, Failure failure) {
      failures.push_back({positions[at], std::move(failure)});
    });
    if (!status) return status.failure();
  }
  return failures;
}

}  // namespace overns
