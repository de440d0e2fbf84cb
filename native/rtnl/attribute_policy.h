// Tables of what attributes mean: one row per field, used in both directions. What no row knows is kept as bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/address.h"
#include "netlink/message.h"

namespace overns {

enum class ValueType : std::uint8_t {
  kBool,  // a byte
  kU8,
  kU16,
  kU32,
  kS32,
  kU64,
  kBe16,
  kBe32,
  kLink,     // the index of a link
  kFlag,     // set by being there
  kBit16,    // one bit of 16; `parameter` is the bit
  kBit32,    // one bit of 32
  kBitBe16,  // one bit of 16, big-endian
  kOption,   // one bit of a value and of the mask that says which bits are meant, 32 each
  kIp4,
  kIp6,
  kMac,
  kText,
  kBytes,
  kBridgeId,   // two bytes of priority and a MAC
  kPortRange,  // two big-endian ports, lowest and highest
  kRange16,    // lowest and highest of 16 bits
  kRange32,    // lowest and highest of 32 bits
  kBe64,       // the API says a bigint
};

// A number that has a name.
struct Word {
  std::uint32_t value;
  const char* text;
};

// One field under the name that the API gives it. An address of either family has two rows, a set of bits one row a
// bit.
// In the order that a row is read in.
struct AttributePolicy {  // NOLINT(clang-analyzer-optin.performance.Padding)
  const char* name;
  std::uint16_t type;
  ValueType value;
  std::uint32_t parameter = 0;
  std::span<const Word> words = {};  // the API says the word
  bool read_only = false;            // told by the kernel, not taken by it
};

struct AttributeValue {
  const AttributePolicy* policy = nullptr;
  // A range of 16 bits is low << 16 | high, one of 32 low << 32 | high, a bridge's id its eight bytes as one number.
  std::variant<std::uint64_t, Ip, Mac, std::string, std::vector<std::uint8_t>> value = std::uint64_t{0};

  bool operator==(const AttributeValue&) const = default;
};

// An attribute that no row knows, as the kernel sent it.
struct UnknownAttribute {
  std::uint16_t type = 0;
  const char* within = nullptr;  // of which nest; nullptr: the message's own
  std::vector<std::uint8_t> bytes;

  bool operator==(const UnknownAttribute& other) const {
    const auto nest = [](const char* name) { return std::string_view(name == nullptr ? "" : name); };
    return type == other.type && nest(within) == nest(other.within) && bytes == other.bytes;
  }
};

void encode_values(MessageWriter& writer, std::span<const AttributeValue> values);

// Those of one nest, as they came; nullptr: of the message's own. `nested`: the type of one that is told without the
// bit for nested ones, and that some readers insist on (ioam6_build_state).
void encode_unknown(MessageWriter& writer, std::span<const UnknownAttribute> unknown, const char* within = nullptr,
                    std::uint16_t nested = 0);

// Adds a value for every row that the attribute belongs to. False: none does, or its payload is not what the row says.
bool decode_value(std::span<const AttributePolicy> policies, const Attribute& attribute,
                  std::vector<AttributeValue>& into);

// Takes what an attribute says, where its payload is long enough to say it; false otherwise.
template <class Value, class Into>
bool take(std::optional<Value> value, Into& into) {
  if (!value) return false;
  into = std::move(*value);
  return true;
}

UnknownAttribute keep(const Attribute& attribute, const char* within = nullptr);

}  // namespace overns
