# Part of wificrm-setup. What is wanted: proposed, asked on a terminal, and checked.
# shellcheck shell=dash

# Of each answer: what was given, else what is there already, else what this machine suggests.
propose() {
	network=$(setting network name)
	network=${network:-guest}
	bridge=${bridge:-$(setting network interface)}
	bridge=${bridge:-br-guest}
	uplink=${uplink:-$(setting uplink interface)}
	uplink=${uplink:-$(uplink_here)}
	address4=${address4:-$(setting network address4)}
	address4=${address4:-$(address_here)}
	if [ -z "$address6" ]; then
		address6=$(setting network address6)
		[ ! -r "$toml" ] || [ "$(read_key network address6 <"$toml")" != '""' ] || address6=none
	fi
	if [ -z "$address6" ] && [ -z "$root" ] && [ -e "$sys/class/net/$bridge" ]; then
		address6=$(on_bridge -6)
		address6=${address6:-none}
	fi
	address6=${address6:-fd50:7c3a:1::1/64}
	if [ -z "$wifi" ]; then
		wifi=$(said_in "$memory" radios | grep -x none || said_in "$wifi_conf" radios)
		# The first: two of them want a channel each.
		[ -n "$wifi" ] || [ -n "$default" ] || { wifi=$(radios_here) && wifi=${wifi%% *}; }
	fi
	wifi=${wifi:-none}
	ports=${ports:-$(said_in "$memory" ports)}
	ports=${ports:-none}
	ssid=${ssid:-$(said_in "$wifi_conf" ssid)}
	ssid=${ssid:-WiFi Mien Phi}
	encryption=${encryption:-$(said_in "$wifi_conf" encryption)}
	encryption=${encryption:-open}
	country=${country:-$(said_in "$wifi_conf" country)}
	country=${country:-VN}
	centre=${centre:-$(centre_in vi)}
	centre_en=${centre_en:-$(centre_in en)}
	manager=${manager:-$(manager_here)}
}

ask() { # QUESTION PROPOSAL: sets $answer
	printf '%s [%s]: ' "$1" "$2" >&2
	read -r answer || fail "nothing was changed"
	answer=${answer:-$2}
}

ask_all() {
	ask "Interface towards the Internet" "$uplink" && uplink=$answer
	ask "Radios (none: access points only; found: $(radios_here))" "$wifi" && wifi=$answer
	if [ "$wifi" != none ]; then
		ask "Name of the Wi-Fi" "$ssid" && ssid=$answer
		ask "Encryption (open, or transition where the radio can)" "$encryption" && encryption=$answer
	fi
	ask "Cables to access points (none, or names of interfaces; found: $(cables_here))" "$ports" && ports=$answer
	ask "Name of the centre in Vietnamese" "$centre" && centre=$answer
	ask "Name of the centre in English" "${centre_en:-$centre}" && centre_en=$answer
	ask "Address of this box for guests" "$address4" && address4=$answer
}

is_one() { # PATTERN TEXT
	printf '%s\n' "$2" | grep -Eqx -- "$1"
}

refuse_nonsense() {
	for each in "$uplink" "$bridge" "$wifi" "$ports" "$address4" "$address6" "$manager" "$ssid" "$centre" "$centre_en" \
		"$encryption" "$country" "$channel"; do
		[ "$(printf '%s' "$each" | tr -d '\001-\037\177' | wc -c)" -eq "${#each}" ] ||
			fail "expected one line without control characters, not: $(printf '%s' "$each" | tr -c ' -~' '?')"
		printf '%s' "$each" | iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1 || fail "a name is not UTF-8: is the terminal's locale UTF-8?"
	done
	interface='[A-Za-z0-9_.-]{1,15}'
	is_one "$interface" "$uplink" || fail "--uplink: expected one interface such as eth0, not $uplink"
	is_one "$interface" "$bridge" || fail "--bridge: expected one interface such as br-guest, not $bridge"
	is_one "$interface( $interface)*" "$wifi" || fail "--wifi: expected interfaces such as \"wlan0 wlan1\", or none, not $wifi"
	is_one "$interface( $interface)*" "$ports" || fail "--guest-port: expected an interface such as eth1, not $ports"
	is_one '[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}' "$address4" || fail "--address4: expected such as 192.168.50.1/24, not $address4"
	is_one 'none|[0-9a-fA-F:]+/[0-9]{1,3}' "$address6" || fail "--address6: expected such as fd50:7c3a:1::1/64, or none, not $address6"
	case $manager in
	networkd | ifupdown | networkmanager | unit | none) ;;
	*) fail "--manager: expected networkd, ifupdown, networkmanager, unit or none, not $manager" ;;
	esac
	for each in $ports $wifi; do
		case " $uplink $bridge " in *" $each "*) fail "$each cannot be uplink or bridge and serve guests at once" ;; esac
	done
}
