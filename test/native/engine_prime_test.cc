// engine/miss_engine.h, resolver/prime.h: requests that are sent on to whom they ask.
#include "captures/frames.h"
#include "engine/miss_engine.h"
#include "engine_world.h"
#include "resolver/prime.h"
#include "resolver/punt.h"

using namespace overns;
using support::ByteVector;
using support::from_hex;
using support::ip;
using support::kMs;
using support::mac;
using support::World;

namespace {

// As the capture has them: 192.168.0.2 asks for 192.168.0.3.
const Ip kAsker = ip("192.168.0.2");
const Mac kAskerMac = mac("02:42:c0:a8:00:02");
const Ip kTarget = ip("192.168.0.3");
const Mac kTargetMac = mac("02:42:c0:a8:00:03");
const Ip kHere = ip("172.16.0.1");
const Ip kThere = ip("172.16.0.2");

EngineOptions priming() {
  EngineOptions options = World::defaults();
  options.prime = true;
  return options;
}

ByteVector frame() { return from_hex(captures::kArpRequest); }

// The kernel misses, and the request is tapped.
void ask(World& world, const ByteVector& request, bool tapped_first = false) {
  if (!tapped_first) world.miss(kTarget);
  world.engine.on_request(*parse_arp_request(request), world.clock);
  if (tapped_first) world.miss(kTarget);
  world.turn();
}

}  // namespace

TEST_CASE("engine: a request is sent on to whom it asks, before it is replayed") {
  World world(priming());
  world.engine.set_local(7, {kAsker}, kAskerMac);
  SUBCASE("from the table") { world.put(kTarget, kTargetMac, kThere); }
  SUBCASE("when the store has answered") {}
  ask(world, frame());
  if (world.primed.empty()) {
    CHECK(world.replayed.empty());
    world.found(world.last_lookup(kTarget), kTargetMac, kThere);
    world.turn();
  }
  REQUIRE(world.primed.size() == 1);
  CHECK(world.primed[0].frame == frame());
  CHECK(world.primed[0].mac == kTargetMac);
  CHECK(world.primed[0].vtep == kThere);
  CHECK(world.replayed.size() == 1);
  CHECK(world.engine.counters().primed == 1);
  // Tapped when it has been answered already.
  world.clock += 10 * kMs;
  world.engine.on_request(*parse_arp_request(frame()), world.clock);
  CHECK(world.primed.size() == 2);
}

TEST_CASE("engine: what nobody is to be told is not sent on") {
  World world(priming());
  world.engine.set_local(7, {kAsker}, kAskerMac);
  world.engine.set_local(8, {ip("192.168.0.9")}, mac("02:42:c0:a8:00:09"));
  world.put(kTarget, kTargetMac, kThere);
  ByteVector request = frame();
  SUBCASE("by a container that gives another one's address for its own") { request[31] = 9; }
  SUBCASE("by one that gives another MAC") { request[27] = 9; }
  SUBCASE("by somebody who is not attached here") {
    request[11] = request[27] = 0x33;
    request[31] = 0x33;
  }
  SUBCASE("that tells no address") { request[28] = request[29] = request[30] = request[31] = 0; }
  SUBCASE("of whom nothing is known") {
    world.engine.forget(kTarget);
    world.engine.forget(kTargetMac);
  }
  SUBCASE("of one who is here") { world.put(kTarget, kTargetMac, kHere); }
  ask(world, request);
  CHECK(world.primed.empty());
}

TEST_CASE("engine: requests are sent on at a bounded rate, and not at all where that is switched off") {
  World world(priming());
  world.engine.set_local(7, {kAsker}, kAskerMac);
  world.put(kTarget, kTargetMac, kThere);
  ask(world, frame());
  for (int i = 0; i < 2000; ++i) world.engine.on_request(*parse_arp_request(frame()), world.clock);
  CHECK(world.primed.size() == MissEngine::kPrimesAtOnce);
  World off;
  off.engine.set_local(7, {kAsker}, kAskerMac);
  off.put(kTarget, kTargetMac, kThere);
  ask(off, frame());
  CHECK(off.primed.empty());
  CHECK(off.replayed.size() == 1);
}

TEST_CASE("engine: who is told of a request programs what the store says of the asker, and nothing else") {
  World world(priming());
  const auto told = [&] {
    world.engine.on_primed(*parse_arp_request(frame()), world.clock);
    world.turn();
  };
  world.put(kAsker, kAskerMac, kThere);
  told();
  CHECK(world.fdb.empty());  // whom it asks is not here
  world.engine.set_local(7, {kTarget}, kTargetMac);
  told();
  CHECK(world.neighbors[kAsker] == kAskerMac);
  CHECK(world.fdb[kAskerMac] == kThere);
  // By a hand, without a word.
  world.neighbors.clear();
  world.fdb.clear();
  told();
  CHECK(world.fdb[kAskerMac] == kThere);
  CHECK(world.engine.counters().misses == 0);
  CHECK(world.events.empty());
  SUBCASE("not where it is unknown") { world.engine.forget(kAsker); }
  SUBCASE("not where its record names this host") { world.put(kAsker, kAskerMac, kHere); }
  SUBCASE("not where it is attached here") { world.engine.set_local(8, {kAsker}, kAskerMac); }
  world.turn();
  world.neighbors.clear();
  told();
  CHECK(world.neighbors.empty());
  CHECK(world.lookups.empty());
}

TEST_CASE("prime: two packets, a hint for the host and the request for the one who is asked") {
  const PrimePackets packets(frame(), kTargetMac, 42);
  const auto request = parse_vxlan_packet(packets.request());
  REQUIRE(request);
  CHECK(request->vni == 42);
  ByteVector expected = frame();
  std::copy(kTargetMac.bytes.begin(), kTargetMac.bytes.end(), expected.begin());
  CHECK(ByteVector(request->packet.begin() + 8, request->packet.end()) == expected);
  const auto hint = parse_vxlan_packet(packets.hint());
  REQUIRE(hint);
  CHECK(hint->destination == mac("01:80:c2:00:00:0e"));
  const auto copy = parse_hint(hint->packet.subspan(8));
  REQUIRE(copy);
  CHECK(copy->target == kTarget);
  CHECK(copy->asker == kAskerMac);
  CHECK(ByteVector(copy->frame.begin(), copy->frame.end()) == frame());
  CHECK_FALSE(parse_hint(frame()));
  for (std::size_t size = 0; size < 56; ++size) CHECK_FALSE(parse_hint(hint->packet.subspan(8, size)));
}

TEST_CASE("prime: a solicitation tells its sender by its option, and by that alone") {
  const ByteVector solicitation = from_hex(captures::kSolicitation);
  const auto request = parse_neighbor_solicitation(solicitation);
  REQUIRE(request);
  const auto sender = sender_of(request->frame);
  REQUIRE(sender);
  CHECK(sender->mac == request->asker);
  CHECK(sender->ip.is_v6());
  ByteVector other = solicitation;
  other.back() ^= 1;
  CHECK_FALSE(sender_of(parse_neighbor_solicitation(other)->frame));
  const PrimePackets packets(request->frame, kTargetMac, 42);
  const auto copy = parse_hint(packets.hint().subspan(8));
  REQUIRE(copy);
  CHECK(copy->target == request->target);
}
