// go-monitor is vishvananda/netlink as a listener, in its own namespace: see peers/overns/monitor.mjs.
package main

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--dump" {
		start := time.Now()
		rows, err := netlink.NeighList(0, syscall.AF_INET)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("{\"rows\":%d,\"seconds\":%.9f}\n", len(rows), time.Since(start).Seconds())
		return
	}
	var received, overruns, last int64
	updates := make(chan netlink.NeighUpdate, 1024)
	// A subscription ends with its first overrun.
	options := netlink.NeighSubscribeOptions{ErrorCallback: func(error) { atomic.AddInt64(&overruns, 1) }}
	if err := netlink.NeighSubscribeWithOptions(updates, nil, options); err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	go func() {
		for update := range updates {
			atomic.StoreInt64(&last, time.Now().UnixNano())
			if update.Type == syscall.RTM_NEWNEIGH {
				atomic.AddInt64(&received, 1)
			}
		}
	}()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		at := float64(atomic.LoadInt64(&last)) / 1e6
		fmt.Printf("{\"received\":%d,\"overruns\":%d,\"last\":%.6f}\n", atomic.LoadInt64(&received), atomic.LoadInt64(&overruns), at)
	}
}
