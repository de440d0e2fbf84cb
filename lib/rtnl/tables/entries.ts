/** Neighbours and FDB entries, which cross to the addon and back as rows of bytes. */
import { type Cancel, throwIfAborted } from '../../core/abort.js';
import { signalOf } from '../../core/options.js';
import { kernel } from '../../system/kernel-error.js';
import type { NativeFailure } from '../../system/native.js';
import { decodeEntries } from '../entry-decoder.js';
import { encodeEntries } from '../entry-encoder.js';
import { type BatchAnswer, counted, type Item, KernelTable, OK, type Rows, type Verb } from './table.js';

export class EntryTable<T, S> extends KernelTable<T, S> {
  declare protected readonly table: 'neighbor' | 'fdb';

  protected override async rows(filter: Item): Promise<Rows> {
    // The kernel tells proxies when they are asked for, and then nothing else.
    const proxies = this.table === 'neighbor' && Array.isArray(filter.flags) && filter.flags.includes('proxy');
    const entries = await this.open().list(this.table, proxies ? { ...filter, proxies } : filter);
    return { rows: decodeEntries(entries), interrupted: entries.interrupted };
  }

  protected override async send(
    operations: readonly { op: Verb; item: S }[],
    options: Cancel | undefined,
  ): Promise<readonly BatchAnswer[]> {
    throwIfAborted(signalOf(options));
    const socket = this.open();
    const { records, links, indexes } = encodeEntries(this.table, operations, (...texts) => socket.addresses(...texts));
    const failures = await kernel(
      { what: `send ${counted(operations.length, this.table)}`, netns: this.netns },
      socket.entries(this.table, records, links, indexes),
    );
    const answers = new Array<BatchAnswer>(operations.length).fill(OK);
    for (let i = 0; i < failures.length; i += 2) {
      const at = failures[i] as number;
      const { op, item } = operations[at] as { op: Verb; item: Item };
      answers[at] = this.failed(failures[i + 1] as NativeFailure, op, item);
    }
    return answers;
  }
}
