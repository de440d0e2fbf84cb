// rtnl/link_counters.h: what links have counted, from kernels older and newer than the headers.
#include "rtnl/link_counters.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "support.h"

using namespace overns;

namespace {

std::optional<LinkCounters> counted(std::size_t bytes, std::uint16_t type = RTM_NEWLINK) {
  std::vector<std::uint8_t> stats(bytes);
  for (std::size_t i = 0; i < bytes / 8; ++i) {
    const std::uint64_t value = (std::uint64_t{1} << 60) + i;
    std::memcpy(stats.data() + i * 8, &value, sizeof value);
  }
  RequestBatch batch;
  MessageWriter& writer = batch.begin(type, 0);
  ifinfomsg header{};
  header.ifi_index = 7;
  writer.header(header);
  writer.text(IFLA_IFNAME, "eth0");
  writer.attribute(IFLA_STATS64, stats);
  batch.end();
  MessageReader reader(batch.request(0));
  const auto message = reader.next();
  REQUIRE(message);
  return decode_counters(*message);
}

}  // namespace

TEST_CASE("counters: as many as the kernel tells, and that are known") {
  const auto whole = counted(25 * 8);
  REQUIRE(whole);
  CHECK(whole->index == 7);
  CHECK(whole->name == "eth0");
  CHECK(whole->count == 25);
  CHECK(whole->values[0] == (std::uint64_t{1} << 60));
  CHECK(whole->values[24] == (std::uint64_t{1} << 60) + 24);
  CHECK(std::string_view(kCounterNames[23]) == "rxNohandler");
  CHECK(counted(23 * 8)->count == 23);      // Linux 4.5
  CHECK(counted(23 * 8 + 7)->count == 23);  // cut
  CHECK(counted(40 * 8)->count == 25);      // what is yet to come
  CHECK(counted(0)->count == 0);
  CHECK_FALSE(counted(25 * 8, RTM_DELLINK));
}
