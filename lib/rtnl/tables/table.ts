/** The operations that all tables of Rtnl have in common. */
import { type Cancel, throwIfAborted } from '../../core/abort.js';
import { inBatch, invalidArgument, invalidType, type NetlinkError, OvernsError } from '../../core/errors.js';
import { checkObject, signalOf } from '../../core/options.js';
import { kernel, netlinkError } from '../../system/kernel-error.js';
import type { ListedName, NativeFailure, NativeOp, NativeRtnl, TableName } from '../../system/native.js';
import { checkFields, checkFilterFields, checkOperation } from '../fields.js';
import { canonicalFilter, filtered } from '../filter.js';
import type { Given } from '../types.js';

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
 *
 * A field that is undefined counts as absent where something is made, changed or looked for. Where something is removed a
 * field less stands for more, so one that is there needs a value: `delete` and `flush` refuse it (links, neighbours and
 * nexthops are deleted by their key, and the rest is not looked at).
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
export interface Table<T, S = T, V extends string = 'add' | 'replace' | 'append', D = Partial<T>> {
  /** Exclusive: `EEXIST` when it is there. */
  add(item: S, options?: Cancel): Promise<void>;
  /** Creates or changes. */
  replace(item: S, options?: Cancel): Promise<void>;
  /** One more of the same key, where there can be several: routes, FDB entries of the all-zero MAC and of groups. */
  append(item: S, options?: Cancel): Promise<void>;
  /**
   * Removes what has the given key: `ENOENT` when there is none (`ENODEV` for a link, `ESRCH` for a route, `EADDRNOTAVAIL`
   * for an address).
   * @throws TypeError for a field that is there and undefined, and when nothing is named
   */
  delete(item: D, options?: Cancel): Promise<void>;
  /**
   * Lists the rows that match the filter field by field; values are compared, not spellings (`fd00:0::1` is `fd00::1`).
   * Neighbours with the flag `proxy` are listed only when `flags` asks for them.
   * @throws NetlinkError; OvernsError `EINTR` with the entries as `data` when the table changed at every attempt to read it
   */
  list(filter?: Given<T>, options?: Cancel): Promise<readonly T[]>;
  /**
   * Sent together, at most 4,194,304 of them, and one after the other where links are replaced; answers `{ ok }` or
   * `{ ok: false, error }` per item, in order. Something wrong in one, which is named by its index, leaves all unsent.
   */
  batch(operations: readonly Operation<S, V, D>[], options?: Cancel): Promise<readonly BatchAnswer[]>;
}

/**
 * One of a batch.
 * @example
 * ```ts
 * import type { Nexthop, Operation } from 'overns';
 *
 * const operations: Operation<Nexthop>[] = [
 *   { op: 'add', item: { id: 7, blackhole: true } },
 *   { op: 'delete', item: { id: 8 } },
 * ];
 * console.log(operations.length); // 2
 * ```
 */
export type Operation<S, V extends string = 'add' | 'replace' | 'append', D = Partial<S>> =
  | { readonly op: V; readonly item: S }
  | { readonly op: 'delete'; readonly item: D };

export type Verb = NativeOp['op'];
export type Item = Readonly<Record<string, unknown>>;
/** Rows of a listing, and whether the table changed at every attempt to read it. */
export interface Rows {
  readonly rows: readonly Item[];
  readonly interrupted: boolean | undefined;
}

/** Operations in one batch. */
const MAX_BATCH = 2 ** 22;

export const OK: BatchAnswer = Object.freeze({ ok: true });

/** The word for a row of each table, and for several. */
const WORDS: Readonly<Record<ListedName, readonly [one: string, several: string]>> = {
  link: ['link', 'links'],
  address: ['address', 'addresses'],
  route: ['route', 'routes'],
  neighbor: ['neighbour', 'neighbours'],
  fdb: ['FDB entry', 'FDB entries'],
  rule: ['rule', 'rules'],
  nexthop: ['nexthop', 'nexthops'],
  vlan: ['VLAN', 'VLANs of bridges'],
  mdb: ['multicast group', 'multicast groups'],
};

