/** The changes under a prefix of etcd, from a revision on: across lost connections, members that end, and compactions. */
import { setTimeout as sleep } from 'node:timers/promises';
import { OvernsError } from '../../core/errors.js';
import type { Change } from '../contract.js';
import type { DriverStore } from '../driver.js';
import { EndpointTable, type GoodRecord, type RecordChange, type TableChange } from '../endpoint-table.js';
import { type ForeignKeys, goodRecords, type StoredPair, splitRecords } from '../prefix-records.js';
import { mayPass } from '../server-http.js';
import { tooLarge } from '../too-large.js';
import type { EtcdHttp, Json } from './http.js';
import { type EtcdKv, isNotKept, type Moment, WATCH_MS } from './kv.js';

/** How long a watch that has begun looks for a server that goes on with it: longer than an election takes, milliseconds. */
const PATIENCE_MS = 5000;
/** The longest wait before the first attempt, and of all; it doubles with every further one. */
const PAUSE_MS = 50;
const PAUSE_MAX_MS = 500;
/** One answer of a watch. etcd puts no bound to it, whatever has been written since the revision that is asked for. */
const LINE_BYTES = 128 * 2 ** 20;

/** A change of a key. */
interface Event {
  readonly pair: StoredPair;
  readonly deleted: boolean;
}

/** All that a watch has told, by which another one goes on. */
export interface Progress {
  readonly table: EndpointTable;
  /** History and revision up to which changes have been told. */
  readonly position: Moment;
  /** The newest record that was seen, by which a history is known. */
  readonly mark: Mark | undefined;
  /** The index of the last change. */
  readonly index: bigint;
}

type Mark = { readonly key: string; readonly revision: bigint };

/** Follows one prefix. */
export class EtcdWatch {
  readonly #http: EtcdHttp;
  readonly #kv: EtcdKv;
  readonly #foreign: ForeignKeys;
  readonly #signal: AbortSignal;
  readonly #ref: boolean;
  readonly #doing: string;
  readonly #from: bigint | undefined;
  readonly #max: number;
  #table: EndpointTable | undefined;
  #position: Moment = { cluster: '', revision: 0n };
  #mark: Mark | undefined;
  #index = 0n;

  /** @param before the progress of a watch of this prefix that broke off; taken up where it is what `from` names */
  constructor(
    http: EtcdHttp,
    kv: EtcdKv,
    foreign: ForeignKeys,
    { signal, ref, from, max }: Pick<Parameters<DriverStore['watch']>[0], 'signal' | 'ref' | 'from' | 'max'>,
    before: Progress | undefined,
  ) {
    this.#http = http;
    this.#kv = kv;
    this.#foreign = foreign;
    this.#signal = signal;
    this.#ref = ref ?? true;
    this.#from = from;
    this.#max = max ?? Number.POSITIVE_INFINITY;
    this.#doing = `reading ${kv.prefix}/`;
    if (before === undefined || before.index !== from) return;
    this.#table = before.table;
    this.#position = before.position;
    this.#mark = before.mark;
    this.#index = before.index;
  }

