// go-misses answers the misses of vxlan1 in its own namespace with vishvananda/netlink, step by step, as the first
// generation of on-demand overlays in Go did: one socket for the notifications, one acknowledged request per entry.
//
// The MAC address of an endpoint is the Docker-style one of its IP address, so nothing is looked up.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"net"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

func resolving(state int) bool {
	return state&(netlink.NUD_INCOMPLETE|netlink.NUD_STALE|netlink.NUD_DELAY|netlink.NUD_PROBE) != 0
}

func main() {
	first := flag.String("first", "0.0.0.0", "first endpoint")
	last := flag.String("last", "255.255.255.255", "last endpoint")
	remote := flag.String("vtep", "", "VTEP of all endpoints")
	flag.Parse()
	low, high, vtep := net.ParseIP(*first).To4(), net.ParseIP(*last).To4(), net.ParseIP(*remote)

	link, err := netlink.LinkByName("vxlan1")
	if err != nil {
		log.Fatal(err)
	}
	index := link.Attrs().Index
	misses, err := nl.Subscribe(syscall.NETLINK_ROUTE, syscall.RTNLGRP_NEIGH)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	for {
		messages, _, err := misses.Receive()
		if err != nil {
			log.Print(err)
			continue
		}
		for _, message := range messages {
			if message.Header.Type != syscall.RTM_GETNEIGH && message.Header.Type != syscall.RTM_NEWNEIGH {
				continue
			}
			neigh, err := netlink.NeighDeserialize(message.Data)
			if err != nil || neigh.LinkIndex != index || !resolving(neigh.State) {
				continue
			}
			ip := neigh.IP.To4()
			switch {
			case ip != nil && len(neigh.HardwareAddr) == 0:
				if bytes.Compare(ip, low) < 0 || bytes.Compare(ip, high) > 0 {
					continue
				}
				err = netlink.NeighSet(&netlink.Neigh{
					LinkIndex:    index,
					State:        netlink.NUD_PERMANENT,
					Type:         syscall.RTN_UNICAST,
					IP:           ip,
					HardwareAddr: net.HardwareAddr{0x02, 0x42, ip[0], ip[1], ip[2], ip[3]},
				})
			case len(neigh.HardwareAddr) == 6:
				err = netlink.NeighSet(&netlink.Neigh{
					LinkIndex:    index,
					State:        netlink.NUD_PERMANENT,
					Family:       syscall.AF_BRIDGE,
					Flags:        netlink.NTF_SELF,
					IP:           vtep,
					HardwareAddr: neigh.HardwareAddr,
				})
			}
			if err != nil {
				log.Print(err)
			}
		}
	}
}
