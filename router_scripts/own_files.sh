# Whose a file is. What we write begins with a line that names the tool (TOOL), a checksum of the rest, and how it came
# to be (MADE); what was changed since, or has no such line, is not ours to change or delete.
# shellcheck shell=dash

sealed() { # the text on the standard input under our mark, which says whether it was changed since
	body=$(cat)
	printf '# %s %s: %s\n%s\n' "$TOOL" "$(printf '%s\n' "$body" | cksum | cut -d ' ' -f 1)" "$MADE" "$body"
}

whose() { # FILE: absent, ours, changed (by somebody, since) or foreign
	[ -e "$1" ] || { echo absent && return; }
	first=$(head -n 1 "$1")
	case $first in
	"# $TOOL "*)
		sum=${first#"# $TOOL "}
		if [ "${sum%%:*}" = "$(tail -n +2 "$1" | cksum | cut -d ' ' -f 1)" ]; then echo ours; else echo changed; fi
		;;
	*) echo foreign ;;
	esac
}
