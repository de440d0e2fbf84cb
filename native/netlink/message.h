// Netlink messages as bytes: writing them into a reusable buffer, and walking them with every bound checked.
// Layout: include/uapi/linux/netlink.h; RFC 3549.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"

namespace overns {

constexpr std::size_t align4(std::size_t size) { return (size + 3) & ~std::size_t{3}; }

// Appends messages to one buffer; the buffer is kept between uses, so the steady state allocates nothing.
class MessageWriter {
 public:
  void clear() { size_ = 0; }
  void begin(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence);
  void end();  // fixes the length of the message begun last
  // False when an attribute of the message begun last is longer than its length field can say: what is written is not
  // what was meant. `cut_body` leaves its header alone.
  bool fits() const { return fits_; }
  void cut_body();

  template <class Header>
  void header(const Header& value) {
    std::memcpy(grow(sizeof value), &value, sizeof value);
  }
  void attribute(std::uint16_t type, Bytes payload);
  void u8(std::uint16_t type, std::uint8_t value) { attribute(type, {&value, 1}); }
  void u16(std::uint16_t type, std::uint16_t value) { fixed(type, value); }
  void u32(std::uint16_t type, std::uint32_t value) { fixed(type, value); }
  void be16(std::uint16_t type, std::uint16_t value);
  void be32(std::uint16_t type, std::uint32_t value);
  void text(std::uint16_t type, std::string_view value);  // NUL-terminated
  std::size_t begin_nested(std::uint16_t type);
  void end_nested(std::size_t start);

  std::size_t size() const { return size_; }
  Bytes bytes() const { return Bytes(buffer_).first(size_); }
  Bytes from(std::size_t offset) const { return bytes().subspan(offset); }

 private:
  template <class Value>
  void fixed(std::uint16_t type, Value value) {
    attribute(type, {reinterpret_cast<const std::uint8_t*>(&value), sizeof value});
  }
  // Room for so many bytes, and zeros up to the next multiple of four.
  std::uint8_t* grow(std::size_t size) {
    const std::size_t padded = align4(size);
    if (buffer_.size() - size_ < padded) buffer_.resize(buffer_.size() * 2 + padded);
    std::uint8_t* room = buffer_.data() + size_;
    for (std::size_t i = size; i < padded; ++i) room[i] = 0;
    size_ += padded;
    return room;
  }

  std::vector<std::uint8_t> buffer_;  // larger than what is written
  std::size_t size_ = 0;
  std::size_t message_ = 0;
  bool fits_ = true;
};

struct Attribute {
  std::uint16_t type = 0;  // without the NLA_F_* bits
  Bytes payload;

  template <class Value>
  std::optional<Value> as() const {
    Value value;
    if (payload.size() < sizeof value) return std::nullopt;
    std::memcpy(&value, payload.data(), sizeof value);
    return value;
  }
  std::optional<std::uint16_t> be16() const;
  std::optional<std::uint32_t> be32() const;
  std::string_view text() const;  // up to the first NUL
};

// A range over the attributes in a payload. Ends at the first one that does not fit; `malformed` tells.
class AttributeReader {
 public:
  explicit AttributeReader(Bytes bytes) : rest_(bytes) {}
  std::optional<Attribute> next();
  bool malformed() const { return malformed_; }

 private:
  Bytes rest_;
  bool malformed_ = false;
};

struct Message {
  nlmsghdr header{};
  Bytes payload;  // after the nlmsghdr

  // The family header (ifinfomsg, ndmsg, ...) and the attributes behind it; nothing when it is too short.
  template <class Header>
  std::optional<Header> family_header() const {
    Header value;
    if (payload.size() < sizeof value) return std::nullopt;
    std::memcpy(&value, payload.data(), sizeof value);
    return value;
  }
  template <class Header>
  AttributeReader attributes() const {
    const std::size_t skip = align4(sizeof(Header));
    return AttributeReader(payload.size() > skip ? payload.subspan(skip) : Bytes{});
  }
};

class MessageReader {
 public:
  explicit MessageReader(Bytes bytes) : rest_(bytes) {}
  std::optional<Message> next();
  bool malformed() const { return malformed_; }

 private:
  Bytes rest_;
  bool malformed_ = false;
};

// The kernel says 0 or -errno: as a positive errno, EPROTO for what is neither.
int error_number(std::int32_t error);

// An NLMSG_ERROR (error 0 = acknowledgement), with what extended acknowledgement adds.
struct Acknowledgement {
  std::uint32_t sequence = 0;
  int error = 0;  // positive errno
  std::string_view text;
  std::optional<std::uint32_t> offset;  // of the offending attribute in the request
};
std::optional<Acknowledgement> parse_acknowledgement(const Message& message);

}  // namespace overns
