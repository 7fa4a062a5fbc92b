# shellcheck shell=dash
# shellcheck disable=SC2154,SC3045  # names come from wificrm-agent; read -t is busybox ash's
#
# /usr/lib/wificrm/report.sh: what the agent tells the portal, in a process of its own beside the stream.

BEAT=10       # seconds between two reports when nothing happened
MOST_LEASES=4000 # together with those who are there less than the 256 KiB that the portal reads
MOST_PRESENT=1000
GONE_AFTER=300 # seconds after which a device that is seen again has come anew

report_on() { # until it is ended, or the portal wants no more: then the stream is hung up, and all begins anew
	local word applied=0 due=1 next=0 look=0 said=0 failures=0 number=0 patience
	trap - EXIT INT TERM
	: >"$RUN/seen"
	while kill -0 $$; do # as long as the agent lives
		uptime_seconds
		if [ "$now" -ge "$look" ]; then
			look=$((now + 2))
			if [ -e "$RUN/anew" ]; then rm -f "$RUN/anew" && due=1; fi
			if somebody_came; then due=1; fi
		fi
		patience=2
		if [ "$now" = "$said" ]; then # not more than one a second, however much happens
			patience=1
		elif [ "$due" = 1 ] || [ "$now" -ge "$next" ]; then
			number=$((number + 1)) said=$now
			if read -r word <"$RUN/applied"; then applied=$word; fi
			if report "$number" "$applied"; then
				failures=0 due=0 next=$((now + BEAT))
				rm -f "$RUN/gone"
			else
				failures=$((failures + 1))
				[ "$failures" -lt 2 ] || break
			fi
		fi
		# A word of the stream that is carried out, or time for the next look at the neighbours.
		if read -r -t "$patience" word <&4 && is_number "$word" 9999999999; then
			[ "$word" -le "$applied" ] || due=1
		fi
	done 2>/dev/null
	kill "$stream" 2>/dev/null || true
}

report() { # NUMBER APPLIED
	local signature answer
	write_report "$2" >"$RUN/report"
	# shellcheck disable=SC2059
	hmac_end "$up_out" "$({ printf "$up_in%s\n" "$1" && cat "$RUN/report"; } | sha256sum)"
	signature=$mac_hex
	{ printf '%s %s %s\n' "$session" "$1" "$signature" && cat "$RUN/report"; } >"$RUN/body"
	answer=$( (fetch "$url/report" 15 "$RUN/body") 2>/dev/null | head -c 16)
	[ "$answer" = ok ]
}

write_report() { # APPLIED: read before the table is, so that the table holds at least that
	local gone
	uptime_seconds
	printf 'applied %s\nversion %s\nuptime %s\nmode thin\n' "$1" "$VERSION" "$now"
	if read -r gone 2>/dev/null <"$RUN/gone"; then echo "away $((now - gone))"; fi
	leases | head -n "$MOST_LEASES"
	sed 's/^/present /' "$RUN/present"
}

leases() { # lease MAC SECONDS UP DOWN: bytes as frames, with 14 bytes of header each, like the portal's own box
	local set
	for set in allowed up marks down; do
		nft list set inet wificrm "$set" || true
	done 2>/dev/null | tr '{},' '\n' | awk '
		function seconds(text,    total, part) {
			total = 0
			while (match(text, /^[0-9]+(ms|[dhms])/)) {
				part = substr(text, 1, RLENGTH)
				text = substr(text, RLENGTH + 1)
				if (part ~ /ms$/) continue
				total += part * (part ~ /d$/ ? 86400 : part ~ /h$/ ? 3600 : part ~ /m$/ ? 60 : 1)
			}
			return total
		}
		function after(word,    i) {
			for (i = 1; i < NF; i++) if ($i == word) return $(i + 1)
			return ""
		}
		$1 == "set" { set = $2; next }
		$1 == "elements" || $1 == "type" { next }
		set == "allowed" && $1 ~ /:/ { left[$1] = seconds(after("expires")) }
		set == "up" && $1 ~ /:/ { up[$1] = after("bytes") + 14 * after("packets") }
		set == "marks" && $2 == "." { mark[$1] = $3 }
		set == "down" && after("bytes") != "" { down[$1] = after("bytes") + 14 * after("packets") }
		END {
			for (mac in left)
				printf "lease %s %d %.0f %.0f\n", mac, left[mac], up[mac], down[mark[mac]]
		}'
}

present() { # the devices that the kernel has heard of a moment ago, one a line
	ip neigh show dev "$interface" | awk '
		$NF == "REACHABLE" || $NF == "DELAY" || $NF == "PROBE" {
			for (i = 1; i < NF; i++) if ($i == "lladdr" && !($(i + 1) in seen)) { seen[$(i + 1)]; print $(i + 1) }
		}' | head -n "$MOST_PRESENT"
}

somebody_came() { # whether a device is here that was not for some minutes; keeps $RUN/present and $RUN/seen
	local code=0
	present >"$RUN/present"
	rm -f "$RUN/seen.new"
	awk -v now="$now" -v old="$GONE_AFTER" -v most="$MOST_PRESENT" -v out="$RUN/seen.new" '
		FILENAME ~ /seen$/ { if (now - $2 < old && n++ < most) at[$1] = $2; next }
		{ if (!($1 in at)) came = 1; at[$1] = now }
		END { printf "" >out; for (mac in at) print mac, at[mac] >out; exit !came }
	' "$RUN/seen" "$RUN/present" || code=1
	mv "$RUN/seen.new" "$RUN/seen"
	return $code
}