/** "1 request about addresses". */
export function counted(requests: number, table: TableName): string {
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

/** A table as the addon reads it. */
export class ListedTable<T> {
  /** @internal */
  protected readonly open: () => NativeRtnl;
  protected readonly netns: string | undefined;
  protected readonly table: ListedName;

  constructor(open: () => NativeRtnl, table: ListedName, netns: string | undefined) {
    this.open = open;
    this.netns = netns;
    this.table = table;
  }

  async list(filter: Given<T> = {}, options?: Cancel): Promise<readonly T[]> {
    checkFilterFields(this.table, checkObject(filter, 'filter'));
    throwIfAborted(signalOf(options));
    const wanted = canonicalFilter(this.table, filter as Item);
    const { rows, interrupted } = await kernel(
      { what: `list ${WORDS[this.table][1]}`, netns: this.netns, request: wanted, table: this.table, op: 'list' },
      this.rows(wanted),
    );
    return settled(this.table, filtered(this.table, rows, wanted), interrupted) as readonly T[];
  }

  protected async rows(filter: Item): Promise<Rows> {
    const rows = await this.open().list(this.table as Exclude<ListedName, 'neighbor' | 'fdb'>, filter);
    return { rows, interrupted: rows.interrupted };
  }
}

/** A table as the addon reads and writes it. */
export class KernelTable<T, S, D = Partial<T>>
  extends ListedTable<T>
  implements Table<T, S, 'add' | 'replace' | 'append', D>
{
  declare protected readonly table: TableName;

  add(item: S, options?: Cancel): Promise<void> {
    return this.#one('add', item, options);
  }
  replace(item: S, options?: Cancel): Promise<void> {
    return this.#one('replace', item, options);
  }
  append(item: S, options?: Cancel): Promise<void> {
    return this.#one('append', item, options);
  }
  delete(item: D, options?: Cancel): Promise<void> {
    return this.#one('delete', item as unknown as S, options);
  }
  set(item: object, options?: Cancel): Promise<void> {
    return this.#one('set', item as S, options);
  }

  async batch(
    operations: readonly Operation<S, 'add' | 'replace' | 'append', D>[],
    options?: Cancel,
  ): Promise<readonly BatchAnswer[]> {
    if (!Array.isArray(operations)) throw invalidType('operations', operations, 'an array');
    if (operations.length > MAX_BATCH) {
      throw invalidArgument('operations', `${operations.length} of them`, `at most ${MAX_BATCH} operations`);
    }
    return this.send(operations as unknown as readonly { op: Verb; item: S }[], options);
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
    return this.sendPrepared(await this.prepareAll(operations));
  }

  protected prepareAll(operations: readonly { op: Verb; item: S }[]): Promise<readonly NativeOp[]> {
    // Holes too: an array's own map() passes them over.
    const prepared = Array.from(operations, (operation, at) => {
      try {
        return this.prepare(operation);
      } catch (error) {
        throw inBatch(error, at, operations.length);
      }
    });
    return Promise.all(prepared);
  }

  /** An operation as the addon takes it. */
  protected prepare(operation: { readonly op: Verb; readonly item: S }): NativeOp | Promise<NativeOp> {
    const { op, item } = checkOperation(operation);
    checkFields(this.table, op, item);
    return { op: op as Verb, item: item as Item };
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

  protected failed(failure: NativeFailure, op: Verb, item: Item): BatchAnswer {
    const attempt = { what: describe(this.table, op, item), netns: this.netns, request: item, table: this.table, op };
    return { ok: false, error: netlinkError(failure, attempt) };
  }
}

/**
 * The rows of a dump that is the picture of one moment.
 * @throws OvernsError `EINTR`, with the rows as `data`, for another
 */
export function settled(table: string, rows: readonly Item[], interrupted: boolean | undefined): readonly Item[] {
  if (!interrupted) return rows;
  // NLM_F_DUMP_INTR at every attempt.
  const error = new OvernsError('EINTR', `the ${table} table changed each time it was read`, {
    hint: "list again, or use this error's data, which may miss entries or have them twice",
  });
  throw Object.assign(error, { data: rows });
}
