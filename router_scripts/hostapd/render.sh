# Part of wificrm-hostapd. The text of a hostapd configuration.
# shellcheck shell=dash

bss_name() { # RADIO INDEX: the interface of the radio's INDEXth network; names have at most 15 characters
	if [ "$2" -eq 0 ]; then
		echo "$1"
	else
		end=$1
		while [ "${#end}" -gt 13 ]; do end=${end#?}; done
		echo "$end-$2"
	fi
}

# RADIO INDEX: the line with an address of its own for the radio's INDEXth network, 0 being the radio's. Left to count them
# up from there, hostapd starts only where the radio's own ends in as many zero bits as that takes: on every other radio
# already two networks would not (hostapd_validate_bssid_configuration).
further_address() {
	if [ -z "$root" ] && address=$(cat "$sys/class/net/$1/address" 2>/dev/null); then
		printf 'bssid=%02x:%s\n' $(((0x${address%%:*} | 2) ^ ($2 << 2))) "${address#*:}"
	fi
}

each_bss() { # RADIO: lines "INDEX NETWORK open|owe PARTNER-INDEX" (the partner is - for a lone open one)
	index=0
	for network in $(value networks "$1"); do
		if [ "$(value encryption "$network")" = transition ]; then
			echo "$index $network open $((index + 1))"
			echo "$((index + 1)) $network owe $index"
			index=$((index + 2))
		else
			echo "$index $network open -"
			index=$((index + 1))
		fi
	done
}

hex() { od -An -v -tx1 | tr -d ' \n'; }

render() { # RADIO
	cat <<-EOF
		interface=$1
		driver=nl80211
		$(render_radio "$1")
		# No probe of every passer-by in the log: a log that names phones would outlive their visit.
		logger_syslog=-1
		logger_syslog_level=4
		logger_stdout=-1
		logger_stdout_level=4
	EOF
	each_bss "$1" | while read -r index network kind partner; do
		if [ "$index" -eq 0 ]; then
			render_bss "$network"
		else # what the comments say was said
			printf '\nbss=%s\n' "$(bss_name "$1" "$index")"
			further_address "$1" "$index"
			render_bss "$network" | sed '/^#/d'
		fi
		if [ "$kind" = owe ]; then render_owe "$1" "$network"; else render_open "$1" "$network" "$partner"; fi
		[ "$partner" = - ] || echo "owe_transition_ifname=$(bss_name "$1" "$partner")"
	done
}

render_radio() { # RADIO
	band=$(value band "$1") channel=$(value channel "$1") width=$(value width "$1")
	cat <<-EOF
		# Country decides which channels and how much power are legal.
		country_code=$(value country)
		ieee80211d=1
	EOF
	if [ "$band" = 5 ]; then
		# Without it the channels that weather radar shares (52 to 144) stay shut.
		printf 'ieee80211h=1\nhw_mode=a\n'
	else
		echo hw_mode=g
	fi
	if [ "$channel" = auto ]; then echo channel=0; else echo "channel=$channel"; fi
	printf 'ieee80211n=1\nwmm_enabled=1\n'
	[ "$width" = 20 ] || echo "ht_capab=[HT40$(second_half "$band" "$channel")]"
	[ "$band" = 5 ] || return 0
	echo ieee80211ac=1
	[ "$width" = 80 ] || return 0
	echo vht_oper_chwidth=1
	[ "$channel" = auto ] || echo "vht_oper_centr_freq_seg0_idx=$(centre_80 "$channel")"
}

second_half() { # BAND CHANNEL: on which side the other 20 MHz of 40 are
	case $1:$2 in
	*:auto) echo + ;;
	2.4:[1-7]) echo + ;;
	2.4:*) echo - ;;
	5:149 | 5:157) echo + ;;
	5:153 | 5:161 | 5:165) echo - ;;
	5:*) if [ $(($2 / 4 % 2)) -eq 1 ]; then echo +; else echo -; fi ;;
	esac
}

centre_80() { # CHANNEL: the middle of the 80 MHz it is in
	if [ "$1" -ge 149 ]; then echo 155; else echo $((($1 - 36) / 16 * 16 + 42)); fi
}

render_bss() { # NETWORK
	cat <<-EOF
		bridge=$(value bridge "$1")
		# Phones do not reach each other through the radio.
		ap_isolate=$([ "$(value isolate "$1")" = no ] && echo 0 || echo 1)
		# A phone that only sleeps stays associated; one that left is gone after five minutes.
		max_num_sta=$(value max_stations "$1")
		ap_max_inactivity=300
		disassoc_low_ack=0
		# Commands are taken from root and the gate only: a phone whose grant ends is sent away through it.
		ctrl_interface=/run/hostapd
		ctrl_interface_group=$GROUP
	EOF
}

render_open() { # RADIO NETWORK PARTNER
	cat <<-EOF
		# $(value ssid "$2")
		ssid2=$(value ssid "$2" | tr -d '\n' | hex)
		utf8_ssid=1
		# Open: nobody types a password, and the portal opens by itself.
		auth_algs=1
		wpa=0
	EOF
	[ "$3" = - ] || echo "# Phones that know OWE go by themselves to the hidden, encrypted twin; the others stay here."
}

render_owe() { # RADIO NETWORK: its name is never shown, and is the same on every access point of that name
	cat <<-EOF
		ssid2=$(printf 'owe-%s' "$(value ssid "$2" | sha256sum | cut -c 1-12)" | hex)
		ignore_broadcast_ssid=1
		auth_algs=1
		wpa=2
		wpa_key_mgmt=OWE
		rsn_pairwise=CCMP
		ieee80211w=2
		owe_ptk_workaround=1
	EOF
}

sockets() { # NETWORK
	list=
	for radio in $(value radios); do
		for index in $(each_bss "$radio" | awk -v network="$1" '$2 == network { print $1 }'); do
			list="$list${list:+, }\"/run/hostapd/$(bss_name "$radio" "$index")\""
		done
	done
	echo "[$list]"
}
