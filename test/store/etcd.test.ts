/** The etcd store against a real etcd. Losses, clusters and slow servers are in etcd-failures.test.ts. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Change, Endpoint, OwnedStore, Query } from '../../lib/store/contract.js';
import { openStore, recordsOf } from '../../lib/store/index.js';
import { storeConformance } from '../../lib/testing/index.js';
import { onCleanup } from '../support/cleanup.js';
import { Etcd } from '../support/etcd.js';
import { until } from '../support/overlay.js';
import { exec } from '../support/process.js';
import { Relay } from '../support/relay.js';
import { describeWith } from '../support/requirements.js';

const where = { overlay: 'blue', vni: 42 };
const l3 = (ip: string): Query => ({ ...where, kind: 'l3', ip });
const l2 = (mac: string): Query => ({ ...where, kind: 'l2', mac });
const IP = '192.168.0.2';
const MAC = '02:42:c0:a8:00:02';
const MAC2 = '02:42:c0:a8:00:99';
const VTEP = '10.0.0.10';
const VTEP2 = '10.0.0.11';
const endpoint = (mac: string, vtep: string, ...ips: string[]): Endpoint => ({ ip: ips[0] as string, ips, mac, vtep });

let etcd: Etcd;
let prefix: string;
let prefixes = 0;

/** A store of its own for one test. */
async function open(): Promise<OwnedStore> {
  prefix = `t${++prefixes}`;
  const store = await openStore(`etcd://${etcd.at}/${prefix}`);
  onCleanup(() => store.close());
  return store;
}

/** Writes a key below the test's prefix, as etcdctl would. */
const put = (key: string, value: string | Buffer): Promise<void> => etcd.put(`${prefix}/${key}`, value);

/** Follows a store's changes one by one. */
function follow(store: OwnedStore) {
  const controller = new AbortController();
  const changes = store.watch({ signal: controller.signal })[Symbol.asyncIterator]();
  onCleanup(() => controller.abort());
  return { changes, next: async (): Promise<Change> => (await changes.next()).value as Change };
}

const failure = async (call: unknown): Promise<Error & { code?: string; hint?: string }> =>
  Promise.resolve(call).then(
    (result) => new Error(`it succeeded: ${JSON.stringify(result)}`),
    (error) => error,
  );

afterEach(() => {
  vi.unstubAllEnvs();
});

