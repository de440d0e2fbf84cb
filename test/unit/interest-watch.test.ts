/** The watch of single addresses, with a store whose news come in whatever order. */
import { describe, expect, test } from 'vitest';
import type { Change } from '../../lib/index.js';
import { Interest } from '../../lib/store/interest.js';
import { InterestWatch, type LeasedValue } from '../../lib/store/interest-watch.js';
import { until } from '../support/overlay.js';

const IP = '192.168.0.3';
const MAC = '02:42:c0:a8:00:03';
const ARP = { kind: 'arp', key: IP } as const;
const FIB = { kind: 'fib', key: MAC } as const;

/** A store of records with a revision, which tells of nothing by itself. */
class Records {
  readonly records = new Map<string, string>([
    [`arp/${IP}`, MAC],
    [`fib/${MAC}`, '10.0.0.11'],
  ]);
  revision = 5n;
  reads = 0;
  /** A read waits for it. */
  gate: Promise<void> = Promise.resolve();
  readonly told: Change[] = [];
  readonly watch: InterestWatch;
  readonly #stop = new AbortController();

  constructor() {
    this.watch = new InterestWatch(new Interest([IP]), {
      atOnce: 100,
      read: async (places) => {
        this.reads++;
        const values = places.map(({ kind, key }): LeasedValue | undefined => {
          const value = this.records.get(`${kind}/${key}`);
          return value === undefined ? undefined : { value };
        });
        const index = this.revision;
        await this.gate;
        return { values, index };
      },
    });
    const { watch } = this;
    void (async () => {
      for await (const change of watch.changes(this.#stop.signal, false)) this.told.push(change);
    })().catch(() => {});
  }

  /** Waits until it has begun. */
  async begun(): Promise<this> {
    await until(() => this.told.length === 1, 'the beginning');
    return this;
  }

  /** The VTEPs that were told of since the beginning, with the index of each. */
  get vteps(): (readonly [string, bigint])[] {
    return this.told.flatMap((each) => (each.kind === 'put' ? [[each.endpoint.vtep, each.index] as const] : []));
  }

  stop(): void {
    this.#stop.abort();
  }
}

describe('a MAC address whose VTEP is another one', () => {
  test('is told of as it is, with its addresses, and nothing is read', async () => {
    const store = await new Records().begun();
    const { reads } = store;
    store.watch.changed(FIB, { value: '10.0.0.12', index: 7n });
    await until(() => store.told.length === 2, 'the move');
    expect(store.told[1]).toEqual({
      kind: 'put',
      endpoint: { ip: IP, ips: [IP], mac: MAC, vtep: '10.0.0.12' },
      index: 7n,
    });
    expect(store.reads).toBe(reads);
    store.stop();
  });

  test('is not believed where something newer is known: news that were late, or came twice', async () => {
    const store = await new Records().begun();
    store.watch.changed(FIB, { value: '10.0.0.12', index: 7n });
    await until(() => store.vteps.length === 1, 'the move');
    for (const index of [6n, 5n]) {
      store.watch.changed(FIB, { value: '10.0.0.13', index });
      await new Promise((resolve) => setImmediate(resolve));
    }
    store.watch.changed(FIB, { value: '10.0.0.14', index: 9n });
    store.watch.changed(FIB, { value: '10.0.0.13', index: 8n });
    await until(() => store.vteps.length > 1, 'the next move');
    expect(store.vteps).toEqual([
      ['10.0.0.12', 7n],
      ['10.0.0.14', 9n],
    ]);
    store.stop();
  });

  test('waits for what is being read, so that it is never told before what is older', async () => {
    const store = await new Records().begun();
    let open = (): void => {};
    store.gate = new Promise((resolve) => {
      open = resolve;
    });
    const { reads } = store;
    store.revision = 6n;
    store.watch.changed(ARP);
    await until(() => store.reads === reads + 1, 'the read');
    // It read the VTEP of revision 6, which is the old one.
    store.watch.changed(FIB, { value: '10.0.0.12', index: 7n });
    store.revision = 7n;
    store.records.set(`fib/${MAC}`, '10.0.0.12');
    open();
    await until(() => store.vteps.length === 1, 'the move');
    expect(store.vteps).toEqual([['10.0.0.12', 7n]]);
    store.stop();
  });

  test('and its addresses with another MAC address are read at one moment', async () => {
    const store = await new Records().begun();
    const { reads } = store;
    const other = '02:42:c0:a8:00:99';
    store.revision = 7n;
    store.records.set(`arp/${IP}`, other).set(`fib/${other}`, '10.0.0.13').set(`fib/${MAC}`, '10.0.0.12');
    store.watch.changed(ARP);
    store.watch.changed(FIB, { value: '10.0.0.12', index: 7n });
    await until(() => store.told.some((each) => each.kind === 'delete' && each.mac === MAC), 'the old MAC address');
    expect(store.vteps.map(([vtep]) => vtep)).toEqual(['10.0.0.13']);
    expect(store.reads).toBeGreaterThan(reads);
    store.stop();
  });
});
