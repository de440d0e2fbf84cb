/** The words of neighbour and FDB entries and the kernel's numbers for them: include/uapi/linux/neighbour.h. */

/** NUD_*. */
export const NEIGHBOR_STATES: Readonly<Record<string, number>> = {
  none: 0,
  incomplete: 0x01,
  reachable: 0x02,
  stale: 0x04,
  delay: 0x08,
  probe: 0x10,
  failed: 0x20,
  noarp: 0x40,
  permanent: 0x80,
};
/**
 * The words of bridge(8): static does not age, dynamic does and gives way to a learned move. A vxlan takes a static entry
 * only with the bit of a reachable one (vxlan_fdb_add).
 */
export const FDB_STATES: Readonly<Record<string, number>> = {
  permanent: 0x80,
  static: 0x42,
  dynamic: 0x02,
  stale: 0x04,
};
/** FDB_NOTIFY_*, of a bridge's entry that tells when its MAC falls silent. */
export const FDB_ACTIVITIES: Readonly<Record<string, number>> = { notify: 1, inactive: 3 };
/** NTF_*. */
export const FLAGS: Readonly<Record<string, number>> = {
  use: 0x01,
  self: 0x02,
  master: 0x04,
  proxy: 0x08,
  extern_learn: 0x10,
  offload: 0x20,
  sticky: 0x40,
  router: 0x80,
};
/** NTF_EXT_*. */
export const EXTENDED_FLAGS: Readonly<Record<string, number>> = { managed: 0x01, locked: 0x02, ext_validated: 0x04 };
