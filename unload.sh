#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Switch the pair off, take every connection out of the map that has nothing
# unread, detach and unpin.  Works from any partial state, and also ends what an
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
# shellcheck source=lib/cgroups.sh
. "$HERE/lib/cgroups.sh"
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

TIMEOUT=10           # seconds to wait for what is unread
CGROUP=              # where to look for programs without pins, besides the root
HELD_MS=700          # for the last sockets to get back what they had before
LEFT_BEHIND_MS=15000 # for what earlier unloads had to leave: any user can make that many
MAX_SHOWN=100        # connections

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

DONE=0          # steps that changed something
FAILED=0        # steps that did not succeed
NOT_LOOKED_AT=0 # loads that earlier unloads had to leave
KEEP_PINS=0     # 1: what is pinned must be found again

# try COMMAND...: a step that is needed.
try() {
	if cmd "$@"; then
		DONE=$((DONE + 1))
	else
		failed "failed: $*"
	fi
}

# attempt COMMAND...: one that may not be, and fails then.
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
	read -ra values < <(config_of "$@") && [[ ${values[1]} -eq $state ]]
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
	[[ ${values[1]} -ne $OFF && ${values[1]} -ne $state ]] || return 0
	if set_config "${values[0]}" "$state" "${values[2]}" "${values[3]}" "${values[4]}" "$@"; then
		DONE=$((DONE + 1))
	else
		failed "bpftool cannot write the switch: map $*"
	fi
}

# ---- the steps -------------------------------------------------------------

# map_of NAME: a map of the pinned programs, also when its own pin is lost, or is something else.
map_of() {
	local program id
	if [[ $(bpftool_shows -j map show pinned "$BPFFS/$1" 2>/dev/null) == *"\"name\":\"${1:0:15}\""* ]]; then
		say "pinned $BPFFS/$1"
		return
	fi
	for program in "$SOCKOPS_PIN" "$BYPASS_PIN"; do
		if id=$(map_id "$1" pinned "$program"); then
			say "id $id"
			return
		fi
	done
}

# can_ask: whether bpftool tells anything, of what is pinned where there is any.  A policy may allow
# programs alone: the map that has the switch must be there for it, too, unless it is something else.
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