describeWith(['etcd'], 'etcd', () => {
  beforeAll(async () => {
    etcd = await Etcd.start();
  });

  describe('what every driver does', () => {
    const outage = async () => {
      process.kill(etcd.pid, 'SIGSTOP');
      return () => void process.kill(etcd.pid, 'SIGCONT');
    };
    const fresh = (): string => `etcd://${etcd.at}/t${++prefixes}`;
    const cases = storeConformance({ url: fresh, urlByVni: () => `${fresh()}/{vni}`, outage });
    test.each(cases)('$name', ({ run }) => run());
  });

  describe('claims', () => {
    test('records and leases are as etcdctl shows them, and a lease is granted once though the answer is lost', async () => {
      const relay = await Relay.start(etcd.port);
      const leases = async () =>
        (await etcd.etcdctl('lease', 'list')).stdout.split('\n').filter((id) => /^[\da-f]{16}$/.test(id));
      const before = await leases();
      prefix = `t${++prefixes}`;
      await using store = await openStore(`etcd://${relay.at}/${prefix}`);
      await store.list();
      relay.delayMs = 5000;
      const granting = store.lease({ name: 'docker0', ttlMs: 30_500 });
      await until(async () => (await leases()).length > before.length, 'the lease');
      relay.delayMs = 0;
      relay.cut();
      await using lease = await granting;
      expect(lease.ttlMs).toBe(31_000);
      expect((await leases()).filter((id) => !before.includes(id))).toEqual([lease.id]);
      await store.claim(endpoint(MAC, VTEP, IP), { lease });
      expect((await recordsOf(store).list()).map((record) => record.lease)).toEqual([lease.id, lease.id]);
      expect([await etcd.get(`${prefix}/arp/${IP}`), await etcd.get(`${prefix}/fib/${MAC}`)]).toEqual([MAC, VTEP]);
      const { stdout } = await etcd.etcdctl('lease', 'timetolive', lease.id, '--keys');
      // In the order of a map of Go's, which is none.
      const attached = /attached keys\(\[(.*)\]\)/.exec(stdout)?.[1]?.split(' ').sort();
      expect(attached).toEqual([`${prefix}/arp/${IP}`, `${prefix}/fib/${MAC}`]);
    });

    test('a lease that an operator revokes takes its records; the next claim tells, or the next renewal', async () => {
      const store = await open();
      const [claims, waits] = [await store.lease({ name: 'a' }), await store.lease({ name: 'b', ttlMs: 1000 })];
      await store.claim(endpoint(MAC, VTEP, IP), { lease: claims });
      for (const { id } of [claims, waits]) await etcd.etcdctl('lease', 'revoke', id);
      expect(await store.lookup(l3(IP))).toBeNull();
      const refused = await failure(store.claim(endpoint(MAC, VTEP, IP), { lease: claims }));
      expect(refused).toMatchObject({ code: 'OVERNS_LEASE', message: expect.stringContaining(claims.id) });
      expect(claims.lost.reason).toBe(refused);
      await until(() => waits.lost.aborted, 'the loss');
      expect(await failure(store.claim(endpoint(MAC, VTEP, IP), { lease: waits }))).toBe(waits.lost.reason);
      expect(await etcd.keys(`${prefix}/`)).toEqual([]);
    });

    test('what etcdctl has written is taken from nobody, half a record neither; a lease of any number is kept', async () => {
      const store = await open();
      await using lease = await store.lease({ name: 'docker0' });
      const claim = () => store.claim(endpoint(MAC, VTEP, IP), { lease });
      await etcd.ask('lease/grant', { ID: '-5', TTL: '60' });
      const id = 'fffffffffffffffb';
      const encode = (text: string) => Buffer.from(text).toString('base64');
      const under = (key: string, value: string) =>
        etcd.ask('kv/put', { key: encode(`${prefix}/${key}`), value: encode(value), lease: '-5' });
      await under(`arp/${IP}`, MAC2);
      const half = { ip: IP, mac: MAC2, lease: id, revision: expect.any(BigInt) };
      await expect(claim()).rejects.toMatchObject({ code: 'OVERNS_CONFLICT', holder: half });
      await under(`fib/${MAC2}`, VTEP2);
      await expect(claim()).rejects.toThrow(`${IP} is held by ${MAC2} at ${VTEP2}, under lease ${id}`);
      await put('arp/192.168.0.8', 'no MAC address');
      await expect(store.claim(endpoint(MAC, VTEP, '192.168.0.8'))).rejects.toMatchObject({ code: 'OVERNS_RECORD' });
      expect(await etcd.get(`${prefix}/fib/${MAC}`)).toBeUndefined();
      await store.claim(endpoint(MAC2, VTEP2, IP, '192.168.0.3'));
      expect(await store.list()).toMatchObject([{ ips: expect.arrayContaining([IP, '192.168.0.3']), lease: id }]);
      await etcd.ask('lease/revoke', { ID: '-5' });
      expect(await store.list()).toEqual([]);
    });

    test('an endpoint that is too large for a transaction is refused whole', async () => {
      const store = await open();
      const ips = Array.from({ length: 128 }, (_, at) => `192.168.7.${at + 1}`);
      await expect(store.claim(endpoint(MAC, VTEP, ...ips))).rejects.toThrow('129 operations');
      await using lease = await store.lease({ name: 'docker0' });
      await store.claim(endpoint(MAC, VTEP, ...ips.slice(1)), { lease });
      expect(await etcd.keys(`${prefix}/`)).toHaveLength(128);
      // What is there already takes no transaction.
      await store.publish(endpoint(MAC, VTEP, ...ips));
      await store.claim(endpoint(MAC, VTEP, ...ips));
    });
  });

  test('more addresses than are to be mirrored end a watch, at its beginning and later', async () => {
    const store = await open();
    await store.publish(endpoint(MAC, VTEP, IP, '192.168.0.3'));
    const many = async () => {
      for await (const _ of store.watch({ max: 1 }));
    };
    expect(await failure(many())).toMatchObject({
      code: 'OVERNS_TOO_LARGE',
      message: expect.stringContaining('than 1 '),
    });
    const changes = store.watch({ max: 2 })[Symbol.asyncIterator]();
    expect((await changes.next()).value).toMatchObject({ kind: 'reset' });
    await store.publish(endpoint(MAC2, VTEP, '192.168.0.4'));
    expect((await changes.next()).value).toMatchObject({ kind: 'put' });
    expect(await failure(changes.next())).toMatchObject({ code: 'OVERNS_TOO_LARGE' });
  });

  describe('lookup', () => {
    test('records that etcdctl wrote, with the MAC of the IP or another one', async () => {
      const store = await open();
      await etcd.putEndpoint(prefix, { ip: IP, mac: MAC, vtep: VTEP });
      await etcd.etcdctl('put', `${prefix}/arp/192.168.0.3`, `${MAC2.toUpperCase()}\n`);
      await etcd.etcdctl('put', `${prefix}/fib/${MAC2}`, 'FD00:0::1 ');
      expect(await store.lookup(l3(IP))).toEqual({ mac: MAC, vtep: VTEP });
      expect(await store.lookup(l3('192.168.0.3'))).toEqual({ mac: MAC2, vtep: 'fd00::1' });
      expect(await store.lookup(l2(MAC2))).toEqual({ mac: MAC2, vtep: 'fd00::1' });
      expect(await store.lookup(l3('192.168.0.20'))).toBeNull();
    });

    test.each([MAC, MAC2])('an arp record without its fib record says what is missing: %s', async (mac) => {
      const store = await open();
      await put(`arp/${IP}`, mac);
      expect(await failure(store.lookup(l3(IP)))).toMatchObject({
        code: 'OVERNS_RECORD',
        message: `record ${prefix}/arp/${IP} in etcd://${etcd.at}: it names ${mac}, of which there is no record`,
        hint: expect.stringContaining(`${prefix}/fib/${mac}`),
      });
    });

    test.each([
      ['arp', 'a word', 'zz', '"zz" is not a MAC address'],
      ['arp', 'nothing', '', 'empty'],
      ['arp', '1 MiB', Buffer.alloc(2 ** 20, 'a'), 'value of 1048576 bytes, "aaaa'],
      ['arp', 'control characters', Buffer.from([0, 0x1b, 0x5b, 0x32, 0x4a, 0xff]), '\\u0000\\u001b[2J'],
      ['fib', 'a multicast address', '239.1.1.1', 'multicast'],
      ['fib', 'bytes that are no text', Buffer.from([0xff, 0xfe]), 'is not an IP address'],
    ])('garbage: %s holds %s', async (kind, _, value, problem) => {
      const store = await open();
      await etcd.putEndpoint(prefix, { ip: IP, mac: MAC, vtep: VTEP });
      const key = kind === 'arp' ? `arp/${IP}` : `fib/${MAC}`;
      await put(key, value);
      const error = await failure(store.lookup(l3(IP)));
      expect(error).toMatchObject({ code: 'OVERNS_RECORD', hint: expect.stringContaining('delete the record') });
      expect(error.message).toContain(`${prefix}/${key} in etcd://`);
      expect(error.message).toContain(problem);
    });

    test('a reader sees both records or none, also of a MAC that is not the IP’s', async () => {
      const store = await open();
      const one = endpoint(MAC2, VTEP, IP);
      let writing = true;
      const writer = (async () => {
        for (let round = 0; round < 60; round++) {
          await store.publish(one);
          await store.withdraw(one);
        }
        writing = false;
      })();
      let found = 0;
      while (writing) if ((await store.lookup(l3(IP)))?.vtep === VTEP) found++;
      await writer;
      expect(found).toBeGreaterThan(0);
    });
  });

  describe('publish and withdraw', () => {
    test('what etcdctl reads', async () => {
      const store = await open();
      await store.publish(endpoint(MAC, 'FD00:AA::1', IP, 'FD00:0::2'));
      const { stdout } = await etcd.etcdctl('get', '--prefix', `${prefix}/`);
      expect(stdout.trim().split('\n')).toEqual(
        [
          [`arp/${IP}`, MAC],
          ['arp/fd00::2', MAC],
          [`fib/${MAC}`, 'fd00:aa::1'],
        ].flatMap(([key, value]) => [`${prefix}/${key}`, value]),
      );
    });

    test('more addresses than one transaction takes', async () => {
      const store = await open();
      const ips = Array.from({ length: 300 }, (_, n) => `10.1.${n >> 7}.${(n & 127) + 1}`);
      const one = endpoint(MAC, VTEP, ...ips);
      await store.publish(one);
      expect(await etcd.keys(`${prefix}/`)).toHaveLength(301);
      await store.withdraw(one);
      expect(await etcd.keys(`${prefix}/`)).toEqual([]);
    });

    test('withdrawing half a record removes that half, and leaves garbage alone', async () => {
      const store = await open();
      await put(`arp/${IP}`, MAC);
      await put('arp/192.168.0.9', 'garbage');
      await store.withdraw(endpoint(MAC, VTEP, IP, '192.168.0.9'));
      expect(await etcd.keys(`${prefix}/`)).toEqual([`${prefix}/arp/192.168.0.9`]);
    });

    test('a withdrawal that races a move never removes the new record', async () => {
      const store = await open();
      const old = endpoint(MAC, VTEP, IP);
      for (let round = 0; round < 40; round++) {
        await store.publish(old);
        await Promise.all([
          store.withdraw(old),
          sleep(Math.random() * 4).then(() => store.publish(endpoint(MAC, VTEP2, IP))),
        ]);
        expect(await store.lookup(l3(IP))).toEqual({ mac: MAC, vtep: VTEP2 });
      }
    });
  });

  describe('watch', () => {
    test('each change in the order and with the revision of etcd, of hands and transactions', async () => {
      const store = await open();
      await store.publish(endpoint(MAC, VTEP, IP));
      const { next } = follow(store);
      const reset = await next();
      expect(reset).toMatchObject({ kind: 'reset', endpoints: [endpoint(MAC, VTEP, IP)] });
      await etcd.putEndpoint(prefix, { ip: '192.168.0.3', mac: MAC2, vtep: VTEP2 });
      await store.publish(endpoint(MAC, VTEP2, IP));
      await store.publish(endpoint(MAC2, VTEP2, IP));
      await store.withdraw(endpoint(MAC2, VTEP2, IP, '192.168.0.3'));
      const told = [await next(), await next(), await next(), await next(), await next()];
      expect(told).toMatchObject([
        { kind: 'put', endpoint: endpoint(MAC2, VTEP2, '192.168.0.3'), index: reset.index + 2n },
        { kind: 'put', endpoint: endpoint(MAC, VTEP2, IP), index: reset.index + 3n },
        { kind: 'put', endpoint: endpoint(MAC2, VTEP2, '192.168.0.3', IP), index: reset.index + 4n },
        { kind: 'delete', index: reset.index + 4n },
        { kind: 'delete', mac: MAC2, index: reset.index + 5n },
      ]);
    });

    test('from a revision it resumes with what came since, until that is compacted', async () => {
      const store = await open();
      await store.publish(endpoint(MAC, VTEP, IP));
      const { index: from } = await follow(store).next();
      await store.withdraw(endpoint(MAC, VTEP, IP));
      await store.publish(endpoint(MAC2, VTEP, IP));
      const changes = store.watch({ from })[Symbol.asyncIterator]();
      const next = async () => (await changes.next()).value as Change;
      expect([await next(), await next(), await next()]).toMatchObject([
        { kind: 'resume', index: from },
        { kind: 'delete', ip: IP, mac: MAC, index: from + 1n },
        { kind: 'put', endpoint: endpoint(MAC2, VTEP, IP), index: from + 2n },
      ]);
      await changes.return?.();
      await etcd.compact();
      for (const forgotten of [from, 0n, 2n ** 63n - 1n, 2n ** 64n - 1n]) {
        const again = store.watch({ from: forgotten })[Symbol.asyncIterator]();
        expect((await again.next()).value).toMatchObject({ kind: 'reset', endpoints: [endpoint(MAC2, VTEP, IP)] });
        await again.return?.();
      }
    });

    test('garbage, halves and strangers are left out and come in when they are right', async () => {
      const store = await open();
      await put(`arp/${IP}`, 'garbage');
      await put(`fib/${MAC}`, VTEP);
      await put('arp/', '');
      await put('arp/not-an-ip', MAC);
      const { next } = follow(store);
      expect(await next()).toMatchObject({ kind: 'reset', endpoints: [] });
      await put('arp/FD00::2', MAC);
      await put(`arp/${IP}`, MAC);
      expect(await next()).toMatchObject({ kind: 'put', endpoint: endpoint(MAC, VTEP, IP) });
      await put(`fib/${MAC}`, '224.0.0.1');
      expect(await next()).toMatchObject({ kind: 'delete', ip: IP, mac: MAC });
    });

    test('what has 25,000 records is read in pages, of one moment', async () => {
      const store = await open();
      const count = 12_500;
      const address = (n: number) => `10.${(n >> 14) + 1}.${(n >> 7) & 127}.${(n & 127) + 1}`;
      const mac = (n: number) =>
        `02:00:00:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;
      const encode = (text: string) => Buffer.from(text).toString('base64');
      for (let at = 0; at < count; at += 64) {
        const success = Array.from({ length: Math.min(64, count - at) }, (_, n) => at + n).flatMap((n) => [
          { request_put: { key: encode(`${prefix}/arp/${address(n)}`), value: encode(mac(n)) } },
          { request_put: { key: encode(`${prefix}/fib/${mac(n)}`), value: encode(VTEP) } },
        ]);
        await etcd.ask('kv/txn', { success });
      }
      const { next } = follow(store);
      const reset = (await next()) as Extract<Change, { kind: 'reset' }>;
      expect([...reset.endpoints]).toHaveLength(count);
      expect(await recordsOf(store).list()).toHaveLength(2 * count);
    });
  });

  describe('keys that are bytes', () => {
    test('whatever is listed can be deleted, and nothing else goes with it', async () => {
      const store = await open();
      const records = recordsOf(store);
      const keys = ['192.168.0.3/', 'a//b', '../arp/y', '%2e', ' ', 'ä b?c#d', '\ufffd', '\\xff', '\\', 'a\\x41'];
      const bytes = [Buffer.of(0xff), Buffer.of(0xe4, 0x20), Buffer.of(0, 1), Buffer.from([0xf0, 0x9f, 0x98])];
      for (const key of [...keys.map((key) => Buffer.from(key)), ...bytes]) {
        await etcd.put(Buffer.concat([Buffer.from(`${prefix}/arp/`), key]), MAC);
      }
      await put(`arp/${IP}`, MAC);
      await put('other/x', MAC);
      const bad = (await records.list()).filter(({ kind, problem }) => kind === 'arp' && problem !== undefined);
      expect(bad).toHaveLength(keys.length + bytes.length);
      expect(new Set(bad.map(({ key }) => key)).size).toBe(bad.length);
      expect(bad.map(({ key }) => key)).toContain('\\xe4 ');
      for (const { key } of bad) {
        expect(await records.delete('arp', key), JSON.stringify(key)).toBe(true);
        expect(await records.delete('arp', key), JSON.stringify(key)).toBe(false);
      }
      expect(await etcd.keys(`${prefix}/`)).toEqual([`${prefix}/arp/${IP}`, `${prefix}/other/x`]);
    });

    test('get, put and delete of records; what is no record is not written', async () => {
      const records = recordsOf(await open());
      expect(await records.get('arp', IP)).toBeNull();
      await records.put('arp', IP, MAC.toUpperCase());
      await records.put('fib', MAC.toUpperCase(), 'FD00:0::1');
      expect(await etcd.get(`${prefix}/arp/${IP}`)).toBe(MAC);
      expect(await records.get('fib', MAC)).toBe('fd00::1');
      await expect(records.put('arp', IP, '01:00:5e:00:00:01')).rejects.toThrow(/^value: .*multicast/);
      expect(await records.delete('arp', IP)).toBe(true);
      expect(await records.delete('arp', IP)).toBe(false);
    });

    test('keys that are no records are told of once, at the listing or when they come', async () => {
      const store = await open();
      const heard: string[] = [];
      const hear = (message: unknown) => heard.push((message as { error: Error }).error.message);
      subscribe('overns:store:warning', hear);
      onCleanup(() => unsubscribe('overns:store:warning', hear));
      const { next } = follow(store);
      await next();
      await put('note', 'x');
      await put('Arp/192.168.0.3', 'x');
      await store.publish(endpoint(MAC, VTEP, IP));
      await next();
      expect(await follow(store).next()).toMatchObject({ kind: 'reset' });
      expect(heard).toEqual([`a key is under ${prefix}/ in etcd://${etcd.at}, but not in arp/ or fib/: "note"`]);
    });
  });
});

