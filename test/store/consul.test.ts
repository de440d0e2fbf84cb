/** The Consul store against a real Consul. What Consul never does is in consul-broken.test.ts. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Change, Endpoint, OwnedStore, Query } from '../../lib/store/contract.js';
import { openStore, recordsOf, scopeOf } from '../../lib/store/index.js';
import { storeConformance } from '../../lib/testing/index.js';
import { isStopped } from '../support/child.js';
import { onCleanup } from '../support/cleanup.js';
import { Consul } from '../support/consul.js';
import { twoHosts } from '../support/netns.js';
import { until } from '../support/overlay.js';
import { exec } from '../support/process.js';
import { describeWith } from '../support/requirements.js';

const where = { overlay: 'blue', vni: 42 };
const l3 = (ip: string): Query => ({ ...where, kind: 'l3', ip });
const l2 = (mac: string): Query => ({ ...where, kind: 'l2', mac });
const never = { signal: new AbortController().signal };
const IP = '192.168.0.2';
const MAC = '02:42:c0:a8:00:02';
const MAC2 = '02:42:c0:a8:00:99';
const VTEP = '10.0.0.10';
const VTEP2 = '10.0.0.11';
const endpoint = (mac: string, vtep: string, ...ips: string[]): Endpoint => ({ ip: ips[0] as string, ips, mac, vtep });

let consul: Consul;
let prefix: string;
let prefixes = 0;

const at = (agent = consul) => `${agent.address}:${agent.port}`;

/** A store of its own for one test. */
async function open(suffix = ''): Promise<OwnedStore> {
  prefix = `t${++prefixes}`;
  const store = await openStore(`consul://${at()}/${prefix}${suffix}`);
  onCleanup(() => store.close());
  return store;
}

/** Writes a key below the test's prefix, as curl would. */
async function put(key: string, value: string | Buffer): Promise<void> {
  const body = typeof value === 'string' ? value : new Uint8Array(value);
  const answer = await fetch(`${consul.url}/v1/kv/${prefix}/${key}`, { method: 'PUT', body });
  expect((await answer.text()).trim()).toBe('true');
}

async function raw(key: string): Promise<string | undefined> {
  const answer = await fetch(`${consul.url}/v1/kv/${prefix}/${key}?raw`);
  const text = await answer.text();
  return answer.status === 200 ? text : undefined;
}

