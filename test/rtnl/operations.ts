/**
 * Operations on links, addresses, routes, neighbours, FDB entries, each in two forms: a call of Rtnl, and a line of
 * `ip -batch` or `bridge -batch`. They are drawn from few names and addresses, so that they meet: what is added exists
 * already, or is on a link that is gone.
 */
import fc from 'fast-check';
import type { Address, FdbEntry, LinkChange, LinkSpec, Neighbor, Route, Rtnl } from '../../lib/index.js';

export interface Operation {
  /** What iproute2 does: `ip` or `bridge` and the line. */
  readonly tool: 'ip' | 'bridge';
  readonly line: string;
  /** The same by Rtnl; absent: what it lists only, and iproute2 makes on both sides. */
  readonly rtnl?: (rtnl: Rtnl) => Promise<unknown>;
  /** The kernel finishes it later, by itself: carriers that come and go, IPv6 addresses. */
  readonly later?: boolean;
  /** The same thing added, replaced, appended or deleted, where that makes sense. */
  readonly again?: (verb: Verb) => Operation;
}

type Verb = 'add' | 'replace' | 'append' | 'delete';
const VERBS = ['add', 'replace', 'append', 'delete'] as const;
/** One operation on something, that knows the others on it. */
function again(verb: Verb, make: (verb: Verb) => Operation): Operation {
  return { ...make(verb), again: (other) => again(other, make) };
}
const anyVerb = fc.oneof(
  { weight: 3, arbitrary: fc.constant('add' as const) },
  { weight: 2, arbitrary: fc.constantFrom(...VERBS) },
);

type Words = readonly (string | undefined)[];
const line = (...words: Words): string => words.filter((word) => word !== undefined).join(' ');
const pick = <const T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
/** Left out `nil` times in `nil + 1`. */
const maybe = <T>(of: fc.Arbitrary<T>, nil = 2): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: nil, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: of });
const rarely = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => maybe(of, 12);
/** An option and the words for it. */
const onOff = (value: boolean | undefined, on: string, off: string): string | undefined =>
  value === undefined ? undefined : value ? on : off;
const word = (name: string, value: unknown): string | undefined =>
  value === undefined ? undefined : `${name} ${String(value)}`;
const defined = <T extends object>(fields: T): { readonly [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    readonly [K in keyof T]: Exclude<T[K], undefined>;
  };

export const LINKS = ['br0', 'br1', 'va0', 'vb0', 'va1', 'vb1', 'vx0', 'vx1', 'mv0', 'if0', 'nn0'] as const;
const anyLink = fc.oneof(
  { weight: 3, arbitrary: pick('br0', 'va0', 'va1', 'vx0') },
  { weight: 2, arbitrary: pick(...LINKS) },
);
/**
 * What may become a port: of a pair one end, and not what stands upon the other. A report to a group that finds both ends
 * in one bridge goes round for ever, and takes a CPU.
 */
const port = pick('vb0', 'vb1', 'vx0', 'vx1', 'br0', 'br1', 'if0');
const lower = pick('va0', 'va0', 'va1', 'vb0', 'vb1');
const mac = fc.integer({ min: 1, max: 12 }).map((last) => `02:00:00:00:00:${last.toString(16).padStart(2, '0')}`);
const ip4 = fc.integer({ min: 1, max: 9 }).map((last) => `10.0.${last % 2}.${last}`);
const ip6 = fc.integer({ min: 1, max: 9 }).map((last) => `fd00:${last % 2}::${last}`);
const anyIp = fc.oneof(ip4, ip6);
const vtep = fc.oneof(pick('10.1.0.1', '10.1.0.2'), pick('fd01::1', 'fd01::2'));
const number = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });

// --- Links ----------------------------------------------------------------------------------------------------

