/**
 * How neighbours and FDB entries cross to and from the addon: offsets in bytes of the fields of a row (native/binding/
 * entry_rows.h) and of a command's record (entries.h). test/unit/native-tables.test.ts compares them with the addon's.
 */

/** An entry that was listed or told. */
export const ENTRY_ROW = {
  kind: 0,
  action: 1,
  flags: 2,
  ipLength: 3,
  state: 4,
  macLength: 6,
  marks: 7,
  text: 8,
  link: 12,
  via: 14,
  master: 16,
  port: 18,
  vlan: 20,
  protocol: 22,
  activity: 23,
  vni: 24,
  sourceVni: 28,
  nexthop: 32,
  object: 36,
  linkNetnsid: 40,
  extendedFlags: 44,
  size: 48,
} as const;
export const ROW_KINDS = ['object', 'neighbor', 'fdb', 'miss'] as const;
export const ROW_ACTIONS = ['listed', 'new', 'delete', 'l2Miss', 'l3Miss'] as const;

/** A command. */
export const ENTRY_RECORD = {
  verb: 0,
  flags: 1,
  state: 2,
  family: 4,
  hasMac: 5,
  mac: 6,
  ip: 12,
  vni: 28,
  port: 32,
  vlan: 34,
  link: 36,
  via: 38,
  nexthop: 40,
  sourceVni: 44,
  protocol: 48,
  extendedFlags: 49,
  activity: 50,
  size: 52,
} as const;
export const VERBS = { add: 0, replace: 1, append: 2, delete: 3, set: 4 } as const;

export const NO_VNI = 0xffff_ffff;
export const NO_LINK = 0xffff;