/** Follows a store's changes one by one. */
function follow(store: Pick<OwnedStore, 'watch'>) {
  const controller = new AbortController();
  const changes = store.watch({ signal: controller.signal })[Symbol.asyncIterator]();
  onCleanup(() => controller.abort());
  return { controller, changes, next: async (): Promise<Change> => (await changes.next()).value as Change };
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describeWith(['consul'], 'Consul', () => {
  beforeAll(async () => {
    consul = await Consul.start();
  });

  describe('what every driver does', () => {
    const outage = async () => {
      process.kill(consul.pid, 'SIGSTOP');
      return () => void process.kill(consul.pid, 'SIGCONT');
    };
    const fresh = (): string => `consul://${at()}/t${++prefixes}`;
    const cases = storeConformance({ url: fresh, urlByVni: () => `${fresh()}/{vni}`, outage });
    // A session outlives who renews it by twice ten seconds.
    test.each(cases)('$name', ({ run }) => run(), 60_000);
  });

  describe('claims', () => {
    const sessions = async (): Promise<{ ID: string; Name: string; Checks: unknown[] | null }[]> =>
      JSON.parse((await consul.request('GET', '/v1/session/list')).body) ?? [];

    test('records are as curl reads them, and a session holds them that no check of a server ends', async () => {
      const store = await open();
      await using lease = await store.lease({ name: 'docker0', ttlMs: 10_000 });
      await store.claim(endpoint(MAC, VTEP, IP), { lease });
      expect([await raw(`arp/${IP}`), await raw(`fib/${MAC}`)]).toEqual([MAC, VTEP]);
      expect((await recordsOf(store).list()).map((record) => record.lease)).toEqual([lease.id, lease.id]);
      const session = (await sessions()).find(({ ID }) => ID === lease.id);
      expect(session).toMatchObject({ Name: 'docker0', Behavior: 'delete', TTL: '10s', LockDelay: 0, NodeChecks: [] });
    });

    test('a session that an operator destroys takes its records, and is told as lost with the next claim', async () => {
      const store = await open();
      const lease = await store.lease({ name: 'docker0' });
      await store.claim(endpoint(MAC, VTEP, IP), { lease });
      await consul.request('PUT', `/v1/session/destroy/${lease.id}`);
      expect(await store.lookup(l3(IP), never)).toBeNull();
      expect(lease.lost.aborted).toBe(false);
      const refused = await store.claim(endpoint(MAC, VTEP, IP), { lease }).catch((error) => error);
      expect(refused).toMatchObject({ code: 'OVERNS_LEASE', message: expect.stringContaining(lease.id) });
      expect([lease.lost.aborted, lease.lost.reason]).toEqual([true, refused]);
      await lease.close();
    });

    test('what curl has written is taken from nobody, half a record neither', async () => {
      const store = await open();
      await using lease = await store.lease({ name: 'docker0' });
      await put(`arp/${IP}`, MAC2);
      const half = { code: 'OVERNS_CONFLICT', holder: { ip: IP, mac: MAC2, revision: expect.any(BigInt) } };
      await expect(store.claim(endpoint(MAC, VTEP, IP), { lease })).rejects.toMatchObject(half);
      await put(`fib/${MAC2}`, VTEP2);
      await expect(store.claim(endpoint(MAC, VTEP, IP), { lease })).rejects.toThrow(
        `${IP} is held by ${MAC2} at ${VTEP2}, without a lease`,
      );
      await put('arp/192.168.0.8', 'no MAC address');
      await expect(store.claim(endpoint(MAC, VTEP, '192.168.0.8'))).rejects.toMatchObject({ code: 'OVERNS_RECORD' });
      expect(await raw(`fib/${MAC}`)).toBeUndefined();
    });

    test('an endpoint that is too large for a transaction is refused whole', async () => {
      const store = await open();
      const ips = Array.from({ length: 31 }, (_, at) => `192.168.7.${at + 1}`);
      await expect(store.claim(endpoint(MAC, VTEP, ...ips))).rejects.toThrow('65 operations');
      await store.claim(endpoint(MAC, VTEP, ...ips.slice(1)));
      expect(await consul.keys(`${prefix}/`)).toHaveLength(31);
    });

    test('a token that may not make sessions is told what it lacks', async () => {
      await using guarded = await Consul.start({ acl: true });
      await using store = await openStore(`consul://${at(guarded)}/x`, { token: 'anonymous' });
      await expect(store.lease({ name: 'docker0' })).rejects.toMatchObject({
        code: 'OVERNS_STORE',
        hint: expect.stringContaining('session_prefix'),
      });
    });
  });

  describe('lookup', () => {
    test('records that curl wrote: IP to MAC to VTEP', async () => {
      const store = await open();
      await consul.putEndpoint(prefix, { ip: IP, mac: MAC, vtep: VTEP });
      expect(await store.lookup(l3(IP), never)).toEqual({ mac: MAC, vtep: VTEP });
      expect(await store.lookup(l2(MAC), never)).toEqual({ mac: MAC, vtep: VTEP });
    });

    test('what a shell adds is tolerated', async () => {
      const store = await open();
      await put(`arp/${IP}`, `${MAC.toUpperCase()}\n`);
      await put(`fib/${MAC}`, 'FD00:0::1 \r\n');
      expect(await store.lookup(l3(IP), never)).toEqual({ mac: MAC, vtep: 'fd00::1' });
    });

    test('an IPv6 address, however it is written', async () => {
      const store = await open();
      await store.publish(endpoint(MAC, 'FD00:AA::1', 'FD00:0::2'));
      expect(await raw('arp/fd00::2')).toBe(MAC);
      expect(await raw(`fib/${MAC}`)).toBe('fd00:aa::1');
      expect(await store.lookup(l3('fd00:0:0::2'), never)).toEqual({ mac: MAC, vtep: 'fd00:aa::1' });
    });

    test('absent is null', async () => {
      const store = await open();
      expect(await store.lookup(l3(IP), never)).toBeNull();
      expect(await store.lookup(l2(MAC), never)).toBeNull();
      await put(`arp/${IP}0`, MAC);
      expect(await store.lookup(l3(IP), never)).toBeNull();
    });

    test('an arp record without its fib record says what is missing', async () => {
      const store = await open();
      await put(`arp/${IP}`, MAC);
      await expect(store.lookup(l3(IP), never)).rejects.toMatchObject({
        code: 'OVERNS_RECORD',
        message: `record ${prefix}/arp/${IP} in consul://${at()}: it names ${MAC}, of which there is no record`,
        hint: expect.stringContaining(`${prefix}/fib/${MAC}`),
      });
    });

    test.each([
      ['arp', 'a MAC that is none', 'zz', '"zz" is not a MAC address'],
      ['arp', 'a multicast MAC', '01:00:5e:00:00:01', 'multicast'],
      ['arp', 'an empty value', '', 'empty'],
      ['arp', '512 KiB', Buffer.alloc(2 ** 19, 'a'), 'value of 524288 bytes, "aaaa'],
      ['arp', 'bytes that are no text', Buffer.from([0, 0x1b, 0x5b, 0x32, 0x4a, 0xff]), '\\u0000\\u001b[2J'],
      ['fib', 'an IP that is none', 'host1', '"host1" is not an IP address'],
      ['fib', 'a multicast IP', '239.1.1.1', 'multicast'],
      ['fib', 'an empty value', '', 'empty'],
      ['fib', '512 KiB', Buffer.alloc(2 ** 19, 'a'), 'value of 524288 bytes, "aaaa'],
    ])('garbage: %s holds %s', async (kind, _, value, problem) => {
      const store = await open();
      await put(`arp/${IP}`, MAC);
      await put(`fib/${MAC}`, VTEP);
      const key = kind === 'arp' ? `arp/${IP}` : `fib/${MAC}`;
      await put(key, value);
      const expected = {
        code: 'OVERNS_RECORD',
        message: expect.stringMatching(/^record [^\n]{1,300}$/),
        hint: expect.stringContaining('delete the record'),
      };
      await expect(store.lookup(l3(IP), never)).rejects.toMatchObject(expected);
      await expect(store.lookup(l3(IP), never)).rejects.toThrow(`${prefix}/${key} in consul://`);
      await expect(store.lookup(l3(IP), never)).rejects.toThrow(problem);
      if (kind === 'fib') await expect(store.lookup(l2(MAC), never)).rejects.toMatchObject(expected);
      // It heals as soon as the record does.
      await put(key, kind === 'arp' ? MAC : VTEP);
      expect(await store.lookup(l3(IP), never)).toEqual({ mac: MAC, vtep: VTEP });
    });

    test('many at once, without a word from Node about listeners', async () => {
      const store = await open();
      await store.publish(endpoint(MAC, VTEP, IP));
      const warned = vi.fn();
      process.on('warning', warned);
      const controller = new AbortController();
      const answers = await Promise.all(Array.from({ length: 300 }, () => store.lookup(l3(IP), controller)));
      await sleep(10);
      process.off('warning', warned);
      expect(answers.every((answer) => answer?.vtep === VTEP)).toBe(true);
      expect(warned.mock.calls).toEqual([]);
    });

    test('overlays on one URL do not mix', async () => {
      const store = await open('/{vni}/{name}');
      const red = { overlay: 'red', vni: 43 };
      await store.publish(endpoint(MAC, VTEP, IP), where);
      await store.publish(endpoint(MAC2, VTEP2, IP), red);
      expect(await raw(`42/blue/arp/${IP}`)).toBe(MAC);
      expect(await raw(`43/red/fib/${MAC2}`)).toBe(VTEP2);
      expect(await store.lookup(l3(IP), never)).toEqual({ mac: MAC, vtep: VTEP });
      expect(await store.lookup({ ...l3(IP), ...red }, never)).toEqual({ mac: MAC2, vtep: VTEP2 });
      expect(scopeOf(store, where)).not.toBe(scopeOf(store, red));
      const { next, controller } = follow({ watch: (options) => store.watch({ ...options, ...red }) });
      expect(await next()).toMatchObject({ kind: 'reset', endpoints: [endpoint(MAC2, VTEP2, IP)] });
      await store.withdraw(endpoint(MAC2, VTEP2, IP), red);
      expect(await next()).toMatchObject({ kind: 'delete', ip: IP });
      expect(await raw(`42/blue/arp/${IP}`)).toBe(MAC);
      controller.abort();
    });
  });

  describe('publish and withdraw', () => {
    test('byte for byte what curl writes', async () => {
      const store = await open();
      await store.publish(endpoint(MAC, VTEP, IP));
      const ours = (await (await fetch(`${consul.url}/v1/kv/${prefix}/?recurse`)).json()) as Record<string, unknown>[];
      const other = prefix;
      prefix = 'curl';
      await put(`arp/${IP}`, MAC);
      await put(`fib/${MAC}`, VTEP);
      const theirs = (await (await fetch(`${consul.url}/v1/kv/curl/?recurse`)).json()) as Record<string, unknown>[];
      const plain = (records: Record<string, unknown>[]) =>
        records.map(({ Key, Value, Flags, LockIndex, Session }) => ({
          Key: String(Key).replace(/^[^/]*/, 'demo'),
          Value,
          Flags,
          LockIndex,
          Session,
        }));
      expect(plain(ours)).toEqual(plain(theirs));
      expect(other).not.toBe('curl');
    });

    test('again is no error; withdrawing twice is none either', async () => {
      const store = await open();
      const one = endpoint(MAC, VTEP, IP, 'fd00::2');
      await store.publish(one);
      await store.publish(one);
      await store.withdraw(one);
      await store.withdraw(one);
      expect(await consul.keys(`${prefix}/`)).toEqual([]);
    });

    test('withdrawing leaves what has moved: another host, another MAC', async () => {
      const store = await open();
      const old = endpoint(MAC, VTEP, IP);
      await store.publish(old);
      await store.publish(endpoint(MAC, VTEP2, IP));
      await store.withdraw(old);
      expect(await store.lookup(l3(IP), never)).toEqual({ mac: MAC, vtep: VTEP2 });

      await store.publish(endpoint(MAC2, VTEP2, IP));
      await store.withdraw(endpoint(MAC, VTEP2, IP));
      expect(await store.lookup(l3(IP), never)).toEqual({ mac: MAC2, vtep: VTEP2 });
      expect(await store.lookup(l2(MAC), never)).toBeNull();
    });

    test('withdrawing half a record removes that half, and leaves garbage alone', async () => {
      const store = await open();
      await put(`arp/${IP}`, MAC);
      await put('arp/192.168.0.9', 'garbage');
      await store.withdraw(endpoint(MAC, VTEP, IP, '192.168.0.9'));
      expect(await consul.keys(`${prefix}/`)).toEqual([`${prefix}/arp/192.168.0.9`]);
    });

    test('more addresses than one transaction takes', async () => {
      const store = await open();
      const ips = Array.from({ length: 150 }, (_, n) => `10.1.${n >> 7}.${(n & 127) + 1}`);
      const one = endpoint(MAC, VTEP, ...ips);
      await store.publish(one);
      expect(await consul.keys(`${prefix}/`)).toHaveLength(151);
      await store.withdraw(one);
      expect(await consul.keys(`${prefix}/`)).toEqual([]);
    });

    test('a withdrawal that races a move never removes the new record', async () => {
      const store = await open();
      const old = endpoint(MAC, VTEP, IP);
      for (let round = 0; round < 30; round++) {
        await store.publish(old);
        await Promise.all([
          store.withdraw(old),
          sleep(Math.random() * 4).then(() => store.publish(endpoint(MAC, VTEP2, IP))),
        ]);
        expect(await store.lookup(l3(IP), never)).toEqual({ mac: MAC, vtep: VTEP2 });
      }
    });

    test('a reader sees both records or none', async () => {
      const store = await open();
      const one = endpoint(MAC, VTEP, IP);
      let writing = true;
      const writer = (async () => {
        for (let round = 0; round < 60; round++) {
          await store.publish(one);
          await store.withdraw(one);
        }
        writing = false;
      })();
      let found = 0;
      while (writing) {
        const answer = await store.lookup(l3(IP), never);
        if (answer !== null) found++;
        expect([null, VTEP]).toContain(answer?.vtep ?? null);
      }
      await writer;
      expect(found).toBeGreaterThan(0);
    });

    test('an aborted signal sends nothing', async () => {
      const store = await open();
      const aborted = { signal: AbortSignal.abort() };
      await expect(store.publish(endpoint(MAC, VTEP, IP), aborted)).rejects.toMatchObject({ code: 'ABORT_ERR' });
      expect(await consul.keys(`${prefix}/`)).toEqual([]);
    });
  });

  describe('watch', () => {
    test('reset, put, move, delete; the index grows', async () => {
      const store = await open();
      await store.publish(endpoint(MAC, VTEP, IP));
      const { next } = follow(store);
      const reset = await next();
      expect(reset).toMatchObject({ kind: 'reset', endpoints: [endpoint(MAC, VTEP, IP)] });
      await consul.putEndpoint(prefix, { ip: '192.168.0.3', mac: MAC2, vtep: VTEP2 });
      const added = await next();
      expect(added).toMatchObject({ kind: 'put', endpoint: endpoint(MAC2, VTEP2, '192.168.0.3') });
      await store.publish(endpoint(MAC, VTEP2, IP));
      const moved = await next();
      expect(moved).toMatchObject({ kind: 'put', endpoint: endpoint(MAC, VTEP2, IP) });
      await store.withdraw(endpoint(MAC, VTEP2, IP));
      const gone = await next();
      expect(gone).toMatchObject({ kind: 'delete', ip: IP, mac: MAC });
      const order = [reset, added, moved, gone].map(({ index }) => index);
      expect(order).toEqual([...order].sort((a, b) => Number(a - b)));
      expect(new Set(order).size).toBe(4);
    });

    test('a prefix without records is an empty reset, and the first record a put', async () => {
      const store = await open();
      const { next } = follow(store);
      expect(await next()).toMatchObject({ kind: 'reset', endpoints: [] });
      await store.publish(endpoint(MAC, VTEP, IP));
      expect(await next()).toMatchObject({ kind: 'put' });
      await consul.delete(`${prefix}/`, { recurse: true });
      expect(await next()).toMatchObject({ kind: 'delete', ip: IP, mac: MAC });
    });

    test('garbage, halves and strangers are left out and come in when they are fixed', async () => {
      const store = await open();
      await put(`arp/${IP}`, 'garbage');
      await put(`fib/${MAC}`, VTEP);
      await put(`fib/${MAC2}`, Buffer.alloc(2 ** 19));
      await put('arp/', '');
      await put('arp/not-an-ip', MAC);
      await put('note', 'what a nice day');
      const { next } = follow(store);
      expect(await next()).toMatchObject({ kind: 'reset', endpoints: [] });
      await put('note', 'or not');
      await put(`arp/${IP}`, MAC);
      expect(await next()).toMatchObject({ kind: 'put', endpoint: endpoint(MAC, VTEP, IP) });
      await put(`fib/${MAC}`, '224.0.0.1');
      expect(await next()).toMatchObject({ kind: 'delete', ip: IP, mac: MAC });
    });

    test('abort ends a watch that waits at once', async () => {
      const store = await open();
      const { next, changes, controller } = follow(store);
      await next();
      const waiting = changes.next();
      await sleep(50);
      controller.abort();
      const late = sleep(5000, 'late', { ref: false });
      await expect(Promise.race([waiting, late])).rejects.toMatchObject({ code: 'ABORT_ERR' });
    });

    test('close ends watches, and refuses what is under way', async () => {
      const store = await open();
      const { next, changes } = follow(store);
      await next();
      const waiting = changes.next();
      const looking = Promise.allSettled(Array.from({ length: 40 }, () => store.lookup(l3(IP), never)));
      await store.close();
      expect(await waiting).toEqual({ done: true, value: undefined });
      for (const one of await looking) {
        expect(one).toMatchObject({ status: 'rejected', reason: { code: 'OVERNS_CLOSED' } });
      }
    });
  });

  describe('records by hand', () => {
    test('list shows the good and the bad', async () => {
      const store = await open();
      await store.publish(endpoint(MAC, VTEP, IP));
      await put('arp/FD00::2', MAC);
      await put('arp/192.168.0.9', '\u001b[2Joops');
      await put('arp/', '');
      await put('other/x', 'y');
      const list = await recordsOf(store).list();
      expect(list).toEqual([
        { kind: 'arp', key: '192.168.0.2', value: MAC },
        {
          kind: 'arp',
          key: '192.168.0.9',
          value: '\\u001b[2Joops',
          problem: 'its value "\\u001b[2Joops" is not a MAC address such as 02:42:c0:a8:00:02',
        },
        { kind: 'arp', key: 'FD00::2', value: MAC, problem: 'its key is to be written fd00::2' },
        { kind: 'fib', key: MAC, value: VTEP },
        { kind: 'other', key: 'other/x', value: 'y', problem: 'it is neither in arp/ nor in fib/: not understood' },
      ]);
    });

    test('a watch says once that there is what it does not understand, and goes on', async () => {
      const store = await open();
      const heard: string[] = [];
      const listener = (message: unknown): void => void heard.push((message as { error: Error }).error.message);
      subscribe('overns:store:warning', listener);
      onCleanup(() => unsubscribe('overns:store:warning', listener));
      await put('arp/', '');
      const { next } = follow(store);
      await next();
      await put('Arp/192.168.0.3', MAC);
      await store.publish(endpoint(MAC, VTEP, IP));
      expect(await next()).toMatchObject({ kind: 'put' });
      await put('second', 'x');
      await store.publish(endpoint(MAC2, VTEP, '192.168.0.9'));
      expect(await next()).toMatchObject({ kind: 'put' });
      expect(await follow(store).next()).toMatchObject({ kind: 'reset' });
      expect(heard).toEqual([
        expect.stringMatching(/^a key is under t\d+\/ in consul:.*, but not in arp\/ or fib\/: "Arp\/192\.168\.0\.3"$/),
      ]);
    });

    test('get, put, delete', async () => {
      const store = await open();
      const records = recordsOf(store);
      expect(await records.get('arp', IP)).toBeNull();
      await records.put('arp', IP, MAC.toUpperCase());
      await records.put('fib', MAC.toUpperCase(), 'FD00:0::1');
      expect(await raw(`arp/${IP}`)).toBe(MAC);
      expect(await raw(`fib/${MAC}`)).toBe('fd00::1');
      expect(await records.get('fib', MAC)).toBe('fd00::1');
      await put(`arp/${IP}`, 'x');
      await expect(records.get('arp', IP)).rejects.toMatchObject({ code: 'OVERNS_RECORD' });
      expect(await records.delete('arp', IP)).toBe(true);
      expect(await records.delete('arp', IP)).toBe(false);
      expect(await records.delete('fib', MAC.toUpperCase())).toBe(true);
    });

    test('a bad key is deleted as it is written, not as it should be', async () => {
      const store = await open();
      const records = recordsOf(store);
      for (const key of ['arp/FD00::2', 'arp/fd00::2', 'arp/a b/c?d', 'fib/x']) {
        await put(key.replace(' ', '%20').replace('?', '%3F'), MAC);
      }
      expect(await records.delete('arp', 'FD00::2')).toBe(true);
      expect(await raw('arp/fd00::2')).toBe(MAC);
      expect(await records.delete('arp', 'a b/c?d')).toBe(true);
      expect(await records.delete('fib', 'x')).toBe(true);
      expect(await consul.keys(`${prefix}/`)).toEqual([`${prefix}/arp/fd00::2`]);
      for (const key of ['', '\ud800']) await expect(records.delete('arp', key)).rejects.toThrow(/^key: /);
    });

    test('what is listed can be deleted, and nothing else goes with it', async () => {
      const store = await open();
      const records = recordsOf(store);
      // As other clients write them; a path cannot carry all of these.
      const keys = [
        '192.168.0.3/',
        'a//b',
        './x',
        '../arp/y',
        '..',
        '//',
        '50%',
        '%2e%2e',
        ' ',
        'ä b?c#d',
        '192.168.0.4 ',
      ];
      const ops = [...keys.map((key) => `${prefix}/arp/${key}`), `${prefix}/other/x`, `${prefix}/arp/${IP}`];
      const body = JSON.stringify(
        ops.map((Key) => ({ KV: { Verb: 'set', Key, Value: Buffer.from(MAC).toString('base64') } })),
      );
      expect((await fetch(`${consul.url}/v1/txn`, { method: 'PUT', body })).status).toBe(200);
      const bad = (await records.list()).flatMap(({ kind, key, problem }) =>
        problem === undefined || kind === 'other' ? [] : [{ kind, key }],
      );
      expect(bad.map(({ key }) => key).sort()).toEqual([...keys].sort());
      for (const { kind, key } of bad) {
        expect(await records.delete(kind, key), JSON.stringify(key)).toBe(true);
        expect(await records.delete(kind, key), JSON.stringify(key)).toBe(false);
      }
      expect(await consul.keys(`${prefix}/`)).toEqual([`${prefix}/arp/${IP}`, `${prefix}/other/x`]);
      await expect(records.delete('arp', 'x\ufffd')).rejects.toMatchObject({
        code: 'OVERNS_RECORD',
        message: expect.stringContaining('its key is no UTF-8'),
        hint: expect.stringContaining('curl -X DELETE'),
      });
    });

    test('what is no record is not written', async () => {
      const store = await open();
      const records = recordsOf(store);
      await expect(records.put('mac' as never, IP, MAC)).rejects.toThrow(/^kind: /);
      await expect(records.put('arp', 'x', MAC)).rejects.toThrow(/^key: /);
      await expect(records.put('arp', IP, '01:00:5e:00:00:01')).rejects.toThrow(/^value: .*multicast/);
      await expect(records.put('fib', MAC, '224.0.0.1')).rejects.toThrow(/^value: .*multicast/);
      await expect(records.put('fib', MAC, '')).rejects.toThrow(/^value: /);
      expect(await consul.keys(`${prefix}/`)).toEqual([]);
    });
  });
});

describeWith(['consul'], 'Consul that goes away', () => {
  test('down, up, restarted, stopped in its tracks: the same store works whenever Consul does', async () => {
    const agent = await Consul.start();
    await agent.stop();
    const store = await openStore(`consul://${at(agent)}/demo`);
    onCleanup(() => store.close());
    const refused = {
      code: 'OVERNS_STORE',
      message: expect.stringMatching(/reading demo\/arp\/192\.168\.0\.2: connection refused/),
      hint: expect.stringContaining('start Consul'),
      cause: expect.objectContaining({ code: 'ECONNREFUSED' }),
    };
    const started = performance.now();
    await expect(store.lookup(l3(IP), never)).rejects.toMatchObject(refused);
    // Four attempts that run into their limits of 2 s would take as long.
    expect(performance.now() - started).toBeLessThan(8000);
    await expect(store.publish(endpoint(MAC, VTEP, IP))).rejects.toMatchObject({ code: 'OVERNS_STORE' });
    await expect(follow(store).next()).rejects.toMatchObject({ code: 'OVERNS_STORE' });

    await agent.restart();
    await store.publish(endpoint(MAC, VTEP, IP));
    const { next } = follow(store);
    expect(await next()).toMatchObject({ kind: 'reset', endpoints: [endpoint(MAC, VTEP, IP)] });
    const waiting = next();
    waiting.catch(() => {});

    // Restarted it is empty, and its index begins anew. Depending on how long that takes, the watch sees it through
    // (its index may be lower, or not), or fails.
    await agent.restart();
    const seen = await waiting.catch((error: Error) => error);
    if (seen instanceof Error) {
      expect(seen).toMatchObject({ code: 'OVERNS_STORE' });
      expect(await follow(store).next()).toMatchObject({ kind: 'reset', endpoints: [] });
    } else {
      expect([
        { kind: 'reset', endpoints: [], index: seen.index },
        { kind: 'delete', ip: IP, mac: MAC, index: seen.index },
      ]).toContainEqual(seen);
    }
    expect(await store.lookup(l3(IP), never)).toBeNull();

    process.kill(agent.pid, 'SIGSTOP');
    try {
      await until(() => isStopped(agent.pid), 'all its threads to stand');
      const looking = store.lookup(l3(IP), { signal: AbortSignal.timeout(200) });
      // Before a later timer, and that before the one that ends an attempt.
      const late = sleep(1000, 'late', { ref: false });
      await expect(Promise.race([looking, late])).rejects.toMatchObject({
        code: 'ABORT_ERR',
        cause: { name: 'TimeoutError' },
      });
      const patient = store.lookup(l3(IP), never);
      await sleep(300);
      process.kill(agent.pid, 'SIGCONT');
      expect(await patient).toBeNull();
    } finally {
      process.kill(agent.pid, 'SIGCONT');
    }
  });
});

describeWith(['root', 'ip', 'consul'], 'Consul that vanishes without a word', () => {
  test('its host cut off, or its process stopped: a watch that waits fails within five seconds', async () => {
    const [a, b] = await twoHosts();
    const agent = await Consul.start({ netns: b, address: b.ip4 });
    const script = `
      const { openStore } = await import(${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)});
      const store = await openStore('consul://${b.ip4}:${agent.port}/demo');
      for (;;) {
        try {
          for await (const change of store.watch()) console.log(change.kind);
        } catch (error) { console.log(error.message); }
        await new Promise((resolve) => setTimeout(resolve, 100));
      }`;
    const child = a.spawn(process.execPath, ['--input-type=module', '-e', script]);
    await child.waitFor(/reset/, 'stdout');
    // While nothing is wrong nothing is said.
    await sleep(2500);
    expect(child.stdout).toBe('reset\n');
    const missed = async (vanish: () => unknown): Promise<void> => {
      const before = child.stdout.length;
      await vanish();
      const since = performance.now();
      await until(() => child.stdout.slice(before).includes('reading demo/: '), 'the loss');
      expect(performance.now() - since).toBeLessThan(5000);
    };
    await missed(() => process.kill(agent.pid, 'SIGSTOP'));
    const before = child.stdout.length;
    process.kill(agent.pid, 'SIGCONT');
    await until(() => child.stdout.slice(before).includes('reset'), 'its return');
    await sleep(500); // it waits again
    // From an address that this host has no more nothing is asked again.
    const then = child.stdout.length;
    await a.ip('address flush dev under0');
    await a.ip('address add 10.0.0.77/24 dev under0');
    await agent.putEndpoint('demo', { ip: IP, mac: MAC, vtep: VTEP });
    await until(() => child.stdout.slice(then).includes('put'), 'a change at the new address');
    expect(child.stdout.slice(then)).toBe('put\n');
    await missed(() => b.ip(`link set ${b.link} down`));
  });
});

describeWith(['consul'], 'Consul with access control', () => {
  let agent: Consul;
  let url: string;
  const denied = (what: string) => ({
    code: 'OVERNS_STORE',
    message: expect.stringContaining(what),
    hint: expect.stringContaining('CONSUL_HTTP_TOKEN'),
  });

  beforeAll(async () => {
    agent = await Consul.start({ acl: true });
    url = `consul://${at(agent)}/demo`;
  });

  test('without a token, or with a wrong one, in Consul’s words', async () => {
    vi.stubEnv('CONSUL_HTTP_TOKEN', '');
    await using store = await openStore(url);
    await expect(store.publish(endpoint(MAC, VTEP, IP))).rejects.toMatchObject(
      denied('publishing 192.168.0.2: Permission denied'),
    );
    await expect(recordsOf(store).put('arp', IP, MAC)).rejects.toMatchObject(denied('403: Permission denied'));
    await expect(store.lookup(l3(IP), never)).rejects.toMatchObject(denied('answered 403'));
    await using wrong = await openStore(url, { token: '00000000-1111-2222-3333-444444444444' });
    await expect(wrong.lookup(l3(IP), never)).rejects.toMatchObject(denied('answered 403: ACL not found'));
    await expect(follow(wrong).next()).rejects.toMatchObject(denied('answered 403: ACL not found'));
  });

  test('the token comes from the option, from a function asked every time, or from the environment', async () => {
    const one = endpoint(MAC, VTEP, IP);
    const token = agent.token as string;
    await using fixed = await openStore(url, { token });
    await fixed.publish(one);
    const ask = vi.fn(() => token);
    await using asking = await openStore(url, { token: ask });
    expect(await asking.lookup(l2(MAC), never)).toEqual({ mac: MAC, vtep: VTEP });
    expect(await asking.lookup(l2(MAC), never)).toEqual({ mac: MAC, vtep: VTEP });
    expect(ask).toHaveBeenCalledTimes(2);
    vi.stubEnv('CONSUL_HTTP_TOKEN', token);
    await using environment = await openStore(url);
    expect(await environment.lookup(l3(IP), never)).toEqual({ mac: MAC, vtep: VTEP });
    // The option wins.
    await using wrong = await openStore(url, { token: 'wrong' });
    await expect(wrong.lookup(l3(IP), never)).rejects.toMatchObject({ code: 'OVERNS_STORE' });
  });

  test('the token from a file, read again when it changes; what its owner’s own command does with it', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ot-token-'));
    onCleanup(() => rm(directory, { recursive: true, force: true }));
    const file = join(directory, 'token');
    const token = agent.token as string;
    vi.stubEnv('CONSUL_HTTP_TOKEN_FILE', file);
    vi.stubEnv('CONSUL_HTTP_TOKEN', 'wrong');
    await using store = await openStore(url);
    const unreadable = { code: 'OVERNS_STORE', hint: expect.stringContaining('CONSUL_HTTP_TOKEN_FILE') };
    await expect(store.lookup(l3(IP), never)).rejects.toMatchObject(unreadable);
    // It goes before CONSUL_HTTP_TOKEN; a line end belongs to no token.
    await writeFile(file, `${token}\n`);
    expect(await store.lookup(l3('192.168.9.9'), never)).toBeNull();
    await writeFile(file, 'another');
    await until(
      () =>
        Promise.resolve(store.lookup(l3('192.168.9.9'), never)).then(
          () => false,
          (error) => /403/.test(error.message),
        ),
      'the new token',
    );
    // An empty file gives none, and an option goes before all.
    vi.stubEnv('CONSUL_HTTP_TOKEN', token);
    await writeFile(file, '\n');
    await using other = await openStore(url);
    expect(await other.lookup(l3('192.168.9.9'), never)).toBeNull();
    await using option = await openStore(url, { token: 'wrong' });
    await expect(option.lookup(l3(IP), never)).rejects.toMatchObject({ message: expect.stringContaining('403') });
  });

  test('a token that may only read is enough for a resolver, half records included', async () => {
    const make = async (path: string, body: unknown) =>
      JSON.parse((await agent.request('PUT', path, JSON.stringify(body))).body) as { SecretID: string };
    const rules = 'key_prefix "read/" { policy = "read" }';
    await make('/v1/acl/policy', { Name: 'resolver', Rules: rules });
    const { SecretID } = await make('/v1/acl/token', { Policies: [{ Name: 'resolver' }] });
    await using store = await openStore(`consul://${at(agent)}/read`, { token: SecretID });
    await agent.putEndpoint('read', { ip: IP, mac: MAC, vtep: VTEP });
    await agent.put('read/arp/192.168.0.9', MAC2);
    expect(await store.lookup(l3(IP), never)).toEqual({ mac: MAC, vtep: VTEP });
    await expect(store.lookup(l3('192.168.0.9'), never)).rejects.toMatchObject({
      code: 'OVERNS_RECORD',
      message: expect.stringContaining('it names'),
    });
    expect(await follow(store).next()).toMatchObject({ kind: 'reset', endpoints: [endpoint(MAC, VTEP, IP)] });
    await expect(store.publish(endpoint(MAC, VTEP, IP))).rejects.toMatchObject(denied('Permission denied'));
    await expect(store.withdraw(endpoint(MAC, VTEP, IP))).rejects.toMatchObject(denied('Permission denied'));
  });

  test('the policies that docs/operations.md gives are enough: one to serve, one to attach', async () => {
    const text = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
    const policies = [
      ...text.matchAll(
        /^key_prefix "demo\/" \{ policy = "(\w+)" \}\nkey_prefix "demo.changes\/" \{ policy = "\1" \}$/gm,
      ),
    ];
    expect(policies.map(([, kind]) => kind)).toEqual(['read', 'write']);
    const heard: unknown[] = [];
    const listener = (message: unknown): void => void heard.push(message);
    subscribe('overns:store:warning', listener);
    onCleanup(() => unsubscribe('overns:store:warning', listener));
    for (const [rules, kind] of policies) {
      const make = async (path: string, body: unknown) =>
        JSON.parse((await agent.request('PUT', path, JSON.stringify(body))).body) as { SecretID: string };
      await make('/v1/acl/policy', { Name: `documented-${kind}`, Rules: rules });
      const { SecretID } = await make('/v1/acl/token', { Policies: [{ Name: `documented-${kind}` }] });
      await using store = await openStore(url, { token: SecretID });
      const one = endpoint('02:42:c0:a8:00:77', VTEP, '192.168.0.119');
      if (kind === 'read') {
        await expect(store.publish(one)).rejects.toMatchObject(denied('Permission denied'));
        continue;
      }
      await store.publish(one);
      expect(await store.lookup(l3(one.ip), never)).toEqual({ mac: one.mac, vtep: VTEP });
      await store.withdraw(one);
      await recordsOf(store).put('arp', one.ip, one.mac);
      await recordsOf(store).delete('arp', one.ip);
    }
    expect(heard).toEqual([]);
  });

  test('what the token may not read is refused rather than empty', async () => {
    await agent.putEndpoint('hidden', { ip: IP, mac: MAC, vtep: VTEP });
    // Consul itself answers with an empty list, as if everything had been withdrawn.
    await using store = await openStore(`consul://${at(agent)}/hidden`, { token: '' });
    await expect(follow(store).next()).rejects.toMatchObject(denied('403: Permission denied'));
    await expect(recordsOf(store).list()).rejects.toMatchObject(denied('403: Permission denied'));
  });

  test('a token that no header can carry is refused and not shown', async () => {
    for (const token of ['s3cret\r\nX-Evil: 1', 's3cret\n', 's3crét']) {
      await using store = await openStore(url, { token });
      const error = (await Promise.resolve(store.lookup(l3(IP), never)).catch((one) => one)) as Error;
      expect(error).toMatchObject({ code: 'OVERNS_STORE', message: expect.stringContaining('token') });
      expect(error.message).not.toContain('s3cr');
    }
  });

  test('a token function that throws fails the call with its own error', async () => {
    await using store = await openStore(url, {
      token: () => {
        throw new Error('the vault is sealed');
      },
    });
    await expect(store.lookup(l3(IP), never)).rejects.toThrow('the vault is sealed');
  });
});