const bridgeOptions = fc.record({
  ageingTime: maybe(pick(0, 3000, 60000)),
  forwardDelay: maybe(pick(200, 3000)),
  helloTime: maybe(pick(100, 1000)),
  maxAge: maybe(pick(600, 4000)),
  priority: maybe(number(0, 65535)),
  groupFwdMask: maybe(pick(0, 8, 0x4000, 1)),
  mcastSnooping: maybe(fc.boolean()),
  mcastQuerier: maybe(fc.boolean()),
  mcastRouter: maybe(number(0, 3)),
  mcastHashMax: maybe(pick(512, 4096, 1000)),
  mcastQueryInterval: maybe(pick(10000, 20000)),
  mcastStatsEnabled: maybe(fc.boolean()),
  mcastMldVersion: maybe(number(1, 2)),
  nfCallIptables: maybe(fc.boolean()),
});
type BridgeOptions = typeof bridgeOptions extends fc.Arbitrary<infer T> ? T : never;
const bridgeWords = (options: BridgeOptions): string =>
  line(
    word('ageing_time', options.ageingTime),
    word('forward_delay', options.forwardDelay),
    word('hello_time', options.helloTime),
    word('max_age', options.maxAge),
    word('priority', options.priority),
    word('group_fwd_mask', options.groupFwdMask),
    word('mcast_snooping', options.mcastSnooping === undefined ? undefined : Number(options.mcastSnooping)),
    word('mcast_querier', options.mcastQuerier === undefined ? undefined : Number(options.mcastQuerier)),
    word('mcast_router', options.mcastRouter),
    word('mcast_hash_max', options.mcastHashMax),
    word('mcast_query_interval', options.mcastQueryInterval),
    word(
      'mcast_stats_enabled',
      options.mcastStatsEnabled === undefined ? undefined : Number(options.mcastStatsEnabled),
    ),
    word('mcast_mld_version', options.mcastMldVersion),
    word('nf_call_iptables', options.nfCallIptables === undefined ? undefined : Number(options.nfCallIptables)),
  );

const vxlanOptions = fc.record({
  local: maybe(vtep),
  group: maybe(fc.oneof(vtep, pick('239.1.1.1', 'ff05::1'))),
  device: maybe(lower),
  port: maybe(pick(4789, 4790)),
  portRange: maybe(pick({ low: 1000, high: 2000 }, { low: 40000, high: 40001 }, { low: 5, high: 4 })),
  ttl: maybe(number(1, 255)),
  tos: maybe(number(0, 255)),
  df: maybe(pick('unset', 'set', 'inherit')),
  label: maybe(number(0, 0xfffff)),
  ageing: maybe(number(0, 1000)),
  limit: maybe(pick(0, 1, 1000)),
  learning: maybe(fc.boolean()),
  proxy: maybe(fc.boolean()),
  rsc: maybe(fc.boolean()),
  l2miss: maybe(fc.boolean()),
  l3miss: maybe(fc.boolean()),
  udpCsum: maybe(fc.boolean()),
  udpZeroCsum6Tx: maybe(fc.boolean()),
  udpZeroCsum6Rx: maybe(fc.boolean()),
  remcsumTx: maybe(fc.boolean()),
  remcsumRx: maybe(fc.boolean()),
  gbp: maybe(pick(true)),
});
type VxlanOptions = typeof vxlanOptions extends fc.Arbitrary<infer T> ? T : never;
const vxlanWords = (options: VxlanOptions): string =>
  line(
    word('local', options.local),
    word(options.group && /^(239|ff)/.test(options.group) ? 'group' : 'remote', options.group),
    word('dev', options.device),
    word('dstport', options.port),
    word('srcport', options.portRange && `${options.portRange.low} ${options.portRange.high}`),
    word('ttl', options.ttl),
    word('tos', options.tos === undefined ? undefined : `0x${options.tos.toString(16)}`),
    word('df', options.df),
    word('flowlabel', options.label === undefined ? undefined : `0x${options.label.toString(16)}`),
    word('ageing', options.ageing),
    word('maxaddress', options.limit),
    onOff(options.learning, 'learning', 'nolearning'),
    onOff(options.proxy, 'proxy', 'noproxy'),
    onOff(options.rsc, 'rsc', 'norsc'),
    onOff(options.l2miss, 'l2miss', 'nol2miss'),
    onOff(options.l3miss, 'l3miss', 'nol3miss'),
    onOff(options.udpCsum, 'udpcsum', 'noudpcsum'),
    onOff(options.udpZeroCsum6Tx, 'udp6zerocsumtx', 'noudp6zerocsumtx'),
    onOff(options.udpZeroCsum6Rx, 'udp6zerocsumrx', 'noudp6zerocsumrx'),
    onOff(options.remcsumTx, 'remcsumtx', 'noremcsumtx'),
    onOff(options.remcsumRx, 'remcsumrx', 'noremcsumrx'),
    options.gbp ? 'gbp' : undefined,
  );

const anyOptions = fc.record({
  mtu: maybe(pick(1280, 1400, 1500, 9000, 100000)),
  up: maybe(fc.boolean()),
  master: maybe(pick('br0', 'br1')),
  txQueueLength: maybe(pick(0, 10, 5000)),
  addrGenMode: maybe(pick('none', 'eui64')),
});

