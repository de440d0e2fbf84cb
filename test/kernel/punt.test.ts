/** Who else may come to the socket that catches packets for unknown MACs: the host's loopback is everybody's. */
import { expect, test } from 'vitest';
import { type Answer, type Endpoint, openStore, type Query } from '../../lib/index.js';
import { startChild } from '../support/child.js';
import { type Host, twoHosts } from '../support/netns.js';
import { record, Site, startResolver, twoSites, until } from '../support/overlay.js';
import { ping } from '../support/ping.js';
import { describeWith } from '../support/requirements.js';

const ZERO = '00:00:00:00:00:00';

interface Row {
  readonly mac: string;
  readonly dst: string;
  readonly port: number;
  readonly vni: number;
}

async function puntRows(site: Site): Promise<Row[]> {
  return (await site.netns.bridgeJson('fdb show dev vxlan1')).filter(({ mac }) => mac === ZERO);
}

/** A program of a user without any right, in the host's namespace; it gets `args`. */
function asNobody(host: Host, source: string, args: object) {
  const rights = ['--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all'];
  const script = `const args = JSON.parse(process.argv[1]); const dgram = require('node:dgram'); ${source}`;
  return host.spawn('setpriv', [...rights, process.execPath, '-e', script, JSON.stringify(args)]);
}

/** A MAC that both sides know, as after an ARP that was answered elsewhere: only its VTEP is unknown. */
async function known(a: Site, b: Site): Promise<Endpoint> {
  const [here, there] = [a.container, b.container];
  await here.netns.ip(`neigh replace ${there.ip} lladdr ${there.endpoint.mac} dev eth0 nud permanent`);
  await there.netns.ip(`neigh replace ${here.ip} lladdr ${here.endpoint.mac} dev eth0 nud permanent`);
  await b.netns.bridge(`fdb replace ${here.endpoint.mac} dev vxlan1 dst ${a.overlay.vtep} self`);
  await a.netns.bridge(`fdb del ${there.endpoint.mac} dev vxlan1 self`).catch(() => undefined);
  return there.endpoint;
}

