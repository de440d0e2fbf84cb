/** Duties of every driver of a store, as tests for any runner: most of them are about what goes wrong. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import type { Change, OwnedStore, Where } from '../store/contract.js';
import { openStore } from '../store/index.js';
import { claimCases, unsupportedCases } from './store-claims.js';
import {
  A,
  B,
  BLUE,
  C6,
  code,
  endpoint,
  Follower,
  l2,
  l3,
  M1,
  M2,
  M3,
  MACS,
  RED,
  V1,
  V2,
  within,
} from './store-follower.js';
import { interestCases, withoutInterestCases } from './store-interest.js';
import { leaseCases } from './store-leases.js';

/**
 * One test of a driver. It rejects where the driver does not do what it should.
 * @example
 * ```ts
 * import type { StoreCase } from 'overns/testing';
 *
 * const run = async ({ name, run }: StoreCase): Promise<string> => run().then(() => `ok ${name}`);
 * console.log(run.length); // 1
 * ```
 */
export interface StoreCase {
  readonly name: string;
  /** Rejects with what the driver does wrong. */
  run(): Promise<void>;
}

/**
 * Subject of the tests.
 * @example
 * ```ts
 * import type { StoreConformance } from 'overns/testing';
 *
 * let count = 0;
 * const options: StoreConformance = { url: () => `file:///tmp/test-${++count}.json`, patienceMs: 2000 };
 * console.log(options.url()); // file:///tmp/test-1.json
 * ```
 */
export interface StoreConformance {
  /** A URL without placeholders that nothing is stored under, another with each call. Its driver is registered. */
  url(): string | Promise<string>;
  /**
   * The same with `{vni}` in it. Absent: the store cannot tell networks apart by its URL, and the cases about that are
   * left out.
   */
  urlByVni?(): string | Promise<string>;
  /** Whether a URL that is opened twice leads to the same records. Default true. */
  readonly shared?: boolean | undefined;
  /** Whether it has claim() and list(). Default true; false: that it says so is what is tested. */
  readonly claims?: boolean | undefined;
  /** Whether it has lease(), which takes claim(). Default true; false: that it says so is what is tested. */
  readonly leases?: boolean | undefined;
  /** Whether it has watchOnly(). Default true; false: that it has none is what is tested. */
  readonly interest?: boolean | undefined;
  /**
   * Cuts the store off from whoever has it open; the result undoes that. Absent: a store that nothing can come between, and that
   * leases are kept through an outage is left out.
   */
  outage?(): Promise<() => Promise<void> | void>;
  /** How long a change may take to be told, milliseconds. Default 10000. */
  readonly patienceMs?: number | undefined;
}

/**
 * The tests that every driver passes, the built-in ones too. A list, for whatever runs tests.
 * @example
 * ```ts
 * import { storeConformance } from 'overns/testing';
 *
 * // With node:test, vitest or jest: for (const { name, run } of cases) test(name, run);
 * const cases = storeConformance({ url: () => 'memory:', shared: false });
 * for (const { run } of cases) await run();
 * console.log(cases.length > 20); // true
 * ```
 */
