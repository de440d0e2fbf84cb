/**
 * What people and daemons do to a namespace, after the kernel's own network selftests (fib_tests.sh, fib_nexthops.sh,
 * rtnetlink.sh, forwarding/bridge_*.sh and vxlan_*.sh) and iproute2's testsuite, and what the kernel does to it by itself.
 * Each step is a shell script in the namespace; `$OTHER` names another one.
 */

export interface Scenario {
  readonly name: string;
  /** Ran before the mirror begins. */
  readonly before?: string;
  readonly steps: readonly string[];
}

/** v0 (10.0.0.1/24, 2001:db8::1/64) and w0 (10.1.0.1/24, 2001:db8:1::1/64), up, with their ends v1 and w1. */
const PAIRS = `
  ip link add v0 type veth peer name v1; ip link add w0 type veth peer name w1
  for l in v0 v1 w0 w1; do ip link set $l up; done
  ip addr add 10.0.0.1/24 dev v0; ip -6 addr add 2001:db8::1/64 dev v0 nodad
  ip addr add 10.1.0.1/24 dev w0; ip -6 addr add 2001:db8:1::1/64 dev w0 nodad`;

/** br0 with the ports p0 and p1, whose other ends are q0 and q1. */
const BRIDGE = `
  ip link add br0 type bridge; ip link set br0 up
  for i in 0 1; do ip link add p$i type veth peer name q$i; ip link set q$i up; ip link set p$i up master br0; done`;

const VXLAN = `
  ip link add vx0 type vxlan id 42 local 10.0.0.1 dstport 4789; ip link set vx0 up`;

/** Sends a frame to FF:..:FF from a MAC address, so that a bridge learns it. */
const frame = (link: string, mac: string): string =>
  `python3 -c "import socket; s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW); s.bind(('${link}',0)); s.send(bytes.fromhex('ffffffffffff${mac.replaceAll(':', '')}88b5')+bytes(46))"`;

