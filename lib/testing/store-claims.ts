/** The duties of every driver that has claim() and list(). */
import assert from 'node:assert/strict';
import type { Endpoint, Holder, OwnedStore, StoredEndpoint, Where } from '../store/contract.js';
import { openStore } from '../store/index.js';
import { A, B, BLUE, C6, code, endpoint, type Follower, l2, l3, M1, M2, M3, RED, V1, V2 } from './store-follower.js';

/** Parts that cases are made of. */
export interface CaseContext {
  add(name: string, run: (store: OwnedStore, url: string) => Promise<void>): void;
  follow(store: OwnedStore, where?: Where): Follower;
  readonly shared: boolean;
  readonly patienceMs: number;
  readonly outage: (() => Promise<() => Promise<void> | void>) | undefined;
}

/** A refused claim, whose holder is as told. */
export const conflictWith = (holder: Partial<Holder>) => (error: unknown) => {
  code('OVERNS_CONFLICT')(error);
  const named = (error as { holder?: Holder }).holder;
  assert.ok(named, 'it names no holder');
  const { revision, ...rest } = named;
  assert.equal(typeof revision, 'bigint', 'the revision of what is held');
  // The holder of a lease is named by each case for itself.
  const { lease: _, ...who } = rest;
  const { lease, ...expected } = holder;
  assert.deepEqual(who, expected);
  assert.equal(named.lease, lease);
  for (const word of [named.mac, named.vtep])
    assert.ok(word === undefined || String(error).includes(word), String(error));
  return true;
};

export const byMac = (listed: readonly StoredEndpoint[]): StoredEndpoint[] =>
  [...listed].sort((one, other) => (one.mac < other.mac ? -1 : 1));

/** That an endpoint is found whole or not at all. Returns whether it is. */
export async function isWhole(store: OwnedStore, one: Endpoint): Promise<boolean> {
  const queries = [...one.ips.map((ip) => l3(ip)), l2(one.mac)];
  const found = await Promise.all(queries.map((query) => store.lookup(query)));
  const there = found.filter((answer) => answer !== null).length;
  assert.ok(there === 0 || there === queries.length, `half of ${one.ip} is there: ${JSON.stringify(found)}`);
  return there > 0;
}

/** The refusal of a driver that lacks a method. */
export function unsupportedCases({ add }: CaseContext, methods: readonly ('claim' | 'list' | 'lease')[]): void {
  for (const method of methods) {
    add(`that it has no ${method}() is said`, async (store) => {
      const calls = {
        claim: () => store.claim(endpoint(M1, V1, A), BLUE),
        list: () => store.list(BLUE),
        lease: () => store.lease({ name: 'host' }),
      };
      await assert.rejects(calls[method](), (error) => {
        assert.ok(String(error).includes(`${method}()`), String(error));
        return code('OVERNS_STORE_UNSUPPORTED')(error);
      });
    });
  }
}

