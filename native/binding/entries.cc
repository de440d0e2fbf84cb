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
  entry.via = static_cast<std::uint32_t>(via);
  return entry;
}

}  // namespace

Result<std::vector<EntryFailure>> send_entries(CommandSocket& socket, bool fdb, Bytes records,
                                               const std::vector<std::string>& links) {
  std::vector<EntryFailure> failures;
  std::vector<NamedLink> named(links.size());
  for (std::size_t i = 0; i < links.size(); ++i) {
    auto index = link_index(socket, links[i]);
    if (index) {
      named[i].index = *index;
    } else {
      named[i].failure = index.failure();
    }
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
      if (link.failure || via.failure) {
        failures.push_back({i, link.failure ? *link.failure : *via.failure});
        continue;
      }
      const auto verb = static_cast<Verb>(record.verb);
      encode_neighbor(batch, verb == Verb::kDelete ? RTM_DELNEIGH : RTM_NEWNEIGH, creation_flags(verb),
                      entry_of(record, fdb, link.index, via.index));
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
