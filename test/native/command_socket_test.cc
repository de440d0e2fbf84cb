// netlink/command_socket.h on the real kernel, in a namespace of its own.
#include "netlink/command_socket.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <set>
#include <thread>

#include "netlink/socket.h"
#include "rtnl/address.h"
#include "rtnl/link.h"
#include "rtnl/link_attributes.h"
#include "rtnl/miss_filter.h"
#include "rtnl/neighbor.h"
#include "support.h"

using namespace overns;
using support::ip;
using support::mac;

namespace {

using Answers = std::vector<std::optional<Failure>>;

CommandSocket open_socket_in(const support::Namespace& netns, std::size_t buffer = 64 << 10) {
  auto socket = CommandSocket::open(netns.path(), buffer);
  REQUIRE(socket.ok());
  return std::move(*socket);
}

InterfaceAddress address_of(std::int32_t link, const Ip& ip) {
  InterfaceAddress address;
  address.index = link;
  address.ip = ip;
  address.prefix = 32;
  address.scope = RT_SCOPE_LINK;
  return address;
}

NeighborEntry neighbor(std::int32_t index, std::uint32_t number) {
  NeighborEntry entry;
  entry.family = AF_INET;
  entry.index = index;
  entry.state = NUD_PERMANENT;
  entry.ip = ip("10.1.0.0");
  entry.ip.bytes[1] = static_cast<std::uint8_t>(1 + (number >> 16));
  entry.ip.bytes[2] = static_cast<std::uint8_t>(number >> 8);
  entry.ip.bytes[3] = static_cast<std::uint8_t>(number);
  entry.mac = mac("02:00:00:00:00:01");
  return entry;
}

// One neighbour a number; `flags` say what of a second time.
void add_neighbors(CommandSocket& socket, std::int32_t index, std::uint32_t count) {
  RequestBatch batch;
  for (std::uint32_t i = 0; i < count; ++i)
    encode_neighbor(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, neighbor(index, i));
  REQUIRE(socket.execute(batch).ok());
}

std::set<Ip> neighbors_in(const DumpResult& dump) {
  std::set<Ip> seen;
  MessageReader reader(dump.bytes);
  while (const auto message = reader.next()) {
    if (const auto entry = decode_neighbor(*message)) seen.insert(entry->ip);
  }
  CHECK_FALSE(reader.malformed());
  return seen;
}

}  // namespace

TEST_CASE("a batch answers per item, in order") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  CommandSocket socket = open_socket_in(*netns);
  const std::int32_t bridge = support::add_bridge(socket, "br0");
  add_neighbors(socket, bridge, 10);

  // Those below 10 exist: NLM_F_EXCL fails for them. Every third is for a device that does not exist.
  RequestBatch batch;
  for (const std::uint32_t i : {3U, 20U, 9U, 21U, 22U, 0U}) {
    encode_neighbor(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, neighbor(i == 22 ? 9999 : bridge, i));
  }
  Answers answers;
  REQUIRE(socket.execute(batch, answers).ok());
  std::vector<int> errors;
  for (const auto& answer : answers) errors.push_back(answer ? answer->error : 0);
  CHECK(errors == std::vector<int>{EEXIST, 0, EEXIST, 0, ENODEV, EEXIST});
  CHECK(answers[0]->call == "RTM_NEWNEIGH");

  // Without room for the answers, the first failure stands for all, and all were tried.
  batch.clear();
  for (const std::uint32_t i : {30U, 3U, 31U})
    encode_neighbor(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, neighbor(bridge, i));
  const Status status = socket.execute(batch);
  REQUIRE_FALSE(status.ok());
  CHECK(status.failure().error == EEXIST);
  RequestBatch dump;
  encode_get_neighbors(dump, AF_INET, bridge, 0);
  auto listed = socket.dump(dump);
  REQUIRE(listed.ok());
  CHECK(neighbors_in(*listed).contains(neighbor(bridge, 31).ip));
}

TEST_CASE("an empty batch is done") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  CommandSocket socket = open_socket_in(*netns);
  RequestBatch batch;
  Answers answers(3);
  CHECK(socket.execute(batch, answers).ok());
  CHECK(answers.empty());
}

