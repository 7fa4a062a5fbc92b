# Part of wificrm-setup. What is in the way.
# shellcheck shell=dash

problems() {
	for each in ip nft dnsmasq; do
		command -v "$each" >/dev/null || echo "$each is not installed: apt-get install iproute2 nftables dnsmasq-base"
	done
	[ -e "$sys/class/net/$uplink" ] || echo "there is no interface $uplink: --uplink must name the one towards the Internet"
	for each in $(guest_ports); do
		if [ ! -e "$sys/class/net/$each" ]; then
			echo "there is no interface $each for --guest-port"
		elif ip -o address show dev "$each" scope global 2>/dev/null | grep -q .; then
			echo "$each has an address: a cable for guests is part of the bridge and has none; take it out of its settings"
		fi
	done
	[ -z "$settings_stay" ] || return 0
	case $(ip -4 route show match "${address4%/*}" 2>/dev/null | grep -v '^default' | grep -v " dev $bridge ") in
	?*) echo "$address4 lies in a network that this box reaches elsewhere: choose another --address4" ;;
	esac
	[ "$wifi" = none ] || wifi_problems
	text=$(toml_text) || return 0
	printf '%s\n' "$text" >"$work/wificrm.toml"
	command -v wificrm >/dev/null || { echo "wificrm is not installed" && return; }
	for each in nftables dnsmasq sysctl; do
		wificrm gateway check "$each" --config "$work/wificrm.toml" 2>&1 | grep -v '^nothing to complain of$' || :
	done | awk '!seen[$0]++'
	firewall_lines
}

wifi_problems() {
	for each in $wifi; do
		at=$(grep -Ens "^[ 	]*(iface|auto|allow-hotplug)[ 	]+$each([ 	]|\$)" "$root/etc/network/interfaces" | head -n 1 | cut -d: -f1)
		[ -z "$at" ] || echo "/etc/network/interfaces:$at names $each: take it out, hostapd has the radio"
	done
	hostapd_says check 2>&1 | grep -v -e '^nothing to complain of$' -e '^there is no bridge ' || :
}