describeWith(['consul'], 'Consul that takes small values only', () => {
  test('its refusal is reported in its words', async () => {
    const agent = await Consul.start({ config: { limits: { kv_max_value_size: 8 } } });
    await using store = await openStore(`consul://${at(agent)}/demo`);
    await expect(store.publish(endpoint(MAC, VTEP, IP))).rejects.toMatchObject({
      code: 'OVERNS_STORE',
      message: expect.stringMatching(/publishing 192\.168\.0\.2: answered 413: Value for key "demo\/.*" is too large/),
      hint: expect.stringContaining('kv_max_value_size'),
    });
    await expect(recordsOf(store).put('arp', IP, MAC)).rejects.toMatchObject({
      code: 'OVERNS_STORE',
      message: expect.stringMatching(
        /writing demo\/arp\/192\.168\.0\.2: answered 413: Request body\(17 bytes\) too large/,
      ),
    });
    // All or nothing: the fib record would have fitted.
    expect(await agent.keys('demo/')).toEqual([]);
  });
});

describeWith(['consul'], 'Consul over TLS', () => {
  test('the authority, the client’s certificate, and what is said without them', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ot-tls-'));
    onCleanup(() => rm(folder, { recursive: true, force: true }));
    await exec('consul', ['tls', 'ca', 'create'], { cwd: folder });
    for (const role of ['-server', '-client']) await exec('consul', ['tls', 'cert', 'create', role], { cwd: folder });
    const pem = (name: string) => join(folder, name);
    const ca = pem('consul-agent-ca.pem');
    const cert = pem('dc1-client-consul-0.pem');
    const key = pem('dc1-client-consul-0-key.pem');
    const agent = await Consul.start({
      https: true,
      config: {
        verify_incoming_https: true,
        ca_file: ca,
        cert_file: pem('dc1-server-consul-0.pem'),
        key_file: pem('dc1-server-consul-0-key.pem'),
      },
    });
    const url = `consul+https://127.0.0.1:${agent.httpsPort}/demo`;
    const one = endpoint(MAC, VTEP, IP);

    await using paths = await openStore(url, { ca, cert, key });
    await paths.publish(one);
    vi.stubEnv('CONSUL_CACERT', ca);
    vi.stubEnv('CONSUL_CLIENT_CERT', cert);
    vi.stubEnv('CONSUL_CLIENT_KEY', key);
    await using environment = await openStore(url);
    expect(await environment.lookup(l3(IP), never)).toEqual({ mac: MAC, vtep: VTEP });
    vi.unstubAllEnvs();
    const text = await Promise.all([ca, cert, key].map((path) => readFile(path, 'utf8')));
    await using texts = await openStore(url, { ca: text[0], cert: text[1], key: text[2] });
    const { next } = follow(texts);
    expect(await next()).toMatchObject({ kind: 'reset', endpoints: [one] });

    const failure = async (store: OwnedStore) =>
      (await Promise.resolve(store.lookup(l3(IP), never)).catch((error) => error)) as Error & {
        hint?: string;
        code?: string;
      };
    await using stranger = await openStore(url, { cert, key });
    const unknown = await failure(stranger);
    expect(unknown).toMatchObject({ code: 'OVERNS_STORE', hint: expect.stringContaining('CONSUL_CACERT') });
    expect(unknown.message).toMatch(/certificate/);
    await using anonymous = await openStore(url, { ca });
    expect(await failure(anonymous)).toMatchObject({
      code: 'OVERNS_STORE',
      hint: expect.stringContaining('CONSUL_CLIENT_CERT'),
    });
    await using plain = await openStore(`consul://127.0.0.1:${agent.httpsPort}/demo`);
    expect(await failure(plain)).toMatchObject({ code: 'OVERNS_STORE', hint: expect.stringContaining('consul+https') });
    await using reverse = await openStore(`consul+https://${at(agent)}/demo`, { ca });
    const reversed = await failure(reverse);
    expect(reversed).toMatchObject({ code: 'OVERNS_STORE', hint: expect.stringContaining('TLS') });
    expect(reversed.message).toMatch(/: TLS failed: wrong version number$/);
  });
});
