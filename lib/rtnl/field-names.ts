/** The names of the fields that Rtnl's objects have. The compiler compares them with the types. */
import type { ListedName } from '../system/native.js';
import type {
  Address,
  AnyLinkSpec,
  BondSettings,
  BridgePort,
  BridgeSettings,
  BridgeState,
  BridgeVlan,
  FdbEntry,
  FdbFlush,
  GeneveSettings,
  GreSettings,
  HsrSettings,
  HsrState,
  Ip6TunnelSettings,
  IpTunnelSettings,
  IpvlanSettings,
  Link,
  LinkChange,
  LinkSettings,
  LinkState,
  MacvlanSettings,
  MdbEntry,
  Neighbor,
  NetkitSettings,
  Nexthop,
  NumberRange,
  PeerSpec,
  ResilientGroup,
  Route,
  RouteFilter,
  RouteHop,
  RouteMetrics,
  Rule,
  TunnelSettings,
  TunSettings,
  TunState,
  UnknownAttribute,
  VlanSettings,
  VrfSettings,
  VxlanSettings,
} from './types.js';

/** Types of a field's value, by first letters: string, number, boolean, bigint (`i`), array, object. */
type Letters<V> = [V] extends [string]
  ? 's'
  : [V] extends [number]
    ? 'n'
    : [V] extends [boolean]
      ? 'b'
      : [V] extends [bigint]
        ? 'i'
        : [V] extends [readonly unknown[]]
          ? 'a'
          : [V] extends [object]
            ? 'o'
            : [V] extends [string | number]
              ? 'sn'
              : 'so';
type Names<T> = { readonly [K in keyof T]-?: Letters<Exclude<T[K], undefined | null>> };