describeWith(['etcd'], 'etcd with users', () => {
  let guarded: Etcd;
  let url: string;
  const one = endpoint(MAC, VTEP, IP);
  const as = (user: string, password = 'pw'): void => {
    vi.stubEnv('ETCDCTL_USER', user);
    vi.stubEnv('ETCDCTL_PASSWORD', password);
  };
  /** One with the users and roles that docs/operations.md says, word for word. */
  const guard = async (): Promise<Etcd> => {
    const started = await Etcd.start();
    const text = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
    const lines = text.split('\n').filter((line) => line.startsWith('etcdctl '));
    expect(lines.length).toBeGreaterThan(5);
    for (const line of lines) await started.etcdctl(...line.replaceAll('PASSWORD', 'pw').split(' ').slice(1));
    return started;
  };

  beforeAll(async () => {
    guarded = await guard();
    url = `etcd://${guarded.at}/demo`;
  });

  test('who may only read serves; who may write attaches; each nothing beyond', async () => {
    as('attach');
    await using writer = await openStore(url);
    await writer.publish(one);
    as('agent');
    await using reader = await openStore(url);
    expect(await reader.lookup(l3(IP))).toEqual({ mac: MAC, vtep: VTEP });
    const { next } = follow(reader);
    expect(await next()).toMatchObject({ kind: 'reset', endpoints: [one] });
    const error = await failure(reader.publish(one));
    expect(error).toMatchObject({ code: 'OVERNS_STORE', hint: expect.stringMatching(/write .*grant-permission/) });
    expect(error.message).toMatch(/publishing 192\.168\.0\.2: answered 403: .*permission denied/);
    await expect(reader.withdraw(one)).rejects.toThrow('permission denied');
    await writer.withdraw(one);
    expect(await next()).toMatchObject({ kind: 'delete', ip: IP });
    await recordsOf(writer).put('arp', IP, MAC);
    await recordsOf(writer).delete('arp', IP);
    const lease = await writer.lease({ name: 'docker0', ttlMs: 1000 });
    await writer.claim(one, { lease });
    await expect(reader.claim(one)).resolves.toMatchObject({ revision: expect.any(BigInt) });
    await expect(reader.claim({ ...one, vtep: VTEP2 }, { takeover: true })).rejects.toThrow('permission denied');
    await lease.close();
    expect(await writer.list()).toEqual([]);
    await using elsewhere = await openStore(`etcd://${guarded.at}/other`);
    const denied = { code: 'OVERNS_STORE', hint: expect.stringMatching(/read .*grant-permission/) };
    expect(await failure(elsewhere.lookup(l3(IP)))).toMatchObject(denied);
    expect(await failure(follow(elsewhere).next())).toMatchObject(denied);
    expect(await failure(recordsOf(elsewhere).list())).toMatchObject(denied);
  });

  test('without a user, with a wrong password, with one that nobody has: in etcd’s words, and no secret in them', async () => {
    as('', '');
    await using nobody = await openStore(url);
    const hint = expect.stringContaining('ETCDCTL_USER');
    expect(await failure(nobody.lookup(l3(IP)))).toMatchObject({ code: 'OVERNS_STORE', hint });
    expect(await failure(follow(nobody).next())).toMatchObject({ code: 'OVERNS_STORE', hint });
    for (const [user, password] of [
      ['agent', 's3cret'],
      ['stranger', 's3cret'],
    ] as const) {
      as(user, password);
      await using wrong = await openStore(url);
      const error = await failure(wrong.lookup(l3(IP)));
      expect(error).toMatchObject({ code: 'OVERNS_STORE', hint });
      expect(error.message).toMatch(new RegExp(`authenticating as ${user}: answered 400: .*authentication failed`));
      expect(JSON.stringify([error, error.message, error.stack, error.cause])).not.toContain('s3cret');
    }
    vi.stubEnv('ETCDCTL_USER', 'agent');
    vi.stubEnv('ETCDCTL_PASSWORD', '');
    expect(await failure(openStore(url))).toMatchObject({ message: 'ETCDCTL_USER has no password' });
    vi.stubEnv('ETCDCTL_USER', 'attach:pw');
    await using both = await openStore(url);
    await both.publish(one);
    await both.withdraw(one);
  });

  test('a token that the server has forgotten is renewed, also for a watch that goes on', async () => {
    const own = await guard();
    as('attach');
    await using store = await openStore(`etcd://${own.at}/demo`);
    const { next } = follow(store);
    await next();
    await store.publish(one);
    expect(await next()).toMatchObject({ kind: 'put' });
    // Its tokens are in its memory alone.
    await own.restart();
    expect(await store.lookup(l3(IP))).toEqual({ mac: MAC, vtep: VTEP });
    await store.withdraw(one);
    expect(await next()).toMatchObject({ kind: 'delete', ip: IP, mac: MAC });
    // Users that come later make tokens old.
    await own.etcdctl('--user=root:pw', 'user', 'add', 'another:pw');
    await store.publish(one);
    expect(await next()).toMatchObject({ kind: 'put' });
  });

  test('a token of one’s own is asked for with every request', async () => {
    const { body } = await guarded.ask('auth/authenticate', { name: 'attach', password: 'pw' });
    const { token } = JSON.parse(body) as { token: string };
    const ask = vi.fn(() => token);
    await using store = await openStore(url, { token: ask });
    await store.publish(one);
    await store.lookup(l2(MAC));
    expect(ask).toHaveBeenCalledTimes(2);
    await using unknown = await openStore(url, { token: 's3cret.1' });
    const error = await failure(unknown.lookup(l3(IP)));
    expect(error).toMatchObject({ code: 'OVERNS_STORE', hint: expect.stringContaining('token') });
    expect(error.message).not.toContain('s3cret');
    await using wrong = await openStore(url, { token: 's3cret\r\nX: y' });
    expect((await failure(wrong.lookup(l3(IP)))).message).toMatch(/^(?!.*s3cret).*the token is no text/);
  });

  test('rights that are taken away end a watch with the reason when it begins again', async () => {
    as('agent');
    await using store = await openStore(url);
    await follow(store).next();
    await guarded.etcdctl('--user=root:pw', 'role', 'revoke-permission', 'overns-read', '--prefix', 'demo/');
    expect(await failure(follow(store).next())).toMatchObject({
      message: expect.stringContaining('permission denied'),
    });
    await guarded.etcdctl('--user=root:pw', 'role', 'grant-permission', 'overns-read', '--prefix', 'read', 'demo/');
    expect(await follow(store).next()).toMatchObject({ kind: 'reset' });
  });
});

