// Buffers for reading many datagrams in one call.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <vector>

#include "base/address.h"

namespace overns {

class DatagramBatch {
 public:
  static constexpr unsigned kCount = 64;

  explicit DatagramBatch(std::size_t size = 2048) { resize(size); }

  // Room for datagrams of this size; never less than before.
  void resize(std::size_t size);
  int receive(int fd);  // recvmmsg without waiting: how many, or -1 with errno
  Bytes datagram(int i) const;
  std::span<std::uint8_t> bytes(int i);  // the same, to be changed
  bool truncated(int i) const;
  bool from_kernel(int i) const;  // netlink: port id 0

 private:
  std::size_t size_ = 0;
  unsigned used_ = 0;  // by the last receive
  std::vector<std::uint8_t> storage_;
  // Room for a netlink or a packet socket's address; what begins the three lies close together.
  struct Name {
    std::array<std::uint8_t, 24> bytes;
  };
  std::array<iovec, kCount> parts_{};
  std::array<Name, kCount> from_{};
  std::array<mmsghdr, kCount> headers_{};
};

}  // namespace overns
