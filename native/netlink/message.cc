#include "netlink/message.h"

#include <arpa/inet.h>

namespace overns {

void MessageWriter::begin(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence) {
  message_ = size_;
  fits_ = true;
  nlmsghdr message{};
  message.nlmsg_type = type;
  message.nlmsg_flags = flags;
  message.nlmsg_seq = sequence;
  header(message);
}

void MessageWriter::end() {
  const auto length = static_cast<std::uint32_t>(size_ - message_);
  std::memcpy(buffer_.data() + message_, &length, sizeof length);
}

void MessageWriter::cut_body() {
  size_ = message_ + NLMSG_HDRLEN;
  end();
}

void MessageWriter::attribute(std::uint16_t type, Bytes payload) {
  if (payload.size() > UINT16_MAX - NLA_HDRLEN) {
    fits_ = false;
    return;
  }
  nlattr attr{};
  attr.nla_len = static_cast<std::uint16_t>(NLA_HDRLEN + payload.size());
  attr.nla_type = type;
  std::uint8_t* room = grow(sizeof attr + payload.size());
  std::memcpy(room, &attr, sizeof attr);
  if (!payload.empty()) std::memcpy(room + sizeof attr, payload.data(), payload.size());
}

void MessageWriter::be16(std::uint16_t type, std::uint16_t value) { u16(type, htons(value)); }
void MessageWriter::be32(std::uint16_t type, std::uint32_t value) { u32(type, htonl(value)); }

void MessageWriter::text(std::uint16_t type, std::string_view value) {
  const std::string terminated(value);
  attribute(type, {reinterpret_cast<const std::uint8_t*>(terminated.c_str()), terminated.size() + 1});
}

std::size_t MessageWriter::begin_nested(std::uint16_t type) {
  const std::size_t start = size_;
  attribute(static_cast<std::uint16_t>(type | NLA_F_NESTED), {});
  return start;
}

void MessageWriter::end_nested(std::size_t start) {
  if (size_ - start > UINT16_MAX) fits_ = false;
  const auto length = static_cast<std::uint16_t>(size_ - start);
  std::memcpy(buffer_.data() + start, &length, sizeof length);
}

std::optional<std::uint16_t> Attribute::be16() const {
  const auto value = as<std::uint16_t>();
  return value ? std::optional<std::uint16_t>(ntohs(*value)) : std::nullopt;
}

std::optional<std::uint32_t> Attribute::be32() const {
  const auto value = as<std::uint32_t>();
  return value ? std::optional<std::uint32_t>(ntohl(*value)) : std::nullopt;
}

std::string_view Attribute::text() const {
  const std::string_view all(reinterpret_cast<const char*>(payload.data()), payload.size());
  return all.substr(0, all.find('\0'));
}

std::optional<Attribute> AttributeReader::next() {
  if (rest_.empty() || malformed_) return std::nullopt;
  nlattr attr;
  if (rest_.size() < sizeof attr) {
    malformed_ = true;
    return std::nullopt;
  }
  std::memcpy(&attr, rest_.data(), sizeof attr);
  if (attr.nla_len < sizeof attr || attr.nla_len > rest_.size()) {
    malformed_ = true;
    return std::nullopt;
  }
  Attribute found;
  found.type = attr.nla_type & NLA_TYPE_MASK;
  found.payload = rest_.subspan(sizeof attr, attr.nla_len - sizeof attr);
  rest_ = rest_.subspan(std::min(align4(attr.nla_len), rest_.size()));
  return found;
}

std::optional<Message> MessageReader::next() {
  if (rest_.empty() || malformed_) return std::nullopt;
  Message message;
  if (rest_.size() < sizeof message.header) {
    malformed_ = true;
    return std::nullopt;
  }
  std::memcpy(&message.header, rest_.data(), sizeof message.header);
  const std::size_t length = message.header.nlmsg_len;
  if (length < sizeof message.header || length > rest_.size()) {
    malformed_ = true;
    return std::nullopt;
  }
  message.payload = rest_.subspan(sizeof message.header, length - sizeof message.header);
  rest_ = rest_.subspan(std::min(align4(length), rest_.size()));
  return message;
}

int error_number(std::int32_t error) {
  return error > 0 || error == INT32_MIN ? EPROTO : -error;  // -INT_MIN would overflow
}

std::optional<Acknowledgement> parse_acknowledgement(const Message& message) {
  const auto error = message.family_header<nlmsgerr>();
  if (message.header.nlmsg_type != NLMSG_ERROR || !error) return std::nullopt;
  Acknowledgement ack;
  ack.sequence = message.header.nlmsg_seq;
  ack.error = error_number(error->error);
  if ((message.header.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return ack;

  // Without NETLINK_CAP_ACK the whole request is echoed in front of the attributes.
  std::size_t skip = sizeof(nlmsgerr);
  if ((message.header.nlmsg_flags & NLM_F_CAPPED) == 0 && error->msg.nlmsg_len > sizeof(nlmsghdr)) {
    skip += align4(error->msg.nlmsg_len - sizeof(nlmsghdr));
  }
  if (skip > message.payload.size()) return ack;
  AttributeReader attributes(message.payload.subspan(skip));
  while (const auto attribute = attributes.next()) {
    if (attribute->type == NLMSGERR_ATTR_MSG) ack.text = attribute->text();
    if (attribute->type == NLMSGERR_ATTR_OFFS) ack.offset = attribute->as<std::uint32_t>();
  }
  return ack;
}

}  // namespace overns