// biome-ignore format: several a line
const LINK_SETTINGS: Names<LinkSettings> = {
  broadcast: 's', txQueueLength: 'n', linkGroup: 'n', linkMode: 's', protoDown: 'b', carrier: 'b', numTxQueues: 'n',
  numRxQueues: 'n',
  gsoMaxSize: 'n', gsoMaxSegs: 'n', gsoIpv4MaxSize: 'n', groMaxSize: 'n', groIpv4MaxSize: 'n', addrGenMode: 's',
};
// biome-ignore format: several a line
const LINK_STATE: Names<LinkState> = {
  tsoMaxSize: 'n', tsoMaxSegs: 'n', minMtu: 'n', maxMtu: 'n', qdisc: 's', promiscuity: 'n', allmulti: 'n',
  carrierChanges: 'n',
  carrierUpCount: 'n', carrierDownCount: 'n', permanentMac: 's', physicalPort: 's', parentDevice: 's', parentBus: 's',
  newNetnsid: 'n', newIndex: 'n', virtualFunctions: 'n', maxPacingOffloadHorizon: 'n', netnsImmutable: 'b',
  headroom: 'n',
  tailroom: 'n',
};
/** Fields that links are both made with and listed with. */
// biome-ignore format: several a line
const COMMON = {
  name: 's', index: 'n', kind: 's', up: 'b', mtu: 'n', mac: 's', master: 's', masterIndex: 'n', bridgePort: 'o',
  alias: 's',
} as const;
// biome-ignore format: several a line
const SPEC: Names<Omit<AnyLinkSpec, keyof LinkSettings> & Pick<LinkChange, 'index' | 'newName' | 'alias' | 'kind'>> = {
  ...COMMON, newName: 's', netns: 'so', link: 'sn', arp: 'b', multicast: 'b', allMulticast: 'b', promiscuous: 'b',
};
// biome-ignore format: several a line
const VXLAN: Names<VxlanSettings> = {
  vni: 'n', group: 's', local: 's', device: 'sn', ttl: 'n', ttlInherit: 'b', tos: 'n', df: 's', label: 'n',
  labelPolicy: 's', learning: 'b',
  ageing: 'n', limit: 'n', proxy: 'b', rsc: 'b', l2miss: 'b', l3miss: 'b', port: 'n', portRange: 'o', udpCsum: 'b',
  udpZeroCsum6Tx: 'b',
  udpZeroCsum6Rx: 'b', remcsumTx: 'b', remcsumRx: 'b', remcsumNopartial: 'b', gbp: 'b', gpe: 'b', collectMetadata: 'b',
  vnifilter: 'b', localbypass: 'b', reservedBits: 'o', mcRoute: 'b',
};
// biome-ignore format: several a line
const BRIDGE: Names<BridgeSettings & BridgeState> = {
  forwardDelay: 'n', helloTime: 'n', maxAge: 'n', ageingTime: 'n', stpState: 'n', priority: 'n', vlanFiltering: 'b',
  vlanProtocol: 'sn', vlanDefaultPvid: 'n', vlanStatsEnabled: 'b', vlanStatsPerPort: 'b', groupFwdMask: 'n',
  groupAddress: 's',
  fdbMaxLearned: 'n', noLinklocalLearn: 'b', mcastVlanSnooping: 'b', mstEnabled: 'b', mcastRouter: 'n',
  mcastSnooping: 'b',
  mcastQueryUseIfaddr: 'b', mcastQuerier: 'b', mcastHashElasticity: 'n', mcastHashMax: 'n', mcastLastMemberCount: 'n',
  mcastStartupQueryCount: 'n', mcastLastMemberInterval: 'n', mcastMembershipInterval: 'n', mcastQuerierInterval: 'n',
  mcastQueryInterval: 'n', mcastQueryResponseInterval: 'n', mcastStartupQueryInterval: 'n', mcastStatsEnabled: 'b',
  mcastIgmpVersion: 'n', mcastMldVersion: 'n', nfCallIptables: 'b', nfCallIp6tables: 'b', nfCallArptables: 'b',
  rootId: 's',
  bridgeId: 's', rootPort: 'n', rootPathCost: 'n', topologyChange: 'b', topologyChangeDetected: 'b', helloTimer: 'n',
  tcnTimer: 'n',
  topologyChangeTimer: 'n', gcTimer: 'n', fdbLearned: 'n',
};
// biome-ignore format: several a line
const MACVLAN: Names<MacvlanSettings & Pick<Link, 'macCount' | 'bcQueueLengthUsed'>> = {
  mode: 's', nopromisc: 'b', nodst: 'b', bcQueueLength: 'n', bcCutoff: 'n', macCount: 'n', bcQueueLengthUsed: 'n',
};
// biome-ignore format: several a line
const VLAN: Names<VlanSettings> = {
  vlanId: 'n', vlanProtocol: 'sn', reorderHdr: 'b', gvrp: 'b', looseBinding: 'b', mvrp: 'b', bridgeBinding: 'b',
};
const VRF: Names<VrfSettings> = { table: 'n' };
const IPVLAN: Names<IpvlanSettings> = { mode: 's', private: 'b', vepa: 'b' };
// biome-ignore format: several a line
const GENEVE: Names<GeneveSettings> = {
  vni: 'n', remote: 's', ttl: 'n', ttlInherit: 'b', tos: 'n', df: 's', label: 'n', port: 'n', collectMetadata: 'b',
  udpCsum: 'b',
  udpZeroCsum6Tx: 'b', udpZeroCsum6Rx: 'b', innerProtoInherit: 'b',
};
// biome-ignore format: several a line
const BOND: Names<BondSettings> = {
  mode: 's', activeSlave: 'sn', primary: 'sn', miimon: 'n', updelay: 'n', downdelay: 'n', useCarrier: 'b',
  arpInterval: 'n',
  xmitHashPolicy: 's', minLinks: 'n', lacpRate: 's',
};
// biome-ignore format: several a line
const TUNNEL: Names<TunnelSettings> = {
  device: 'sn', local: 's', remote: 's', ttl: 'n', collectMetadata: 'b', mark: 'n', encap: 's', encapFlags: 'n',
  encapSourcePort: 'n', encapPort: 'n', tunnelFlags: 'n',
};
// biome-ignore format: several a line
const GRE: Names<GreSettings> = {
  ...TUNNEL, inputKey: 'n', inputKeyed: 'b', inputCsum: 'b', inputSeq: 'b', outputKey: 'n', outputKeyed: 'b',
  outputCsum: 'b', outputSeq: 'b', tos: 'n', pmtuDiscovery: 'b', ignoreDf: 'b', encapLimit: 'n', flowInfo: 'n',
  erspanVersion: 'n',
};
// biome-ignore format: several a line
const IP_TUNNEL: Names<IpTunnelSettings> = {
  ...TUNNEL, tos: 'n', pmtuDiscovery: 'b', ipProtocol: 'n', sixrdPrefix: 's', sixrdPrefixLength: 'n',
  sixrdRelayPrefix: 's', sixrdRelayPrefixLength: 'n',
};
const IP6_TUNNEL: Names<Ip6TunnelSettings> = { ...TUNNEL, ipProtocol: 'n', encapLimit: 'n', flowInfo: 'n' };
// biome-ignore format: several a line
const HSR: Names<HsrSettings & HsrState> = {
  slave1: 'sn', slave2: 'sn', interlink: 'sn', multicastSpec: 'n', version: 'n', protocol: 's',
  supervisionAddress: 's', sequence: 'n',
};
// biome-ignore format: several a line
const NETKIT: Names<NetkitSettings & Pick<Link, 'primaryEnd'>> = {
  mode: 's', policy: 's', peerPolicy: 's', scrub: 's', peerScrub: 's', primaryEnd: 'b',
};
// biome-ignore format: several a line
const TUN: Names<TunSettings & TunState> = {
  owner: 'n', groupId: 'n', mode: 's', pi: 'b', vnetHdr: 'b', persist: 'b', multiQueue: 'b', queues: 'n',
  disabledQueues: 'n',
};
const PEER = { peer: 'o' } as const;
/** Further fields that a link is listed with. */
// biome-ignore format: several a line
const LISTED: Names<
  Omit<
    Link,
    | (keyof LinkSettings | keyof LinkState | keyof VxlanSettings | keyof BridgeSettings | keyof BridgeState)
    | (keyof typeof MACVLAN | keyof VlanSettings | keyof VrfSettings | keyof IpvlanSettings | keyof GeneveSettings)
    | (keyof BondSettings | keyof typeof TUN | keyof typeof SPEC)
    | (keyof GreSettings | keyof IpTunnelSettings | keyof Ip6TunnelSettings | keyof typeof HSR | keyof typeof NETKIT)
  >
