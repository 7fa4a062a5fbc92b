# shellcheck shell=dash
# shellcheck disable=SC2034  # read by the programs
#
# /usr/lib/wificrm/thin.sh: what the thin router's programs share: settings, checks of strangers' words, HMAC.
# Read with `.`; busybox ash. Nothing that came from outside is ever evaluated.

set -f # no word is ever taken for a pattern of file names
LC_ALL=C
export LC_ALL

RUN=${WIFICRM_RUN:-/var/run/wificrm-thin} # memory: what names a device never lies elsewhere
SETTINGS=${WIFICRM_SETTINGS:-/etc/wificrm/thin.conf}
TABLE='inet wificrm'
NEWLINE='
'
MARKED=0x08000000  # of a flow that the router answers in another host's place
STARVED=0x10000000 # of a question, asked before the grant
OPTIONS="enabled name portal port key ca interface address4 address6 uplink masquerade redirect_port away away_after
 off_limits resolver web_group wifi ssid guest_port"

# -- settings -------------------------------------------------------------------------------------------------

read_settings() { # from UCI (section thin of /etc/config/wificrm), or from the file $SETTINGS
	local option value return
	return=$(printf '\r')
	enabled=0 name='' portal='' port=8445 key='' ca='' interface=br-guest address4=192.168.60.1/24 address6=''
	uplink='' masquerade=0 redirect_port=2080 away=closed away_after=60 resolver='' web_group=''
	off_limits='10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 fc00::/7'
	wifi=1 ssid='WiFi Mien Phi' guest_port=''
	if has_uci; then
		for option in $OPTIONS; do
			if value=$(uci -q get "wificrm.thin.$option"); then take "$option" "$value"; fi
		done
	elif [ -r "$SETTINGS" ]; then
		enabled=1 masquerade=1 wifi=0 web_group=www-data
		while IFS='=' read -r option value; do
			option=${option%"$return"} value=${value%"$return"} # saved on Windows
			value=${value#[\'\"]}
			take "$option" "${value%[\'\"]}"
		done <"$SETTINGS"
	fi
}

has_uci() {
	[ -z "${WIFICRM_SETTINGS:-}" ] && command -v uci >/dev/null && uci -q get wificrm.thin >/dev/null
}

take() { # OPTION VALUE
	case $1 in
	enabled) enabled=$2 ;; name) name=$2 ;; portal) portal=$2 ;; port) port=$2 ;; key) key=$2 ;; ca) ca=$2 ;;
	interface) interface=$2 ;; address4) address4=$2 ;; address6) address6=$2 ;; uplink) uplink=$2 ;;
	masquerade) masquerade=$2 ;; redirect_port) redirect_port=$2 ;; away) away=$2 ;; away_after) away_after=$2 ;;
	off_limits) off_limits=$2 ;; resolver) resolver=$2 ;; web_group) web_group=$2 ;; wifi) wifi=$2 ;;
	ssid) ssid=$2 ;; guest_port) guest_port=$2 ;;
	'' | '#'* | ' '*) ;;
	*) echo "wificrm: unknown option '$1'; see the comments in the settings" >&2 ;;
	esac
}

settings_problems() { # a sentence for each option that cannot be used
	local each
	is_name "$name" || echo "name is '$name'; it must be the name of the [[router]] in the portal's settings"
	is_host "$portal" || echo "portal is '$portal'; it must be the portal's host name, for example wifi.example.vn"
	is_number "$port" 65535 || echo "port is '$port'; it must be a number, 8445 as a rule"
	is_hex "$key" 64 || echo "key must be the 64 hex digits that 'wificrm router key' prints on the portal"
	[ -z "$ca" ] || [ -r "$ca" ] || echo "ca is '$ca', which cannot be read; leave it out for the system's authorities"
	is_interface "$interface" || echo "interface is '$interface'; it must be the guests' bridge, for example br-guest"
	[ -z "$uplink" ] || is_interface "$uplink" || echo "uplink is '$uplink'; it must be a device, for example wan"
	is_number "$redirect_port" 65535 || echo "redirect_port is '$redirect_port'; it must be a free port, for example 2080"
	is_number "$away_after" 86400 || echo "away_after is '$away_after'; it must be a number of seconds"
	case $away in open | closed) ;; *) echo "away is '$away'; it must be open or closed" ;; esac
	case $masquerade$wifi in [01][01]) ;; *) echo "masquerade and wifi must be 0 or 1" ;; esac
	is_guest_network "$address4" || echo "address4 is '$address4'; it must be like 192.168.60.1/24, from /8 to /27"
	[ -z "$address6" ] || is_network "$address6" || echo "address6 is '$address6'; it must be like fd50:7c3a:60::1/64"
	[ -z "$guest_port" ] || is_interface "$guest_port" || echo "guest_port is '$guest_port'; it must be one port, for example lan4"
	[ "${#ssid}" -le 32 ] || echo "ssid is longer than 32 bytes, which no radio takes; a Vietnamese letter has up to three"
	[ -z "$resolver" ] || is_address "$resolver" || echo "resolver is '$resolver'; it must be an address"
	for each in $off_limits; do
		is_network "$each" || echo "off_limits has '$each'; it must be a list of networks like 10.0.0.0/8"
	done
}

