# Part of wificrm-setup. Files put in their place and taken away, where they are ours.
# shellcheck shell=dash

put_file() { # FILE [MODE]: the text on the standard input, sealed, in its place; files of others stay
	new=$(sealed)
	case $(whose "$1") in
	foreign) echo "$1 is somebody else's and stays as it is" && return ;;
	changed) echo "$1 was changed by hand and stays as it is" && return ;;
	ours) [ "$new" != "$(cat "$1")" ] || return 0 ;;
	esac
	write "$1" "${2:-644}" "$new"
}

write() { # FILE MODE TEXT
	mkdir -p "$(dirname "$1")"
	# Hidden, for some read all that lies in a folder; whole on the disk before it counts, for a power cut leaves empty files.
	fresh=$(dirname "$1")/.$(basename "$1").new
	(umask 077 && printf '%s\n' "$3" >"$fresh")
	[ ! -e "$1" ] || chown --reference="$1" "$fresh" # the portal must go on reading it
	chmod "$2" "$fresh"
	sync "$fresh"
	mv "$fresh" "$1"
	echo "$1" >>"$work/changes"
	echo "$1 written"
}

delete() { # FILE: where it is ours
	case $(whose "$1") in
	ours) rm "$1" && echo "$1" >>"$work/changes" && echo "$1 deleted" ;;
	changed) echo "$1 was changed by hand and stays; delete it if you do not need it" ;;
	esac
}
