/** Typed rtnetlink in any namespace (RFC 3549, rtnetlink(7)). */

import type { Cancel } from '../core/abort.js';
import { abortError, checkSignal, throwIfAborted } from '../core/abort.js';
import { canonicalIp, checkInterfaceName, checkLinkName } from '../core/address.js';
import { invalidArgument, invalidType, NetlinkError, OvernsError } from '../core/errors.js';
import { checkNames, checkObject, checkOptions, type Shape, signalOf } from '../core/options.js';
import { contains, destination, prefixOf } from '../core/prefix.js';
import type { Subscription } from '../core/subscription.js';
import type { NetnsRef } from '../netns/references.js';
import { netnsLabel, netnsPath, netnsReference } from '../netns/references.js';
import { kernel, netlinkError } from '../system/kernel-error.js';
import type { NativeFailure, NativeOp, NativeRtnl, TableName } from '../system/native.js';
import { system } from '../system/system.js';
import { decodeEntries } from './entry-decoder.js';
import { encodeEntries } from './entry-encoder.js';
import { checkFields, checkFilterFields, checkFlushFields, checkOperation } from './fields.js';
import { canonicalFilter, filtered } from './filter.js';
import { identityOf } from './identity.js';
import { changesOf, whyUnchangeable } from './link-changes.js';
import { isListedRoute, planReplacements } from './listed-routes.js';
import {
  type InNetns,
  type MonitorOptions,
  monitorOptions,
  type RtnlEvent,
  type RtnlSyncEvent,
} from './monitor/events.js';
import { type MonitorSource, monitorNamespaces } from './monitor/monitor.js';
import type {
  Address,
  AnyLinkSpec,
  FdbEntry,
  FdbFlush,
  Given,
  Link,
  LinkChange,
  LinkCounters,
  LinkSpec,
  Neighbor,
  Nexthop,
  PeerSpec,
  Route,
  RouteAnswer,
  RouteFilter,
  RouteQuery,
  Rule,
} from './types.js';

/**
 * An answer of a batch, per item.
 * @example
 * ```ts
 * import type { BatchAnswer } from 'overns';
 *
 * const refused = (answers: readonly BatchAnswer[]): string[] =>
 *   answers.flatMap((each) => (each.ok ? [] : [each.error.code]));
 * console.log(refused([{ ok: true }])); // []
 * ```
 */
export type BatchAnswer = { readonly ok: true } | { readonly ok: false; readonly error: NetlinkError };

/**
 * One kind of thing in a namespace. A row as it is listed stands for itself: `replace` and `delete` go to exactly that one,
 * also where the kernel would take another of the same key. Every method throws NetlinkError for what the kernel refuses, a
 * TypeError or RangeError that names a wrong field, and AbortError when it is aborted before its requests are sent: what has
 * been sent is not taken back.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' });
 * await rtnl.links.add({ kind: 'bridge', name: 'br1' });
 * const neighbor = { link: 'br1', ip: '192.168.0.9', mac: '02:42:c0:a8:00:09', state: 'permanent' };
 * await rtnl.neighbors.add(neighbor);
 * const [again, gone] = await rtnl.neighbors.batch([
 *   { op: 'add', item: neighbor },
 *   { op: 'delete', item: neighbor },
 * ]);
 * console.log(again?.ok === false && again.error.code, gone?.ok); // EEXIST true
 * ```
 */
export interface Table<T, S = T> {
  /** Exclusive: `EEXIST` when it is there. */
  add(item: S, options?: Cancel): Promise<void>;
  /** Creates or changes. */
  replace(item: S, options?: Cancel): Promise<void>;
  /** One more of the same key, as FDB entries for broadcast have several. */
  append?(item: S, options?: Cancel): Promise<void>;
  /** Removes what has the given key: `ENOENT` when there is none (`ENODEV` for a link, `ESRCH` for a route). */
  delete(item: Partial<S>, options?: Cancel): Promise<void>;
  /**
   * What there is, matching the filter field by field; values are compared, not spellings (`fd00:0::1` is `fd00::1`).
   * Neighbours with the flag `proxy` are listed only when `flags` asks for them.
   * @throws NetlinkError; OvernsError `EINTR` with the entries as `data` when the table changed at every attempt to read it
   */
  list(filter?: Partial<T>, options?: Cancel): Promise<readonly T[]>;
  /**
   * Sent together, at most 4,194,304 of them, and one after the other where links are replaced; answers `{ ok }` or
   * `{ ok: false, error }` per item, in order.
   */
  batch(
    operations: readonly { op: 'add' | 'replace' | 'append' | 'delete'; item: S }[],
    options?: Cancel,
  ): Promise<readonly BatchAnswer[]>;
}

/**
 * A table, and the change of something that must exist already.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' });
 * await rtnl.links.add({ kind: 'bridge', name: 'br1' });
 * await rtnl.links.set({ name: 'br1', mtu: 1400, up: true });
 * console.log((await rtnl.links.list({ name: 'br1' }))[0]?.mtu); // 1400
 * ```
 */
