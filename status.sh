#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Show what is loaded, which connections are on the bypass, and the counters.
# Reads the pinned maps with bpftool and lists the sockets with iterator
# programs (sock_ops_status.c, sock_ops_open.c); changes nothing.

set -euo pipefail
HERE=$(readlink -f "${BASH_SOURCE[0]}")
HERE=${HERE%/*}
# shellcheck source=lib/common.sh
. "$HERE/lib/common.sh"
# shellcheck source=lib/maps.sh
. "$HERE/lib/maps.sh"
# shellcheck source=lib/config.sh
. "$HERE/lib/config.sh"
# shellcheck source=lib/cgroups.sh
. "$HERE/lib/cgroups.sh"
# shellcheck source=lib/attached.sh
. "$HERE/lib/attached.sh"
# shellcheck source=lib/lists.sh
. "$HERE/lib/lists.sh"
# shellcheck source=lib/connections.sh
. "$HERE/lib/connections.sh"
# shellcheck source=lib/look.sh
. "$HERE/lib/look.sh"
# shellcheck source=lib/json.sh
. "$HERE/lib/json.sh"
# shellcheck source=lib/metrics.sh
. "$HERE/lib/metrics.sh"

JSON=0
PROMETHEUS=0
WATCH=0     # seconds, 0: once
STALE=10000 # ms after which unread bytes deserve a word
# Of the last look, with --watch.
THEN=
COUNTERS_THEN=
RECORDS_THEN=

usage() {
	cat <<-END || exit 2
		status.sh - show what is loaded, the connections, and the counters

		SYNOPSIS
		    sudo ./status.sh [--json | --prometheus | --watch [SECONDS]]
		    ./status.sh --help | --version

		DESCRIPTION
		    Shows what was loaded and when, the counters, and each connection on the bypass: its
		    programs, and the bytes that they have not read yet.  Changes nothing.

		OPTIONS
		    --json             print one JSON object instead, with all counters
		    --prometheus       print the counters for Prometheus instead, in its text format
		                       0.0.4; without a look at the sockets, so that it can be asked often
		    --watch [SECONDS]  show it again every SECONDS (default: 2), with the rates since the
		                       last time, and cut to the height of the terminal; more rarely
		                       where a look takes long
		    --help             show this text

		EXIT STATUS
		    0  loaded
		    1  not loaded, or only in part
		    2  an error

		SEE ALSO
		    load.sh loads it.  unload.sh ends it.
	END
}

parse() {
	while [[ $# -gt 0 ]]; do
		case $1 in
		--json) JSON=1 ;;
		--prometheus) PROMETHEUS=1 ;;
		--watch)
			WATCH=2
			if [[ $# -ge 2 && $2 != -* ]]; then
				[[ $2 =~ ^[1-9][0-9]{0,4}$ ]] ||
					usage_error "--watch: not a number of seconds from 1: $(shown "$2")"
				WATCH=$2
				shift
			fi
			;;
		*) help_or_error "$1" ;;
		esac
		shift
	done
	((JSON + PROMETHEUS + (WATCH > 0) <= 1)) ||
		usage_error "--json, --prometheus and --watch exclude each other"
}

# some_of LINES: as a list in one line.
some_of() {
	local most=20 lines
	mapfile -t lines < <(say "$1")
	printf '%s' "${lines[0]}"
	((${#lines[@]} == 1)) || printf ', %s' "${lines[@]:1:most-1}"
	((${#lines[@]} <= most)) || printf ', and %s more (--json)' $((${#lines[@]} - most))
}

# The state of what is not loaded, in one line.
not_loaded() {
	local left
	left=$(pins)
	if [[ -n $left ]] && is_being_changed; then
		say "load.sh or unload.sh is at work"
	elif [[ -n $left ]]; then
		say "loaded in part, or switched off (${left//$'\n'/ }); to clean up: sudo $HERE/unload.sh"
	else
		say "not loaded; to load: sudo $HERE/load.sh"
	fi
}

show() {
	local scope="all ports" also='' seconds directions
	directions=$(show_directions)
	[[ -z $ONLY ]] || scope="ports $ONLY"
	[[ -z $EXCEPT ]] || scope="$scope, but not $EXCEPT"
	seconds=$((LOOKED / 1000 - LOADED_AT))
	printf 'loaded       %(%F %T)T (%s ago), version %s\n' "$SINCE" "$(duration "$seconds")" \
		"$LOADED_VERSION"
	[[ $LOADED_VERSION == "$VERSION" ]] || say "             these scripts are of version $VERSION"
	say "cgroup       $(shown "${CGROUP:-$NO_CGROUP}")"
	((!ALL)) || also=", short connections as well"
	((!ZEROCOPY)) || also+=", SO_ZEROCOPY as well"
	say "filter       $scope of the listening side$also"
	[[ -z $NOT_UNDER ]] || say "on TCP       $(some_of "$NOT_UNDER")"
	[[ -z $NOT_OF ]] || say "on TCP       programs: ${NOT_OF//$'\n'/, }"
	((!NEW_ALONE)) || say "on TCP       whatever listened already: load.sh could not look at all" \
		"programs, or exclude all their cgroups"
	say "trace        $( ((QUIET)) && echo off || echo on)"
	say "guard        $(guard_state)"
	say "map          $SOCKETS of $MOST sockets"
	say "open         $directions"
	if [[ -z $CGROUP && $NO_CGROUP == not* ]]; then
		say "whether ours is attached there is not known: a lock is held, or there are very many cgroups"
	elif [[ -z $CGROUP ]]; then
		say "if the cgroup was removed, as that of a service that was started again, no new" \
			"connection is admitted; to load for another one: sudo $HERE/unload.sh, then load.sh"
	elif [[ $ATTACHED == 0 ]]; then
		say "no new connection is admitted: ours is not attached there; to attach it again: sudo" \
			"$HERE/load.sh --reload, with the options as before"
	elif [[ -n $LATER ]]; then
		say "no new connection is admitted: another sock_ops program runs after ours" \
			"(${LATER//$'\n'/, });"
		say "to run last again: sudo $HERE/unload.sh, then load.sh as before"
	fi
	say
	show_counters
	say
	show_connections
}

guard_state() {
	if ((!GUARDED)); then
		say off
	elif is_pin "$TRACE_PIN"; then
		say "on, by tracing programs"
	else
		say on
	fi
}

# duration SECONDS
duration() {
	if (($1 < 120)); then
		say "$1 s"
	elif (($1 < 7200)); then
		say "$(($1 / 60)) min"
	elif (($1 < 172800)); then
		say "$(($1 / 3600)) h"
	else
		say "$(($1 / 86400)) days"
	fi
}

# How many directions of open connections are where, and why.
show_directions() {
	awk '
		FNR == NR {
			name = $1
			sub(/.*: /, "")
			text[name] = $0
			next
		}
		$1 == "on_bypass" { bypass = $2 }
		$1 != "on_bypass" {
			tcp += $2
			why = why (why ? ", " : ": ") $2 " (" text[$1] ")"
		}
		END { print bypass " directions on the bypass, " tcp + 0 " back on TCP" why }
	' <(say "$COUNTER_TEXTS") - <<<"$DIRECTIONS"
}

# The rates are of the time since the last look, of a first one since loading.
show_counters() {
	awk -v now="$LOOKED" -v then="${THEN:-$((LOADED_AT * 1000))}" -v before="$COUNTERS_THEN" '
		BEGIN {
			n = split(before, line, "\n")
			for (i = 1; i <= n; i++) {
				split(line[i], part, " ")
				was[part[1]] = part[2]
			}
			time = (now - then) / 1000
			printf "%16s %12s\n", "total", "per second"
		}
		FNR == NR {
			text[$1] = substr($0, length($1) + 2)
			next
		}
		# Reasons that never came up are left out.
		$2 || $1 ~ /^(admitted|redirected)/ {
			printf "%16.0f %12.1f  %s\n", $2, (time > 0 ? ($2 - was[$1]) / time : 0),
				text[$1]
		}' <(say "$COUNTER_TEXTS") - <<<"$COUNTERS"
}

# Most unread first.
show_connections() {
	if [[ -z $CONNECTIONS ]]; then
		say "no connection is on the bypass"
		return
	fi
	of_connections '{ print $at["client_unread"] + $at["server_unread"], $0 }' \
		< <(say "$CONNECTIONS") |
		sorted -s -t $'\t' -k 1,1nr | cut -f 2- | of_connections '
		BEGIN { print "CLIENT", "SERVER", "AGE", "CLIENT UNREAD", "SERVER UNREAD", "NETNS", "PROGRAMS" }
		{
			print address("client"), address("server"), int($at["age_ms"] / 1000) " s", \
				unread("client"), unread("server"), \
				both($at["client_netns"], $at["server_netns"]), \
				$at["client_program"] " -> " $at["server_program"]
		}
		END {
			if (nat)
				print "\nIn brackets: the address that the other end sees, through NAT."
			if (hint)
				print "\nUnread for long: that program is stopped or busy, or reads with splice(2)."
		}
		function address(end,    seen) {
			seen = $at[end "_seen"]
			if (seen == "-" || seen == $at[end])
				return $at[end]
			nat = 1
			return $at[end] " (" seen ")"
		}
		function unread(end,    bytes, ms) {
			bytes = $at[end "_unread"]
			ms = $at[end "_unread_ms"]
			if (!(bytes + 0) || ms == "-") # the sender is gone: nobody knows since when
				return bytes
			if (ms > '"$STALE"')
				hint = 1
			return bytes " for " int(ms / 1000) " s"
		}
		function both(a, b) {
			return a == b || b == "-" ? a : a == "-" ? b : a " " b
		}' | align
}

# Cells that are separated by tabs, as columns.  Lines without a tab stay as they are.
align() {
	awk -F '\t' '
		{
			line[NR] = $0
			for (i = 1; i <= NF && NF > 1; i++)
				if (length($i) > width[i])
					width[i] = length($i)
		}
		END {
			for (row = 1; row <= NR; row++)
				print padded(line[row])
		}
		function padded(line,    n, cell, i, text) {
			n = split(line, cell, "\t")
			for (i = 1; i < n; i++)
				text = text sprintf("%-" width[i] "s  ", cell[i])
			return text cell[n]
		}'
}

watch() {
	local screen lines began took
	while :; do
		now
		began=$NOW
		if is_loaded && look; then
			[[ $RECORDS_ID == "$RECORDS_THEN" ]] || THEN='' COUNTERS_THEN='' # of another load
			screen=$(show)
			THEN=$LOOKED
			COUNTERS_THEN=$COUNTERS
			RECORDS_THEN=$RECORDS_ID
		elif is_loaded; then
			unseen
		else # perhaps unloaded amid the look
			can_read_config || exit 2
			screen=$(not_loaded)
			THEN='' COUNTERS_THEN=''
		fi
		lines=$(tput lines 2>/dev/null || echo 24)
		printf '\033[H\033[J' || exit 2
		head -n $((lines - 1)) < <(say "$screen") || exit 2
		# The reader of a list may go on for a while when its time is up (read_pin).
		now
		took=$(((NOW - began) / 1000))
		((took <= LIST_SECONDS)) || took=$LIST_SECONDS # it was stopped meanwhile
		sleep "$((took < LIST_SECONDS / 2 ? WATCH : WATCH + 10 * took))"
	done
}

# A command has failed, and may have said why, or not.
unseen() {
	warn "cannot show what is loaded: a command that was needed for that has failed"
	exit 2
}

# put TEXT.  Where nobody can read it, the exit status does not tell what is loaded.
put() {
	printf '%s\n' "$1" || exit 2
}

main() {
	local text look=look show=show none=not_loaded
	parse "$@"
	((!JSON)) || show=show_json none=json_of_none
	((!PROMETHEUS)) || look=look_at_maps show=show_metrics none=metrics_of_none
	[[ $EUID -eq 0 ]] || {
		warn "needs root: sudo $0"
		exit 2
	}
	has_bpftool && check_bpffs || exit 2
	trap unseen ERR # 1 is for what is not loaded
	COUNTER_TEXTS=$(counter_texts)
	trap 'end_lists || true' EXIT
	if ((WATCH)); then
		watch
	elif ! is_loaded || ! "$look"; then
		! is_loaded || unseen
		can_read_config || exit 2
		put "$("$none")"
		exit 1
	fi
	text=$(set -e && "$show")
	put "$text"
}

main "$@"
