# Part of wificrm-setup. What is in the way.
# shellcheck shell=dash

for_guests() {
	guest_ports
	[ "$wifi" = none ] || echo "$wifi"
}

# What cannot be taken: names of no interface, and what is in a network already, which may be the one you came in by.
not_for_guests() {
	for each in $uplink $(for_guests); do
		[ -e "$sys/class/net/$each" ] || echo "there is no interface $each: 'ip link' shows those that there are"
	done
	for each in $(for_guests); do
		[ -e "$sys/class/net/$bridge/brif/$each" ] || ! ip -o address show dev "$each" scope global 2>/dev/null | grep -q . ||
			echo "$each has an address: what serves guests is part of the bridge and has none; take it out of its settings"
	done
}

problems() {
	for each in ip nft dnsmasq; do
		command -v "$each" >/dev/null || echo "$each is not installed: apt-get install iproute2 nftables dnsmasq-base"
	done
	not_for_guests
	[ -z "$settings_stay" ] || return 0
	case $(ip -4 route show match "${address4%/*}" 2>/dev/null | grep -v '^default' | grep -v " dev $bridge ") in
	?*) echo "$address4 lies in a network that this box reaches elsewhere: choose another --address4" ;;
	esac
	in_the_way
	text=$(toml_text) || return 0
	printf '%s\n' "$text" >"$work/wificrm.toml"
	command -v wificrm >/dev/null || { echo "wificrm is not installed" && return; }
	for each in nftables dnsmasq sysctl; do
		wificrm gateway check "$each" --config "$work/wificrm.toml" 2>&1 | grep -v '^nothing to complain of$' || :
	done | awk '!seen[$0]++'
	firewall_lines
}

# What goes on and will not go well, of radios and cables.
in_the_way() {
	for each in $(for_guests); do
		at=$(grep -Ens "^[ 	]*(iface|auto|allow-hotplug)[ 	]+$each([ 	]|\$)" "$root/etc/network/interfaces" | head -n 1 | cut -d: -f1)
		[ -z "$at" ] || echo "/etc/network/interfaces:$at names $each: take it out, it is for guests"
	done
	[ "$wifi" = none ] || hostapd_says check 2>&1 | grep -v -e '^nothing to complain of$' -e '^there is no bridge ' || :
}
