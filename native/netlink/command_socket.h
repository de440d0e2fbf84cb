// Requests and their answers: batches in one sendmsg with an answer per item, and dumps that are either whole or say
// that they are not.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "netlink/message.h"

namespace overns {

// Requests that travel together. Sequence numbers are given by the socket that sends them.
class RequestBatch {
 public:
  // Begins a request; NLM_F_REQUEST is added. Fill in header and attributes through the writer, then call `end`.
  // A request that is longer than netlink can say is kept as its place only, and answered with EMSGSIZE.
  MessageWriter& begin(std::uint16_t type, std::uint16_t flags);
  void end();
  void clear();
  std::size_t size() const { return starts_.size(); }
  Bytes request(std::size_t index) const;
  bool too_long(std::size_t index) const { return request(index).size() == NLMSG_HDRLEN; }

 private:
  friend class CommandSocket;
  MessageWriter writer_;
  std::vector<std::size_t> starts_;
};

struct DumpResult {
  std::vector<std::uint8_t> bytes;  // the messages, NLMSG_DONE excluded
  bool interrupted = false;         // still inconsistent after the retries: data and error both
};

class CommandSocket {
 public:
  // `buffer`: bytes for one datagram of a dump; it grows when the kernel sends more. An acknowledgement always fits.
  static Result<CommandSocket> open(const std::string& netns, std::size_t buffer = 64 << 10);
  // In a new namespace without a name, which lives as long as the socket.
  static Result<CommandSocket> open_scratch();
  // Over a socket that is open already. `answer_timeout_ms`: how long an answer may take; the kernel's is there when
  // the request has been sent.
  explicit CommandSocket(UniqueFd fd, std::size_t buffer = 64 << 10, int answer_timeout_ms = 5000)
      : fd_(std::move(fd)), buffer_(std::max(buffer, kAcknowledgement)), answer_timeout_ms_(answer_timeout_ms) {}

  // The answer per item, in order: nothing, or why not. The outer failure means that answers are missing: what
  // happened to the requests is then unknown.
  Status execute(RequestBatch& batch, std::vector<std::optional<Failure>>& answers);
  using OnFailure = std::function<void(std::size_t index, Failure)>;
  Status execute(RequestBatch& batch, const OnFailure& refused);  // the failures alone, as they come
  Status execute(RequestBatch& batch);                            // the first failure, after all were tried

  // The same in two halves, for a batch of at most `kDeferred` small requests: the kernel has done them when `submit`
  // returns, so that what depends on them can go ahead before the answers are read. Nothing else may be asked between.
  static constexpr std::size_t kDeferred = 64;
  Status submit(RequestBatch& batch);
  Status collect(RequestBatch& batch, std::vector<std::optional<Failure>>& answers);

  // One request that answers with one message (RTM_GETLINK, RTM_GETNSID); its bytes as received.
  Result<std::vector<std::uint8_t>> query(RequestBatch& batch);

  // A dump of a batch of one request. An inconsistent (NLM_F_DUMP_INTR) or truncated one is retried a few times.
  Result<DumpResult> dump(RequestBatch& batch);
  // The same message by message, for listings of any size; `begin` starts each attempt. True: it is still inconsistent
  // after the retries.
  Result<bool> dump(RequestBatch& batch, const std::function<void()>& begin,
                    const std::function<void(const Message&)>& each);

  int fd() const { return fd_.get(); }

 private:
  Status collect(RequestBatch& batch, std::size_t first, std::size_t last, const OnFailure& refused);
  Status send(RequestBatch& batch, std::size_t first, std::size_t last, bool acknowledge_all);
  struct Received {
    Bytes bytes;
    bool truncated = false;  // the buffer has grown: ask again
  };
  Result<Received> receive();
  Failure failure_of(const Acknowledgement& ack, Bytes request) const;

  static constexpr std::size_t kAcknowledgement = 1024;  // a capped one with the longest text is a quarter of it

  UniqueFd fd_;
  std::vector<std::uint8_t> buffer_;
  int answer_timeout_ms_;
  std::uint32_t sequence_ = 0;
};

// RTM_* by number, for messages.
const char* message_name(std::uint16_t type);

}  // namespace overns
