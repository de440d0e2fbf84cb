/** The names of the fields that Rtnl's objects have. The compiler compares them with the types. */
import type {
  Address,
  AnyLinkSpec,
  BondSettings,
  BridgePort,
  BridgeSettings,
  BridgeState,
  FdbEntry,
  FdbFlush,
  GeneveSettings,
  IpvlanSettings,
  Link,
  LinkChange,
  LinkSettings,
  LinkState,
  MacvlanSettings,
  Neighbor,
  Nexthop,
  NumberRange,
  PeerSpec,
  ResilientGroup,
  Route,
  RouteFilter,
  RouteHop,
  RouteMetrics,
  Rule,
  TunState,
  UnknownAttribute,
  VlanSettings,
  VrfSettings,
  VxlanSettings,
} from './types.js';

type Names<T> = Readonly<Record<keyof T, 1>>;

// biome-ignore format: several a line
const LINK_SETTINGS: Names<LinkSettings> = {
  broadcast: 1, txQueueLength: 1, linkGroup: 1, linkMode: 1, protoDown: 1, carrier: 1, numTxQueues: 1, numRxQueues: 1,
  gsoMaxSize: 1, gsoMaxSegs: 1, gsoIpv4MaxSize: 1, groMaxSize: 1, groIpv4MaxSize: 1, addrGenMode: 1,
};
// biome-ignore format: several a line
const LINK_STATE: Names<LinkState> = {
  tsoMaxSize: 1, tsoMaxSegs: 1, minMtu: 1, maxMtu: 1, qdisc: 1, promiscuity: 1, allmulti: 1, carrierChanges: 1,
  carrierUpCount: 1, carrierDownCount: 1, permanentMac: 1, physicalPort: 1, parentDevice: 1, parentBus: 1,
  newNetnsid: 1, newIndex: 1, virtualFunctions: 1, maxPacingOffloadHorizon: 1, netnsImmutable: 1, headroom: 1,
  tailroom: 1,
};
// biome-ignore format: several a line
const SPEC: Names<Omit<AnyLinkSpec, keyof LinkSettings> & Pick<LinkChange, 'index' | 'newName' | 'alias' | 'kind'>> = {
  name: 1, index: 1, newName: 1, kind: 1, up: 1, mtu: 1, mac: 1, master: 1, masterIndex: 1, bridgePort: 1, netns: 1,
  link: 1, alias: 1, arp: 1, multicast: 1, allMulticast: 1, promiscuous: 1,
};
// biome-ignore format: several a line
const VXLAN: Names<VxlanSettings> = {
  vni: 1, group: 1, local: 1, device: 1, ttl: 1, ttlInherit: 1, tos: 1, df: 1, label: 1, labelPolicy: 1, learning: 1,
  ageing: 1, limit: 1, proxy: 1, rsc: 1, l2miss: 1, l3miss: 1, port: 1, portRange: 1, udpCsum: 1, udpZeroCsum6Tx: 1,
  udpZeroCsum6Rx: 1, remcsumTx: 1, remcsumRx: 1, remcsumNopartial: 1, gbp: 1, gpe: 1, collectMetadata: 1,
  vnifilter: 1, localbypass: 1, reservedBits: 1, mcRoute: 1,
};
// biome-ignore format: several a line
const BRIDGE: Names<BridgeSettings & BridgeState> = {
  forwardDelay: 1, helloTime: 1, maxAge: 1, ageingTime: 1, stpState: 1, priority: 1, vlanFiltering: 1,
  vlanProtocol: 1, vlanDefaultPvid: 1, vlanStatsEnabled: 1, vlanStatsPerPort: 1, groupFwdMask: 1, groupAddress: 1,
  fdbMaxLearned: 1, noLinklocalLearn: 1, mcastVlanSnooping: 1, mstEnabled: 1, mcastRouter: 1, mcastSnooping: 1,
  mcastQueryUseIfaddr: 1, mcastQuerier: 1, mcastHashElasticity: 1, mcastHashMax: 1, mcastLastMemberCount: 1,
  mcastStartupQueryCount: 1, mcastLastMemberInterval: 1, mcastMembershipInterval: 1, mcastQuerierInterval: 1,
  mcastQueryInterval: 1, mcastQueryResponseInterval: 1, mcastStartupQueryInterval: 1, mcastStatsEnabled: 1,
  mcastIgmpVersion: 1, mcastMldVersion: 1, nfCallIptables: 1, nfCallIp6tables: 1, nfCallArptables: 1, rootId: 1,
  bridgeId: 1, rootPort: 1, rootPathCost: 1, topologyChange: 1, topologyChangeDetected: 1, helloTimer: 1, tcnTimer: 1,
  topologyChangeTimer: 1, gcTimer: 1, fdbLearned: 1,
};
// biome-ignore format: several a line
const MACVLAN: Names<MacvlanSettings & Pick<Link, 'macCount' | 'bcQueueLengthUsed'>> = {
  mode: 1, nopromisc: 1, nodst: 1, bcQueueLength: 1, bcCutoff: 1, macCount: 1, bcQueueLengthUsed: 1,
};
// biome-ignore format: several a line
const VLAN: Names<VlanSettings> = {
  vlanId: 1, vlanProtocol: 1, reorderHdr: 1, gvrp: 1, looseBinding: 1, mvrp: 1, bridgeBinding: 1,
};
const VRF: Names<VrfSettings> = { table: 1 };
const IPVLAN: Names<IpvlanSettings> = { mode: 1, private: 1, vepa: 1 };
// biome-ignore format: several a line
const GENEVE: Names<GeneveSettings> = {
  vni: 1, remote: 1, ttl: 1, ttlInherit: 1, tos: 1, df: 1, label: 1, port: 1, collectMetadata: 1, udpCsum: 1,
  udpZeroCsum6Tx: 1, udpZeroCsum6Rx: 1, innerProtoInherit: 1,
};
// biome-ignore format: several a line
const BOND: Names<BondSettings> = {
  mode: 1, activeSlave: 1, primary: 1, miimon: 1, updelay: 1, downdelay: 1, useCarrier: 1, arpInterval: 1,
  xmitHashPolicy: 1, minLinks: 1, lacpRate: 1,
};
// biome-ignore format: several a line
const TUN: Names<TunState & Pick<Link, 'mode'>> = {
  owner: 1, groupId: 1, mode: 1, pi: 1, vnetHdr: 1, persist: 1, multiQueue: 1, queues: 1, disabledQueues: 1,
};
const PEER = { peer: 1 } as const;
/** What else a link is listed with. */
// biome-ignore format: several a line
const LISTED: Names<
  Omit<
    Link,
    | keyof (LinkSettings & LinkState & VxlanSettings & BridgeSettings & BridgeState & VlanSettings & GeneveSettings)
    | keyof (MacvlanSettings & VrfSettings & IpvlanSettings & BondSettings & TunState)
    | keyof typeof SPEC
    | keyof typeof MACVLAN
  >
