/** The addon's face over the fake kernel. */

import { inBatch, invalidArgument, OvernsError } from '../core/errors.js';
import type {
  EntryRows,
  Native,
  NativeBatch,
  NativeEcho,
  NativeEvent,
  NativeFailure,
  NativeLookup,
  NativeMonitor,
  NativeOp,
  NativeReactor,
  NativeRtnl,
  TableName,
  ViewName,
} from '../system/native.js';
import { readRecords, writeObjects, writeRows } from './entries.js';
import type { Item } from './fields.js';
import type { Machine } from './machine.js';
import type { FakeNetns } from './netns.js';
import { Refusal } from './refusal.js';
import { FakeReactor } from './resolver/reactor.js';
import { checkLink, noSuchLinks } from './tables/link-attributes.js';
import type { FakeLink, MissKey, Observer, Row } from './tables/table.js';
import { send } from './wire.js';

const WORDS = {
  link: 'LINK',
  address: 'ADDR',
  route: 'ROUTE',
  neighbor: 'NEIGH',
  fdb: 'NEIGH',
  rule: 'RULE',
  nexthop: 'NEXTHOP',
} as const satisfies Readonly<Record<TableName, string>>;

/** Handles that are open: in the order of opening, `rtnl`, `monitor`, `resolver`, each with its namespace. */
export type Handles = Set<{ readonly what: string }>;

class FakeRtnl implements NativeRtnl {
  readonly #machine: Machine;
  readonly #netns: FakeNetns;
  readonly #close: () => void;
  /** One call after the other, as on a socket. */
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(machine: Machine, netns: FakeNetns, close: () => void) {
    this.#machine = machine;
    this.#netns = netns;
    this.#close = close;
    machine.hold(netns);
  }

  #queued<T>(run: () => T): Promise<T> {
    if (this.#closed) throw new Error('the socket is closed');
    const result = this.#last.then(() => this.#machine.turn()).then(run);
    this.#last = result.catch(() => {});
    return result;
  }

  check(table: TableName, ops: readonly NativeOp[]): void {
    for (const [at, { item }] of ops.entries()) {
      try {
        if (table === 'link') checkLink(item);
      } catch (error) {
        throw inBatch(error, at, ops.length);
      }
    }
  }

  batch(table: TableName, ops: readonly NativeOp[]): Promise<(NativeFailure | null)[]> {
    this.check(table, ops);
    return this.#queued(() =>
      ops.map(({ op, item }, at) => {
        try {
          return attempt(() => {
            this.#machine.request(`RTM_${op === 'delete' ? 'DEL' : 'NEW'}${WORDS[table]}`, this.#netns, item);
            this.#netns.change(table, op, item);
          });
        } catch (error) {
          throw inBatch(error, at, ops.length);
        }
      }),
    );
  }

  /** Leaves them to who encodes the rest. */
  addresses(): boolean {
    return false;
  }

  entries(
    table: 'neighbor' | 'fdb',
    records: Uint8Array,
    links: readonly string[],
    indexes: readonly number[],
  ): Promise<(number | NativeFailure)[]> {
    const decoded = readRecords(records, links, indexes);
    return this.#queued(() =>
      decoded.flatMap((entry, at) => {
        const failure = attempt(() => this.#machine.requestEntry(this.#netns, table, entry, 'caller'));
        return failure === null ? [] : [at, failure];
      }),
    );
  }

  list(table: 'neighbor' | 'fdb', filter: Item): Promise<EntryRows>;
  list(table: Exclude<TableName, 'neighbor' | 'fdb'> | ViewName, filter: Item): Promise<Row[]>;
  list(table: TableName | ViewName, filter: Item): Promise<EntryRows | Row[]> {
    if (table === 'counters') return Promise.reject(noCounters());
    if (table === 'vlan' || table === 'mdb') return Promise.reject(notOfBridges(table));
    return this.#queued(() => {
      this.#machine.request(`RTM_GET${WORDS[table]}`, this.#netns, filter);
      return table === 'neighbor' || table === 'fdb'
        ? writeRows(table, this.#netns.entries(table, filter))
        : this.#netns.list(table, filter);
    });
  }

  route(query: Item): Promise<Row> {
    return this.#queued(() => {
      this.#machine.request('RTM_GETROUTE', this.#netns, query);
      return this.#netns.route(query);
    });
  }

  flush(filter: Item): Promise<void> {
    return this.#queued(() => {
      this.#machine.request('RTM_DELNEIGH', this.#netns, filter);
      this.#netns.flush(filter);
    });
  }

  nsid(path: string): Promise<number> {
    return this.#queued(() => {
      const other = this.#machine.find(path);
      this.#machine.request('RTM_GETNSID', this.#netns, { path });
      return this.#netns.id(other) ?? -1;
    });
  }

  tun(): Promise<string> {
    return Promise.reject(noSuchLinks('tun'));
  }

  neighborQueue(link: string, bytes: number): Promise<void> {
    return this.#queued(() => {
      if (this.#netns.link(link) === undefined) throw new Refusal('ENODEV', 'RTM_GETLINK', { on: link });
      this.#machine.request('RTM_SETNEIGHTBL', this.#netns, { link, bytes });
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#close();
    // Requests under way are finished first; the namespace is held until then.
    void this.#last.then(() => this.#machine.release(this.#netns));
  }
}

