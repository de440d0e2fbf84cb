#include "rtnl/neighbor_table.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace overns {

void encode_neighbor_queue(RequestBatch& batch, std::uint8_t family, std::int32_t index, std::uint32_t bytes) {
  MessageWriter& writer = batch.begin(RTM_SETNEIGHTBL, NLM_F_REPLACE);
  ndtmsg header{};
  header.ndtm_family = family;
  writer.header(header);
  writer.text(NDTA_NAME, family == AF_INET ? "arp_cache" : "ndisc_cache");
  const std::size_t parameters = writer.begin_nested(NDTA_PARMS);
  writer.u32(NDTPA_IFINDEX, static_cast<std::uint32_t>(index));
  writer.u32(NDTPA_QUEUE_LENBYTES, bytes);
  writer.end_nested(parameters);
  batch.end();
}

}  // namespace overns
