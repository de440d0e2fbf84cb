#include "netns/tun.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cstring>

#include "netns/namespace.h"

namespace overns {
namespace {

constexpr const char* kDevice = "/dev/net/tun";

// In the namespace of the thread that opens the device file.
Status make(const TunSpec& spec, std::string& name) {
  const UniqueFd fd(open(kDevice, O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return system_failure("open", kDevice);
  ifreq request{};
  std::memcpy(request.ifr_name, spec.name.data(), spec.name.size());
  // Exclusive: otherwise it would be another queue of one that there is.
  unsigned flags = (spec.tap ? IFF_TAP : IFF_TUN) | IFF_TUN_EXCL;
  if (!spec.pi) flags |= IFF_NO_PI;
  if (spec.vnet_hdr) flags |= IFF_VNET_HDR;
  if (spec.multi_queue) flags |= IFF_MULTI_QUEUE;
  request.ifr_flags = static_cast<short>(flags);
  if (ioctl(fd.get(), TUNSETIFF, &request) != 0) {
    if (errno == EBUSY) errno = EEXIST;
    return system_failure("TUNSETIFF", spec.name);
  }
  // Until it is made to stay, it goes with the descriptor.
  if (spec.owner && ioctl(fd.get(), TUNSETOWNER, *spec.owner) != 0) return system_failure("TUNSETOWNER", spec.name);
  if (spec.group && ioctl(fd.get(), TUNSETGROUP, *spec.group) != 0) return system_failure("TUNSETGROUP", spec.name);
  if (ioctl(fd.get(), TUNSETPERSIST, 1) != 0) return system_failure("TUNSETPERSIST", spec.name);
  name.assign(request.ifr_name, strnlen(request.ifr_name, sizeof request.ifr_name));
  return done();
}

}  // namespace

Result<std::string> create_tun(int socket, const TunSpec& spec) {
  if (spec.name.empty() || spec.name.size() >= IFNAMSIZ) return Failure{EINVAL, "TUNSETIFF", spec.name, {}, {}};
  const UniqueFd netns(ioctl(socket, SIOCGSKNS));
  if (!netns.valid()) return system_failure("SIOCGSKNS");
  std::string name;
  const Status status =
      run_in_namespace("/proc/self/fd/" + std::to_string(netns.get()), [&] { return make(spec, name); });
  if (!status) return status.failure();
  return name;
}

}  // namespace overns