function add(spec: LinkSpec, words: string): Operation {
  return { tool: 'ip', line: words, rtnl: (rtnl) => rtnl.links.add(defined(spec)), later: true };
}
const addBridge = fc
  .record({ name: pick('br0', 'br1'), mac, options: bridgeOptions })
  .map(({ name, mac: address, options }) =>
    add(
      { kind: 'bridge', name, mac: address, ...options },
      `link add ${name} address ${address} type bridge ${bridgeWords(options)}`,
    ),
  );
const addVeth = fc
  .record({ n: pick(0, 1), mac, peerMac: mac, any: anyOptions, peerMtu: maybe(pick(1400, 9000)) })
  .map(({ n, mac: address, peerMac, any, peerMtu }) =>
    add(
      {
        kind: 'veth',
        name: `va${n}`,
        mac: address,
        mtu: any.mtu,
        txQueueLength: any.txQueueLength,
        peer: defined({ name: `vb${n}`, mac: peerMac, mtu: peerMtu }),
      },
      line(
        `link add va${n}`,
        word('txqueuelen', any.txQueueLength),
        `address ${address}`,
        word('mtu', any.mtu),
        `type veth peer name vb${n} address ${peerMac}`,
        word('mtu', peerMtu),
      ),
    ),
  );
const addVxlan = fc
  .record({ name: pick('vx0', 'vx1'), vni: pick(1, 42, 0xffffff, 0x1000000), mac, options: vxlanOptions })
  .filter(({ vni }) => vni <= 0xffffff)
  .map(({ name, vni, mac: address, options }) =>
    add(
      { kind: 'vxlan', name, vni, mac: address, ...options },
      `link add ${name} address ${address} type vxlan id ${vni} ${vxlanWords(options)}`,
    ),
  );
const addMetadataVxlan = fc
  .record({
    name: pick('vx0', 'vx1'),
    mac,
    vnifilter: maybe(fc.boolean()),
    gpe: maybe(pick(true)),
    learning: fc.boolean(),
  })
  .map(({ name, mac: address, vnifilter, gpe, learning }) =>
    add(
      { kind: 'vxlan', name, mac: address, collectMetadata: true, port: 4789, learning, vnifilter, gpe },
      line(
        `link add ${name} address ${address} type vxlan external dstport 4789`,
        onOff(learning, 'learning', 'nolearning'),
        onOff(vnifilter, 'vnifilter', 'novnifilter'),
        gpe ? 'gpe' : undefined,
      ),
    ),
  );
const MACVLAN_MODES = ['private', 'vepa', 'bridge', 'passthru', 'source'] as const;
const addMacvlan = fc
  .record({ link: lower, mac, mode: maybe(pick(...MACVLAN_MODES)), bcQueueLength: maybe(pick(10, 2000)) })
  .map(({ link, mac: address, mode, bcQueueLength }) =>
    add(
      { kind: 'macvlan', name: 'mv0', link, mac: address, mode, bcQueueLength },
      line(
        `link add link ${link} name mv0 address ${address} type macvlan`,
        word('mode', mode),
        word('bcqueuelen', bcQueueLength),
      ),
    ),
  );
const addIfb = mac.map((address) =>
  add({ kind: 'ifb', name: 'if0', mac: address }, `link add if0 address ${address} type ifb`),
);
const deleteLink = anyLink.map(
  (name): Operation => ({
    tool: 'ip',
    line: `link del ${name}`,
    rtnl: (rtnl) => rtnl.links.delete({ name }),
    later: true,
  }),
);

