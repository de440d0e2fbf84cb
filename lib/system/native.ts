/**
 * The one door to the addon: its types as the rest of lib sees them, and its loading. Importing overns loads no
 * native code; the first call that needs it does.
 */

/** Neighbours, FDB entries and misses as the addon hands them over: see native/binding/entry_rows.h. */
export interface EntryRows {
  readonly rows: Buffer;
  /** Latin-1. */
  readonly text: Buffer;
  /** Names that the link fields number: names and, beside them, indexes. */
  readonly links: readonly string[];
  readonly indexes: readonly number[];
  /** The unknown attributes of those that have some. */
  readonly unknown?: readonly unknown[];
}

/** How the addon reports a failed request: on rejections as properties of the Error, in batches as plain objects. */
export interface NativeFailure {
  /** Negative errno. */
  readonly errno: number;
  readonly syscall: string;
  /** The step that failed, in words, when the system call alone does not tell. */
  readonly message?: string;
  readonly kernelMessage?: string;
  readonly attribute?: string;
}

export type TableName = 'link' | 'address' | 'route' | 'neighbor' | 'fdb' | 'rule' | 'nexthop';
/** Tables that rows are listed of. */
export type ListedName = TableName | 'vlan' | 'mdb';
/** Tables that can be listed besides. */
export type ViewName = 'counters' | 'vlan' | 'mdb';
export interface NativeOp {
  readonly op: 'add' | 'replace' | 'append' | 'delete' | 'set';
  readonly item: Readonly<Record<string, unknown>>;
}

/** True when the table changed at every attempt to read it. */
interface Interruptible {
  readonly interrupted?: boolean;
}

/** News: neighbours, FDB entries and misses as rows, in whose order the `objects` of all other kinds have places. */
export type NativeBatch = (
  entries: EntryRows,
  objects: Record<string, unknown>[],
  /** When they were read, CLOCK_MONOTONIC. */
  atNs: bigint,
  /** Messages lost after the first of these. */
  dropped: number,
) => void;

