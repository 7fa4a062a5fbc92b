# Part of wificrm-setup. The settings that are there: TOML and KEY=VALUE read and changed key by key.
# shellcheck shell=dash

# TABLE KEY of a TOML file on the standard input: what stands behind the equals sign, in the first table of that name.
read_key() {
	awk -v table="$1" -v key="$2" '
		/^[ \t]*\[/ { here = $0; gsub(/[][ \t]|#.*/, "", here); seen[here]++; next }
		here == table && seen[here] == 1 && $0 ~ "^[ \t]*" key "[ \t]*=" {
			sub(/^[^=]*=[ \t]*/, "")
			if (match($0, /^"([^"\\]|\\.)*"/) || match($0, /^\047[^\047]*\047/)) print substr($0, 1, RLENGTH)
			else { sub(/[ \t]+#[^"]*$/, ""); print }
			exit
		}'
}

# TABLE KEY: the TOML file on the standard input with $VALUE there. Fails where the old value goes over several lines.
write_key() {
	awk -v table="$1" -v key="$2" '
		function tell() { print key " = " ENVIRON["VALUE"]; done = 1 }
		{ line[NR] = $0 }
		END {
			for (n = 1; n <= NR; n++) {
				if (line[n] ~ /^[ \t]*\[/) {
					here = line[n]; gsub(/[][ \t]|#.*/, "", here); seen[here]++
					if (here == table && seen[here] == 1) head = n  # the last line of the table that says something
				} else if (here == table && seen[here] == 1) {
					if (line[n] ~ "^[ \t]*" key "[ \t]*=") at = n
					if (line[n] ~ /^[ \t]*[^# \t]/) head = n
				}
			}
			for (n = 1; n <= NR; n++) {
				if (n != at) { print line[n]; if (n == head && !at) tell(); continue }
				value = line[n]; sub(/^[^=]*=[ \t]*/, "", value)
				if (value ~ /"""|\047\047\047/ || (value ~ /^\[/ && value !~ /\]/)) exit 3
				if (match(value, /^"([^"\\]|\\.)*"/) || match(value, /^\047[^\047]*\047/)) note = substr(value, RLENGTH + 1)
				else note = match(value, /[ \t]+#[^"]*$/) ? substr(value, RSTART) : ""
				printf "%s", substr(line[n], 1, match(line[n], /[^ \t]/) - 1)
				print key " = " ENVIRON["VALUE"] note; done = 1
			}
			if (!done) { print "\n[" table "]"; tell() }
		}'
}

quoted() { # TEXT as TOML writes it
	printf '"%s"' "$(printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g')"
}

unquoted() { # a TOML string; "" for anything else
	case $1 in
	'"'*'"') said=${1#\"} && printf '%s' "${said%\"}" | sed 's/\\"/"/g; s/\\\\/\\/g' ;;
	"'"*"'") said=${1#\'} && printf '%s' "${said%\'}" ;;
	esac
}

said_in() { # FILE KEY: of a file with KEY=VALUE lines
	[ -r "$1" ] || return 0
	sed -n "s/^[ 	]*$2[ 	]*=[ 	]*//p" "$1" | tail -n 1 | sed 's/[ 	]*$//; s/^"\(.*\)"$/\1/'
}

setting() { # TABLE KEY: the string in the settings as they are
	[ ! -r "$toml" ] || unquoted "$(read_key "$1" "$2" <"$toml")"
}

centre_in() { # LANGUAGE: the centre's name in it, as the settings are
	[ -r "$toml" ] || return 0
	unquoted "$(read_key venue names <"$toml" | grep -Eo "(^|[{, ])$1 *= *\"([^\"\\\\]|\\\\.)*\"" | sed 's/^[^"]*//')"
}
