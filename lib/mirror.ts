/**
 * The rows that the consumer of a monitor with `resync` has, of one namespace, and which of them the kernel may have
 * changed without telling: those are listed anew and compared.
 */
import { identityOf } from './identity.js';
import type { MonitorGroup, SnapshotEvent } from './monitor.js';

/** An event, or a row of a listing. */
export type Item = Record<string, unknown>;
/** What a namespace lists. */
export type Listed = Omit<SnapshotEvent, 'kind' | 'netns'>;

export const LISTED_KINDS = [
  ['links', 'link'],
  ['addresses', 'address'],
  ['routes', 'route'],
  ['neighbors', 'neighbor'],
  ['fdb', 'fdb'],
] as const;
type Kind = (typeof LISTED_KINDS)[number][1];

/** The group that tells of a kind. */
export function groupOf(kind: unknown): MonitorGroup | undefined {
  if (kind === 'link' || kind === 'address' || kind === 'route' || kind === 'netns') return kind;
  return kind === 'neighbor' || kind === 'fdb' || kind === 'miss' ? 'neigh' : undefined;
}

/** What an event has beside its row. The kind of a link is compared by itself. */
const EVENT_ONLY = ['kind', 'linkKind', 'action', 'atNs', 'netns', 'replaced'];
/** Clocks and counters, which differ at every look. */
const MOVING = [
  'preferredLifetime',
  'validLifetime',
  'expires',
  'helloTimer',
  'tcnTimer',
  'topologyChangeTimer',
  'gcTimer',
  'messageAgeTimer',
  'forwardDelayTimer',
  'holdTimer',
  'fdbLearned',
  'bcQueueLengthUsed',
];
const SKIPPED: ReadonlySet<string> = new Set([...EVENT_ONLY, ...MOVING]);

export class Mirror {
  readonly #rows: Readonly<Record<Kind, Map<string, Item>>> = {
    link: new Map(),
    address: new Map(),
    route: new Map(),
    neighbor: new Map(),
    fdb: new Map(),
  };
  /** What has been told of since the listing under way began: that is at least as new. */
  #touched: Set<string> | undefined;
  /** What may have changed in silence. */
  readonly stale = new Set<MonitorGroup>();

  /** @param listed with links, whatever the groups */
  constructor(listed: Listed) {
    for (const [field, kind] of LISTED_KINDS) {
      for (const row of listed[field] ?? []) this.#rows[kind].set(identityOf(kind, row), row as unknown as Item);
    }
  }

  /** How many rows there are. */
  get size(): number {
    return LISTED_KINDS.reduce((sum, [, kind]) => sum + this.#rows[kind].size, 0);
  }

  /** Takes note of what the kernel tells. False when it is no news to whoever has these rows. */
  take(event: Item): boolean {
    const kind = event.kind as Kind;
    const rows = this.#rows[kind];
    if (rows === undefined) {
      if (event.kind === 'nexthop') this.#suspect((row) => row.nexthop !== undefined);
      return true;
    }
    const identity = identityOf(kind, event);
    const known = rows.get(identity);
    this.#touched?.add(`${kind} ${identity}`);
    const gone = event.action === 'delete';
    if (kind === 'link') this.#doubtLink(event, known);
    if (kind === 'address' && gone) this.#doubtAddress(event);
    if (kind === 'route' && isDoubtful(event, known)) {
      this.stale.add('route');
      if (gone) return false;
    }
    if (!gone) {
      event.action = known === undefined ? 'add' : 'change';
      rows.set(identity, kind === 'link' ? linkRow(event) : event);
      return true;
    }
    return rows.delete(identity);
  }

  /**
   * A link was told of: what names it may have changed, and the other end of a pair, which does not tell of the namespace
   * that this one has left or come to.
   */
  #doubtLink(event: Item, known: Item | undefined): void {
    const row = linkRow(event);
    if (known !== undefined && event.action !== 'delete' && isSame('link', known, row)) return;
    const { index, name } = known ?? row;
    this.#suspect(
      (each, kind) =>
        (kind !== 'link' || each.index !== index) &&
        (refersTo(each, index, name) || (kind === 'link' && each.index === row.link)),
    );
  }

  /**
   * An address has gone: with it go IPv4 routes that have it as their source (fib_sync_down_addr), with the last of a
   * link all others there (fib_disable_ip), and IPv6 routes lose their source (rt6_remove_prefsrc).
   */
  #doubtAddress({ address, link, linkIndex, family }: Item): void {
    const source = String(address).replace(/\/.*/, '');
    this.#suspect(
      (row, kind) =>
        kind === 'route' && (row.source === source || (family === 'inet' && refersTo(row, linkIndex ?? link, link))),
    );
  }

  /** Doubts the tables that have such a row. */
  #suspect(concerns: (row: Item, kind: Kind) => boolean): void {
    for (const [, kind] of LISTED_KINDS) {
      const group = groupOf(kind) as MonitorGroup;
      if (this.stale.has(group)) continue;
      for (const row of this.#rows[kind].values()) {
        if (!concerns(row, kind)) continue;
        this.stale.add(group);
        break;
      }
    }
  }

  /** From now on until compare(), what is told of counts as newer than what is being listed. */
  listing(): void {
    this.#touched = new Set();
  }

  /** True when a row is not listed that nothing was told of. */
  lacks(listed: Listed): boolean {
    for (const [field, kind] of LISTED_KINDS) {
      const rows = listed[field];
      if (rows === undefined) continue;
      const found = new Set(rows.map((row) => identityOf(kind, row)));
      for (const identity of this.#rows[kind].keys()) {
        if (!found.has(identity) && !this.#touched?.has(`${kind} ${identity}`)) return true;
      }
    }
    return false;
  }

  /** Takes what was listed for the truth. Returns what differs, as events: first what has gone. */
  compare(listed: Listed): Item[] {
    const touched = this.#touched;
    this.#touched = undefined;
    const atNs = process.hrtime.bigint();
    const gone: Item[] = [];
    const told: Item[] = [];
    for (const [field, kind] of LISTED_KINDS) {
      const found = listed[field];
      if (found === undefined) continue;
      const rows = this.#rows[kind];
      const listedNow = new Map<string, Item>();
      for (const row of found) listedNow.set(identityOf(kind, row), row as unknown as Item);
      for (const [identity, row] of rows) {
        if (listedNow.has(identity) || touched?.has(`${kind} ${identity}`)) continue;
        gone.push(toEvent(kind, 'delete', row, atNs));
        rows.delete(identity);
      }
      for (const [identity, row] of listedNow) {
        if (touched?.has(`${kind} ${identity}`)) continue;
        const known = rows.get(identity);
        if (known === undefined) told.push(toEvent(kind, 'add', row, atNs));
        else if (!isSame(kind, known, row)) told.push(toEvent(kind, 'change', row, atNs));
        rows.set(identity, row);
      }
    }
    return gone.reverse().concat(told);
  }
}

