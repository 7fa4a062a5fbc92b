# Part of wificrm-setup. Written, started, and taken back.
# shellcheck shell=dash

apply() {
	former=$(said_in "$memory" bridge)
	[ "$(said_in "$memory" manager)" != none ] || former=
	each_file put_file
	forget_former
	bring_up
	[ -n "$default" ] || apply_wifi
	[ "$settings_stay" ] || put_edited "$toml" "$text"
	[ -n "$default" ] || start_services
}

refuse() { # all that can be refused, before anything is done
	refuse_nonsense
	[ -z "$now" ] || [ -n "$default" ] || ! said=$(not_for_guests | grep .) || fail "$said"
	[ "$wifi" = none ] || [ -z "$now" ] || command -v hostapd >/dev/null || fail "hostapd is not installed: apt-get install hostapd"
	[ "$settings_stay" ] || { text=$(toml_text) && settings_hold "$text"; } || exit 1
	[ "$wifi" = none ] || hostapd_says print >/dev/null
}

settings_hold() { # TEXT: whether the program takes these settings
	printf '%s\n' "$1" >"$work/wificrm.toml"
	! command -v wificrm >/dev/null || said=$(wificrm gateway print sysctl --config "$work/wificrm.toml" 2>&1) ||
		fail "nothing was changed, these settings do not hold: $said"
}

# Files of another manager, or of a cable that is no longer named.
forget_former() {
	wanted=$(each_file name_file)
	for file in $(all_files); do
		case "$newline$wanted$newline" in *"$newline$file$newline"*) ;; *) delete "$file" ;; esac
	done
}

newline='
'
name_file() { cat >/dev/null && echo "$1"; }

all_files() {
	for file in "$root"/etc/systemd/network/[01]0-wificrm-* "$root/etc/network/interfaces.d/wificrm" \
		"$root"/etc/NetworkManager/system-connections/wificrm-* "$root/etc/NetworkManager/conf.d/wificrm.conf" \
		"$root/etc/systemd/system/wificrm-bridge.service" "$root/etc/udev/rules.d/90-wificrm.rules" "$memory"; do
		[ ! -e "$file" ] || echo "$file"
	done
}

changed() { grep -q -- "$1" "$work/changes"; } # PART of the name of a file that was written or deleted in this run

bring_up() {
	[ "$manager" != unit ] || systemctl --quiet ${root:+--root="$root"} enable wificrm-bridge 2>/dev/null || :
	[ -n "$now" ] || return 0
	if make_bridge && wait_until bridge_is_up; then
		# Two bridges with one address: answers would go to the one where nobody is.
		case $former in '' | "$bridge") ;; *) ip link delete dev "$former" 2>/dev/null || : ;; esac
		[ "$manager" = none ] || wait_until cables_are_in || :
		for each in $(cables_outside); do
			printf '%s: %s is not in the bridge, nobody behind it is a guest: see what else on this box has it\n' "$TOOL" "$each" >&2
		done
		return
	fi
	said="the bridge $bridge did not come up; what was written stays: put it right and apply again"
	# A package must not fail to install for it.
	if [ -n "$default" ]; then printf '%s: %s\n' "$TOOL" "$said" >&2; else fail "$said"; fi
}

make_bridge() { # by its manager, where its files are new or it is not there
	! changed /NetworkManager/conf.d/ || ! runs NetworkManager || systemctl reload NetworkManager || :
	case $manager in
	networkd) ! is_due /systemd/network/ || networkctl reload ;;
	ifupdown)
		is_due /interfaces.d/ || return 0
		ifdown --force "$bridge" 2>/dev/null || :
		ip link delete dev "$bridge" 2>/dev/null || :
		ifup "$bridge"
		;;
	networkmanager)
		is_due /system-connections/ || return 0
		nmcli connection reload && nmcli connection up wificrm-bridge >/dev/null || return 1
		# A cable that has its own connection by now does not change by itself.
		for each in $(guest_ports); do nmcli connection up "wificrm-port-$each" >/dev/null 2>&1 || :; done
		;;
	unit)
		systemctl daemon-reload
		if changed /wificrm-bridge.service; then systemctl restart wificrm-bridge; else systemctl start wificrm-bridge; fi
		;;
	esac
}

is_due() { changed "$1" || ! ip link show dev "$bridge" >/dev/null 2>&1; }

wait_until() { # CALL: ten seconds at most, for networkd takes its time
	tries=0
	until "$1"; do
		tries=$((tries + 1))
		[ "$tries" -le 50 ] && sleep 0.2 || return 1
	done
}

bridge_is_up() { ip -o address show dev "$bridge" 2>/dev/null | grep -qF " $address4 "; }

cables_outside() {
	for each in $(guest_ports); do
		[ -e "$sys/class/net/$bridge/brif/$each" ] || echo "$each"
	done
}

cables_are_in() { [ -z "$(cables_outside)" ]; }