> = {
  running: 1, flags: 1, hardware: 1, slaveKind: 1, linkNetnsid: 1, alternativeNames: 1, operstate: 1, unknown: 1,
};

/** Fields of any link, be it to be made or as it is listed. */
export const ANY_LINK: readonly string[] = Object.keys({ ...SPEC, ...LINK_SETTINGS, ...LINK_STATE, ...LISTED });

/** By kind: the fields of links of that kind alone. Others have none. */
// biome-ignore format: several a line
export const LINK_KINDS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    vxlan: VXLAN, bridge: BRIDGE, veth: PEER, vxcan: PEER, netkit: PEER, macvlan: MACVLAN, macvtap: MACVLAN,
    vlan: VLAN, vrf: VRF, ipvlan: IPVLAN, ipvtap: IPVLAN, geneve: GENEVE, bond: BOND, tun: TUN,
  }).map(([kind, names]) => [kind, Object.keys(names)]),
);

// biome-ignore format: several a line
const ADDRESS: Names<Address> = {
  link: 1, linkIndex: 1, address: 1, family: 1, peer: 1, broadcast: 1, scope: 1, flags: 1, label: 1,
  preferredLifetime: 1, validLifetime: 1, metric: 1, protocol: 1, nodad: 1, noprefixroute: 1, unknown: 1,
};
// biome-ignore format: several a line
const ROUTE: Names<Route> = {
  dst: 1, family: 1, type: 1, from: 1, gateway: 1, link: 1, linkIndex: 1, source: 1, table: 1, metric: 1, tos: 1,
  scope: 1, protocol: 1, flags: 1, nexthops: 1, nexthop: 1, preference: 1, expires: 1, metrics: 1, unknown: 1,
};
// biome-ignore format: several a line
const NEIGHBOR: Names<Neighbor> = {
  link: 1, linkIndex: 1, ip: 1, mac: 1, state: 1, flags: 1, protocol: 1, unknown: 1,
};
// biome-ignore format: several a line
const FDB: Names<FdbEntry> = {
  link: 1, linkIndex: 1, mac: 1, dst: 1, vni: 1, sourceVni: 1, port: 1, via: 1, viaIndex: 1, linkNetnsid: 1,
  master: 1, masterIndex: 1, vlan: 1, nexthop: 1, protocol: 1, activity: 1, state: 1, flags: 1, unknown: 1,
};
// biome-ignore format: several a line
const RULE: Names<Rule> = {
  priority: 1, family: 1, action: 1, table: 1, from: 1, to: 1, iif: 1, oif: 1, tos: 1, dscp: 1, dscpMask: 1,
  flowLabel: 1, flowLabelMask: 1, mark: 1, markMask: 1, realms: 1, goto: 1, suppressPrefixLength: 1, suppressGroup: 1,
  ipProtocol: 1, sourcePorts: 1, sourcePortMask: 1, destinationPorts: 1, destinationPortMask: 1, uids: 1, tunnel: 1,
  l3mdev: 1, protocol: 1, flags: 1, unknown: 1,
};
// biome-ignore format: several a line
const NEXTHOP: Names<Nexthop> = {
  id: 1, family: 1, gateway: 1, link: 1, linkIndex: 1, master: 1, masterIndex: 1, scope: 1, protocol: 1, flags: 1,
  blackhole: 1, fdb: 1, group: 1, groupType: 1, resilient: 1, unknown: 1,
};
const FDB_FLUSH: Names<FdbFlush & FdbEntry> = { ...FDB, withoutFlags: 1 };
const ROUTE_FILTER: Names<RouteFilter> = { ...ROUTE, root: 1, match: 1 };

