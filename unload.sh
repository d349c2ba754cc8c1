#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Switch the pair off, take every connection that has nothing unread out of the
# map, detach and unpin.  Works from any partial state, and also ends what an
# earlier run had to leave behind.
#
# First each direction goes back to TCP, unless a thread waits in a recv on its socket.  Once
# the switch is off, it goes back in any case, at the first send that finds its reader's queue
# empty.  From then on nothing is redirected to an empty queue: a connection that is idle in two
# looks in a row can be taken out.
#
# Any user chooses how many connections, processes and namespaces there are, when a connection is
# closed, and how long a socket is locked.  So each loop looks at its end first, and what needs a
# lock has a process of its own, which nobody waits for.

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
# shellcheck source=lib/taking_out.sh
. "$HERE/lib/taking_out.sh"
# shellcheck source=lib/release.sh
. "$HERE/lib/release.sh"
# shellcheck source=lib/lingering.sh
. "$HERE/lib/lingering.sh"
# shellcheck source=lib/left_behind.sh
. "$HERE/lib/left_behind.sh"

TIMEOUT=10    # seconds to wait for what is unread
CGROUP=       # where to look for programs without pins, besides the root
HELD_MS=700   # for the last sockets to get back what they had before
MAX_SHOWN=100 # connections

usage() {
	cat <<-END
		unload.sh - end what load.sh has begun, without losing a byte

		SYNOPSIS
		    sudo ./unload.sh [--timeout SECONDS] [--cgroup PATH]
		    ./unload.sh --help | --version

		DESCRIPTION
		    Takes every connection off the bypass, detaches the programs, and removes them.  Open
		    connections continue over plain TCP.  Works from any partial state.

		OPTIONS
		    --timeout SECONDS  how long to wait for programs to read what they have been sent;
		                       default: $TIMEOUT.  Connections that still hold unread bytes then
		                       are listed and left alone.  A process in the background takes them
		                       off the bypass once they are read.  The rest takes a few seconds,
		                       some 15 with 30,000 connections, whatever programs do.
		    --cgroup PATH      detach from this cgroup as well; needed only when the pins in
		                       $BPFFS, which tell where load.sh attached, are lost
		    --help             show this text

		EXIT STATUS
		    0  unloaded, or nothing was loaded
		    1  a step failed
		    2  an argument is wrong

		SEE ALSO
		    status.sh lists the connections that are on the bypass.
	END
}

