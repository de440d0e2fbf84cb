/** Links: made, changed, replaced by what differs, and what they have counted. */
import { type Cancel, throwIfAborted } from '../../core/abort.js';
import { checkInterfaceName } from '../../core/address.js';
import { invalidArgument, invalidType, NetlinkError } from '../../core/errors.js';
import { checkOptions, type Shape, signalOf } from '../../core/options.js';
import { netnsPath } from '../../netns/references.js';
import { kernel } from '../../system/kernel-error.js';
import type { NativeOp, NativeRtnl } from '../../system/native.js';
import type { System } from '../../system/system.js';
import { LINK_KINDS } from '../field-names.js';
import { changesOf, whyUnchangeable } from '../link-changes.js';
import type { AnyLinkSpec, Link, LinkChange, LinkCounters, LinkSpec, PeerSpec } from '../types.js';
import { type BatchAnswer, type Item, KernelTable, OK, settled, type Table, type Verb } from './table.js';

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
export interface LinkTable extends Table<Link, LinkSpec, 'add' | 'replace' | 'append', LinkRef> {
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
   * Removes the link that has the `index` or `name`, or with neither all those of a `linkGroup` at once: the kernel then
   * waits once for those who still use one, instead of some 30 ms for each.
   * @throws NetlinkError `ENODEV` when there is none; `EPERM` for the group 0, which all links are in by default;
   *   `EOPNOTSUPP` where one of the group cannot be removed, and none is
   * @example
   * ```ts
   * import { Rtnl } from 'overns';
   *
   * await using rtnl = await Rtnl.open({ netns: 'web' });
   * for (const name of ['br1', 'br2']) await rtnl.links.add({ kind: 'bridge', name, linkGroup: 7 });
   * await rtnl.links.delete({ linkGroup: 7 });
   * console.log((await rtnl.links.list({ kind: 'bridge' })).length); // 0
   * ```
   */
  delete(item: LinkRef, options?: Cancel): Promise<void>;
  /**
   * Changes an existing link: up or down, `newName`, `mtu`, `mac`, `master`, `alias`, `netns`, and what its `kind` can
   * change.
   * @throws NetlinkError `ENODEV` when there is none; `EOPNOTSUPP` for what cannot be changed
   */
  set(change: LinkChange, options?: Cancel): Promise<void>;
  /**
   * Lists the counters of links, as 64-bit numbers. `list` leaves them out, for they change with every packet.
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
}

/**
 * A link by its name or index, or the links of a group; what else is known of it is not looked at.
 * @example
 * ```ts
 * import type { LinkRef } from 'overns';
 *
 * const refs: LinkRef[] = [{ name: 'br0' }, { index: 4 }];
 * console.log(refs.length); // 2
 * ```
 */
export type LinkRef = Partial<LinkSpec> | Partial<Link>;

export class Links extends KernelTable<Link, LinkSpec, LinkRef> implements LinkTable {
  readonly #system: System;

  constructor(system: System, open: () => NativeRtnl, netns: string | undefined) {
    super(open, 'link', netns);
    this.#system = system;
  }

