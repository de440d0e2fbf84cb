#!/usr/bin/env python3
"""The daemon of "Deep dive into Docker Overlay Networks, part 3" (Laurent Bernaille), ported to Python 3.

arpd_consul.py NETNS CONSUL_HOST PREFIX: runs in the host's namespace, hears the misses of the overlay's, and answers
them from Consul, in the original's steps. Prints `ready` when it listens.
"""
import logging
import signal
import sys

import consul
from pyroute2 import NetNS
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import ndmsg

logging.basicConfig(level=logging.INFO)
vxlan_ns, consul_host, consul_prefix = sys.argv[1:4]
permanent = ndmsg.states["permanent"]

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

ipr = NetNS(vxlan_ns)
ipr.bind()
c = consul.Consul(host=consul_host, port=8500)
print("ready", flush=True)

try:
    while True:
        for m in ipr.get():
            if m["event"] != "RTM_GETNEIGH":
                continue
            ifindex = m["ifindex"]
            ifname = ipr.get_links(ifindex)[0].get_attr("IFLA_IFNAME")

            if m.get_attr("NDA_DST") is not None:
                ipaddr = m.get_attr("NDA_DST")
                logging.info("L3Miss on {}: Who has IP: {}?".format(ifname, ipaddr))
                (idx, answer) = c.kv.get(consul_prefix + "/arp/" + ipaddr)
                if answer is not None:
                    mac_addr = answer["Value"].decode()
                    logging.info("Populating ARP table from Consul: IP {} is {}".format(ipaddr, mac_addr))
                    try:
                        ipr.neigh("add", dst=ipaddr, lladdr=mac_addr, ifindex=ifindex, state=permanent)
                    except NetlinkError as error:
                        print(error, file=sys.stderr)

            if m.get_attr("NDA_LLADDR") is not None:
                lladdr = m.get_attr("NDA_LLADDR")
                logging.info("L2Miss on {}: Who has Mac Address: {}?".format(ifname, lladdr))
                (idx, answer) = c.kv.get(consul_prefix + "/fib/" + lladdr)
                if answer is not None:
                    dst_host = answer["Value"].decode()
                    logging.info("Populating FIB table from Consul: MAC {} is on host {}".format(lladdr, dst_host))
                    try:
                        ipr.fdb("add", ifindex=ifindex, lladdr=lladdr, dst=dst_host)
                    except NetlinkError as error:
                        print(error, file=sys.stderr)
finally:
    # It would leave the process that holds its socket behind.
    ipr.close()