apply_wifi() {
	if [ "$wifi" = none ]; then
		"$(hostapd_script)" remove ${root:+--root "$root"}
		return
	fi
	put_edited "$wifi_conf" "$(wifi_text)"
	"$(hostapd_script)" apply --config "$wifi_conf" ${root:+--root "$root"} >"$work/hostapd" 2>"$work/said" ||
		failed=$(cat "$work/said")
	# Which sockets belong into the settings is told only where they were not written there.
	case $(said_in "$wifi_conf" networks) in *' '*) cat "$work/hostapd" ;; *) sed '/^# /d' "$work/hostapd" ;; esac
	if [ -n "$now" ] && { changed wificrm-bridge || changed interfaces.d; }; then
		# A bridge that was made anew has lost its radio.
		for each in $wifi; do systemctl restart "hostapd@$each" || :; done
	fi
}

# FILE TEXT: in its place. Where somebody else wrote or changed the file, a copy is kept and the mark is not put on it.
put_edited() {
	mode=$(stat -c %a "$1" 2>/dev/null || echo 644)
	case $(whose "$1") in
	absent | ours)
		new=$(printf '%s\n' "$2" | sealed)
		[ "$new" = "$(cat "$1" 2>/dev/null || :)" ] || write "$1" "$mode" "$new"
		;;
	*)
		new=$2
		[ "$(whose "$1")" = foreign ] || new="$(head -n 1 "$1")$newline$2"
		[ "$new" != "$(cat "$1")" ] || return 0
		copy=$1.before-$(date +%Y%m%d-%H%M%S)
		cp -p "$1" "$copy"
		write "$1" "$mode" "$new"
		echo "  (as it was: $copy)"
		;;
	esac
}

start_services() {
	[ -n "$now" ] || { echo "nothing was started: systemd does not run here" && return; }
	for each in $UNITS; do
		systemctl --quiet cat "$each" >/dev/null 2>&1 || continue
		systemctl --quiet enable "$each" || :
		# Reloaded, the gateway keeps everybody online.
		case $each in
		wificrm-gateway.service) systemctl reload-or-restart "$each" ;;
		*) systemctl restart "$each" ;;
		esac 2>/dev/null || failed=${failed:+$failed$newline}"$each did not start: journalctl -u $each -n 20"
	done
}

what_next() {
	if runs wificrm && command -v wificrm >/dev/null; then
		[ "$wifi" = none ] || [ -n "$failed" ] || wait_until radios_are_on || : # the doctor would call it a fault
		echo
		wificrm doctor || :
	fi
	cat <<-EOF

		Next:
		  join the Wi-Fi with a phone: the page opens by itself
		  wificrm staff add NAME --role manager    an account for whoever looks after surveys and announcements
		  wificrm doctor                          again whenever something is odd
	EOF
	[ -n "$centre" ] || echo "  wificrm-setup apply --centre ...   the centre still has a placeholder for a name"
	firewall_lines
}

radios_are_on() { # some seconds later than hostapd was started: the country's rules come first, and a look around
	for each in $wifi; do
		hostapd_cli -i "$each" status 2>/dev/null | grep -q '^state=ENABLED' || return 1
	done
}

remove() {
	"$(hostapd_script)" remove ${root:+--root "$root"}
	if [ -n "$now" ]; then
		for each in $UNITS; do
			! systemctl --quiet cat "$each" >/dev/null 2>&1 || systemctl --quiet disable --now "$each" || :
		done
	fi
	manager=$(said_in "$memory" manager)
	bridge=$(setting network interface)
	bridge=${bridge:-br-guest}
	take_down_before
	for file in $(all_files); do delete "$file"; done
	for file in "$wifi_conf" "$toml"; do
		[ ! -e "$file" ] || if [ "$(whose "$file")" = foreign ]; then echo "$file stays: it is not ours"; else delete "$file"; fi
	done
	take_down_after
}

take_down_before() { # what needs its files to be taken down
	case $manager in
	unit) systemctl --quiet ${root:+--root="$root"} disable ${now:+--now} wificrm-bridge 2>/dev/null || : ;;
	ifupdown) [ -z "$now" ] || [ "$(whose /etc/network/interfaces.d/wificrm)" != ours ] || ifdown --force "$bridge" 2>/dev/null || : ;;
	esac
}

take_down_after() {
	[ -n "$now" ] || return 0
	case $manager in
	# Reloaded first: it would still put the cables into a bridge that is gone, and give them up for it.
	networkd) ! changed /systemd/network/ || { networkctl reload && ip link delete dev "$bridge" 2>/dev/null; } ;;
	networkmanager) ! changed /system-connections/ || { nmcli connection reload && ip link delete dev "$bridge" 2>/dev/null; } ;;
	unit) systemctl daemon-reload ;;
	esac || :
	! changed /NetworkManager/conf.d/ || ! runs NetworkManager || systemctl reload NetworkManager || :
}