TEST_CASE("the kernel's words and the attribute it means come along") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  CommandSocket socket = open_socket_in(*netns);
  RequestBatch batch;
  LinkSpec spec;
  spec.kind = "vxlan";
  spec.name = "bad0";
  spec.info.push_back({&info_policies("vxlan")[0], std::uint64_t{1 << 24}});
  encode_link(batch, spec, NLM_F_CREATE | NLM_F_EXCL);
  const Status status = socket.execute(batch);
  REQUIRE_FALSE(status.ok());
  CHECK(status.failure().error == ERANGE);
  CHECK(status.failure().call == "RTM_NEWLINK");
  CHECK(status.failure().kernel_message == "VXLAN ID must be lower than 16777216");
  CHECK(status.failure().attribute == "1");  // IFLA_VXLAN_ID
}

TEST_CASE("batches beyond one sendmsg: by number and by bytes") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  CommandSocket socket = open_socket_in(*netns);
  const std::int32_t bridge = support::add_bridge(socket, "br0");
  add_neighbors(socket, bridge, 1);

  // 1000 requests, of which every seventh fails.
  RequestBatch batch;
  for (std::uint32_t i = 0; i < 1000; ++i)
    encode_neighbor(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, neighbor(bridge, i % 7 == 0 ? 0 : i));
  Answers answers;
  REQUIRE(socket.execute(batch, answers).ok());
  std::size_t wrong = 0;
  for (std::uint32_t i = 0; i < 1000; ++i) wrong += (answers[i] ? answers[i]->error : 0) != (i % 7 == 0 ? EEXIST : 0);
  CHECK(wrong == 0);

  // Ten requests of 30 KiB each: 300 KiB, three to a sendmsg. The kernel ignores the attribute that it does not know.
  batch.clear();
  const support::ByteVector large(30 << 10);
  for (std::uint32_t i = 0; i < 10; ++i) {
    const NeighborEntry entry = neighbor(bridge, i % 2 == 1 ? 0 : 2000 + i);
    MessageWriter& writer = batch.begin(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL);
    ndmsg header{};
    header.ndm_family = AF_INET;
    header.ndm_ifindex = bridge;
    header.ndm_state = NUD_PERMANENT;
    writer.header(header);
    writer.attribute(NDA_DST, entry.ip.raw());
    writer.attribute(NDA_LLADDR, entry.mac->bytes);
    writer.attribute(1000, large);
    batch.end();
  }
  REQUIRE(socket.execute(batch, answers).ok());
  std::vector<int> errors;
  for (const auto& answer : answers) errors.push_back(answer ? answer->error : 0);
  CHECK(errors == std::vector<int>{0, EEXIST, 0, EEXIST, 0, EEXIST, 0, EEXIST, 0, EEXIST});
}

TEST_CASE("a request longer than netlink can say is refused, its neighbours in the batch are not") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  CommandSocket socket = open_socket_in(*netns);
  support::add_bridge(socket, "br0");

  // 65536 bytes more than it seems: as a 16-bit length, the alias would end early, and what follows in it would be
  // attributes of its own (here IFLA_MTU 1280).
  std::string smuggled(UINT16_MAX + 1, 'a');
  const support::ByteVector mtu = support::from_hex("0800040000050000");
  std::copy(mtu.begin(), mtu.end(), smuggled.begin() + 4);
  RequestBatch batch;
  LinkSpec spec;
  spec.name = "br0";
  spec.alias = "before";
  encode_link(batch, spec, 0);
  spec.alias = smuggled;
  encode_link(batch, spec, 0);
  spec.alias = "after";
  encode_link(batch, spec, 0);
  spec.alias.reset();
  spec.kind = std::string(UINT16_MAX - 8, 'k');  // fits, its nest does not
  encode_link(batch, spec, 0);
  spec.name = std::string(40000, 'n');  // each attribute fits, the request does not
  spec.kind = std::string(40000, 'k');
  encode_link(batch, spec, 0);
  Answers answers;
  REQUIRE(socket.execute(batch, answers).ok());
  std::vector<int> errors;
  for (const auto& answer : answers) errors.push_back(answer ? answer->error : 0);
  CHECK(errors == std::vector<int>{0, EMSGSIZE, 0, EMSGSIZE, EMSGSIZE});
  CHECK(answers[1]->call == "RTM_NEWLINK");

  RequestBatch query;
  encode_get_link(query, 0, "br0");
  auto answer = socket.query(query);
  REQUIRE(answer.ok());
  MessageReader reader(*answer);
  const auto link = decode_link(*reader.next());
  REQUIRE(link);
  CHECK(link->alias == "after");
  CHECK(link->mtu == 1500);

  query.clear();
  encode_get_link(query, 0, smuggled);
  const auto refused = socket.query(query);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().error == EMSGSIZE);
  const auto undumped = socket.dump(query);
  REQUIRE_FALSE(undumped.ok());
  CHECK(undumped.failure().error == EMSGSIZE);
}