export function claimCases({ add, follow, shared }: CaseContext): void {
  add('what is claimed is found, listed with its revision, and told to who follows', async (store) => {
    const following = follow(store);
    await following.until(({ first }) => first !== undefined);
    const { revision } = await store.claim(endpoint(M1, V1, A, C6), BLUE);
    for (const query of [l3(A), l3(C6), l2(M1)]) assert.deepEqual(await store.lookup(query), { mac: M1, vtep: V1 });
    await following.until(() => following.answer(C6) !== null);
    const [one, ...more] = await store.list(BLUE);
    assert.deepEqual([one?.mac, one?.vtep, [...(one?.ips ?? [])].sort()], [M1, V1, [A, C6]]);
    assert.deepEqual([one?.revision, one?.lease, more.length], [revision, undefined, 0]);
    await following.stop();
  });

  add('claiming again changes nothing, of whatever form', async (store) => {
    const first = await store.claim(endpoint(M1, V1, A, C6), BLUE);
    assert.deepEqual(await store.claim(endpoint(M1, V1, C6, A), BLUE), first);
    assert.deepEqual(await store.claim(endpoint(M1, V1, A), BLUE), first);
    const { revision } = await store.claim(endpoint(M1, V1, A, B), BLUE);
    assert.ok(revision > first.revision);
    assert.deepEqual(await store.lookup(l3(B)), { mac: M1, vtep: V1 });
  });

  add("another host's IP address is refused, whole, and its holder named", async (store) => {
    await store.claim(endpoint(M1, V1, A), BLUE);
    const [held] = await store.list(BLUE);
    await assert.rejects(store.claim(endpoint(M2, V2, B, A), BLUE), conflictWith({ ip: A, mac: M1, vtep: V1 }));
    for (const query of [l3(B), l2(M2)]) assert.equal(await store.lookup(query), null);
    assert.deepEqual(await store.list(BLUE), [held]);
  });

  add("another host's MAC address is refused", async (store) => {
    await store.claim(endpoint(M1, V1, A), BLUE);
    await assert.rejects(store.claim(endpoint(M1, V2, A), BLUE), conflictWith({ ip: A, mac: M1, vtep: V1 }));
    await assert.rejects(store.claim(endpoint(M1, V2, B), BLUE), conflictWith({ mac: M1, vtep: V1 }));
    assert.deepEqual(await store.lookup(l3(A)), { mac: M1, vtep: V1 });
    assert.equal(await store.lookup(l3(B)), null);
  });

  add('what somebody has published plainly is as good as claimed', async (store) => {
    await store.publish(endpoint(M1, V1, A), BLUE);
    await assert.rejects(store.claim(endpoint(M2, V2, A), BLUE), conflictWith({ ip: A, mac: M1, vtep: V1 }));
    await assert.rejects(store.claim(endpoint(M1, V2, B), BLUE), conflictWith({ mac: M1, vtep: V1 }));
    assert.deepEqual(await store.lookup(l3(A)), { mac: M1, vtep: V1 });
    await store.claim(endpoint(M1, V1, A), BLUE);
  });

  add('a host may give its own addresses to another of its containers', async (store) => {
    await store.claim(endpoint(M1, V1, A), BLUE);
    await store.claim(endpoint(M2, V1, A), BLUE);
    assert.deepEqual(await store.lookup(l3(A)), { mac: M2, vtep: V1 });
    assert.equal(await store.lookup(l2(M1)), null, 'nothing has that MAC address any more');
    await store.claim(endpoint(M2, V1, B), BLUE);
    for (const ip of [A, B]) assert.deepEqual(await store.lookup(l3(ip)), { mac: M2, vtep: V1 });
  });

  add('of twelve hosts that claim one IP address at once one gets it, and the others hear who', async (store) => {
    const all = Array.from({ length: 12 }, (_, at) =>
      endpoint(`02:00:00:00:0a:${10 + at}`, `10.0.1.${1 + at}`, A, `192.168.5.${1 + at}`),
    );
    const answers = await Promise.allSettled(all.map((one) => store.claim(one, BLUE)));
    const winners = all.filter((_, at) => answers[at]?.status === 'fulfilled');
    assert.equal(winners.length, 1, `${winners.length} have claimed it`);
    const [{ mac, vtep }] = winners as [Endpoint];
    for (const answer of answers) if (answer.status === 'rejected') conflictWith({ ip: A, mac, vtep })(answer.reason);
    assert.deepEqual(await store.lookup(l3(A)), { mac, vtep });
    assert.equal((await store.list(BLUE)).length, 1, 'nothing is left of the others');
  });

  add('of eight hosts that claim one MAC address at once one gets it', async (store) => {
    const all = Array.from({ length: 8 }, (_, at) => endpoint(M1, `10.0.1.${1 + at}`, `192.168.5.${1 + at}`));
    const answers = await Promise.allSettled(all.map((one) => store.claim(one, BLUE)));
    const [winner, ...more] = all.filter((_, at) => answers[at]?.status === 'fulfilled');
    assert.deepEqual([more.length, await store.lookup(l2(M1))], [0, { mac: M1, vtep: winner?.vtep }]);
    const listed = await store.list(BLUE);
    assert.deepEqual(
      listed.map(({ ips }) => ips),
      [winner?.ips],
    );
  });

  add('a takeover of an IP address takes the records of who has it', async (store) => {
    const following = follow(store);
    await store.claim(endpoint(M1, V1, A), BLUE);
    await following.until(() => following.answer(A) !== null);
    await store.claim(endpoint(M2, V2, A), { ...BLUE, takeover: true });
    assert.deepEqual(await store.lookup(l3(A)), { mac: M2, vtep: V2 });
    assert.equal(await store.lookup(l2(M1)), null, 'its MAC address has no other address');
    await following.until(() => following.answer(A)?.vtep === V2);
    assert.equal(following.gaps(A), 0, 'the address was without an answer meanwhile');
    await following.stop();
    await store.withdraw(endpoint(M1, V1, A), BLUE);
    assert.deepEqual(await store.lookup(l3(A)), { mac: M2, vtep: V2 }, 'the loser withdraws what is not its own');
    await assert.rejects(store.claim(endpoint(M1, V1, A), BLUE), conflictWith({ ip: A, mac: M2, vtep: V2 }));
  });

  add('a takeover leaves the other addresses of who loses one', async (store) => {
    await store.claim(endpoint(M1, V1, A, B), BLUE);
    await store.claim(endpoint(M2, V2, A), { ...BLUE, takeover: true });
    assert.deepEqual(await store.lookup(l3(B)), { mac: M1, vtep: V1 });
    assert.deepEqual(await store.lookup(l3(A)), { mac: M2, vtep: V2 });
  });

  add('a takeover of a MAC address takes all that was reached by it', async (store) => {
    await store.claim(endpoint(M1, V1, A, B), BLUE);
    await store.claim(endpoint(M1, V2, A), { ...BLUE, takeover: true });
    assert.deepEqual(await store.lookup(l3(A)), { mac: M1, vtep: V2 });
    assert.equal(await store.lookup(l3(B)), null, 'it was an address of the host that lost the MAC address');
    assert.deepEqual(
      (await store.list(BLUE)).map(({ ips, vtep }) => [ips, vtep]),
      [[[A], V2]],
    );
  });

  add('a takeover of several holders at once is one step', async (store) => {
    await store.claim(endpoint(M1, V1, A), BLUE);
    await store.claim(endpoint(M2, '10.0.0.3', B), BLUE);
    const taken = endpoint(M3, V2, A, B);
    await store.claim(taken, { ...BLUE, takeover: true });
    assert.equal(await isWhole(store, taken), true);
    assert.equal((await store.list(BLUE)).length, 1);
  });

  add('a claim that expects a revision is refused once anything is newer', async (store) => {
    const one = endpoint(M1, V1, A);
    const { revision } = await store.claim(one, { ...BLUE, expect: 0n });
    await assert.rejects(store.claim(one, { ...BLUE, expect: 0n }), conflictWith({ ip: A, mac: M1, vtep: V1 }));
    await assert.rejects(store.claim(one, { ...BLUE, expect: revision - 1n }), code('OVERNS_CONFLICT'));
    await store.claim(one, { ...BLUE, expect: revision });
    const rival = endpoint(M2, V2, A);
    const { holder } = (await store.claim(rival, BLUE).catch((error: unknown) => error)) as { holder: Holder };
    assert.equal(holder.revision, revision);
    const moved = await store.claim(endpoint(M1, '10.0.0.3', A), { ...BLUE, takeover: true, expect: revision });
    await assert.rejects(
      store.claim(rival, { ...BLUE, takeover: true, expect: holder.revision }),
      conflictWith({ ip: A, mac: M1, vtep: '10.0.0.3' }),
    );
    await store.claim(rival, { ...BLUE, takeover: true, expect: moved.revision });
    assert.deepEqual(await store.lookup(l3(A)), { mac: M2, vtep: V2 });
  });

  add('what is no claim is refused, an aborted one does nothing', async (store) => {
    const one = endpoint(M1, V1, A);
    await assert.rejects(store.claim(endpoint('x', V1, A), BLUE), code('ERR_INVALID_ARG_VALUE'));
    await assert.rejects(store.claim(one, { ...BLUE, expect: 1 as never }), code('ERR_INVALID_ARG_TYPE'));
    await assert.rejects(store.claim(one, { ...BLUE, takeOver: true } as never), code('ERR_INVALID_ARG_VALUE'));
    await assert.rejects(store.claim(one, { ...BLUE, lease: {} as never }), code('ERR_INVALID_ARG_TYPE'));
    const signal = AbortSignal.abort('enough');
    await assert.rejects(store.claim(one, { ...BLUE, signal }), code('ABORT_ERR'));
    await assert.rejects(store.list({ ...BLUE, signal }), code('ABORT_ERR'));
    assert.deepEqual(await store.list(BLUE), []);
    await store.claim(one, BLUE);
    await assert.rejects(store.claim(one, RED), code('OVERNS_SCOPE'));
    await store.close();
    await assert.rejects(store.claim(one, BLUE), code('OVERNS_CLOSED'));
    await assert.rejects(store.list(BLUE), code('OVERNS_CLOSED'));
  });

  add('claims and withdrawals of one endpoint at once leave all of it or nothing', async (store) => {
    const one = endpoint(M1, V1, A, C6);
    for (let at = 0; at < 10; at++) await Promise.all([store.claim(one, BLUE), store.withdraw(one, BLUE)]);
    await isWhole(store, one);
  });

  add('takeovers that go back and forth at once leave one endpoint, whole', async (store) => {
    const rivals = [endpoint(M1, V1, A, C6), endpoint(M2, V2, A, C6), endpoint(M1, '10.0.0.3', A, C6)];
    const moves = [...Array(12)].map((_, at) => store.claim(rivals[at % 3] as Endpoint, { ...BLUE, takeover: true }));
    await Promise.all(moves);
    const [one, ...more] = await store.list(BLUE);
    assert.deepEqual([more, [...(one?.ips ?? [])].sort()], [[], [A, C6]]);
    assert.equal(await isWhole(store, one as Endpoint), true);
  });

  if (!shared) return;
  add('a client that goes in the middle of its claims leaves each of them whole or not there', async (store, url) => {
    const all = Array.from({ length: 30 }, (_, at) =>
      endpoint(`02:00:00:00:0b:${10 + at}`, V1, `192.168.6.${1 + at}`, `fd00::6:${1 + at}`),
    );
    for (const waitMs of [1, 3, 8]) {
      const client = await openStore(url);
      const claims = Promise.allSettled(all.map((one) => client.claim(one, BLUE)));
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      await client.close();
      await claims;
      for (const one of all) await isWhole(store, one);
      await Promise.all(all.map((one) => store.withdraw(one, BLUE)));
    }
  });
}
