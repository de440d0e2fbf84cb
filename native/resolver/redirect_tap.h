// Sends on what other hosts still send here for containers that have moved away.
//
// A bridge sends no frame out of the port that it came in by, so that a frame for a container which is here no longer
// ends here. A hairpin on vxlan1 would send back all that the bridge floods as well, and a redirection in the kernel
// (tc) would outlive an agent that is killed, and take the frames of a container that comes back. So they are read by a
// packet socket on vxlan1, whose filter passes only what is for one of those MACs, and sent out of vxlan1 again as they
// are, by what its FDB says, or the punt. A packet socket on a bridge's port has to be one for all protocols, since the
// bridge takes frames before others see them: it is bound when the first MAC has left. It stays so, with a filter that
// passes nothing once all are forgotten, some ten nanoseconds a frame: to let go of it would hold up the thread for
// milliseconds (synchronize_net).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace overns {

class RedirectTap {
 public:
  // Deaf until `listen`.
  static Result<RedirectTap> open(const std::string& netns);

  int fd() const { return fd_.get(); }
  // Hears from now on what comes to this vxlan device for these MACs: IPv4 and IPv6 without a VLAN tag.
  Status listen(std::int32_t vxlan, std::span<const Mac> macs);
  // Reads a frame, which may be changed and stays until the next is read. One that could not be read is empty; nothing:
  // there is no more.
  std::optional<std::span<std::uint8_t>> receive();
  // Sends the frame that was read last out of the device.
  void send_back();

 private:
  UniqueFd fd_;
  std::int32_t vxlan_ = 0;  // it is bound to this one, 0 = none
  // What the kernel says of the frame (virtio_net_hdr: a checksum to be filled in, segments to be made of it), which
  // goes back with it, and the frame.
  std::vector<std::uint8_t> buffer_;
  std::size_t size_ = 0;
};

}  // namespace overns
