import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Change, Endpoint, OwnedStore, Query } from '../../lib/store/contract.js';
import { openStore, recordsOf } from '../../lib/store/index.js';

const where = { overlay: 'blue', vni: 42 };
const l3 = (ip: string): Query => ({ ...where, kind: 'l3', ip });
const l2 = (mac: string): Query => ({ ...where, kind: 'l2', mac });
const M1 = '02:00:00:00:00:01';
const M2 = '02:00:00:00:00:02';
const V1 = '10.0.0.1';
const V2 = '10.0.0.2';
const A = '192.168.0.2';
const B = '192.168.0.3';
const endpoint = (mac: string, vtep: string, ...ips: [string, ...string[]]): Endpoint => ({
  ip: ips[0],
  ips,
  mac,
  vtep,
});

/** Follows a store's changes one by one. */
function follow(store: OwnedStore) {
  const controller = new AbortController();
  const changes = store.watch({ signal: controller.signal })[Symbol.asyncIterator]();
  return {
    controller,
    changes,
    next: async (): Promise<Change> => (await changes.next()).value as Change,
  };
}

describe('lookup', () => {
  test('an endpoint is found by each of its addresses and by its MAC', async () => {
    await using store = await openStore('memory:');
    const { signal } = new AbortController();
    await store.publish({ ...endpoint(M1.toUpperCase(), V1, A, 'FD00::2') });
    expect(await store.lookup(l3(A), { signal })).toEqual({ mac: M1, vtep: V1 });
    expect(await store.lookup(l3('fd00::2'), { signal })).toEqual({ mac: M1, vtep: V1 });
    expect(await store.lookup(l2(M1), { signal })).toEqual({ mac: M1, vtep: V1 });
    expect(await store.lookup(l3(B), { signal })).toBeNull();
    expect(await store.lookup(l2(M2), { signal })).toBeNull();
    expect(await store.lookupMany?.([l3(A), l3(B)], { signal })).toEqual([{ mac: M1, vtep: V1 }, null]);
  });

  test('bad queries and endpoints are refused', async () => {
    await using store = await openStore('memory:');
    const { signal } = new AbortController();
    await expect(store.lookup(l3('x'), { signal })).rejects.toThrow(/^query\.ip: /);
    await expect(store.lookup(l2('x'), { signal })).rejects.toThrow(/^query\.mac: /);
    await expect(store.lookup({ ...where, kind: 'l4' } as never, { signal })).rejects.toThrow(/^query\.kind: /);
    await expect(store.lookup(null as never, { signal })).rejects.toThrow(/^query: /);
    await expect(store.publish({} as never)).rejects.toThrow(/^endpoint\.ips/);
    await expect(store.publish(endpoint(M1, V1, '224.0.0.1'))).rejects.toThrow(/multicast/);
    await expect(store.withdraw(null as never)).rejects.toThrow(/^endpoint: /);
    const aborted = { signal: AbortSignal.abort() };
    await expect(store.lookup(l3(A), aborted)).rejects.toMatchObject({ code: 'ABORT_ERR' });
    await expect(store.publish(endpoint(M1, V1, A), aborted)).rejects.toMatchObject({ code: 'ABORT_ERR' });
    expect(await store.lookup(l3(A), { signal })).toBeNull();
  });

  test('every lookup is traced', async () => {
    await using store = await openStore('memory:');
    const seen: unknown[] = [];
    const listener = (message: unknown) => seen.push({ ...(message as object) });
    subscribe('tracing:overns.store.lookup:start', listener);
    subscribe('tracing:overns.store.lookup:asyncEnd', listener);
    try {
      await store.lookup(l3(A), { signal: new AbortController().signal });
    } finally {
      unsubscribe('tracing:overns.store.lookup:start', listener);
      unsubscribe('tracing:overns.store.lookup:asyncEnd', listener);
    }
    expect(seen).toEqual([
      { query: l3(A), store: 'memory:' },
      { query: l3(A), store: 'memory:', result: null },
    ]);
  });
});

