/**
 * A listing of Rtnl in the JSON of iproute2 6.1 (`ip -j -d`, `bridge -j -d`): field for field what it prints of the
 * same thing. What that version does not know is left out; what Rtnl does not know would be missing here.
 */
import type { Address, FdbEntry, Link, Neighbor, Nexthop, Route, Rule } from '../../lib/index.js';

type Json = Record<string, unknown>;

/** Without what is undefined, as JSON is. */
function json(fields: Json): Json {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

const HARDWARE: Readonly<Record<number, string>> = { 1: 'ether', 772: 'loopback', 65534: 'none' };
const TABLES: Readonly<Record<number, string>> = { 253: 'default', 254: 'main', 255: 'local' };
const upper = (text: unknown): string | undefined => (typeof text === 'string' ? text.toUpperCase() : undefined);
const yes = (value: unknown): true | undefined => (value === true ? true : undefined);
/** As iproute2 writes numbers that are no switch to it. */
const bit = (value: unknown): number | undefined => (value === undefined ? undefined : Number(value));
const hex = (value: number | undefined): string | undefined =>
  value === undefined ? undefined : `0x${value.toString(16)}`;
const table = (number: number | undefined): string | undefined =>
  number === undefined ? undefined : (TABLES[number] ?? String(number));
const mask = (value: number | undefined): string | undefined => (value === 0 ? '0' : hex(value));
const dsfield = (value: number | undefined): string | undefined =>
  value === undefined ? undefined : `0x${value.toString(16).padStart(2, '0')}`;
/** It writes a bridge's id without leading zeros. */
const bridgeId = (id: string | undefined): string | undefined => id?.replaceAll(/([.:])0(?=[0-9a-f])/g, '$1');
const hundredths = (value: number | undefined): number | undefined => (value === undefined ? undefined : value / 100);

/** The links of the namespace by index. */
export type Links = ReadonlyMap<number, Link>;
export const byIndex = (links: readonly Link[]): Links => new Map(links.map((link) => [link.index, link]));

function linkFlags(link: Link, links: Links): string[] {
  const flags = (link.flags ?? []).filter((flag) => flag !== 'running').map((flag) => flag.toUpperCase());
  if (link.up && !link.running) flags.push('NO-CARRIER');
  const below = link.linkNetnsid === undefined && link.link !== undefined ? links.get(link.link) : undefined;
  if (below?.up === false) flags.push('M-DOWN');
  return flags.sort();
}

function vxlan(link: Link, links: Links): Json {
  const six = link.group?.includes(':') === true;
  const many =
    link.group !== undefined && (six ? /^ff/.test(link.group) : Number(link.group.split('.')[0]) >> 4 === 14);
  const device = typeof link.device === 'number' ? (links.get(link.device)?.name ?? link.device) : undefined;
  return json({
    external: yes(link.collectMetadata),
    vnifilter: yes(link.vnifilter),
    id: link.vni,
    [`${many ? 'group' : 'remote'}${six ? '6' : ''}`]: link.group,
    [`local${link.local?.includes(':') ? '6' : ''}`]: link.local,
    link: device,
    port_range: link.portRange,
    port: link.port,
    learning: link.learning,
    proxy: yes(link.proxy),
    rsc: yes(link.rsc),
    l2miss: yes(link.l2miss),
    l3miss: yes(link.l3miss),
    tos: link.tos === 0 ? undefined : hex(link.tos),
    ttl: link.ttlInherit ? undefined : link.ttl,
    df: link.df,
    label: link.label === 0 ? undefined : hex(link.label),
    ageing: link.ageing,
    limit: link.limit === 0 ? undefined : link.limit,
    udp_csum: link.udpCsum,
    udp_zero_csum6_tx: link.udpZeroCsum6Tx,
    udp_zero_csum6_rx: link.udpZeroCsum6Rx,
    remcsum_tx: yes(link.remcsumTx),
    remcsum_rx: yes(link.remcsumRx),
    gbp: yes(link.gbp),
    gpe: yes(link.gpe),
  });
}

function bridge(link: Link): Json {
  return json({
    forward_delay: link.forwardDelay,
    hello_time: link.helloTime,
    max_age: link.maxAge,
    ageing_time: link.ageingTime,
    stp_state: link.stpState,
    priority: link.priority,
    vlan_filtering: bit(link.vlanFiltering),
    vlan_protocol: link.vlanProtocol,
    bridge_id: bridgeId(link.bridgeId),
    root_id: bridgeId(link.rootId),
    root_port: link.rootPort,
    root_path_cost: link.rootPathCost,
    topology_change: bit(link.topologyChange),
    topology_change_detected: bit(link.topologyChangeDetected),
    hello_timer: hundredths(link.helloTimer),
    tcn_timer: hundredths(link.tcnTimer),
    topology_change_timer: hundredths(link.topologyChangeTimer),
    gc_timer: hundredths(link.gcTimer),
    group_fwd_mask: mask(link.groupFwdMask),
    group_addr: link.groupAddress,
    mcast_snooping: bit(link.mcastSnooping),
    no_linklocal_learn: bit(link.noLinklocalLearn),
    mcast_vlan_snooping: bit(link.mcastVlanSnooping),
    mcast_router: link.mcastRouter,
    mcast_query_use_ifaddr: bit(link.mcastQueryUseIfaddr),
    mcast_querier: bit(link.mcastQuerier),
    mcast_hash_elasticity: link.mcastHashElasticity,
    mcast_hash_max: link.mcastHashMax,
    mcast_last_member_cnt: link.mcastLastMemberCount,
    mcast_startup_query_cnt: link.mcastStartupQueryCount,
    mcast_last_member_intvl: link.mcastLastMemberInterval,
    mcast_membership_intvl: link.mcastMembershipInterval,
    mcast_querier_intvl: link.mcastQuerierInterval,
    mcast_query_intvl: link.mcastQueryInterval,
    mcast_query_response_intvl: link.mcastQueryResponseInterval,
    mcast_startup_query_intvl: link.mcastStartupQueryInterval,
    mcast_stats_enabled: bit(link.mcastStatsEnabled),
    mcast_igmp_version: link.mcastIgmpVersion,
    mcast_mld_version: link.mcastMldVersion,
    nf_call_iptables: bit(link.nfCallIptables),
    nf_call_ip6tables: bit(link.nfCallIp6tables),
    nf_call_arptables: bit(link.nfCallArptables),
  });
}

function bridgePort(port: NonNullable<Link['bridgePort']>): Json {
  return json({
    state: port.state,
    priority: port.priority,
    cost: port.cost,
    hairpin: port.hairpin,
    guard: port.guard,
    root_block: port.rootBlock,
    fastleave: port.fastLeave,
    learning: port.learning,
    flood: port.flood,
    id: hex(port.id),
    no: hex(port.number),
    designated_port: port.designatedPort,
    designated_cost: port.designatedCost,
    bridge_id: bridgeId(port.bridgeId),
    root_id: bridgeId(port.rootId),
    hold_timer: hundredths(port.holdTimer),
    message_age_timer: hundredths(port.messageAgeTimer),
    forward_delay_timer: hundredths(port.forwardDelayTimer),
    topology_change_ack: bit(port.topologyChangeAck),
    config_pending: bit(port.configPending),
    proxy_arp: port.proxyArp,
    proxy_arp_wifi: port.proxyArpWifi,
    multicast_router: port.mcastRouter,
    mcast_flood: port.mcastFlood,
    bcast_flood: port.bcastFlood,
    mcast_to_unicast: port.mcastToUnicast,
    neigh_suppress: port.neighSuppress,
    group_fwd_mask: mask(port.groupFwdMask),
    group_fwd_mask_str: hex(port.groupFwdMask),
    vlan_tunnel: port.vlanTunnel,
    isolated: port.isolated,
    locked: port.locked,
  });
}

function infoData(link: Link, links: Links): Json | undefined {
  switch (link.kind) {
    case 'vxlan':
      return vxlan(link, links);
    case 'bridge':
      return bridge(link);
    case 'macvlan':
    case 'macvtap':
      return json({
        mode: link.mode,
        nopromisc: yes(link.nopromisc),
        nodst: yes(link.nodst),
        macaddr_count: link.mode === 'source' ? link.macCount : undefined,
        bcqueuelen: link.bcQueueLength,
        usedbcqueuelen: link.bcQueueLengthUsed,
      });
    case 'tun':
      return json({
        type: link.mode,
        pi: link.pi,
        vnet_hdr: link.vnetHdr,
        multi_queue: link.multiQueue,
        numqueues: link.queues,
        numdisabled: link.disabledQueues,
        persist: link.persist,
        user: link.owner,
        group: link.groupId,
      });
    default:
      return undefined;
  }
}

/** One of `ip -j -d link show`. */
export function linkJson(link: Link, links: Links): Json {
  const linkinfo = json({
    info_kind: link.kind,
    info_data: infoData(link, links),
    info_slave_kind: link.slaveKind,
    info_slave_data: link.bridgePort === undefined ? undefined : bridgePort(link.bridgePort),
  });
  const below = typeof link.link === 'number' ? link.link : 0;
  const elsewhere = link.linkNetnsid !== undefined;
  return json({
    ifindex: link.index,
    link_index: below > 0 && elsewhere ? below : undefined,
    link: below > 0 && !elsewhere ? links.get(below)?.name : undefined,
    ifname: link.name,
    altnames: link.alternativeNames,
    flags: linkFlags(link, links),
    mtu: link.mtu,
    qdisc: link.qdisc,
    master: link.master,
    operstate: upper(link.operstate),
    linkmode: upper(link.linkMode),
    group: link.linkGroup === 0 ? 'default' : String(link.linkGroup),
    txqlen: link.txQueueLength === 0 ? undefined : link.txQueueLength,
    link_type: HARDWARE[link.hardware ?? 0],
    address: link.mac,
    broadcast: link.broadcast,
    link_netnsid: link.linkNetnsid,
    promiscuity: link.promiscuity,
    allmulti: link.allmulti,
    min_mtu: link.minMtu,
    max_mtu: link.maxMtu,
    linkinfo: Object.keys(linkinfo).length === 0 ? undefined : linkinfo,
    inet6_addr_gen_mode: link.addrGenMode,
    num_tx_queues: link.numTxQueues,
    num_rx_queues: link.numRxQueues,
    gso_max_size: link.gsoMaxSize,
    gso_max_segs: link.gsoMaxSegs,
    tso_max_size: link.tsoMaxSize,
    tso_max_segs: link.tsoMaxSegs,
    gro_max_size: link.groMaxSize,
    proto_down: yes(link.protoDown),
    ifalias: link.alias,
  });
}

const FOREVER = 0xffff_ffff;

/** One of `addr_info` of `ip -j -d address show`. */
export function addressJson(address: Address): Json {
  const [ip, prefix] = address.address.split('/');
  const flags = new Set(address.flags);
  const is = (flag: string): true | undefined => yes(flags.has(flag));
  return json({
    family: address.family,
    local: ip,
    address: address.peer,
    prefixlen: Number(prefix),
    metric: address.metric,
    broadcast: address.broadcast,
    scope: typeof address.scope === 'number' ? String(address.scope) : address.scope,
    // Told by its absence, as dynamic.
    dynamic: flags.has('permanent') ? undefined : true,
    [address.family === 'inet6' ? 'temporary' : 'secondary']: is('secondary'),
    nodad: is('nodad'),
    optimistic: is('optimistic'),
    dadfailed: is('dadfailed'),
    home: is('home'),
    deprecated: is('deprecated'),
    tentative: is('tentative'),
    mngtmpaddr: is('mngtmpaddr'),
    noprefixroute: is('noprefixroute'),
    autojoin: is('autojoin'),
    'stable-privacy': is('stable-privacy'),
    label: address.label,
    valid_life_time: address.validLifetime ?? FOREVER,
    preferred_life_time: address.preferredLifetime ?? FOREVER,
  });
}

/** A prefix as `ip route` writes it: without the length that is the whole address's. */
function prefix(text: string): string {
  return text.replace(text.includes(':') ? /\/128$/ : /\/32$/, '');
}

function via(gateway: string | undefined, family: string | undefined): Json {
  if (gateway === undefined) return {};
  const of = gateway.includes(':') ? 'inet6' : 'inet';
  return of === family ? { gateway } : { via: { family: of, host: gateway } };
}

const WAY_FLAGS = ['dead', 'onlink', 'pervasive', 'offload', 'trap', 'notify', 'linkdown', 'unresolved', 'rt_offload'];
const wayFlags = (flags: readonly string[] | undefined): string[] =>
  (flags ?? []).filter((flag) => WAY_FLAGS.includes(flag)).sort();

/** One of `ip -j -d route show table all`. */
export function routeJson(route: Route, nexthops: ReadonlyMap<number, Nexthop>): Json {
  const { metrics } = route;
  const nexthop = route.nexthop === undefined ? undefined : nexthops.get(route.nexthop);
  return json({
    type: route.type,
    dst: route.dst === 'default' ? 'default' : prefix(route.dst),
    from: route.from === undefined ? undefined : prefix(route.from),
    tos: dsfield(route.tos),
    nhid: route.nexthop,
    ...via(route.gateway, route.family),
    dev: route.link,
    table: table(route.table),
    protocol: typeof route.protocol === 'number' ? String(route.protocol) : route.protocol,
    scope: typeof route.scope === 'number' ? String(route.scope) : route.scope,
    prefsrc: route.source,
    metric: route.metric,
    flags: wayFlags(route.flags),
    nh_info: nexthop === undefined ? undefined : nexthopJson(nexthop),
    metrics:
      metrics === undefined
        ? undefined
        : [json({ mtu: metrics.mtu, advmss: metrics.advmss, hoplimit: metrics.hoplimit, initcwnd: metrics.initcwnd })],
    expires: route.expires,
    pref: route.preference,
    nexthops: route.nexthops?.map((hop) =>
      json({
        ...via(hop.gateway, route.family),
        dev: hop.link,
        weight: hop.weight,
        flags: wayFlags(hop.flags),
      }),
    ),
  });
}

const NEIGHBOR_FLAGS = ['router', 'proxy', 'extern_learn', 'offload', 'managed'];

/** One of `ip -j -d neighbor show nud all`. */
export function neighborJson(neighbor: Neighbor): Json {
  const flags = new Set(neighbor.flags);
  return json({
    dst: neighbor.ip,
    dev: neighbor.link,
    lladdr: neighbor.mac,
    protocol: neighbor.protocol === undefined ? undefined : (PROTOCOLS[neighbor.protocol] ?? String(neighbor.protocol)),
    ...Object.fromEntries(NEIGHBOR_FLAGS.filter((flag) => flags.has(flag)).map((flag) => [flag, null])),
    state: neighbor.state === 'none' ? undefined : [neighbor.state.toUpperCase()],
  });
}
const PROTOCOLS: Readonly<Record<number, string>> = { 2: 'kernel', 3: 'boot', 4: 'static', 16: 'dhcp', 186: 'bgp' };

/** One of `bridge -j -d fdb show`. */
export function fdbJson(entry: FdbEntry): Json {
  const flags = [...(entry.flags ?? [])];
  return json({
    mac: entry.mac,
    ifname: entry.link,
    dst: entry.dst,
    vlan: entry.vlan,
    port: entry.port,
    vni: entry.vni,
    src_vni: entry.sourceVni,
    viaIf: entry.via,
    nhid: entry.nexthop,
    flags: flags.sort(),
    master: entry.master,
    state: entry.state === 'dynamic' ? '' : entry.state,
  });
}

/** One of `ip -j -d rule show`. */
export function ruleJson(rule: Rule): Json {
  const at = (text: string | undefined, name: 'src' | 'dst'): Json => {
    if (text === undefined) return name === 'src' ? { src: 'all' } : {};
    const [ip, length] = text.split('/');
    const whole = text.includes(':') ? '128' : '32';
    return { [name]: ip, [`${name}len`]: length === whole ? undefined : Number(length) };
  };
  return json({
    priority: rule.priority,
    not: rule.flags?.includes('invert') ? null : undefined,
    ...at(rule.from, 'src'),
    ...at(rule.to, 'dst'),
    tos: dsfield(rule.tos),
    fwmark: hex(rule.mark),
    fwmask: rule.mark === undefined || rule.markMask === 0xffff_ffff ? undefined : hex(rule.markMask),
    iif: rule.iif,
    iif_detached: rule.flags?.includes('iif_detached') ? null : undefined,
    oif: rule.oif,
    oif_detached: rule.flags?.includes('oif_detached') ? null : undefined,
    unresolved: rule.flags?.includes('unresolved') ? null : undefined,
    table: rule.action === 'table' ? table(rule.table) : undefined,
    action: rule.action === 'table' || rule.action === 'goto' ? undefined : rule.action,
    goto: rule.goto,
    ipproto:
      rule.ipProtocol === undefined ? undefined : (IP_PROTOCOLS[rule.ipProtocol] ?? `ipproto-${rule.ipProtocol}`),
    ...ports('sport', rule.sourcePorts),
    ...ports('dport', rule.destinationPorts),
    suppress_prefixlen: rule.suppressPrefixLength,
    protocol: rule.protocol,
  });
}
const ports = (word: string, range: Rule['sourcePorts']): Json => {
  if (range === undefined) return {};
  const { low, high } = range;
  return low === high ? { [word]: low } : { [`${word}_start`]: low, [`${word}_end`]: high };
};
const IP_PROTOCOLS: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp' };

/** One of `ip -j -d nexthop show`. */
export function nexthopJson(nexthop: Nexthop): Json {
  return json({
    id: nexthop.id,
    group: nexthop.group?.map(({ id, weight }) => json({ id, weight: weight === 1 ? undefined : weight })),
    type: nexthop.group === undefined || nexthop.groupType === 'mpath' ? undefined : nexthop.groupType,
    // Times are clocks, which the listings' comparison passes over.
    resilient_args: nexthop.resilient && {
      buckets: nexthop.resilient.buckets,
      idle_timer: 0,
      unbalanced_timer: 0,
      unbalanced_time: 0,
    },
    ...via(nexthop.gateway, nexthop.family),
    dev: nexthop.link,
    blackhole: nexthop.blackhole ? null : undefined,
    scope: nexthop.scope,
    protocol: nexthop.protocol,
    flags: wayFlags(nexthop.flags),
    fdb: nexthop.fdb ? null : undefined,
  });
}