/** A command socket in one namespace. Calls run one after the other on libuv's pool. */
export interface NativeRtnl {
  /** One sendmsg for the whole batch; null = done, else why not. Rejects only when nothing could be sent at all. */
  batch(table: TableName, ops: readonly NativeOp[]): Promise<(NativeFailure | null)[]>;
  /** Throws what `batch` would for a wrong value, and sends nothing. */
  check(table: TableName, ops: readonly NativeOp[]): void;
  /** Neighbour or FDB commands as {@link encodeEntries} writes them; the failures as [index, failure, ...]. */
  entries(
    table: 'neighbor' | 'fdb',
    records: Uint8Array,
    links: readonly string[],
    indexes: readonly number[],
  ): Promise<(number | NativeFailure)[]>;
  /**
   * Makes each of `count` records from `first` on a copy of the one before it, with the MAC and the IP that its two lines of
   * the text say, or leaves it as it is where both are empty. False when there is anything else in the text.
   */
  addresses(records: Uint8Array, first: number, count: number, text: string): boolean;
  list(table: 'neighbor' | 'fdb', filter: Readonly<Record<string, unknown>>): Promise<EntryRows & Interruptible>;
  list(
    table: Exclude<TableName, 'neighbor' | 'fdb'> | ViewName,
    filter: Readonly<Record<string, unknown>>,
  ): Promise<Record<string, unknown>[] & Interruptible>;
  /** The one route that the kernel chooses (RTM_GETROUTE without a dump). */
  route(query: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>>;
  /** A bulk deletion of FDB entries (NLM_F_BULK). */
  flush(filter: Readonly<Record<string, unknown>>): Promise<void>;
  /** The id by which this namespace knows the one at `path`, or -1 (RTM_GETNSID). */
  nsid(path: string): Promise<number>;
  /** Makes a tun or tap device (TUNSETIFF) and gives its name. */
  tun(item: Readonly<Record<string, unknown>>): Promise<string>;
  /** Sets how many bytes may wait for one address on a link (RTM_SETNEIGHTBL, unres_qlen_bytes), both families. */
  neighborQueue(link: string, bytes: number): Promise<void>;
  close(): void;
}

/** A subscription to multicast groups of one namespace, read by the monitor thread. */
export interface NativeMonitor {
  ref(): void;
  unref(): void;
  close(): void;
}

/** One echo request. */
export interface NativeEcho {
  /** CLOCK_MONOTONIC. */
  readonly sentAtNs: bigint;
  /** null = lost. */
  readonly rttMs: number | null;
}

/** Kinds of {@link NativeEvent}, in the order of their bits. */
export const EVENT_KINDS = [
  'resolved',
  'unresolved',
  'rejected',
  'overrun',
  'overlay-lost',
  'overlay-back',
  /** An L2 miss that came as a punted packet: the kernel notifies nobody of it. */
  'miss',
  /** Packets for a MAC that the kernel has no VTEP for are caught no longer, or again. */
  'punt-off',
  'punt-on',
  /** The kernel had learned of a frame that a MAC is at another VTEP than the store says. */
  'contradicted',
] as const;
export type NativeEventKind = (typeof EVENT_KINDS)[number];

/** Why a miss was not resolved. */
export const CAUSES = ['absent', 'timeout', 'store-error', 'not-here'] as const;

/** An event of the resolver thread; which kinds have which fields says {@link EVENT_FIELDS}. */
export interface NativeEvent {
  readonly overlay: number;
  readonly kind: NativeEventKind;
  readonly atNs: bigint;
  /** The miss: exactly one of `ip` (L3) and `queriedMac` (L2). */
  readonly ip?: string;
  readonly queriedMac?: string;
  readonly missAtNs?: bigint;
  /** The lookup's, 0 = none was made. */
  readonly token?: number;
  readonly mac?: string;
  readonly vtep?: string;
  /** The VTEP that the frame came from. */
  readonly learned?: string;
  /** As the store gave it; absent: it gave none. */
  readonly ttlMs?: number;
  readonly by?: 'table' | 'store';
  readonly tookUs?: number;
  readonly cause?: (typeof CAUSES)[number];
  readonly reason?: string;
  /** Negative; 0 = not the kernel has refused it. */
  readonly errno?: number;
  readonly dropped?: number;
}

const ABOUT_MISS = ['resolved', 'unresolved', 'rejected', 'miss'] as const;

/** Kinds of event that have each field, beside those that all have. */
export const EVENT_FIELDS: Readonly<
  Record<Exclude<keyof NativeEvent, 'overlay' | 'kind' | 'atNs'>, readonly NativeEventKind[]>
> = {
  ip: ABOUT_MISS,
  queriedMac: ABOUT_MISS,
  missAtNs: ABOUT_MISS,
  token: ABOUT_MISS,
  mac: ['resolved', 'rejected', 'contradicted'],
  vtep: ['resolved', 'rejected', 'contradicted'],
  learned: ['contradicted'],
  ttlMs: ['resolved'],
  by: ['resolved'],
  tookUs: ['resolved'],
  cause: ['unresolved'],
  reason: ['rejected', 'punt-off'],
  errno: ['rejected', 'punt-off'],
  dropped: ['overrun'],
};

/** A question to the store; answered through {@link NativeReactor.answer}, once. */
export interface NativeLookup {
  readonly overlay: number;
  readonly token: number;
  readonly l3: boolean;
  readonly key: string;
  readonly missAtNs: bigint;
}

/** Bits of {@link NativeReactor.want}. */
export const EVENT_BITS = Object.fromEntries(EVENT_KINDS.map((kind, bit) => [kind, 1 << bit])) as Readonly<
  Record<NativeEventKind, number>
>;

/**
 * The resolver thread of this environment. Overlay ids are never used twice. What is told of an overlay goes to it in
 * order, also before add() has settled.
 */
export interface NativeReactor {
  /** The number of an overlay to be added: its news bear it, and may come before add() has settled. */
  newId(): number;
  add(
    id: number,
    options: {
      readonly netns: string;
      readonly vtep: string;
      readonly negativeTtlMs?: number | undefined;
      readonly maxLookups?: number | undefined;
      /** Endpoints that the watch gives are programmed before anyone asks, as long as there are no more. Default 0. */
      readonly programAhead?: number | undefined;
      /** Send requests on to whom they ask, and hear of those of other hosts. Default false. */
      readonly prime?: boolean | undefined;
      /** How long frames for a MAC that has left are sent on; 0: not at all. Default 60000. */
      readonly redirectMs?: number | undefined;
      /** A lookup that is not answered within this has timed out by itself. Default 0: none has. */
      readonly lookupDeadlineMs?: number | undefined;
      readonly receiveBuffer?: number | undefined;
      /** Path of the host's namespace. Default: the caller's. */
      readonly hostNetns?: string | undefined;
      /** Catch the packets of L2 misses. Default true. */
      readonly punt?: boolean | undefined;
      /** Another process serves it still, which alone() ends: each of them hears all that is to be heard. Default false. */
      readonly beside?: boolean | undefined;
    },
  ): Promise<{
    /** Why the packets of L2 misses are not caught. */
    readonly noPunt?: string;
    /** IP and MAC addresses whose entries an earlier one was told to keep (`forget`), and that the kernel has not aged yet. */
    readonly kept: readonly string[];
  }>;
  /** The other one that served it has let go. */
  alone(id: number): void;
  /**
   * Fulfils with the counters, once everything that was posted for it is done and its news have been delivered. An id that
   * was never added may be removed as well.
   */
  remove(id: number): Promise<Record<string, number>>;
  /**
   * Puts all that the watch gives (ip, mac, vtep, ip, ...). What it has given before, or the kernel had at the start, and is not
   * among them counts as missing: it stays, and answers, until it is put, forgotten or swept. Fulfils with how many addresses that
   * are; what is put or forgotten before then may come first.
   * @param unreadable the numbers of those that are left out, since one of their three cannot be read, are added to it
   */
  reset(id: number, endpoints: readonly string[], unreadable: number[]): Promise<number>;
  /** Forgets what is missing and withdraws it. A reset that begins meanwhile ends it. Fulfils with how many are missing still. */
  sweep(id: number): Promise<number>;
  /** Adds or replaces: ip, mac, vtep, ip, mac, vtep, ...; `unreadable` as in reset(). */
  put(id: number, endpoints: readonly string[], unreadable: number[]): void;
  /**
   * Forgets an IP or a MAC and withdraws what was programmed for it; with `keep` that stays in the kernel, and answers no miss any
   * more, until it is forgotten without.
   */
  forget(id: number, key: string, keep?: boolean): void;
  answer(id: number, token: number, key: string, result: 'absent' | 'timeout' | 'error'): void;
  /** False, and nothing done, where the MAC or the VTEP is no address: it is yet to be answered. */
  answer(
    id: number,
    token: number,
    key: string,
    result: 'found',
    mac: string,
    vtep: string,
    ttlMs: number | undefined,
  ): boolean;
  /** While the store is down nothing programmed is withdrawn, and what is known answers beyond its TTL. */
  storeDown(id: number, down: boolean): void;
  /** Which kinds of event are wanted, a bit mask of {@link EVENT_BITS}; from newId() on. */
  want(id: number, mask: number): void;
  stats(id: number): Record<string, number>;
  /** Asks for SCHED_FIFO; false when not permitted. */
  realtime(on: boolean): boolean;
  ref(): void;
  unref(): void;
  close(): void;
}

/** A program that has been started. */
export interface NativeProgram {
  /** 0: it could not be watched, and has been killed. */
  readonly id: number;
  readonly pid: number;
  /** Our ends of its pipes, lent as sockets are. */
  readonly streams: readonly [number | null, number | null, number | null];
}

export interface Native {
  createNetns(path: string): Promise<void>;
  deleteNetns(path: string): Promise<void>;
  /** ICMP echo from inside a namespace. Rejects when a request cannot even leave; holds a thread of the pool meanwhile. */
  ping(
    netns: string,
    ip: string,
    options: {
      readonly count?: number | undefined;
      readonly intervalMs?: number | undefined;
      readonly timeoutMs?: number | undefined;
      /** Payload bytes. */
      readonly size?: number | undefined;
      readonly dontFragment?: boolean | undefined;
    },
  ): Promise<NativeEcho[]>;
  openRtnl(netns: string): Promise<NativeRtnl>;
  /** In a new namespace without a name, which lives as long as the socket. */
  openScratchRtnl(): Promise<NativeRtnl>;
  /** Subscribed when it returns. `receiveBuffer`: bytes. */
  openMonitor(netns: string, groups: readonly string[], onBatch: NativeBatch, receiveBuffer?: number): NativeMonitor;
  /**
   * An abstract unix stream socket of a namespace: bound and listening, or connected. Resolves to its fd, which the
   * addon closes with this environment until it is told that a handle of Node's has it.
   */
  openUnixSocket(netns: string, name: string, mode: 'listen' | 'connect'): Promise<number>;
  /**
   * The process that connected a unix socket, or that listens where it is connected to (SO_PEERCRED, unix(7)), as this
   * process's namespaces number it; undefined where the kernel does not say.
   */
  peerOf(fd: number): { readonly pid: number; readonly uid: number } | undefined;
  /** A non-blocking TCP or UDP socket of a namespace, bound if there is an address. Lent like the above. */
  openIpSocket(
    netns: string,
    options: {
      readonly datagram: boolean;
      readonly family: 4 | 6;
      readonly address?: string;
      readonly port: number;
      readonly ipv6Only: boolean;
      readonly reuseAddress: boolean;
      readonly reusePort: boolean;
    },
  ): Promise<number>;
  adopted(fd: number): void;
  /**
   * Starts a program inside a namespace. It keeps the event loop alive until it has ended and `onExit` is called: with
   * its exit status (-1: unknown, or a signal) and the signal that ended it (0: none). Killed with this environment.
   */
  startProgram(
    netns: string,
    program: {
      readonly file: string;
      /** With argv[0]. */
      readonly arguments: readonly string[];
      /** NAME=value. */
      readonly environment: readonly string[];
      readonly directory: string;
      /** A descriptor, -1: a pipe, -2: /dev/null. */
      readonly streams: readonly [number, number, number];
      readonly ownMounts: boolean;
      /** Directory of files that stand in the place of those in /etc; '': none. */
      readonly etc: string;
    },
    onExit: (code: number, signal: number) => void,
  ): Promise<NativeProgram>;
  /** False when it has ended. Throws a NativeFailure. */
  signalProgram(id: number, signal: number): boolean;
  refProgram(id: number, on: boolean): void;
  /** Reads /proc/net/udp or udp6 in a namespace: its UDP sockets, 8 MiB of them at most. */
  readProcNet(netns: string, name: 'udp' | 'udp6'): Promise<string>;
  /** Sets a sysctl below net/ in a namespace, such as `ipv6/conf/eth0/disable_ipv6`. */
  writeSysctl(netns: string, name: string, value: string): Promise<void>;
  /** Tells everybody on a link, from that link of a namespace, which MAC addresses have: gratuitous ARP, unsolicited NA. */
  announce(netns: string, link: string, mac: string, ips: readonly string[]): Promise<void>;
  /** `failure`: an errno, 0 = none: the thread has ended by itself, and serves nobody any more. */
  Reactor: new (
    onBatch: (events: NativeEvent[], lookups: NativeLookup[], overflow: number, failure?: number) => void,
  ) => NativeReactor;
}