  /** Undefined as long as nothing has been told. */
  get progress(): Progress | undefined {
    const table = this.#table;
    return table && { table, position: this.#position, mark: this.#mark, index: this.#index };
  }

  /**
   * A `reset` with all records, or `resume` where etcd still knows what came after `from`; then every change. Another server goes
   * on where one has failed; where etcd has forgotten what happened meanwhile, all is read again and compared.
   *
   * Throws once no server has gone on for a while.
   */
  async *changes(): AsyncGenerator<Change, void, undefined> {
    for await (const change of this.#follow()) {
      this.#index = change.index;
      yield change;
    }
  }

  async *#follow(): AsyncGenerator<Change, void, undefined> {
    let list = this.#table === undefined;
    // What another watch has told is believed once a server has that history.
    let resumes = !list;
    let lostAt: number | undefined;
    for (let attempt = 0; ; attempt++) {
      try {
        if (list && Number.isFinite(this.#max)) this.#refuse(await this.#kv.count(this.#signal));
        if (list) yield* (await this.#resume()) ?? this.#list();
        list = false;
        for await (const answer of this.#http.stream(this.#request())) {
          const moment = this.#kv.moment(answer, this.#doing);
          list = answer.compact_revision !== undefined || (answer.created === true && !(await this.#goesOn(moment)));
          if (resumes && !list) yield { kind: 'resume', index: this.#index };
          resumes = false;
          if (list) break;
          if (lostAt !== undefined) attempt = 0;
          lostAt = undefined;
          yield* this.#apply(answer);
          this.#refuse((this.#table as EndpointTable).size);
        }
      } catch (error) {
        if (OvernsError.is(error) && error.code === 'OVERNS_CLOSED') return;
        lostAt ??= performance.now();
        const waited = performance.now() - lostAt;
        if (this.#table === undefined || resumes || !mayPass(error) || waited > PATIENCE_MS) throw error;
        const pause = Math.min(PAUSE_MS * 2 ** Math.min(attempt, 10), PAUSE_MAX_MS);
        await sleep(Math.random() * pause, undefined, { signal: this.#signal, ref: this.#ref });
      }
    }
  }

  #refuse(size: number): void {
    if (size > this.#max) throw tooLarge(this.#http.name, this.#max);
  }

  #request() {
    const create_request = {
      ...this.#kv.range,
      start_revision: String(this.#position.revision + 1n),
      progress_notify: true,
    };
    return {
      path: 'watch',
      body: { create_request },
      maxBytes: LINE_BYTES,
      timeoutMs: WATCH_MS,
      signal: this.#signal,
      ref: this.#ref,
      watching: true,
      doing: this.#doing,
    };
  }

  /** Reads what was there at the revision that the watcher has got to; undefined where that is not known any more. */
  async #resume(): Promise<Iterable<Change> | undefined> {
    const from = this.#from;
    // 0 would be now, and a revision has 63 bits.
    if (this.#table !== undefined || from === undefined || from < 1n || from >= 2n ** 63n) return undefined;
    try {
      const { pairs, moment } = await this.#kv.list(this.#signal, this.#ref, from);
      this.#table = new EndpointTable(this.#take(pairs, moment));
      return [{ kind: 'resume', index: from }];
    } catch (error) {
      if (isNotKept(error)) return undefined;
      throw error;
    }
  }

  /** Everything, as a `reset` or as what has changed. */
  async *#list(): AsyncGenerator<Change, void, undefined> {
    const before = this.#position;
    const { pairs, moment } = await this.#kv.list(this.#signal, this.#ref);
    const records = this.#take(pairs, moment);
    const index = moment.revision;
    if (this.#table === undefined || moment.cluster !== before.cluster || index < before.revision) {
      // Backwards: etcd lost its data or got other ones, and what happened between is not known.
      this.#table = new EndpointTable(records);
      yield { kind: 'reset', endpoints: this.#table.endpoints(), index };
    } else {
      yield* numbered(this.#table.replace(records), before.revision, index);
    }
  }

  /** The records of a list, which is what is told from now on. */
  #take(pairs: readonly StoredPair[], moment: Moment): Iterable<GoodRecord> {
    const { records, foreign } = splitRecords(this.#kv.prefix, pairs);
    this.#foreign.tell(this.#kv.prefix, foreign);
    this.#position = moment;
    this.#mark = undefined;
    for (const pair of pairs) this.#see(pair);
    return goodRecords(records);
  }

  /**
   * Whether the cluster has the history that was told of. One that was restored from a snapshot, or began anew, has another one
   * behind the same revisions, and says nothing until it gets to the one that is waited for. What was told is then void.
   */
  async #goesOn({ cluster }: Moment): Promise<boolean> {
    if (cluster !== this.#position.cluster) return false;
    const { key, revision } = this.#mark ?? { key: this.#kv.range.key, revision: this.#position.revision };
    const then = await this.#kv.valueAt(key, revision, this.#signal, true);
    if (then === undefined) return false; // compacted, or never reached
    if (this.#mark === undefined || then?.revision === revision) return true;
    this.#position = { ...this.#position, cluster: '' };
    return false;
  }

  #see({ key, revision }: StoredPair): void {
    if (this.#mark === undefined || revision > this.#mark.revision) {
      this.#mark = { key: this.#kv.encodedKey(key), revision };
    }
  }

  /** Tells the changes of an answer, one transaction of etcd's after the other. */
  *#apply(answer: Json): Generator<Change, void, undefined> {
    const events = this.#events(answer);
    for (let at = 0; at < events.length; ) {
      const index = (events[at] as Event).pair.revision;
      const changes: RecordChange[] = [];
      for (; events[at]?.pair.revision === index; at++) changes.push(...this.#changeOf(events[at] as Event));
      const changed = (this.#table as EndpointTable).apply(changes);
      const before = this.#position.revision;
      // Before it is told: who goes on watching has heard of it.
      this.#position = { ...this.#position, revision: index };
      yield* numbered(changed, before, index);
    }
  }

  #events({ events = [] }: Json): Event[] {
    if (!Array.isArray(events)) throw this.#http.strange({ doing: this.#doing });
    return events
      .map((event: Json | null) => ({
        pair: this.#kv.toPair(event?.kv, this.#doing),
        deleted: event?.type === 'DELETE',
      }))
      .filter(({ pair }) => pair.revision > this.#position.revision);
  }

  #changeOf({ pair, deleted }: Event): RecordChange[] {
    if (!deleted) this.#see(pair);
    const { records, foreign } = splitRecords(this.#kv.prefix, [pair]);
    if (deleted) return records.map(({ kind, key }) => ({ kind, key, value: undefined }));
    this.#foreign.tell(this.#kv.prefix, foreign);
    const [good] = goodRecords(records);
    return records.map(({ kind, key, lease }) => ({ kind, key, value: good?.value, lease }));
  }
}

/** A watcher that has heard but a part of what happened at once does not know yet what there is at its revision. */
function* numbered(changes: readonly TableChange[], before: bigint, index: bigint): Generator<Change> {
  for (const [at, change] of changes.entries()) yield { ...change, index: at === changes.length - 1 ? index : before };
}
