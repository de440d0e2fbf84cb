/** The records among the keys of a prefix: which are some, which are foreign, and how they are looked after by hand. */
import { channel } from 'node:diagnostics_channel';
import type { Cancel } from '../core/abort.js';
import { invalidArgument, invalidType, OvernsError } from '../core/errors.js';
import type { HeldRecord, RecordPlace } from './record-claims.js';
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
  recordError,
} from './records.js';

/** A key of a server with its value. */
export interface StoredPair extends Omit<HeldRecord, 'value'> {
  readonly key: string;
  readonly value: Buffer;
}

/** A pair that is a record, good or bad. */
export interface StoredRecord extends StoredPair {
  readonly kind: RecordKind;
  /** The key after `PREFIX/arp/` or `PREFIX/fib/`. */
  readonly key: string;
}

/** Where a record is: `PREFIX/arp/IP` or `PREFIX/fib/MAC`. */
export function recordKey(prefix: string, kind: RecordKind, key: string): string {
  return `${prefix}/${kind}/${key}`;
}

/** Tells records from what else is under the prefix: those keys are `foreign`, and stand there from the prefix on. */
export function splitRecords(
  prefix: string,
  pairs: Iterable<StoredPair>,
): { records: StoredRecord[]; foreign: StoredPair[] } {
  const root = `${prefix}/`;
  const arp = recordKey(prefix, 'arp', '');
  const fib = recordKey(prefix, 'fib', '');
  const found: Record<RecordKind, StoredRecord[]> = { arp: [], fib: [] };
  const foreign: StoredPair[] = [];
  for (const { key: stored, ...rest } of pairs) {
    const kind = stored.startsWith(arp) ? 'arp' : stored.startsWith(fib) ? 'fib' : undefined;
    const key = stored.slice(kind === undefined ? root.length : arp.length);
    // Without a key it is a "folder", as web interfaces make them.
    if (key === '' || !stored.startsWith(root)) continue;
    if (kind === undefined) foreign.push({ key, ...rest });
    else found[kind].push({ kind, key, ...rest });
  }
  return { records: [...found.arp, ...found.fib], foreign };
}

/** The records that can be used. */
export function* goodRecords(records: Iterable<StoredRecord>): Generator<RecordPlace & HeldRecord> {
  for (const record of records) {
    const read = readRecord(record.kind, record.key, record.value);
    if ('value' in read) yield { ...record, value: read.value };
  }
}

/** Channel of oddities in a store that serves all the same: `{ store, error }`. */
const warnings = channel('overns:store:warning');

/** Tells once of each prefix that it holds what is no record. */
export class ForeignKeys {
  readonly #store: string;
  readonly #warned = new Set<string>();

  /** @param store the server, as errors name it */
  constructor(store: string) {
    this.#store = store;
  }

  tell(prefix: string, foreign: readonly StoredPair[]): void {
    const [first] = foreign;
    if (first === undefined || this.#warned.has(prefix)) return;
    this.#warned.add(prefix);
    const which = foreign.length === 1 ? 'a key is' : `${foreign.length} keys are`;
    const error = new OvernsError(
      'OVERNS_RECORD',
      `${which} under ${prefix}/ in ${this.#store}, but not in arp/ or fib/: "${printable(first.key, 40)}"`,
      { hint: 'they mean nothing to overns: delete them, or use another prefix' },
    );
    warnings.publish({ store: this.#store, error });
  }
}

/** The keys of one prefix, as a driver reads and writes them. */
export interface PrefixKeys {
  readonly prefix: string;
  /** The server lists a key that is no UTF-8 so that its bytes are not to be seen: with U+FFFD in their place. */
  readonly lossy: boolean;
  /** All of them. */
  pairs(signal: AbortSignal | undefined): Promise<readonly StoredPair[]>;
  /** A record's value, checked; null when there is none. */
  value(kind: RecordKind, key: string, signal: AbortSignal | undefined): Promise<string | null>;
  write(kind: RecordKind, key: string, value: string, signal: AbortSignal | undefined): Promise<void>;
  /** Deletes one, which need not be a good one. False if it was not there. */
  remove(kind: RecordKind, key: string, signal: AbortSignal | undefined): Promise<boolean>;
}

/** The records of a prefix, raw: for looking after them by hand. */
export class PrefixRecords implements RecordStore {
  readonly #keys: PrefixKeys;

  constructor(keys: PrefixKeys) {
    this.#keys = keys;
  }

  async list({ signal }: Cancel = {}): Promise<readonly RecordEntry[]> {
    const { records, foreign } = splitRecords(this.#keys.prefix, await this.#keys.pairs(signal));
    return [
      ...records.map(({ kind, key, value, lease }) => recordEntry(kind, key, value, lease)),
      ...foreign.map(({ key, value }) => foreignEntry(key, value)),
    ];
  }

  async get(kind: RecordKind, key: string, { signal }: Cancel = {}): Promise<string | null> {
    return this.#keys.value(checkKind(kind), checkKey(kind, key), signal);
  }

  async put(kind: RecordKind, key: string, value: string, { signal }: Cancel = {}): Promise<void> {
    await this.#keys.write(checkKind(kind), checkKey(kind, key), checkValue(kind, value), signal);
  }

  async delete(kind: RecordKind, key: string, { signal }: Cancel = {}): Promise<boolean> {
    for (const stored of spellings(checkKind(kind), key)) {
      if (await this.#keys.remove(kind, stored, signal)) return true;
    }
    if (this.#keys.lossy && key.includes('\ufffd')) {
      const hint = "delete it with the store's own command, which takes bytes, as in `curl -X DELETE .../%ff`";
      throw recordError(
        `${kind}/${printable(key, 80)}`,
        'there is none; if it is listed so, its key is no UTF-8',
        hint,
      );
    }
    return false;
  }
}

/** The keys that a caller may mean: the very one, which a list may have shown as bad, then its canonical form. */
function spellings(kind: RecordKind, key: unknown): string[] {
  if (typeof key !== 'string') throw invalidType('key', key, 'a string');
  // The "folder" itself, or nothing that a server can have.
  if (key === '' || /\p{Surrogate}/u.test(key)) throw invalidArgument('key', key, 'the key of a record');
  try {
    return [...new Set([key, checkKey(kind, key)])];
  } catch {
    return [key];
  }
}