# -- strangers' words: strict patterns before anything is done with them -----------------------------------------

is_name() { case $1 in '' | [!a-z]* | *[!a-z0-9_]*) return 1 ;; esac && [ "${#1}" -le 12 ]; }

is_host() {
	case $1 in '' | *[!a-z0-9.-]* | .* | -* | *. | *- | *..* | *.-* | *-.*) return 1 ;; esac
	[ "${#1}" -le 228 ]
}

is_mac() {
	case $1 in *[!0-9a-f:]*) return 1 ;; ??:??:??:??:??:??) ;; *) return 1 ;; esac
	case $1 in :* | *: | *::* | ?:* | *:?) return 1 ;; ?[13579bdf]:* | 00:00:00:00:00:00) return 1 ;; esac
}

is_hex() { # TEXT LENGTH
	case $1 in '' | *[!0-9a-f]*) return 1 ;; esac && [ "${#1}" -eq "$2" ]
}

is_number() { # TEXT MOST: a whole number from 0 without leading zeros
	case $1 in '' | *[!0-9]* | 0?*) return 1 ;; esac
	[ "${#1}" -le 10 ] && [ "$1" -le "$2" ]
}

is_interface() { case $1 in '' | *[!A-Za-z0-9_.-]*) return 1 ;; esac && [ "${#1}" -le 15 ]; }

is_address() { # shape only: nft, which parses it, takes no more than an address here
	case $1 in
	*[!0-9a-f:.]* | '') return 1 ;;
	*:*) [ "${#1}" -le 45 ] ;;
	*[!0-9.]*) return 1 ;;
	*.*.*.*) [ "${#1}" -le 15 ] ;;
	*) return 1 ;;
	esac
}

is_network() { # ADDRESS/BITS
	case $1 in */*) is_address "${1%/*}" && is_number "${1##*/}" 128 ;; *) return 1 ;; esac
}

is_guest_network() { # ADDRESS/BITS of IPv4, with room for phones
	local octet
	case $1 in *:* | *..* | .* | *.*.*.*.*) return 1 ;; *.*.*.*/*) is_network "$1" ;; *) return 1 ;; esac || return 1
	for octet in $(echo "${1%/*}" | tr . ' '); do
		is_number "$octet" 255 || return 1
	done
	[ "${1##*/}" -ge 8 ] && [ "${1##*/}" -le 27 ]
}

# -- what Debian's busybox has, but puts on nobody's path -----------------------------------------------------

command -v hexdump >/dev/null || hexdump() { busybox hexdump "$@"; }
command -v nslookup >/dev/null || nslookup() { busybox nslookup "$@"; }

# -- time and chance ------------------------------------------------------------------------------------------

uptime_seconds() { # into $now; the wall clock may jump, this one does not
	read -r now _ <"${WIFICRM_UPTIME:-/proc/uptime}"
	now=${now%%.*}
}

random_hex() { # BYTES
	head -c "$1" /dev/urandom | hexdump -v -e '1/1 "%02x"'
}

# -- HMAC-SHA256 (RFC 2104): the two pads of a key are made once, as octal escapes for printf ------------------

hmac_key() { # raw HEX (up to 64 bytes) | text TEXT (64 hex digits, taken as the letters they are)
	local rest="$2" inner='' outer='' bytes=0 first byte
	while [ -n "$rest" ]; do
		if [ "$1" = raw ]; then
			first=${rest%"${rest#??}"} && rest=${rest#??} byte=$((0x$first))
		else
			first=${rest%"${rest#?}"} && rest=${rest#?} byte=$((0x$first))
			if [ "$byte" -lt 10 ]; then byte=$((byte + 48)); else byte=$((byte + 87)); fi
		fi
		inner="$inner $((byte ^ 0x36))" outer="$outer $((byte ^ 0x5c))" bytes=$((bytes + 1))
	done
	while [ "$bytes" -lt 64 ]; do
		inner="$inner 54" outer="$outer 92" bytes=$((bytes + 1))
	done
	# shellcheck disable=SC2086 # one number a word
	pad_in=$(printf '\\%03o' $inner) pad_out=$(printf '\\%03o' $outer)
}

hmac() { # PAD_IN PAD_OUT TEXT: into $mac_hex, 64 hex digits
	# shellcheck disable=SC2059 # the pads are octal escapes of our own making
	hmac_end "$2" "$(printf "$1%s" "$3" | sha256sum)"
}

hmac_end() { # PAD_OUT INNER-HASH
	local rest="${2%% *}" bytes=''
	while [ -n "$rest" ]; do
		bytes="$bytes 0x${rest%"${rest#??}"}" rest=${rest#??}
	done
	# shellcheck disable=SC2086
	bytes=$(printf '\\%03o' $bytes)
	# shellcheck disable=SC2059
	mac_hex=$(printf "$1$bytes" | sha256sum)
	mac_hex=${mac_hex%% *}
}