describe('changes', () => {
  test('reset first, then every change with an index that grows', async () => {
    await using store = await openStore('memory:');
    await store.publish(endpoint(M1, V1, A));
    const { next, controller } = follow(store);
    expect(await next()).toEqual({ kind: 'reset', endpoints: [endpoint(M1, V1, A)], index: 1n });
    await store.publish(endpoint(M2, V2, B));
    expect(await next()).toEqual({ kind: 'put', endpoint: endpoint(M2, V2, B), index: 2n });
    const waiting = next();
    await store.withdraw(endpoint(M1, V1, A));
    expect(await waiting).toEqual({ kind: 'delete', ip: A, mac: M1, index: 3n });
    controller.abort();
  });

  test('the same again is no change, another host is one put', async () => {
    await using store = await openStore('memory:');
    await store.publish(endpoint(M1, V1, A));
    const { next, controller } = follow(store);
    await next();
    await store.publish(endpoint(M1, V1, A));
    await store.publish(endpoint(M1, V2, A));
    expect(await next()).toEqual({ kind: 'put', endpoint: endpoint(M1, V2, A), index: 2n });
    controller.abort();
  });

  test('an address that moves to another MAC is one put; a MAC left without any goes after it', async () => {
    await using store = await openStore('memory:');
    await store.publish(endpoint(M1, V1, A));
    const { next, controller } = follow(store);
    await next();
    await store.publish(endpoint(M2, V2, A));
    expect(await next()).toEqual({ kind: 'put', endpoint: endpoint(M2, V2, A), index: 2n });
    expect(await next()).toEqual({ kind: 'delete', mac: M1, index: 3n });
    const { signal } = controller;
    expect(await store.lookup(l2(M1), { signal })).toBeNull();
    expect(await store.lookup(l3(A), { signal })).toEqual({ mac: M2, vtep: V2 });
    controller.abort();
  });

  test('withdrawing leaves what has moved since', async () => {
    await using store = await openStore('memory:');
    const { signal } = new AbortController();
    const old = endpoint(M1, V1, A);
    await store.publish(old);
    await store.publish(endpoint(M1, V2, A));
    await store.withdraw(old);
    expect(await store.lookup(l3(A), { signal })).toEqual({ mac: M1, vtep: V2 });
    await store.publish(endpoint(M2, V2, A));
    await store.withdraw(endpoint(M1, V2, A));
    expect(await store.lookup(l3(A), { signal })).toEqual({ mac: M2, vtep: V2 });
    await store.withdraw(endpoint(M2, V2, A));
    await store.withdraw(endpoint(M2, V2, A));
    expect(await store.lookup(l3(A), { signal })).toBeNull();
  });

  test('withdrawing one of several addresses keeps the rest', async () => {
    await using store = await openStore('memory:');
    await store.publish(endpoint(M1, V1, A, B));
    const { next, controller } = follow(store);
    await next();
    await store.withdraw(endpoint(M1, V1, A));
    expect(await next()).toEqual({ kind: 'delete', ip: A, index: 2n });
    expect(await store.lookup(l2(M1), controller)).toEqual({ mac: M1, vtep: V1 });
    controller.abort();
  });

  test('a watcher that is too slow begins anew with what is', async () => {
    await using store = await openStore('memory:');
    const { next, controller } = follow(store);
    await next();
    for (let at = 0; at < 5000; at++) {
      await store.publish(endpoint(M1, at % 2 ? V1 : V2, A));
    }
    const change = await next();
    expect(change).toEqual({ kind: 'reset', endpoints: [endpoint(M1, V1, A)], index: 5000n });
    await store.publish(endpoint(M1, V2, A));
    expect(await next()).toMatchObject({ kind: 'put', index: 5001n });
    controller.abort();
  });

  test('a reset shows the endpoints of its index, whatever comes after', async () => {
    await using store = await openStore('memory:');
    await store.publish(endpoint(M1, V1, A));
    const { next, controller } = follow(store);
    const reset = (await next()) as Extract<Change, { kind: 'reset' }>;
    await store.publish(endpoint(M1, V2, A, B));
    expect([...reset.endpoints]).toEqual([endpoint(M1, V1, A)]);
    controller.abort();
  });

  test('following the changes gives the answers that lookups give', async () => {
    const ips = ['10.1.0.1', '10.1.0.2', '10.1.0.3'];
    const action = fc.record({
      publish: fc.boolean(),
      mac: fc.constantFrom(M1, M2, '02:00:00:00:00:03'),
      vtep: fc.constantFrom(V1, V2),
      ips: fc.uniqueArray(fc.constantFrom(...ips), { minLength: 1 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 12 }), async (actions) => {
        await using store = await openStore('memory:');
        const { changes, controller } = follow(store);
        const { signal } = controller;
        const arp = new Map<string, string>();
        const fib = new Map<string, string>();
        await changes.next();
        for (const { publish, mac, vtep, ips: some } of actions) {
          const one = endpoint(mac, vtep, ...(some as [string]));
          await (publish ? store.publish(one) : store.withdraw(one));
        }
        await store.publish(endpoint('02:00:00:00:00:99', V1, '10.9.9.9'));
        let last = 0n;
        for (;;) {
          const change = (await changes.next()).value as Change;
          expect(change.index).toBeGreaterThan(last);
          last = change.index;
          if (change.kind === 'put') {
            if (change.endpoint.ip === '10.9.9.9') break;
            for (const ip of change.endpoint.ips) arp.set(ip, change.endpoint.mac);
            fib.set(change.endpoint.mac, change.endpoint.vtep);
          } else if (change.kind === 'delete') {
            if (change.ip !== undefined) arp.delete(change.ip);
            if (change.mac !== undefined) fib.delete(change.mac);
          }
        }
        for (const ip of ips) {
          const mac = arp.get(ip);
          const expected = mac === undefined ? null : { mac, vtep: fib.get(mac) };
          expect(await store.lookup(l3(ip), { signal })).toEqual(expected);
        }
        controller.abort();
      }),
    );
  });
});

