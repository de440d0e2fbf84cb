#!/usr/bin/env python3
"""bulk.py KIND FIRST COUNT VTEP: writes entries through pyroute2, one after the other, in its own namespace."""
import ipaddress
import json
import sys
import time

from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import ndmsg

kind, first, count, vtep = sys.argv[1:5]
base = int(ipaddress.IPv4Address(first))
ips = [str(ipaddress.IPv4Address(base + i)) for i in range(int(count))]
macs = ["02:42:" + ":".join("%02x" % int(byte) for byte in ip.split(".")) for ip in ips]

ipr = IPRoute()
index = ipr.link_lookup(ifname="vxlan1")[0]
start = time.perf_counter()
if kind == "fdb":
    for mac in macs:
        ipr.fdb("add", ifindex=index, lladdr=mac, dst=vtep)
else:
    for ip, mac in zip(ips, macs):
        ipr.neigh("replace", dst=ip, lladdr=mac, ifindex=index, state=ndmsg.states["permanent"])
print(json.dumps({"seconds": time.perf_counter() - start, "failed": 0}))
ipr.close()