TEST_CASE("a dump into a buffer that is too small is complete") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  CommandSocket roomy = open_socket_in(*netns);
  const std::int32_t bridge = support::add_bridge(roomy, "br0");
  add_neighbors(roomy, bridge, 3000);
  RequestBatch request;
  encode_get_neighbors(request, AF_INET, bridge, 0);
  for (const std::size_t buffer : {std::size_t{1}, std::size_t{64}, std::size_t{1000}, std::size_t{5000}}) {
    INFO("a buffer of " << buffer);
    CommandSocket socket = open_socket_in(*netns, buffer);
    auto dump = socket.dump(request);
    REQUIRE(dump.ok());
    CHECK_FALSE(dump->interrupted);
    CHECK(neighbors_in(*dump).size() == 3000);

    // As are single answers, and acknowledgements.
    CommandSocket other = open_socket_in(*netns, buffer);
    RequestBatch query;
    encode_get_link(query, 0, "br0");
    auto answer = other.query(query);
    REQUIRE(answer.ok());
    MessageReader reader(*answer);
    CHECK(decode_link(*reader.next())->index == bridge);
    CommandSocket third = open_socket_in(*netns, buffer);
    RequestBatch batch;
    encode_neighbor(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, neighbor(bridge, 0));
    Answers answers;
    REQUIRE(third.execute(batch, answers).ok());
    CHECK(answers[0]->error == EEXIST);
  }
}