> = {
  running: 'b', flags: 'a', hardware: 'n', slaveKind: 's', linkNetnsid: 'n', alternativeNames: 'a', operstate: 's',
  unknown: 'a',
};

/** Fields of any link, be it to be made or as it is listed. */
export const ANY_LINK: readonly string[] = Object.keys({ ...SPEC, ...LINK_SETTINGS, ...LINK_STATE, ...LISTED });

/** By kind: the fields of links of that kind alone. Others have none. */
// biome-ignore format: several a line
export const LINK_KINDS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    vxlan: VXLAN, bridge: BRIDGE, veth: PEER, vxcan: PEER, netkit: { ...PEER, ...NETKIT }, macvlan: MACVLAN, macvtap: MACVLAN,
    vlan: VLAN, vrf: VRF, ipvlan: IPVLAN, ipvtap: IPVLAN, geneve: GENEVE, bond: BOND, tun: TUN,
    gre: GRE, gretap: GRE, ip6gre: GRE, ip6gretap: GRE, ipip: IP_TUNNEL, sit: IP_TUNNEL, ip6tnl: IP6_TUNNEL, hsr: HSR,
  }).map(([kind, names]) => [kind, Object.keys(names)]),
);

// biome-ignore format: several a line
const ADDRESS: Names<Address> = {
  link: 's', linkIndex: 'n', address: 's', family: 's', peer: 's', broadcast: 's', scope: 'sn', flags: 'a', label: 's',
  preferredLifetime: 'n', validLifetime: 'n', metric: 'n', protocol: 'sn', nodad: 'b', noprefixroute: 'b', unknown: 'a',
};
// biome-ignore format: several a line
const ROUTE: Names<Route> = {
  dst: 's', family: 's', type: 'sn', from: 's', gateway: 's', link: 's', linkIndex: 'n', source: 's', table: 'n',
  metric: 'n', tos: 'n',
  scope: 'sn', protocol: 'sn', flags: 'a', nexthops: 'a', nexthop: 'n', preference: 's', expires: 'n', metrics: 'o',
  unknown: 'a',
};
// biome-ignore format: several a line
const NEIGHBOR: Names<Neighbor> = {
  link: 's', linkIndex: 'n', ip: 's', mac: 's', state: 's', flags: 'a', protocol: 'n', unknown: 'a',
};
// biome-ignore format: several a line
const FDB: Names<FdbEntry> = {
  link: 's', linkIndex: 'n', mac: 's', dst: 's', vni: 'n', sourceVni: 'n', port: 'n', via: 's', viaIndex: 'n',
  linkNetnsid: 'n',
  master: 's', masterIndex: 'n', vlan: 'n', nexthop: 'n', protocol: 'n', activity: 's', state: 's', flags: 'a',
  unknown: 'a',
};
// biome-ignore format: several a line
const RULE: Names<Rule> = {
  priority: 'n', family: 's', action: 'sn', table: 'n', from: 's', to: 's', iif: 's', oif: 's', tos: 'n', dscp: 'n',
  dscpMask: 'n',
  flowLabel: 'n', flowLabelMask: 'n', mark: 'n', markMask: 'n', realms: 'n', goto: 'n', suppressPrefixLength: 'n',
  suppressGroup: 'n',
  ipProtocol: 'n', sourcePorts: 'o', sourcePortMask: 'n', destinationPorts: 'o', destinationPortMask: 'n', uids: 'o',
  tunnel: 'i',
  l3mdev: 'b', protocol: 'sn', flags: 'a', unknown: 'a',
};
// biome-ignore format: several a line
const NEXTHOP: Names<Nexthop> = {
  id: 'n', family: 's', gateway: 's', link: 's', linkIndex: 'n', master: 's', masterIndex: 'n', scope: 'sn',
  protocol: 'sn', flags: 'a',
  blackhole: 'b', fdb: 'b', group: 'a', groupType: 'sn', resilient: 'o', unknown: 'a',
};
// biome-ignore format: several a line
const BRIDGE_VLAN: Names<BridgeVlan> = {
  link: 's', linkIndex: 'n', vlan: 'n', lastVlan: 'n', flags: 'a', state: 'sn', tunnel: 'n', mcastRouter: 'n',
  mcastGroups: 'n', mcastMaxGroups: 'n', neighSuppress: 'b', unknown: 'a',
};
// biome-ignore format: several a line
const MDB: Names<MdbEntry> = {
  bridge: 's', bridgeIndex: 'n', link: 's', linkIndex: 'n', group: 's', source: 's', vlan: 'n', state: 'sn', flags: 'a',
  protocol: 'sn', timer: 'n', filterMode: 'sn', sources: 'a', dst: 's', port: 'n', vni: 'n', via: 's', viaIndex: 'n',
  sourceVni: 'n', unknown: 'a',
};
const FDB_FLUSH: Names<FdbFlush & FdbEntry> = { ...FDB, withoutFlags: 'a' };
const ROUTE_FILTER: Names<RouteFilter> = { ...ROUTE, root: 's', match: 's' };
// biome-ignore format: several a line
const LINK: Names<Link> = {
  ...COMMON, ...LINK_SETTINGS, ...LINK_STATE, ...LISTED, ...VXLAN, ...BRIDGE, ...MACVLAN, ...VLAN, ...VRF, ...IPVLAN,
  ...GENEVE, ...BOND, ...TUN, ...GRE, ...IP_TUNNEL, ...IP6_TUNNEL, ...HSR, ...NETKIT, link: 'n',
};

