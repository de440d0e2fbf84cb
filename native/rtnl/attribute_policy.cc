#include "rtnl/attribute_policy.h"

#include <endian.h>

#include <array>
#include <string_view>

namespace overns {
namespace {

// The size of a fixed value; 0 for the others.
std::size_t size_of(ValueType type) {
  switch (type) {
    case ValueType::kBool:
    case ValueType::kU8: return 1;
    case ValueType::kU16:
    case ValueType::kBe16:
    case ValueType::kBit16:
    case ValueType::kBitBe16: return 2;
    case ValueType::kU32:
    case ValueType::kS32:
    case ValueType::kLink:
    case ValueType::kBe32:
    case ValueType::kBit32:
    case ValueType::kPortRange:
    case ValueType::kRange16: return 4;
    case ValueType::kU64:
    case ValueType::kBe64:
    case ValueType::kRange32:
    case ValueType::kOption:
    case ValueType::kBridgeId: return 8;
    default: return 0;
  }
}

std::uint64_t big_endian(Bytes bytes) {
  std::uint64_t value = 0;
  for (const std::uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

bool is_bit(ValueType type) {
  return type == ValueType::kBit16 || type == ValueType::kBit32 || type == ValueType::kBitBe16 ||
         type == ValueType::kOption;
}

// All bits of one attribute, written at its first one.
void encode_bits(MessageWriter& writer, std::span<const AttributeValue> values, std::size_t at) {
  const AttributePolicy& first = *values[at].policy;
  for (std::size_t i = 0; i < at; ++i) {
    if (values[i].policy->type == first.type && is_bit(values[i].policy->value)) return;
  }
  std::uint32_t bits[2] = {0, 0};  // the value and which of its bits are meant
  for (const AttributeValue& each : values.subspan(at)) {
    if (each.policy->type != first.type || !is_bit(each.policy->value)) continue;
    const auto* on = std::get_if<std::uint64_t>(&each.value);
    if (on != nullptr && *on != 0) bits[0] |= each.policy->parameter;
    bits[1] |= each.policy->parameter;
  }
  if (first.value == ValueType::kBit16) {
    writer.u16(first.type, static_cast<std::uint16_t>(bits[0]));
  } else if (first.value == ValueType::kBitBe16) {
    writer.be16(first.type, static_cast<std::uint16_t>(bits[0]));
  } else if (first.value == ValueType::kBit32) {
    writer.u32(first.type, bits[0]);
  } else {
    writer.attribute(first.type, {reinterpret_cast<const std::uint8_t*>(bits), sizeof bits});
  }
}

void encode_number(MessageWriter& writer, const AttributePolicy& policy, std::uint64_t number) {
  const std::uint16_t type = policy.type;
  switch (policy.value) {
    case ValueType::kBool:
    case ValueType::kU8: writer.u8(type, static_cast<std::uint8_t>(number)); break;
    case ValueType::kU16: writer.u16(type, static_cast<std::uint16_t>(number)); break;
    case ValueType::kU32:
    case ValueType::kLink:
    case ValueType::kS32: writer.u32(type, static_cast<std::uint32_t>(number)); break;
    case ValueType::kU64:
      writer.attribute(type, {reinterpret_cast<const std::uint8_t*>(&number), sizeof number});
      break;
    case ValueType::kBe16: writer.be16(type, static_cast<std::uint16_t>(number)); break;
    case ValueType::kBe32:
    case ValueType::kPortRange: writer.be32(type, static_cast<std::uint32_t>(number)); break;
    case ValueType::kRange16: {
      const std::uint16_t range[2] = {static_cast<std::uint16_t>(number >> 16), static_cast<std::uint16_t>(number)};
      writer.attribute(type, {reinterpret_cast<const std::uint8_t*>(range), sizeof range});
      break;
    }
    case ValueType::kRange32: {
      const std::uint32_t range[2] = {static_cast<std::uint32_t>(number >> 32), static_cast<std::uint32_t>(number)};
      writer.attribute(type, {reinterpret_cast<const std::uint8_t*>(range), sizeof range});
      break;
    }
    case ValueType::kBe64: {
      const std::uint64_t value = htobe64(number);
      writer.attribute(type, {reinterpret_cast<const std::uint8_t*>(&value), sizeof value});
      break;
    }
    case ValueType::kFlag:
      if (number != 0) writer.attribute(type, {});
      break;
    default: break;  // the others are no numbers, or told by the kernel only
  }
}

std::optional<AttributeValue> decode_one(const AttributePolicy& policy, const Attribute& attribute) {
  const Bytes payload = attribute.payload;
  const std::size_t size = size_of(policy.value);
  if (payload.size() < size) return std::nullopt;
  const auto number = [&](std::uint64_t value) { return AttributeValue{&policy, value}; };
  switch (policy.value) {
    case ValueType::kBool: return number(payload[0] != 0 ? 1 : 0);
    case ValueType::kU8: return number(payload[0]);
    case ValueType::kU16: return number(*attribute.as<std::uint16_t>());
    case ValueType::kU32:
    case ValueType::kLink:
    case ValueType::kS32: return number(*attribute.as<std::uint32_t>());
    case ValueType::kU64: return number(*attribute.as<std::uint64_t>());
    case ValueType::kBe16:
    case ValueType::kBe32:
    case ValueType::kBe64:
    case ValueType::kPortRange:
    case ValueType::kBridgeId: return number(big_endian(payload.first(size)));
    case ValueType::kRange16: {
      const auto range = *attribute.as<std::array<std::uint16_t, 2>>();
      return number(std::uint64_t{range[0]} << 16 | range[1]);
    }
    case ValueType::kRange32: {
      const auto range = *attribute.as<std::array<std::uint32_t, 2>>();
      return number(std::uint64_t{range[0]} << 32 | range[1]);
    }
    // Some (IFLA_VXLAN_TTL_INHERIT) are told as a byte.
    case ValueType::kFlag: return number(payload.empty() || payload[0] != 0 ? 1 : 0);
    case ValueType::kBit16: return number((*attribute.as<std::uint16_t>() & policy.parameter) != 0 ? 1 : 0);
    case ValueType::kBitBe16: return number((big_endian(payload.first(size)) & policy.parameter) != 0 ? 1 : 0);
    case ValueType::kBit32:
    case ValueType::kOption: return number((*attribute.as<std::uint32_t>() & policy.parameter) != 0 ? 1 : 0);
    case ValueType::kIp4:
    case ValueType::kIp6: {
      const auto ip = Ip::from(payload);
      if (!ip || ip->is_v4() != (policy.value == ValueType::kIp4)) return std::nullopt;
      return AttributeValue{&policy, *ip};
    }
    case ValueType::kMac: {
      const auto mac = Mac::from(payload);
      return mac ? std::optional(AttributeValue{&policy, *mac}) : std::nullopt;
    }
    case ValueType::kText: return AttributeValue{&policy, std::string(attribute.text())};
    case ValueType::kBytes: return AttributeValue{&policy, std::vector<std::uint8_t>(payload.begin(), payload.end())};
  }
  return std::nullopt;
}

}  // namespace

void encode_values(MessageWriter& writer, std::span<const AttributeValue> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const AttributePolicy& policy = *values[i].policy;
    const auto& value = values[i].value;
    if (is_bit(policy.value)) {
      encode_bits(writer, values, i);
    } else if (const auto* number = std::get_if<std::uint64_t>(&value)) {
      encode_number(writer, policy, *number);
    } else if (const auto* ip = std::get_if<Ip>(&value)) {
      writer.attribute(policy.type, ip->raw());
    } else if (const auto* mac = std::get_if<Mac>(&value)) {
      writer.attribute(policy.type, mac->bytes);
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      writer.text(policy.type, *text);
    } else if (const auto* bytes = std::get_if<std::vector<std::uint8_t>>(&value)) {
      writer.attribute(policy.type, *bytes);
    }
  }
}

void encode_unknown(MessageWriter& writer, std::span<const UnknownAttribute> unknown, const char* within,
                    std::uint16_t nested) {
  for (const UnknownAttribute& each : unknown) {
    const bool here =
        within == nullptr ? each.within == nullptr : each.within != nullptr && std::string_view(each.within) == within;
    const int bit = nested != 0 && each.type == nested ? NLA_F_NESTED : 0;
    if (here) writer.attribute(static_cast<std::uint16_t>(each.type | bit), each.bytes);
  }
}

bool decode_value(std::span<const AttributePolicy> policies, const Attribute& attribute,
                  std::vector<AttributeValue>& into) {
  bool known = false;
  for (const AttributePolicy& policy : policies) {
    if (policy.type != attribute.type) continue;
    auto value = decode_one(policy, attribute);
    if (!value) continue;
    into.push_back(std::move(*value));
    known = true;
  }
  return known;
}

UnknownAttribute keep(const Attribute& attribute, const char* within) {
  return {attribute.type, within, {attribute.payload.begin(), attribute.payload.end()}};
}

}  // namespace overns