function set(change: LinkChange, words: string): Operation {
  return {
    tool: 'ip',
    line: `link set ${change.name} ${words}`,
    rtnl: (rtnl) => rtnl.links.set(defined(change)),
    later: true,
  };
}
const setLink = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(anyLink, fc.boolean()).map(([name, up]) => set({ name, up }, up ? 'up' : 'down')) },
  fc.tuple(anyLink, pick(68, 1280, 1450, 1500, 9000, 70000)).map(([name, mtu]) => set({ name, mtu }, `mtu ${mtu}`)),
  fc
    .tuple(anyLink, fc.oneof(mac, pick('01:00:5e:00:00:01')))
    .map(([name, address]) => set({ name, mac: address }, `address ${address}`)),
  {
    weight: 4,
    arbitrary: fc
      .tuple(port, maybe(pick('br0', 'br1')))
      .map(([name, master]) => set({ name, master: master ?? null }, master ? `master ${master}` : 'nomaster')),
  },
  fc.tuple(anyLink, pick('first', 'second')).map(([name, alias]) => set({ name, alias }, `alias ${alias}`)),
  fc.tuple(anyLink, anyLink).map(([name, newName]) => set({ name, newName }, `name ${newName}`)),
  fc.tuple(anyLink, fc.boolean()).map(([name, arp]) => set({ name, arp }, `arp ${arp ? 'on' : 'off'}`)),
  fc
    .tuple(anyLink, fc.boolean())
    .map(([name, multicast]) => set({ name, multicast }, `multicast ${multicast ? 'on' : 'off'}`)),
  fc
    .tuple(anyLink, fc.boolean())
    .map(([name, allMulticast]) => set({ name, allMulticast }, `allmulticast ${allMulticast ? 'on' : 'off'}`)),
  fc
    .tuple(anyLink, fc.boolean())
    .map(([name, promiscuous]) => set({ name, promiscuous }, `promisc ${promiscuous ? 'on' : 'off'}`)),
  fc.tuple(anyLink, pick(0, 77)).map(([name, linkGroup]) => set({ name, linkGroup }, `group ${linkGroup}`)),
  fc
    .tuple(anyLink, pick(0, 5, 2000))
    .map(([name, txQueueLength]) => set({ name, txQueueLength }, `txqueuelen ${txQueueLength}`)),
  fc
    .tuple(anyLink, pick('none', 'eui64', 'random'))
    .map(([name, addrGenMode]) => set({ name, addrGenMode }, `addrgenmode ${addrGenMode}`)),
  fc
    .tuple(anyLink, fc.boolean())
    .map(([name, protoDown]) => set({ name, protoDown }, `protodown ${protoDown ? 'on' : 'off'}`)),
  fc.tuple(anyLink, fc.boolean()).map(([name, carrier]) => set({ name, carrier }, `carrier ${carrier ? 'on' : 'off'}`)),
  fc
    .tuple(anyLink, pick(20000, 65536))
    .map(([name, gsoMaxSize]) => set({ name, gsoMaxSize }, `gso_max_size ${gsoMaxSize}`)),
);
const changeBridge = fc
  .tuple(pick('br0', 'br1', 'vx0'), bridgeOptions)
  .map(([name, options]) => set({ name, kind: 'bridge', ...options }, `type bridge ${bridgeWords(options)}`));
const changeVxlan = fc
  .tuple(pick('vx0', 'vx1', 'br0'), vxlanOptions)
  .map(([name, options]) => set({ name, kind: 'vxlan', ...options }, `type vxlan ${vxlanWords(options)}`));
const changeMacvlan = fc
  .tuple(pick('mv0', 'br0'), pick(...MACVLAN_MODES))
  .map(([name, mode]) => set({ name, kind: 'macvlan', mode }, `type macvlan mode ${mode}`));
const bridgePort = fc.record({
  cost: maybe(number(1, 70000)),
  priority: maybe(number(0, 70)),
  hairpin: maybe(fc.boolean()),
  guard: maybe(fc.boolean()),
  rootBlock: maybe(fc.boolean()),
  fastLeave: maybe(fc.boolean()),
  learning: maybe(fc.boolean()),
  flood: maybe(fc.boolean()),
  mcastFlood: maybe(fc.boolean()),
  bcastFlood: maybe(fc.boolean()),
  proxyArp: maybe(fc.boolean()),
  neighSuppress: maybe(fc.boolean()),
  isolated: maybe(fc.boolean()),
  locked: maybe(fc.boolean()),
});
const PORT_WORDS = {
  hairpin: 'hairpin',
  guard: 'guard',
  rootBlock: 'root_block',
  fastLeave: 'fastleave',
  learning: 'learning',
  flood: 'flood',
  mcastFlood: 'mcast_flood',
  bcastFlood: 'bcast_flood',
  proxyArp: 'proxy_arp',
  neighSuppress: 'neigh_suppress',
  isolated: 'isolated',
  locked: 'locked',
} as const;
const changePort = fc
  .tuple(anyLink, bridgePort)
  .filter(([, port]) => Object.values(port).some((value) => value !== undefined))
  .map(([name, port]) =>
    set(
      { name, bridgePort: defined(port) },
      line(
        'type bridge_slave',
        word('cost', port.cost),
        word('priority', port.priority),
        ...Object.entries(PORT_WORDS).map(([key, text]) => {
          const value = port[key as keyof typeof PORT_WORDS];
          return value === undefined ? undefined : `${text} ${value ? 'on' : 'off'}`;
        }),
      ),
    ),
  );

// --- Addresses ------------------------------------------------------------------------------------------------