export interface LinkTable extends Table<Link, LinkSpec> {
  /**
   * Makes the link, or changes what differs of the one that has its `index` or `name`; where nothing differs, nothing is sent.
   * The kernel by itself replaces no link.
   * @throws NetlinkError `EEXIST` when the one that is there is of another kind; `EOPNOTSUPP`, with the fields named, when
   *   something differs that is settled when a link is made (the `vni` of a vxlan, the `peer` of a veth)
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using rtnl = await Rtnl.open({ netns: 'web' });
   * for (const mtu of [1400, 1300]) await rtnl.links.replace({ kind: 'bridge', name: 'br1', mtu });
   * console.log((await rtnl.links.list({ name: 'br1' }))[0]?.mtu); // 1300
   * ```
   */
  replace(item: LinkSpec, options?: Cancel): Promise<void>;
  /**
   * Changes an existing link: up or down, `newName`, `mtu`, `mac`, `master`, `alias`, `netns`, and what its `kind` can
   * change.
   * @throws NetlinkError `ENODEV` when there is none; `EOPNOTSUPP` for what cannot be changed
   */
  set(change: LinkChange, options?: Cancel): Promise<void>;
  /**
   * What links have counted, as 64-bit numbers. A listing does not tell it, for it changes with every packet.
   * @param filter the link of that `name`, those of a `kind` or of a `master`; all by default
   * @throws NetlinkError `ENODEV` for a master that there is not; OvernsError `EINTR` as for `list`
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using rtnl = await Rtnl.open({ netns: 'web' });
   * const [lo] = await rtnl.links.counters({ name: 'lo' });
   * console.log(lo?.link, typeof lo?.rxBytes); // lo bigint
   * ```
   */
  counters(
    filter?: {
      readonly name?: string | undefined;
      readonly kind?: string | undefined;
      readonly master?: string | undefined;
    },
    options?: Cancel,
  ): Promise<readonly LinkCounters[]>;
  delete(
    item: Partial<LinkSpec> | { readonly name: string } | { readonly index: number },
    options?: Cancel,
  ): Promise<void>;
}

/**
 * Neighbours, and the removal of many.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' });
 * await rtnl.links.add({ kind: 'bridge', name: 'br1' });
 * await rtnl.neighbors.add({ link: 'br1', ip: '192.168.0.9', mac: '02:42:c0:a8:00:09', state: 'permanent' });
 * console.log(await rtnl.neighbors.flush({ link: 'br1' })); // 1
 * ```
 */
export interface NeighborTable extends Table<Neighbor> {
  /**
   * Deletes all that match, and returns how many. The kernel deletes neighbours one by one only (Linux 6.18), so they
   * are listed and deleted in one batch. What the kernel itself made for multicast (`noarp`) stays unless `state` asks for it.
   */
  flush(filter?: Partial<Neighbor>, options?: Cancel): Promise<number>;
}

/**
 * FDB entries, and the removal of many.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' });
 * await rtnl.links.add({ kind: 'vxlan', name: 'vxlan1', vni: 42 });
 * await rtnl.fdb.add({ link: 'vxlan1', mac: '02:42:c0:a8:00:03', dst: '10.0.0.11', state: 'dynamic' });
 * await rtnl.fdb.flush({ link: 'vxlan1', dst: '10.0.0.11' });
 * console.log((await rtnl.fdb.list({ link: 'vxlan1' })).length); // 0
 * ```
 */
export interface FdbTable extends Table<FdbEntry> {
  /**
   * Deletes all that match, in one request and in the kernel (NLM_F_BULK): a million in about a second. A vxlan takes
   * every filter but `vlan` (Linux 6.7), a bridge (`flags: ['master']`) `vlan`, `state` and `flags` (Linux 5.19). By `mac` and
   * `via` the kernel does not choose: there the entries are listed and deleted in one batch, and a whole row as it is listed
   * takes that one entry.
   * @throws NetlinkError `EOPNOTSUPP` or `EINVAL` where the kernel or the device cannot
   */
  flush(filter: FdbFlush, options?: Cancel): Promise<void>;
}

/**
 * Routes, the question which of them a packet takes, and the removal of many.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open();
 * const { type, source } = await rtnl.routes.get({ dst: '10.0.0.11' });
 * console.log(type, source); // unicast 10.0.0.10
 * ```
 */
export interface RouteTable extends Table<Route> {
  /**
   * Asks the kernel for the one route that it would choose, by rules, tables, metrics and sources, as `ip route get` does:
   * one request, however large the tables are. Nothing is sent to the address.
   * @throws NetlinkError `ENETUNREACH` (no route; IPv4: also a source that is no address of the namespace), `EHOSTUNREACH`,
   *   `EACCES`, `EINVAL` (routes and rules of type unreachable, prohibit, blackhole), `ENODEV` (no such link); TypeError,
   *   RangeError
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using rtnl = await Rtnl.open();
   * const own = await rtnl.routes.get({ dst: '10.0.0.10' });
   * const row = await rtnl.routes.get({ dst: '10.0.0.11', match: true });
   * console.log(own.type, row.dst); // local 10.0.0.0/24
   * const none = await rtnl.routes.get({ dst: '192.0.2.1' }).catch((error) => error);
   * console.log(none.code); // ENETUNREACH
   * ```
   */
  get(query: RouteQuery, options?: Cancel): Promise<RouteAnswer>;
  list(filter?: RouteFilter, options?: Cancel): Promise<readonly Route[]>;
  /**
   * Deletes what a listing with the same filter gives, and returns how many. The `local` table (255), which the kernel
   * fills with the addresses of this namespace, stays unless `table` or `type` asks for it.
   * @throws NetlinkError, and leaves what has not been deleted by then
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using rtnl = await Rtnl.open({ netns: 'web' });
   * await rtnl.links.add({ kind: 'bridge', name: 'br1', up: true });
   * for (const dst of ['10.1.0.0/24', '10.1.1.0/24', '10.2.0.0/24']) await rtnl.routes.add({ dst, link: 'br1' });
   * console.log(await rtnl.routes.flush({ root: '10.1.0.0/16' })); // 2
   * ```
   */
  flush(filter?: RouteFilter, options?: Cancel): Promise<number>;
}

/**
 * Rules of policy routing.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' }); // rtnl.rules is a RuleTable
 * await rtnl.rules.add({ priority: 100, from: '10.0.0.0/8', table: 42 });
 * await rtnl.rules.replace({ priority: 100, from: '10.0.0.0/8', table: 42 }); // is there
 * const [rule] = await rtnl.rules.list({ table: 42 });
 * console.log(rule?.from, await rtnl.rules.flush({ table: 42 })); // 10.0.0.0/8 1
 * ```
 */
