/**
 * The seed's story, "Deep dive into Docker Overlay Networks: Part 3", section by section and in its order: an overlay
 * by hand, what the kernel asks, and its answers from Consul. What is done here goes through overns; what came of it is
 * read through iproute2. The tests build on each other, as the story does.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Miss, Overlay, Rtnl, type RtnlEvent, type Subscription } from '../../lib/index.js';
import { done, start } from '../cli/cli.js';
import { Consul } from '../support/consul.js';
import { type Container, Docker } from '../support/docker.js';
import { createContainer, exec, type Host, Netns, type Running, twoHosts, uniqueName } from '../support/netns.js';
import { until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith, testWith } from '../support/requirements.js';

const MAC = { 2: '02:42:c0:a8:00:02', 3: '02:42:c0:a8:00:03' } as const;
const IP = { 2: '192.168.0.2', 3: '192.168.0.3' } as const;
type Last = keyof typeof MAC;

/** One of the seed's two machines: docker0 with container 192.168.0.2, docker1 with 192.168.0.3. */
interface Machine {
  readonly host: Host;
  /** The namespace that the seed calls overns. */
  readonly overns: Netns;
  /** The container that the seed calls demo. */
  readonly demo: Netns;
  readonly last: Last;
}

/** Runs commands in a namespace. The socket is closed again: it would keep the namespace alive. */
async function rtnl<T>(netns: Netns, use: (rtnl: Rtnl) => Promise<T>): Promise<T> {
  const opened = await Rtnl.open({ netns: netns.name });
  try {
    return await use(opened);
  } finally {
    await opened.close();
  }
}

/** create-overlay.sh, command by command. */
async function createOverlay({ host, overns }: Machine, misses = {}): Promise<void> {
  await exec('ip', ['netns', 'add', overns.name]);
  await rtnl(overns, async ({ links, addresses }) => {
    await links.add({ kind: 'bridge', name: 'br0' });
    await addresses.add({ link: 'br0', address: '192.168.0.1/24' });
    await links.set({ name: 'br0', up: true });
  });
  // On the host's socket: the device lives in the overlay and sends through the host.
  await rtnl(host, ({ links }) =>
    links.add({
      kind: 'vxlan',
      name: 'vxlan1',
      netns: overns.name,
      vni: 42,
      proxy: true,
      learning: true,
      port: 4789,
      ...misses,
    }),
  );
  await rtnl(overns, async ({ links }) => {
    await links.set({ name: 'vxlan1', master: 'br0' });
    await links.set({ name: 'vxlan1', up: true });
  });
}

/** attach-ctn.sh, command by command. */
async function attachContainer({ host, overns, demo, last }: Machine): Promise<void> {
  await rtnl(host, ({ links }) =>
    links.add({
      kind: 'veth',
      name: 'veth1',
      mtu: 1450,
      netns: overns.name,
      peer: { name: 'eth0', mac: MAC[last], mtu: 1450, netns: demo.name },
    }),
  );
  await rtnl(overns, async ({ links }) => {
    await links.set({ name: 'veth1', master: 'br0' });
    await links.set({ name: 'veth1', up: true });
  });
  await rtnl(demo, async ({ links, addresses }) => {
    await addresses.add({ link: 'eth0', address: `${IP[last]}/24` });
    await links.set({ name: 'eth0', up: true });
  });
}

/** `ip netns delete overns`; the container's interface goes with its other end, a moment later. */
async function cleanUp(machine: Machine): Promise<void> {
  await machine.overns.remove();
  await until(async () => !/eth0/.test(await machine.demo.ip('link show')), "the end of the container's eth0");
}

/** `ip neighbor show dev vxlan1`: addresses with their MAC addresses, IPv4. */
async function neighbors({ overns }: Machine): Promise<Record<string, unknown>[]> {
  return overns.ipJson('-4 neighbor show dev vxlan1 nud all');
}

