# Part of wificrm-setup. The files that make it so: the bridge's, for each who may keep it, the Wi-Fi's and the settings.
# shellcheck shell=dash

# What apply writes: for each file one call of $1 with its name (and mode), the text on the standard input.
each_file() {
	case $manager in
	networkd) files_networkd "$1" ;;
	ifupdown)
		file_ifupdown | "$1" "$root/etc/network/interfaces.d/wificrm"
		file_late_ports "$1"
		;;
	networkmanager) files_networkmanager "$1" ;;
	unit)
		file_unit | "$1" "$root/etc/systemd/system/wificrm-bridge.service"
		file_late_ports "$1"
		;;
	none) ;; # the bridge is there already
	esac
	if [ -d "$root/etc/NetworkManager" ] && [ "$wifi" != none ]; then
		printf '# hostapd has the radios.\n[device-wificrm]\nmatch-device=%s\nmanaged=0\n' \
			"$(for each in $wifi; do printf 'interface-name:%s;interface-name:%s-*;' "$each" "$(end_of "$each")"; done)" |
			"$1" "$root/etc/NetworkManager/conf.d/wificrm.conf"
	fi
	# The package's first start chooses no radio and does not choose *none* either.
	printf 'manager=%s\nbridge=%s\nports=%s\nradios=%s\n' "$manager" "$bridge" "$ports" \
		"$(if [ -n "$default" ]; then said_in "$memory" radios; else echo "$wifi"; fi)" | "$1" "$memory"
}

end_of() { # RADIO: what the names of its further networks begin with
	end=$1
	while [ "${#end}" -gt 13 ]; do end=${end#?}; done
	echo "$end"
}

guest_ports() { [ "$ports" = none ] || echo "$ports"; }

files_networkd() { # CALL
	printf '# The guests'\'' bridge.\n[NetDev]\nName=%s\nKind=bridge\n\n[Bridge]\nSTP=no\nForwardDelaySec=0\n' "$bridge" |
		"$1" "$root/etc/systemd/network/00-wificrm-bridge.netdev"
	{
		cat <<-EOF
			# Addresses and names are dnsmasq's, forwarding is wificrm's. The bridge may wait for its first phone.
			[Match]
			Name=$bridge

			[Link]
			RequiredForOnline=no

			[Network]
			ConfigureWithoutCarrier=yes
			IPv6AcceptRA=no
			LinkLocalAddressing=ipv6
			DHCPServer=no
			LLMNR=no
			MulticastDNS=no

			[Address]
			Address=$address4
		EOF
		[ "$address6" = none ] || printf '\n[Address]\nAddress=%s\nDuplicateAddressDetection=none\n' "$address6"
	} | "$1" "$root/etc/systemd/network/00-wificrm-bridge.network"
	for each in $(guest_ports); do
		cat <<-EOF | "$1" "$root/etc/systemd/network/00-wificrm-port-$each.network"
			# A cable to an access point. Isolated ports reach the box but not each other, as phones do by radio.
			[Match]
			Name=$each

			[Link]
			RequiredForOnline=no

			[Network]
			Bridge=$bridge
			LinkLocalAddressing=no

			[Bridge]
			Isolated=yes
		EOF
	done
}

file_late_ports() { # CALL
	[ "$ports" = none ] || {
		echo "# A cable to an access point that comes after the bridge (a driver that takes its time, a USB adapter)."
		for each in $(guest_ports); do
			printf 'ACTION=="add|move", SUBSYSTEM=="net", KERNEL=="%s", RUN+="/sbin/ip link set dev %s master %s up"\n' \
				"$each" "$each" "$bridge"
		done
	} | "$1" "$root/etc/udev/rules.d/90-wificrm.rules"
}

file_ifupdown() {
	cat <<-EOF
		# The guests' bridge. hostapd puts the radio into it by itself; a cable to an access point is put into it here.
		auto $bridge
		iface $bridge inet static
		    address $address4
		    pre-up ip link show dev $bridge >/dev/null 2>&1 || ip link add name $bridge type bridge
	EOF
	for each in $(guest_ports); do
		echo "    pre-up ip link set dev $each master $bridge && ip link set dev $each up || true"
	done
	echo "    post-down ip link delete dev $bridge || true"
	[ "$address6" = none ] || cat <<-EOF

		iface $bridge inet6 static
		    address $address6
		    # The address is there at once: dnsmasq need not wait for it.
		    dad-attempts 0
		    accept_ra 0
	EOF
}

files_networkmanager() { # CALL
	{
		cat <<-EOF
			# The guests' bridge. hostapd puts the radio into it by itself.
			[connection]
			id=wificrm-bridge
			type=bridge
			interface-name=$bridge
			autoconnect=true
			# Its cables with it, whatever other connection they have: by themselves they would begin with that one.
			autoconnect-slaves=1

			[bridge]
			stp=false

			[ipv4]
			method=manual
			address1=$address4
			never-default=true

			[ipv6]
		EOF
		if [ "$address6" = none ]; then
			echo method=disabled
		else
			printf 'method=manual\naddress1=%s\nnever-default=true\n' "$address6"
		fi
	} | "$1" "$root/etc/NetworkManager/system-connections/wificrm-bridge.nmconnection" 600
	for each in $(guest_ports); do
		printf '# A cable to an access point.\n[connection]\nid=wificrm-port-%s\ntype=ethernet\ninterface-name=%s\nmaster=%s\nslave-type=bridge\nautoconnect=true\n' \
			"$each" "$each" "$bridge" |
			"$1" "$root/etc/NetworkManager/system-connections/wificrm-port-$each.nmconnection" 600
	done
}

file_unit() {
	cat <<-EOF
		[Unit]
		Description=wificrm: the guests' bridge $bridge
		After=network-pre.target
		Before=network.target wificrm-gateway.service

		[Service]
		Type=oneshot
		RemainAfterExit=yes
		ExecStart=-/sbin/ip link add name $bridge type bridge
		ExecStart=/sbin/ip address replace $address4 dev $bridge
	EOF
	# The address is there at once: dnsmasq need not wait for it.
	[ "$address6" = none ] || echo "ExecStart=/sbin/ip -6 address replace $address6 dev $bridge nodad"
	echo "ExecStart=/sbin/ip link set dev $bridge up"
	for each in $(guest_ports); do
		echo "ExecStart=-/sbin/ip link set dev $each master $bridge"
		echo "ExecStart=-/sbin/ip link set dev $each up"
	done
	printf 'ExecStop=-/sbin/ip link delete dev %s\n\n[Install]\nWantedBy=multi-user.target\n' "$bridge"
}

wifi_text() { # the Wi-Fi's settings with our keys
	if [ -r "$wifi_conf" ]; then without_mark "$wifi_conf"; else echo "# The guests' Wi-Fi; wificrm-hostapd has an example with every key."; fi |
		with_pair radios "$wifi" | with_pair country "$country" |
		case $(said_in "$wifi_conf" networks) in
		*' '*) cat ;; # several: which has what name is not the installer's to say
		*) with_pair networks "$network" | with_pair bridge "$bridge" | with_pair ssid "\"$ssid\"" | with_pair encryption "$encryption" ;;
		esac |
		if [ -z "$channel" ]; then
			cat
		else
			with_pair channel "$channel" | with_pair band "$(if [ "$channel" -gt 14 ] 2>/dev/null; then echo 5; else echo 2.4; fi)"
		fi
}

