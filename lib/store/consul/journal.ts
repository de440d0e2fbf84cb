/**
 * A journal of what has last changed in the networks of a store, written in the transactions that change it. Who follows
 * some addresses waits for a change of the journal, a few KiB whatever the size of the network, where Consul would
 * list all of its prefix.
 *
 * `ROOT.changes/0` to `/7`, each a text. Its first line tells one series of numbers from another; the others are the latest
 * changes, one a line and numbered on from one to the next:
 *
 *     m2k4wqzt
 *     17 42 02:42:c0:a8:00:02 192.168.0.2
 *
 * `42` is the network, as its prefix goes on behind ROOT, or `.` where there is one only. A writer takes any of the keys and
 * replaces what it has read there and nothing else, so that no line is lost without a gap in the numbers; many at once seldom meet at
 * the same key. Who gives up on that begins a new series. Who sees a gap or a new series reads again what it follows.
 */
import { randomBytes } from 'node:crypto';
import { channel } from 'node:diagnostics_channel';
import { OvernsError } from '../../core/errors.js';
import type { StoredPair } from '../prefix-records.js';
import { refusalOf } from '../server-http.js';
import type { ConsulHttp } from './http.js';
import { ConsulKv, type TxnOp } from './kv.js';

const SLOTS = 8;
/** The name of a network that has a journal of its own. */
const ALONE = '.';
/** As many changes stay in one key, and so many bytes. */
const LINES = 16;
const BYTES = 2048;
/** How often a key is written as it was read before it is written anyhow. */
const GUARDED_ATTEMPTS = 4;
/** How long it holds that a token may not write it, milliseconds. */
const DENIED_MS = 60_000;

/** A change that was written: the addresses whose records have changed. */
export interface JournalLine {
  readonly number: number;
  readonly network: string;
  readonly addresses: readonly string[];
}

interface Series {
  readonly id: string;
  readonly lines: readonly JournalLine[];
}

/** Where the journal of a store is: one for all networks that its URL leads to, so that a single question follows them all. */
export class JournalPlace {
  /** Prefix of its keys. */
  readonly prefix: string;
  /** The part of a network's prefix that is the same for all; undefined: there is one network. */
  readonly #common: string | undefined;

  /** @param pattern the prefix of the URL, placeholders in it */
  constructor(pattern: string) {
    const placeholder = pattern.search(/\{(?:vni|name)\}/);
    this.#common = placeholder < 0 ? undefined : pattern.slice(0, placeholder);
    this.prefix = `${(this.#common ?? pattern).replace(/\/$/, '') || 'overns'}.changes`;
  }

  /** The name of a network in it. */
  network(prefix: string): string {
    return this.#common === undefined ? ALONE : encodeURIComponent(prefix.slice(this.#common.length));
  }
}

/** Channel of oddities in a store that serves all the same: `{ store, error }`. */
const warnings = channel('overns:store:warning');

/** Tells that a token may not use a journal. */
export function warnOfJournal(store: string, prefix: string, what: 'read' | 'write', effect: string): void {
  const error = new OvernsError('OVERNS_STORE', `${store}: the token may not ${what} ${prefix}/: ${effect}`, {
    hint: `give it key_prefix "${prefix}/" { policy = "${what}" }`,
  });
  warnings.publish({ store, error });
}

/** Writes the journal of a store. */
export class JournalWriter {
  readonly #place: JournalPlace;
  readonly #kv: ConsulKv;
  readonly #store: string;
  /** Until when it is not tried, as performance.now(). */
  #deniedUntil = 0;
  #told = false;

  constructor(http: ConsulHttp, place: JournalPlace) {
    this.#place = place;
    this.#kv = new ConsulKv(http, place.prefix);
    this.#store = http.name;
  }

