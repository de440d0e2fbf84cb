/** Single addresses followed in Consul, by the journal that overns writes and by looking. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { type Endpoint, Interest, type OwnedStore, openStore } from '../../lib/index.js';
import { JournalReader } from '../../lib/store/consul/journal.js';
import { recordsOf } from '../../lib/store/index.js';
import type { StoredPair } from '../../lib/store/prefix-records.js';
import { Follower } from '../../lib/testing/store-follower.js';
import { onCleanup } from '../support/cleanup.js';
import { Consul } from '../support/consul.js';
import { until } from '../support/overlay.js';
import { Relay } from '../support/relay.js';
import { describeWith } from '../support/requirements.js';

const where = { overlay: 'blue', vni: 42 };
const VTEP = '10.0.0.10';
const VTEP2 = '10.0.0.11';
const PATIENCE_MS = 30_000;
const numbered = (n: number, vtep = VTEP): Endpoint => {
  const ip = `10.1.${n >> 8}.${n & 255}`;
  const hex = (part: number): string => part.toString(16).padStart(2, '0');
  return { ip, ips: [ip], mac: `02:42:0a:01:${hex(n >> 8)}:${hex(n & 255)}`, vtep };
};
const answer = ({ mac, vtep }: Endpoint) => ({ mac, vtep });

const opened: OwnedStore[] = [];
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
});

async function open(url: string, options: Parameters<typeof openStore>[1] = {}): Promise<OwnedStore> {
  const store = await openStore(url, options);
  opened.push(store);
  return store;
}

/** Follows addresses until the test ends. */
async function follow(store: OwnedStore, interest: Interest, of = where): Promise<Follower> {
  const following = new Follower(store, of, PATIENCE_MS, interest);
  await following.until(({ first }) => first?.kind === 'reset');
  return following;
}

test('whoever reads a journal knows where something is missing', () => {
  const pair = (slot: number, revision: number, text: string): StoredPair => ({
    key: `demo.changes/${slot}`,
    value: Buffer.from(text),
    revision: BigInt(revision),
    lease: undefined,
  });
  const reader = new JournalReader();
  const names = (...pairs: StoredPair[]) => reader.take(pairs)?.map(({ addresses }) => addresses.join());
  expect(names()).toEqual([]);
  expect(names(pair(0, 1, 'aa\n1 . a'))).toEqual(['a']);
  expect(names(pair(0, 1, 'aa\n1 . a'))).toEqual([]);
  expect(names(pair(0, 3, 'aa\n1 . a\n2 . b\n3 . c'), pair(1, 2, 'bb\n1 . d'))).toEqual(['b', 'c', 'd']);
  const still = pair(1, 2, 'bb\n1 . d');
  // The fourth is gone; then all goes on.
  expect(names(pair(0, 5, 'aa\n5 . f'), still)).toBeUndefined();
  expect(names(pair(0, 6, 'aa\n5 . f\n6 . g'), still)).toEqual(['g']);
  // Another series, which may have begun before or after what was seen; one that goes back; none; no text of a journal.
  expect(names(pair(0, 7, 'cc\n7 . h'), still)).toBeUndefined();
  expect(names(pair(0, 8, 'cc\n6 . h'), still)).toBeUndefined();
  expect(names(still)).toBeUndefined();
  expect(names(still, pair(2, 9, 'dd\n2 . i'))).toBeUndefined();
  for (const bad of ['', 'AA\n1 . a', 'aa', 'aa\n1 .', 'aa\n1 . a\n3 . b', 'aa\nx . a']) {
    expect(names(still, pair(2, 10 + bad.length, bad)), JSON.stringify(bad)).toBeUndefined();
  }
});

/** The requests that a relay passes on, as their first lines. */
function requests(relay: Relay): string[] {
  const lines: string[] = [];
  relay.heard = (bytes) => {
    const [first = ''] = bytes.toString('latin1').split('\r\n');
    if (/^(GET|PUT) /.test(first)) lines.push(first);
  };
  return lines;
}

