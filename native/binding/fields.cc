#include "binding/fields.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>

#include "base/text.h"

namespace overns {

std::nullopt_t Fields::raise(const Napi::Error& error, const char* code) {
  error.Set("code", code);
  error.ThrowAsJavaScriptException();
  return std::nullopt;
}

std::optional<Napi::Value> Fields::get(const char* name) const {
  if (failed()) return std::nullopt;
  const Napi::Value value = object_.Get(name);
  ended_ = value.IsEmpty();
  if (failed() || value.IsUndefined()) return std::nullopt;
  return value;
}

bool Fields::is_null(const char* name) const {
  if (failed()) return false;
  const Napi::Value value = object_.Get(name);
  ended_ = value.IsEmpty();
  return !failed() && value.IsNull();
}

std::optional<std::string> Fields::text(const char* name) const {
  const auto value = get(name);
  if (!value) return std::nullopt;
  if (!value->IsString()) return wrong<std::string>(name, "a string");
  std::string read = from_utf8(value->As<Napi::String>().Utf8Value());
  if (read.find('\0') != std::string::npos) return out_of_range<std::string>(name, "a string without NUL");
  return read;
}

std::string Fields::path(const char* name) const {
  const auto value = get(name);
  if (!value) return {};
  if (!value->IsString()) return wrong<std::string>(name, "a string").value_or("");
  std::string read = value->As<Napi::String>().Utf8Value();
  if (read.find('\0') != std::string::npos) out_of_range<Unit>(name, "a string without NUL");
  return read;
}

std::string Fields::link(const char* name) const {
  constexpr std::size_t kLongest = 127;  // ALTIFNAMSIZ
  const auto given = text(name);
  if (given && given->empty()) out_of_range<Unit>(name, "a link's name, which is not empty");
  if (given && given->size() > kLongest) out_of_range<Unit>(name, "a link's name: 1 to 127 bytes");
  return given.value_or("");
}

LinkRef Fields::link(const char* name, const char* index_name) const {
  LinkRef ref;
  ref.name = link(name);
  ref.index = static_cast<std::int32_t>(number(index_name, INT32_MAX, 1).value_or(0));
  return ref;
}

std::optional<bool> Fields::boolean(const char* name) const {
  const auto value = get(name);
  if (!value) return std::nullopt;
  if (!value->IsBoolean()) return wrong<bool>(name, "a boolean");
  return value->As<Napi::Boolean>().Value();
}

std::optional<std::uint64_t> Fields::number(const char* name, std::uint64_t max, std::uint64_t min) const {
  const auto read = integer(name, static_cast<std::int64_t>(min), static_cast<std::int64_t>(max));
  return read ? std::optional(static_cast<std::uint64_t>(*read)) : std::nullopt;
}

std::optional<std::int64_t> Fields::integer(const char* name, std::int64_t min, std::int64_t max) const {
  const auto value = get(name);
  if (!value) return std::nullopt;
  if (!value->IsNumber()) return wrong<std::int64_t>(name, "a number");
  const double read = value->As<Napi::Number>().DoubleValue();
  if (!(read >= static_cast<double>(min)) || read > static_cast<double>(max) || std::floor(read) != read) {
    return out_of_range<std::int64_t>(name, "an integer from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return static_cast<std::int64_t>(read);
}

std::optional<Mac> Fields::mac(const char* name) const {
  const auto value = text(name);
  if (!value) return std::nullopt;
  const auto parsed = Mac::parse(*value);
  return parsed ? parsed : out_of_range<Mac>(name, "a MAC address like 02:42:c0:a8:00:02");
}

std::optional<Ip> Fields::ip(const char* name) const {
  const auto value = text(name);
  if (!value) return std::nullopt;
  const auto parsed = Ip::parse(*value);
  return parsed ? parsed : out_of_range<Ip>(name, "an IP address");
}

std::optional<Prefix> Fields::prefix(const char* name) const {
  const auto value = text(name);
  if (!value) return std::nullopt;
  const std::size_t slash = value->find('/');
  const auto parsed = Ip::parse(std::string_view(*value).substr(0, slash));
  if (!parsed) return out_of_range<Prefix>(name, "an address with a prefix length, like 192.168.0.2/24");
  const int bits = parsed->is_v4() ? 32 : 128;
  int length = bits;
  if (slash != std::string::npos) {
    const std::string digits = value->substr(slash + 1);
    const bool plain =
        !digits.empty() && digits.size() <= 3 && digits.find_first_not_of("0123456789") == std::string::npos;
    length = plain ? std::stoi(digits) : -1;
    if (length < 0 || length > bits)
      return out_of_range<Prefix>(name, "an address with a prefix length from 0 to " + std::to_string(bits));
  }
  return Prefix{*parsed, static_cast<std::uint8_t>(length)};
}

std::optional<std::uint8_t> Fields::family() const {
  static constexpr Name<std::uint8_t> kFamilies[] = {{"inet", AF_INET}, {"inet6", AF_INET6}};
  return word("family", kFamilies);
}

std::optional<Fields> Fields::object(const char* name) const {
  const auto value = get(name);
  if (!value) return std::nullopt;
  if (value->Type() != napi_object || value->IsArray()) return wrong<Fields>(name, "an object");
  return Fields(env_, value->As<Napi::Object>(), path_ + name + ".");
}

std::optional<std::vector<Fields>> Fields::objects(const char* name) const {
  const auto value = get(name);
  if (!value) return std::nullopt;
  if (!value->IsArray()) return wrong<std::vector<Fields>>(name, "an array");
  const auto array = value->As<Napi::Array>();
  std::vector<Fields> all;
  for (std::uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value each = array.Get(i);
    if (each.Type() != napi_object) return wrong<std::vector<Fields>>(name, "an array of objects");
    all.emplace_back(env_, each.As<Napi::Object>(), path_ + name + "[" + std::to_string(i) + "].");
  }
  return all;
}

std::optional<std::vector<std::uint8_t>> Fields::bytes(const char* name) const {
  const auto value = get(name);
  if (!value) return std::nullopt;
  if (!value->IsTypedArray() || value->As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    return wrong<std::vector<std::uint8_t>>(name, "a Uint8Array");
  const auto array = value->As<Napi::Uint8Array>();
  return std::vector<std::uint8_t>(array.Data(), array.Data() + array.ByteLength());
}

void Fields::value(const AttributePolicy& policy, std::vector<AttributeValue>& into) const {
  const char* name = policy.name;
  if (!policy.words.empty()) {
    const auto given = text(name);
    if (!given) return;
    std::string all;
    for (const Word& word : policy.words) {
      if (*given == word.text) {
        into.push_back({&policy, std::uint64_t{word.value}});
        return;
      }
      all += (all.empty() ? "" : ", ") + std::string(word.text);
    }
    out_of_range<Unit>(name, all);
    return;
  }
  std::uint64_t max = UINT32_MAX;
  switch (policy.value) {
    case ValueType::kIp4:
    case ValueType::kIp6: {
      const auto given = ip(name);
      if (given && given->is_v4() == (policy.value == ValueType::kIp4)) into.push_back({&policy, *given});
      return;
    }
    case ValueType::kBool:
    case ValueType::kFlag:
    case ValueType::kBit16:
    case ValueType::kBit32:
    case ValueType::kBitBe16:
    case ValueType::kOption:
      if (const auto given = boolean(name)) into.push_back({&policy, std::uint64_t{*given}});
      return;
    case ValueType::kMac:
      if (const auto given = mac(name)) into.push_back({&policy, *given});
      return;
    case ValueType::kText:
      if (auto given = text(name)) into.push_back({&policy, std::move(*given)});
      return;
    case ValueType::kBytes:
      if (auto given = bytes(name)) into.push_back({&policy, std::move(*given)});
      return;
    case ValueType::kPortRange:
    case ValueType::kRange16:
    case ValueType::kRange32:
      if (const auto range = object(name)) {
        const bool wide = policy.value == ValueType::kRange32;
        const auto low = range->number("low", wide ? UINT32_MAX : UINT16_MAX);
        const auto high = range->number("high", wide ? UINT32_MAX : UINT16_MAX);
        if (failed()) return;
        if (!low || !high) {
          wrong<Unit>(name, "an object with low and high");
        } else {
          into.push_back({&policy, *low << (wide ? 32 : 16) | *high});
        }
      }
      return;
    case ValueType::kBe64:
      if (const auto given = get(name)) {
        if (!given->IsBigInt()) {
          wrong<Unit>(name, "a bigint");
          return;
        }
        bool lossless = false;
        const std::uint64_t number = given->As<Napi::BigInt>().Uint64Value(&lossless);
        if (!lossless) {
          out_of_range<Unit>(name, "a bigint from 0 to 2^64-1");
          return;
        }
        into.push_back({&policy, number});
      }
      return;
    case ValueType::kS32:
      if (const auto given = integer(name, INT32_MIN, INT32_MAX))
        into.push_back({&policy, static_cast<std::uint64_t>(static_cast<std::uint32_t>(*given))});
      return;
    case ValueType::kLink: {
      const auto given = get(name);
      // Found where the socket is, on the worker.
      if (given && given->IsString()) {
        if (auto link = text(name)) into.push_back({&policy, std::move(*link)});
        return;
      }
      break;
    }
    case ValueType::kU8: max = UINT8_MAX; break;
    case ValueType::kU16:
    case ValueType::kBe16: max = UINT16_MAX; break;
    case ValueType::kU64: max = (std::uint64_t{1} << 53) - 1; break;
    default: break;
  }
  if (const auto given = number(name, max)) into.push_back({&policy, *given});
}

std::vector<UnknownAttribute> Fields::unknown(std::span<const char* const> within) const {
  std::vector<UnknownAttribute> found;
  const auto list = objects("unknown");
  if (!list) return found;
  for (const Fields& each : *list) {
    UnknownAttribute attribute;
    const auto type = each.number("type", 0x3fff, 1);  // NLA_TYPE_MASK
    const auto nest = each.text("within");
    auto payload = each.bytes("bytes");
    if (each.failed()) return found;
    if (!type || !payload) {
      wrong<Unit>("unknown", "an array of objects with type and bytes");
      return found;
    }
    if (nest) {
      for (const char* known : within) {
        if (*nest == known) attribute.within = known;
      }
      if (attribute.within == nullptr) {
        each.out_of_range<Unit>("within", "the name of a nest that can be written");
        return found;
      }
    }
    attribute.type = static_cast<std::uint16_t>(*type);
    attribute.bytes = std::move(*payload);
    found.push_back(std::move(attribute));
  }
  return found;
}

void Fields::values(std::span<const AttributePolicy> policies, std::vector<AttributeValue>& into) const {
  for (const AttributePolicy& policy : policies) {
    if (!policy.read_only) value(policy, into);
    if (failed()) return;
  }
}

}  // namespace overns