  protected override async send(
    operations: readonly { op: Verb; item: LinkSpec }[],
    options: Cancel | undefined,
  ): Promise<readonly BatchAnswer[]> {
    if (operations.some((each) => each?.op === 'replace' || isTun(each))) return this.#oneByOne(operations, options);
    const answers = await super.send(operations, options);
    return Promise.all(answers.map((answer, at) => this.#explained(answer, operations[at]?.item as unknown as Item)));
  }

  /** Sends each by itself, since it may be about what the one before it made, and takes more than one request. */
  async #oneByOne(
    operations: readonly { op: Verb; item: LinkSpec }[],
    options: Cancel | undefined,
  ): Promise<readonly BatchAnswer[]> {
    // The options are looked at here: nothing is sent for a link that is as it is wanted.
    throwIfAborted(signalOf(options));
    // A fault in one leaves those before it unsent, too.
    this.open().check('link', await this.prepareAll(operations));
    const answers: BatchAnswer[] = [];
    for (const operation of operations) {
      const { op, item } = operation;
      const existing = op === 'replace' ? await this.#existing(item as unknown as Item) : undefined;
      const answer =
        existing !== undefined
          ? [await this.#change(existing, item as unknown as Item, options)]
          : isTun(operation)
            ? [await this.#makeTun(item as unknown as Item, options)]
            : await super.send([operation], options);
      answers.push(await this.#explained(answer[0] as BatchAnswer, item as unknown as Item));
    }
    return answers;
  }

  /** Makes a tun or tap device, and sets what else is wanted of it; it goes when that fails. */
  async #makeTun(item: Item, options: Cancel | undefined): Promise<BatchAnswer> {
    throwIfAborted(signalOf(options));
    const { kind, ...wanted } = item;
    const rest = Object.entries(wanted).filter(([field, value]) => value !== undefined && !isOfTun(field));
    try {
      const attempt = {
        what: `add link ${String(item.name)}`,
        netns: this.netns,
        request: item,
        table: 'link',
        op: 'add',
      };
      const name = await kernel(attempt, this.open().tun(item));
      if (rest.every(([field]) => field === 'name')) return OK;
      const set = { op: 'set' as const, item: { ...Object.fromEntries(rest), name } as unknown as LinkSpec };
      // Not to be aborted between the two.
      const [answer = OK] = await super.send([set], undefined);
      if (!answer.ok) await super.send([{ op: 'delete', item: { name } as unknown as LinkSpec }], undefined);
      return answer;
    } catch (error) {
      if (error instanceof NetlinkError) return { ok: false, error };
      throw error;
    }
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

  /** A change of a tunnel, with what it has and is not to lose. */
  async #merged(change: Item): Promise<Record<string, unknown>> {
    const names = LINK_KINDS.get(String(change.kind)) ?? [];
    const existing = names.some((name) => change[name] !== undefined) ? await this.#existing(change) : undefined;
    if (existing === undefined || existing.kind !== change.kind) return { ...change };
    const merged: Record<string, unknown> = { unknown: existing.unknown, ...change };
    for (const name of names) merged[name] ??= (existing as unknown as Item)[name];
    return merged;
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

  /** Checks names, and makes paths of namespaces. */
  protected override prepare(operation: { readonly op: Verb; readonly item: LinkSpec }): NativeOp | Promise<NativeOp> {
    const { op, item } = super.prepare(operation) as NativeOp;
    const spec = item as Partial<AnyLinkSpec> & {
      readonly kind?: unknown;
      readonly alias?: unknown;
      readonly peer?: PeerSpec;
    };
    if (op !== 'delete' && op !== 'set' && spec.name !== undefined) checkInterfaceName(spec.name, 'name');
    if (op === 'set' && 'newName' in spec && spec.newName !== undefined) checkInterfaceName(spec.newName, 'newName');
    if (spec.peer?.name !== undefined) checkInterfaceName(spec.peer.name, 'peer.name');
    if (op === 'add' && spec.kind === undefined) throw invalidType('kind', undefined, "a kind of link, as 'bridge'");
    if (op === 'add' && spec.alias !== undefined) {
      throw invalidArgument('alias', spec.alias, 'taken at creation: the kernel ignores it there, set() gives one');
    }
    if (isTun({ op, item }) && (item as { mode?: unknown }).mode === undefined)
      throw invalidType('mode', undefined, "'tun' or 'tap'");
    // A change that names this kind is refused, whatever it is about (tun_validate).
    if (op === 'set' && spec.kind === 'tun' && !Object.keys(item).some(isOfTun)) {
      const { kind, ...rest } = item;
      return this.#located(op, rest);
    }
    const merges = op === 'set' && TUNNELS.has(String(spec.kind));
    return merges ? this.#merged(item).then((merged) => this.#located(op, merged)) : this.#located(op, item);
  }

  /** With paths of namespaces. */
  #located(op: Verb, item: Item): NativeOp | Promise<NativeOp> {
    const spec = item as Pick<AnyLinkSpec, 'netns'> & { readonly peer?: PeerSpec };
    if (spec.netns === undefined && spec.peer?.netns === undefined) return { op, item };
    return (async () => {
      const resolved: Record<string, unknown> = { ...item };
      if (spec.netns !== undefined) resolved.netns = await netnsPath(this.#system, spec.netns);
      if (spec.peer?.netns !== undefined)
        resolved.peer = { ...spec.peer, netns: await netnsPath(this.#system, spec.peer.netns, 'peer.netns') };
      return { op, item: resolved };
    })();
  }
}

/**
 * Kinds that put back to its default whatever a change leaves out (ipgre_changelink, ipip_changelink, ip6_tnl_changelink and
 * the like begin with an empty ip_tunnel_parm).
 */
const TUNNELS: ReadonlySet<string> = new Set(['gre', 'gretap', 'ip6gre', 'ip6gretap', 'ipip', 'sit', 'ip6tnl']);

/** True for what makes a tun or tap device, which takes an ioctl. */
function isTun(operation: { readonly op: unknown; readonly item: unknown } | undefined): boolean {
  const { op, item } = operation ?? {};
  const makes = op === 'add' || op === 'append' || op === 'replace';
  return makes && typeof item === 'object' && (item as Item | null)?.kind === 'tun';
}

const TUN_FIELDS: ReadonlySet<string> = new Set(LINK_KINDS.get('tun'));
const isOfTun = (field: string): boolean => TUN_FIELDS.has(field);

const counterFilter = { name: checkText, kind: checkText, master: checkText } satisfies Shape;

function checkText(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidType(name, value, 'a string');
  // An empty one would be as good as none, and match all.
  if (value === '') throw invalidArgument(name, value, 'a name');
  return value;
}
