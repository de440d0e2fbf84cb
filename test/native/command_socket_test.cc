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
#include "rtnl/link.h"
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
