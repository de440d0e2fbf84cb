/** The duties of every driver that has watchOnly(). */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { Interest } from '../store/interest.js';
import type { CaseContext } from './store-claims.js';
import { A, B, BLUE, C6, code, endpoint, Follower, l3, M1, M2, M3, V1, V2, within } from './store-follower.js';

/** That a driver without it says so by its absence. */
export function withoutInterestCases({ add }: CaseContext): void {
  add('it has no watchOnly()', async (store) => {
    assert.equal(store.watchOnly, undefined);
  });
}

export function interestCases({ add, patienceMs }: CaseContext): void {
  const only = (store: Parameters<Parameters<typeof add>[1]>[0], interest: Interest): Follower =>
    new Follower(store, BLUE, patienceMs, interest);

  add('a watch of some addresses begins with a reset of them, and tells of each change', async (store) => {
    await store.publish(endpoint(M1, V1, A, C6), BLUE);
    const following = only(store, new Interest([A, B]));
    await following.until(({ first }) => first?.kind === 'reset');
    assert.deepEqual([following.answer(A), following.known], [{ mac: M1, vtep: V1 }, 1]);
    await store.publish(endpoint(M1, V2, A, C6), BLUE);
    await following.until(() => following.answer(A)?.vtep === V2);
    await store.publish(endpoint(M2, V2, B), BLUE);
    await following.until(() => following.answer(B) !== null);
    await store.publish(endpoint(M3, V1, A), BLUE);
    await following.until(() => following.answer(A)?.mac === M3);
    await store.withdraw(endpoint(M3, V1, A), BLUE);
    await following.until(() => following.answer(A) === null);
    assert.deepEqual([following.answer(B), following.answer(C6)], [{ mac: M2, vtep: V2 }, null]);
    assert.deepEqual([following.gaps(A), following.gaps(B), following.wentBack], [1, 0, false]);
    await following.stop();
  });

  add('of an address that is added it tells what there is, of others nothing', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    const interest = new Interest();
    const following = only(store, interest);
    await following.until(({ first }) => first !== undefined);
    interest.add(A).add(C6);
    await following.until(() => following.answer(A)?.vtep === V1);
    await following.until(({ told }) => told.some((each) => each.kind === 'delete' && each.ip === C6));
    for (let at = 0; at < 5; at++) await store.publish(endpoint(M2, at % 2 === 0 ? V1 : V2, B), BLUE);
    await store.publish(endpoint(M1, V2, A), BLUE);
    await following.until(() => following.answer(A)?.vtep === V2);
    const text = (value: unknown): string =>
      JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? `${part}` : part));
    assert.ok(!following.told.some((each) => text(each).includes(M2)), text(following.told));
    await following.stop();
  });

  add('an address that is removed is not told of any more, and is told of again once it is added', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    await store.publish(endpoint(M2, V1, B), BLUE);
    const interest = new Interest([A, B]);
    const following = only(store, interest);
    await following.until(() => following.known === 2);
    interest.delete(A);
    await store.publish(endpoint(M1, V2, A), BLUE);
    await store.publish(endpoint(M2, V2, B), BLUE);
    await following.until(() => following.answer(B)?.vtep === V2);
    assert.equal(following.answer(A)?.vtep, V1);
    interest.add(A);
    await following.until(() => following.answer(A)?.vtep === V2);
    await following.stop();
  });

  add('a MAC address alone is told of with its VTEP, whoever has it', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    const following = only(store, new Interest([M1]));
    await following.until(({ first }) => first !== undefined);
    const [first] = following.told;
    assert.deepEqual(first?.kind === 'reset' && [...first.endpoints], [{ ip: '', ips: [], mac: M1, vtep: V1 }]);
    await store.publish(endpoint(M1, V2, A), BLUE);
    await following.until(({ told }) => told.some((each) => each.kind === 'put' && each.endpoint.vtep === V2));
    const put = following.told.find((each) => each.kind === 'put');
    assert.deepEqual(put?.kind === 'put' && put.endpoint, { ip: '', ips: [], mac: M1, vtep: V2 });
    await store.withdraw(endpoint(M1, V2, A), BLUE);
    await following.until(({ told }) => told.some((each) => each.kind === 'delete' && each.mac === M1));
    await following.stop();
  });

  add('an address that goes from one to the other and back is never without an answer', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    const following = only(store, new Interest([A]));
    await following.until(() => following.known === 1);
    for (let at = 0; at < 6; at++) {
      const next = at % 2 === 0 ? endpoint(M2, V2, A) : endpoint(M1, V1, A);
      await store.publish(next, BLUE);
      await following.until(() => following.answer(A)?.mac === next.mac);
      assert.deepEqual(following.answer(A), { mac: next.mac, vtep: next.vtep });
    }
    assert.equal(following.gaps(A), 0);
    await following.stop();
  });

  add('a MAC address that no address in use belongs to any more is told to be gone', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    const following = only(store, new Interest([A]));
    await following.until(() => following.known === 1);
    await store.publish(endpoint(M2, V2, A), BLUE);
    await following.until(({ told }) => told.some((each) => each.kind === 'delete' && each.mac === M1));
    await store.withdraw(endpoint(M2, V2, A), BLUE);
    await following.until(() => following.answer(A) === null);
    await following.until(({ told }) => told.some((each) => each.kind === 'delete' && each.mac === M2));
    await following.stop();
  });

  add('two hundred addresses are followed at once', async (store) => {
    const all = Array.from({ length: 200 }, (_, at) =>
      endpoint(`02:00:00:00:02:${at.toString(16).padStart(2, '0')}`, V1, `192.168.4.${at + 1}`),
    );
    for (const one of all.slice(0, 100)) await store.publish(one, BLUE);
    const interest = new Interest(all.slice(0, 150).map(({ ip }) => ip));
    const following = only(store, interest);
    await following.until(() => following.known === 100);
    for (const { ip } of all.slice(150)) interest.add(ip);
    await Promise.all(all.slice(100).map((one) => store.publish(one, BLUE)));
    await following.until(() => following.known === 200);
    await store.publish({ ...(all[7] as (typeof all)[0]), vtep: V2 }, BLUE);
    await following.until(() => following.answer('192.168.4.8')?.vtep === V2);
    await following.stop();
  });

  add(
    'a watch of some addresses ends with its signal or its store, and is forgotten when it is left',
    async (store) => {
      await store.publish(endpoint(M1, V1, A), BLUE);
      const watch = (signal?: AbortSignal) => {
        const changes = store.watchOnly?.(new Interest([A]), { ...BLUE, ...(signal && { signal }) });
        assert.ok(changes);
        return changes[Symbol.asyncIterator]();
      };
      const controller = new AbortController();
      const left = watch(controller.signal);
      assert.equal((await left.next()).value?.kind, 'reset');
      await left.return?.();
      assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
      const aborted = watch(controller.signal);
      await aborted.next();
      const waiting = aborted.next();
      controller.abort('enough');
      await assert.rejects(within(waiting, patienceMs, 'the watch does not end'), code('ABORT_ERR'));
      await assert.rejects(within(watch(controller.signal).next(), patienceMs, 'the watch begins'), code('ABORT_ERR'));
      const open = watch();
      await open.next();
      const closing = open.next();
      await store.publish(endpoint(M2, V1, B), BLUE);
      assert.deepEqual(await store.lookup(l3(B)), { mac: M2, vtep: V1 });
      await store.close();
      assert.equal((await within(closing, patienceMs, 'the watch does not end')).done, true);
      assert.throws(() => watch(), code('OVERNS_CLOSED'));
    },
  );
}
