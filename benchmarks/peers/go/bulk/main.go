// go-bulk writes entries with vishvananda/netlink, one after the other, in its own namespace.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"net"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

func main() {
	kind := flag.String("kind", "fdb", "fdb or neighbor")
	first := flag.String("first", "", "first endpoint")
	count := flag.Int("count", 1000, "entries")
	remote := flag.String("vtep", "", "VTEP of all endpoints")
	flag.Parse()
	base, vtep := binary.BigEndian.Uint32(net.ParseIP(*first).To4()), net.ParseIP(*remote)

	handle, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		log.Fatal(err)
	}
	link, err := handle.LinkByName("vxlan1")
	if err != nil {
		log.Fatal(err)
	}
	index, failed := link.Attrs().Index, 0
	start := time.Now()
	for i := 0; i < *count; i++ {
		ip := make(net.IP, 4)
		binary.BigEndian.PutUint32(ip, base+uint32(i))
		neigh := netlink.Neigh{
			LinkIndex:    index,
			HardwareAddr: net.HardwareAddr{0x02, 0x42, ip[0], ip[1], ip[2], ip[3]},
		}
		if *kind == "fdb" {
			neigh.Family, neigh.Flags, neigh.State, neigh.IP = syscall.AF_BRIDGE, netlink.NTF_SELF, netlink.NUD_REACHABLE, vtep
		} else {
			neigh.State, neigh.IP = netlink.NUD_PERMANENT, ip
		}
		if err := handle.NeighSet(&neigh); err != nil {
			failed++
		}
	}
	fmt.Printf("{\"seconds\":%.9f,\"failed\":%d}\n", time.Since(start).Seconds(), failed)
}
