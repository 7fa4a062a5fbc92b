# Part of wificrm-hostapd. /etc/wificrm/wifi.conf: read, with every mistake told by its line.
# shellcheck shell=dash

lookup() { # KEY: sets $found to its value and $line to where it stands; 1 where it is not set
	while IFS= read -r row; do
		line=${row%% *} pair=${row#* }
		[ "${pair%%=*}" = "$1" ] || continue
		found=${pair#*=}
		return 0
	done <<-EOF
		$settings
	EOF
	return 1
}

default_of() { # KEY [RADIO]
	case $1 in
	country) echo VN ;;
	radios) echo wlan0 ;;
	networks) echo guest ;;
	band) echo 2.4 ;;
	channel) if [ "$(value band "$2")" = 5 ]; then echo 36; else echo 6; fi ;;
	width) if [ "$(value band "$2")" = 5 ] && [ "$(value channel "$2")" != 165 ]; then echo 80; else echo 20; fi ;;
	ssid) echo 'WiFi Mien Phi' ;;
	bridge) echo br-guest ;;
	encryption) echo open ;;
	isolate) echo yes ;;
	max_stations) echo 255 ;;
	esac
}

value() { # KEY [RADIO or NETWORK]: what is said of it, else what is said of all, else the default
	if { [ -n "${2-}" ] && lookup "$1.$2"; } || lookup "$1"; then
		printf '%s\n' "$found"
	else
		default_of "$@"
	fi
}

read_settings() {
	[ -r "$config" ] || fail "$config: no such file; copy the example wifi.conf there and change what differs, or run wificrm-setup apply"
	number=0
	carriage=$(printf '\r')
	while IFS= read -r text || [ -n "$text" ]; do
		number=$((number + 1))
		text=$(trim "${text%"$carriage"}")
		case $text in '' | '#'*) continue ;; esac
		take_line "$text"
	done <"$config"
	for each in $(value radios); do check_radio "$each"; done
	for each in $(all_networks); do check_network "$each"; done
	check_general
	[ "$wrong" -eq 0 ] || exit 1
}

trim() {
	text=${1#"${1%%[! 	]*}"}
	printf '%s' "${text%"${text##*[! 	]}"}"
}

take_line() { # TEXT: one line of the file
	case $1 in
	*=*) ;;
	*) complain "$number" "expected KEY=VALUE, not: $(printable "$1")" && return ;;
	esac
	key=$(trim "${1%%=*}")
	said=$(trim "${1#*=}")
	case $said in '"'*'"') [ "$said" = '"' ] || said=${said#\"} said=${said%\"} ;; esac
	case ${key%%.*} in
	country | radios) kind= ;;
	networks | band | channel | width) kind=radio ;;
	ssid | bridge | encryption | isolate | max_stations) kind=network ;;
	*) complain "$number" "there is no key $(printable "$key"); the example wifi.conf lists them all" && return ;;
	esac
	case $key in
	*[!A-Za-z0-9_.-]*) complain "$number" "$(printable "$key"): expected KEY or KEY.NAME" && return ;;
	*.*) [ -n "$kind" ] || { complain "$number" "${key%%.*} is for the whole box: write it without .${key#*.}" && return; } ;;
	esac
	if has_controls "$said"; then
		complain "$number" "$key: expected a text without control characters" && return
	fi
	case ${key%%.*}:$said in
	radios:*[!A-Za-z0-9_.\ -]* | networks:*[!A-Za-z0-9_.\ -]*)
		complain "$number" "$key: expected names with blanks between them, not $(printable "$said")" && return
		;;
	esac
	if lookup "$key"; then
		complain "$number" "$key was said in line $line already" && return
	fi
	settings="$settings$number $key=$said$newline"
}

has_controls() { [ "$(printf '%s' "$1" | tr -d '\001-\037\177' | wc -c)" -ne "${#1}" ]; }

printable() { printf '%s' "$1" | tr -c ' -~' '?' | cut -c 1-60; }

is_name() { # PATTERN NAME
	printf '%s\n' "$2" | grep -Eqx -- "$1"
}

all_networks() {
	for radio in $(value radios); do
		value networks "$radio"
	done | tr ' ' '\n' | sort -u
}

at() { # KEY NAME: the line in which it is said, for messages; 0 for a default
	if lookup "$1.$2" || lookup "$1"; then echo "$line"; else echo 0; fi
}