TEST_CASE("a dump of what changes meanwhile is data, marked or clean, and never an error") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  CommandSocket socket = open_socket_in(*netns);
  const std::int32_t bridge = support::add_bridge(socket, "br0");
  constexpr std::uint32_t kStable = 3000;  // many datagrams of each
  add_neighbors(socket, bridge, kStable);
  RequestBatch addresses;
  for (std::uint32_t i = 0; i < kStable; ++i) {
    encode_address(addresses, RTM_NEWADDR, NLM_F_CREATE, address_of(bridge, neighbor(bridge, i).ip));
  }
  REQUIRE(socket.execute(addresses).ok());

  std::atomic<bool> stop{false};
  CommandSocket changing = open_socket_in(*netns);
  std::thread changer([&] {
    RequestBatch batch;
    for (std::uint32_t i = 0; !stop; ++i) {
      batch.clear();
      LinkSpec spec;
      spec.kind = "bridge";
      spec.name = "flap0";
      // A link's deletion waits for the grace period of all who may look at it: now and then only.
      if (i % 32 == 0) encode_link(batch, spec, NLM_F_CREATE | NLM_F_EXCL);
      for (std::uint32_t k = 0; k < 32; ++k) {
        const NeighborEntry entry = neighbor(bridge, 100000 + k);
        encode_neighbor(batch, RTM_NEWNEIGH, NLM_F_CREATE, entry);
        encode_address(batch, RTM_NEWADDR, NLM_F_CREATE, address_of(bridge, entry.ip));
        encode_neighbor(batch, RTM_DELNEIGH, 0, entry);
        encode_address(batch, RTM_DELADDR, 0, address_of(bridge, entry.ip));
      }
      if (i % 32 == 0) encode_delete_link(batch, 0, "flap0");
      Answers answers;
      (void)changing.execute(batch, answers);
    }
  });
  int interrupted = 0;
  std::vector<Ip> skipped;
  for (int i = 0; i < 30; ++i) {
    RequestBatch request;
    if (i % 3 == 0) encode_get_neighbors(request, AF_INET, 0, 0);
    if (i % 3 == 1) encode_get_addresses(request, 0, AF_INET);
    if (i % 3 == 2) encode_get_link(request, 0, {});
    auto dump = socket.dump(request);
    INFO(support::text(dump));
    REQUIRE(dump.ok());
    interrupted += dump->interrupted ? 1 : 0;
    if (i % 3 != 0) continue;
    // What did not change is there; but the kernel goes on by its place in a hash chain, and skips one when what stood
    // before it has been deleted. A datagram that was lost would be hundreds.
    const std::set<Ip> seen = neighbors_in(*dump);
    std::vector<Ip> missing;
    for (std::uint32_t k = 0; k < kStable; ++k) {
      const Ip stable = neighbor(bridge, k).ip;
      if (!seen.contains(stable)) missing.push_back(stable);
    }
    CHECK(missing.size() <= 2);
    skipped.insert(skipped.end(), missing.begin(), missing.end());
  }
  stop = true;
  changer.join();
  MESSAGE("dumps still inconsistent after the retries: " << interrupted << " of 30");

  RequestBatch request;
  encode_get_addresses(request, 0, AF_INET);
  auto dump = socket.dump(request);
  REQUIRE(dump.ok());
  CHECK_FALSE(dump->interrupted);
  RequestBatch again;
  encode_get_neighbors(again, AF_INET, 0, 0);
  auto neighbors = socket.dump(again);
  REQUIRE(neighbors.ok());
  const std::set<Ip> seen = neighbors_in(*neighbors);
  for (const Ip& each : skipped) CHECK(seen.contains(each));
}

TEST_CASE("answers that no kernel gives") {
  // The other end of the pair is the kernel, and has answered before it is asked.
  int pair[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
  CommandSocket socket{UniqueFd(pair[0]), 4096, 0};
  const UniqueFd kernel(pair[1]);
  RequestBatch request;
  encode_get_link(request, 1, {});
  std::uint32_t sequence = 0;  // of the request to come
  const auto say = [&](std::uint16_t type, std::int32_t error) {
    MessageWriter writer;
    writer.begin(type, 0, sequence);
    writer.header(error);
    if (type == NLMSG_ERROR) writer.header(nlmsghdr{});
    writer.end();
    REQUIRE(send(kernel.get(), writer.bytes().data(), writer.bytes().size(), 0) > 0);
  };
  const auto error_of = [](const auto& result) { return result.ok() ? 0 : result.failure().error; };

  // An error that has no errno.
  ++sequence;
  say(NLMSG_DONE, INT32_MIN);
  CHECK(error_of(socket.dump(request)) == EPROTO);
  ++sequence;
  say(NLMSG_ERROR, INT32_MIN);
  CHECK(error_of(socket.dump(request)) == EPROTO);
  ++sequence;
  say(NLMSG_ERROR, ENOENT);
  CHECK(error_of(socket.execute(request)) == EPROTO);
  ++sequence;
  say(NLMSG_DONE, -EBUSY);
  CHECK(error_of(socket.dump(request)) == EBUSY);

  // None, an empty one, and one to a request that was given up.
  ++sequence;
  CHECK(error_of(socket.execute(request)) == ETIMEDOUT);
  REQUIRE(send(kernel.get(), "", 0, 0) == 0);
  say(NLMSG_ERROR, -ENOENT);
  ++sequence;
  CHECK(error_of(socket.execute(request)) == ETIMEDOUT);
  ++sequence;
  say(NLMSG_ERROR, 0);
  CHECK(error_of(socket.execute(request)) == 0);
}

TEST_CASE("an answer from anybody but the kernel is not heard") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  CommandSocket socket = open_socket_in(*netns);
  sockaddr_nl own{};
  socklen_t length = sizeof own;
  REQUIRE(getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&own), &length) == 0);
  // A forged acknowledgement of the next request (ENOENT), before the kernel's.
  auto forger = open_command_socket(netns->path());
  REQUIRE(forger.ok());
  MessageWriter writer;
  writer.begin(NLMSG_ERROR, NLM_F_CAPPED, 1);
  nlmsgerr error{};
  error.error = -ENOENT;
  writer.header(error);
  writer.end();
  REQUIRE(sendto(forger->get(), writer.bytes().data(), writer.size(), 0, reinterpret_cast<sockaddr*>(&own),
                 sizeof own) == static_cast<ssize_t>(writer.size()));
  RequestBatch batch;
  LinkSpec spec;
  spec.name = "lo";
  spec.up = true;
  encode_link(batch, spec, 0);
  CHECK(socket.execute(batch).ok());
}

