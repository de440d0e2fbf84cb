#include "netlink/command_socket.h"

#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "netlink/socket.h"

namespace overns {
namespace {

constexpr std::size_t kChunkMessages = 128;  // in one sendmsg; if all fail, their errors fit the default receive buffer
constexpr std::size_t kChunkBytes = 96 << 10;  // below the default send buffer
constexpr std::size_t kRequestBytes = 64 << 10;
constexpr int kDumpAttempts = 5;

void patch(Bytes message, std::size_t offset, const void* data, std::size_t size) {
  std::memcpy(const_cast<std::uint8_t*>(message.data()) + offset, data, size);
}

Failure too_long(Bytes request) {
  nlmsghdr header;
  std::memcpy(&header, request.data(), sizeof header);
  return Failure{EMSGSIZE, message_name(header.nlmsg_type), "the request does not fit into a netlink message", {}, {}};
}

}  // namespace

MessageWriter& RequestBatch::begin(std::uint16_t type, std::uint16_t flags) {
  starts_.push_back(writer_.size());
  writer_.begin(type, static_cast<std::uint16_t>(flags | NLM_F_REQUEST), 0);
  return writer_;
}

void RequestBatch::end() {
  writer_.end();
  // The header alone is sent, to which the kernel answers without doing anything (rtnetlink_rcv_msg).
  if (!writer_.fits() || writer_.size() - starts_.back() > kRequestBytes) writer_.cut_body();
}

void RequestBatch::clear() {
  writer_.clear();
  starts_.clear();
}

Bytes RequestBatch::request(std::size_t index) const {
  const std::size_t end = index + 1 < starts_.size() ? starts_[index + 1] : writer_.size();
  return writer_.bytes().subspan(starts_[index], end - starts_[index]);
}

Result<CommandSocket> CommandSocket::open(const std::string& netns, std::size_t buffer) {
  auto fd = open_command_socket(netns);
  if (!fd) return fd.failure();
  return CommandSocket(std::move(*fd), buffer);
}

Result<CommandSocket> CommandSocket::open_scratch() {
  auto fd = open_scratch_command_socket();
  if (!fd) return fd.failure();
  return CommandSocket(std::move(*fd), kAcknowledgement);
}

Status CommandSocket::send(RequestBatch& batch, std::size_t first, std::size_t last, bool acknowledge_all) {
  for (std::size_t i = first; i < last; ++i) {
    const Bytes request = batch.request(i);
    nlmsghdr header;
    std::memcpy(&header, request.data(), sizeof header);
    header.nlmsg_seq = ++sequence_;
    // Errors are answered without NLM_F_ACK too, so one acknowledgement, of the last, closes a chunk.
    if (acknowledge_all || i + 1 == last) header.nlmsg_flags |= NLM_F_ACK;
    patch(request, 0, &header, sizeof header);
  }
  const Bytes begin = batch.request(first);
  const Bytes end = batch.request(last - 1);
  const std::size_t size = static_cast<std::size_t>(end.data() + end.size() - begin.data());
  ssize_t sent;
  do {
    sent = ::send(fd_.get(), begin.data(), size, 0);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return system_failure("sendmsg");
  return done();
}

Result<CommandSocket::Received> CommandSocket::receive() {
  for (;;) {
    sockaddr_nl from{};
    iovec part{buffer_.data(), buffer_.size()};
    msghdr header{};
    header.msg_name = &from;
    header.msg_namelen = sizeof from;
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    const ssize_t size = recvmsg(fd_.get(), &header, MSG_TRUNC | MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) {
      pollfd wait{fd_.get(), POLLIN, 0};
      if (poll(&wait, 1, answer_timeout_ms_) == 0)
        return Failure{ETIMEDOUT, "recvmsg", "no answer from the kernel", {}, {}};
      continue;
    }
    if (size < 0) return system_failure("recvmsg");
    if (from.nl_pid != 0) continue;  // not the kernel: any process may send to our port
    const auto length = static_cast<std::size_t>(size);
    if (length <= buffer_.size()) return Received{Bytes(buffer_).first(length), false};
    // Whole messages have fitted up to the cut; the sequence goes on, its end is still to be read.
    const std::size_t had = buffer_.size();
    buffer_.resize(length * 2);
    return Received{Bytes(buffer_).first(had), true};
  }
}

Failure CommandSocket::failure_of(const Acknowledgement& ack, Bytes request) const {
  nlmsghdr header{};
  if (request.size() >= sizeof header) std::memcpy(&header, request.data(), sizeof header);
  Failure failure{ack.error, message_name(header.nlmsg_type), {}, std::string(ack.text), {}};
  if (ack.offset && *ack.offset + sizeof(nlattr) <= request.size()) {
    nlattr attribute;
    std::memcpy(&attribute, request.data() + *ack.offset, sizeof attribute);
    failure.attribute = std::to_string(attribute.nla_type & NLA_TYPE_MASK);
  }
  return failure;
}

Status CommandSocket::execute(RequestBatch& batch, std::vector<std::optional<Failure>>& answers) {
  answers.assign(batch.size(), std::nullopt);
  return execute(batch, [&](std::size_t index, Failure failure) { answers[index] = std::move(failure); });
}

Status CommandSocket::execute(RequestBatch& batch, const OnFailure& refused) {
  std::size_t first = 0;
  while (first < batch.size()) {
    std::size_t last = first;
    std::size_t bytes = 0;
    while (last < batch.size() && last - first < kChunkMessages) {
      bytes += batch.request(last).size();
      if (last > first && bytes > kChunkBytes) break;
      if (batch.too_long(last)) refused(last, too_long(batch.request(last)));
      ++last;
    }
    if (Status sent = send(batch, first, last, false); !sent) return sent;
    if (Status status = collect(batch, first, last, refused); !status) return status;
    first = last;
  }
  return done();
}

Status CommandSocket::collect(RequestBatch& batch, std::size_t first, std::size_t last, const OnFailure& refused) {
  const std::uint32_t final_sequence = sequence_;
  const std::uint32_t base = final_sequence - static_cast<std::uint32_t>(last - first) + 1;
  for (bool complete = false; !complete;) {
    auto received = receive();
    if (!received) return received.failure();
    MessageReader reader(received->bytes);
    while (const auto message = reader.next()) {
      const auto ack = parse_acknowledgement(*message);
      const std::uint32_t offset = ack ? ack->sequence - base : 0;
      if (!ack || offset >= last - first) continue;  // an answer to a request given up earlier
      if (ack->error != 0) refused(first + offset, failure_of(*ack, batch.request(first + offset)));
      if (ack->sequence == final_sequence) complete = true;
    }
  }
  return done();
}

Status CommandSocket::submit(RequestBatch& batch) {
  if (batch.size() == 0 || batch.size() > kDeferred) return Failure{EINVAL, "sendmsg", "not one chunk", {}, {}};
  return send(batch, 0, batch.size(), false);
}

Status CommandSocket::collect(RequestBatch& batch, std::vector<std::optional<Failure>>& answers) {
  answers.assign(batch.size(), std::nullopt);
  return collect(batch, 0, batch.size(),
                 [&](std::size_t index, Failure failure) { answers[index] = std::move(failure); });
}

Status CommandSocket::execute(RequestBatch& batch) {
  std::vector<std::optional<Failure>> answers;
  if (Status status = execute(batch, answers); !status) return status;
  for (auto& answer : answers) {
    if (answer) return std::move(*answer);
  }
  return done();
}

Result<std::vector<std::uint8_t>> CommandSocket::query(RequestBatch& batch) {
  if (batch.too_long(0)) return too_long(batch.request(0));
  if (Status sent = send(batch, 0, 1, true); !sent) return sent.failure();
  std::vector<std::uint8_t> answer;
  bool truncated = false;
  for (;;) {
    auto received = receive();
    if (!received) return received.failure();
    truncated = truncated || received->truncated;
    MessageReader reader(received->bytes);
    while (const auto message = reader.next()) {
      if (message->header.nlmsg_seq != sequence_) continue;
      if (const auto ack = parse_acknowledgement(*message)) {
        if (ack->error != 0) return failure_of(*ack, batch.request(0));
        if (truncated) return query(batch);  // the buffer now holds it
        return answer;
      }
      const auto* start = message->payload.data() - sizeof(nlmsghdr);
      answer.assign(start, start + message->header.nlmsg_len);
    }
  }
}

Result<DumpResult> CommandSocket::dump(RequestBatch& batch) {
  DumpResult result;
  auto interrupted = dump(
      batch, [&] { result.bytes.clear(); },
      [&](const Message& message) {
        const auto* start = message.payload.data() - sizeof(nlmsghdr);
        result.bytes.insert(result.bytes.end(), start, start + message.header.nlmsg_len);
        result.bytes.resize(align4(result.bytes.size()));
      });
  if (!interrupted) return interrupted.failure();
  result.interrupted = *interrupted;
  return result;
}

Result<bool> CommandSocket::dump(RequestBatch& batch, const std::function<void()>& begin,
                                 const std::function<void(const Message&)>& each) {
  bool interrupted = false;
  if (batch.too_long(0)) return too_long(batch.request(0));
  for (int attempt = 0; attempt < kDumpAttempts; ++attempt) {
    interrupted = false;
    begin();
    nlmsghdr header;
    const Bytes request = batch.request(0);
    std::memcpy(&header, request.data(), sizeof header);
    header.nlmsg_flags |= NLM_F_DUMP;
    patch(request, 0, &header, sizeof header);
    if (Status sent = send(batch, 0, 1, false); !sent) return sent.failure();
    bool truncated = false;
    for (bool complete = false; !complete;) {
      auto received = receive();
      if (!received) return received.failure();
      truncated = truncated || received->truncated;
      MessageReader reader(received->bytes);
      while (const auto message = reader.next()) {
        if (message->header.nlmsg_seq != sequence_) continue;
        if ((message->header.nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted = true;
        if (message->header.nlmsg_type == NLMSG_DONE) {
          // The dump's own error stands in the payload of NLMSG_DONE, as an acknowledgement's.
          const auto error = message->family_header<std::int32_t>();
          if (error && *error < 0)
            return Failure{error_number(*error), message_name(header.nlmsg_type), "dump", {}, {}};
          complete = true;
          continue;
        }
        if (const auto ack = parse_acknowledgement(*message)) {
          if (ack->error != 0) return failure_of(*ack, batch.request(0));
          complete = true;
          continue;
        }
        each(*message);
      }
      if (reader.malformed() && !received->truncated)
        return Failure{EBADMSG, message_name(header.nlmsg_type), "malformed dump", {}, {}};
    }
    interrupted = interrupted || truncated;
    if (!interrupted) break;
  }
  return interrupted;
}

const char* message_name(std::uint16_t type) {
  switch (type) {
    case RTM_NEWLINK: return "RTM_NEWLINK";
    case RTM_DELLINK: return "RTM_DELLINK";
    case RTM_GETLINK: return "RTM_GETLINK";
    case RTM_SETLINK: return "RTM_SETLINK";
    case RTM_NEWADDR: return "RTM_NEWADDR";
    case RTM_DELADDR: return "RTM_DELADDR";
    case RTM_GETADDR: return "RTM_GETADDR";
    case RTM_NEWROUTE: return "RTM_NEWROUTE";
    case RTM_DELROUTE: return "RTM_DELROUTE";
    case RTM_GETROUTE: return "RTM_GETROUTE";
    case RTM_NEWNEIGH: return "RTM_NEWNEIGH";
    case RTM_DELNEIGH: return "RTM_DELNEIGH";
    case RTM_GETNEIGH: return "RTM_GETNEIGH";
    case RTM_NEWRULE: return "RTM_NEWRULE";
    case RTM_DELRULE: return "RTM_DELRULE";
    case RTM_GETRULE: return "RTM_GETRULE";
    case RTM_NEWNEXTHOP: return "RTM_NEWNEXTHOP";
    case RTM_DELNEXTHOP: return "RTM_DELNEXTHOP";
    case RTM_GETNEXTHOP: return "RTM_GETNEXTHOP";
    case RTM_GETVLAN: return "RTM_GETVLAN";
    case RTM_GETMDB: return "RTM_GETMDB";
    case RTM_SETNEIGHTBL: return "RTM_SETNEIGHTBL";
    case RTM_NEWNSID: return "RTM_NEWNSID";
    case RTM_GETNSID: return "RTM_GETNSID";
    default: return "netlink";
  }
}

}  // namespace overns