// biome-ignore format: several a line
const BRIDGE_PORT: Names<BridgePort> = {
  state: 1, priority: 1, cost: 1, hairpin: 1, guard: 1, rootBlock: 1, fastLeave: 1, learning: 1, learningSync: 1,
  flood: 1, mcastFlood: 1, bcastFlood: 1, mcastToUnicast: 1, mcastRouter: 1, proxyArp: 1, proxyArpWifi: 1,
  neighSuppress: 1, neighVlanSuppress: 1, groupFwdMask: 1, vlanTunnel: 1, isolated: 1, locked: 1, mab: 1,
  backupPort: 1, backupNexthop: 1, mcastEhtHostsLimit: 1, mcastMaxGroups: 1, mcastEhtHosts: 1, mcastGroups: 1,
  mrpRingOpen: 1, mrpInOpen: 1, rootId: 1, bridgeId: 1, designatedPort: 1, designatedCost: 1, id: 1, number: 1,
  topologyChangeAck: 1, configPending: 1, messageAgeTimer: 1, forwardDelayTimer: 1, holdTimer: 1,
};
const PEER_SPEC: Names<PeerSpec> = { name: 1, mac: 1, mtu: 1, netns: 1 };
const HOP: Names<RouteHop> = { gateway: 1, link: 1, linkIndex: 1, weight: 1, flags: 1, unknown: 1 };
// biome-ignore format: several a line
const METRICS: Names<RouteMetrics> = {
  lock: 1, mtu: 1, window: 1, rtt: 1, rttvar: 1, ssthresh: 1, cwnd: 1, advmss: 1, reordering: 1, hoplimit: 1,
  initcwnd: 1, features: 1, rtoMin: 1, initrwnd: 1, quickack: 1, congestionControl: 1, fastopenNoCookie: 1,
};
const MEMBER: Names<NonNullable<Nexthop['group']>[number]> = { id: 1, weight: 1 };
const RESILIENT: Names<ResilientGroup> = { buckets: 1, idleTimer: 1, unbalancedTimer: 1, unbalancedTime: 1 };
const RANGE: Names<NumberRange> = { low: 1, high: 1 };
const ATTRIBUTE: Names<UnknownAttribute> = { type: 1, within: 1, bytes: 1 };

/** By table: the fields of its rows, beside those of links. */
export const ROW_FIELDS = {
  address: Object.keys(ADDRESS),
  route: Object.keys(ROUTE),
  neighbor: Object.keys(NEIGHBOR),
  fdb: Object.keys(FDB),
  rule: Object.keys(RULE),
  nexthop: Object.keys(NEXTHOP),
} as const;

/** By table: what filters can have where that is more than rows have. */
export const FILTER_FIELDS = {
  route: Object.keys(ROUTE_FILTER),
  neighbor: [...ROW_FIELDS.neighbor, 'family'],
} as const;

/** The fields of a filter of `fdb.flush`. */
export const FLUSH_FIELDS: readonly string[] = Object.keys(FDB_FLUSH);

/** By the field that holds them: the fields of objects within rows. */
export const NESTED_FIELDS: ReadonlyMap<string, readonly string[]> = new Map([
  ['bridgePort', Object.keys(BRIDGE_PORT)],
  ['peer', Object.keys(PEER_SPEC)],
  ['nexthops', Object.keys(HOP)],
  ['metrics', Object.keys(METRICS)],
  ['group', Object.keys(MEMBER)],
  ['resilient', Object.keys(RESILIENT)],
  ['portRange', Object.keys(RANGE)],
  ['sourcePorts', Object.keys(RANGE)],
  ['destinationPorts', Object.keys(RANGE)],
  ['uids', Object.keys(RANGE)],
  ['unknown', Object.keys(ATTRIBUTE)],
]);