const address = fc
  .record({
    verb: anyVerb,
    link: anyLink,
    ip: anyIp,
    prefix: pick(16, 24, 32, 64, 128),
    peer: maybe(anyIp),
    broadcast: maybe(pick('10.0.0.255', '10.255.255.255')),
    scope: maybe(pick('global', 'link', 'host')),
    label: maybe(pick('x', 'y')),
    lifetimes: maybe(
      pick({ validLifetime: 5000, preferredLifetime: 3000 }, { validLifetime: 7000, preferredLifetime: 7000 }),
    ),
    metric: maybe(pick(5, 700)),
    noprefixroute: maybe(fc.boolean()),
    nodad: maybe(pick(true)),
  })
  .filter(({ ip, prefix, peer, broadcast }) => {
    const six = ip.includes(':');
    return (
      (six || prefix <= 32) && (peer === undefined || peer.includes(':') === six) && !(six && broadcast !== undefined)
    );
  })
  .map(({ verb: first, link, ip, prefix, peer, broadcast, scope, label, lifetimes, metric, noprefixroute, nodad }) =>
    again(first === 'append' ? 'add' : first, (given) => {
      const verb = given === 'append' ? 'add' : given;
      const six = ip.includes(':');
      const item: Address = defined({
        link,
        address: `${ip}/${prefix}`,
        peer,
        broadcast,
        scope,
        label: label === undefined || six ? undefined : `${link}:${label}`,
        ...(verb === 'delete' ? {} : lifetimes),
        metric,
        noprefixroute,
        nodad: six ? nodad : undefined,
      }) as Address;
      return {
        tool: 'ip',
        line: line(
          `address ${verb === 'delete' ? 'del' : verb}`,
          peer === undefined ? `${ip}/${prefix}` : `${ip} peer ${peer}/${prefix}`,
          `dev ${link}`,
          word('broadcast', broadcast),
          word('scope', scope),
          word('label', item.label),
          lifetimes && verb !== 'delete'
            ? `valid_lft ${lifetimes.validLifetime} preferred_lft ${lifetimes.preferredLifetime}`
            : undefined,
          word('metric', metric),
          noprefixroute ? 'noprefixroute' : undefined,
          item.nodad ? 'nodad' : undefined,
        ),
        rtnl: (rtnl) => rtnl.addresses[verb](item),
        later: six,
      };
    }),
  );

// --- Routes ---------------------------------------------------------------------------------------------------

const destination4 = pick('10.9.0.0/16', '10.8.0.0/24', '10.7.0.1/32', 'default', '10.6.0.1/16');
const destination6 = pick('fd09::/32', 'fd08::/64', 'fd07::1/128', 'default');
const hop = (gateway: fc.Arbitrary<string>) =>
  fc
    .record({
      gateway: fc.option(gateway, { nil: undefined, freq: 6 }),
      link: maybe(anyLink),
      weight: maybe(pick(1, 3, 256)),
      onlink: rarely(pick(true)),
    })
    // iproute2 has no words for a hop without anything; a weight of 1 is one without a weight.
    .map((each) => (Object.values(each).every((value) => value === undefined) ? { ...each, weight: 1 } : each));