export interface RuleTable extends Pick<Table<Rule, Given<Rule>>, 'add' | 'list'> {
  /** Makes it unless it is there: all of a rule is its key. */
  replace(item: Given<Rule>, options?: Cancel): Promise<void>;
  /**
   * Removes the first rule that has all that is given, as the kernel does.
   * @throws NetlinkError `ENOENT`; `EBUSY` when that would be another one than a rule given in full, which stands
   *   behind it: one of the same priority, for more
   */
  delete(item: Given<Rule>, options?: Cancel): Promise<void>;
  /**
   * Deletes what a listing with the same filter gives, and returns how many. The kernel's own rules (`protocol`
   * `kernel`: look in `local`, in `main`, in `default`) stay unless `protocol` or `priority` asks for them.
   */
  flush(filter?: Partial<Rule>, options?: Cancel): Promise<number>;
  /** Sent together; answers `{ ok }` or `{ ok: false, error }` per item, in order. */
  batch(
    operations: readonly { op: 'add' | 'replace' | 'delete'; item: Given<Rule> }[],
    options?: Cancel,
  ): Promise<readonly BatchAnswer[]>;
}

/**
 * Nexthop objects.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' }); // rtnl.nexthops is a NexthopTable
 * await rtnl.links.add({ kind: 'bridge', name: 'br1', up: true });
 * await rtnl.nexthops.add({ id: 7, link: 'br1' });
 * await rtnl.nexthops.add({ id: 8, blackhole: true });
 * await rtnl.nexthops.replace({ id: 7, link: 'br1', protocol: 'static' });
 * console.log((await rtnl.nexthops.list({ id: 7 }))[0]?.protocol); // static
 * console.log(await rtnl.nexthops.flush()); // 2
 * ```
 */
export interface NexthopTable extends Pick<Table<Nexthop>, 'add' | 'replace' | 'list'> {
  /** Removes the one of that id, and with it the routes that refer to it: `ENOENT` when there is none. */
  delete(item: Given<Nexthop>, options?: Cancel): Promise<void>;
  /**
   * Deletes what a listing with the same filter gives, and returns how many. A group goes with its last member, and
   * counts all the same.
   */
  flush(filter?: Partial<Nexthop>, options?: Cancel): Promise<number>;
  /** Sent together; answers `{ ok }` or `{ ok: false, error }` per item, in order. */
  batch(
    operations: readonly { op: 'add' | 'replace' | 'delete'; item: Nexthop }[],
    options?: Cancel,
  ): Promise<readonly BatchAnswer[]>;
}

type Verb = NativeOp['op'];
type Item = Readonly<Record<string, unknown>>;

/** What one of a table's is called, and several. */
const WORDS: Readonly<Record<TableName, readonly [one: string, several: string]>> = {
  link: ['link', 'links'],
  address: ['address', 'addresses'],
  route: ['route', 'routes'],
  neighbor: ['neighbour', 'neighbours'],
  fdb: ['FDB entry', 'FDB entries'],
  rule: ['rule', 'rules'],
  nexthop: ['nexthop', 'nexthops'],
};

/** "1 request about addresses". */
function counted(requests: number, table: TableName): string {
  return `${requests} ${requests === 1 ? 'request' : 'requests'} about ${WORDS[table][1]}`;
}

/** "add FDB entry 02:42:... on vxlan1": what an operation was about, for errors. */
function describe(table: TableName, verb: Verb, item: Item): string {
  const key = item.name ?? item.address ?? item.dst ?? item.ip ?? item.id ?? item.priority ?? '';
  const subject = table === 'fdb' ? String(item.mac) : String(key);
  const link = item.link ?? (item.linkIndex === undefined ? undefined : `link ${item.linkIndex}`);
  const on = table !== 'link' && link !== undefined ? ` on ${String(link)}` : '';
  return [verb, WORDS[table][0], subject].filter(Boolean).join(' ') + on;
}

class KernelTable<T, S> implements Table<T, S> {
  /** @internal */
  protected readonly open: () => NativeRtnl;
  protected readonly netns: string | undefined;
  protected readonly table: TableName;

  constructor(open: () => NativeRtnl, table: TableName, netns: string | undefined) {
    this.open = open;
    this.netns = netns;
    this.table = table;
  }

  add(item: S, options?: Cancel): Promise<void> {
    return this.#one('add', item, options);
  }
  replace(item: S, options?: Cancel): Promise<void> {
    return this.#one('replace', item, options);
  }
  append(item: S, options?: Cancel): Promise<void> {
    return this.#one('append', item, options);
  }
  delete(item: Partial<S>, options?: Cancel): Promise<void> {
    return this.#one('delete', item, options);
  }
  set(item: Partial<S>, options?: Cancel): Promise<void> {
    return this.#one('set', item, options);
  }

  async list(filter: Partial<T> = {}, options?: Cancel): Promise<readonly T[]> {
    checkFilterFields(this.table, checkObject(filter, 'filter'));
    throwIfAborted(signalOf(options));
    const wanted = canonicalFilter(this.table, filter as Item);
    const { rows, interrupted } = await kernel(
      { what: `list ${WORDS[this.table][1]}`, netns: this.netns, request: wanted, table: this.table, op: 'list' },
      this.#rows(wanted),
    );
    return settled(this.table, filtered(this.table, rows, wanted), interrupted) as readonly T[];
  }