TEST_CASE("links are found by name; namespaces have ids") {
  const auto netns = support::Namespace::make();
  const auto other = support::Namespace::make();
  if (!netns || !other) return;
  CommandSocket socket = open_socket_in(*netns);
  auto lo = link_index(socket, "lo");
  REQUIRE(lo.ok());
  CHECK(*lo == 1);
  const auto none = link_index(socket, "none0");
  REQUIRE_FALSE(none.ok());
  CHECK(none.failure().error == ENODEV);
  CHECK(none.failure().message == "none0");

  auto before = namespace_id(socket, other->fd());
  REQUIRE(before.ok());
  CHECK(*before == -1);
  support::add_veth(socket, "veth0", "eth0", other->fd());
  auto after = namespace_id(socket, other->fd());
  REQUIRE(after.ok());
  CHECK(*after >= 0);
  CommandSocket peer = open_socket_in(*other);
  CHECK(link_index(peer, "eth0").ok());
}

TEST_CASE("a socket cannot be had in what is no namespace, and leaves nothing open") {
  const std::size_t before = support::open_descriptors();
  const auto missing = CommandSocket::open("/nowhere/at/all");
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.failure().error == ENOENT);
  const auto file = CommandSocket::open("/proc/self/status");
  REQUIRE_FALSE(file.ok());
  CHECK(file.failure().call == "setns");
  CHECK(support::open_descriptors() == before);
}

TEST_CASE("event sockets: the groups asked for, filtered in the kernel") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  CommandSocket socket = open_socket_in(*netns);
  const std::int32_t bridge = support::add_bridge(socket, "br0");
  const std::uint32_t groups[] = {RTNLGRP_NEIGH};
  auto events = open_event_socket(netns->path(), {groups, 1 << 20, miss_filter()});
  auto all = open_event_socket(netns->path(), {groups, 1 << 20, {}});
  REQUIRE(events.ok());
  REQUIRE(all.ok());
  add_neighbors(socket, bridge, 100);
  char byte;
  errno = 0;
  CHECK(recv(events->get(), &byte, 1, MSG_DONTWAIT) == -1);
  CHECK(errno == EAGAIN);
  int heard = 0;
  while (recv(all->get(), &byte, 1, MSG_DONTWAIT) > 0) ++heard;
  CHECK(heard == 100);
}

TEST_CASE("event sockets: what the kernel drops is counted") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  CommandSocket socket = open_socket_in(*netns);
  const std::int32_t bridge = support::add_bridge(socket, "br0");
  const std::uint32_t groups[] = {RTNLGRP_NEIGH};
  auto events = open_event_socket(netns->path(), {groups, 4096, {}});
  REQUIRE(events.ok());
  CHECK(socket_drops(events->get()) == 0);
  add_neighbors(socket, bridge, 500);
  char byte;
  CHECK(recv(events->get(), &byte, 1, MSG_DONTWAIT) == -1);
  CHECK(errno == ENOBUFS);
  int heard = 0;
  while (recv(events->get(), &byte, 1, MSG_DONTWAIT) > 0) ++heard;
  CHECK(heard > 0);
  CHECK(heard < 500);
  CHECK(socket_drops(events->get()) == 500 - static_cast<std::uint32_t>(heard));
}