/** In a batch iproute2 takes a name after a number for that number (rtnl_rtprot_a2n keeps the one with the other). */
const PROTOCOLS = { static: 4, bgp: 186 } as const;
const routeOf = (six: boolean) =>
  fc
    .record({
      verb: anyVerb,
      dst: six ? destination6 : destination4,
      type: maybe(pick('unicast', 'blackhole', 'unreachable', 'prohibit', 'throw', 'local'), 4),
      way: pick('none', 'direct', 'direct', 'gateway', 'both', 'both', 'other', 'many', 'many', 'nexthop'),
      gateway: six ? ip6 : ip4,
      other: six ? ip4 : ip6,
      link: anyLink,
      hops: fc.array(hop(six ? ip6 : ip4), { minLength: 1, maxLength: 3 }),
      nexthop: number(1, 4),
      source: rarely(six ? ip6 : ip4),
      table: maybe(pick(254, 1000, 77)),
      metric: maybe(pick(0, 5, 1024)),
      tos: six ? fc.constant(undefined) : rarely(pick(4, 8)),
      protocol: maybe(pick('static', 'bgp')),
      scope: six ? fc.constant(undefined) : rarely(pick('global', 'link', 'host')),
      onlink: rarely(pick(true)),
      mtu: maybe(pick(1300, 1400)),
      hoplimit: maybe(pick(0, 33)),
      preference: six ? maybe(pick('low', 'medium', 'high')) : fc.constant(undefined),
    })
    .map((given) =>
      again(given.verb, (verb) => {
        const { dst, way, type } = given;
        const ways: Partial<Route> =
          way === 'direct'
            ? { link: given.link }
            : way === 'gateway'
              ? { gateway: given.gateway }
              : way === 'both'
                ? { gateway: given.gateway, link: given.link }
                : way === 'other'
                  ? { gateway: given.other, link: given.link }
                  : way === 'many'
                    ? {
                        nexthops: given.hops.map(({ gateway, link, weight, onlink }) =>
                          defined({ gateway, link, weight, flags: onlink ? ['onlink'] : undefined }),
                        ) as never,
                      }
                    : way === 'nexthop'
                      ? { nexthop: given.nexthop }
                      : {};
        const metrics =
          given.mtu === undefined && given.hoplimit === undefined
            ? undefined
            : defined({ mtu: given.mtu, hoplimit: given.hoplimit });
        const item = defined({
          dst,
          family: six ? 'inet6' : 'inet',
          type,
          ...ways,
          source: given.source,
          table: given.table,
          metric: given.metric,
          tos: given.tos,
          protocol: given.protocol,
          scope: given.scope,
          flags: given.onlink ? ['onlink'] : undefined,
          metrics,
          preference: given.preference,
        }) as Route;
        const viaWords = (gateway: string | undefined): string | undefined =>
          gateway === undefined
            ? undefined
            : gateway.includes(':') === six
              ? `via ${gateway}`
              : `via ${six ? 'inet' : 'inet6'} ${gateway}`;
        return {
          tool: 'ip',
          line: line(
            `route ${verb === 'delete' ? 'del' : verb}`,
            type,
            // In a batch the family has to show.
            dst === 'default' ? (six ? '::/0' : '0.0.0.0/0') : dst,
            word('tos', given.tos),
            way === 'nexthop' ? `nhid ${given.nexthop}` : undefined,
            viaWords(ways.gateway),
            word('dev', ways.link),
            word('src', given.source),
            word('table', given.table),
            word('metric', given.metric),
            word('protocol', given.protocol && PROTOCOLS[given.protocol]),
            word('scope', given.scope),
            given.onlink ? 'onlink' : undefined,
            word('mtu', given.mtu),
            word('hoplimit', given.hoplimit),
            word('pref', given.preference),
            ...(way === 'many'
              ? given.hops.map(({ gateway, link, weight, onlink }) =>
                  line(
                    'nexthop',
                    viaWords(gateway),
                    word('dev', link),
                    word('weight', weight),
                    onlink ? 'onlink' : undefined,
                  ),
                )
              : []),
          ),
          rtnl: (rtnl) => (rtnl.routes as Required<typeof rtnl.routes>)[verb](item),
        };
      }),
    );

// --- Neighbours and FDB entries -------------------------------------------------------------------------------

const neighbor = fc
  .record({
    verb: anyVerb,
    link: anyLink,
    ip: anyIp,
    mac,
    state: pick('permanent', 'noarp', 'stale'),
    flags: fc.subarray(['router', 'extern_learn']),
    proxy: fc.boolean(),
    protocol: maybe(pick(4, 186)),
  })
  .map(({ verb: first, link, ip, mac: address, state, flags, proxy, protocol }) =>
    again(first, (given) => {
      const verb = given === 'append' ? 'replace' : given;
      const bare = verb === 'delete';
      const item: Neighbor = proxy
        ? (defined({ link, ip, flags: ['proxy'], protocol }) as unknown as Neighbor)
        : (defined({ link, ip, mac: address, state, flags, protocol }) as Neighbor);
      return {
        tool: 'ip',
        line: proxy
          ? line(`neigh ${bare ? 'del' : verb} proxy ${ip} dev ${link}`, word('protocol', protocol))
          : line(
              `neigh ${bare ? 'del' : verb} ${ip} lladdr ${address} dev ${link} nud ${state}`,
              ...flags,
              word('protocol', protocol),
            ),
        rtnl: (rtnl) => rtnl.neighbors[verb](item),
      };
    }),
  );

