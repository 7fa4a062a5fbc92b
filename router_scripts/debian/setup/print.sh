# Part of wificrm-setup. What is shown before anything is done, and the lines for other firewalls.
# shellcheck shell=dash

show() { # FILE [MODE]
	printf '# %s%s\n' "${1#"$root"}" "${2:+ (mode $2)}"
	cat
	echo
}

summary() {
	cat <<-EOF
		the centre        ${centre:-(a placeholder; give --centre)}
		towards Internet  $uplink
		guests' bridge    $bridge, $address4, IPv6 $address6; kept by $(told_manager)
		radios            $wifi$([ "$wifi" = none ] || printf '; %s, %s' "$ssid" "$encryption")
		cables            $ports
	EOF
}

told_manager() {
	case $manager in
	networkd) echo "systemd-networkd" ;;
	ifupdown) echo "ifupdown (/etc/network/interfaces)" ;;
	networkmanager) echo "NetworkManager" ;;
	unit) echo "the unit wificrm-bridge, as nobody else here keeps networks" ;;
	none) echo "whoever made it" ;;
	esac
}

print_all() {
	summary | sed 's/^/# /'
	echo
	each_file show
	if [ "$wifi" != none ]; then
		wifi_text | show "$wifi_conf"
		hostapd_says print >"$work/hostapd"
		sed '/^# For /,$d' "$work/hostapd"
	fi
	[ "$settings_stay" ] || { text=$(toml_text) && printf '%s\n' "$text" | show "$toml"; }
	firewall_lines
}

# What other firewalls on the box need to hear, so that they let pass what ours lets pass.
firewall_lines() {
	[ -z "$root" ] || return 0
	tables=$(nft list tables 2>/dev/null) || return 0
	chains=$(nft list chains 2>/dev/null) || return 0
	case $tables in *'table inet firewalld'*)
		echo "# firewalld is on this box:"
		echo "firewall-cmd --permanent --zone=trusted --add-interface=$bridge && firewall-cmd --reload"
		;;
	esac
	case $chains in *ufw-before-forward*)
		echo "# ufw is on this box:"
		printf 'ufw allow in on %s\nufw route allow in on %s\nufw route allow out on %s\n' "$bridge" "$bridge" "$bridge"
		;;
	esac
	case $chains in *DOCKER-USER*)
		echo "# Docker is on this box (again after each start of Docker):"
		printf 'iptables -I DOCKER-USER -i %s -j ACCEPT\niptables -I DOCKER-USER -o %s -j ACCEPT\n' "$bridge" "$bridge"
		;;
	esac
	printf '%s\n' "$chains" | awk -v bridge="$bridge" '
		/^table / { table = $2 " " $3 }
		/^\tchain / { chain = $2 }
		/policy drop/ && /hook (input|forward)/ && table !~ / (wificrm|firewalld)$/ {
			if (table ~ /^ip6? filter$/) next  # of Docker or ufw
			print "# table " table " drops by default; in /etc/nftables.conf, or at once:"
			print "nft insert rule " table " " chain " iifname \"" bridge "\" accept"
			if (/hook forward/) print "nft insert rule " table " " chain " oifname \"" bridge "\" accept"
		}'
}