  async #rows(filter: Item): Promise<{ rows: readonly Item[]; interrupted: boolean | undefined }> {
    const socket = this.open();
    if (this.table === 'neighbor' || this.table === 'fdb') {
      // The kernel tells proxies when they are asked for, and then nothing else.
      const proxies = this.table === 'neighbor' && Array.isArray(filter.flags) && filter.flags.includes('proxy');
      const entries = await socket.list(this.table, proxies ? { ...filter, proxies } : filter);
      return { rows: decodeEntries(entries), interrupted: entries.interrupted };
    }
    const rows = await socket.list(this.table, filter);
    return { rows, interrupted: rows.interrupted };
  }

  async batch(
    operations: readonly { op: 'add' | 'replace' | 'append' | 'delete'; item: S }[],
    options?: Cancel,
  ): Promise<readonly BatchAnswer[]> {
    if (!Array.isArray(operations)) throw invalidType('operations', operations, 'an array');
    if (operations.length > MAX_BATCH) {
      throw invalidArgument('operations', `${operations.length} of them`, `at most ${MAX_BATCH} operations`);
    }
    return this.send(operations as readonly { op: Verb; item: S }[], options);
  }

  /** Deletes what has been listed, in one batch, and returns how many; `gone`: the code of what has gone by itself. */
  protected async deleteAll(rows: readonly T[], gone: string, options: Cancel | undefined): Promise<number> {
    const answers = await this.send(
      rows.map((item) => ({ op: 'delete', item: item as unknown as S })),
      options,
    );
    let count = 0;
    for (const answer of answers) {
      if (answer.ok) count++;
      else if (answer.error.code !== gone) throw answer.error;
    }
    return count;
  }

  async #one(op: Verb, item: S | Partial<S>, options: Cancel | undefined): Promise<void> {
    const [answer] = await this.send([{ op, item: item as S }], options);
    if (answer && !answer.ok) throw answer.error;
  }

  protected async send(
    operations: readonly { op: Verb; item: S }[],
    options: Cancel | undefined,
  ): Promise<readonly BatchAnswer[]> {
    const signal = signalOf(options);
    throwIfAborted(signal);
    if (this.table === 'neighbor' || this.table === 'fdb') return this.#sendEntries(this.table, operations);
    const prepared = await Promise.all(operations.map((operation) => prepare(this.table, operation)));
    return this.sendPrepared(prepared);
  }

  protected async sendPrepared(prepared: readonly NativeOp[]): Promise<readonly BatchAnswer[]> {
    if (prepared.length === 0) return [];
    const socket = this.open();
    // A request that was sent cannot be taken back: the answer is waited for even when aborted meanwhile.
    const failures = await kernel(
      { what: `send ${counted(prepared.length, this.table)}`, netns: this.netns },
      socket.batch(this.table, prepared),
    );
    return failures.map((failure, at): BatchAnswer => {
      if (failure === null) return OK;
      const { op, item } = prepared[at] as NativeOp;
      return this.failed(failure, op, item);
    });
  }

  async #sendEntries(
    table: 'neighbor' | 'fdb',
    operations: readonly { op: Verb; item: S }[],
  ): Promise<readonly BatchAnswer[]> {
    const { records, links, indexes } = encodeEntries(table, operations);
    const failures = await kernel(
      { what: `send ${counted(operations.length, table)}`, netns: this.netns },
      this.open().entries(table, records, links, indexes),
    );
    const answers = new Array<BatchAnswer>(operations.length).fill(OK);
    for (let i = 0; i < failures.length; i += 2) {
      const at = failures[i] as number;
      const { op, item } = operations[at] as { op: Verb; item: Item };
      answers[at] = this.failed(failures[i + 1] as NativeFailure, op, item);
    }
    return answers;
  }

  protected failed(failure: NativeFailure, op: Verb, item: Item): BatchAnswer {
    const attempt = { what: describe(this.table, op, item), netns: this.netns, request: item, table: this.table, op };
    return { ok: false, error: netlinkError(failure, attempt) };
  }
}

/** What a dump gave, if it is one moment's picture. */
function settled(table: string, rows: readonly Item[], interrupted: boolean | undefined): readonly Item[] {
  if (!interrupted) return rows;
  // NLM_F_DUMP_INTR at every attempt: what was read is handed over, and said not to be one moment's picture.
  const error = new OvernsError('EINTR', `the ${table} table changed each time it was read`, {
    hint: "list again, or use this error's data, which may miss entries or have them twice",
  });
  throw Object.assign(error, { data: rows });
}

