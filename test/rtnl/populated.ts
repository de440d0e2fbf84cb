/** A namespace with rows of every sort that lists can give: made by iproute2, and by the kernel itself. */
import { createNetns, type Netns } from '../support/netns.js';

const LINES = `
link add p0 type veth peer name p1
link add p2 type veth peer name p3
link set p0 up
link set p1 up
link set p2 up
link set p3 up
link add br0 up type bridge ageing_time 0
link add b0 up master br0 type veth peer name b1
link set b1 up
link add vx0 up type vxlan id 7 dstport 4790
link add vx1 up type vxlan external dstport 4791
link add vx2 up type vxlan id 9 dstport 4792 nolearning
link add v6 up type vxlan id 10 dstport 4793 local fd00:99::1
address add 10.0.0.1/24 dev p0
address add 10.0.0.2/24 dev p0
address add 10.2.0.1/24 dev p2 broadcast 10.2.0.255 label p2:one valid_lft 7200 preferred_lft 3600
address add 10.7.0.1 peer 10.7.0.2/32 dev p0
address add 10.7.0.1 peer 10.7.0.3/32 dev p0
address add fd00:1::1/64 dev p0 nodad
address add fd00:1::1/64 dev p2 nodad
address add fd00:2::1 peer fd00:2::2/128 dev p2 nodad
nexthop add id 1 via 10.0.0.9 dev p0
nexthop add id 2 via fd00:1::9 dev p0
nexthop add id 3 group 1
nexthop add id 12 via 10.1.0.11 fdb
nexthop add id 13 group 12 fdb
route add 10.5.0.0/16 via 10.0.0.8
route add 10.5.0.0/16 via 10.0.0.8 tos 0x10
route add 10.5.0.0/16 via 10.0.0.8 metric 5
route add 10.5.0.0/16 via 10.0.0.8 table 99
route append 10.5.0.0/16 via 10.0.0.7
route append 10.5.0.0/16 via 10.0.0.7 proto static
route append 10.5.0.0/16 via 10.0.0.7 src 10.0.0.2 proto static
route add 10.6.0.0/16 nexthop via 10.0.0.8 realms 5 nexthop via 10.2.0.8 weight 3
route add 10.6.1.0/24 via 10.0.0.8 realms 3/4
route add 10.6.2.0/24 encap ip id 5 dst 10.9.9.9 via 10.0.0.8
route add 10.6.3.0/24 nhid 3
route add 10.6.4.0/24 via inet6 fd00:1::8 dev p0
route add 10.6.5.0/24 dev p0 mtu lock 1400 advmss 1360 initcwnd 20 features ecn congctl reno
route add 10.6.6.0/24 via 10.99.0.1 dev p0 onlink
route add blackhole 10.6.7.0/24
route add unreachable 10.6.8.0/24 metric 7
route add throw 10.6.9.0/24 table 99
route add multicast 239.1.0.0/16 dev p0 table 99
-6 route add fd05::/48 via fd00:1::8 dev p0
-6 route add fd05::/48 via fd00:1::8 dev p0 metric 5
-6 route append fd05::/48 via fd00:1::7 dev p2
-6 route add fd06::/48 dev p0
-6 route append fd06::/48 dev p2
-6 route append fd06::/48 via fd00:1::8 dev p0
-6 route add fd07::/48 nhid 2
-6 route add fd08::/48 dev p0 expires 3000 pref high mtu 1400
-6 route add fd09::/48 nexthop encap seg6 mode encap segs fc00::1 via fd00:1::8 dev p0 nexthop via fd00:1::7 dev p2
-6 route add fd10::/48 from fd11::/64 dev p0
-6 route add fd10::/48 from fd12::/64 dev p0
-6 route add unreachable fd13::/48
-6 route add blackhole fd14::/48 metric 9
neighbor add 10.0.0.50 lladdr 02:00:00:00:00:50 dev p0 nud permanent protocol static
neighbor add 10.0.0.51 lladdr 02:00:00:00:00:51 dev p0 nud noarp
neighbor add 10.0.0.52 lladdr 02:00:00:00:00:52 dev p0 nud stale extern_learn
neighbor add fd00:1::50 lladdr 02:00:00:00:00:53 dev p0 nud permanent router
neighbor add 10.0.0.50 lladdr 02:00:00:00:00:54 dev p2 nud permanent
neighbor add proxy 10.0.0.50 dev p0
neighbor add proxy 10.0.0.60 dev p0 protocol static
neighbor add proxy fd00:1::60 dev p0
rule add priority 100 from 10.0.0.0/8 table 99
rule add priority 100 from 10.0.0.0/8 fwmark 7 table 99
-6 rule add priority 100 from fd00::/8 table 99
`;

const FDB_LINES = `
fdb add 02:00:00:00:01:01 dev b0 master static
fdb add 02:00:00:00:01:02 dev b0 master
fdb add 02:00:00:00:01:03 dev b0 master dynamic extern_learn
fdb add 02:00:00:00:01:04 dev b0 master static sticky
fdb add 02:00:00:00:01:05 dev br0 self
fdb add 02:00:00:00:01:06 dev b0 self
fdb append 02:00:00:00:02:01 dev vx0 dst 10.1.0.11 self permanent
fdb append 02:00:00:00:02:02 dev vx0 dst 10.1.0.11 self dynamic
fdb append 02:00:00:00:02:03 dev vx0 dst 10.1.0.11 self static
fdb append 02:00:00:00:02:04 dev vx0 dst 10.1.0.11 port 4444 vni 77 via p0 self permanent
fdb append 02:00:00:00:02:05 dev vx0 dst 10.1.0.11 self dynamic extern_learn
fdb append 00:00:00:00:00:00 dev vx0 dst 10.1.0.11 self permanent
fdb append 00:00:00:00:00:00 dev vx0 dst 10.1.0.12 self permanent
fdb append 00:00:00:00:00:00 dev vx0 dst 10.1.0.12 port 4444 self permanent
fdb append 00:00:00:00:00:00 dev vx0 dst 10.1.0.12 vni 77 self permanent
fdb append 00:00:00:00:00:00 dev vx0 dst 10.1.0.12 via p0 self permanent
fdb append 01:00:5e:00:00:09 dev vx0 dst 10.1.0.11 self permanent
fdb append 01:00:5e:00:00:09 dev vx0 dst 10.1.0.12 self permanent
fdb append 02:00:00:00:03:01 dev vx1 dst 10.1.0.11 src_vni 100 vni 100 self permanent
fdb append 02:00:00:00:03:01 dev vx1 dst 10.1.0.12 src_vni 200 vni 200 self permanent
fdb append 02:00:00:00:04:01 dev vx2 nhid 13 self permanent
fdb append 02:00:00:00:05:01 dev v6 dst fd00:99::2 self permanent
`;

const lines = (text: string): string[] => text.trim().split('\n');

/** What the running kernel or iproute2 lacks is left out; what there is, is the caller's to count. */
export async function populated(): Promise<Netns> {
  const netns = await createNetns();
  // No link-local addresses: they come by themselves, and go to groups.
  await netns.sysctl('net/ipv6/conf/default/addr_gen_mode', 1);
  // Each by itself: a batch ends at a word that iproute2 does not know.
  const script = [...lines(LINES).map((line) => `ip ${line}`), ...lines(FDB_LINES).map((line) => `bridge ${line}`)];
  await netns.exec('sh', [], { input: `${script.join('\n')}\n`, check: false });
  return netns;
}
