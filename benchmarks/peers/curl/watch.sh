#!/bin/sh
# watch.sh URL MAC: follows a prefix of Consul as curl can, by one blocking query after the other, and prints after each how many
# bytes it was and the record of one MAC address.
set -e
folder=$(mktemp -d /dev/shm/overns-bench-curl-XXXXXX)
trap 'rm -rf "$folder"' EXIT
trap 'exit 0' TERM
index=1
while :; do
  curl -sS -D "$folder/head" -o "$folder/body" -w 'bytes %{size_download}\n' "$1?recurse&index=$index&wait=60s" &
  wait $!
  index=$(tr -d '\r' <"$folder/head" | sed -n 's/^X-Consul-Index: //Ip')
  grep -o "\"Key\":\"[^\"]*/fib/$2\",[^}]*" "$folder/body" || true
done