# The pinned program, from there.
detach_pinned() {
	local values cgroup pin said=
	[[ $# -eq 0 ]] || said=$(config_of "$@") || {
		KEEP_PINS=1
		return 0
	}
	read -ra values < <(say "$said")
	[[ -n ${values[0]:-} && -e $SOCKOPS_PIN ]] || return 0
	cgroup=$(cgroup_path "${values[0]}") || WHY_UNSEEN="was not found within 5 s; to try again"
	[[ -n $cgroup ]] || {
		UNSEEN=${values[0]}
		return 0
	}
	attempt bpftool cgroup detach "$cgroup" sock_ops pinned "$SOCKOPS_PIN" || true
	[[ ! -e $NEW_SOCKOPS_PIN ]] || attempt bpftool cgroup detach "$cgroup" sock_ops pinned \
		"$NEW_SOCKOPS_PIN" || true
	for pin in "${GUARD_PINS[@]}" "${GUARD_PINS[@]/#"$GUARD_DIR"/$NEW_GUARD_DIR}"; do
		[[ ! -e $pin ]] || attempt bpftool cgroup detach "$cgroup" lsm_cgroup pinned "$pin" || true
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
	# Of scripts that were killed.
	for pin in "$BPFFS/$STATUS"-* "$BPFFS/$OPEN"-* "$BPFFS/$RELEASE"-*; do
		if [[ -f $pin && ! -L $pin && ${pin##*-} =~ ^[0-9]+$ ]] && ! has_maker "$pin"; then
			files+=("$pin")
		fi
	done
	((!${#files[@]})) || try rm "${files[@]}"
}

# left_behind PINNED-ID: loads that no pin leads to, as `PROGRAM-ID MAP-ID CONFIG-ID RECORDS-ID`:
# those that an earlier unload.sh had to leave, or whose pins are lost, but not the pinned
# program's.  Fails where bpftool does.  A load whose sock_ops program is in the kernel is left out:
# it serves somebody else's connections, or another script, perhaps in a container, is at work on
# it.
left_behind() {
	{ all_of prog && all_of map; } | sed 's/{"id":/\n&/g' | awk -F '[:,"]+' -v pinned="$1" \
		-v sockops="$SOCKOPS" \
		-v bypass="${BYPASS:0:15}" -v map="$MAP" -v config="$CONFIG" '
		# {"id":N,"type":"TYPE","name":"NAME", and of a program "map_ids":[N,N,...]
		!/^\{"id":[0-9]+,"type":"[a-z_]+","name":"/ { next }
		!match($0, /"map_ids":\[[0-9,]+\]/) {
			name[$3] = $7
			next
		}
		{ maps[$3] = substr($0, RSTART + 11, RLENGTH - 12) }
		$5 == "sock_ops" && $7 == sockops { attached[$3] }
		$5 == "sk_msg" && substr($7, 1, 15) == bypass && $3 != pinned { left[$3] }
		END {
			for (id in attached)
				serving[of(id, config)]
			for (id in left)
				if (of(id, map) && of(id, config) && !(of(id, config) in serving))
					print id, of(id, map), of(id, config), of(id, "sock_ops_record")
		}
		function of(program, wanted,    id, i) {
			for (i = split(maps[program], id, ","); i; i--)
				if (name[id[i]] == wanted)
					return id[i]
			return ""
		}'
}

# is_gone PROGRAM-ID.  Also if it may not be asked (without CAP_SYS_ADMIN), but not if bpftool
# fails.
is_gone() {
	local i said
	[[ -n $1 ]] || return 0
	for ((i = 0; i < 20; i++)); do # the kernel frees a moment later
		said=$(bpftool_shows prog show id "$1" 2>&1) ||
			[[ $said != *"No such file"* && $said != *"Operation not permitted"* ]] || return 0
		sleep 0.05
	done
	return 1
}

# pin_again SOCKOPS CONFIG: what is still attached, so that a later unload.sh can detach it: its
# cgroup cannot be seen, or bpftool has failed.  Of a cgroup that was removed nothing is left.
pin_again() {
	local where="bpftool could not detach it; to try again"
	[[ -n $1 && -n $2 ]] || return 0
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
	left=$(count "$LEFT")
	off=$((FOUND - left))
	if ((FAILED)); then
		warn "$FAILED of $((DONE + FAILED)) steps failed, see above"
	elif ((DONE)); then
		say "unloaded"
	else
		say "nothing is loaded"
	fi
	((off <= 0)) || say "connections taken off the bypass: $off"
	if [[ -n $LEFT || ${#HELD[@]} -gt 0 ]]; then
		OPEN_SOCKETS=$(iterate "$OPEN" 2>/dev/null) || true
	fi
	if [[ -n $LEFT ]]; then
		say "still on the bypass when the time was up:"
		lines=$(say "$LEFT" | sed -n "1,${MAX_SHOWN}p" | with_programs | describe)
		say "$lines"
		((left <= MAX_SHOWN)) || say "  and $((left - MAX_SHOWN)) more"
	fi
	((!NOT_LOOKED_AT)) || say "loads that an earlier unload.sh had to leave, for which there was no time:" \
		"$NOT_LOOKED_AT; to go on: sudo $0"
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
		LEFT+=${LEFT:+$'\n'}$SEEN
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

# end_left_behind END PROGRAM-ID MAP-ID CONFIG-ID RECORDS-ID: the same for a load whose maps have no
# pins.
end_left_behind() {
	LOADED_LAYOUT=$(layout_of id "$4")
	if [[ $LOADED_LAYOUT != "$LAYOUT" ]]; then
		say "left behind by another version (program $2): what has unread bytes stays on the bypass until" \
			"it is closed, or the unload.sh of that version is run"
		switch_to $OFF id "$4"
		return
	fi
	if lingers "$3" >/dev/null && see_connections id "$3" &&
		[[ -n $SEEN && -z $(say "$SEEN" | idle_keys) ]]; then
		LEFT+=${LEFT:+$'\n'}$SEEN
		STAY+=("$3")
		return
	fi
	if switch_is $ON id "$4"; then
		say "the pair was switched on, but attached nowhere (program $2)"
	fi
	if [[ ! -e $RECORD_PIN ]] && cmd -q bpftool map pin id "$5" "$RECORD_PIN" 2>/dev/null; then
		end_bypass "$1" "$3" "$5" id "$4" id "$3"
		cmd -q rm "$RECORD_PIN"
	else
		end_bypass "$1" "$3" '' id "$4" id "$3"
	fi
}

main() {
	local bypass config map map_id='' end program id records behind
	parse "$@"
	need_root
	command -v bpftool >/dev/null ||
		die "bpftool is missing; to install it: sudo $HERE/load.sh --install-deps"
	check_bpffs || exit 1
	trap '' PIPE # who does not read on stops nothing
	one_at_a_time
	trap end_lists EXIT

	can_ask || die "bpftool does not tell what is loaded; nothing has changed"
	bypass=$(id_of prog pinned "$BYPASS_PIN")
	read -ra config < <(map_of "$CONFIG") || true
	read -ra map < <(map_of "$MAP") || true
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
	behind=$(left_behind "$bypass") || failed "bpftool does not tell what earlier unloads had to leave"
	while read -r program id config records; do
		[[ -n $id && $id != "$map_id" ]] || continue
		if ! has_time "$((end + LEFT_BEHIND_MS))"; then
			NOT_LOOKED_AT=$((NOT_LOOKED_AT + 1))
		else
			end_left_behind "$end" "$program" "$id" "$config" "$records"
		fi
	done < <(say "$behind")
	now
	wait_for_held "$((NOW + HELD_MS))"

	report
	linger
	if [[ -z $LEFT ]] && ((!KEEP_PINS)) && ! is_gone "$bypass"; then
		say "a program stays in the kernel until threads that wait in a recv have received something"
	fi
	((FAILED == 0))
}

main "$@"