with_pair() { # KEY VALUE: the text on the standard input with that line
	PAIR="$1=$2" awk -v key="$1" '
		$0 ~ "^[ \t]*" key "[ \t]*=" { if (!done) print ENVIRON["PAIR"]; done = 1; next }
		{ print }
		END { if (!done) print ENVIRON["PAIR"] }'
}

without_mark() { if [ "$(whose "$1")" = foreign ]; then cat "$1"; else tail -n +2 "$1"; fi; }

toml_text() { # the settings with our keys
	if [ -r "$toml" ]; then
		without_mark "$toml"
	else
		printf '# Every other setting has its default; wificrm.example.toml in /usr/share/wificrm lists them all.\n'
		printf '[venue]\n\n[uplink]\ninterface = ""\n\n[[network]]\nname = "%s"\n' "$network"
		printf 'interface = ""\naddress4 = ""\naddress6 = "-"\n'
	fi >"$work/0"
	step=0
	if [ -n "$centre" ] && { [ "$centre" != "$(centre_in vi)" ] || [ "$centre_en" != "$(centre_in en)" ]; }; then
		! read_key venue names <"$work/0" | sed 's/"\([^"\\]\|\\.\)*"//g' | grep -o '[a-z]* *=' | grep -Evq '^(vi|en) *=' ||
			fail "$toml has venue.names in other languages too: write the names there by hand"
		step_key venue names "{ vi = $(quoted "$centre"), en = $(quoted "${centre_en:-$centre}") }"
	fi
	step_key uplink interface "$(quoted "$uplink")"
	if [ "$(grep -Ec '^[ 	]*\[+ *network *\]+' "$work/0")" -gt 1 ]; then
		echo "$toml has several networks: their interface, addresses and hostapd are yours to write" >&2
	else
		step_key network interface "$(quoted "$bridge")"
		step_key network address4 "$(quoted "$address4")"
		step_key network address6 "$(quoted "$(echo "$address6" | sed s/none//)")"
		list='[]'
		[ "$wifi" = none ] || list=$(hostapd_says sockets "$network") || exit 1
		[ "$list$(read_key network hostapd <"$work/0")" = '[]' ] || step_key network hostapd "$list"
	fi
	cat "$work/$step"
}

step_key() { # TABLE KEY VALUE
	[ "$(read_key "$1" "$2" <"$work/$step")" != "$3" ] || return 0
	VALUE=$3 write_key "$1" "$2" <"$work/$step" >"$work/$((step + 1))" || fail "$toml: $1.$2 goes over several lines; set it to $3 by hand"
	step=$((step + 1))
}

hostapd_says() { # VERB ...: wificrm-hostapd with the settings that are to be
	wifi_text >"$work/wifi.conf"
	"$(hostapd_script)" "$@" --config "$work/wifi.conf" 2>"$work/said" || {
		sed "s|$work/|/etc/wificrm/|" "$work/said" >&2
		exit 1
	}
}

hostapd_script() {
	beside=$(dirname "$0")/../hostapd/wificrm-hostapd
	if [ -x "$beside" ]; then echo "$beside"; else echo wificrm-hostapd; fi
}