class Links extends KernelTable<Link, LinkSpec> {
  protected override async send(
    operations: readonly { op: Verb; item: LinkSpec }[],
    options: Cancel | undefined,
  ): Promise<readonly BatchAnswer[]> {
    if (operations.some((each) => each?.op === 'replace')) return this.#replace(operations, options);
    const answers = await super.send(operations, options);
    return Promise.all(answers.map((answer, at) => this.#explained(answer, operations[at]?.item as unknown as Item)));
  }

  /** One after the other, since each may be about what the one before it made. */
  async #replace(
    operations: readonly { op: Verb; item: LinkSpec }[],
    options: Cancel | undefined,
  ): Promise<readonly BatchAnswer[]> {
    // Of a link that is as wanted already nothing is sent, which would look at them.
    throwIfAborted(signalOf(options));
    const answers: BatchAnswer[] = [];
    for (const operation of operations) {
      const { op, item } = operation;
      const existing = op === 'replace' ? await this.#existing(item as unknown as Item) : undefined;
      const answer =
        existing === undefined
          ? await super.send([operation], options)
          : [await this.#change(existing, item as unknown as Item, options)];
      answers.push(await this.#explained(answer[0] as BatchAnswer, item as unknown as Item));
    }
    return answers;
  }

  async #existing(item: Item): Promise<Link | undefined> {
    if (item === null || typeof item !== 'object') return undefined;
    if (typeof item.index === 'number' && item.index > 0) return (await this.list({ index: item.index }))[0];
    if (typeof item.name !== 'string' || item.netns !== undefined) return undefined;
    return (await this.list({ name: item.name }))[0];
  }

  /** The kernel replaces no link: what differs of one that there is, is changed. */
  async #change(existing: Link, item: Item, options: Cancel | undefined): Promise<BatchAnswer> {
    const { name, index, kind } = existing;
    if (item.kind !== undefined && item.kind !== (kind ?? '')) {
      const what = kind === undefined ? 'no virtual device' : `of kind ${kind}`;
      return this.#refused(
        'EEXIST',
        item,
        `it is ${what}, not of kind ${String(item.kind)}`,
        'delete it, or choose another name',
      );
    }
    const changes: Record<string, unknown> = { ...changesOf(existing, item) };
    if (typeof item.link === 'string') {
      const below = (await this.list({ name: item.link }))[0];
      if (below !== undefined) changes.link = below.index;
      if (changes.link === existing.link) delete changes.link;
    }
    if (kind === 'veth' && typeof item.peer === 'object' && (await this.#isPeer(existing, item.peer as Item | null)))
      delete changes.peer;
    const fixed = whyUnchangeable(existing, changes);
    if (fixed !== undefined) {
      const hint = `${fixed} is given at creation only: delete the link and make another`;
      return this.#refused('EOPNOTSUPP', item, `${fixed} cannot be changed`, hint);
    }
    if (Object.keys(changes).length === 0) return OK;
    const change = { name, index, ...(kind === undefined ? {} : { kind }), ...changes };
    const [answer] = await super.send([{ op: 'set', item: change as unknown as LinkSpec }], options);
    return answer as BatchAnswer;
  }

  async #isPeer(existing: Link, peer: Item | null): Promise<boolean> {
    if (peer === null || existing.link === undefined || existing.linkNetnsid !== undefined) return false;
    const other = (await this.list({ index: existing.link }))[0];
    if (other === undefined || peer.netns !== undefined) return false;
    return Object.keys(changesOf(other, peer)).length === 0 && (peer.name === undefined || peer.name === other.name);
  }

  #refused(code: string, request: Item, why: string, hint: string): BatchAnswer {
    const errno = code === 'EEXIST' ? -17 : -95;
    const message = `cannot replace link ${String(request.name ?? request.index)}${this.netns === undefined ? '' : ` in ${this.netns}`}: ${why}`;
    const details = { errno, syscall: 'RTM_NEWLINK', netns: this.netns, request, hint };
    return { ok: false, error: new NetlinkError(code, message, details) };
  }

  /** Names what cannot be changed, where the kernel says only that something cannot. */
  async #explained(answer: BatchAnswer, item: Item): Promise<BatchAnswer> {
    if (answer.ok || answer.error.code !== 'EOPNOTSUPP' || typeof item?.kind !== 'string') return answer;
    const existing = await this.#existing(item).catch(() => undefined);
    if (existing === undefined || existing.kind !== item.kind) return answer;
    const fields = Object.keys(changesOf(existing, item));
    if (fields.length === 0) return answer;
    const { message, errno, syscall, kernelMessage, attribute, netns, request } = answer.error;
    const hint = `links of kind ${item.kind} cannot change ${fields.length === 1 ? '' : 'one of '}${fields.join(', ')} once they are made: delete this one and make another`;
    const text = message.split('\n')[0] as string;
    return {
      ok: false,
      error: new NetlinkError('EOPNOTSUPP', text, { errno, syscall, kernelMessage, attribute, netns, request, hint }),
    };
  }

  async counters(filter: object = {}, options?: Cancel): Promise<readonly LinkCounters[]> {
    const wanted = checkOptions(filter, counterFilter, 'filter');
    throwIfAborted(signalOf(options));
    const attempt = { what: 'read the counters of links', netns: this.netns, request: wanted, table: 'link' };
    const rows = await kernel({ ...attempt, op: 'list' }, this.open().list('counters', wanted));
    return settled('link', rows, rows.interrupted) as unknown as readonly LinkCounters[];
  }
}

const counterFilter = { name: checkText, kind: checkText, master: checkText } satisfies Shape;

function checkText(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidType(name, value, 'a string');
  return value;
}

const ROUTE_QUERY = [
  'dst',
  'source',
  'link',
  'inputLink',
  'mark',
  'tos',
  'uid',
  'ipProtocol',
  'sourcePort',
  'destinationPort',
  'match',
] as const satisfies readonly (keyof RouteQuery)[];

/** Neighbours: what matches is listed and deleted. */
class Neighbors extends KernelTable<Neighbor, Neighbor> implements NeighborTable {
  async flush(filter: Partial<Neighbor> = {}, options?: Cancel): Promise<number> {
    const found = await this.list(filter, options);
    const gone = filter.state === undefined ? found.filter(({ state }) => state !== 'noarp') : found;
    return this.deleteAll(gone, 'ENOENT', options);
  }
}

class Routes extends KernelTable<Route, Route> implements RouteTable {
  async get(query: RouteQuery, options?: Cancel): Promise<RouteAnswer> {
    checkNames(checkObject(query, 'query'), ROUTE_QUERY, 'field');
    throwIfAborted(signalOf(options));
    const dst = canonicalIp(query.dst, 'dst');
    const source = query.source === undefined ? undefined : canonicalIp(query.source, 'source');
    const request: Item = { ...query, dst, source };
    const what = `find the route to ${dst}${source === undefined ? '' : ` from ${source}`}`;
    const answer = await kernel(
      { what, netns: this.netns, request, table: 'route', op: 'get' },
      this.open().route(request),
    );
    if (query.match === true) return answer as unknown as RouteAnswer;
    // The source that was asked for is told as `from` (RTA_SRC), and IPv6 tells there what it would have chosen itself.
    const { from: _, ...rest } = answer;
    return (source === undefined ? rest : { ...rest, source }) as unknown as RouteAnswer;
  }