check_general() {
	country=$(value country)
	is_name '[A-Z]{2}' "$country" || complain "$(at country -)" "country: expected two capital letters such as VN, not $country"
	[ -n "$(value radios)" ] || complain "$(at radios -)" "radios: expected at least one, such as wlan0"
	if [ "$(value radios | wc -w)" -ne "$(value radios | tr ' ' '\n' | sort -u | wc -w)" ]; then
		complain "$(at radios -)" "radios: one is named twice"
	fi
	radios=" $(value radios) "
	networks=" $(all_networks | tr '\n' ' ') "
	while IFS= read -r row; do
		line=${row%% *} pair=${row#* }
		key=${pair%%=*}
		name=${key#*.}
		case $key in
		networks.* | band.* | channel.* | width.*)
			case $radios in *" $name "*) ;; *) complain "$line" "$key: radios does not name $name" ;; esac
			;;
		*.*) case $networks in *" $name "*) ;; *) complain "$line" "$key: networks does not name $name" ;; esac ;;
		esac
	done <<-EOF
		$settings
	EOF
}

check_radio() { # RADIO
	is_name '[A-Za-z0-9_.-]{1,15}' "$1" || { complain "$(at radios -)" "radios: $1 is no name of an interface" && return; }
	band=$(value band "$1") channel=$(value channel "$1") width=$(value width "$1")
	case $band in
	2.4) channels=' auto 1 2 3 4 5 6 7 8 9 10 11 12 13 ' widths=' 20 40 ' ;;
	5)
		channels=' auto 36 40 44 48 52 56 60 64 100 104 108 112 116 120 124 128 132 136 140 144 149 153 157 161 165 '
		widths=' 20 40 80 '
		;;
	*) complain "$(at band "$1")" "band: expected 2.4 or 5, not $band" && return ;;
	esac
	case $channels in
	*" $channel "*) ;;
	*) complain "$(at channel "$1")" "channel of $1: $band GHz has$(printf '%s' "$channels" | sed 's/ $//'), but no $channel" ;;
	esac
	case $widths in
	*" $width "*)
		[ "$channel:$width" = 165:20 ] || [ "$channel" != 165 ] ||
			complain "$(at width "$1")" "width of $1: channel 165 stands alone, expected 20"
		;;
	*) complain "$(at width "$1")" "width of $1: expected one of$(printf '%s' "$widths" | sed 's/ $//') MHz, not $width" ;;
	esac
	count=0 seen=' '
	for network in $(value networks "$1"); do
		case $seen in *" $network "*) complain "$(at networks "$1")" "networks: $network is named twice" ;; esac
		seen="$seen$network "
		count=$((count + 1))
		[ "$(value encryption "$network")" = open ] || count=$((count + 1))
	done
	[ "$count" -gt 0 ] || complain "$(at networks "$1")" "networks: expected at least one for $1"
	[ "$count" -le "$MOST_BSS" ] || complain "$(at networks "$1")" \
		"networks: $count on $1 (encryption = transition counts twice), at most $MOST_BSS"
}

check_network() { # NETWORK
	is_name '[a-z][a-z0-9_]{0,11}' "$1" || {
		complain "$(at networks -)" "networks: $1: expected a network.name of wificrm.toml: small letters, digits, _" && return
	}
	ssid=$(value ssid "$1")
	if [ -z "$ssid" ] || [ "${#ssid}" -gt 32 ]; then
		complain "$(at ssid "$1")" "ssid: expected 1 to 32 bytes, not ${#ssid} (a Vietnamese letter takes two or three)"
	elif ! printf '%s' "$ssid" | iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1; then
		complain "$(at ssid "$1")" "ssid: is not UTF-8; save the file as UTF-8"
	fi
	is_name '[A-Za-z0-9_.-]{1,15}' "$(value bridge "$1")" ||
		complain "$(at bridge "$1")" "bridge: expected an interface such as br-guest, not $(value bridge "$1")"
	case $(value encryption "$1") in
	open | transition) ;;
	*) complain "$(at encryption "$1")" "encryption: expected open or transition, not $(value encryption "$1")" ;;
	esac
	case $(value isolate "$1") in
	yes | no) ;;
	*) complain "$(at isolate "$1")" "isolate: expected yes or no, not $(value isolate "$1")" ;;
	esac
	is_name '[1-9][0-9]{0,2}|1[0-9]{3}|200[0-7]' "$(value max_stations "$1")" ||
		complain "$(at max_stations "$1")" "max_stations: expected 1 to 2007, not $(value max_stations "$1")"
	for other in $(all_networks); do
		[ "$other" != "$1" ] || break
		[ "$(value ssid "$other")" != "$ssid" ] ||
			complain "$(at ssid "$1")" "ssid: $other and $1 have the same; phones could not tell them apart"
		[ "$(value bridge "$other")" != "$(value bridge "$1")" ] ||
			complain "$(at bridge "$1")" "bridge: $other and $1 have the same; each network is a bridge of its own"
	done
}
