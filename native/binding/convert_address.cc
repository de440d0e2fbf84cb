// Interface addresses to and from JavaScript.
#include "base/text.h"
#include "binding/fields.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace overns {
namespace {

constexpr Name<std::uint32_t> kAddressFlags[] = {
    {"secondary", IFA_F_SECONDARY},         {"nodad", IFA_F_NODAD},         {"optimistic", IFA_F_OPTIMISTIC},
    {"dadfailed", IFA_F_DADFAILED},         {"home", IFA_F_HOMEADDRESS},    {"deprecated", IFA_F_DEPRECATED},
    {"tentative", IFA_F_TENTATIVE},         {"permanent", IFA_F_PERMANENT}, {"mngtmpaddr", IFA_F_MANAGETEMPADDR},
    {"noprefixroute", IFA_F_NOPREFIXROUTE}, {"autojoin", IFA_F_MCAUTOJOIN}, {"stable-privacy", IFA_F_STABLE_PRIVACY},
};
// IFAPROT_*
constexpr Name<std::uint8_t> kAddressProtocols[] = {{"kernel_lo", 1}, {"kernel_ra", 2}, {"kernel_ll", 3}};

bool is_loopback(const Ip& ip) { return ip.is_v4() && ip.bytes[0] == 127; }

}  // namespace

void parse_address(const Fields& fields, Command& command) {
  InterfaceAddress address;
  const auto given = fields.prefix("address");
  if (!given) {
    if (!fields.failed()) fields.wrong<Unit>("address", "a string");
    return;
  }
  address.ip = given->ip;
  address.prefix = given->length;
  if (fields.family().value_or(address.ip.family) != address.ip.family)
    fields.out_of_range<Unit>("family", "that of address");
  address.peer = fields.ip("peer").value_or(Ip{});
  address.broadcast = fields.ip("broadcast").value_or(Ip{});
  if (!fields.failed() && !address.peer.empty() && address.peer.family != address.ip.family)
    fields.out_of_range<Unit>("peer", "an address of the same family");
  if (!fields.failed() && !address.broadcast.empty() && !(address.broadcast.is_v4() && address.ip.is_v4()))
    fields.out_of_range<Unit>("broadcast", "an IPv4 address, and only with one");
  address.flags = fields.bits("flags", kAddressFlags).value_or(0);
  if (fields.boolean("nodad").value_or(false)) address.flags |= IFA_F_NODAD;
  if (fields.boolean("noprefixroute").value_or(false)) address.flags |= IFA_F_NOPREFIXROUTE;
  // As `ip address`: 127.0.0.0/8 is nobody else's.
  const std::uint8_t scope = is_loopback(address.ip) ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  address.scope = fields.word_or_number("scope", kScopes).value_or(scope);
  address.label = fields.text("label").value_or("");
  constexpr std::uint64_t kMost = InterfaceAddress::kForever - 1;
  if (const auto seconds = fields.number("preferredLifetime", kMost))
    address.preferred = static_cast<std::uint32_t>(*seconds);
  if (const auto seconds = fields.number("validLifetime", kMost)) address.valid = static_cast<std::uint32_t>(*seconds);
  address.metric = static_cast<std::uint32_t>(fields.number("metric", UINT32_MAX).value_or(0));
  address.protocol = fields.word_or_number("protocol", kAddressProtocols).value_or(0);
  (void)fields.unknown();  // as it was listed; nothing takes it
  command.item = std::move(address);
}

Napi::Object to_js(Napi::Env env, const InterfaceAddress& address, const LinkNames& names) {
  auto object = Napi::Object::New(env);
  set_link(object, "link", "linkIndex", names, address.index);
  object.Set("address", with_prefix(address.ip, address.prefix));
  object.Set("family", family_word(address.ip.family));
  if (!address.peer.empty()) object.Set("peer", address.peer.to_string());
  if (!address.broadcast.empty()) object.Set("broadcast", address.broadcast.to_string());
  object.Set("scope", word_or_number(env, address.scope, kScopes));
  object.Set("flags", words_of(env, address.flags, kAddressFlags));
  if (!address.label.empty()) object.Set("label", to_utf8(address.label));
  if (address.preferred && *address.preferred != InterfaceAddress::kForever)
    object.Set("preferredLifetime", *address.preferred);
  if (address.valid && *address.valid != InterfaceAddress::kForever) object.Set("validLifetime", *address.valid);
  if (address.metric != 0) object.Set("metric", address.metric);
  if (address.protocol != 0) object.Set("protocol", word_or_number(env, address.protocol, kAddressProtocols));
  set_unknown(object, address.unknown);
  return object;
}

}  // namespace overns