  protected override async sendPrepared(prepared: readonly NativeOp[]): Promise<readonly BatchAnswer[]> {
    const plans = await planReplacements(prepared, (table) => this.list({ family: 'inet6', table }));
    const answers = await super.sendPrepared(plans.flat());
    let at = 0;
    return plans.map((requests, number): BatchAnswer => {
      const own = answers.slice(at, at + requests.length);
      at += requests.length;
      const refused = own.find((each) => !each.ok);
      if (refused === undefined) return OK;
      // Of those that share a key it is there already, and not the first (fib_table_insert).
      const { op, item } = prepared[number] as NativeOp;
      const there = op === 'replace' && item.family === 'inet' && isListedRoute(item);
      return there && !refused.ok && refused.error.code === 'EEXIST' ? OK : refused;
    });
  }

  override async list(filter: RouteFilter = {}, options?: Cancel): Promise<readonly Route[]> {
    checkFilterFields('route', checkObject(filter, 'filter'));
    const { root, match, ...fields } = filter;
    const within = root === undefined ? undefined : prefixOf(root, 'root');
    const around = match === undefined ? undefined : prefixOf(match, 'match');
    const found = await super.list(fields as Partial<Route>, options);
    if (within === undefined && around === undefined) return found;
    return found.filter((route) => {
      const dst = destination(route);
      return (within === undefined || contains(within, dst)) && (around === undefined || contains(dst, around));
    });
  }

  async flush(filter: RouteFilter = {}, options?: Cancel): Promise<number> {
    const found = await this.list(filter, options);
    const asked = filter.table !== undefined || filter.type !== undefined;
    const gone = asked ? found : found.filter(({ table }) => table !== LOCAL_TABLE);
    return this.deleteAll(gone, 'ESRCH', options);
  }
}

class Rules extends KernelTable<Rule, Given<Rule>> {
  async flush(filter: Partial<Rule> = {}, options?: Cancel): Promise<number> {
    const found = await this.list(filter, options);
    const asked = filter.protocol !== undefined || filter.priority !== undefined;
    const gone = asked ? found : found.filter(({ protocol }) => protocol !== 'kernel');
    return this.deleteAll(gone, 'ENOENT', options);
  }
}

class Nexthops extends KernelTable<Nexthop, Nexthop> {
  async flush(filter: Partial<Nexthop> = {}, options?: Cancel): Promise<number> {
    const found = await this.list(filter, options);
    await this.deleteAll(found, 'ENOENT', options);
    return found.length;
  }
}

/** RT_TABLE_LOCAL. */
const LOCAL_TABLE = 255;

class Fdb extends KernelTable<FdbEntry, FdbEntry> implements FdbTable {
  async flush(filter: FdbFlush, options?: Cancel): Promise<void> {
    checkFlushFields(checkObject(filter, 'filter'));
    throwIfAborted(signalOf(options));
    const request = filter as unknown as Item;
    const listed = [request.mac, request.via, request.viaIndex].some((field) => field !== undefined);
    if (listed) return this.#flushListed(request, options);
    const link =
      filter.link === undefined && request.linkIndex !== undefined
        ? `link ${request.linkIndex}`
        : checkLinkName(filter.link);
    await kernel(
      { what: `flush the FDB of ${link}`, netns: this.netns, request, table: 'fdb', op: 'flush' },
      this.open().flush(request),
    );
  }

  /** By what the kernel does not choose by: the MAC, and the device towards the remote (vxlan_fdb_delete_bulk). */
  async #flushListed({ withoutFlags, ...filter }: Item, options: Cancel | undefined): Promise<void> {
    const flags = Array.isArray(filter.flags) ? (filter.flags as readonly string[]) : [];
    const bridge = flags.includes('master') || (filter.master !== undefined && !flags.includes('self'));
    const wanted = { ...filter, flags: flags.filter((flag) => flag !== 'master') } as Partial<FdbEntry>;
    // A row as it is listed is that row: a field that it has not is no "any".
    const listed = filter.linkIndex !== undefined ? identityOf('fdb', filter) : undefined;
    const gone = (await this.list(wanted, options)).filter(
      (row) =>
        (listed === undefined || identityOf('fdb', row) === listed) &&
        bridge === (row.master !== undefined && row.flags?.includes('self') !== true) &&
        !(Array.isArray(withoutFlags) && withoutFlags.some((flag) => row.flags?.includes(flag))),
    );
    for (const answer of await this.batch(
      gone.map((item) => ({ op: 'delete', item })),
      options,
    )) {
      // Gone by itself meanwhile.
      if (!answer.ok && answer.error.code !== 'ENOENT') throw answer.error;
    }
  }
}

/** Operations in one batch. */
const MAX_BATCH = 2 ** 22;

const OK: BatchAnswer = Object.freeze({ ok: true });

/** Namespaces in a link's spec become paths. */
function prepare(table: TableName, operation: { op: Verb; item: unknown }): NativeOp | Promise<NativeOp> {
  if (operation === null || typeof operation !== 'object') throw invalidType('operation', operation, 'an object');
  checkOperation(operation);
  const { op, item } = operation;
  if (item === null || typeof item !== 'object') throw invalidType('item', item, 'an object');
  checkFields(table, op, item);
  if (table !== 'link') return { op, item: item as Item };
  const spec = item as Partial<AnyLinkSpec> & { readonly alias?: unknown; readonly peer?: PeerSpec };
  if (op !== 'delete' && op !== 'set' && spec.name !== undefined) checkInterfaceName(spec.name, 'name');
  if (op === 'set' && 'newName' in spec && spec.newName !== undefined) checkInterfaceName(spec.newName, 'newName');
  if (spec.peer?.name !== undefined) checkInterfaceName(spec.peer.name, 'peer.name');
  if (op === 'add' && spec.alias !== undefined) {
    throw invalidArgument('alias', spec.alias, 'taken at creation: the kernel ignores it there, set() gives one');
  }
  if (spec.netns === undefined && spec.peer?.netns === undefined) return { op, item: spec };
  return (async () => {
    const resolved: Record<string, unknown> = { ...spec };
    if (spec.netns !== undefined) resolved.netns = await netnsPath(spec.netns);
    if (spec.peer?.netns !== undefined)
      resolved.peer = { ...spec.peer, netns: await netnsPath(spec.peer.netns, 'peer.netns') };
    return { op, item: resolved };
  })();
}

