/**
 * The one door to the addon: its types as the rest of lib sees them, and its loading. Importing overns loads no
 * native code; the first call that needs it does.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { OvernsError } from './errors.js';

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

export type TableName = 'link' | 'address' | 'route' | 'neighbor' | 'fdb';
export interface NativeOp {
  readonly op: 'add' | 'replace' | 'append' | 'delete';
  readonly item: Readonly<Record<string, unknown>>;
}

/** A command socket in one namespace. Calls run one after the other on libuv's pool. */
export interface NativeRtnl {
  /** One sendmsg for the whole batch; null = done, else why not. Rejects only when nothing could be sent at all. */
  batch(table: TableName, ops: readonly NativeOp[]): Promise<(NativeFailure | null)[]>;
  list(table: TableName, filter: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>[]>;
  /** The id by which this namespace knows the one at `path`, or -1 (RTM_GETNSID). */
  nsid(path: string): Promise<number>;
  close(): void;
}

/** A subscription to multicast groups of one namespace, read by the monitor thread. */
export interface NativeMonitor {
  ref(): void;
  unref(): void;
  close(): void;
}

/** One endpoint as three strings; `mac` or `vtep` is never empty. */
export type EndpointTriple = readonly [ip: string, mac: string, vtep: string];

/** The resolver thread of this environment. Overlay ids are never used twice. */
export interface NativeReactor {
  add(options: {
    readonly netns: string;
    readonly overlay: string;
    readonly vni: number;
    readonly vtep: string;
    readonly negativeTtlMs: number;
    readonly answerTtlMs: number;
    readonly maxLookups: number;
    readonly receiveBuffer?: number;
  }): Promise<number>;
  remove(id: number): Promise<void>;
  /** Replaces the whole table of the overlay; entries programmed from what is gone are withdrawn. */
  reset(id: number, endpoints: readonly string[]): void;
  /** Adds or replaces: ip, mac, vtep, ip, mac, vtep, ... */
  put(id: number, endpoints: readonly string[]): void;
  /** Forgets an IP or a MAC and withdraws what was programmed for it. */
  forget(id: number, key: string): void;
  /** Answers a lookup: an answer, null (absent), or undefined (unknown: the store failed). */
  answer(id: number, token: number, answer: { mac: string; vtep: string; ttlMs?: number | undefined } | null | undefined): void;
  /** Which kinds of event are wanted, a bit mask of {@link EVENT_BITS}. */
  want(id: number, mask: number): void;
  stats(id: number): Record<string, number>;
  ref(): void;
  unref(): void;
  close(): Promise<void>;
}

export interface Native {
  createNetns(path: string): Promise<void>;
  deleteNetns(path: string): Promise<void>;
  openRtnl(netns: string): Promise<NativeRtnl>;
  openMonitor(netns: string, groups: readonly string[], onBatch: (events: Record<string, unknown>[]) => void): Promise<NativeMonitor>;
  /** An abstract unix stream socket of a namespace: bound and listening, or connected. Resolves to its fd. */
  openUnixSocket(netns: string, name: string, mode: 'listen' | 'connect'): Promise<number>;
  Reactor: new (onBatch: (events: Record<string, unknown>[]) => void) => NativeReactor;
}

let loaded: Native | undefined;

/** The addon. Throws OVERNS_PLATFORM where there is none. */
export function native(): Native {
  if (loaded) return loaded;
  if (process.platform !== 'linux') {
    throw new OvernsError('OVERNS_PLATFORM', `overns needs Linux: this is ${process.platform}`, {
      hint: 'types, stores and overns/testing work here; namespaces and vxlan do not',
    });
  }
  const require = createRequire(import.meta.url);
  try {
    const load = require('node-gyp-build') as (root: string) => Native;
    loaded = load(fileURLToPath(new URL('..', import.meta.url)));
    return loaded;
  } catch (cause) {
    throw new OvernsError('OVERNS_PLATFORM', `overns' native addon cannot be loaded: ${(cause as Error).message.split('\n')[0]}`, {
      hint: 'run `npm run build` in a checkout; a package ships prebuilds for linux-x64 and linux-arm64',
      cause,
    });
  }
}
