#!/bin/sh
# create-overlay.sh NAME: the commands of "Deep dive into Docker Overlay Networks, part 3", with the namespace's name given.
set -e
ip netns add "$1"
ip netns exec "$1" ip link add dev br0 type bridge
ip netns exec "$1" ip addr add dev br0 192.168.0.1/24

ip link add dev vxlan1 type vxlan id 4242 proxy learning l2miss l3miss dstport 4789
ip link set vxlan1 netns "$1"
ip netns exec "$1" ip link set vxlan1 master br0

ip netns exec "$1" ip link set vxlan1 up
ip netns exec "$1" ip link set br0 up