// biome-ignore format: several a line
const BRIDGE_PORT: Names<BridgePort> = {
  state: 's', priority: 'n', cost: 'n', hairpin: 'b', guard: 'b', rootBlock: 'b', fastLeave: 'b', learning: 'b',
  learningSync: 'b',
  flood: 'b', mcastFlood: 'b', bcastFlood: 'b', mcastToUnicast: 'b', mcastRouter: 'n', proxyArp: 'b', proxyArpWifi: 'b',
  neighSuppress: 'b', neighVlanSuppress: 'b', groupFwdMask: 'n', vlanTunnel: 'b', isolated: 'b', locked: 'b', mab: 'b',
  backupPort: 'sn', backupNexthop: 'n', mcastEhtHostsLimit: 'n', mcastMaxGroups: 'n', mcastEhtHosts: 'n',
  mcastGroups: 'n',
  mrpRingOpen: 'b', mrpInOpen: 'b', rootId: 's', bridgeId: 's', designatedPort: 'n', designatedCost: 'n', id: 'n',
  number: 'n',
  topologyChangeAck: 'b', configPending: 'b', messageAgeTimer: 'n', forwardDelayTimer: 'n', holdTimer: 'n',
};
const PEER_SPEC: Names<PeerSpec> = { name: 's', mac: 's', mtu: 'n', netns: 'so' };
const HOP: Names<RouteHop> = { gateway: 's', link: 's', linkIndex: 'n', weight: 'n', flags: 'a', unknown: 'a' };
// biome-ignore format: several a line
const METRICS: Names<RouteMetrics> = {
  lock: 'n', mtu: 'n', window: 'n', rtt: 'n', rttvar: 'n', ssthresh: 'n', cwnd: 'n', advmss: 'n', reordering: 'n',
  hoplimit: 'n',
  initcwnd: 'n', features: 'n', rtoMin: 'n', initrwnd: 'n', quickack: 'n', congestionControl: 's',
  fastopenNoCookie: 'n',
};
const MEMBER: Names<NonNullable<Nexthop['group']>[number]> = { id: 'n', weight: 'n' };
const SOURCE: Names<NonNullable<MdbEntry['sources']>[number]> = { ip: 's', timer: 'n' };
const RESILIENT: Names<ResilientGroup> = { buckets: 'n', idleTimer: 'n', unbalancedTimer: 'n', unbalancedTime: 'n' };
const RANGE: Names<NumberRange> = { low: 'n', high: 'n' };
const ATTRIBUTE: Names<UnknownAttribute> = { type: 'n', within: 's', bytes: 'o' };