describeWith(['consul'], 'addresses that are followed in Consul', () => {
  let consul: Consul;
  let count = 0;
  let prefix: string;
  const url = (at = `127.0.0.1:${consul.port}`): string => `consul://${at}/${prefix}`;
  const fresh = (): string => {
    prefix = `j${++count}`;
    return url();
  };
  const slots = async (): Promise<string[]> =>
    Promise.all((await consul.keys(`${prefix}.changes/`)).map(async (key) => (await consul.get(key)) ?? ''));

  beforeAll(async () => {
    consul = await Consul.start();
  });

  test('a change is noted in the transaction that makes it, and only what is followed is read', async () => {
    const store = await open(fresh());
    await store.publish(numbered(1), where);
    const relay = await Relay.start(consul.port);
    const asked = requests(relay);
    const following = await follow(await open(url(relay.at)), new Interest([numbered(1).ip]));
    await until(() => asked.some((line) => line.includes('index=')), 'the question that waits');
    asked.splice(0);
    for (let n = 2; n < 12; n++) await store.publish(numbered(n), where);
    await store.publish(numbered(1, VTEP2), where);
    await following.until(() => following.answer(numbered(1).ip)?.vtep === VTEP2);
    expect(asked.filter((line) => line.includes('recurse') && !line.includes(`${prefix}.changes/`))).toEqual([]);
    // For this one, and maybe once more in turn.
    expect(asked.filter((line) => line.startsWith('PUT /v1/txn')).length).toBeLessThan(4);
    const noted = (await slots()).join('\n');
    for (let n = 1; n < 12; n++)
      expect(noted).toMatch(new RegExp(`^\\d+ \\. ${numbered(n).mac} ${numbered(n).ip}$`, 'm'));
    expect(await consul.keys(`${prefix}/`)).toHaveLength(22);
    await following.stop();
  });

  test('what another tool writes or deletes, and what is noted by nobody, is found by looking', async () => {
    const store = await open(fresh());
    await store.publish(numbered(1), where);
    const following = await follow(store, new Interest([1, 2].map((n) => numbered(n).ip)));
    await consul.putEndpoint(prefix, numbered(2));
    await consul.put(`${prefix}/fib/${numbered(1).mac}`, VTEP2);
    await following.until(() => following.answer(numbered(1).ip)?.vtep === VTEP2 && following.known === 2);
    await consul.delete(`${prefix}/arp/${numbered(2).ip}`);
    await following.until(() => following.known === 1);
    await following.stop();
  });

  test('records that are looked after by hand are noted as well', async () => {
    const store = await open(fresh());
    await store.publish(numbered(1), where);
    await recordsOf(store).put('fib', numbered(1).mac, VTEP2);
    await recordsOf(store).delete('arp', numbered(1).ip);
    const noted = (await slots()).join('\n');
    expect(noted).toMatch(new RegExp(`^\\d+ \\. ${numbered(1).mac}$`, 'm'));
    expect(noted).toMatch(new RegExp(`^\\d+ \\. ${numbered(1).ip}$`, 'm'));
  });

  test('a journal that somebody deletes, or writes into, is written and followed on', async () => {
    const store = await open(fresh());
    await store.publish(numbered(1), where);
    const following = await follow(store, new Interest([numbered(1).ip]));
    const moved = async (vtep: string): Promise<void> => {
      await store.publish(numbered(1, vtep), where);
      await following.until(() => following.answer(numbered(1).ip)?.vtep === vtep);
    };
    await consul.delete(`${prefix}.changes/`, { recurse: true });
    await moved(VTEP2);
    for (let slot = 0; slot < 8; slot++) await consul.put(`${prefix}.changes/${slot}`, 'garbage\n1 2');
    await moved(VTEP);
    await moved(VTEP2);
    expect((await slots()).filter((text) => text.includes(numbered(1).mac)).length).toBeGreaterThan(0);
    await following.stop();
  });

  test('many at once leave nothing out', async () => {
    const all = Array.from({ length: 100 }, (_, n) => numbered(n + 1));
    const store = await open(fresh());
    const others = await Promise.all(Array.from({ length: 4 }, () => open(url())));
    const following = await follow(store, new Interest(all.map(({ ip }) => ip)));
    await Promise.all(all.map((one, n) => others[n % 4]?.publish(one, where)));
    await following.until(() => following.known === all.length);
    await Promise.all(all.map((one, n) => others[n % 4]?.claim({ ...one, vtep: VTEP2 }, { ...where, takeover: true })));
    await following.until(() => all.every(({ ip }) => following.answer(ip)?.vtep === VTEP2));
    await following.stop();
  });

  test('networks of one URL share a journal, and none hears of another', async () => {
    fresh();
    const store = await open(`${url()}/{vni}`);
    const red = { overlay: 'red', vni: 43 };
    const relay = await Relay.start(consul.port);
    const asked = requests(relay);
    const other = await open(`${url(relay.at)}/{vni}`);
    const [blue, apart] = await Promise.all([
      follow(other, new Interest([numbered(1).ip])),
      follow(other, new Interest([numbered(1).ip]), red),
    ]);
    await store.publish(numbered(1), where);
    await blue.until(() => blue.known === 1);
    await store.publish(numbered(1, VTEP2), red);
    await apart.until(() => apart.known === 1);
    expect([blue.answer(numbered(1).ip), apart.answer(numbered(1).ip)]).toEqual([
      answer(numbered(1)),
      answer(numbered(1, VTEP2)),
    ]);
    expect(new Set(asked.filter((line) => line.includes('recurse')).map((line) => line.replace(/\?.*/, '')))).toEqual(
      new Set([`GET /v1/kv/${prefix}.changes/`]),
    );
    await Promise.all([blue.stop(), apart.stop()]);
  });
});

describeWith(['consul'], 'a journal that a token may not use', () => {
  test('endpoints are published without it, and followed by looking; it is said once', async () => {
    const agent = await Consul.start({ acl: true });
    const rules = 'key_prefix "demo/" { policy = "write" } session_prefix "" { policy = "write" }';
    await agent.request('PUT', '/v1/acl/policy', JSON.stringify({ Name: 'narrow', Rules: rules }));
    const made = await agent.request('PUT', '/v1/acl/token', JSON.stringify({ Policies: [{ Name: 'narrow' }] }));
    const { SecretID: token } = JSON.parse(made.body) as { SecretID: string };
    const heard: string[] = [];
    const listener = (message: unknown): void => void heard.push((message as { error: Error }).error.message);
    subscribe('overns:store:warning', listener);
    onCleanup(() => unsubscribe('overns:store:warning', listener));
    const store = await open(`consul://127.0.0.1:${agent.port}/demo`, { token });
    const lease = await store.lease({ name: 'host-1' });
    for (let n = 1; n < 4; n++) await store.claim(numbered(n), { ...where, lease });
    const following = await follow(store, new Interest([numbered(1).ip]));
    await store.publish(numbered(1, VTEP2), where);
    await following.until(() => following.answer(numbered(1).ip)?.vtep === VTEP2);
    await store.withdraw(numbered(1, VTEP2), where);
    await following.until(() => following.known === 0);
    await following.stop();
    expect(heard).toEqual([
      expect.stringContaining('the token may not write demo.changes/'),
      expect.stringContaining('the token may not read demo.changes/'),
    ]);
    await lease.close();
  });
});
