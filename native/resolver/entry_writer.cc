#include "resolver/entry_writer.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>

#include "rtnl/neighbor.h"

namespace overns {

void EntryWriter::program(std::span<const KernelEntry> items, std::span<int> errors) {
  // All but the last chunk are seen through here; its answers can wait until the requests have been replayed.
  constexpr std::size_t kChunk = CommandSocket::kDeferred / 2;
  for (std::size_t at = 0; at < items.size(); at += kChunk) {
    confirm();
    const std::size_t count = std::min(kChunk, items.size() - at);
    submit(items.subspan(at, count), errors.subspan(at, count));
  }
}

void EntryWriter::submit(std::span<const KernelEntry> items, std::span<int> errors) {
  batch_.clear();
  for (const KernelEntry& item : items) {
    NeighborEntry entry;
    entry.index = vxlan_;
    if (!item.ip.empty()) {
      // PERMANENT: a REACHABLE one decays to STALE, after which requests are dropped and no miss fires. Its TTL is
      // kept by the engine.
      entry.family = item.ip.family;
      entry.state = NUD_PERMANENT;
      entry.ip = item.ip;
      entry.mac = item.mac;
      encode_neighbor(batch_, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, entry);
    }
    // REACHABLE (`dynamic`): a PERMANENT one would black-hole frames of a MAC that has moved. Where the kernel learns
    // it may learn a move, and ages out what it receives nothing from; else nothing would keep an entry that is in use,
    // so it does not age (`extern_learn`).
    entry.family = AF_BRIDGE;
    entry.state = NUD_REACHABLE;
    entry.flags = static_cast<std::uint8_t>(NTF_SELF | (learning_ ? 0 : NTF_EXT_LEARNED));
    entry.ip = item.vtep;
    entry.mac = item.mac;
    encode_neighbor(batch_, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, entry);
  }
  if (const Status status = command_.submit(batch_); !status) {
    std::fill(errors.begin(), errors.end(), status.failure().error);
    return;
  }
  submitted_ = items;
  errors_ = errors;
}

void EntryWriter::confirm() {
  if (submitted_.empty()) return;
  const Status status = command_.collect(batch_, answers_);
  std::size_t request = 0;
  for (std::size_t i = 0; i < submitted_.size(); ++i) {
    errors_[i] = status ? 0 : status.failure().error;
    const std::size_t count = submitted_[i].ip.empty() ? 1 : 2;
    for (std::size_t k = 0; k < count; ++k, ++request) {
      const auto& answer = answers_[request];
      // EEXIST: the kernel has learned the same meanwhile.
      if (answer && answer->error != EEXIST && errors_[i] == 0) errors_[i] = answer->error;
    }
  }
  submitted_ = {};
}

void EntryWriter::withdraw(std::span<const AskKey> keys, std::span<int> errors) {
  confirm();  // one conversation at a time
  batch_.clear();
  for (const AskKey& key : keys) {
    NeighborEntry entry;
    entry.index = vxlan_;
    if (key.is_l3()) {
      entry.family = key.kind;
      entry.ip = key.ip();
    } else {
      entry.family = AF_BRIDGE;
      entry.flags = NTF_SELF;
      entry.mac = key.mac();
    }
    encode_neighbor(batch_, RTM_DELNEIGH, 0, entry);
  }
  const Status status = command_.execute(batch_, answers_);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const int error = !status ? status.failure().error : answers_[i] ? answers_[i]->error : 0;
    // ENOENT is what is wanted, and a device that is gone has taken its entries along.
    errors[i] = error == ENOENT || error == ENODEV ? 0 : error;
  }
}

int EntryWriter::withdraw_vtep(const Ip& vtep) {
  confirm();
  batch_.clear();
  FdbFlush flush;
  flush.match.family = AF_BRIDGE;
  flush.match.index = vxlan_;
  flush.match.flags = NTF_SELF;
  flush.match.ip = vtep;
  encode_flush_fdb(batch_, flush);
  const Status status = command_.execute(batch_, answers_);
  const int error = !status ? status.failure().error : answers_[0] ? answers_[0]->error : 0;
  return error == ENOENT || error == ENODEV ? 0 : error;
}

}  // namespace overns