/** `bridge fdb show dev vxlan1`, what concerns the two containers. */
async function fdb({ overns }: Machine): Promise<Record<string, unknown>[]> {
  const rows = await overns.bridgeJson('fdb show dev vxlan1');
  return rows.filter(({ mac }) => mac === MAC[2] || mac === MAC[3]);
}

/**
 * Waits until a container's kernel has given up its last question for an address. One that was asked to the end before
 * there was an answer is not asked again while it is pending: a packet that joins it then is lost inside the container.
 */
async function gaveUp(container: Pick<Netns, 'exec'>, ip: string): Promise<void> {
  await until(async () => {
    const { stdout } = await container.exec('ip', ['-j', 'neighbor', 'show', ip]);
    return (JSON.parse(stdout || '[]') as { state: string[] }[]).every(({ state }) => state[0] === 'FAILED');
  }, `the end of the last ARP request for ${ip}`);
}

/** What a subscription gives, as it comes. */
function collect<T>(subscription: Subscription<T>): T[] {
  const all: T[] = [];
  void (async () => {
    for await (const each of subscription) all.push(each);
  })();
  return all;
}

/** `ip monitor`, from the moment it listens: `cause` makes it print something that matches `sign`. */
async function ipMonitor(netns: Netns, what: string, cause: () => Promise<unknown>, sign: RegExp): Promise<Running> {
  const monitor = netns.spawn('ip', ['monitor', what]);
  await until(
    async () => {
      await cause();
      return sign.test(monitor.stdout);
    },
    () => `ip monitor ${what} listening: ${monitor.stdout}${monitor.stderr}`,
  );
  return monitor;
}