  /** Reads a key of the journal, any of them, to be written with a commit. */
  async open(prefix: string, signal: AbortSignal | undefined): Promise<JournalEntry | undefined> {
    if (performance.now() < this.#deniedUntil) return undefined;
    try {
      return await new JournalEntry(this.#kv, this.#place.network(prefix)).read(signal);
    } catch (error) {
      if (refusalOf(error)?.status !== 403) throw error;
      this.#deniedUntil = performance.now() + DENIED_MS;
      return undefined;
    }
  }

  /** Deletes the journal of a network that has one of its own. */
  async forget(prefix: string, signal: AbortSignal | undefined): Promise<void> {
    if (this.#place.network(prefix) === ALONE) await this.#kv.clear(signal);
  }

  /**
   * Carries out operations, and notes in the journal which addresses they change, all or nothing. The index that they have, or
   * Consul's words where one of them does not apply.
   */
  async commit(
    entry: JournalEntry | undefined,
    ops: readonly TxnOp[],
    addresses: readonly string[],
    kv: ConsulKv,
    doing: string,
    signal: AbortSignal | undefined,
  ): Promise<bigint | string> {
    let noted = entry;
    for (let attempt = 1; ; attempt++) {
      const note = noted === undefined ? [] : [noted.note(addresses, attempt > GUARDED_ATTEMPTS)];
      const done = await kv.commit([...ops, ...note], doing, signal);
      if ('index' in done) {
        if (noted === undefined) this.#tell();
        return done.index;
      }
      const alone = noted !== undefined && done.failed.length > 0 && done.failed.every((at) => at === ops.length);
      if (alone && done.denied) {
        this.#deniedUntil = performance.now() + DENIED_MS;
        noted = undefined;
      } else if (alone) {
        // Somebody else has noted something there since it was read.
        await noted?.read(signal);
      } else if (done.denied) {
        throw kv.denied(doing, done.words);
      } else {
        return done.words;
      }
    }
  }

  /** Tells, once, that it is not written. */
  #tell(): void {
    if (this.#told || this.#deniedUntil === 0) return;
    this.#told = true;
    warnOfJournal(this.#store, this.#kv.prefix, 'write', 'other hosts hear of what changes here within a minute only');
  }
}

/** A place in a journal for what is about to be done: a key as it was read. */
export class JournalEntry {
  readonly #kv: ConsulKv;
  readonly #network: string;
  #key = '';
  #pair: StoredPair | null = null;

  constructor(kv: ConsulKv, network: string) {
    this.#kv = kv;
    this.#network = network;
  }

  /** Reads any of the keys. */
  async read(signal: AbortSignal | undefined): Promise<this> {
    this.#key = `${this.#kv.prefix}/${Math.floor(Math.random() * SLOTS)}`;
    this.#pair = await this.#kv.read(this.#key, signal);
    return this;
  }

  /** The operation that notes a change. @param anyhow whatever somebody has written there meanwhile */
  note(addresses: readonly string[], anyhow: boolean): TxnOp {
    const Key = this.#key;
    const pair = this.#pair;
    const network = this.#network;
    const before = pair === null ? { id: newId(), lines: [] } : readSeries(pair.value);
    // Of a new series the first line is missing: who reads it knows that it lacks something.
    if (anyhow || before === undefined) {
      return {
        Verb: 'set',
        Key,
        Value: encode(seriesText({ id: newId(), lines: [{ number: 2, network, addresses }] })),
      };
    }
    const number = (before.lines.at(-1)?.number ?? 0) + 1;
    const text = seriesText({ id: before.id, lines: [...before.lines, { number, network, addresses }] });
    return { Verb: 'cas', Key, Value: encode(text), Index: Number(pair?.revision ?? 0n) };
  }
}

/** What a reader knows of a journal, and what is new in it. */
export class JournalReader {
  /** By key: how far it has been read. */
  readonly #known = new Map<string, { readonly revision: bigint; readonly id: string; readonly number: number }>();

  /** Takes the journal as it is. The lines that have come since it was last taken; undefined: some are missing. */
  take(pairs: readonly StoredPair[]): readonly JournalLine[] | undefined {
    const lines: JournalLine[] = [];
    let gap = false;
    const gone = new Set(this.#known.keys());
    for (const { key, revision, value } of pairs) {
      gone.delete(key);
      const before = this.#known.get(key);
      if (before?.revision === revision) continue;
      const { id, lines: all } = readSeries(value) ?? { id: '', lines: [] };
      const from = before?.number ?? 0;
      const last = all.at(-1)?.number ?? 0;
      const [first] = all;
      if (first === undefined || first.number > from + 1 || last < from || (before !== undefined && before.id !== id)) {
        gap = true;
      } else {
        for (const line of all) if (line.number > from) lines.push(line);
      }
      this.#known.set(key, { revision, id, number: last });
    }
    for (const key of gone) {
      this.#known.delete(key);
      gap = true;
    }
    return gap ? undefined : lines;
  }
}

/** Reads the text of a key. Undefined where it is none: anybody may have written it. */
function readSeries(value: Buffer): Series | undefined {
  const [id = '', ...rest] = value.toString('utf8').split('\n');
  if (!/^[\da-z]{1,16}$/.test(id)) return undefined;
  const lines: JournalLine[] = [];
  for (const text of rest) {
    const [, number, network, addresses] = /^(\d{1,15}) (\S+) (\S.*)$/.exec(text) ?? [];
    if (number === undefined || network === undefined || addresses === undefined) return undefined;
    const before = lines.at(-1)?.number;
    if (before !== undefined && Number(number) !== before + 1) return undefined;
    lines.push({ number: Number(number), network, addresses: addresses.split(' ') });
  }
  return { id, lines };
}

function newId(): string {
  return randomBytes(6).toString('hex');
}

/** The text of a key: the latest lines, as many as have room, one at least. */
function seriesText({ id, lines }: Series): string {
  const texts: string[] = [];
  let size = id.length;
  for (const { number, network, addresses } of lines.slice(-LINES).reverse()) {
    const text = `\n${number} ${network} ${addresses.join(' ')}`;
    size += text.length;
    if (size > BYTES && texts.length > 0) break;
    texts.unshift(text);
  }
  return id + texts.join('');
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64');
}
