#include "binding/fields.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>

#include "base/text.h"

namespace overns {

Napi::Value name_of(Napi::Env env, const LinkNames& names, std::int32_t index) {
  const auto found = names.find(index);
  return Napi::String::New(env, found != names.end() ? to_utf8(found->second) : "if" + std::to_string(index));
}

void set_link(Napi::Object object, const char* name, const char* index_name, const LinkNames& names,
              std::int32_t index) {
  if (index == 0) return;
  object.Set(name, name_of(object.Env(), names, index));
  object.Set(index_name, index);
}

std::string with_prefix(const Ip& ip, std::uint8_t prefix) { return ip.to_string() + "/" + std::to_string(prefix); }

const char* family_word(std::uint8_t family) {
  switch (family) {
    case AF_INET: return "inet";
    case AF_INET6: return "inet6";
    case RTNL_FAMILY_IPMR: return "ipmr";
    case RTNL_FAMILY_IP6MR: return "ip6mr";
    default: return "unspec";
  }
}

namespace {

Napi::Value number_to_js(Napi::Env env, const AttributePolicy& policy, std::uint64_t number) {
  for (const Word& word : policy.words) {
    if (word.value == number) return Napi::String::New(env, word.text);
  }
  switch (policy.value) {
    case ValueType::kBool:
    case ValueType::kFlag:
    case ValueType::kBit16:
    case ValueType::kBit32:
    case ValueType::kBitBe16:
    case ValueType::kOption: return Napi::Boolean::New(env, number != 0);
    case ValueType::kS32: return Napi::Number::New(env, static_cast<std::int32_t>(number));
    case ValueType::kPortRange:
    case ValueType::kRange16:
    case ValueType::kRange32: {
      const bool wide = policy.value == ValueType::kRange32;
      auto range = Napi::Object::New(env);
      range.Set("low", static_cast<double>(number >> (wide ? 32 : 16)));
      range.Set("high", static_cast<double>(number & (wide ? UINT32_MAX : UINT16_MAX)));
      return range;
    }
    case ValueType::kBe64: return Napi::BigInt::New(env, number);
    case ValueType::kBridgeId: {
      Mac mac;
      for (std::size_t i = 0; i < 6; ++i) mac.bytes[i] = static_cast<std::uint8_t>(number >> (40 - 8 * i));
      char priority[8];
      std::snprintf(priority, sizeof priority, "%04x.", static_cast<unsigned>(number >> 48));
      return Napi::String::New(env, priority + mac.to_string());
    }
    default: return Napi::Number::New(env, static_cast<double>(number));
  }
}

Napi::Uint8Array bytes_to_js(Napi::Env env, const std::vector<std::uint8_t>& bytes) {
  auto array = Napi::Uint8Array::New(env, bytes.size());
  if (!array.IsEmpty() && !bytes.empty()) std::memcpy(array.Data(), bytes.data(), bytes.size());
  return array;
}

}  // namespace

void set_values(Napi::Object object, const std::vector<AttributeValue>& values) {
  const Napi::Env env = object.Env();
  for (const AttributeValue& each : values) {
    const AttributePolicy& policy = *each.policy;
    if (const auto* number = std::get_if<std::uint64_t>(&each.value)) {
      object.Set(policy.name, number_to_js(env, policy, *number));
    } else if (const auto* ip = std::get_if<Ip>(&each.value)) {
      object.Set(policy.name, ip->to_string());
    } else if (const auto* mac = std::get_if<Mac>(&each.value)) {
      object.Set(policy.name, mac->to_string());
    } else if (const auto* text = std::get_if<std::string>(&each.value)) {
      object.Set(policy.name, to_utf8(*text));
    } else if (const auto* bytes = std::get_if<std::vector<std::uint8_t>>(&each.value)) {
      object.Set(policy.name, bytes_to_js(env, *bytes));
    }
  }
}

void set_unknown(Napi::Object object, const std::vector<UnknownAttribute>& unknown) {
  if (unknown.empty()) return;
  const Napi::Env env = object.Env();
  auto list = Napi::Array::New(env, unknown.size());
  for (std::uint32_t i = 0; i < unknown.size(); ++i) {
    auto each = Napi::Object::New(env);
    each.Set("type", static_cast<double>(unknown[i].type));
    if (unknown[i].within != nullptr) each.Set("within", unknown[i].within);
    each.Set("bytes", bytes_to_js(env, unknown[i].bytes));
    list.Set(i, each);
  }
  object.Set("unknown", list);
}

}  // namespace overns