function checkNamespaces(value: unknown, name: string): readonly NetnsRef[] {
  if (!Array.isArray(value)) throw invalidType(name, value, 'an array of namespaces');
  if (value.length === 0) throw invalidArgument(name, '[]', 'at least one namespace');
  for (const [at, each] of value.entries()) {
    if (each === undefined) throw invalidType(`${name}[${at}]`, each, 'a namespace');
  }
  return value;
}

/** A text for a namespace in errors: nothing for the caller's own. */
function netnsWords(ref: NetnsRef | undefined): string | undefined {
  if (ref === undefined) return undefined;
  if (typeof ref === 'string') return `netns ${ref}`;
  return 'path' in ref ? `netns ${ref.path}` : `the netns of pid ${ref.pid}`;
}

/** Lists what belongs to a monitor's groups. */
function listing(rtnl: Rtnl): MonitorSource['list'] {
  return async (groups, anyhow = false) => {
    const listed: Record<string, unknown> = {};
    const read = <T>(list: () => Promise<readonly T[]>): Promise<readonly T[]> => whole(list, anyhow);
    // Links first, or one of them: the kernel tells of a link that goes down before it takes its routes away, and answers
    // this under the lock that it does both under (__dev_notify_flags, rtnl_getlink).
    const links = await read(() => rtnl.links.list(groups.includes('link') ? {} : { name: 'lo' }));
    if (groups.includes('link')) listed.links = links;
    if (groups.includes('address')) listed.addresses = await read(() => rtnl.addresses.list());
    if (groups.includes('route')) listed.routes = await read(() => rtnl.routes.list());
    if (groups.includes('neigh')) {
      listed.neighbors = await read(() => rtnl.neighbors.list());
      listed.fdb = await read(() => rtnl.fdb.list());
    }
    return listed;
  };
}

/** A listing of one moment: again while the table changes each time it is read; in the end as it was read, or EINTR. */
async function whole<T>(list: () => Promise<readonly T[]>, anyhow: boolean): Promise<readonly T[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await list();
    } catch (error) {
      const { code, data } = error as OvernsError & { readonly data?: readonly T[] };
      if (code !== 'EINTR') throw error;
      if (attempt < 3) continue;
      if (anyhow && data !== undefined) return data;
      throw error;
    }
  }
}

/**
 * Typed rtnetlink in one namespace: a command socket with strict checking and extended acknowledgements.
 * @example
 * ```ts
 * import { Rtnl } from 'overns';
 *
 * await using rtnl = await Rtnl.open({ netns: 'web' });
 * await rtnl.links.add({ kind: 'veth', name: 'a', up: true, peer: { name: 'b' } });
 * await rtnl.addresses.add({ link: 'a', address: '10.9.0.1/24' });
 * console.log((await rtnl.links.list({ kind: 'veth' })).map(({ name }) => name).sort()); // [ 'a', 'b' ]
 * ```
 */
export class Rtnl implements AsyncDisposable {
  readonly links: LinkTable;
  readonly addresses: Table<Address>;
  readonly routes: RouteTable;
  readonly neighbors: NeighborTable;
  readonly fdb: FdbTable;
  readonly rules: RuleTable;
  readonly nexthops: NexthopTable;
  readonly #path: string;
  readonly #netns: string | undefined;
  #socket: NativeRtnl | undefined;

  private constructor(socket: NativeRtnl, path: string, netns: string | undefined) {
    this.#socket = socket;
    this.#path = path;
    this.#netns = netns;
    const open = (): NativeRtnl => this.#opened();
    this.links = new Links(open, 'link', netns) as unknown as LinkTable;
    this.addresses = new KernelTable<Address, Address>(open, 'address', netns);
    this.routes = new Routes(open, 'route', netns);
    this.neighbors = new Neighbors(open, 'neighbor', netns);
    this.fdb = new Fdb(open, 'fdb', netns);
    this.rules = new Rules(open, 'rule', netns);
    this.nexthops = new Nexthops(open, 'nexthop', netns) as unknown as NexthopTable;
  }

  /**
   * Opens a socket in a namespace; the caller's own without `netns`. The socket lives there from then on and keeps the
   * namespace alive until it is closed.
   * @throws OvernsError `ENOENT`, `EPERM`, ...; `OVERNS_PLATFORM` where the addon cannot run
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using own = await Rtnl.open();
   * await using other = await Rtnl.open({ netns: 'web' });
   * const missing = await Rtnl.open({ netns: 'nobody' }).catch((error) => error);
   * console.log(missing.code); // ENOENT
   * ```
   */
  static async open(options: Cancel & { readonly netns?: NetnsRef | undefined } = {}): Promise<Rtnl> {
    const { netns, signal } = checkOptions(options, { netns: netnsReference, signal: checkSignal });
    throwIfAborted(signal);
    const addon = system().native;
    const path = netns === undefined ? '' : await netnsPath(netns);
    const words = netnsWords(netns);
    const socket = await kernel({ what: 'open a rtnetlink socket', netns: words }, addon.openRtnl(path));
    if (signal?.aborted) {
      socket.close();
      throw abortError(signal);
    }
    return new Rtnl(socket, path, words);
  }

  #opened(): NativeRtnl {
    if (this.#socket) return this.#socket;
    throw new OvernsError('OVERNS_CLOSED', 'this Rtnl is closed', { hint: 'open another one' });
  }

