// engine/local_addresses.h: what is never remote, and why.
#include "engine/local_addresses.h"

#include "support.h"

using namespace overns;
using support::ip;
using support::mac;
using Owner = LocalAddresses::Owner;

namespace {

const Mac kOne = mac("02:00:00:00:00:01");
const Mac kTwo = mac("02:00:00:00:00:02");

}  // namespace

TEST_CASE("local addresses: a VTEP that cannot be another host's has a fault") {
  LocalAddresses local(ip("10.0.0.1"));
  CHECK(local.set_host({ip("10.0.0.1"), ip("10.0.1.1")}, {ip("10.0.0.255")}));
  CHECK_FALSE(local.set_host({ip("10.0.0.1"), ip("10.0.1.1")}, {ip("10.0.0.255")}));
  CHECK(local.vtep_fault(ip("10.0.0.2")) == nullptr);
  CHECK(local.vtep_fault(ip("10.0.0.1")) == nullptr);  // its own: that is no fault of a record
  for (const char* wrong : {"10.0.1.1", "10.0.0.255", "0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.2", "fd00::1",
                            "::ffff:10.0.0.2"}) {
    CAPTURE(wrong);
    CHECK(local.vtep_fault(ip(wrong)) != nullptr);
  }
  LocalAddresses six(ip("fd00::1"));
  CHECK(six.vtep_fault(ip("fd00::2")) == nullptr);
  for (const char* wrong : {"10.0.0.2", "fe80::1", "::1", "::", "ff02::1", "::ffff:10.0.0.2"}) {
    CAPTURE(wrong);
    CHECK(six.vtep_fault(ip(wrong)) != nullptr);
  }
}

TEST_CASE("local addresses: an address is here as long as one link has it") {
  LocalAddresses local(ip("10.0.0.1"));
  const AskKey key = AskKey::of(ip("192.168.0.2"));
  CHECK(local.set_link(Owner::kEndpoint, 5, {ip("192.168.0.2")}, kOne));
  CHECK_FALSE(local.set_link(Owner::kEndpoint, 5, {ip("192.168.0.2")}, kOne));  // nothing new
  CHECK(local.set_link(Owner::kOverlay, 5, {}, kTwo));                          // the same index, another owner
  CHECK(local.set_link(Owner::kEndpoint, 6, {ip("192.168.0.2")}, kOne));
  CHECK(local.contains(key));
  CHECK_FALSE(local.set_link(Owner::kEndpoint, 5, {}, Mac{}));
  CHECK(local.contains(key));
  CHECK(local.contains(AskKey::of(kOne)));
  CHECK_FALSE(local.set_link(Owner::kEndpoint, 6, {}, Mac{}));
  CHECK_FALSE(local.contains(key));
  CHECK(local.mac_fault(kOne) == nullptr);
  CHECK(local.mac_fault(kTwo) != nullptr);
  CHECK_FALSE(local.set_link(Owner::kOverlay, 5, {}, Mac{}));
  CHECK(local.mac_fault(kTwo) == nullptr);
  CHECK(local.mac_fault(mac("01:00:5e:00:00:01")) != nullptr);
  CHECK(local.mac_fault(Mac{}) != nullptr);
}