/** By table: the fields of its rows, beside those of links. */
export const ROW_FIELDS = {
  address: Object.keys(ADDRESS),
  route: Object.keys(ROUTE),
  neighbor: Object.keys(NEIGHBOR),
  fdb: Object.keys(FDB),
  rule: Object.keys(RULE),
  nexthop: Object.keys(NEXTHOP),
} as const;

/** By table: the fields that filters of listings can have, and what their values are. */
export const FILTER_TYPES: Readonly<Record<ListedName, Readonly<Record<string, string>>>> = {
  link: LINK,
  address: ADDRESS,
  route: ROUTE_FILTER,
  neighbor: { ...NEIGHBOR, family: 's' },
  fdb: FDB,
  rule: RULE,
  nexthop: NEXTHOP,
  vlan: BRIDGE_VLAN,
  mdb: MDB,
};

/** The fields of a filter of `fdb.flush`. */
export const FLUSH_FIELDS: readonly string[] = Object.keys(FDB_FLUSH);

/** By the field that holds them: the fields of objects within rows. */
export const NESTED_FIELDS: ReadonlyMap<string, readonly string[]> = new Map([
  ['bridgePort', Object.keys(BRIDGE_PORT)],
  ['peer', Object.keys(PEER_SPEC)],
  ['nexthops', Object.keys(HOP)],
  ['metrics', Object.keys(METRICS)],
  ['group', Object.keys(MEMBER)],
  ['sources', Object.keys(SOURCE)],
  ['resilient', Object.keys(RESILIENT)],
  ['portRange', Object.keys(RANGE)],
  ['sourcePorts', Object.keys(RANGE)],
  ['destinationPorts', Object.keys(RANGE)],
  ['uids', Object.keys(RANGE)],
  ['unknown', Object.keys(ATTRIBUTE)],
]);
