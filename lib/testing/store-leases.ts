/** The duties of every driver that has lease(). */
import assert from 'node:assert/strict';
import { openStore } from '../store/index.js';
import { Interest } from '../store/interest.js';
import { byMac, type CaseContext, conflictWith } from './store-claims.js';
import { A, B, BLUE, C6, code, endpoint, Follower, l2, l3, M1, M2, M3, V1, V2 } from './store-follower.js';

export function leaseCases({ add, follow, shared, patienceMs, outage }: CaseContext): void {
  add('a lease takes with it what was claimed under it, and nothing else', async (store) => {
    const following = follow(store);
    const [one, other] = [await store.lease({ name: 'host-1' }), await store.lease({ name: 'host-2' })];
    assert.notEqual(one.id, other.id);
    await store.claim(endpoint(M1, V1, A, C6), { ...BLUE, lease: one });
    await store.claim(endpoint(M2, V2, B), { ...BLUE, lease: other });
    await store.claim(endpoint(M3, V1, '192.168.0.9'), BLUE);
    assert.deepEqual(
      byMac(await store.list(BLUE)).map(({ mac, lease }) => [mac, lease]),
      [
        [M1, one.id],
        [M2, other.id],
        [M3, undefined],
      ],
    );
    await following.until(() => following.known === 4);
    await one.close();
    for (const query of [l3(A), l3(C6), l2(M1)]) assert.equal(await store.lookup(query), null);
    await following.until(() => following.known === 2 && following.answer(A) === null);
    assert.deepEqual(await store.lookup(l3(B)), { mac: M2, vtep: V2 });
    assert.deepEqual(await store.lookup(l2(M3)), { mac: M3, vtep: V1 });
    assert.deepEqual([one.lost.aborted, other.lost.aborted], [false, false], 'nobody but its holder has ended it');
    await one.close();
    await following.stop();
    await other.close();
  });

  add('a watch tells what has gone with its lease from what was withdrawn', async (store) => {
    const [ending, living] = [await store.lease({ name: 'host-1' }), await store.lease({ name: 'host-2' })];
    await store.claim(endpoint(M1, V1, A), { ...BLUE, lease: ending });
    const following = follow(store);
    await following.until(() => following.known === 1);
    // Also of what comes under its lease later, and of what comes under another one.
    await store.claim(endpoint(M2, V1, B), { ...BLUE, lease: ending });
    await store.claim(endpoint(M3, V1, C6), { ...BLUE, lease: ending });
    await store.claim(endpoint(M3, V1, C6), { ...BLUE, lease: living });
    await following.until(() => following.known === 3);
    await ending.close();
    await following.until(() => following.known === 1);
    await store.withdraw(endpoint(M3, V1, C6), BLUE);
    await following.until(() => following.known === 0);
    await following.stop();
    const gone = following.told.flatMap((change) => (change.kind === 'delete' ? [change] : []));
    for (const ip of [A, B]) assert.equal(gone.find((change) => change.ip === ip)?.expired, true, `of ${ip}`);
    assert.notEqual(gone.find((change) => change.ip === C6)?.expired, true);
    await living.close();
  });

  add('single addresses whose lease ends are told to have expired, those that are withdrawn are not', async (store) => {
    if (store.watchOnly === undefined) return;
    const [ending, living] = [await store.lease({ name: 'host-1' }), await store.lease({ name: 'host-2' })];
    await store.claim(endpoint(M1, V1, A), { ...BLUE, lease: ending });
    await store.claim(endpoint(M2, V1, B), { ...BLUE, lease: living });
    const following = new Follower(store, BLUE, patienceMs, new Interest([A, B]));
    await following.until(() => following.known === 2);
    await ending.close();
    await following.until(() => following.answer(A) === null);
    await store.withdraw(endpoint(M2, V1, B), BLUE);
    await following.until(() => following.answer(B) === null);
    await following.stop();
    const gone = (ip: string) => following.told.find((change) => change.kind === 'delete' && change.ip === ip);
    const expired = [A, B].map((ip) => (gone(ip) as { expired?: boolean } | undefined)?.expired === true);
    assert.deepEqual(expired, [true, false]);
    await living.close();
  });

  add("a conflict names the holder's lease", async (store) => {
    await using lease = await store.lease({ name: 'host-1' });
    await store.claim(endpoint(M1, V1, A), { ...BLUE, lease });
    const holder = { mac: M1, vtep: V1, lease: lease.id };
    await assert.rejects(store.claim(endpoint(M2, V2, A), BLUE), conflictWith({ ip: A, ...holder }));
    await assert.rejects(store.claim(endpoint(M1, V2, B), BLUE), conflictWith(holder));
  });

  add(
    'a plain endpoint of the same host comes under the lease that claims it, one of another host does not',
    async (store) => {
      await store.publish(endpoint(M1, V1, A), BLUE);
      await store.publish(endpoint(M2, V2, B), BLUE);
      const lease = await store.lease({ name: 'host-1' });
      await store.claim(endpoint(M1, V1, A), { ...BLUE, lease });
      await assert.rejects(
        store.claim(endpoint(M2, V1, B), { ...BLUE, lease }),
        conflictWith({ ip: B, mac: M2, vtep: V2 }),
      );
      await lease.close();
      assert.equal(await store.lookup(l3(A)), null);
      assert.deepEqual(await store.lookup(l3(B)), { mac: M2, vtep: V2 });
    },
  );

  add('what is claimed without a lease stays under the one that it has', async (store) => {
    const lease = await store.lease({ name: 'host-1' });
    const { revision } = await store.claim(endpoint(M1, V1, A), { ...BLUE, lease });
    assert.deepEqual(await store.claim(endpoint(M1, V1, A), BLUE), { revision });
    assert.deepEqual(await store.claim(endpoint(M1, V1, A), { ...BLUE, lease }), { revision });
    assert.equal((await store.list(BLUE))[0]?.lease, lease.id);
    await lease.close();
    assert.equal(await store.lookup(l3(A)), null);
  });

  add("a host's next lease has what it claims anew, and the old one takes it no more", async (store) => {
    const [old, next] = [await store.lease({ name: 'host-1' }), await store.lease({ name: 'host-1' })];
    await store.claim(endpoint(M1, V1, A, C6), { ...BLUE, lease: old });
    await store.claim(endpoint(M2, V1, B), { ...BLUE, lease: old });
    await store.claim(endpoint(M1, V1, A, C6), { ...BLUE, lease: next });
    await old.close();
    for (const query of [l3(A), l3(C6), l2(M1)]) assert.deepEqual(await store.lookup(query), { mac: M1, vtep: V1 });
    assert.equal(await store.lookup(l3(B)), null);
    await next.close();
    assert.equal(await store.lookup(l3(A)), null);
  });

  add('a host that has another VTEP moves what it holds under its lease', async (store) => {
    const lease = await store.lease({ name: 'host-1' });
    await store.claim(endpoint(M1, V1, A), { ...BLUE, lease });
    await store.claim(endpoint(M1, V2, A), { ...BLUE, lease });
    assert.deepEqual(await store.lookup(l3(A)), { mac: M1, vtep: V2 });
    await lease.close();
    assert.equal(await store.lookup(l2(M1)), null);
  });

  add('a takeover is from one lease to the other, or to none', async (store) => {
    const [loser, winner] = [await store.lease({ name: 'host-1' }), await store.lease({ name: 'host-2' })];
    await store.claim(endpoint(M1, V1, A), { ...BLUE, lease: loser });
    await store.claim(endpoint(M2, V1, B), { ...BLUE, lease: loser });
    await store.claim(endpoint(M1, V2, A), { ...BLUE, lease: winner, takeover: true });
    await store.claim(endpoint(M3, V2, B), { ...BLUE, takeover: true });
    await loser.close();
    assert.deepEqual(await store.lookup(l3(A)), { mac: M1, vtep: V2 });
    assert.deepEqual(await store.lookup(l3(B)), { mac: M3, vtep: V2 });
    await winner.close();
    assert.equal(await store.lookup(l3(A)), null);
    assert.deepEqual(
      (await store.list(BLUE)).map(({ mac, lease }) => [mac, lease]),
      [[M3, undefined]],
    );
  });

  add('what is published over a leased endpoint is plain, and outlives the lease', async (store) => {
    const lease = await store.lease({ name: 'host-1' });
    await store.claim(endpoint(M1, V1, A, B), { ...BLUE, lease });
    await store.publish(endpoint(M1, V2, A, B), BLUE);
    await lease.close();
    for (const ip of [A, B]) assert.deepEqual(await store.lookup(l3(ip)), { mac: M1, vtep: V2 });
    assert.equal((await store.list(BLUE))[0]?.lease, undefined);
  });

  add('what is withdrawn from under a lease is gone, and the lease is good for others', async (store) => {
    await using lease = await store.lease({ name: 'host-1' });
    await store.claim(endpoint(M1, V1, A), { ...BLUE, lease });
    await store.withdraw(endpoint(M1, V1, A), BLUE);
    assert.deepEqual(await store.list(BLUE), []);
    await store.claim(endpoint(M2, V1, A), { ...BLUE, lease });
    assert.deepEqual(await store.lookup(l3(A)), { mac: M2, vtep: V1 });
  });

  add('a lease that was closed, or of another store, takes no claims; what is none is refused', async (store, url) => {
    const lease = await store.lease({ name: 'host-1', ttlMs: 60_000 });
    assert.ok(lease.ttlMs >= 60_000, `${lease.ttlMs} ms`);
    const other = await openStore(url);
    const foreign = await other.lease({ name: 'host-2' });
    await assert.rejects(store.claim(endpoint(M1, V1, A), { ...BLUE, lease: foreign }), code('ERR_INVALID_ARG_VALUE'));
    await foreign.close();
    await other.close();
    await lease.close();
    await assert.rejects(store.claim(endpoint(M1, V1, A), { ...BLUE, lease }), code('OVERNS_LEASE'));
    assert.equal(await store.lookup(l3(A)), null);
    for (const bad of [{ name: '' }, { name: 'a b' }, { name: 'x', ttlMs: 1 }, { name: 'x', ttl: 9 }]) {
      await assert.rejects(store.lease(bad as never), code('ERR_INVALID_ARG_VALUE'));
    }
    const signal = AbortSignal.abort('enough');
    await assert.rejects(store.lease({ name: 'host-1', signal }), code('ABORT_ERR'));
    await store.close();
    await assert.rejects(store.lease({ name: 'host-1' }), code('OVERNS_CLOSED'));
  });

  if (!shared) return;
  add(
    'what its holder leaves without a word goes in time; what is renewed stays, through an outage too',
    async (store, url) => {
      const kept = await store.lease({ name: 'host-1', ttlMs: 1000 });
      await store.claim(endpoint(M1, V1, A), { ...BLUE, lease: kept });
      const dying = await openStore(url);
      const left = await dying.lease({ name: 'host-2', ttlMs: 1000 });
      await dying.claim(endpoint(M2, V2, B, C6), { ...BLUE, lease: left });
      await dying.close();
      const leftAt = performance.now();
      const following = follow(store);
      await following.until(() => following.known === 3);
      await following.stop();
      // Longer than it takes to the next renewal, shorter than the lease.
      const end = await outage?.();
      await new Promise((resolve) => setTimeout(resolve, kept.ttlMs * 0.4));
      await end?.();
      let gone = false;
      while (!gone && performance.now() - leftAt < 2 * left.ttlMs + patienceMs) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        gone = (await store.lookup(l3(B))) === null;
      }
      const took = performance.now() - leftAt;
      assert.ok(gone, `it is still there after ${took} ms`);
      for (const query of [l3(C6), l2(M2)]) assert.equal(await store.lookup(query), null, 'half of it is there');
      assert.ok(took > left.ttlMs * 0.9, `it went after ${took} ms of ${left.ttlMs}`);
      // A lease that was not renewed is gone by then.
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, 2.2 * kept.ttlMs - (performance.now() - leftAt))));
      assert.equal(kept.lost.aborted, false);
      assert.deepEqual(await store.lookup(l3(A)), { mac: M1, vtep: V1 });
      await kept.close();
      assert.equal(await store.lookup(l3(A)), null);
    },
  );
}