describe('the end', () => {
  test('abort rejects a watch that waits, and one that does not yet', async () => {
    await using store = await openStore('memory:');
    const { changes, controller } = follow(store);
    await changes.next();
    const waiting = changes.next();
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'ABORT_ERR' });
    expect(await changes.next()).toEqual({ done: true, value: undefined });
    const late = store.watch({ signal: controller.signal })[Symbol.asyncIterator]();
    await expect(late.next()).rejects.toMatchObject({ code: 'ABORT_ERR' });
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  test('close ends watches; whatever comes then is refused', async () => {
    const store = await openStore('memory:');
    const { changes } = follow(store);
    await changes.next();
    const waiting = changes.next();
    await store.close();
    await store.close();
    await store[Symbol.asyncDispose]();
    expect(await waiting).toEqual({ done: true, value: undefined });
    const closed = { code: 'OVERNS_CLOSED' };
    const { signal } = new AbortController();
    await expect(store.lookup(l3(A), { signal })).rejects.toMatchObject(closed);
    await expect(store.publish(endpoint(M1, V1, A))).rejects.toMatchObject(closed);
    await expect(store.withdraw(endpoint(M1, V1, A), where)).rejects.toMatchObject(closed);
    expect(() => store.watch({ signal })).toThrow(expect.objectContaining(closed));
  });

  test('leaving a watch forgets the watcher', async () => {
    await using store = await openStore('memory:');
    const controller = new AbortController();
    for await (const change of store.watch(controller)) {
      expect(change.kind).toBe('reset');
      break;
    }
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  test('it belongs to one network: an overlay of another VNI gets nothing and puts nothing', async () => {
    await using store = await openStore('memory:');
    const { signal } = new AbortController();
    await store.publish(endpoint(M1, V1, A), { overlay: 'blue', vni: 42 });
    const red = { overlay: 'red', vni: 43 };
    const refused = { code: 'OVERNS_SCOPE', message: expect.stringMatching(/"blue" \(vni 42\).*"red" \(vni 43\)/) };
    await expect(store.publish(endpoint(M1, V1, B), red)).rejects.toMatchObject(refused);
    await expect(store.withdraw(endpoint(M1, V1, A), red)).rejects.toMatchObject(refused);
    await expect(store.lookup({ ...red, kind: 'l3', ip: A }, { signal })).rejects.toMatchObject(refused);
    expect(() => store.watch({ ...red, signal })).toThrow(expect.objectContaining(refused));
    // Another host's part of the same network, a call that names none, and the overlay itself, made anew.
    await store.publish(endpoint(M2, V1, B), { overlay: 'other', vni: 42 });
    await store.withdraw(endpoint(M2, V1, B));
    expect(await store.lookup(l3(A), { signal })).toEqual({ mac: M1, vtep: V1 });
    await store.withdraw(endpoint(M1, V1, A), { overlay: 'blue', vni: 44 });
  });

  test('it has no records', async () => {
    await using store = await openStore('memory:');
    expect(() => recordsOf(store)).toThrow(expect.objectContaining({ code: 'OVERNS_STORE_UNSUPPORTED' }));
  });
});