export function storeConformance(options: StoreConformance): StoreCase[] {
  const { shared = true, patienceMs = 10_000 } = options;
  const cases: StoreCase[] = [];
  const add = (
    name: string,
    run: (store: OwnedStore, url: string) => Promise<void>,
    url = () => options.url(),
  ): void => {
    cases.push({
      name,
      async run() {
        const at = await url();
        const store = await openStore(at);
        try {
          await run(store, at);
        } finally {
          await store.close();
        }
      },
    });
  };
  const follow = (store: OwnedStore, where: Where | undefined = BLUE): Follower =>
    new Follower(store, where, patienceMs);

  add('an endpoint is found by each of its addresses and by its MAC; what is not there is null', async (store) => {
    await store.publish(endpoint(M1, V1, A, C6), BLUE);
    for (const query of [l3(A), l3(C6), l2(M1)]) assert.deepEqual(await store.lookup(query), { mac: M1, vtep: V1 });
    for (const query of [l3(B), l3('fd00::3'), l2(M2)]) assert.equal(await store.lookup(query), null);
  });

  add('addresses are the same in whatever spelling', async (store) => {
    await store.publish(endpoint('02-00-00-00-00-0A'.replaceAll('-', ':'), V1, 'FD00:0::2'), BLUE);
    const found = { mac: '02:00:00:00:00:0a', vtep: V1 };
    assert.deepEqual(await store.lookup(l3('fd00:0:0::2')), found);
    assert.deepEqual(await store.lookup(l2('02:00:00:00:00:0A')), found);
  });

  add('an address that begins as another does, and a prefix of a MAC, are others', async (store) => {
    await store.publish(endpoint(M1, V1, '192.168.0.20', 'fd00::20'), BLUE);
    assert.equal(await store.lookup(l3(A)), null);
    assert.equal(await store.lookup(l3(C6)), null);
    await store.withdraw(endpoint(M2, V1, A, C6), BLUE);
    assert.deepEqual(await store.lookup(l3('fd00::20')), { mac: M1, vtep: V1 });
  });

  add('what is no query, no endpoint, no overlay is refused, and nothing is written', async (store) => {
    await assert.rejects(store.lookup(l3('x')), code('ERR_INVALID_ARG_VALUE'));
    await assert.rejects(store.lookup({ ...BLUE, kind: 'l4' } as never), code('ERR_INVALID_ARG_VALUE'));
    for (const bad of [
      endpoint(M1, V1, '224.0.0.1'),
      endpoint('01:00:5e:00:00:01', V1, A),
      endpoint(M1, '0.0.0.0', A),
      endpoint(M1, V1, A, 'x'),
    ]) {
      await assert.rejects(store.publish(bad, BLUE), code('ERR_INVALID_ARG_VALUE'));
      await assert.rejects(store.withdraw(bad, BLUE), code('ERR_INVALID_ARG_VALUE'));
    }
    await assert.rejects(store.publish(endpoint(M1, V1, A), { vni: 2 ** 24 }), code('ERR_INVALID_ARG_VALUE'));
    assert.equal(await store.lookup(l3(A)), null);
  });

  add('publishing again changes nothing, publishing elsewhere moves it', async (store) => {
    for (const vtep of [V1, V1, V2]) await store.publish(endpoint(M1, vtep, A), BLUE);
    assert.deepEqual(await store.lookup(l3(A)), { mac: M1, vtep: V2 });
    await store.publish(endpoint(M2, V1, A), BLUE);
    assert.deepEqual(await store.lookup(l3(A)), { mac: M2, vtep: V1 });
  });

  add('an endpoint of a hundred addresses comes and goes whole', async (store) => {
    const ips = Array.from({ length: 100 }, (_, at) => `fd00::1:${(at + 1).toString(16)}`) as [string, ...string[]];
    await store.publish(endpoint(M1, V1, ...ips), BLUE);
    for (const ip of [ips[0], ips[99] as string]) assert.deepEqual(await store.lookup(l3(ip)), { mac: M1, vtep: V1 });
    await store.withdraw(endpoint(M1, V1, ...ips), BLUE);
    for (const query of [l3(ips[0]), l3(ips[99] as string), l2(M1)]) assert.equal(await store.lookup(query), null);
  });

  add('withdrawing takes what it was told, once, and leaves what has moved since', async (store) => {
    const old = endpoint(M1, V1, A);
    await store.withdraw(old, BLUE);
    await store.publish(old, BLUE);
    await store.publish(endpoint(M1, V2, A), BLUE);
    await store.withdraw(old, BLUE);
    assert.deepEqual(await store.lookup(l3(A)), { mac: M1, vtep: V2 }, 'it runs on another host by now');
    await store.publish(endpoint(M2, V2, A), BLUE);
    await store.withdraw(endpoint(M1, V2, A), BLUE);
    assert.deepEqual(await store.lookup(l3(A)), { mac: M2, vtep: V2 }, 'another endpoint has the address by now');
    await store.withdraw(endpoint(M2, V2, A), BLUE);
    await store.withdraw(endpoint(M2, V2, A), BLUE);
    for (const query of [l3(A), l2(M2)]) assert.equal(await store.lookup(query), null);
  });

  add('a watch begins with a reset of all there is, then tells of each change', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    const following = follow(store);
    await following.until(({ first }) => first?.kind === 'reset');
    assert.deepEqual(following.answer(A), { mac: M1, vtep: V1 });
    await store.publish(endpoint(M2, V2, B, C6), BLUE);
    await following.until(() => following.answer(C6) !== null);
    assert.deepEqual([following.answer(B), following.answer(A)?.mac], [{ mac: M2, vtep: V2 }, M1]);
    await store.withdraw(endpoint(M1, V1, A), BLUE);
    await following.until(() => following.answer(A) === null);
    assert.deepEqual(following.answer(B), { mac: M2, vtep: V2 });
    await following.stop();
  });

  add('a watch of what is empty begins with an empty reset', async (store) => {
    const following = follow(store);
    await following.until(({ first }) => first !== undefined);
    assert.deepEqual([following.first?.kind, following.known], ['reset', 0]);
    await following.stop();
  });

  add('who follows the changes knows in the end what lookups say, and indexes never go back', async (store) => {
    const following = follow(store);
    await following.until(({ first }) => first !== undefined);
    const ips = [A, B, C6] as const;
    for (let at = 0; at < 40; at++) {
      const one = endpoint(MACS[at % 3] as string, at % 4 < 2 ? V1 : V2, ips[(at * 7) % 3] as string);
      await (at % 5 === 4 ? store.withdraw(one, BLUE) : store.publish(one, BLUE));
    }
    await store.publish(endpoint('02:00:00:00:00:99', V1, '192.168.9.9'), BLUE);
    await following.until(() => following.answer('192.168.9.9') !== null);
    for (const ip of ips) assert.deepEqual(following.answer(ip), await store.lookup(l3(ip)), ip);
    assert.equal(following.wentBack, false, 'an index is smaller than the one before');
    await following.stop();
  });

  add('an address that moves is never without an answer to who follows', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    const following = follow(store);
    await following.until(() => following.answer(A) !== null);
    for (let at = 0; at < 10; at++) await store.publish(endpoint(MACS[at % 2] as string, at % 2 ? V2 : V1, A), BLUE);
    await following.until(() => following.answer(A)?.vtep === V2);
    assert.equal(following.gaps(A), 0, 'it was deleted before it was put again');
    await following.stop();
  });

  add('a watch that goes on from a change knows what came since', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    const before = follow(store);
    await before.until(() => before.answer(A) !== null);
    await before.stop();
    await store.withdraw(endpoint(M1, V1, A), BLUE);
    await store.publish(endpoint(M2, V2, B), BLUE);
    const after = new Follower(store, BLUE, patienceMs, before);
    await after.until(() => after.answer(B) !== null && after.answer(A) === null);
    assert.ok(after.first?.kind === 'resume' || after.first?.kind === 'reset', after.first?.kind);
    await after.stop();
    assert.throws(() => store.watch({ ...BLUE, from: 1 as never }), code('ERR_INVALID_ARG_TYPE'));
  });

  add('a watch that goes on from what the store has never reached begins with a reset', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    for await (const change of store.watch({ ...BLUE, from: 2n ** 62n })) {
      assert.equal(change.kind, 'reset');
      break;
    }
  });

  add('who comes late, and who follows beside another, knows the same', async (store) => {
    const early = follow(store);
    await early.until(({ first }) => first !== undefined);
    for (const mac of MACS) await store.publish(endpoint(mac, V1, `192.168.1.${Number(mac.slice(-1))}`), BLUE);
    await store.withdraw(endpoint(M3, V1, '192.168.1.3'), BLUE);
    const late = follow(store);
    for (const each of [early, late]) {
      await each.until(() => each.known === 2 && each.answer('192.168.1.3') === null);
      assert.deepEqual(each.answer('192.168.1.2'), { mac: M2, vtep: V1 });
      await each.stop();
    }
  });

  add('a reset keeps what it was told, whatever comes behind it', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    const changes = store.watch({ ...BLUE })[Symbol.asyncIterator]();
    const first = (await changes.next()).value as Extract<Change, { kind: 'reset' }>;
    await store.publish(endpoint(M1, V2, A, B), BLUE);
    assert.deepEqual([...first.endpoints], [endpoint(M1, V1, A)]);
    await changes.return?.();
  });

  add('an aborted call rejects with AbortError, does nothing, and keeps no listener', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    const aborted = { signal: AbortSignal.abort('enough') };
    await assert.rejects(store.lookup(l3(A), aborted), code('ABORT_ERR'));
    await assert.rejects(store.publish(endpoint(M1, V2, A), { ...BLUE, ...aborted }), code('ABORT_ERR'));
    await assert.rejects(store.withdraw(endpoint(M1, V1, A), { ...BLUE, ...aborted }), code('ABORT_ERR'));
    assert.deepEqual(await store.lookup(l3(A)), { mac: M1, vtep: V1 });
    const { signal } = new AbortController();
    await Promise.all([...Array(20)].map(() => store.lookup(l3(A), { signal })));
    await store.publish(endpoint(M2, V1, B), { ...BLUE, signal });
    await store.withdraw(endpoint(M2, V1, B), { ...BLUE, signal });
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });

  add('an aborted signal ends a watch that waits, and one that has not begun, with AbortError', async (store) => {
    const controller = new AbortController();
    const { signal } = controller;
    const changes = store.watch({ ...BLUE, signal })[Symbol.asyncIterator]();
    await changes.next();
    const waiting = changes.next();
    setTimeout(() => controller.abort('enough'), 20);
    await assert.rejects(within(waiting, patienceMs, 'the watch does not end'), code('ABORT_ERR'));
    assert.equal((await changes.next()).done, true);
    const late = store.watch({ ...BLUE, signal })[Symbol.asyncIterator]();
    await assert.rejects(within(late.next(), patienceMs, 'the watch begins'), code('ABORT_ERR'));
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });

  add('a watch that is left forgets who watched', async (store) => {
    const controller = new AbortController();
    for await (const change of store.watch({ ...BLUE, signal: controller.signal })) {
      assert.equal(change.kind, 'reset');
      break;
    }
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
    await store.publish(endpoint(M1, V1, A), BLUE);
  });

  add('a closed store refuses what comes, ends its watches, and can be closed again', async (store) => {
    const changes = store.watch({ ...BLUE })[Symbol.asyncIterator]();
    await changes.next();
    const waiting = changes.next();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await store.close();
    await store.close();
    assert.equal((await within(waiting, patienceMs, 'the watch does not end')).done, true);
    await assert.rejects(store.lookup(l3(A)), code('OVERNS_CLOSED'));
    await assert.rejects(store.publish(endpoint(M1, V1, A), BLUE), code('OVERNS_CLOSED'));
    await assert.rejects(store.withdraw(endpoint(M1, V1, A), BLUE), code('OVERNS_CLOSED'));
    assert.throws(() => store.watch({ ...BLUE }), code('OVERNS_CLOSED'));
  });

  add('closing with calls under way leaves none of them waiting', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    const calls = [...Array(10)].flatMap((_, at) => [
      store.lookup(l3(A)),
      store.publish(endpoint(M2, V2, `192.168.2.${at + 1}`), BLUE),
    ]);
    const ended = Promise.allSettled(calls);
    await store.close();
    for (const one of await within(ended, patienceMs, 'a call waits for ever')) {
      if (one.status === 'rejected') code('OVERNS_CLOSED')(one.reason);
    }
  });

  add('a URL without placeholders belongs to one network', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    await assert.rejects(store.lookup(l3(A, RED)), code('OVERNS_SCOPE'));
    await assert.rejects(store.publish(endpoint(M2, V2, B), RED), code('OVERNS_SCOPE'));
    await assert.rejects(store.withdraw(endpoint(M1, V1, A), RED), code('OVERNS_SCOPE'));
    assert.throws(() => store.watch(RED), code('OVERNS_SCOPE'));
    // Another host's part of the same network, and a call that names none.
    await store.publish(endpoint(M2, V2, B), { overlay: 'other', vni: 42 });
    await store.withdraw(endpoint(M2, V2, B));
    assert.deepEqual(await store.lookup(l3(A)), { mac: M1, vtep: V1 });
  });

  add('fifty endpoints that are published at once are all there', async (store) => {
    const all = Array.from({ length: 50 }, (_, at) =>
      endpoint(`02:00:00:00:01:${at.toString(16).padStart(2, '0')}`, V1, `192.168.3.${at + 1}`),
    );
    const following = follow(store);
    await Promise.all(all.map((one) => store.publish(one, BLUE)));
    for (const { ip, mac } of all) assert.deepEqual(await store.lookup(l3(ip)), { mac, vtep: V1 });
    await following.until(() => following.known === 50);
    await following.stop();
  });

  add('endpoints that want one address at once: one has it, and every look sees one of them', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    const vteps: Record<string, string> = { [M1]: V1, [M2]: V2, [M3]: '10.0.0.3' };
    const looks: Promise<void>[] = [];
    const look = async (): Promise<void> => {
      const found = await store.lookup(l3(A));
      assert.equal(found?.vtep, vteps[found?.mac ?? ''], 'a MAC with the VTEP of another');
    };
    await Promise.all(
      [...Array(15)].map(async (_, at) => {
        const mac = MACS[at % 3] as string;
        looks.push(look());
        await store.publish(endpoint(mac, vteps[mac] as string, A), BLUE);
        looks.push(look());
      }),
    );
    await Promise.all(looks);
    await look();
  });

  add('publishing and withdrawing at once leaves all of it or nothing', async (store) => {
    const one = endpoint(M1, V1, A, C6);
    for (let at = 0; at < 10; at++) await Promise.all([store.publish(one, BLUE), store.withdraw(one, BLUE)]);
    const found = await Promise.all([l3(A), l3(C6), l2(M1)].map((query) => store.lookup(query)));
    assert.equal(new Set(found.map((each) => each?.vtep)).size, 1, JSON.stringify(found));
  });

  if (shared) {
    add('who opens the same URL reads, follows and withdraws what others wrote', async (store, url) => {
      const other = await openStore(url);
      try {
        const following = follow(other);
        await following.until(({ first }) => first !== undefined);
        await store.publish(endpoint(M1, V1, A), BLUE);
        assert.deepEqual(await other.lookup(l3(A)), { mac: M1, vtep: V1 });
        await following.until(() => following.answer(A) !== null);
        await other.withdraw(endpoint(M1, V1, A), BLUE);
        assert.equal(await store.lookup(l3(A)), null);
        await following.stop();
      } finally {
        await other.close();
      }
    });

    add('closing a store leaves what was published, and others that have it open', async (store, url) => {
      const other = await openStore(url);
      try {
        await store.publish(endpoint(M1, V1, A), BLUE);
        await store.close();
        assert.deepEqual(await other.lookup(l3(A)), { mac: M1, vtep: V1 });
      } finally {
        await other.close();
      }
    });
  }

  const { urlByVni } = options;
  if (urlByVni !== undefined) {
    add(
      'networks of one URL know nothing of each other',
      async (store) => {
        const [blue, red] = [follow(store, BLUE), follow(store, RED)];
        await store.publish(endpoint(M1, V1, A), BLUE);
        await store.publish(endpoint(M1, V2, A, B), RED);
        assert.deepEqual(await store.lookup(l3(A)), { mac: M1, vtep: V1 });
        assert.deepEqual(await store.lookup(l2(M1, RED)), { mac: M1, vtep: V2 });
        assert.equal(await store.lookup(l3(B)), null);
        await red.until(() => red.answer(B) !== null);
        await blue.until(() => blue.answer(A) !== null);
        assert.deepEqual([blue.known, blue.answer(A), blue.answer(B)], [1, { mac: M1, vtep: V1 }, null]);
        await store.withdraw(endpoint(M1, V2, A, B), RED);
        await red.until(() => red.known === 0);
        assert.deepEqual(await store.lookup(l3(A)), { mac: M1, vtep: V1 });
        assert.equal(blue.answer(A)?.vtep, V1);
        await Promise.all([blue.stop(), red.stop()]);
      },
      urlByVni,
    );

    add(
      'a URL with placeholders does nothing for who names no overlay',
      async (store) => {
        await assert.rejects(store.publish(endpoint(M1, V1, A)), code('OVERNS_STORE'));
        await assert.rejects(store.withdraw(endpoint(M1, V1, A)), code('OVERNS_STORE'));
        assert.throws(() => store.watch(), code('OVERNS_STORE'));
      },
      urlByVni,
    );
  }

  const { claims = true, leases = true, interest = true } = options;
  const given = { add, follow, shared, patienceMs, outage: options.outage };
  if (claims) claimCases(given);
  else unsupportedCases(given, ['claim', 'list']);
  if (leases) leaseCases(given);
  else unsupportedCases(given, ['lease']);
  if (interest) interestCases(given);
  else withoutInterestCases(given);
  return cases;
}
