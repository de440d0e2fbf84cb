// What several test files share: captured bytes, random numbers with a printed seed, namespaces that go away by
// themselves.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "netlink/command_socket.h"

namespace support {

using ByteVector = std::vector<std::uint8_t>;

ByteVector from_hex(std::string_view hex);
ByteVector concat(const std::vector<ByteVector>& parts);

// "192.168.0.2", "02:42:..": a typing mistake in a test aborts it.
overns::Ip ip(std::string_view text);
overns::Mac mac(std::string_view text);

// splitmix64: the same numbers everywhere, from a seed that a failure prints.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(next() % bound); }
  bool one_in(std::uint32_t chances) { return below(chances) == 0; }

 private:
  std::uint64_t state_;
};

// A network namespace without a name: it ends with its last user, however the process ends.
class Namespace {
 public:
  // Nothing where it is not permitted; says so once.
  static std::optional<Namespace> make();
  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }

 private:
  overns::UniqueFd fd_;
  std::string path_;
};

// A failure as text, for messages.
std::string text(const overns::Failure& failure);
template <class T>
std::string text(const overns::Result<T>& result) {
  return result.ok() ? "ok" : text(result.failure());
}

// Open descriptors of this process.
std::size_t open_descriptors();

// What an overlay's namespace is made of, through this library's own requests.
void set_up(overns::CommandSocket& socket, const std::string& link);
std::int32_t add_bridge(overns::CommandSocket& socket, const std::string& name);
// An end in this namespace and one in the other.
std::int32_t add_veth(overns::CommandSocket& socket, const std::string& name, const std::string& peer, int peer_netns);
// As an overlay has it: proxy, learning, l2miss, l3miss.
std::int32_t add_vxlan(overns::CommandSocket& socket, const std::string& name, std::uint32_t vni,
                       const std::string& master = {});
void delete_link(overns::CommandSocket& socket, const std::string& name);
void add_address(overns::CommandSocket& socket, const std::string& link, const overns::Ip& ip, std::uint8_t prefix);

}  // namespace support