/** Groups' MACs that no link listens to by itself. */
export const GROUPS = ['01:00:5e:00:00:05', '33:33:00:00:00:05'] as const;
const fdb = fc
  .record({
    verb: anyVerb,
    link: fc.oneof(
      { weight: 3, arbitrary: pick('vx0') },
      { weight: 1, arbitrary: pick('vx1', 'vb1') },
      { weight: 1, arbitrary: anyLink },
    ),
    mac: fc.oneof(mac, pick('00:00:00:00:00:00', ...GROUPS)),
    dst: fc.option(vtep, { nil: undefined, freq: 4 }),
    port: maybe(pick(4790, 4791)),
    vni: maybe(pick(42, 43)),
    sourceVni: rarely(pick(42, 44)),
    via: maybe(lower, 4),
    nexthop: rarely(pick(5, 6)),
    vlan: rarely(pick(5)),
    state: maybe(pick('permanent', 'static', 'dynamic')),
    flags: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.subarray(['use', 'extern_learn', 'sticky', 'router']) },
    ),
    where: pick('self', 'self', 'self', 'master', 'master', 'both', 'neither'),
  })
  .map(({ verb: first, link, mac: address, dst, port, vni, sourceVni, via, nexthop, vlan, state, flags, where }) =>
    again(first, (verb) => {
      const places = where === 'both' ? ['self', 'master'] : where === 'neither' ? [] : [where];
      const remote = nexthop === undefined ? { dst, port, vni, via } : { nexthop };
      const item = defined({
        link,
        mac: address,
        ...remote,
        sourceVni,
        vlan,
        state,
        flags: [...places, ...flags],
      }) as FdbEntry;
      return {
        tool: 'bridge',
        line: line(
          `fdb ${verb === 'delete' ? 'del' : verb} ${address} dev ${link}`,
          ...places,
          ...flags,
          state === 'permanent' ? 'local' : state,
          word('vlan', vlan),
          nexthop === undefined ? word('dst', dst) : `nhid ${nexthop}`,
          nexthop === undefined ? word('port', port) : undefined,
          nexthop === undefined ? word('vni', vni) : undefined,
          word('src_vni', sourceVni),
          nexthop === undefined ? word('via', via) : undefined,
        ),
        rtnl: (rtnl) => (rtnl.fdb as Required<typeof rtnl.fdb>)[verb](item),
      };
    }),
  );

const flush = fc
  .record({
    link: fc.oneof(pick('vx0', 'vx1', 'br0'), anyLink),
    where: pick('self', 'master'),
    state: maybe(pick('permanent', 'static', 'dynamic')),
    flag: maybe(pick('extern_learn', 'sticky')),
    without: fc.boolean(),
  })
  .map(
    ({ link, where, state, flag, without }): Operation => ({
      tool: 'bridge',
      line: line(
        `fdb flush dev ${link} ${where}`,
        // Its "static" asks for the bit alone, "dynamic" is spelt by what it is not.
        state === 'dynamic' ? 'nopermanent nostatic' : state === 'static' ? 'static nopermanent' : state,
        flag === undefined ? undefined : `${without ? 'no' : ''}${flag}`,
      ),
      rtnl: (rtnl) =>
        rtnl.fdb.flush(
          defined({
            link,
            state,
            flags: [where, ...(flag !== undefined && !without ? [flag] : [])] as never,
            withoutFlags: flag !== undefined && without ? [flag] : undefined,
          }),
        ),
    }),
  );

// --- What Rtnl lists only -------------------------------------------------------------------------------------

const nexthop = fc.oneof(
  fc
    .record({ verb: pick('add', 'replace'), id: number(1, 3), gateway: anyIp, link: anyLink, onlink: fc.boolean() })
    .map(({ verb, id, gateway, link, onlink }) =>
      line(`nexthop ${verb} id ${id} via ${gateway} dev ${link}`, onlink ? 'onlink' : undefined),
    ),
  pick('nexthop add id 3 blackhole', 'nexthop add id 4 group 1,3/2,7', 'nexthop add id 5 via 10.1.0.1 fdb'),
  pick('nexthop add id 6 group 5 fdb', 'nexthop replace id 5 via 10.1.0.2 fdb'),
  number(1, 6).map((id) => `nexthop del id ${id}`),
);
const rule = fc
  .record({
    verb: pick('add', 'add', 'del'),
    priority: pick(100, 200),
    what: pick(
      'from all',
      'from 10.0.0.0/24',
      'to 10.9.0.1',
      'iif va0',
      'fwmark 0x7/0xff',
      'not from 10.0.0.1 tos 0x10',
      'from fd00::/64',
      'to fd09::1 oif br0',
    ),
    action: pick('lookup 1000', 'lookup main', 'blackhole', 'prohibit', 'lookup main suppress_prefixlength 0'),
  })
  .map(({ verb, priority, what, action }) => `rule ${verb} ${what} priority ${priority} ${action}`);
