// How the engine acts on the world. Calls come from the thread that drives the engine.
#pragma once

#include <cstdint>
#include <span>

#include "base/address.h"
#include "engine/ask_key.h"
#include "engine/event.h"
#include "engine/time.h"

namespace overns {

// The kernel's entries for one endpoint: a neighbour, ip -> mac, when there is an IP, and an FDB entry, mac -> vtep.
struct KernelEntry {
  Ip ip;
  Mac mac;
  Ip vtep;
};

class EngineOutput {
 public:
  virtual ~EngineOutput() = default;
  // Programs all entries at once: they are there when it returns. errors[i] (0, or a positive errno) is known when
  // `confirm` returns.
  virtual void program(std::span<const KernelEntry> entries, std::span<int> errors) = 0;
  virtual void confirm() {}
  // Removes the neighbour entry of each IP, the FDB entry of each MAC. Absence is no error; errors[i] is 0 or a
  // positive errno.
  virtual void withdraw(std::span<const AskKey> keys, std::span<int> errors) = 0;
  // Removes the FDB entries that lead to a VTEP, all at once. 0, or a positive errno: a kernel may not know how.
  virtual int withdraw_vtep(const Ip& vtep) = 0;
  // Whether br0 knows the MAC behind one of its ports other than vxlan1.
  virtual bool is_behind_bridge(const Mac& mac) = 0;
  virtual void replay(Bytes frame) = 0;
  // Sends the request on to the one who is asked, and tells that one's host of it (MissEngine::on_primed). False where
  // it cannot.
  virtual bool prime(Bytes frame, const Mac& mac, const Ip& vtep) = 0;
  // Tells the containers of this host that the address has this MAC now.
  virtual void announce(const Ip& ip, const Mac& mac) = 0;
  // Has what other hosts send here for these MACs, and no others, given to MissEngine::redirect().
  virtual void set_departed(std::span<const Mac> macs) = 0;
  // Sends a punted packet on to a VTEP, at the latest when `send_forwarded` is called; until then its bytes stay.
  virtual void forward(Bytes packet, const Ip& vtep) = 0;
  virtual void send_forwarded() = 0;
  virtual void look_up(const AskKey& key, std::uint32_t token, Nanoseconds miss_at) = 0;
  virtual void emit(const EngineEvent& event) = 0;
  virtual Nanoseconds now() = 0;
};

}  // namespace overns