describeWith(['root', 'ip', 'ping'], "the seed's story", () => {
  let docker0: Machine;
  let docker1: Machine;
  let machines: readonly Machine[];

  beforeAll(async () => {
    const hosts = await twoHosts();
    const made: Machine[] = [];
    for (const [at, host] of hosts.entries()) {
      made.push({ host, overns: new Netns(uniqueName()), demo: await createContainer(), last: at === 0 ? 2 : 3 });
    }
    [docker0, docker1] = made as [Machine, Machine];
    machines = made;
  });

  describe('Manual overlay creation', () => {
    afterAll(async () => {
      for (const machine of machines) await cleanUp(machine);
    });

    test('a namespace with a bridge and a vxlan device on both hosts', async () => {
      for (const machine of machines) {
        await createOverlay(machine);
        const links = await machine.overns.ipJson('address show');
        const br0 = links.find(({ ifname }) => ifname === 'br0');
        expect(br0).toMatchObject({ flags: expect.arrayContaining(['UP']), linkinfo: { info_kind: 'bridge' } });
        expect(br0.addr_info).toContainEqual(
          expect.objectContaining({ family: 'inet', local: '192.168.0.1', prefixlen: 24 }),
        );
        const vxlan1 = links.find(({ ifname }) => ifname === 'vxlan1');
        expect(vxlan1).toMatchObject({
          master: 'br0',
          flags: expect.arrayContaining(['UP']),
          // Made on the host, and still linked to it.
          link_netnsid: expect.any(Number),
          linkinfo: { info_kind: 'vxlan', info_data: { id: 42, port: 4789, learning: true, proxy: true } },
        });
        expect(vxlan1.linkinfo.info_data).not.toHaveProperty('l2miss');
        expect(await machine.host.ip('link show')).not.toContain('vxlan1');
        const ports = await machine.overns.bridgeJson('link show');
        expect(ports).toEqual([expect.objectContaining({ ifname: 'vxlan1', master: 'br0', state: 'forwarding' })]);
      }
    });

    test('the containers are connected to the bridge', async () => {
      for (const machine of machines) {
        await attachContainer(machine);
        const { overns, demo, last } = machine;
        const [veth1] = await overns.ipJson('link show veth1');
        expect(veth1).toMatchObject({ master: 'br0', mtu: 1450, flags: expect.arrayContaining(['UP', 'LOWER_UP']) });
        const [eth0] = await demo.ipJson('address show eth0');
        expect(eth0).toMatchObject({
          address: MAC[last],
          mtu: 1450,
          flags: expect.arrayContaining(['UP', 'LOWER_UP']),
        });
        expect(eth0.addr_info).toContainEqual(
          expect.objectContaining({ family: 'inet', local: IP[last], prefixlen: 24 }),
        );
        expect((await ping(demo, '192.168.0.1')).received).toBe(1);
      }
    });

    testWith(['tcpdump'], 'no answer yet: the ARP requests arrive at br0, and nobody knows', async () => {
      const tcpdump = docker0.overns.spawn('tcpdump', ['-n', '-l', '-i', 'br0', 'arp']);
      await tcpdump.waitFor(/listening on br0/);
      const { received, errors } = await ping(docker0.demo, IP[3], { wait: 5 });
      expect(received).toBe(0);
      expect(errors).toEqual([expect.stringMatching(/^From 192\.168\.0\.2 .*Destination Host Unreachable$/)]);
      await tcpdump.waitFor(/(ARP, Request who-has 192\.168\.0\.3 tell 192\.168\.0\.2, length 28[\s\S]*){2}/, 'stdout');
      expect(tcpdump.stdout).not.toContain('Reply 192.168.0.3');
      const known = await docker0.demo.ipJson(`neighbor show ${IP[3]}`);
      expect(known.filter((entry) => 'lladdr' in entry)).toEqual([]);
      for (const machine of machines) expect(await neighbors(machine)).toEqual([]);
      // Nothing left the host.
      expect((await fdb(docker1)).filter(({ mac }) => mac === MAC[2])).toEqual([]);
    });

    test('with the ARP and FDB entries on docker0 only: no reply, but docker1 has learned where docker0 is', async () => {
      await rtnl(docker0.overns, async (overns) => {
        await overns.neighbors.add({ link: 'vxlan1', ip: IP[3], mac: MAC[3], state: 'permanent' });
        await overns.fdb.add({
          link: 'vxlan1',
          mac: MAC[3],
          dst: '10.0.0.11',
          vni: 42,
          port: 4789,
          state: 'permanent',
          flags: ['self'],
        });
      });
      expect(await neighbors(docker0)).toEqual([
        expect.objectContaining({ dst: IP[3], lladdr: MAC[3], state: ['PERMANENT'] }),
      ]);
      expect(await fdb(docker0)).toEqual([
        expect.objectContaining({ mac: MAC[3], dst: '10.0.0.11', flags: ['self'], state: 'permanent' }),
      ]);

      expect(await ping(docker0.demo, IP[3], { count: 3, interval: 0.3, wait: 1 })).toMatchObject({
        sent: 3,
        received: 0,
      });
      expect(await neighbors(docker1)).toEqual([]);
      const learned = await fdb(docker1);
      expect(learned).toContainEqual(expect.objectContaining({ mac: MAC[2], dst: '10.0.0.10', flags: ['self'] }));
      expect(learned).toContainEqual(expect.objectContaining({ mac: MAC[2], master: 'br0' }));
      // By the kernel: it ages.
      for (const { state } of learned) expect(state).not.toBe('permanent');
      await gaveUp(docker1.demo, IP[2]);
    });

    test('with the ARP entry on docker1 as well: ping', async () => {
      await rtnl(docker1.overns, (overns) =>
        overns.neighbors.add({ link: 'vxlan1', ip: IP[2], mac: MAC[2], state: 'permanent' }),
      );
      const { sent, received } = await ping(docker0.demo, IP[3], { count: 3, interval: 0.2 });
      expect({ sent, received }).toEqual({ sent: 3, received: 3 });
    });
  });

  describe('Catching network events', () => {
    test('links that are made and deleted, as ip monitor link tells of them', async () => {
      const { host } = docker0;
      let tries = 0;
      const probe = (): Promise<string> => host.ip(`link set under0 alias probe${++tries}`);
      const monitor = await ipMonitor(host, 'link', probe, /: under0/);
      await rtnl(host, async (commands) => {
        const news = commands.monitor({ groups: ['link'] });
        const events = collect(news);
        await commands.links.add({ kind: 'veth', name: 'veth1', peer: { name: 'veth2' } });
        await commands.links.delete({ name: 'veth1' });
        await monitor.waitFor(/(Deleted [\s\S]*){2}\n {4}link\/ether .*\n$/, 'stdout');
        const words = /^(Deleted )?(\d+): (veth\d)[@:].*\n {4}link\/ether (\S+)/gm;
        const printed = [...monitor.stdout.matchAll(words)].map(([, deleted, index, name, mac]) => ({
          action: deleted ? 'delete' : 'new',
          index: Number(index),
          name,
          mac,
        }));
        const own = (): object[] =>
          events.flatMap((event) =>
            event.kind === 'link' && /^veth/.test(String(event.name))
              ? [{ action: event.action, index: event.index, name: event.name, mac: event.mac }]
              : [],
          );
        await until(() => own().length >= printed.length, 'the same news');
        await news[Symbol.asyncDispose]();
        expect(own()).toEqual(printed);
        expect(printed.filter(({ action }) => action === 'new').map(({ name }) => name)).toEqual(
          expect.arrayContaining(['veth1', 'veth2']),
        );
        expect(
          printed
            .filter(({ action }) => action === 'delete')
            .map(({ name }) => name)
            .sort(),
        ).toEqual(['veth1', 'veth2']);
      });
    });

    test('a route that is added and deleted, as ip monitor route tells of it', async () => {
      const { host } = docker0;
      const probe = async (): Promise<void> => {
        await host.ip('route add 8.8.4.4 via 10.0.0.1');
        await host.ip('route del 8.8.4.4 via 10.0.0.1');
      };
      const monitor = await ipMonitor(host, 'route', probe, /8\.8\.4\.4/);
      await rtnl(host, async (commands) => {
        const news = commands.monitor({ groups: ['route'] });
        const events = collect(news);
        await commands.routes.add({ dst: '8.8.8.8/32', gateway: '10.0.0.1' });
        await commands.routes.delete({ dst: '8.8.8.8/32', gateway: '10.0.0.1' });
        await monitor.waitFor(
          /^8\.8\.8\.8 via 10\.0\.0\.1 dev under0 ?\nDeleted 8\.8\.8\.8 via 10\.0\.0\.1 dev under0 ?$/m,
          'stdout',
        );
        await until(() => events.length >= 2, 'both events');
        await news[Symbol.asyncDispose]();
        const route = { kind: 'route', dst: '8.8.8.8/32', gateway: '10.0.0.1', link: 'under0' };
        expect(events).toEqual([
          expect.objectContaining({ ...route, action: 'new' }),
          expect.objectContaining({ ...route, action: 'delete' }),
        ]);
      });
    });

    test('an ordinary device that asks user space: the miss of an absent address, which then has failed', async () => {
      const { host } = docker0;
      const absent = '10.0.0.100';
      await host.sysctl('net/ipv4/neigh/under0/app_solicit', 1);
      await rtnl(host, async (commands) => {
        const news = commands.monitor({ groups: ['neigh'] });
        const events = collect<RtnlEvent>(news);
        expect((await ping(host, absent, { wait: 5 })).received).toBe(0);
        await until(
          () => events.some((event) => event.kind === 'neighbor' && event.ip === absent && event.state === 'failed'),
          () => `the failure among ${events.map((event) => `${event.kind} ${'state' in event ? event.state : ''}`)}`,
        );
        await news[Symbol.asyncDispose]();
        expect(events).toContainEqual(
          expect.objectContaining({ kind: 'miss', query: 'l3', ip: absent, link: 'under0', vxlan: false }),
        );
        // It may be collected: the kernel has one table for all namespaces, and others fill it.
        for (const entry of await host.ipJson(`neighbor show ${absent}`)) {
          expect(entry).toMatchObject({ dst: absent, dev: 'under0' });
          expect(['FAILED', 'INCOMPLETE']).toContain(entry.state[0]);
          expect(entry).not.toHaveProperty('lladdr');
        }
      });
      await host.sysctl('net/ipv4/neigh/under0/app_solicit', 0);
    });

    describe('an overlay that tells of its misses', () => {
      let overlay: Overlay;
      let misses: Miss[];
      let subscription: Subscription<Miss>;
      let printed: Running;
      let monitor: Running;
      const ask = (ip: string) => (): Promise<unknown> =>
        docker0.demo.exec('ping', ['-c1', '-W1', '-q', ip], { check: false });
      /** What each of the three observers said, of one address. */
      const told = (what: string): number[] => [
        misses.filter((miss) => (miss.kind === 'l3' ? miss.ip : miss.mac) === what).length,
        printed.stdout.split(`: ${what}?\n`).length - 1,
        monitor.stdout.split('\n').filter((line) => line.startsWith('miss ') && line.includes(` ${what} `)).length,
      ];
      /** Asks until all three told of it. */
      const asked = (ip: string, what = ip): Promise<unknown> =>
        until(
          async () => {
            const before = told(what);
            await ask(ip)();
            return told(what).every((count, at) => count > (before[at] as number));
          },
          () => `the miss of ${what} (${told(what)}): ${printed.stdout}${monitor.stdout}`,
        );

      beforeAll(async () => {
        await createOverlay(docker0, { l2miss: true, l3miss: true });
        await attachContainer(docker0);
        overlay = await Overlay.open(docker0.overns.name);
        subscription = overlay.misses();
        misses = collect(subscription);
        printed = start(`misses ${docker0.overns.name}`);
        monitor = docker0.overns.spawn('ip', ['monitor', 'neigh']);
      });
      afterAll(async () => {
        await subscription?.[Symbol.asyncDispose]();
        await overlay?.close();
        await printed?.stop();
        await monitor?.stop();
        await cleanUp(docker0);
      });

      test('is what ip shows, and opens as an overlay', async () => {
        const [vxlan1] = await docker0.overns.ipJson('link show vxlan1');
        expect(vxlan1.linkinfo.info_data).toMatchObject({ id: 42, l2miss: true, l3miss: true, proxy: true });
        expect(overlay).toMatchObject({ vni: 42, port: 4789, vtep: '10.0.0.10' });
      });

      test('the L3 miss: who has the IP address?', async () => {
        await asked(IP[3]);
        expect(monitor.stdout).toMatch(/^miss 192\.168\.0\.3 dev vxlan1 +STALE *$/m);
        expect(printed.stdout).toMatch(/^L3Miss on vxlan1: Who has IP: 192\.168\.0\.3\?$/m);
        expect(misses).toContainEqual(
          expect.objectContaining({ kind: 'l3', ip: IP[3], link: 'vxlan1', overlay: overlay.name, vni: 42 }),
        );
        expect(told(MAC[3])).toEqual([0, 0, 0]);
        for (const { state } of await docker0.demo.ipJson(`neighbor show ${IP[3]}`))
          expect(['FAILED', 'INCOMPLETE']).toContain(state[0]);
      });

      test('with the ARP entry, the L2 miss: who has the MAC address?', async () => {
        await rtnl(docker0.overns, (overns) =>
          overns.neighbors.add({ link: 'vxlan1', ip: IP[3], mac: MAC[3], state: 'permanent' }),
        );
        await asked('192.168.0.75'); // all three have told what was before
        const before = told(IP[3]);
        await asked(IP[3], MAC[3]);
        expect(monitor.stdout).toMatch(/^miss dev vxlan1 lladdr 02:42:c0:a8:00:03 STALE *$/m);
        expect(printed.stdout).toMatch(/^L2Miss on vxlan1: Who has Mac Address: 02:42:c0:a8:00:03\?$/m);
        expect(misses).toContainEqual(expect.objectContaining({ kind: 'l2', mac: MAC[3], link: 'vxlan1' }));
        expect(told(IP[3])).toEqual(before);
      });

      test('with the FDB entry, nothing more', async () => {
        await rtnl(docker0.overns, (overns) =>
          overns.fdb.add({ link: 'vxlan1', mac: MAC[3], dst: '10.0.0.11', vni: 42, port: 4789, state: 'permanent' }),
        );
        await asked('192.168.0.76');
        const before = [told(IP[3]), told(MAC[3])];
        await ask(IP[3])();
        await asked('192.168.0.77'); // all three still listen
        expect([told(IP[3]), told(MAC[3])]).toEqual(before);
      });
    });
  });

  describeWith(['consul'], 'Dynamic discovery with Consul', () => {
    let consul: Consul;
    const store = (): string => `consul://127.0.0.1:${consul.port}/demo`;

    beforeAll(async () => {
      consul = await Consul.start();
    });

    /** create-overlay.sh and attach-ctn.sh, in this tool's commands. */
    async function createAndAttach(container: (machine: Machine) => string, options = {}): Promise<void> {
      for (const machine of machines) {
        const { host, overns, last } = machine;
        await done(`create ${overns.name} --vni 42 --address 192.168.0.1/24 --host ${host.name}`);
        await done(`attach ${overns.name} ${container(machine)} --address ${IP[last]}/24`, options);
        expect(await neighbors(machine)).toEqual([]);
        expect((await fdb(machine)).filter(({ dst }) => dst !== undefined)).toEqual([]);
      }
    }

    /** The seed's daemon on a host: arpd-consul.py. */
    async function agent({ overns, last }: Machine): Promise<Running> {
      // What an agent before it held goes with that one's lease, at some time.
      const session = async (): Promise<string | undefined> => {
        const { status, body } = await consul.request('GET', `/v1/kv/demo/arp/${IP[last]}`);
        return status === 200 ? (JSON.parse(body) as { Session?: string }[])[0]?.Session : undefined;
      };
      const before = await session();
      const running = start(`agent ${overns.name} --store ${store()}`);
      await running.waitFor(/^agent ready$/m);
      await until(async () => ![undefined, before].includes(await session()), 'its record under its own lease');
      return running;
    }

    /** The other container's lines of the seed's log, in its order; an L3 miss fills both tables here. */
    async function saidInOrder(running: Running, other: Last, vtep: string): Promise<void> {
      const lines = [
        'agent ready',
        `L3Miss on vxlan1: Who has IP: ${IP[other]}?`,
        `Populating ARP table from Consul: IP ${IP[other]} is ${MAC[other]}`,
        `Populating FIB table from Consul: MAC ${MAC[other]} is on host ${vtep}`,
      ];
      await until(
        () => running.stderr.includes(`${lines.at(-1)}\n`),
        () => `the answer of Consul in: ${running.stderr}`,
      );
      // Without the time and the level of each line.
      const said = running.stderr.split('\n').map((line) => line.replace(/^\d{4}-[\d-]+T[\d:.]+Z \w+ /, ''));
      expect(said.filter((line, at, all) => lines.includes(line) && all.indexOf(line) === at)).toEqual(lines);
    }

    /** Neighbours and forwarding entries on both hosts, as the seed has them. */
    async function populated(): Promise<void> {
      for (const [machine, other, vtep] of [
        [docker0, 3, '10.0.0.11'],
        [docker1, 2, '10.0.0.10'],
      ] as const) {
        expect(await neighbors(machine)).toEqual([expect.objectContaining({ dst: IP[other], lladdr: MAC[other] })]);
        expect((await fdb(machine)).filter(({ dst }) => dst !== undefined)).toEqual([
          expect.objectContaining({ mac: MAC[other], dst: vtep, flags: expect.arrayContaining(['self']) }),
        ]);
      }
    }

    test('the four records, put as curl does', async () => {
      for (const [key, value] of [
        [`demo/arp/${IP[2]}`, MAC[2]],
        [`demo/arp/${IP[3]}`, MAC[3]],
        [`demo/fib/${MAC[2]}`, '10.0.0.10'],
        [`demo/fib/${MAC[3]}`, '10.0.0.11'],
      ] as const) {
        const { status, body } = await consul.put(key, value);
        expect({ status, body: body.trim() }).toEqual({ status: 200, body: 'true' });
      }
      const listed = await done(`records list --store ${store()}`);
      for (const last of [2, 3] as const) {
        expect(listed).toMatch(new RegExp(`^arp +${IP[last]} +${MAC[last]}$`, 'm'));
        expect(listed).toMatch(new RegExp(`^fib +${MAC[last]} +10\\.0\\.0\\.1${last - 2}$`, 'm'));
      }
      expect(await consul.keys('demo')).toHaveLength(4);
    });

    describe('containers that are namespaces', () => {
      afterAll(async () => {
        for (const machine of machines) await cleanUp(machine);
      });

      test('without an agent four of four are lost', async () => {
        await createAndAttach(({ demo }) => demo.name);
        const { sent, received, errors } = await ping(docker0.demo, IP[3], { count: 4 });
        expect({ sent, received }).toEqual({ sent: 4, received: 0 });
        expect(errors[0]).toMatch(/^From 192\.168\.0\.2 .*Destination Host Unreachable$/);
        for (const machine of machines) expect(await neighbors(machine)).toEqual([]);
        await gaveUp(docker0.demo, IP[3]);
      });

      test('with an agent on each host none is', async () => {
        const agents = [await agent(docker0), await agent(docker1)] as const;
        const { sent, received, stdout } = await ping(docker0.demo, IP[3], { count: 4 });
        const logs = agents.map(({ stderr }) => stderr).join('---\n');
        expect({ sent, received }, `${stdout}\n${logs}`).toEqual({ sent: 4, received: 4 });
        await saidInOrder(agents[0], 3, '10.0.0.11');
        await saidInOrder(agents[1], 2, '10.0.0.10');
        await populated();
        for (const running of agents) expect(await running.stop('SIGINT')).toBe(0);
      });
    });

    describeWith(['docker', 'busybox'], 'containers of Docker, started with --net=none', () => {
      let docker: Docker;
      let demo: readonly [Container, Container];

      beforeAll(async () => {
        docker = await Docker.start();
        // Two hosts have a "demo" each in the seed; here one daemon runs both.
        demo = [await docker.run('demo0', { net: 'none' }), await docker.run('demo1', { net: 'none' })];
      });
      afterAll(async () => {
        for (const { overns } of machines) await overns.remove();
        await docker?.stop();
      });

      /** `docker exec demo ping -c 4 192.168.0.3`: its summary. */
      async function dockerPing(): Promise<string> {
        const { stdout } = await docker.cli(['exec', demo[0].name, 'ping', '-c', '4', IP[3]], { check: false });
        return stdout.split('\n').find((line) => line.includes('packets transmitted')) ?? stdout;
      }

      test('without an agent four of four are lost', async () => {
        const name = ({ last }: Machine): string => `docker:${demo[last - 2]?.name}`;
        await createAndAttach(name, { env: { DOCKER_HOST: docker.host } });
        expect((await demo[0].run('ip', 'address', 'show', 'eth0')).stdout).toContain(`${IP[2]}/24`);
        expect((await demo[1].run('ip', 'link', 'show', 'eth0')).stdout).toContain(MAC[3]);
        expect(await dockerPing()).toBe('4 packets transmitted, 0 packets received, 100% packet loss');
        await gaveUp(demo[0], IP[3]);
      });

      test('with an agent on each host none is', async () => {
        const agents = [await agent(docker0), await agent(docker1)] as const;
        expect(await dockerPing()).toBe('4 packets transmitted, 4 packets received, 0% packet loss');
        await saidInOrder(agents[0], 3, '10.0.0.11');
        await saidInOrder(agents[1], 2, '10.0.0.10');
        await populated();
        for (const running of agents) expect(await running.stop('SIGINT')).toBe(0);
      });
    });
  });
});
