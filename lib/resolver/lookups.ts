/** Lookups of one overlay: what the native thread asks is asked of the store, and its answer, which is not believed, handed back. */
import { inspect } from 'node:util';
import { canonicalIp, canonicalMac } from '../core/address.js';
import { invalidArgument, invalidType, OvernsError } from '../core/errors.js';
import { unknownName } from '../core/options.js';
import type { Answer, Change, Query, Store, Where } from '../store/contract.js';
import type { NativeLookup, NativeReactor } from '../system/native.js';
import type { Program, Sync } from './options.js';

/** As long as a TTL can be, milliseconds: some 24 days. */
const TTL_MAX = 0x7fff_ffff;

/** Told with every answer or failure of the store. */
export interface StoreHealth {
  /** When it was last heard of, as performance.now(). */
  readonly heardAt: number;
  up(): void;
  down(error: Error): void;
}

/** Surroundings of one overlay's lookups and watch. */
export interface SessionContext {
  readonly where: Where;
  readonly store: Store;
  readonly timing: Timing;
  readonly thread: NativeReactor;
  /** The thread's number of the overlay. */
  readonly id: number;
  readonly health: StoreHealth;
  /** Hears where an address is that was looked up. */
  readonly found: (address: string, mac: string, vtep: string) => void;
  /** Hears of each change of the watch that has been taken in. */
  readonly observe: (change: Change) => void;
  /** Aborted when the overlay is served no more. */
  readonly stopped: AbortSignal;
}

export interface Timing {
  readonly lookupTimeoutMs: number;
  readonly negativeTtlMs: number;
  readonly maxLookups: number;
  readonly sync: Sync;
  readonly program: Program;
  readonly idleMs: number;
  readonly graceMs: number;
  readonly prime: boolean;
  readonly redirectMs: number;
}

/** So many lookups in a row without an answer, and the store counts as down: one that is only slow now and then does not. */
const UNANSWERED_MAX = 3;

export class Lookups {
  readonly #context: SessionContext;
  /** Errors of lookups, until the thread has told what became of the miss. */
  readonly #errors = new Map<number, Error>();
  #keepErrors = false;
  /** Lookups under way, as what gives them up. */
  readonly #pending = new Set<(reason: unknown) => void>();
  /** Lookups in a row that the store has given no answer to in time, since it was heard last. */
  #unanswered = 0;
  #heardAt = 0;

  constructor(context: SessionContext) {
    this.#context = context;
  }

  /** Errors are kept only where somebody is told of misses without an answer. */
  set keepErrors(keep: boolean) {
    this.#keepErrors = keep;
    if (!keep) this.#errors.clear();
  }

  /** The error of a lookup, once. */
  takeError(token: number): Error | undefined {
    const error = this.#errors.get(token);
    if (error) this.#errors.delete(token);
    return error;
  }

