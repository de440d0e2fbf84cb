/** Names of the devices that make an overlay. */

/** The bridge that containers and the vxlan device are ports of. */
export const BRIDGE = 'br0';
/** The vxlan device, which leads to the other hosts and tells of misses. */
export const VXLAN = 'vxlan1';
