/** The records of a prefix in Consul, raw: for looking after them by hand. */
import type { Cancel } from '../../core/abort.js';
import { invalidArgument, invalidType } from '../../core/errors.js';
import {
  checkKey,
  checkKind,
  checkValue,
  foreignEntry,
  printable,
  type RecordEntry,
  type RecordKind,
  type RecordStore,
  readRecord,
  recordEntry,
} from '../records.js';
import type { ConsulKv, Pair } from './kv.js';

/** A pair that is a record, good or bad. */
interface Stored {
  readonly kind: RecordKind;
  /** What comes after `PREFIX/arp/` or `PREFIX/fib/`. */
  readonly key: string;
  readonly value: Buffer;
}

/** Tells records from what else is under the prefix: those keys are `foreign`, and stand there from the prefix on. */
export function split(kv: ConsulKv, pairs: readonly Pair[]): { records: Stored[]; foreign: Pair[] } {
  const root = `${kv.prefix}/`;
  const arp = kv.key('arp', '');
  const fib = kv.key('fib', '');
  const found: Record<RecordKind, Stored[]> = { arp: [], fib: [] };
  const foreign: Pair[] = [];
  for (const pair of pairs) {
    const kind = pair.key.startsWith(arp) ? 'arp' : pair.key.startsWith(fib) ? 'fib' : undefined;
    const key = pair.key.slice(kind === undefined ? root.length : arp.length);
    // Without a key it is the "folder" that Consul's web interface makes.
    if (key === '' || !pair.key.startsWith(root)) continue;
    if (kind === undefined) foreign.push({ ...pair, key });
    else found[kind].push({ kind, key, value: pair.value });
  }
  return { records: [...found.arp, ...found.fib], foreign };
}

/** The records that can be used. */
export function* good(records: Iterable<Stored>): Generator<{ kind: RecordKind; key: string; value: string }> {
  for (const { kind, key, value } of records) {
    const read = readRecord(kind, key, value);
    if ('value' in read) yield { kind, key, value: read.value };
  }
}

export class ConsulRecords implements RecordStore {
  readonly #kv: ConsulKv;

  constructor(kv: ConsulKv) {
    this.#kv = kv;
  }

  async list({ signal }: Cancel = {}): Promise<readonly RecordEntry[]> {
    const { records, foreign } = split(this.#kv, (await this.#kv.list(signal)).pairs);
    return [
      ...records.map(({ kind, key, value }) => recordEntry(kind, key, value)),
      ...foreign.map(({ key, value }) => foreignEntry(key, value)),
    ];
  }

  async get(kind: RecordKind, key: string, { signal }: Cancel = {}): Promise<string | null> {
    return this.#kv.value(checkKind(kind), checkKey(kind, key), signal);
  }

  async put(kind: RecordKind, key: string, value: string, { signal }: Cancel = {}): Promise<void> {
    await this.#kv.write(checkKind(kind), checkKey(kind, key), checkValue(kind, value), signal);
  }

  async delete(kind: RecordKind, key: string, { signal }: Cancel = {}): Promise<boolean> {
    for (const stored of spellings(checkKind(kind), key)) {
      if (await this.#kv.remove(kind, stored, signal)) return true;
    }
    // As Consul lists bytes that are no UTF-8: which they were is not to be seen.
    if (key.includes('\ufffd')) {
      throw this.#kv.refused(`deleting ${printable(this.#kv.key(kind, key), 200)}`, 'its key is not UTF-8');
    }
    return false;
  }
}

/** The keys that a caller may mean: the very one, which a list may have shown as bad, then its canonical form. */
function spellings(kind: RecordKind, key: unknown): string[] {
  if (typeof key !== 'string') throw invalidType('key', key, 'a string');
  // The "folder" itself, or nothing that Consul can have.
  if (key === '' || /\p{Surrogate}/u.test(key)) throw invalidArgument('key', key, 'the key of a record');
  try {
    return [...new Set([key, checkKey(kind, key)])];
  } catch {
    return [key];
  }
}