describeWith(['root', 'ip', 'ping'], 'the punt', () => {
  test.each(['IPv4', 'IPv6'])(
    'that a killed agent leaves is nobody’s, over %s, and the next takes it over',
    async (family) => {
      const hosts = await twoHosts({ ipv6: family === 'IPv6' });
      const vtep = family === 'IPv6' ? 'ip6' : 'ip4';
      const [a, b] = (await Promise.all(hosts.map((host) => Site.create(host, { vtep: host[vtep] })))) as [Site, Site];
      await Promise.all([a.attach('192.168.0.2/24'), b.attach('192.168.0.3/24')]);
      const endpoint = await known(a, b);
      const agent = startChild(
        `const overlay = await Overlay.open(args.name, { host: args.host });
       const resolver = await Resolver.start({ overlays: [overlay], store: { lookup: () => null } });
       say({ ready: true });`,
        { name: a.overlay.name, host: a.host.name },
      );
      await agent.waitFor(/ready/, 'stdout');
      process.kill(agent.pid, 'SIGKILL');
      await agent.exited;
      const [left] = await puntRows(a);
      expect(left?.port).toBeLessThan(1024);

      const spy = asNobody(
        a.host,
        `const socket = dgram.createSocket(args.dst.includes(':') ? 'udp6' : 'udp4');
       socket.on('error', ({ code }) => { console.log(code); process.exit(); });
       socket.on('message', () => console.log('heard'));
       socket.bind(args.port, args.dst, () => console.log('bound'));`,
        left as Row,
      );
      await spy.waitFor(/EACCES|bound/, 'stdout');
      expect(spy.stdout).toContain('EACCES');

      const asked: Query[] = [];
      const lookup = (query: Query): Answer | null => {
        asked.push(query);
        return query.kind === 'l2' && query.mac === endpoint.mac ? { mac: endpoint.mac, vtep: endpoint.vtep } : null;
      };
      const resolver = await startResolver({ overlays: [a.overlay], store: { lookup } });
      const rows = await puntRows(a);
      expect(rows).toHaveLength(1);
      expect(rows[0]?.vni).not.toBe(left?.vni);
      expect(await ping(a.container.netns, b.container.ip, { count: 1 })).toMatchObject({ lost: 0 });
      expect(resolver.stats().forwarded, JSON.stringify(asked)).toBeGreaterThan(0);
    },
  );

  test('is not had where everybody may bind every port: that is told, and L2 misses are notified', async () => {
    const [a, b] = await twoSites();
    const endpoint = await known(a, b);
    // As a killed agent of an earlier day has left it.
    await a.netns.bridge(`fdb append ${ZERO} dev vxlan1 dst 127.0.0.1 port 40000 self permanent`);
    await a.host.sysctl('net/ipv4/ip_unprivileged_port_start', 0);
    const resolver = await startResolver({
      overlays: [a.overlay],
      store: { lookup: () => ({ mac: endpoint.mac, vtep: endpoint.vtep }) },
    });
    const events = record(resolver);
    await until(() => events.some(({ kind }) => kind === 'punt-off'), 'the reason');
    expect(events.find(({ kind }) => kind === 'punt-off')).toMatchObject({
      reason: expect.stringContaining('net.ipv4.ip_unprivileged_port_start is 0'),
    });
    expect(await puntRows(a)).toEqual([]);
    await ping(a.container.netns, b.container.ip, { count: 2, interval: 0.2 });
    expect(resolver.stats()).toMatchObject({ answers: 1, forwarded: 0 });
  });

  test('is off while the host’s lo is down, which is told, and what the kernel notifies is answered', async () => {
    const [a, b] = await twoSites();
    const endpoint = await known(a, b);
    const store = { lookup: () => ({ mac: endpoint.mac, vtep: endpoint.vtep }) };
    const resolver = await startResolver({ overlays: [a.overlay], store });
    const events = record(resolver);
    const told = () => events.filter(({ kind }) => kind.startsWith('punt-')).map(({ kind }) => kind);
    const forget = () => a.netns.bridge(`fdb del ${endpoint.mac} dev vxlan1 self`).catch(() => undefined);
    await a.host.ip('link set lo down');
    await until(() => told().length === 1, 'the event');
    expect(resolver.overlays()).toMatchObject([{ punt: false, noPunt: "the host's lo is down" }]);
    expect(await puntRows(a)).toEqual([]);
    await ping(a.container.netns, b.container.ip, { count: 2, interval: 0.2 });
    expect(resolver.stats()).toMatchObject({ answers: 1, forwarded: 0 });
    await a.host.ip('link set lo up');
    await until(() => told().length === 2, 'the event');
    expect(told()).toEqual(['punt-off', 'punt-on']);
    expect(resolver.overlays()[0]).toMatchObject({ punt: true });
    expect(resolver.overlays()[0]).not.toHaveProperty('noPunt');
    await forget();
    expect(await ping(a.container.netns, b.container.ip, { count: 1 })).toMatchObject({ lost: 0 });
    expect(resolver.stats().forwarded).toBe(1);
  });

  test('has the address of a MAC that a container knew already programmed, so that no agent is needed to confirm it', async () => {
    const [a, b] = await twoSites();
    const endpoint = await known(a, b);
    const { netns } = a.container;
    const store = await openStore('memory:');
    await store.publish(endpoint);
    const resolver = await startResolver({ overlays: [a.overlay], store, sync: 'all' });
    const events = record(resolver);
    await until(() => resolver.stats().endpoints === 1, 'the store is known');
    expect(await a.netns.ipJson('neigh show dev vxlan1')).toEqual([]);
    expect(await ping(netns, endpoint.ip, { count: 1 })).toMatchObject({ lost: 0 });
    await until(async () => (await a.netns.ipJson('neigh show dev vxlan1')).length > 0, 'the neighbour is programmed');
    expect(await a.netns.ipJson('neigh show dev vxlan1')).toMatchObject([{ dst: endpoint.ip, lladdr: endpoint.mac }]);
    // As the container's own kernel asks, once its entry has not been confirmed for a while.
    await netns.ip(`neigh replace ${endpoint.ip} lladdr ${endpoint.mac} dev eth0 nud probe`);
    await until(
      async () => (await netns.ipJson('neigh show dev eth0'))[0]?.state.includes('REACHABLE') === true,
      'vxlan1 answers for it',
    );
    // One question was answered, for the MAC: nobody has missed the address.
    expect(resolver.stats().answers).toBe(1);
    const asked = () => events.flatMap((event) => (event.kind === 'resolved' ? [event.miss.kind] : []));
    await until(() => asked().length > 0, 'the event');
    expect(asked()).toEqual(['l2']);
  });

  test('lets in what the kernel sends, and nothing of what others send to its port', async () => {
    const [a, b] = await twoSites();
    const endpoint = await known(a, b);
    const asked: string[] = [];
    const lookup = (query: Query): Answer => {
      asked.push(query.kind === 'l2' ? query.mac : query.ip);
      return { mac: endpoint.mac, vtep: endpoint.vtep };
    };
    const resolver = await startResolver({ overlays: [a.overlay], store: { lookup } });
    const [row] = await puntRows(a);
    // Packets of the overlay in all but the secret, more than the socket's buffer has room for.
    const flood = asNobody(
      a.host,
      `const packet = Buffer.alloc(1400); packet[0] = 8; packet[6] = args.vni; packet[8] = 2;
       const socket = dgram.createSocket('udp4');
       let left = 40_000;
       const more = () => {
         for (let i = 0; i < 100; i++) socket.send(packet, args.port, args.dst, i === 99 ? next : () => {});
       };
       const next = () => { left -= 100; if (left > 0) setImmediate(more); else { console.log('sent'); socket.close(); } };
       more();`,
      { ...row, vni: a.overlay.vni },
    );
    await flood.waitFor(/sent/, 'stdout');
    expect(asked).not.toContain('02:00:00:00:00:00');
    expect(await ping(a.container.netns, b.container.ip, { count: 1 })).toMatchObject({ lost: 0 });
    expect(resolver.stats()).toMatchObject({ forwarded: 1, packetsDropped: 0 });
  });
});