describeWith(['etcd', 'consul'], 'etcd over TLS', () => {
  test('the authority, the client’s certificate, and what is said without them', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ot-tls-'));
    onCleanup(() => rm(folder, { recursive: true, force: true }));
    // A maker of certificates, no more.
    await exec('consul', ['tls', 'ca', 'create'], { cwd: folder });
    for (const role of ['-server', '-client']) await exec('consul', ['tls', 'cert', 'create', role], { cwd: folder });
    const pem = (name: string) => join(folder, name);
    const ca = pem('consul-agent-ca.pem');
    const [cert, key] = [pem('dc1-client-consul-0.pem'), pem('dc1-client-consul-0-key.pem')];
    const server = { ca, cert: pem('dc1-server-consul-0.pem'), key: pem('dc1-server-consul-0-key.pem') };
    const secure = await Etcd.start({ tls: { ...server, clients: true } });
    const url = `etcd+https://${secure.at}/demo`;
    const one = endpoint(MAC, VTEP, IP);

    await using paths = await openStore(url, { ca, cert, key });
    await paths.publish(one);
    vi.stubEnv('ETCDCTL_CACERT', ca);
    vi.stubEnv('ETCDCTL_CERT', cert);
    vi.stubEnv('ETCDCTL_KEY', key);
    await using environment = await openStore(url);
    const { next } = follow(environment);
    expect(await next()).toMatchObject({ kind: 'reset', endpoints: [one] });
    await paths.withdraw(one);
    expect(await next()).toMatchObject({ kind: 'delete', ip: IP });
    vi.stubEnv('ETCDCTL_INSECURE_SKIP_TLS_VERIFY', 'true');
    expect(await failure(openStore(url))).toMatchObject({ hint: expect.stringContaining('ETCDCTL_CACERT') });
    vi.unstubAllEnvs();

    await using stranger = await openStore(url, { cert, key });
    const unknown = await failure(stranger.lookup(l3(IP)));
    expect(unknown).toMatchObject({ code: 'OVERNS_STORE', hint: expect.stringContaining('ETCDCTL_CACERT') });
    expect(unknown.message).toMatch(/certificate/);
    await using anonymous = await openStore(url, { ca });
    expect(await failure(anonymous.lookup(l3(IP)))).toMatchObject({ hint: expect.stringContaining('ETCDCTL_CERT') });
    await using plain = await openStore(`etcd://${secure.at}/demo`);
    expect(await failure(plain.lookup(l3(IP)))).toMatchObject({ hint: expect.stringContaining('etcd+https') });
    await using reverse = await openStore(`etcd+https://${etcd.at}/demo`, { ca });
    expect(await failure(reverse.lookup(l3(IP)))).toMatchObject({ hint: expect.stringContaining('TLS') });
    await expect(openStore(`etcd://${etcd.at}/demo`, { ca })).rejects.toThrow(/^ca: .*etcd\+https/);
  });
});

describeWith(['etcd'], 'etcd without a gateway', () => {
  test('is told apart from one that has no record', async () => {
    const closed = await Etcd.start({ args: ['--enable-grpc-gateway=false'], healthy: false });
    await using store = await openStore(`etcd://${closed.at}/demo`);
    expect(await failure(store.lookup(l3(IP)))).toMatchObject({
      message: expect.stringMatching(/answered 404/),
      hint: expect.stringContaining('enable-grpc-gateway'),
    });
  });
});
