#include "support.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "rtnl/address.h"
#include "rtnl/link.h"
#include "rtnl/link_attributes.h"

namespace support {

using namespace overns;

ByteVector from_hex(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  ByteVector bytes;
  bytes.reserve(hex.size() / 2);
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<std::uint8_t>(digit(hex[i]) * 16 + digit(hex[i + 1])));
  return bytes;
}

ByteVector concat(const std::vector<ByteVector>& parts) {
  ByteVector all;
  for (const ByteVector& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Ip ip(std::string_view text) {
  const auto parsed = Ip::parse(text);
  if (!parsed) std::abort();
  return *parsed;
}

Mac mac(std::string_view text) {
  const auto parsed = Mac::parse(text);
  if (!parsed) std::abort();
  return *parsed;
}

std::uint64_t Random::next() {
  std::uint64_t x = state_ += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

std::optional<Namespace> Namespace::make() {
  Namespace made;
  int error = 0;
  std::thread([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      error = errno;
      return;
    }
    made.fd_.reset(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!made.fd_.valid()) error = errno;
  }).join();
  if (error != 0) {
    static bool told = false;
    if (!told) std::printf("Tests on the kernel are skipped: unshare(CLONE_NEWNET): %s\n", strerrordesc_np(error));
    told = true;
    return std::nullopt;
  }
  made.path_ = "/proc/self/fd/" + std::to_string(made.fd_.get());
  return made;
}

std::string text(const Failure& failure) {
  return failure.call + " " + failure.message + ": " + strerrorname_np(failure.error) + " " + failure.kernel_message;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

namespace {

void run(CommandSocket& socket, RequestBatch& batch) {
  const Status status = socket.execute(batch);
  INFO(text(status));
  REQUIRE(status.ok());
}

std::int32_t make_link(CommandSocket& socket, const LinkSpec& spec) {
  RequestBatch batch;
  encode_link(batch, spec, NLM_F_CREATE | NLM_F_EXCL);
  run(socket, batch);
  auto index = link_index(socket, spec.name);
  REQUIRE(index.ok());
  return *index;
}

AttributeValue info(std::string_view kind, std::string_view name, std::uint64_t value) {
  for (const AttributePolicy& policy : info_policies(kind)) {
    if (policy.name == name) return {&policy, value};
  }
  std::abort();
}

}  // namespace

void set_up(CommandSocket& socket, const std::string& link) {
  RequestBatch batch;
  LinkSpec spec;
  spec.name = link;
  spec.up = true;
  encode_link(batch, spec, 0);
  run(socket, batch);
}

std::int32_t add_bridge(CommandSocket& socket, const std::string& name) {
  LinkSpec spec;
  spec.kind = "bridge";
  spec.name = name;
  spec.up = true;
  spec.info.push_back(info("bridge", "mcastSnooping", 0));
  return make_link(socket, spec);
}

std::int32_t add_veth(CommandSocket& socket, const std::string& name, const std::string& peer, int peer_netns) {
  LinkSpec spec;
  spec.kind = "veth";
  spec.name = name;
  spec.up = true;
  spec.peer = LinkPeer{peer, {}, {}, peer_netns};
  return make_link(socket, spec);
}

std::int32_t add_vxlan(CommandSocket& socket, const std::string& name, std::uint32_t vni, const std::string& master) {
  LinkSpec spec;
  spec.kind = "vxlan";
  spec.name = name;
  spec.up = true;
  spec.info.push_back(info("vxlan", "vni", vni));
  for (const char* flag : {"proxy", "learning", "l2miss", "l3miss"}) spec.info.push_back(info("vxlan", flag, 1));
  spec.info.push_back(info("vxlan", "port", 4789));
  if (!master.empty()) {
    auto index = link_index(socket, master);
    REQUIRE(index.ok());
    spec.master = static_cast<std::uint32_t>(*index);
  }
  return make_link(socket, spec);
}

void delete_link(CommandSocket& socket, const std::string& name) {
  RequestBatch batch;
  encode_delete_link(batch, 0, name);
  run(socket, batch);
}

void add_address(CommandSocket& socket, const std::string& link, const Ip& address, std::uint8_t prefix) {
  auto index = link_index(socket, link);
  REQUIRE(index.ok());
  RequestBatch batch;
  InterfaceAddress assigned;
  assigned.index = *index;
  assigned.ip = address;
  assigned.prefix = prefix;
  assigned.flags = IFA_F_NODAD;
  encode_address(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, assigned);
  run(socket, batch);
}

}  // namespace support