/** Null = done. What is no refusal, such as a wrong type, fails the whole call. */
function attempt(run: () => void): NativeFailure | null {
  try {
    run();
    return null;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

const GROUPS: Readonly<Record<string, readonly TableName[]>> = {
  link: ['link'],
  address: ['address'],
  route: ['route'],
  neigh: ['neighbor', 'fdb'],
  nexthop: ['nexthop'],
  rule: ['rule'],
  miss: [],
};

class FakeMonitor implements NativeMonitor, Observer {
  readonly #machine: Machine;
  readonly #netns: FakeNetns;
  readonly #kinds: ReadonlySet<TableName>;
  readonly #misses: boolean;
  readonly #onBatch: NativeBatch;
  readonly #close: () => void;
  #events: Row[] = [];
  #dropped = 0;
  #due = false;
  #closed = false;

  constructor(machine: Machine, netns: FakeNetns, groups: readonly string[], onBatch: NativeBatch, close: () => void) {
    for (const group of groups) {
      if (GROUPS[group] === undefined)
        throw invalidArgument('groups', group, 'link, address, route, neigh, miss, nexthop or rule');
    }
    this.#machine = machine;
    this.#netns = netns;
    this.#kinds = new Set(groups.flatMap((group) => GROUPS[group] as readonly TableName[]));
    this.#misses = groups.includes('neigh') || groups.includes('miss');
    this.#onBatch = onBatch;
    this.#close = close;
    machine.hold(netns);
    netns.observers.add(this);
  }

  #push(event: Row): void {
    this.#events.push(event);
    this.#deliver();
  }

  #deliver(): void {
    if (this.#due) return;
    this.#due = true;
    this.#machine.later(() => {
      this.#due = false;
      const [events, dropped] = [this.#events, this.#dropped];
      this.#events = [];
      this.#dropped = 0;
      if (!this.#closed) this.#onBatch(writeObjects(events.length), events, this.#machine.clock.now(), dropped);
    });
  }

  onNews(kind: TableName, action: 'new' | 'delete', row: Row): void {
    if (!this.#kinds.has(kind)) return;
    const { kind: linkKind, ...rest } = row;
    this.#push({ ...rest, kind, action, ...(linkKind === undefined ? {} : { linkKind }) });
  }

  onMiss(link: FakeLink, { ip, mac }: MissKey): void {
    if (!this.#misses) return;
    const key = ip === undefined ? { mac, query: 'l2' } : { ip, query: 'l3' };
    this.#push({ link: link.name, linkIndex: link.index, state: 'stale', ...key, kind: 'miss', vxlan: true });
  }

  onOverrun(dropped: number): void {
    this.#dropped += dropped;
    this.#deliver();
  }

  ref(): void {}
  unref(): void {}

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#close();
    this.#netns.observers.delete(this);
    this.#machine.release(this.#netns);
  }
}

/** Refuses sockets: what carries a program's own bytes is the machine's, not the kernel's tables. */
function noSocket(): Error {
  return new OvernsError('EOPNOTSUPP', 'the fake kernel has no TCP, UDP or unix-domain sockets', {
    hint: 'test what talks over them with sockets of the machine',
  });
}

function noCounters(): Error {
  return new OvernsError('EOPNOTSUPP', 'the fake kernel does not count packets', {
    hint: 'give what you test the function that reads counters, and another one in its tests',
  });
}

function notOfBridges(table: 'vlan' | 'mdb'): Error {
  const what = table === 'vlan' ? 'VLANs' : 'multicast groups';
  return new OvernsError('EOPNOTSUPP', `the fake kernel has no ${what} of bridges`, {
    hint: 'give what you test the function that lists them, and another one in its tests',
  });
}

function noProgram(): Error {
  return new OvernsError('EOPNOTSUPP', 'the fake kernel runs no programs', {
    hint: 'give what you test the function that runs them, and another one in its tests',
  });
}

export function fakeNative(machine: Machine, handles: Handles): Native {
  const opened = (what: string, netns?: FakeNetns): (() => void) => {
    const handle = { what: netns === undefined ? what : `${what} ${netns.name || 'the own namespace'}` };
    handles.add(handle);
    return () => handles.delete(handle);
  };
  const call = async <T>(run: () => T): Promise<T> => {
    await machine.turn();
    return run();
  };
  return {
    createNetns: (path) =>
      call(() => {
        machine.request('unshare', path, { path });
        machine.create(path);
      }),
    deleteNetns: (path) =>
      call(() => {
        machine.request('umount2', path, { path });
        machine.delete(path);
      }),
    openRtnl: (path) =>
      call(() => {
        const netns = machine.find(path);
        machine.request('socket', netns, {});
        return new FakeRtnl(machine, netns, opened('rtnl', netns));
      }),
    openScratchRtnl: () =>
      call(() => {
        machine.request('unshare', 'scratch', {});
        const netns = machine.scratch();
        return new FakeRtnl(machine, netns, opened('rtnl', netns));
      }),
    openMonitor(path, groups, onBatch) {
      const netns = machine.find(path);
      machine.request('socket', netns, { groups });
      return new FakeMonitor(machine, netns, groups, onBatch, opened('monitor', netns));
    },
    // No sockets but those of vxlan devices, which are told of as devices.
    readProcNet: async () => '',
    writeSysctl: (path, name, value) =>
      call(() => {
        const netns = machine.find(path);
        machine.request('write', netns, { name, value });
        const link = /^ipv[46]\/conf\/([^/]+)\//.exec(name)?.[1];
        if (link !== undefined && link !== 'all' && link !== 'default' && netns.link(link) === undefined) {
          throw new Refusal('ENOENT', 'open', { on: `/proc/sys/net/${name}` });
        }
        netns.sysctls.set(name, value);
      }),
    // A container of the fake kernel asks anew each time.
    announce: (path, link) =>
      call(() => {
        const netns = machine.find(path);
        machine.request('socket', netns, {});
        if (netns.link(link) === undefined) throw new Refusal('ENODEV', 'SIOCGIFINDEX', { on: link });
      }),
    async ping(path, ip, { count = 1, timeoutMs = 1000 }) {
      const netns = machine.find(path);
      const echoes: NativeEcho[] = [];
      for (let n = 0; n < count; n++) {
        const sentAtNs = machine.clock.now();
        const there = await send(machine, netns, ip, timeoutMs);
        const rttMs = there.crossed ? Number(machine.clock.now() - sentAtNs) / 1e6 : null;
        echoes.push({ sentAtNs, rttMs });
      }
      return echoes;
    },
    openUnixSocket: () => Promise.reject(noSocket()),
    openIpSocket: () => Promise.reject(noSocket()),
    peerOf: () => undefined,
    adopted: () => {},
    startProgram: () => Promise.reject(noProgram()),
    signalProgram: () => false,
    refProgram: () => {},
    Reactor: class extends FakeReactor implements NativeReactor {
      readonly #closed: () => void;

      constructor(onBatch: (events: NativeEvent[], lookups: NativeLookup[], overflow: number) => void) {
        super(machine, onBatch);
        this.#closed = opened('resolver');
      }

      override close(): void {
        this.#closed();
        super.close();
      }
    },
  };
}
