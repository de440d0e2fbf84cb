#include "resolver/datagram_batch.h"

#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace overns {

void DatagramBatch::resize(std::size_t size) {
  if (size <= size_) return;
  size_ = size;
  storage_.assign(kCount * size, 0);
  for (unsigned i = 0; i < kCount; ++i) {
    parts_[i] = {storage_.data() + i * size, size};
    headers_[i].msg_hdr.msg_iov = &parts_[i];
    headers_[i].msg_hdr.msg_iovlen = 1;
    headers_[i].msg_hdr.msg_name = &from_[i];
    headers_[i].msg_hdr.msg_namelen = sizeof from_[i];
  }
  used_ = 0;
}

int DatagramBatch::receive(int fd) {
  // Only what the last call has changed: after a sleep every header touched is a cache miss.
  for (unsigned i = 0; i < used_; ++i) headers_[i].msg_hdr.msg_namelen = sizeof from_[i];
  int got;
  do {
    got = recvmmsg(fd, headers_.data(), kCount, MSG_DONTWAIT, nullptr);
  } while (got < 0 && errno == EINTR);
  used_ = got > 0 ? static_cast<unsigned>(got) : 0;
  return got;
}

Bytes DatagramBatch::datagram(int i) const {
  const auto at = static_cast<std::size_t>(i);
  return {storage_.data() + at * size_, std::min<std::size_t>(headers_[at].msg_len, size_)};
}

std::span<std::uint8_t> DatagramBatch::bytes(int i) {
  const auto at = static_cast<std::size_t>(i);
  return {storage_.data() + at * size_, std::min<std::size_t>(headers_[at].msg_len, size_)};
}

bool DatagramBatch::truncated(int i) const {
  return (headers_[static_cast<std::size_t>(i)].msg_hdr.msg_flags & MSG_TRUNC) != 0;
}

bool DatagramBatch::from_kernel(int i) const {
  sockaddr_nl from;
  std::memcpy(&from, from_[static_cast<std::size_t>(i)].bytes.data(), sizeof from);
  return from.nl_family == AF_NETLINK && from.nl_pid == 0;
}

}  // namespace overns