const listedOnly = fc.oneof(nexthop, rule).map((text): Operation => ({ tool: 'ip', line: text }));

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.oneof(addBridge, addVeth, addVxlan, addMetadataVxlan, addMacvlan, addIfb) },
  { weight: 1, arbitrary: deleteLink },
  { weight: 10, arbitrary: setLink },
  { weight: 4, arbitrary: fc.oneof(changeBridge, changeVxlan, changeMacvlan, changePort) },
  { weight: 10, arbitrary: address },
  { weight: 8, arbitrary: routeOf(false) },
  { weight: 6, arbitrary: routeOf(true) },
  { weight: 10, arbitrary: neighbor },
  { weight: 14, arbitrary: fdb },
  { weight: 1, arbitrary: flush },
  { weight: 3, arbitrary: listedOnly },
);

/** What came `back` operations before, once more or undone. */
const repetition = fc.record({ back: number(1, 25), verb: pick(...VERBS, 'delete') });

/** A sequence of operations; shown as their lines. */
export function operations(length: number): fc.Arbitrary<Operation[]> {
  const step = fc.oneof({ weight: 3, arbitrary: operation }, { weight: 2, arbitrary: repetition });
  return fc.array(step, { minLength: length, maxLength: length, size: 'max' }).map((steps) => {
    const sequence: Operation[] = [];
    for (const each of steps) {
      const earlier = 'back' in each ? sequence.filter((one) => one.again).at(-each.back) : undefined;
      const next = 'back' in each ? earlier?.again?.(each.verb) : each;
      if (next) sequence.push({ ...next, ...{ [fc.toStringMethod]: () => `\n${next.tool} ${next.line}` } });
    }
    return sequence;
  });
}

/** What every sequence begins with, so that there is something to operate on. */
export const PRELUDE: readonly Operation[] = [
  add(
    { kind: 'bridge', name: 'br0', mac: '02:00:00:00:0b:00', up: true },
    'link add br0 up address 02:00:00:00:0b:00 type bridge',
  ),
  add(
    { kind: 'veth', name: 'va0', mac: '02:00:00:00:0a:00', up: true, peer: { name: 'vb0', mac: '02:00:00:00:0a:01' } },
    'link add va0 up address 02:00:00:00:0a:00 type veth peer name vb0 address 02:00:00:00:0a:01',
  ),
  set({ name: 'vb0', up: true }, 'up'),
  add(
    {
      kind: 'vxlan',
      name: 'vx0',
      vni: 7,
      mac: '02:00:00:00:0c:00',
      port: 4789,
      learning: true,
      up: true,
      local: '10.1.0.9',
    },
    'link add vx0 up address 02:00:00:00:0c:00 type vxlan id 7 dstport 4789 learning local 10.1.0.9',
  ),
  add(
    { kind: 'veth', name: 'va1', mac: '02:00:00:00:0a:02', up: true, peer: { name: 'vb1', mac: '02:00:00:00:0a:03' } },
    'link add va1 up address 02:00:00:00:0a:02 type veth peer name vb1 address 02:00:00:00:0a:03',
  ),
  set({ name: 'vb1', up: true, master: 'br0' }, 'up master br0'),
  add({ kind: 'ifb', name: 'if0', mac: '02:00:00:00:0d:00' }, 'link add if0 address 02:00:00:00:0d:00 type ifb'),
  add(
    { kind: 'macvlan', name: 'mv0', link: 'va0', mac: '02:00:00:00:0e:00', mode: 'bridge' },
    'link add link va0 name mv0 address 02:00:00:00:0e:00 type macvlan mode bridge',
  ),
  {
    tool: 'ip',
    line: 'address add 10.0.0.1/24 dev va0',
    rtnl: (rtnl) => rtnl.addresses.add({ link: 'va0', address: '10.0.0.1/24' }),
  },
  {
    tool: 'ip',
    line: 'address add 10.0.1.1/24 dev va1',
    rtnl: (rtnl) => rtnl.addresses.add({ link: 'va1', address: '10.0.1.1/24' }),
  },
  {
    tool: 'ip',
    line: 'address add fd00:1::1/64 dev va1',
    rtnl: (rtnl) => rtnl.addresses.add({ link: 'va1', address: 'fd00:1::1/64' }),
    later: true,
  },
  { tool: 'ip', line: 'nexthop add id 5 via 10.1.0.1 fdb' },
  { tool: 'ip', line: 'nexthop add id 1 via 10.0.0.7 dev va0' },
  {
    tool: 'ip',
    line: 'address add fd00::1/64 dev va0',
    rtnl: (rtnl) => rtnl.addresses.add({ link: 'va0', address: 'fd00::1/64' }),
    later: true,
  },
];