/** Joins two groups and routes a third from v0 to w0, for two seconds. */
const MULTICAST = [
  'import socket, struct, time',
  "four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); four.setsockopt(0, 35, socket.inet_aton('239.7.7.7') + socket.inet_aton('10.0.0.1'))",
  "six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); six.setsockopt(41, 20, socket.inet_pton(10, 'ff05::77') + struct.pack('I', socket.if_nametoindex('v0')))",
  's = socket.socket(socket.AF_INET, socket.SOCK_RAW, 2); s.setsockopt(0, 200, 1)',
  "[s.setsockopt(0, 202, struct.pack('HBBIi4s', at, 8, 1, 0, socket.if_nametoindex(name), bytes(4))) for at, name in enumerate(('v0', 'w0'))]",
  "s.setsockopt(0, 204, struct.pack('4s4sH32sIIIi', socket.inet_aton('10.0.0.9'), socket.inet_aton('239.1.2.3'), 0, bytes([1, 1]) + bytes(30), 0, 0, 0, 0)); time.sleep(2)",
].join('\n');

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'routes whose links go: unregistered, down, without a carrier',
    before: PAIRS,
    steps: [
      'ip route add 10.2.0.0/16 via 10.0.0.2; ip route add 10.3.0.0/16 nexthop via 10.0.0.2 nexthop via 10.1.0.2',
      'ip -6 route add 2001:db8:2::/48 via 2001:db8::2; ip -6 route add 2001:db8:3::/48 nexthop via 2001:db8::2 nexthop via 2001:db8:1::2',
      'ip route add default via 10.0.0.254; ip route add default via 10.1.0.254 metric 10; ip route add 10.9.0.0/24 dev w0 table 1000',
      'ip link set v1 down',
      'ip link set v1 up',
      'ip link set v0 down',
      'ip link set v0 up',
      'ip route add 10.3.0.0/16 nexthop via 10.0.0.2 nexthop via 10.1.0.2 || true; ip link set w0 down',
      'ip link set w0 up; ip route add 10.4.0.0/16 via 10.1.0.2; ip link set w0 mtu 1400',
      'ip link del w1',
      'ip link del v0',
    ],
  },
  {
    name: 'routes whose source, gateway or table goes',
    before: PAIRS,
    steps: [
      'ip addr add 10.0.0.5/32 dev lo; ip route add 10.2.0.0/16 via 10.1.0.2 src 10.0.0.5; ip route add 10.2.0.0/17 dev w0 src 10.0.0.5 table 7',
      'ip addr del 10.0.0.5/32 dev lo',
      'ip -6 addr add 2001:db8:5::5/128 dev v0 nodad; ip -6 route add 2001:db8:6::/48 via 2001:db8:1::2 src 2001:db8:5::5',
      'ip -6 addr del 2001:db8:5::5/128 dev v0',
      'ip addr add 10.0.0.3/24 dev v0; ip addr add 10.0.0.4/24 dev v0; ip route add 10.5.0.0/16 via 10.0.0.9',
      'ip addr del 10.0.0.1/24 dev v0',
      'echo 1 > /proc/sys/net/ipv4/conf/w0/promote_secondaries; ip addr add 10.1.0.2/24 dev w0; ip addr add 10.1.0.3/24 dev w0',
      'ip addr del 10.1.0.1/24 dev w0',
      'ip addr flush dev w0',
      'ip route add 10.6.0.0/16 dev v0 table 99; ip route add blackhole 10.6.1.0/24 table 99; ip route flush table 99',
      'ip -6 addr flush dev v0',
    ],
  },
  {
    name: 'IPv4 routes that replace, append to and shadow each other',
    before: PAIRS,
    steps: [
      'ip route add 10.2.0.0/16 via 10.0.0.2; ip route append 10.2.0.0/16 via 10.0.0.3; ip route append 10.2.0.0/16 via 10.0.0.4',
      'ip route prepend 10.2.0.0/16 via 10.1.0.2',
      'ip route replace 10.2.0.0/16 via 10.1.0.3',
      'ip route change 10.2.0.0/16 via 10.1.0.4',
      'ip route del 10.2.0.0/16 via 10.0.0.3; ip route del 10.2.0.0/16',
      'ip route add 10.2.0.0/16 via 10.0.0.2 tos 0x10; ip route add 10.2.0.0/16 via 10.0.0.2 metric 7; ip route add 10.2.0.0/16 via 10.0.0.2 metric 7 tos 0x10',
      'ip route replace 10.2.0.0/16 via 10.0.0.9 metric 7 mtu 1400; ip route replace 10.2.0.0/16 via 10.0.0.9 metric 7 mtu lock 1300',
      'ip route add unreachable 10.3.0.0/16; ip route add prohibit 10.4.0.0/16; ip route add throw 10.5.0.0/16 table 9; ip route replace blackhole 10.3.0.0/16',
      'ip route replace 10.3.0.0/16 nexthop via 10.0.0.2 weight 3 nexthop via 10.1.0.2; ip route replace 10.3.0.0/16 nexthop via 10.1.0.2 nexthop via 10.0.0.2 weight 2',
      'ip route add 10.7.0.0/16 via inet6 2001:db8::9 dev v0; ip route replace 10.7.0.0/16 via 10.0.0.2',
      'ip route add local 10.8.0.0/16 dev lo table 100; ip route add multicast 239.1.0.0/16 dev v0; ip route add broadcast 10.8.9.255 dev v0 table local',
      'ip route flush root 10.2.0.0/16; ip route flush cache; ip route flush proto boot',
    ],
  },
  {
    name: 'IPv6 routes of several ways',
    before: PAIRS,
    steps: [
      'ip -6 route add 2001:db8:5::/48 via 2001:db8::2',
      'ip -6 route append 2001:db8:5::/48 via 2001:db8::3',
      'ip -6 route append 2001:db8:5::/48 via 2001:db8:1::4',
      'ip -6 route del 2001:db8:5::/48 via 2001:db8::2',
      'ip -6 route del 2001:db8:5::/48 via 2001:db8:1::4',
      'ip -6 route replace 2001:db8:5::/48 nexthop via 2001:db8::2 nexthop via 2001:db8:1::2 nexthop via 2001:db8::7 weight 2',
      'ip -6 route replace 2001:db8:5::/48 via 2001:db8::9',
      'ip -6 route add 2001:db8:6::/48 dev v0; ip -6 route append 2001:db8:6::/48 dev w0; ip -6 route append 2001:db8:6::/48 via 2001:db8::2',
      'ip -6 route del 2001:db8:6::/48 dev v0; ip -6 route replace 2001:db8:6::/48 dev w0 metric 5',
      'ip -6 route add blackhole 2001:db8:7::/48; ip -6 route add unreachable 2001:db8:8::/48 metric 9; ip -6 route replace 2001:db8:7::/48 via 2001:db8::2',
      'ip -6 route add 2001:db8:9::/48 from 2001:db8:a::/48 via 2001:db8::2; ip -6 route add 2001:db8:9::/48 via 2001:db8::2; ip -6 route del 2001:db8:9::/48 from 2001:db8:a::/48',
      'ip -6 route add default nexthop via 2001:db8::fe nexthop via 2001:db8:1::fe; ip link set w0 down',
      'ip link set w0 up; ip -6 route add 2001:db8:b::/48 via 2001:db8::2 expires 1; ip -6 route replace 2001:db8:5::/48 via 2001:db8::2 mtu 1300',
      'ip link set v0 mtu 1300; ip link set v0 mtu 1400',
      'ip -6 route flush 2001:db8:5::/48; ip -6 route flush proto boot; ip link del v0',
    ],
  },
  {
    name: 'IPv6 routes that the kernel is told to drop in silence',
    before: PAIRS,
    steps: [
      'echo 1 > /proc/sys/net/ipv6/route/skip_notify_on_dev_down; ip -6 route add 2001:db8:5::/48 via 2001:db8::2; ip link set v0 down',
      'ip link set v0 up; ip link del w1',
    ],
  },
  {
    name: 'routes with nexthop objects',
    before: PAIRS,
    steps: [
      'ip nexthop add id 1 via 10.0.0.2 dev v0; ip nexthop add id 2 via 10.1.0.2 dev w0; ip nexthop add id 3 group 1/2; ip route add 10.7.0.0/16 nhid 1; ip route add 10.8.0.0/16 nhid 3',
      'ip nexthop add id 11 via 2001:db8::2 dev v0; ip nexthop add id 12 via 2001:db8:1::2 dev w0; ip nexthop add id 13 group 11/12; ip -6 route add 2001:db8:7::/48 nhid 11; ip -6 route add 2001:db8:8::/48 nhid 13; ip route add 10.9.0.0/16 nhid 11',
      'ip nexthop replace id 1 via 10.0.0.3 dev v0; ip nexthop replace id 11 via 2001:db8::3 dev v0',
      'ip nexthop replace id 3 group 1,5/2,7; ip nexthop replace id 13 group 12',
      'ip nexthop del id 2',
      'ip nexthop del id 11',
      'echo 0 > /proc/sys/net/ipv4/nexthop_compat_mode; ip nexthop add id 2 via 10.1.0.2 dev w0; ip nexthop replace id 3 group 1/2; ip route replace 10.8.0.0/16 nhid 3; ip nexthop replace id 1 via 10.0.0.4 dev v0',
      'ip nexthop add id 20 blackhole; ip route add 10.10.0.0/16 nhid 20; ip -6 nexthop add id 22 blackhole; ip -6 route add 2001:db8:20::/48 nhid 22; ip nexthop add id 21 group 1,100/2; ip route add 10.11.0.0/16 nhid 21',
      'ip link set w0 down',
      'ip link set w0 up; ip nexthop del id 20',
      'ip nexthop flush',
    ],
  },
  {
    name: 'everything on a link that is renamed',
    before: PAIRS,
    steps: [
      'ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev v0 nud permanent; ip route add 10.2.0.0/16 via 10.0.0.2; ip -6 neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev v0; bridge fdb add 02:00:00:00:00:0a dev v0 self; ip route add 10.3.0.0/16 nexthop via 10.0.0.2 nexthop via 10.1.0.2',
      'ip link set v0 name uplink',
      'ip link set uplink name tmp; ip link set w0 name uplink; ip link set tmp name w0',
      'ip link set w0 down; ip link set w0 name down0; ip link set down0 up',
      'ip link property add dev down0 altname another; ip link set down0 alias words; ip link property del dev down0 altname another',
      'ip link del uplink; ip link set down0 name uplink',
    ],
  },
  {
    name: 'bridges and vxlan devices that are renamed',
    before: `${PAIRS}${BRIDGE}${VXLAN}`,
    steps: [
      'bridge fdb add 02:00:00:00:00:01 dev p0 master static; bridge fdb add 02:00:00:00:00:02 dev vx0 dst 10.0.0.9; bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.0.0.8 via v0; bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.0.0.7',
      'ip link set br0 name br9',
      'ip link set p0 name port; ip link set vx0 name vx9 master br9',
      'ip link set v0 name under',
      'ip link add link under name mv0 type macvlan mode bridge; ip link set mv0 up; ip link set mv0 name mv9',
      'ip link del br9',
      'ip link del under',
    ],
  },
  {
    name: 'links that come and go under one index, and to another namespace',
    before: PAIRS,
    steps: [
      'ip link add name a0 index 100 type veth peer name a1; ip addr add 10.5.0.1/24 dev a0; ip link set a0 up; ip link set a1 up; ip neigh add 10.5.0.2 lladdr 02:00:00:00:00:05 dev a0; ip route add 10.6.0.0/16 via 10.5.0.2',
      'ip link del a0; ip link add name b0 index 100 type bridge; ip addr add 10.5.0.1/24 dev b0',
      'ip link del b0; ip link add name c0 index 100 type ifb',
      'ip route add 10.7.0.0/16 via 10.0.0.2; ip link set v0 netns $OTHER',
      'ip netns exec $OTHER ip link set v0 netns $(readlink /proc/self/ns/net >/dev/null; echo $$)',
      'ip link set v0 up; ip addr add 10.0.0.1/24 dev v0; ip link set v1 netns $OTHER',
      'ip netns exec $OTHER ip link set v1 name v0; ip netns exec $OTHER ip link set v0 up',
      'ip netns exec $OTHER ip link del v0',
      'ip link add link w0 name mv0 type macvlan; ip link set w0 netns $OTHER',
      'ip netns exec $OTHER ip link del w0',
    ],
  },
  {
    name: 'a bridge and its ports',
    before: BRIDGE,
    steps: [
      'bridge link set dev p0 cost 77 hairpin on learning off isolated on; bridge link set dev p1 flood off mcast_flood off neigh_suppress on',
      'bridge link set dev p0 state 3; bridge link set dev p1 priority 9 guard on root_block on fastleave on',
      'ip link set dev p1 type bridge_slave locked on proxy_arp on mcast_to_unicast on',
      'ip link set q0 down',
      'ip link set q0 up',
      'ip link set p0 nomaster',
      'ip link add br1 type bridge; ip link set br1 up; ip link set p0 master br1; ip link set p1 master br1; ip link set p1 master br0; ip link del br1',
      'ip link set p0 master br0; ip link set br0 type bridge stp_state 1 forward_delay 200 priority 100',
      'ip link set br0 type bridge stp_state 0 ageing_time 3000',
      'bridge fdb add 02:00:00:00:00:01 dev p0 master static; bridge fdb add 02:00:00:00:00:02 dev p0 master; bridge fdb add 02:00:00:00:00:03 dev br0 self local',
      'bridge fdb replace 02:00:00:00:00:01 dev p1 master static; bridge fdb add 02:00:00:00:00:04 dev p1 master sticky dynamic; bridge fdb add 02:00:00:00:00:05 dev p1 master extern_learn',
      'ip link set p0 address 02:00:00:00:aa:00; ip link set br0 address 02:00:00:00:bb:00',
      'bridge fdb flush dev p1 master || bridge fdb flush dev br0',
      'ip link set p1 nomaster',
      'ip link set p0 down; ip link del q0',
      'ip link set br0 down; ip link del br0',
    ],
  },
  {
    name: 'what a bridge learns, moves, ages out and flushes',
    before: BRIDGE,
    steps: [
      frame('q0', '02:00:00:00:00:11'),
      frame('q1', '02:00:00:00:00:11'),
      `${frame('q0', '02:00:00:00:00:12')}; ip link set p0 type bridge_slave fdb_flush`,
      `${frame('q0', '02:00:00:00:00:13')}; ip link set q0 down`,
      `ip link set q0 up; sleep 0.1; ${frame('q0', '02:00:00:00:00:14')}; ip link set br0 type bridge fdb_flush`,
      `ip link set br0 type bridge ageing_time 100; ${frame('q1', '02:00:00:00:00:15')}; sleep 1.5`,
    ],
  },
  {
    name: 'where a vxlan device sends',
    before: `${PAIRS}${VXLAN}`,
    steps: [
      'bridge fdb add 02:00:00:00:00:01 dev vx0 dst 10.0.0.2; bridge fdb add 02:00:00:00:00:02 dev vx0 dst 10.0.0.2 vni 43 port 4790 via v0',
      'for i in 2 3 4; do bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.0.0.$i; done',
      'bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.0.0.2 port 8472; bridge fdb append 01:00:5e:00:00:05 dev vx0 dst 10.0.0.2; bridge fdb append 01:00:5e:00:00:05 dev vx0 dst 10.0.0.3',
      'bridge fdb del 00:00:00:00:00:00 dev vx0 dst 10.0.0.3; bridge fdb replace 02:00:00:00:00:01 dev vx0 dst 10.0.0.9; bridge fdb replace 02:00:00:00:00:02 dev vx0 dst 10.0.0.9 dynamic',
      'ip link set vx0 type vxlan id 42 group 239.1.1.1 dev v0',
      'ip link set vx0 type vxlan id 42 ageing 10 remote 10.0.0.77',
      'ip link set vx0 address 02:00:00:00:cc:00; ip link set vx0 mtu 1400; bridge fdb add 02:00:00:00:00:07 dev vx0 dst 10.0.0.7 extern_learn',
      'ip link set vx0 down',
      'ip link set vx0 up; ip nexthop add id 5 via 10.0.0.5 fdb; ip nexthop add id 6 via 10.0.0.6 fdb; ip nexthop add id 7 group 5/6 fdb; bridge fdb add 02:00:00:00:00:08 dev vx0 nhid 7',
      'ip nexthop replace id 7 group 5 fdb',
      'ip nexthop del id 7',
      'bridge fdb flush dev vx0 dst 10.0.0.9 || true; bridge fdb flush dev vx0 || true',
      'ip link add vx1 type vxlan external dstport 4790 vnifilter; ip link set vx1 up; bridge vni add vni 100 dev vx1 || true; bridge fdb add 02:00:00:00:00:09 dev vx1 dst 10.0.0.2 src_vni 100; bridge fdb add 02:00:00:00:00:09 dev vx1 dst 10.0.0.3 src_vni 100 vni 7 || true',
      'bridge vni del vni 100 dev vx1 || true',
      'ip link del vx0; ip link del vx1',
    ],
  },
  {
    name: 'neighbours',
    before: PAIRS,
    steps: [
      'ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev v0; ip neigh add 10.0.0.3 lladdr 02:00:00:00:00:03 dev v0 nud reachable; ip neigh add 10.0.0.4 lladdr 02:00:00:00:00:04 dev v0 nud stale; ip neigh add 10.0.0.5 dev v0 lladdr 02:00:00:00:00:05 nud noarp',
      'ip neigh replace 10.0.0.2 lladdr 02:00:00:00:00:12 dev v0; ip neigh change 10.0.0.3 dev v0 lladdr 02:00:00:00:00:13 nud stale router; ip neigh add 10.0.0.6 dev v0 extern_learn lladdr 02:00:00:00:00:06 nud reachable',
      'ip neigh add proxy 10.0.0.7 dev v0; ip neigh add proxy 2001:db8::7 dev v0; ip -6 neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev v0; ip neigh del proxy 10.0.0.7 dev v0',
      'ip neigh flush dev v0',
      'ip neigh flush all nud permanent',
      'ping -c1 -W1 10.0.0.99 >/dev/null || true',
      'ping -c1 -W1 2001:db8::99 >/dev/null || true',
      'ip neigh add 10.0.0.8 dev v0 managed || true; ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev v0',
      'ip link set v1 down',
      'ip link set v1 up; ip link set v0 address 02:00:00:00:dd:00',
      'ip link set v0 arp off; ping -c1 -W1 10.0.0.50 >/dev/null || true',
      'ip link set v0 arp on; ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev v0 || true; ip link set v0 down',
    ],
  },
  {
    name: 'IPv6 addresses in their lives',
    before: `
  cd /proc/sys/net/ipv6/conf; echo 0 > default/addr_gen_mode; echo 1 > default/accept_dad
  ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up`,
    steps: [
      'ip -6 addr add 2001:db8::1/64 dev v0; ip -6 addr add 2001:db8::2/64 dev v0 nodad preferred_lft 0',
      'ip -6 addr change 2001:db8::2/64 dev v0 valid_lft 100 preferred_lft 50; ip -6 addr add 2001:db8::3/64 dev v0 nodad valid_lft 2 preferred_lft 1',
      'ip addr add 10.0.0.1/24 dev v0 valid_lft 2 preferred_lft 1; ip addr add 10.0.0.2 peer 10.0.0.9/32 dev v0; ip -6 addr add 2001:db8::4 peer 2001:db8::9/128 dev v0 nodad; ip addr add 10.0.0.2 peer 10.0.0.10/32 dev v0',
      'sleep 2.5',
      'echo 1 > /proc/sys/net/ipv6/conf/v0/keep_addr_on_down; ip -6 addr add 2001:db8::5/64 dev v0; ip link set v0 down',
      'ip link set v0 up',
      'echo 1 > /proc/sys/net/ipv6/conf/v0/disable_ipv6',
      'echo 0 > /proc/sys/net/ipv6/conf/v0/disable_ipv6; ip -6 addr add 2001:db8::6/64 dev v0 nodad',
      'ip link set v0 mtu 1000',
      'ip link set v0 mtu 1500; ip -6 addr add 2001:db8::7/64 dev v0 nodad; ip link set v0 addrgenmode none; echo 3 > /proc/sys/net/ipv6/conf/v1/addr_gen_mode',
      'ip -6 addr add 2001:db8::8/64 dev v0; ip -6 addr add 2001:db8::8/64 dev v1; sleep 1.2',
      'ip -6 addr flush dev v0; ip link del v0',
    ],
  },
  {
    name: 'what changes links',
    before: PAIRS,
    steps: [
      'ip link set v0 mtu 1300 txqueuelen 77 group 9 alias words; ip link set v0 promisc on allmulticast on',
      'ip link set v0 multicast off arp off; ip link set v0 promisc off',
      'ip maddr add 33:33:00:00:00:77 dev v0; bridge fdb add 02:00:00:00:00:33 dev v0 self',
      'ip link set v0 carrier off || ip link set v1 down',
      'ip link add link w0 name mv0 type macvlan mode bridge; ip link add link w0 name mv1 type macvtap mode private; ip link set mv0 up',
      'ip link set mv0 type macvlan mode private; ip link set w0 down',
      'ip link set w0 up; ip link set mv0 address 02:00:00:00:ee:00; ip addr add 10.9.0.1/24 dev mv0',
      'ip link add if0 type ifb; ip link set if0 up; ip tuntap add tap0 mode tap; ip link set tap0 up; ip addr add 10.8.0.1/24 dev tap0; ip route add 10.8.1.0/24 via 10.8.0.2',
      'tc qdisc replace dev v0 root pfifo limit 10; tc qdisc replace dev w0 root bfifo',
      'ip link set tap0 protodown on || true; ip link del w0; ip tuntap del tap0 mode tap',
    ],
  },
  {
    name: 'traffic between two hosts over vxlan, learned on the way',
    before: `
  ip link add u0 type veth peer name u0 netns $OTHER; ip addr add 10.0.0.1/24 dev u0; ip link set u0 up
  ip link add vx0 type vxlan id 42 local 10.0.0.1 remote 10.0.0.2 dstport 4789 ageing 2; ip link set vx0 up; ip addr add 192.168.0.1/24 dev vx0
  ip netns exec $OTHER sh -ec "ip addr add 10.0.0.2/24 dev u0; ip link set u0 up
    ip link add vx0 type vxlan id 42 local 10.0.0.2 remote 10.0.0.1 dstport 4789; ip link set vx0 up; ip addr add 192.168.0.2/24 dev vx0"`,
    steps: [
      'ping -c1 -W2 192.168.0.2 >/dev/null',
      'ip netns exec $OTHER ip link set vx0 address 02:00:00:00:ff:02; ping -c2 -i0.2 -W2 192.168.0.2 >/dev/null || true',
      'ip netns exec $OTHER ip addr add 192.168.0.3/24 dev vx0; ping -c1 -W2 192.168.0.3 >/dev/null; ping -c1 -W1 192.168.0.99 >/dev/null || true',
      'ip netns exec $OTHER ip link del u0',
    ],
  },
  {
    name: 'multicast: groups joined, and routed',
    before: PAIRS,
    steps: [
      `python3 -c "${MULTICAST}" >/dev/null 2>&1 & until ip mroute show | grep -q 239.1.2.3; do sleep 0.1; done; ip maddr show dev v0 | grep -q ff05::77`,
      'sleep 2',
    ],
  },
  {
    name: 'rules, and what they wait for',
    before: PAIRS,
    steps: [
      'ip rule add priority 100 from 10.2.0.0/16 lookup 42; ip -6 rule add priority 100 from 2001:db8::/48 lookup 42; ip rule add priority 101 iif v0 blackhole; ip rule add priority 102 oif later unreachable; ip rule add priority 103 fwmark 7 goto 200',
      'ip rule add priority 200 not to 10.0.0.9 ipproto 253 dport 53 lookup main suppress_prefixlength 0',
      'ip link add later type veth peer name retal; ip link set v0 down; ip link set v0 name other0',
      'ip rule del priority 200; ip link del other0; ip link set w0 name later0',
      'ip rule del priority 100; ip -6 rule del priority 100; ip rule del priority 0 || true; ip rule add priority 0 lookup local; ip rule flush',
    ],
  },
  {
    name: 'nexthop objects and proxies, which go with their link in silence',
    before: PAIRS,
    steps: [
      'ip nexthop add id 1 via 10.0.0.2 dev v0; ip nexthop add id 2 via 10.1.0.2 dev w0; ip nexthop add id 3 group 1,3/2 type resilient buckets 32 idle_timer 1; ip nexthop add id 4 group 1/2; ip nexthop add id 5 dev w0',
      'ip neigh add proxy 10.0.0.7 dev v0; ip neigh add proxy 10.1.0.7 dev w0; ip neigh add proxy 2001:db8::7 dev w0',
      'ip link set w0 name w9',
      'ip link set v1 down',
      'ip link set v1 up; ip nexthop replace id 1 via 10.1.0.9 dev w9',
      'ip link del v0',
      'ip link set w9 down',
    ],
  },
  {
    name: 'switches that change what there is',
    before: PAIRS,
    steps: [
      'ip route add 10.2.0.0/16 via 10.0.0.2; echo 1 > /proc/sys/net/ipv4/conf/all/ignore_routes_with_linkdown; echo 1 > /proc/sys/net/ipv6/conf/all/ignore_routes_with_linkdown; ip link set v1 down',
      'ip link set v1 up',
      'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6',
      'echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; echo 1 > /proc/sys/net/ipv4/ip_forward',
      'ip rule add from 10.0.0.0/8 table 7 priority 5; ip route add default via 10.0.0.2 table 7; ip rule del priority 5',
    ],
  },
];