  /**
   * The id by which this namespace knows another one (RTM_GETNSID); -1 when it has none.
   * @throws OvernsError `ENOENT`, `ESRCH`, `OVERNS_CLOSED`; NetlinkError
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using rtnl = await Rtnl.open({ netns: 'web' });
   * console.log(await rtnl.nsid('db')); // -1
   * await rtnl.links.add({ kind: 'veth', name: 'a', peer: { name: 'b', netns: 'db' } });
   * console.log(await rtnl.nsid('db')); // 0
   * ```
   */
  async nsid(netns: NetnsRef | undefined): Promise<number> {
    const path = await netnsPath(netns);
    return kernel({ what: `ask for the id of ${path}`, netns: this.#netns }, this.#opened().nsid(path));
  }

  /**
   * Sets how many bytes of packets may wait on a link for one address to be resolved, in both families
   * (`unres_qlen_bytes`, RTM_SETNEIGHTBL; counted with the kernel's overhead, about twice the payload).
   * @param bytes 0 to 2^31-1
   * @throws NetlinkError `ENODEV`; RangeError, TypeError
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using rtnl = await Rtnl.open({ netns: 'web' });
   * await rtnl.setNeighborQueue('lo', 4 << 20);
   * ```
   */
  async setNeighborQueue(link: string, bytes: number, options?: Cancel): Promise<void> {
    checkLinkName(link);
    if (typeof bytes !== 'number') throw invalidType('bytes', bytes, 'a number');
    if (!Number.isInteger(bytes) || bytes < 0 || bytes > 0x7fff_ffff) {
      throw invalidArgument('bytes', bytes, 'an integer from 0 to 2147483647');
    }
    throwIfAborted(signalOf(options));
    await kernel(
      { what: `size the neighbour queue of ${link}`, netns: this.#netns, request: { link, bytes } },
      this.#opened().neighborQueue(link, bytes),
    );
  }

  /**
   * The news of this namespace, from the moment this returns. The first event is handed over at once, what comes within
   * 0.4 ms after it together, so `batches()` is the way to read many.
   *
   * Without `resync` the events are the kernel's notifications, `new` and `delete`. With it the stream is what a mirror
   * needs: a snapshot, then additions, changes and deletions, and after a loss a snapshot again.
   * @throws OvernsError `OVERNS_CLOSED`; NetlinkError `EMFILE`, `ENOENT`, ...; TypeError, RangeError that name the option
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using rtnl = await Rtnl.open({ netns: 'web' });
   * const events = rtnl.monitor({ groups: ['link'] });
   * await rtnl.links.add({ kind: 'bridge', name: 'br1' });
   * for await (const event of events) {
   *   if (event.kind === 'link') console.log(event.action, event.name); // new br1
   *   break;
   * }
   * ```
   */
  monitor(options: MonitorOptions & { readonly resync: true }): Subscription<RtnlSyncEvent>;
  monitor(options?: MonitorOptions): Subscription<RtnlEvent>;
  monitor(options: MonitorOptions = {}): Subscription<RtnlEvent> | Subscription<RtnlSyncEvent> {
    this.#opened();
    const source = { path: this.#path, words: this.#netns, list: listing(this) };
    return monitorNamespaces<RtnlEvent>([source], options);
  }

  /**
   * The news of several namespaces in one stream, in the order they are read; each event has its `netns`. One socket a
   * namespace, all read by one thread. The sockets keep their namespaces alive; those of one given by its name are
   * closed when the name is removed, and an event of kind `netns` tells of it, in whatever groups.
   * @param options `netns`: at least one
   * @throws OvernsError `ENOENT`, `EPERM`, ...; TypeError, RangeError that name the option
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * const events = await Rtnl.monitor({ netns: ['web', 'db'], groups: ['link'] });
   * await using rtnl = await Rtnl.open({ netns: 'db' });
   * await rtnl.links.add({ kind: 'bridge', name: 'br1' });
   * for await (const event of events) {
   *   console.log(event.netns, event.kind); // db link
   *   break;
   * }
   * ```
   */
  static monitor(
    options: MonitorOptions & { readonly netns: readonly NetnsRef[]; readonly resync: true },
  ): Promise<Subscription<InNetns<RtnlSyncEvent>>>;
  static monitor(
    options: MonitorOptions & { readonly netns: readonly NetnsRef[] },
  ): Promise<Subscription<InNetns<RtnlEvent>>>;
  static async monitor(options: MonitorOptions & { readonly netns: readonly NetnsRef[] }): Promise<unknown> {
    const { netns: refs, ...monitored } = checkOptions(options, { netns: [checkNamespaces], ...monitorOptions });
    throwIfAborted(monitored.signal);
    const opened: Rtnl[] = [];
    try {
      const sources: MonitorSource[] = [];
      for (const [at, netns] of refs.entries()) {
        const path = await netnsPath(netns, `netns[${at}]`);
        const label = netnsLabel(netns);
        const name = typeof netns === 'string' && !netns.startsWith('/') ? netns : undefined;
        const source = { path, words: netnsWords(netns), label, name };
        if (monitored.resync) {
          const rtnl = await Rtnl.open({ netns: { path } });
          opened.push(rtnl);
          sources.push({ ...source, list: listing(rtnl), close: () => void rtnl.close() });
        } else {
          sources.push({ ...source, list: async () => ({}) });
        }
      }
      throwIfAborted(monitored.signal);
      return monitorNamespaces(sources, monitored);
    } catch (error) {
      for (const rtnl of opened) await rtnl.close();
      throw error;
    }
  }

  /**
   * Idempotent. Requests under way are finished first.
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * const rtnl = await Rtnl.open();
   * await rtnl.close();
   * const late = await rtnl.links.list().catch((error) => error);
   * console.log(late.code); // OVERNS_CLOSED
   * ```
   */
  async close(): Promise<void> {
    this.#socket?.close();
    this.#socket = undefined;
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
