// netlink/message.h: walking messages and attributes, acknowledgements, and writing again what was read.
#include "netlink/message.h"

#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "input.h"

using namespace overns;
using fuzz::require;

namespace {

// Depth first, as if every attribute held others.
void walk(AttributeReader reader, Bytes whole, int depth) {
  while (const auto attribute = reader.next()) {
    require(fuzz::within(attribute->payload, whole), "an attribute lies within its parent");
    require(attribute->text().size() <= attribute->payload.size(), "a text ends with its attribute");
    require(attribute->as<std::uint64_t>().has_value() == (attribute->payload.size() >= 8), "as() checks the size");
    (void)attribute->be16();
    (void)attribute->be32();
    if (depth < 4) walk(AttributeReader(attribute->payload), attribute->payload, depth + 1);
  }
}

template <class Header>
void walk(const Message& message) {
  (void)message.family_header<Header>();
  walk(message.attributes<Header>(), message.payload, 0);
}

// Attributes as bare as they were read, one by one, into a message that reads the same.
void write_again(const Message& message) {
  MessageWriter writer;
  writer.begin(message.header.nlmsg_type, message.header.nlmsg_flags, message.header.nlmsg_seq);
  writer.header(ndmsg{});
  auto attributes = message.attributes<ndmsg>();
  while (const auto attribute = attributes.next()) writer.attribute(attribute->type, attribute->payload);
  writer.end();
  require(writer.fits(), "what was read can be written");

  MessageReader reader(writer.bytes());
  const auto written = reader.next();
  require(written.has_value() && !reader.next() && !reader.malformed(), "one whole message was written");
  require(written->header.nlmsg_seq == message.header.nlmsg_seq, "the header is the same");
  auto before = message.attributes<ndmsg>();
  auto after = written->attributes<ndmsg>();
  for (;;) {
    const auto was = before.next();
    const auto is = after.next();
    require(was.has_value() == is.has_value(), "there are as many attributes");
    if (!was) break;
    require(was->type == is->type && std::ranges::equal(was->payload, is->payload), "an attribute is the same");
  }
  require(!after.malformed(), "what was written is well-formed");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Exact exact(Bytes(data, size));
  MessageReader reader(exact.bytes());
  std::size_t count = 0;
  while (const auto message = reader.next()) {
    ++count;
    require(fuzz::within(message->payload, exact.bytes()), "a message lies within its datagram");
    walk<ifinfomsg>(*message);
    walk<ndmsg>(*message);
    walk<rtgenmsg>(*message);
    write_again(*message);
    const auto ack = parse_acknowledgement(*message);
    if (!ack) continue;
    require(ack->error >= 0, "an error is a positive errno");
    const auto* text = reinterpret_cast<const std::uint8_t*>(ack->text.data());
    require(fuzz::within(Bytes(text, ack->text.size()), message->payload), "the text lies within its message");
  }
  require(count * sizeof(nlmsghdr) <= size, "each message takes its bytes");
  return 0;
}
