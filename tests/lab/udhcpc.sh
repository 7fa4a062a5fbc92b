#!/bin/sh
# What udhcpc runs when a lease changes: the phone's interface, route, resolver; the environment is kept for tests.
# LEASE names the folder where the phone looks for it.
# udhcpc gives these in the environment:
: "${interface:?}" "${ip:=}" "${mask:=}" "${router:=}" "${dns:=}"

case "$1" in
  deconfig)
    ip -4 address flush dev "$interface"
    ;;
  bound | renew)
    ip address replace "$ip/$mask" dev "$interface"
    for hop in $router; do
      ip route replace default via "$hop" dev "$interface"
      break
    done
    for server in $dns; do echo "nameserver $server"; done > /etc/resolv.conf
    env > "$LEASE.new" && mv "$LEASE.new" "$LEASE"
    ;;
esac
