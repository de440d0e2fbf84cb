/** What cannot be done is refused in one clear line, and leaves everything as it was. */
import { beforeAll, expect, test } from 'vitest';
import { type AttachOptions, Overlay, type OverlayOptions, openStore, Resolver, Rtnl } from '../../lib/index.js';
import { runChild, said } from '../support/child.js';
import { Consul } from '../support/consul.js';
import { moreThan, openFiles, stateOfAll } from '../support/machine.js';
import { createContainer, createNetns, type Netns, twoHosts, uniqueName } from '../support/netns.js';
import { Cold, PROMPT_MS, record, Site, Station, startResolver, twoSites, until } from '../support/overlay.js';
import { forgetNeighbors, ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

type Refusal = Error & { code?: string; hint?: string };

async function refusal(work: () => Promise<unknown>, note: string): Promise<Refusal> {
  let made: unknown;
  try {
    made = await work();
  } catch (error) {
    const { message, hint = '', code } = error as Refusal;
    for (const line of [message, hint]) {
      expect(line, note).not.toMatch(/[\r\n\t]|\bat .*:\d+:\d+|\[object /);
      expect(line.length, `${note}: ${line}`).toBeLessThan(300);
      expect(line, note).not.toMatch(/\.$/);
    }
    expect(message, note).not.toBe('');
    expect(code, `${note}: ${message}`).toBeTypeOf('string');
    return error as Refusal;
  }
  throw new Error(`${note}: not refused, but ${JSON.stringify(made)}`);
}

const VALUE = 'ERR_INVALID_ARG_VALUE';
const TYPE = 'ERR_INVALID_ARG_TYPE';

describeWith(['root', 'ip', 'ping'], 'arguments', () => {
  let site: Site;
  let container: Netns;
  let all: Netns[];
  let before: Record<string, unknown>;
  let free: string;
  beforeAll(async () => {
    const [host] = await twoHosts();
    site = await Site.create(host);
    await site.attach('192.168.0.2/24');
    container = await createContainer();
    all = [host, site.netns, container];
    before = await stateOfAll(...all);
    free = uniqueName();
  });

  const creation: [string, Partial<Record<keyof OverlayOptions, unknown>>, string, RegExp][] = [
    ['VNI 0', { vni: 0 }, VALUE, /^vni: 0 is not a VNI: an integer from 1 to 16777215$/],
    ['VNI 2^24', { vni: 2 ** 24 }, VALUE, /^vni: 16777216 is not a VNI: an integer from 1 to 16777215$/],
    ['VNI -1', { vni: -1 }, VALUE, /^vni: -1 is not/],
    ['half a VNI', { vni: 1.5 }, VALUE, /^vni: 1\.5 is not/],
    ['a VNI in letters', { vni: '42' }, TYPE, /^vni: expected a VNI, a number, got string$/],
    ['no VNI', { vni: undefined }, TYPE, /^vni: expected a VNI, a number, got /],
    ['MTU 67', { mtu: 67 }, VALUE, /^mtu: 67 is not an MTU: an integer from 68 to 65535$/],
    ['MTU 65536', { mtu: 65_536 }, VALUE, /^mtu: 65536 is not/],
    [
      'an MTU larger than the underlay carries',
      { mtu: 1451 },
      VALUE,
      /^mtu: 1451 is not at most 1450: under0 carries 1500/,
    ],
    [
      'an MTU too small for IPv6',
      { mtu: 1279, address: 'fd00::1/64' },
      VALUE,
      /^mtu: 1279 is not an MTU that carries IPv6: an integer from 1280/,
    ],
    ['an MTU in letters', { mtu: 'large' }, TYPE, /^mtu: expected an MTU, a number, got string$/],
    ['port 0', { port: 0 }, VALUE, /^port: 0 is not a UDP port/],
    ['port 65536', { port: 65_536 }, VALUE, /^port: 65536 is not/],
    [
      'an address without a prefix',
      { address: '192.168.0.1' },
      VALUE,
      /^address: "192\.168\.0\.1" is not an address with its prefix length: write 192\.168\.0\.1\/24$/,
    ],
    ['no address at all', { address: 'gateway' }, VALUE, /^address: "gateway" is not/],
    ['an impossible address', { address: '192.168.0.256/24' }, VALUE, /^address: "192\.168\.0\.256\/24" is not/],
    [
      'a multicast address',
      { address: ['192.168.0.1/24', '224.0.0.1/24'] },
      VALUE,
      /^address\[1\]: "224\.0\.0\.1\/24" is not a unicast address: it is multicast$/,
    ],
    ["the network's own address", { address: '192.168.0.0/24' }, VALUE, /the network's own$/],
    ['an address twice', { address: ['192.168.0.1/24', '192.168.0.1/16'] }, VALUE, /an address given once$/],
    ['an address as a number', { address: 42 }, TYPE, /^address: expected/],
    ['a VTEP that is none', { vtep: 'here' }, VALUE, /^vtep: "here" is not an IP address$/],
    [
      'a multicast VTEP',
      { vtep: '239.1.1.1' },
      VALUE,
      /^vtep: "239\.1\.1\.1" is not a unicast address: it is multicast$/,
    ],
    [
      "a VTEP that is another host's",
      { vtep: '10.0.0.99' },
      'EADDRNOTAVAIL',
      /^vtep 10\.0\.0\.99 is not an address of the host$/,
    ],
    ['a host that is unknown', { host: 'ot-nowhere' }, 'ENOENT', /^no network namespace "ot-nowhere" in \/run\/netns$/],
    ['a host that is no namespace', { host: '/etc/passwd' }, 'EINVAL', /^\/etc\/passwd is not a network namespace/],
    ['a process that is gone', { host: { pid: 4_194_303 } }, 'ESRCH', /^no process 4194303 here$/],
    ['a name with a slash', { name: 'a/b' }, VALUE, /^name: "a\/b" is not an overlay's name/],
    ['a name with a newline', { name: 'a\nb' }, VALUE, /^name: "a\\nb" is not an overlay's name/],
    ['no name', { name: '' }, VALUE, /^name: "" is not an overlay's name: 1 to 255 bytes$/],
    ['the parent directory', { name: '..' }, VALUE, /^name: "\.\." is not an overlay's name/],
    ['a very long name', { name: 'x'.repeat(256) }, VALUE, /^name: "x+\.\.\." is not/],
    ['a name as a number', { name: 7 }, TYPE, /^name: expected an overlay's name, a string, got number$/],
    ['a signal that is none', { signal: 'stop' }, TYPE, /^signal: expected/],
  ];
  test.each(creation)('create: %s', async (note, options, code, words) => {
    const files = openFiles();
    const given = { name: free, vni: 77, host: site.host.name, ...options } as OverlayOptions;
    const error = await refusal(() => Overlay.create(given), note);
    expect(error).toMatchObject({ code, message: expect.stringMatching(words) });
    expect(moreThan(files, openFiles()), note).toEqual([]);
  });

  const attachment: [string, unknown, Partial<Record<keyof AttachOptions, unknown>>, string, RegExp][] = [
    ['a bad MAC', undefined, { mac: '02:42:c0:a8:00' }, VALUE, /^mac: "02:42:c0:a8:00" is not a MAC address such as/],
    [
      'a multicast MAC',
      undefined,
      { mac: '01:00:5e:00:00:01' },
      VALUE,
      /^mac: "01:00:5e:00:00:01" is not a unicast MAC address: it is multicast$/,
    ],
    ['a MAC of zeros', undefined, { mac: '00:00:00:00:00:00' }, VALUE, /it is all zeros$/],
    ['a MAC as a number', undefined, { mac: 2 }, TYPE, /^mac: expected a MAC address, a string, got number$/],
    ['no address', undefined, { address: [] }, VALUE, /^address: .* is not at least one address$/],
    ['an address that is none', undefined, { address: 'dhcp' }, VALUE, /^address: "dhcp" is not/],
    ['a broadcast address', undefined, { address: '192.168.0.255/24' }, VALUE, /broadcast address$/],
    [
      'a long interface name',
      undefined,
      { ifname: 'interface-number-0' },
      VALUE,
      /^ifname: "interface-number-0" is not the name of a network interface: 1 to 15 bytes$/,
    ],
    ['an interface name with a slash', undefined, { ifname: 'a/b' }, VALUE, /^ifname: "a\/b" is not/],
    ['an unknown namespace', 'netns:ot-nowhere', {}, 'ENOENT', /^no network namespace "ot-nowhere" in \/run\/netns$/],
    [
      'an unknown name',
      'ot-nowhere',
      {},
      'ENOENT',
      /^no container "ot-nowhere": .* and there is no namespace of that name in \/run\/netns$/,
    ],
    ['an unknown process', 'pid:4194303', {}, 'ESRCH', /^no process 4194303 here$/],
    [
      'an unknown container of a Docker that is not there',
      'docker:nowhere',
      {},
      'OVERNS_DOCKER',
      /\/nonexistent\/docker\.sock/,
    ],
    ['an unknown path', { path: '/run/netns/ot-nowhere' }, {}, 'ENOENT', /^\/run\/netns\/ot-nowhere does not exist$/],
    ['a container as a number', 42, {}, TYPE, /^container: expected/],
    ['an empty name', '', {}, VALUE, /^/],
    ['a store that cannot look up', undefined, { store: {} }, TYPE, /publish\(\)/],
  ];
  test.each(attachment)('attach: %s', async (note, target, options, code, words) => {
    const files = openFiles();
    const given = { address: '192.168.0.9/24', docker: 'unix:///nonexistent/docker.sock', ...options } as AttachOptions;
    const error = await refusal(
      () => site.overlay.attach((target === undefined ? { path: container.path } : target) as string, given),
      note,
    );
    expect(error).toMatchObject({ code, message: expect.stringMatching(words) });
    expect(moreThan(files, openFiles()), note).toEqual([]);
  });

  test('of the rest', async () => {
    const plain = await createNetns();
    for (const [note, work, code, words] of [
      ['open: unknown', () => Overlay.open('ot-nowhere'), 'ENOENT', /no network namespace "ot-nowhere"/],
      ['open: no overlay', () => Overlay.open(plain.name), 'EINVAL', /is no overlay: it has no vxlan1$/],
      ['open: bad name', () => Overlay.open('a/b'), VALUE, /^name: /],
      ['detach: unknown', () => site.overlay.detach({ path: container.path }), 'ENOENT', /is not attached to/],
      [
        'detach: unknown address',
        () => site.overlay.detach({ ip: '192.168.0.99' }),
        'ENOENT',
        /^192\.168\.0\.99 is not attached/,
      ],
      ['detach: bad address', () => site.overlay.detach({ ip: 'x' }), VALUE, /^ip: "x" is not an IP address$/],
      [
        'resolver: no store',
        () => Resolver.start({ overlays: [site.overlay] }),
        'OVERNS_STORE',
        /has no store to look endpoints up in$/,
      ],
      [
        'resolver: a store that is none',
        () => Resolver.start({ store: {} as never }),
        TYPE,
        /^store: expected a store, which has lookup\(\)/,
      ],
      ['resolver: no overlay', () => Resolver.start({ overlays: ['x'] as never }), TYPE, /^overlay/],
      [
        'resolver: lookupTimeoutMs',
        () => Resolver.start({ lookupTimeoutMs: 0 }),
        VALUE,
        /^lookupTimeoutMs: 0 is not an integer from 1/,
      ],
      ['resolver: maxLookups', () => Resolver.start({ maxLookups: 0.5 }), VALUE, /^maxLookups: 0\.5 is not/],
      ['resolver: negativeTtlMs', () => Resolver.start({ negativeTtlMs: -1 }), VALUE, /^negativeTtlMs: -1 is not/],
      ['store: no URL', () => openStore('consul'), VALUE, /^url: /],
      ['store: another kind', () => openStore('redis://localhost/x'), VALUE, /^url: /],
      ['store: a password', () => openStore('consul://user:secret@localhost/x'), VALUE, /^url: (?!.*secret)/],
      ['rtnl: unknown', () => Rtnl.open({ netns: 'ot-nowhere' }), 'ENOENT', /^no network namespace/],
    ] as [string, () => Promise<unknown>, string, RegExp][]) {
      const error = await refusal(work, note);
      expect(error, note).toMatchObject({ code, message: expect.stringMatching(words) });
    }
    await using closed = await Overlay.open(site.overlay.name);
    await closed.close();
    for (const work of [
      () => closed.attach({ path: container.path }, { address: '192.168.0.9/24' }),
      () => closed.detach({ ip: '192.168.0.2' }),
      () => closed.endpoints(),
      () => closed.delete(),
      async () => closed.misses(),
    ]) {
      expect(await refusal(work, 'a closed overlay')).toMatchObject({ code: 'OVERNS_CLOSED' });
    }
  });

  test('of Rtnl, in the words of the kernel', async () => {
    await using rtnl = await Rtnl.open({ netns: container.name });
    for (const [note, work, expected] of [
      [
        'no such link',
        () => rtnl.neighbors.add({ link: 'nope', ip: '10.0.0.1', mac: '02:00:00:00:00:01', state: 'permanent' }),
        { code: 'ENODEV' },
      ],
      ['bad MAC', () => rtnl.fdb.add({ link: 'lo', mac: 'zz', state: 'permanent' }), {}],
      ['bad IP', () => rtnl.neighbors.add({ link: 'lo', ip: 'x', mac: '02:00:00:00:00:01', state: 'permanent' }), {}],
      [
        'VNI 2^24',
        () => rtnl.links.add({ kind: 'vxlan', name: 'v', vni: 2 ** 24, port: 4789 }),
        { name: 'NetlinkError' },
      ],
      [
        'a link twice',
        () => rtnl.links.add({ kind: 'bridge', name: 'lo' }),
        { code: 'EEXIST', errno: -17, syscall: 'RTM_NEWLINK' },
      ],
      [
        'a deletion of nothing',
        () => rtnl.links.delete({ name: 'nope' }),
        { code: 'ENODEV', errno: -19, syscall: 'RTM_DELLINK' },
      ],
    ] as [string, () => Promise<unknown>, object][]) {
      expect(await refusal(work, note), note).toMatchObject(expected);
    }
  });

  test('nothing of all that has changed anything', async () => {
    expect(await stateOfAll(...all)).toEqual(before);
    expect(await ping(site.container.netns, '192.168.0.1')).toMatchObject({ lost: 0 });
    await expect(Overlay.open(free)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describeWith(['root', 'ip'], 'without privileges', () => {
  test('each call says so, and what it takes', async () => {
    const [host] = await twoHosts();
    const site = await Site.create(host);
    const container = await createContainer();
    const before = await stateOfAll(host, site.netns, container);
    const { stdout, stderr, code } = await runChild(
      `const closed = [];
      await Rtnl.open({}).then((rtnl) => rtnl.close()); // the addon is loaded
      process.setgroups([]);
      process.setgid(65534);
      process.setuid(65534);
      const attempts = {
        create: () => Overlay.create({ name: args.free, vni: 7 }),
        createOn: () => Overlay.create({ name: args.free, vni: 7, host: args.host }),
        open: () => Overlay.open(args.overlay),
        rtnl: async () => {
          await using rtnl = await Rtnl.open({});
          await rtnl.links.add({ kind: 'bridge', name: 'otbr0' });
        },
        inside: () => Rtnl.open({ netns: args.container }),
      };
      for (const [name, attempt] of Object.entries(attempts)) {
        await attempt().then(
          () => say({ name, ok: true }),
          ({ code, message, hint }) => say({ name, code, message, hint }),
        );
      }`.replace('await using rtnl =', 'const rtnl ='),
      { free: uniqueName(), host: host.name, overlay: site.overlay.name, container: container.name },
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const told = said({ stdout });
    expect(told.map(({ name }) => name)).toEqual(['create', 'createOn', 'open', 'rtnl', 'inside']);
    for (const { name, code: errno, message, hint } of told) {
      expect(errno, `${name}: ${message}`).toMatch(/^(EPERM|EACCES)$/);
      expect(message, name).not.toMatch(/\n/);
      expect(hint, name).toMatch(/root|CAP_/);
    }
    expect(await stateOfAll(host, site.netns, container)).toEqual(before);
  });
});

describeWith(['root', 'ip', 'ping', 'consul'], 'a store that cannot be used', () => {
  test('no Consul at all: attach says so and undoes all, the resolver lives on and answers once it is there', async () => {
    const [a, b] = await twoSites();
    const consul = await Consul.start();
    await consul.stop();
    const store = await openStore(`consul://127.0.0.1:${consul.port}/demo`);
    const container = await createContainer();
    const before = await stateOfAll(a.host, a.netns, container);
    const error = await refusal(
      () => a.overlay.attach({ path: container.path }, { address: '192.168.0.9/24', store }),
      'no Consul',
    );
    expect(error).toMatchObject({ code: 'OVERNS_STORE', message: expect.stringContaining('ECONNREFUSED') });
    expect(await stateOfAll(a.host, a.netns, container)).toEqual(before);

    const resolver = await startResolver({ overlays: [a.overlay, b.overlay], store, lookupTimeoutMs: 500 });
    const seen = record(resolver);
    expect(await ping(a.container.netns, b.container.ip, { wait: 0.3 })).toMatchObject({ received: 0 });
    const down = await until(() => seen.find(({ kind }) => kind === 'unresolved'), 'an unresolved miss');
    expect(down).toMatchObject({ cause: expect.stringMatching(/^(timeout|store-error)$/), error: expect.any(Error) });
    await until(async () => (await fetchStatus(a, 'neigh show dev vxlan1')).length === 0, 'nothing is programmed');

    await consul.restart();
    for (const { container: each } of [a, b]) await consul.putEndpoint('demo', each.endpoint);
    await until(async () => {
      await forgetNeighbors(a.container.netns, b.container.netns);
      return (await ping(a.container.netns, b.container.ip, { wait: 1 })).received === 1;
    }, 'a ping, now that Consul is there');
    expect(seen.map(({ kind }) => kind)).toContain('store-up');
  });

  async function fetchStatus(site: Site, command: string): Promise<unknown[]> {
    return site.netns.ipJson(command);
  }

  test('garbage in Consul is told of, programs nothing and disturbs nobody else', async () => {
    const [a, b] = await twoSites();
    const consul = await Consul.start();
    const good = b.container.endpoint;
    await consul.putEndpoint('demo', good);
    await consul.putEndpoint('demo', a.container.endpoint);
    const put = async (key: string, value: string | Buffer): Promise<void> => {
      const answer = await fetch(`${consul.url}/v1/kv/${key}`, {
        method: 'PUT',
        body: new Uint8Array(Buffer.from(value)),
      });
      expect(await answer.json(), key).toBe(true);
    };
    const mac = (last: number): string => `02:42:c0:a8:00:${last.toString(16).padStart(2, '0')}`;
    /** By the last byte of the address: what is recorded for it, and the words that say what is wrong. */
    const garbage: [number, string | Buffer | undefined, string | Buffer | undefined, RegExp][] = [
      [100, 'not a mac', undefined, /arp\/192\.168\.0\.100: its value "not a mac" is not a MAC address/],
      [101, '01:00:5e:00:00:01', '10.0.0.11', /arp\/192\.168\.0\.101: .*multicast/],
      [102, '', '10.0.0.11', /arp\/192\.168\.0\.102: its value is empty/],
      [103, Buffer.alloc(512 * 1024, 'x'), '10.0.0.11', /arp\/192\.168\.0\.103: its value of 524288 bytes/],
      [104, mac(104), 'nonsense', /fib\/02:42:c0:a8:00:68: its value "nonsense" is not/],
      [105, mac(105), '239.1.1.1', /fib\/02:42:c0:a8:00:69: .*multicast/],
      [106, mac(106), '', /fib\/02:42:c0:a8:00:6a: its value is empty/],
      [107, mac(107), undefined, /arp\/192\.168\.0\.107: .*of which there is no record/],
      [108, mac(108), 'fd00:10::11', /VTEP is of the other address family/],
      [109, Buffer.from([0xff, 0xfe, 0x00, 0x01]), undefined, /arp\/192\.168\.0\.109: its value/],
      [110, '02:42:c0:a8:00:6e\r\nX-Forged: yes', '10.0.0.11', /arp\/192\.168\.0\.110: its value/],
      [111, mac(111), '127.0.0.1', /fib\/02:42:c0:a8:00:6f: .*loopback/],
      [112, 'ff:ff:ff:ff:ff:ff', undefined, /arp\/192\.168\.0\.112: .*broadcast/],
      [113, '00:00:00:00:00:00', undefined, /arp\/192\.168\.0\.113: .*zeros/],
    ];
    for (const [last, arp, fib] of garbage) {
      if (arp !== undefined) await put(`demo/arp/192.168.0.${last}`, arp);
      const names = typeof arp === 'string' && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(arp) ? arp : undefined;
      if (fib !== undefined && names) await put(`demo/fib/${names}`, fib);
    }
    const resolver = await startResolver({
      overlays: [a.overlay, b.overlay],
      store: await openStore(`consul://127.0.0.1:${consul.port}/demo`),
    });
    const seen = record(resolver);
    const cold = await Cold.of([a, b]);
    const station = await Station.in(a.container.netns);
    await Station.in(b.container.netns);
    for (const [last, , , words] of garbage) {
      const ip = `192.168.0.${last}`;
      const asked = station.ask(ip, { waitMs: 100 });
      const event = await until(
        () =>
          seen.find(
            (each) =>
              (each.kind === 'unresolved' || each.kind === 'rejected') &&
              each.miss.kind === 'l3' &&
              each.miss.ip === ip,
          ),
        `${ip}: word of it`,
      );
      const told = event.kind === 'unresolved' ? event.error?.message : event.kind === 'rejected' ? event.reason : '';
      const text = told?.replace(` in consul://127.0.0.1:${consul.port}`, '');
      expect(text, ip).toMatch(words);
      expect(text, ip).not.toMatch(/[\r\n\0]/);
      expect(text?.length, ip).toBeLessThan(400);
      await asked;
      expect(await a.netns.ipJson('neigh show dev vxlan1'), ip).toEqual([]);
      // And the next one, of somebody else, is answered as ever.
      expect((await station.ask(good.ip)).ms, `after ${ip}`).toBeLessThan(PROMPT_MS);
      await cold.go();
    }
    const fdb = await a.netns.bridgeJson('fdb show dev vxlan1');
    expect(fdb.filter(({ dst, mac: each }) => dst !== undefined && each !== '00:00:00:00:00:00')).toEqual([]);
    // A bad record is no reason to give the store up.
    expect(seen.filter(({ kind }) => kind === 'store-down')).toEqual([]);
    // Once fixed, it works.
    await consul.putEndpoint('demo', { ip: '192.168.0.100', mac: good.mac, vtep: good.vtep });
    await b.container.netns.ip('address add 192.168.0.100/24 dev eth0');
    await until(async () => {
      await forgetNeighbors(a.container.netns);
      return (await station.ask('192.168.0.100', { waitMs: 1500 })).ms !== undefined;
    }, 'an answer');
  });

  test('a value that Consul refuses is reported in its words, and nothing is attached', async () => {
    const [host] = await twoHosts();
    const site = await Site.create(host);
    const consul = await Consul.start({ config: { limits: { kv_max_value_size: 8 } } });
    const container = await createContainer();
    const before = await stateOfAll(host, site.netns, container);
    const error = await refusal(
      async () =>
        site.overlay.attach(
          { path: container.path },
          { address: '192.168.0.2/24', store: await openStore(`consul://127.0.0.1:${consul.port}/demo`) },
        ),
      'too large',
    );
    expect(error).toMatchObject({ code: 'OVERNS_STORE' });
    expect(error.message).toMatch(/too large/i);
    expect(error.message).toContain('8');
    expect(await stateOfAll(host, site.netns, container)).toEqual(before);
    expect(await consul.keys('demo')).toEqual([]);
  });
});
