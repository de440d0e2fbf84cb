// Reading the fields of a JavaScript object, and the words that stand for the kernel's numbers.
#pragma once

#include "binding/convert.h"

#include <cmath>
#include <cstdlib>
#include <string>

#include "rtnl/attribute_policy.h"

namespace overns {

template <class Number>
struct Name {
  const char* text;
  Number value;
};

// "192.168.0.2/24"; without a prefix length the whole address.
struct Prefix {
  Ip ip;
  std::uint8_t length = 0;
};

// Reads the fields of one object; the first thing wrong raises a JavaScript exception that names the field.
class Fields {
 public:
  // `path`: in front of the names in errors, such as "peer."
  Fields(Napi::Env env, Napi::Object object, std::string path = {})
      : env_(env), object_(object), path_(std::move(path)) {}

  bool failed() const { return ended_ || env_.IsExceptionPending(); }
  Napi::Env env() const { return env_; }

  std::optional<Napi::Value> get(const char* name) const;
  // Given as null: taken away, where a field can be.
  bool is_null(const char* name) const;
  // As the kernel has it: escapes become bytes (base/text.h).
  std::optional<std::string> text(const char* name) const;
  // Without escapes, as file names are given.
  std::string path(const char* name) const;
  // A link's name or one of its alternative ones, or nothing where none is given; an empty one is none.
  std::string link(const char* name) const;
  // A link by its name, its index or both.
  LinkRef link(const char* name, const char* index_name) const;
  std::optional<bool> boolean(const char* name) const;
  std::optional<std::uint64_t> number(const char* name, std::uint64_t max, std::uint64_t min = 0) const;
  std::optional<std::int64_t> integer(const char* name, std::int64_t min, std::int64_t max) const;
  std::optional<Mac> mac(const char* name) const;
  std::optional<Ip> ip(const char* name) const;
  std::optional<Prefix> prefix(const char* name) const;
  std::optional<std::uint8_t> family() const;  // "inet", "inet6"
  // The object or the array of objects under that name.
  std::optional<Fields> object(const char* name) const;
  std::optional<std::vector<Fields>> objects(const char* name) const;
  std::optional<std::vector<std::uint8_t>> bytes(const char* name) const;

  template <class Number, std::size_t N>
  std::optional<Number> word(const char* name, const Name<Number> (&names)[N]) const {
    const auto value = text(name);
    if (!value) return std::nullopt;
    for (const auto& known : names) {
      if (*value == known.text) return known.value;
    }
    return out_of_range<Number>(name, list(names));
  }
  // A word, or the number itself where there is no word for it.
  template <class Number, std::size_t N>
  std::optional<Number> word_or_number(const char* name, const Name<Number> (&names)[N]) const {
    const auto value = get(name);
    if (!value) return std::nullopt;
    if (value->IsNumber()) {
      const auto read = number(name, static_cast<std::uint64_t>(static_cast<Number>(~Number{0})));
      return read ? std::optional(static_cast<Number>(*read)) : std::nullopt;
    }
    if (!value->IsString()) return wrong<Number>(name, "a string or a number");
    return word(name, names);
  }
  // An array of words as bits.
  template <class Number, std::size_t N>
  std::optional<Number> bits(const char* name, const Name<Number> (&names)[N]) const {
    const auto value = get(name);
    if (!value) return std::nullopt;
    if (!value->IsArray()) return wrong<Number>(name, "an array");
    const auto array = value->As<Napi::Array>();
    Number all = 0;
    for (std::uint32_t i = 0; i < array.Length(); ++i) {
      const std::string each = text_of(array.Get(i));
      // A bit without a word, as words_of tells it.
      char* end = nullptr;
      const unsigned long long number = each.starts_with("0x") ? std::strtoull(each.c_str(), &end, 16) : 0;
      bool known = number != 0 && *end == '\0' && number == static_cast<Number>(number);
      if (known) all = static_cast<Number>(all | static_cast<Number>(number));
      for (const auto& bit : names) {
        if (each != bit.text) continue;
        all = static_cast<Number>(all | bit.value);
        known = true;
      }
      if (!known) return out_of_range<Number>(name, "an array of words among " + list(names));
    }
    return all;
  }

  // Attributes as they were listed under `unknown`, to be written as they are; `within`: the nests that they may be of.
  std::vector<UnknownAttribute> unknown(std::span<const char* const> within = {}) const;

