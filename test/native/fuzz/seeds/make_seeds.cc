// Writes the corpora that the fuzzers begin with, made of captured bytes: make_seeds FOLDER -> FOLDER/FUZZER/NAME.
#include <linux/rtnetlink.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "../kernel/overlay_story.h"
#include "all_captures.h"
#include "captures/frames.h"
#include "round_trip.h"
#include "rtnl/bridge_vlan.h"
#include "rtnl/mdb.h"
#include "support.h"

using namespace overns;
using support::ByteVector;
using support::from_hex;

namespace {

std::filesystem::path folder;

void write(std::string_view fuzzer, const std::string& name, const ByteVector& bytes) {
  std::filesystem::create_directories(folder / fuzzer);
  std::ofstream(folder / fuzzer / name, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

ByteVector whole(const Message& message) {
  const std::uint8_t* start = message.payload.data() - sizeof(nlmsghdr);
  return {start, start + message.header.nlmsg_len};
}

ByteVector chunk(const ByteVector& bytes) {
  const auto size = static_cast<std::uint16_t>(bytes.size());
  return support::concat({{static_cast<std::uint8_t>(size), static_cast<std::uint8_t>(size >> 8)}, bytes});
}

// A socket's answers to the first request, each as a datagram of its own, for each way to ask.
void command_socket(const std::string& name, ByteVector bytes) {
  constexpr std::uint32_t kFirst = 1;
  std::memcpy(bytes.data() + offsetof(nlmsghdr, nlmsg_seq), &kFirst, sizeof kFirst);
  for (std::uint8_t way = 0; way < 5; ++way)
    write("command_socket", name + "-" + std::to_string(way), support::concat({{way, 0}, chunk(bytes), chunk(bytes)}));
}

// An overlay, with the punt and without, to which something is told, asked of and answered; by a kernel without faults,
// and by one that says the same to the requests of a dump or a query.
void story(const std::string& name, std::uint8_t step, const ByteVector& bytes) {
  const ByteVector known{fuzz::kPut, 3, 3, 11};
  const ByteVector pump{fuzz::kPump, 255};
  const ByteVector asked{fuzz::kMiss, 3, 0, fuzz::kPump, 255};
  const ByteVector more{fuzz::kMiss, 4, 0, fuzz::kPump, 255, fuzz::kAnswer, 0, 0, 4, 12, 0, 0, fuzz::kPump, 255};
  const ByteVector steps = support::concat({known, asked, {step}, chunk(bytes), pump, more});
  write("overlay_port", name, support::concat({{0, 0, 0}, steps}));
  write("overlay_port", name + "-no-punt", support::concat({{2, 0, 0}, steps}));
  write("reactor", name, support::concat({{0, 0, 0}, steps}));
  constexpr std::uint8_t kBytesWithItsNumber = 129 + 6;  // 135 % 12 = 3
  static_assert(kBytesWithItsNumber % 12 == 3);
  const ByteVector answers = support::concat({{0, 0, kBytesWithItsNumber}, chunk(bytes)});
  write("overlay_port", name + "-answered", support::concat({{2}, chunk(answers), steps}));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "make_seeds FOLDER\n");
    return 2;
  }
  folder = argv[1];
  for (const captures::Capture& capture : captures::kAll) {
    const std::string name(capture.name);
    const ByteVector bytes = from_hex(capture.hex);
    write("messages", name, bytes);
    MessageReader reader(bytes);
    int number = 0;
    while (const auto message = reader.next()) {
      const std::string each = name + "-" + std::to_string(number++);
      const ByteVector one = whole(*message);
      for (const support::Codec& codec : support::codecs()) {
        if (codec.round_trip(*message) == support::RoundTrip::kSame) write(codec.name, each, one);
      }
      if (decode_miss(*message)) write("misses", each, one);
      std::vector<BridgeVlan> vlans;
      decode_vlans(*message, vlans);
      if (!vlans.empty()) write("vlans", each, one);
      std::vector<MdbEntry> groups;
      decode_mdb(*message, groups);
      if (!groups.empty()) write("mdb", each, one);
      if (const auto link = decode_link(*message); link && !link->alias.empty())
        write("texts", each, ByteVector(link->alias.begin(), link->alias.end()));
      if (number > 4) continue;  // of a dump
      command_socket(each, one);
      const bool neighbor = decode_neighbor(*message).has_value();
      story(each, neighbor ? fuzz::kMissBytes : fuzz::kLinkBytes, one);
    }
  }
  const ByteVector arp = from_hex(captures::kArpRequest);
  const ByteVector solicitation = from_hex(captures::kSolicitation);
  // RFC 7348 section 5: flags, VNI 42, and an Ethernet frame to 02:42:c0:a8:00:03.
  const ByteVector packet = support::concat({from_hex("0800000000002a00"), from_hex("0242c0a80003"), arp});
  write("frames", "arp", arp);
  write("frames", "solicitation", solicitation);
  write("frames", "packet", packet);
  story("arp", fuzz::kArpBytes, arp);
  story("solicitation", fuzz::kNdBytes, solicitation);
  story("packet", fuzz::kPacketBytes, packet);
  for (const char* text : {"192.168.0.2", "fd00::2", "::ffff:10.0.0.1", "02:42:c0:a8:00:02"}) {
    const std::string_view view(text);
    write("texts", "text-" + std::to_string(view.size()), ByteVector(view.begin(), view.end()));
  }
  // Random beginnings of stories: a fuzzer that starts with nothing takes its time to tell one.
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    support::Random random(seed);
    ByteVector bytes(400);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
    write("miss_engine", std::to_string(seed), bytes);
  }
  return 0;
}