/**
 * True for a route that stands for more than it says. A replaced one may have had another identity. A way that joins
 * others or leaves them changes the IPv6 route that they make up (ip6_route_multipath_add, fib6_del_route).
 */
function isDoubtful(event: Item, known: Item | undefined): boolean {
  const { action, family, nexthops, replaced } = event;
  if (action === 'delete') return known === undefined || !isSameWay(known, event);
  if (replaced === true) return known === undefined;
  return known !== undefined || (family === 'inet6' && nexthops !== undefined);
}

/** True unless an event is about one way of several. */
function isSameWay(known: Item, { gateway, nexthops }: Item): boolean {
  return known.gateway === gateway && (known.nexthops === undefined) === (nexthops === undefined);
}

/** The link of an event as it would be listed. */
function linkRow({ kind, linkKind, action, atNs, netns, ...row }: Item): Item {
  return linkKind === undefined ? row : { ...row, kind: linkKind };
}

function toEvent(kind: Kind, action: 'add' | 'change' | 'delete', row: Item, atNs: bigint): Item {
  const { replaced, ...event } = row;
  if (kind === 'link' && row.kind !== undefined) event.linkKind = row.kind;
  return Object.assign(event, { kind, action, atNs });
}

/** True when a row names a link, by its name or its index. */
function refersTo(row: Item, index: unknown, name: unknown): boolean {
  const { link, linkIndex, master, masterIndex, via, viaIndex, nexthops } = row;
  if ([link, linkIndex, masterIndex, viaIndex].includes(index) || [link, master, via].includes(name)) return true;
  return Array.isArray(nexthops) && nexthops.some((hop: Item) => refersTo(hop, index, name));
}

function isSame(kind: Kind, a: Item, b: Item): boolean {
  return (kind !== 'link' || a.kind === b.kind) && isEqual(a, b);
}

function isEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const [left, right] = [a as Item, b as Item];
  if (ArrayBuffer.isView(a) || Array.isArray(a)) {
    const [one, other] = [a as unknown as unknown[], b as unknown as unknown[]];
    if (one.length !== other.length) return false;
    for (let at = 0; at < one.length; at++) if (!isEqual(one[at], other[at])) return false;
    return true;
  }
  for (const key in left) if (!SKIPPED.has(key) && !isEqual(left[key], right[key])) return false;
  for (const key in right) if (!SKIPPED.has(key) && left[key] === undefined && right[key] !== undefined) return false;
  return true;
}
