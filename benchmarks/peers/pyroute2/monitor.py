#!/usr/bin/env python3
"""pyroute2 as a listener, in its own namespace: see peers/overns/monitor.mjs."""
import json
import select
import sys
import time

from pyroute2 import IPRoute

ipr = IPRoute()
if sys.argv[1:] == ["--dump"]:
    start = time.perf_counter()
    rows = sum(1 for _ in ipr.get_neighbours(family=2))
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - start}))
    sys.exit()

ipr.bind()
received = overruns = 0
last = 0.0
print("ready", flush=True)
while True:
    ready, _, _ = select.select([ipr, sys.stdin], [], [])
    if ipr in ready:
        try:
            for message in ipr.get():
                if message["event"] == "RTM_NEWNEIGH":
                    received += 1
            last = time.time() * 1000
        except OSError:
            overruns += 1
    if sys.stdin in ready:
        if not sys.stdin.readline():
            break
        print(json.dumps({"received": received, "overruns": overruns, "last": last}), flush=True)
