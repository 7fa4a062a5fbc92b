# Part of wificrm-setup. What this machine has: radios, cables, addresses, and who keeps its networks.
# shellcheck shell=dash

sys=${WIFICRM_SYS:-/sys} # tests have radios of their own

radios_here() { # but for one that leads to the Internet
	for each in "$sys"/class/net/*/phy80211; do
		[ ! -e "$each" ] || basename "$(dirname "$each")"
	done | grep -Fvx -- "$uplink" | tr '\n' ' ' | sed 's/ $//'
}

cables_here() { # that are neither radios nor lead to the Internet
	for each in "$sys"/class/net/*/device; do
		each=${each%/device}
		[ ! -e "$each/device" ] || [ -e "$each/phy80211" ] || basename "$each"
	done | grep -Fvx -- "$uplink" | tr '\n' ' ' | sed 's/ $//'
}

uplink_here() { # the interface of the default route, else the first cable
	found=$({ ip -4 route show default && ip -6 route show default; } 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1)
	[ -n "$found" ] || for each in "$sys"/class/net/e*; do
		[ ! -e "$each/device" ] || { found=$(basename "$each") && break; }
	done
	echo "${found:-eth0}"
}

on_bridge() { # -4 or -6: its first address, where it is there already
	[ -n "$root" ] || ip -o "$1" address show dev "$bridge" scope global 2>/dev/null | awk '{ print $4; exit }'
}

# What the bridge has, else a network for guests that is not one of those that the box has another way to.
address_here() {
	found=$(on_bridge -4)
	[ -z "$found" ] || { echo "$found" && return; }
	[ -z "$root" ] || { echo 192.168.50.1/24 && return; }
	for each in 192.168.50 10.50.0 172.29.50; do
		taken=$(ip -4 route show match "$each.0/24" 2>/dev/null | grep -v -e '^default' -e " dev $bridge " || :)
		taken=$taken$(ip -4 route show root "$each.0/24" 2>/dev/null | grep -v " dev $bridge " || :)
		[ -n "$taken" ] || { echo "$each.1/24" && return; }
	done
	echo 192.168.50.1/24
}

runs() { [ -n "$now" ] && systemctl --quiet is-active "$1" 2>/dev/null; }

manager_here() {
	kept=$(said_in "$memory" manager)
	if [ -n "$kept" ]; then
		echo "$kept"
	elif [ -e "$sys/class/net/$bridge" ] && [ -z "$root" ]; then
		echo none
	elif runs NetworkManager && ! nmcli -g GENERAL.STATE device show "$uplink" 2>/dev/null | grep -q unmanaged; then
		echo networkmanager
	elif runs systemd-networkd; then
		echo networkd
	elif command -v ifup >/dev/null && grep -Eqs '^[ 	]*source(-directory)?[ 	]+/etc/network/interfaces\.d' "$root/etc/network/interfaces"; then
		echo ifupdown
	else
		echo unit
	fi
}
