/**
 * The rows that the consumer of a monitor with `resync` has, of one namespace, and which of them the kernel may have
 * changed without telling: those are listed anew and compared.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { identityOf } from '../identity.js';
import type { MonitorGroup, SnapshotEvent } from './events.js';

/** An event, or a row of a listing. */
export type Item = Record<string, unknown>;
/** The rows of a namespace. */
export type Listed = Omit<SnapshotEvent, 'kind' | 'netns'>;

export const LISTED_KINDS = [
  ['links', 'link'],
  ['addresses', 'address'],
  ['routes', 'route'],
  ['neighbors', 'neighbor'],
  ['fdb', 'fdb'],
  ['rules', 'rule'],
  ['nexthops', 'nexthop'],
] as const;
type Kind = (typeof LISTED_KINDS)[number][1];

/** The group that tells of a kind. */
export function groupOf(kind: unknown): MonitorGroup | undefined {
  switch (kind) {
    case 'link':
    case 'address':
    case 'route':
    case 'rule':
    case 'nexthop':
    case 'netns':
      return kind;
    case 'neighbor':
    case 'fdb':
    case 'miss':
      return 'neigh';
    default:
      return undefined;
  }
}

/** Fields of an event that are not of its row. The kind of a link is compared by itself, a rule's action is its identity. */
const EVENT_ONLY = ['kind', 'linkKind', 'action', 'ruleAction', 'atNs', 'netns', 'replaced'];
/** Clocks and counters, which differ at every look. */
const CLOCKS_AND_COUNTERS = [
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
  'unbalancedTime',
];
const SKIPPED: ReadonlySet<string> = new Set([...EVENT_ONLY, ...CLOCKS_AND_COUNTERS]);

/** Rows by their identity, of the kinds that were listed. */
export type Indexed = Partial<Record<Kind, Map<string, Item>>>;

/** Rows that are looked at in one turn of the event loop, which a big table is not to hold up. */
const PIECE = 1000;

async function inPieces<T>(
  items: Iterable<T>,
  look: (item: T) => void,
  end: () => void = () => undefined,
): Promise<void> {
  let count = 0;
  for (const item of items) {
    look(item);
    if (++count % PIECE !== 0) continue;
    end();
    await turn();
  }
  end();
}

/** The rows of a listing by their identity. */
export async function indexed(listed: Listed): Promise<Indexed> {
  const tables: Indexed = {};
  for (const [field, kind] of LISTED_KINDS) {
    const rows = listed[field] as readonly unknown[] | undefined;
    if (rows === undefined) continue;
    const table = new Map<string, Item>();
    tables[kind] = table;
    await inPieces(rows as readonly Item[], (row) => table.set(identityOf(kind, row), row));
  }
  return tables;
}

export class Mirror {
  readonly #rows: Readonly<Record<Kind, Map<string, Item>>>;
  /** Rows that an event was about since the listing under way began: the event is at least as new. */
  #touched: Set<string> | undefined;
  /** Groups whose rows may have changed in silence. */
  readonly stale = new Set<MonitorGroup>();

  /** @param listed with links, whatever the groups; not to be used afterwards */
  constructor(listed: Indexed) {
    const rows = LISTED_KINDS.map(([, kind]) => [kind, listed[kind] ?? new Map()]);
    this.#rows = Object.fromEntries(rows) as Record<Kind, Map<string, Item>>;
  }

  /** How many rows there are, of which a link counts for 20: so much more there is to read of it. */
  get size(): number {
    const { link } = this.#rows;
    return LISTED_KINDS.reduce((sum, [, kind]) => sum + this.#rows[kind].size, link.size * 19);
  }

  /** Applies an event. False when it changes nothing for whoever has these rows. */
  take(event: Item): boolean {
    const kind = event.kind as Kind;
    const rows = this.#rows[kind];
    if (rows === undefined) return true;
    const identity = identityOf(kind, event);
    const known = rows.get(identity);
    this.#touched?.add(`${kind} ${identity}`);
    const gone = event.action === 'delete';
    if (kind === 'link') this.#doubtLink(event, known);
    if (kind === 'address' && gone) this.#doubtAddress(event);
    // The routes and FDB entries that use it, and the groups that it may be in.
    if (kind === 'nexthop') this.#suspect((row) => row.nexthop !== undefined || (gone && Array.isArray(row.group)));
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

  /** From now on until compare() has ended, events count as newer than what is being listed. */
  listing(): void {
    this.#touched = new Set();
  }

  /** True when a row is not listed that no event was about. */
  lacks(listed: Indexed): boolean {
    for (const [, kind] of LISTED_KINDS) {
      const found = listed[kind];
      if (found === undefined) continue;
      for (const identity of this.#rows[kind].keys()) {
        if (!found.has(identity) && !this.#isTouched(kind, identity)) return true;
      }
    }
    return false;
  }

  #isTouched(kind: Kind, identity: string): boolean {
    return this.#touched !== undefined && this.#touched.size > 0 && this.#touched.has(`${kind} ${identity}`);
  }

  /** Takes the listed rows for the truth, and reports the differences as events: first of the rows that have gone. */
  async compare(listed: Indexed, report: (events: Item[]) => void): Promise<void> {
    const atNs = process.hrtime.bigint();
    let events: Item[] = [];
    const flush = (): void => {
      if (events.length > 0) report(events);
      events = [];
    };
    for (const [, kind] of [...LISTED_KINDS].reverse()) {
      const found = listed[kind];
      const rows = this.#rows[kind];
      if (found === undefined) continue;
      for (const [identity, row] of rows) {
        if (found.has(identity) || this.#isTouched(kind, identity)) continue;
        events.push(toEvent(kind, 'delete', row, atNs));
        rows.delete(identity);
      }
    }
    flush();
    for (const [, kind] of LISTED_KINDS) {
      const rows = this.#rows[kind];
      const compare = ([identity, row]: [string, Item]): void => {
        if (this.#isTouched(kind, identity)) return;
        const known = rows.get(identity);
        if (known === undefined) events.push(toEvent(kind, 'add', row, atNs));
        else if (!isSame(kind, known, row)) events.push(toEvent(kind, 'change', row, atNs));
        rows.set(identity, row);
      };
      await inPieces(listed[kind] ?? [], compare, flush);
    }
    this.#touched = undefined;
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
  if (kind === 'rule') event.ruleAction ??= row.action;
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
  for (const key in left) if (!isEqual(left[key], right[key]) && !SKIPPED.has(key)) return false;
  for (const key in right) if (left[key] === undefined && right[key] !== undefined && !SKIPPED.has(key)) return false;
  return true;
}
