// Neighbours and FDB entries of a vxlan device, written and deleted in batches.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "engine/output.h"
#include "netlink/command_socket.h"

namespace overns {

class EntryWriter {
 public:
  // `command`: a socket of the device's namespace, of which nothing else is asked between `program` and `confirm`.
  explicit EntryWriter(CommandSocket& command) : command_(command) {}

  void set_device(std::int32_t index) { vxlan_ = index; }
  // Whether the device learns where MACs are.
  void set_learning(bool on) { learning_ = on; }
  bool learning() const { return learning_; }

  // As EngineOutput has them.
  void program(std::span<const KernelEntry> entries, std::span<int> errors);
  void confirm();
  void withdraw(std::span<const AskKey> keys, std::span<int> errors);
  int withdraw_vtep(const Ip& vtep);

 private:
  void submit(std::span<const KernelEntry> entries, std::span<int> errors);

  CommandSocket& command_;
  std::int32_t vxlan_ = 0;
  bool learning_ = true;
  RequestBatch batch_;
  std::vector<std::optional<Failure>> answers_;
  std::span<const KernelEntry> submitted_;  // whose answers have not been read yet
  std::span<int> errors_;                   // where they go
};

}  // namespace overns