  /** Gives up all lookups under way. */
  abandon(reason: unknown): void {
    for (const abandon of [...this.#pending]) abandon(reason);
  }

  /**
   * Called by the addon with a container waiting: a store that answers at once is heard at once, and every step less is
   * time won. Nothing that a store throws leaves here.
   */
  ask(lookups: readonly NativeLookup[]): void {
    if (this.#context.stopped.aborted) return;
    if (this.#context.store.lookupMany && lookups.length > 1) this.#lookUpMany(lookups, this.#context.store.lookupMany);
    else for (const lookup of lookups) this.#lookUpOne(lookup);
  }

  #query({ l3, key }: NativeLookup): Query {
    const { overlay, vni } = this.#context.where;
    return l3 ? { overlay, vni, kind: 'l3', ip: key } : { overlay, vni, kind: 'l2', mac: key };
  }

  #lookUpOne(lookup: NativeLookup): void {
    const options = new LookupOptions();
    const done = (ended: Ended<Answer | null | undefined>): void => this.#answer(lookup, ended);
    this.#settled(() => this.#context.store.lookup(this.#query(lookup), options), options, done);
  }

  #lookUpMany(lookups: readonly NativeLookup[], many: NonNullable<Store['lookupMany']>): void {
    const options = new LookupOptions();
    const done = (ended: Ended<readonly (Answer | null)[]>): void => {
      lookups.forEach((lookup, at) => {
        if (!('value' in ended)) this.#answer(lookup, ended);
        else this.#answer(lookup, { value: Array.isArray(ended.value) ? ended.value[at] : undefined });
      });
    };
    const queries = lookups.map((lookup) => this.#query(lookup));
    this.#settled(() => many.call(this.#context.store, queries, options), options, done);
  }

  /** Calls the store. An answer that is there at once is heard at once; `done` is called in any case. */
  #settled<T>(call: () => T | Promise<T>, options: LookupOptions, done: (ended: Ended<T>) => void): void {
    let result: T | Promise<T>;
    let later: boolean;
    try {
      result = call();
      later = isPromise(result);
    } catch (error) {
      done({ error: asError(error), began: performance.now() });
      return;
    }
    if (later) this.#wait(result as Promise<T>, options, done);
    else done({ value: result as T });
  }

  /** Waits for a lookup for lookupTimeoutMs at most; a store that ignores its signal is not waited for. */
  #wait<T>(result: Promise<T>, options: LookupOptions, done: (ended: Ended<T>) => void): void {
    let pending = true;
    const began = performance.now();
    const settle = (ended: Ended<T>): void => {
      if (!pending) return;
      pending = false;
      clearTimeout(timer);
      this.#pending.delete(abandon);
      done(ended);
    };
    const timer = setTimeout(() => {
      const error = new OvernsError(
        'ETIMEDOUT',
        `the store did not answer within ${this.#context.timing.lookupTimeoutMs} ms`,
        {
          hint: 'see what keeps it, or raise `lookupTimeoutMs`',
        },
      );
      options.abort(error);
      settle({ timeout: error, began });
    }, this.#context.timing.lookupTimeoutMs);
    timer.unref();
    const abandon = (reason: unknown): void => {
      options.abort(reason);
      settle({ error: asError(reason), began });
    };
    this.#pending.add(abandon);
    // One of its own: what a store calls a promise may throw, or call back twice.
    Promise.resolve(result).then(
      (value) => settle({ value }),
      (error) => settle({ error: asError(error), began }),
    );
  }

  #answer(lookup: NativeLookup, ended: Ended<Answer | null | undefined>): void {
    if (this.#context.stopped.aborted) return;
    const { thread, id } = this.#context;
    const { token, key } = lookup;
    let verdict: Verdict;
    try {
      verdict = this.#judge(ended);
    } catch (error) {
      verdict = { outcome: 'error', error: asError(error) }; // the answer throws when it is read
    }
    if (verdict.outcome === 'found') {
      const { mac, vtep, ttlMs } = verdict;
      if (thread.answer(id, token, key, 'found', mac, vtep, ttlMs)) {
        this.#context.found(key, mac, vtep);
        return;
      }
      verdict = unreadable(mac, vtep);
    }
    if (verdict.error && this.#keepErrors) this.#errors.set(token, verdict.error);
    thread.answer(id, token, key, verdict.outcome);
  }

  /** Reads a store's answer. It is untrusted: the text of a consumer's own store, or of anybody's record. */
  #judge(ended: Ended<Answer | null | undefined>): Verdict {
    const { health } = this.#context;
    // Asked before the store was heard: what became of that says nothing of it now, after an outage.
    const late = 'began' in ended && ended.began < health.heardAt;
    if (this.#heardAt !== health.heardAt) this.#unanswered = 0;
    this.#heardAt = health.heardAt;
    if ('timeout' in ended) {
      if (!late && ++this.#unanswered >= UNANSWERED_MAX) health.down(ended.timeout);
      return { outcome: 'timeout', error: ended.timeout };
    }
    if ('error' in ended) {
      this.#unanswered = 0;
      // A record that makes no sense is that record's fault; anything else says that the store cannot be used.
      const itsOwn = OvernsError.is(ended.error) && ended.error.code === 'OVERNS_RECORD';
      if (!late && !itsOwn) health.down(ended.error);
      return { outcome: 'error', error: ended.error };
    }
    health.up();
    const { value } = ended;
    if (value === null) return { outcome: 'absent' };
    if (typeof value !== 'object' || typeof value.mac !== 'string' || typeof value.vtep !== 'string') {
      return { outcome: 'error', error: invalidType('lookup()', value, '{ mac, vtep } or null from the store') };
    }
    const { mac, vtep, ttlMs } = value;
    for (const name in value) {
      // A row of the store's own may have other columns; but a TTL of another name would be taken for none.
      if (/^ttl/i.test(name) && name !== 'ttlMs') throw unknownName('field of an answer', name, 'did you mean ttlMs?');
    }
    if (ttlMs === undefined) return { outcome: 'found', mac, vtep, ttlMs };
    if (typeof ttlMs !== 'number') throw invalidType('ttlMs', ttlMs, 'a number of milliseconds');
    if (!(ttlMs > 0)) throw invalidArgument('ttlMs', ttlMs, 'a number of milliseconds, more than 0');
    return { outcome: 'found', mac, vtep, ttlMs: Math.min(Math.ceil(ttlMs), TTL_MAX) };
  }
}

type Verdict =
  | { readonly outcome: 'found'; readonly mac: string; readonly vtep: string; readonly ttlMs: number | undefined }
  | { readonly outcome: 'absent' | 'timeout' | 'error'; readonly error?: Error };

/** Why an answer could not be read. */
function unreadable(mac: string, vtep: string): { readonly outcome: 'error'; readonly error: Error } {
  try {
    canonicalMac(mac);
    canonicalIp(vtep, 'vtep');
  } catch (error) {
    return { outcome: 'error', error: error as Error };
  }
  return { outcome: 'error', error: new OvernsError('OVERNS_RECORD', `the answer ${mac}, ${vtep} cannot be read`) };
}

/** `began`: when the store was asked, as performance.now(). */
type Ended<T> =
  | { readonly value: T }
  | { readonly timeout: Error; readonly began: number }
  | { readonly error: Error; readonly began: number };

/** The second argument of a store's lookup; the signal is made when the store looks at it. */
class LookupOptions {
  #controller: AbortController | undefined;
  #aborted: { readonly reason: unknown } | undefined;

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }
}

export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new OvernsError('OVERNS_STORE', `the store threw ${inspect(thrown)}`);
}

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