  // Reads what an object says of the rows of a table; those that the kernel only tells are passed over.
  void values(std::span<const AttributePolicy> policies, std::vector<AttributeValue>& into) const;

  template <class Value>
  std::optional<Value> wrong(const char* name, const std::string& expected) const {
    return raise(Napi::TypeError::New(env_, path_ + name + ": expected " + expected), "ERR_INVALID_ARG_TYPE");
  }
  template <class Value>
  std::optional<Value> out_of_range(const char* name, const std::string& expected) const {
    return raise(Napi::RangeError::New(env_, path_ + name + ": expected " + expected), "ERR_INVALID_ARG_VALUE");
  }

 private:
  // With Node's own code, as the arguments that lib checks.
  static std::nullopt_t raise(const Napi::Error& error, const char* code);

  template <class Number, std::size_t N>
  static std::string list(const Name<Number> (&names)[N]) {
    std::string all;
    for (const auto& each : names) all += (all.empty() ? "" : ", ") + std::string(each.text);
    return all;
  }
  void value(const AttributePolicy& policy, std::vector<AttributeValue>& into) const;

  Napi::Env env_;
  Napi::Object object_;
  std::string path_;
  mutable bool ended_ = false;  // the worker is being terminated: what is not read any more was not left out
};

// The word for a number, or the number as text.
template <class Number, std::size_t N>
std::string word_of(Number value, const Name<Number> (&names)[N]) {
  for (const auto& known : names) {
    if (known.value == value) return known.text;
  }
  return std::to_string(value);
}

// The word for a number, or the number.
template <class Number, std::size_t N>
Napi::Value word_or_number(Napi::Env env, Number value, const Name<Number> (&names)[N]) {
  for (const auto& known : names) {
    if (known.value == value) return Napi::String::New(env, known.text);
  }
  return Napi::Number::New(env, value);
}

// The words for the bits that are set; a bit without a word as its number in hexadecimal.
template <class Number, std::size_t N>
Napi::Array words_of(Napi::Env env, Number value, const Name<Number> (&names)[N]) {
  auto list = Napi::Array::New(env);
  std::uint32_t count = 0;
  for (const auto& bit : names) {
    if ((value & bit.value) == 0) continue;
    list.Set(count++, bit.text);
    value = static_cast<Number>(value & ~bit.value);
  }
  for (std::uint64_t bit = 1; value != 0; bit <<= 1) {
    if ((value & bit) == 0) continue;
    char text[24];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(bit));
    list.Set(count++, text);
    value = static_cast<Number>(value & ~bit);
  }
  return list;
}

// A link under its name, and beside it its index.
void set_link(Napi::Object object, const char* name, const char* index_name, const LinkNames& names,
              std::int32_t index);
Napi::Value name_of(Napi::Env env, const LinkNames& names, std::int32_t index);
std::string with_prefix(const Ip& ip, std::uint8_t prefix);
const char* family_word(std::uint8_t family);
// Sets a property for every value.
void set_values(Napi::Object object, const std::vector<AttributeValue>& values);
// Sets `unknown`, if there is any.
void set_unknown(Napi::Object object, const std::vector<UnknownAttribute>& unknown);

inline constexpr Name<Verb> kVerbs[] = {{"add", Verb::kAdd},
                                        {"replace", Verb::kReplace},
                                        {"append", Verb::kAppend},
                                        {"delete", Verb::kDelete},
                                        {"set", Verb::kSet}};
// RT_SCOPE_*, of addresses and routes.
extern const Name<std::uint8_t> kScopes[5];
// RTPROT_*: who made a route, a rule or a nexthop.
extern const Name<std::uint8_t> kRouteProtocols[22];

// RTNH_F_* in the low byte, RTM_F_* in the rest.
extern const Name<std::uint32_t> kRouteFlags[14];

// One file a kind of thing.
void parse_link(const Fields& fields, Command& command);
void parse_address(const Fields& fields, Command& command);
void parse_route(const Fields& fields, Command& command);
std::optional<std::uint8_t> parse_rule_family(const Fields& fields);
void parse_rule(const Fields& fields, Command& command);
void parse_nexthop(const Fields& fields, Command& command);
std::optional<std::uint8_t> parse_route_type(const Fields& fields);

}  // namespace overns