parse() {
	while [[ $# -gt 0 ]]; do
		case $1 in
		--timeout | --cgroup)
			[[ $# -ge 2 ]] || usage_error "$1 needs an argument"
			;;&
		--timeout)
			[[ $2 =~ ^[0-9]{1,5}$ ]] || usage_error "--timeout: not a number of seconds: $(shown "$2")"
			TIMEOUT=$((10#$2))
			shift
			;;
		--cgroup)
			check_cgroup "$1" "$2"
			CGROUP=$2
			shift
			;;
		*) help_or_error "$1" ;;
		esac
		shift
	done
}

DONE=0      # steps that changed something
FAILED=0    # steps that did not succeed
KEEP_PINS=0 # 1: what is pinned must be found again

# try COMMAND...: a step that is needed.
try() {
	if cmd "$@"; then
		DONE=$((DONE + 1))
	else
		failed "failed: $*"
	fi
}

# attempt COMMAND...: a step that may not be needed; it fails then.
attempt() {
	cmd -t "$@" || return
	DONE=$((DONE + 1))
}

# failed MESSAGE...: what bpftool has not done, or does not tell.
failed() {
	warn "$@"
	FAILED=$((FAILED + 1))
}

# switch_is STATE MAP, and switch_to STATE MAP: of struct sock_config.
switch_is() {
	local state=$1 values
	shift
	read -ra values < <(config_of "$@") && [[ ${values[AT_STATE]} -eq $state ]]
}

switch_to() {
	local state=$1 values said
	shift
	[[ $# -gt 0 ]] || return 0
	said=$(config_of "$@") || {
		failed "bpftool cannot read the switch: map $*"
		return 0
	}
	[[ -n $said ]] || return 0 # no map of ours
	read -ra values < <(say "$said")
	[[ ${values[AT_STATE]} -ne $OFF && ${values[AT_STATE]} -ne $state ]] || return 0
	values[AT_STATE]=$state
	if set_config "${values[@]}" "$@"; then
		DONE=$((DONE + 1))
	else
		failed "bpftool cannot write the switch: map $*"
	fi
}

# ---- the steps -------------------------------------------------------------

# map_of NAME: a map of the pinned programs, also when its own pin is lost, or is something else.
# Fails where bpftool does not tell.
map_of() {
	local program id said
	if said=$(bpftool_shows -j map show pinned "$BPFFS/$1" 2>&1); then
		if [[ $said == *"\"name\":\"${1:0:15}\""* ]]; then
			say "pinned $BPFFS/$1"
			return
		fi
	elif is_pin "$BPFFS/$1" && [[ $said != *"incorrect object type"* ]]; then
		return 1
	fi
	for program in "$SOCKOPS_PIN" "$BYPASS_PIN"; do
		if id=$(map_id "$1" pinned "$program"); then
			say "id $id"
			return
		fi
	done
}

# can_ask: does bpftool tell anything?  It is asked about what is pinned, if anything is.  A policy
# may allow programs alone: so the map that has the switch must be readable, too, unless its pin is
# something else.
can_ask() {
	local pin pins=0 said
	if is_pin "$CONFIG_PIN" && ! said=$(bpftool_shows map show pinned "$CONFIG_PIN" 2>&1); then
		[[ $said == *"incorrect object type"* ]] || return
	fi
	for pin in "prog pinned $SOCKOPS_PIN" "prog pinned $BYPASS_PIN" "map pinned $CONFIG_PIN" \
		"map pinned $MAP_PIN"; do
		is_pin "${pin##* }" || continue
		((++pins))
		# shellcheck disable=SC2086 # words
		[[ -z $(id_of $pin) ]] || return 0
	done
	((!pins)) && all_of prog >/dev/null
}

LOADED_FOR= # the cgroup that load.sh has attached to
UNSEEN=     # or its number, if it was removed, or cannot be seen
WHY_UNSEEN="cannot be seen from here; where it can"

# detach_or_keep CGROUP TYPE PIN
detach_or_keep() {
	is_pin "$3" || return 0
	if detach_pin "$@"; then
		DONE=$((DONE + 1))
	else
		failed "bpftool cannot detach $3"
		KEEP_PINS=1
	fi
}

# detach_pinned [MAP-OF-CONFIG]: what is pinned, from the cgroup that this map names, which is then
# LOADED_FOR, or UNSEEN.  What cannot be read keeps its pins.
detach_pinned() {
	local values cgroup pin said=
	[[ $# -eq 0 ]] || said=$(config_of "$@") || {
		KEEP_PINS=1
		return 0
	}
	read -ra values < <(say "$said")
	[[ -n ${values[AT_CGROUP]:-} ]] || return 0
	cgroup=$(cgroup_path "${values[AT_CGROUP]}") ||
		WHY_UNSEEN="was not found within some seconds; to name it, --cgroup PATH, or to try again"
	[[ -n $cgroup ]] || {
		UNSEEN=${values[AT_CGROUP]}
		return 0
	}
	for pin in "$SOCKOPS_PIN" "$NEW_SOCKOPS_PIN"; do
		detach_or_keep "$cgroup" sock_ops "$pin"
	done
	for pin in "${GUARD_DIRS[@]/%//${GUARD_PROGRAMS[0]}}" \
		"${GUARD_DIRS[@]/%//${GUARD_PROGRAMS[1]}}"; do
		detach_or_keep "$cgroup" lsm_cgroup "$pin"
	done
	LOADED_FOR=$cgroup
}

# Ours on a cgroup, whose pins are lost.
detach_unpinned() {
	local cgroup=$1 id type ours config
	# Where what is attached cannot be seen, every program is tried: detaching
	# fails where it was not.
	ours=$(ours_on "$cgroup") || ours=$(program_ids "$SOCKOPS" | sed 's/$/ sock_ops/' | only_ours)
	[[ -n $ours ]] || return 0
	while read -r id type; do
		attempt bpftool cgroup detach "$cgroup" "$type" id "$id" || continue
		if config=$(map_id "$CONFIG" id "$id"); then
			switch_to $OFF id "$config"
		fi
	done <<<"$ours"
	if ours=$(ours_on "$cgroup") && [[ -n $ours ]]; then
		failed "still attached to $(shown "$cgroup"): $(cut -d ' ' -f 1 <<<"$ours" | paste -sd ' ')"
	fi
}

unpin() {
	local pin files=()
	while read -r pin; do
		if [[ -d $pin ]]; then
			try rm -r "$pin"
		else
			files+=("$pin")
		fi
	done < <(pins)
	((!${#files[@]})) || try rm "${files[@]}"
	unpin_of_killed "$BPFFS/$STATUS"-* "$BPFFS/$OPEN"-*
}

# unpin_of_killed PIN...: of scripts that were killed.
unpin_of_killed() {
	local pin files=()
	for pin; do
		if [[ -f $pin && ! -L $pin && ${pin##*-} =~ ^[0-9]+$ ]] && ! has_maker "$pin"; then
			files+=("$pin")
		fi
	done
	((!${#files[@]})) || try rm "${files[@]}"
}

# pin_again SOCKOPS CONFIG: what is still attached, so that a later unload.sh can detach it: its
# cgroup cannot be seen, or bpftool has failed.  Of a cgroup that was removed nothing is left.
pin_again() {
	local where="bpftool could not detach it; to try again"
	[[ -n $1 && -n $2 && ! -e $SOCKOPS_PIN ]] || return 0
	! is_gone "$1" || return 0
	[[ -z $UNSEEN ]] || where="the cgroup with the inode number $UNSEEN $WHY_UNSEEN"
	cmd bpftool prog pin id "$1" "$SOCKOPS_PIN" || true
	cmd bpftool map pin id "$2" "$CONFIG_PIN" || true
	failed "switched off, but still attached: $where: sudo $0"
}

# take_apart MAP-OF-CONFIG: detach and unpin all that there is.
take_apart() {
	local cgroup sockops config=
	local -A tried=()
	sockops=$(id_of prog pinned "$SOCKOPS_PIN")
	[[ $# -eq 0 ]] || config=$(id_of map "$@")
	detach_pinned "$@"
	for cgroup in "$LOADED_FOR" "$(cgroup2_root)" "$CGROUP"; do
		[[ -n $cgroup && -z ${tried[$cgroup]:-} ]] || continue
		tried[$cgroup]=1
		detach_unpinned "$cgroup"
	done
	attempt bpftool prog detach pinned "$BYPASS_PIN" msg_verdict pinned "$MAP_PIN" ||
		attempt bpftool prog detach pinned "$NEW_BYPASS_PIN" msg_verdict pinned "$MAP_PIN" || true
	if ((KEEP_PINS)) || ! can_ask; then
		KEEP_PINS=1
		failed "what is pinned stays, since bpftool has failed; to try again: sudo $0"
		return
	fi
	unpin
	pin_again "$sockops" "$config"
}

# describe: lines about those that connections() prints.
describe() {
	of_connections '
		{
			text = unread("client") unread("server")
			print "  " $at["client"] " -> " $at["server"] \
				(text ? text : ($at["idle"] ? ", idle" : ", busy") inside("client") inside("server"))
		}
		function unread(end,    since) {
			if (!($at[end "_unread"] + 0))
				return ""
			since = $at[end "_unread_ms"]
			return ", " $at[end "_unread"] " bytes unread by the " end " (" $at[end "_program"] ")" \
				(since == "-" ? "" : " for " int(since / 1000) " s")
		}
		function inside(end) {
			return $at[end "_held"] + 0 ? ", the " end " (" $at[end "_program"] ") is inside a call" : ""
		}'
}

# report: how many connections there were, and those that had to stay.
report() {
	local left off lines OPEN_SOCKETS='' # one list for all that is said here
	left=$(count "$REMAINING")
	off=$((FOUND - left))
	((!REMAINING_IS_CUT)) || off=0 # how many is not known
	if ((FAILED)); then
		warn "$FAILED of $((DONE + FAILED)) steps failed, see above"
	elif ((DONE)); then
		say "unloaded"
	else
		say "nothing is loaded"
	fi
	((off <= 0)) || say "connections taken off the bypass: $off"
	if [[ -n $REMAINING || ${#HELD[@]} -gt 0 ]]; then
		OPEN_SOCKETS=$(iterate "$OPEN" 2>/dev/null) || true
	fi
	if [[ -n $REMAINING ]]; then
		say "still on the bypass when the time was up:"
		lines=$(say "$REMAINING" | sed -n "1,${MAX_SHOWN}p" | with_programs | describe)
		say "$lines"
		((left <= MAX_SHOWN)) || say "  and $((left - MAX_SHOWN)) more"
		((!REMAINING_IS_CUT)) || say "  and perhaps others: there was no time to list all"
	fi
	((!NOT_LOOKED_AT)) ||
		say "no time was left for $NOT_LOOKED_AT loads that an earlier unload.sh had to leave;" \
			"to go on: sudo $0"
	((!${#HELD[@]} && !${#REST[@]})) || held_up
	((!UNENTERED)) ||
		say "network namespaces that cannot be entered: $UNENTERED; sockets in them keep the keepalive" \
			"of the bypass"
}

# end_bypass END MAP-ID RECORDS CONFIG MAP: take all connections of a load off the bypass; a CONFIG
# and a MAP are two words each.  RECORDS: the id of its map of records, if that has its pin.
end_bypass() {
	local end=$1 map_id=$2 records=$3 config=("${@:4:2}") map=("${@:6:2}") status=0
	pin_release "$map_id"
	if ! switch_is $OFF "${config[@]}"; then
		see_connections "${map[@]}" || true # to count them: those that talk soon leave by themselves
		switch_to $GOING_OFF "${config[@]}"
		let_them_go "$end" "${map[@]}"
	fi
	switch_to $OFF "${config[@]}"
	# While it is on, a message could be on its way to an idle socket.
	if ! switch_is $OFF "${config[@]}"; then
		failed "the bypass was not switched off: connections stay on it"
		KEEP_PINS=1
		REMAINING+=${REMAINING:+$'\n'}$SEEN
		return
	fi
	take_out "$end" "${map[@]}" || status=$?
	case $status in
	1) STAY+=("$map_id") ;;
	2)
		FAILED=$((FAILED + 1))
		FOUND=0 # how many have gone is not known
		;;
	esac
	release_taken "$map_id" "$records" "$end"
}

main() {
	local bypass config map map_id='' end said
	parse "$@"
	need_root
	has_bpftool && check_bpffs || exit 1
	trap '' PIPE # a reader that goes away stops nothing
	one_at_a_time
	trap end_lists EXIT

	can_ask || die "bpftool does not tell what is loaded; nothing has changed"
	bypass=$(id_of prog pinned "$BYPASS_PIN")
	said=$(map_of "$CONFIG") || die "bpftool does not tell what is loaded; nothing has changed"
	read -ra config < <(say "$said") || true
	said=$(map_of "$MAP") || die "bpftool does not tell what is loaded; nothing has changed"
	read -ra map < <(say "$said") || true
	now
	end=$((NOW + TIMEOUT * 1000))
	LIST_END=$((end + LIST_SECONDS * 1000))

	[[ ${#config[@]} -eq 0 ]] || LOADED_LAYOUT=$(layout_of "${config[@]}")
	if [[ ${#map[@]} -gt 0 && ${#config[@]} -gt 0 ]]; then
		map_id=$(id_of map "${map[@]}")
		[[ -n $map_id ]] || die "bpftool does not tell what is loaded; nothing has changed"
		PINNED_LIST[$map_id]=$(list_path "$ITERATES" "$STATUS" "${map[@]}")
		hold_lists "${map[@]}"
		end_bypass "$end" "$map_id" "$(id_of map pinned "$RECORD_PIN")" "${config[@]}" "${map[@]}"
	else
		switch_to $OFF "${config[@]}"
	fi
	take_apart "${config[@]}"
	end_all_left_behind "$end" "$bypass" "$map_id"
	resume_releases "$end"
	unpin_of_killed "$BYPASS_PIN"-* "$BPFFS/$RELEASE"-* # by which it has found some
	now
	wait_for_held "$((NOW + HELD_MS))"

	report
	linger
	if [[ -z $REMAINING && ! -e $BYPASS_PIN ]] && ! is_gone "$bypass"; then
		say "a program stays in the kernel until threads that wait in a recv have received something"
	fi
	((FAILED == 0))
}

main "$@"
