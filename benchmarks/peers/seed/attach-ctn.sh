#!/bin/sh
# attach-ctn.sh NAME CONTAINER LASTBYTE: the same post's commands, for a container whose namespace has a name already (so
# without asking Docker for it and without the symbolic link).
set -e
ip link add dev veth1 mtu 1450 type veth peer name veth2 mtu 1450
ip link set dev veth1 netns "$1"
ip netns exec "$1" ip link set veth1 master br0
ip netns exec "$1" ip link set veth1 up
ip link set dev veth2 netns "$2"
ip netns exec "$2" ip link set dev veth2 name eth0 address "02:42:c0:a8:00:0$3"
ip netns exec "$2" ip addr add dev eth0 "192.168.0.$3/24"
ip netns exec "$2" ip link set dev eth0 up
