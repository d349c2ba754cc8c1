#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Switch the pair off, take every connection out of the map that has nothing
# unread, detach and unpin.  Works from any partial state, and also ends what an
# earlier run had to leave behind.
#
# First directions are let go of where that disturbs no thread that waits in a
# recv.  Once off, each goes back to TCP at its first send that finds its reader's
# queue empty, and nothing is redirected to an empty queue any more: a connection that
# is idle in two looks in a row can be taken out.

set -euo pipefail
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=lib.sh
. "$HERE/lib.sh"

TIMEOUT=10   # seconds to wait for what is unread
CGROUP=      # where to look for programs without pins, besides the root
LINGER=86400 # seconds that the process in the background waits at most

usage() {
	cat <<-END
		unload.sh - end what load.sh has begun, without losing a byte

		SYNOPSIS
		    sudo ./unload.sh [--timeout SECONDS] [--cgroup PATH]
		    ./unload.sh --help

		DESCRIPTION
		    Takes every connection off the bypass, detaches the programs, and removes them.  Open
		    connections continue over plain TCP.  Works from any partial state.

		OPTIONS
		    --timeout SECONDS  how long to wait for programs to read what they have been sent;
		                       default: $TIMEOUT.  Connections that still hold unread bytes then
		                       are listed and left alone.  A process in the background takes them
		                       off the bypass once they are read.
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
			[[ $2 =~ ^[0-9]{1,5}$ ]] || usage_error "--timeout: not a number of seconds: '$2'"
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

DONE=0   # steps that changed something
FAILED=0 # steps that did not succeed

# try COMMAND...: a step that is needed.
try() {
	if cmd "$@"; then
		DONE=$((DONE + 1))
	else
		warn "failed: $*"
		FAILED=$((FAILED + 1))
	fi
}

# attempt COMMAND...: one that may not be, and fails then.
attempt() {
	cmd -t "$@" || return
	DONE=$((DONE + 1))
}

# switch_is STATE MAP, and switch_to STATE MAP: of struct sock_config.
switch_is() {
	local state=$1 values
	shift
	read -ra values < <(config_of "$@") && [[ ${values[1]} -eq $state ]]
}

switch_to() {
	local state=$1 values
	shift
	read -ra values < <(config_of "$@") || return 0 # no map of ours
	[[ ${values[1]} -ne $OFF && ${values[1]} -ne $state ]] || return 0
	if set_config "${values[0]}" "$state" "${values[2]}" "${values[3]}" "${values[4]}" "$@"; then
		DONE=$((DONE + 1))
	else
		FAILED=$((FAILED + 1))
	fi
}

# ---- taking connections out ------------------------------------------------

# Often at first, when most are idle; later for programs that take their time.
pause_after() {
	if (($1 < 2)); then
		sleep 0.05
	elif (($1 < 15)); then
		sleep 0.5
	else
		sleep 5
	fi
}

# count LINES: how many; there are none in an empty string.
count() {
	grep -c . <<<"$1" || true
}

# connections_now MAP: how many.
connections_now() {
	count "$(connections "$@" 2>/dev/null || true)"
}

# let_them_go SECONDS MAP: until all are idle in two looks in a row (an upload may
# pause), for so long at the most.
let_them_go() {
	local start=$SECONDS end=$((SECONDS + $1)) lines idle=0
	shift
	while ((SECONDS < end)) && lines=$(connections "$@" 2>/dev/null); do
		if of_connections 'NF && !$at["idle"] { exit 1 }' <<<"$lines"; then
			((++idle < 2)) || return 0
		else
			idle=0
		fi
		pause_after $((SECONDS - start))
	done
}

# release_path MAP-ID: where the iterator is pinned that gives the sockets of this map back what they
# had.
release_path() {
	say "$BPFFS/$RELEASE-$1-$ITERATES"
}

# pin_release MAP-ID.  Kernels before 5.15 refuse it: sockets keep the keepalive there.  Not echoed,
# as all that serves unload.sh itself and is gone at its end.
pin_release() {
	# Without its pin libbpf would make a map of records anew.
	[[ ! -e $RECORD_PIN ]] ||
		cmd -q bpftool iter pin "$HERE/$RELEASE.o" "$(release_path "$1")" >/dev/null 2>&1 || true
}

# unpin_release MAP-ID...
unpin_release() {
	local id
	for id; do
		cmd -q rm -f "$(release_path "$id")"
	done
}

# release MAP-ID: sockets that were taken out get back what they had before
# (sock_ops_release.c).  Not echoed: it is done after each batch, in each namespace.
release() {
	local pin
	pin=$(release_path "$1")
	[[ ! -e $pin ]] || cmd -q in_each_namespace cat "$pin" >/dev/null 2>&1
}

# idle_keys: of the sockets of idle connections, of what connections() prints.
idle_keys() {
	of_connections '$at["idle"] { print $at["client_key"] "\n" $at["server_key"] }' | sed '/^-$/d' | sort
}

# take_out SECONDS MAP-ID MAP: until the map is empty, or for so long.  Fails with 1 and prints the
# connections that are left, or with 2 where they cannot be seen.
take_out() {
	local start=$SECONDS end=$((SECONDS + $1)) map_id=$2 round=0 unseen=0 lines idle before='' both
	shift 2
	while lines=$(connections "$@" 2>/dev/null); do
		if [[ -z $lines ]] && map_is_empty "$@"; then
			release "$map_id" # what an unload.sh that was killed has taken out
			return 0
		fi
		idle=$(idle_keys <<<"$lines")
		both=$(comm -12 <(say "$before") <(say "$idle") | sed '/^$/d')
		before=$idle
		if [[ -n $both ]]; then
			delete_keys "$@" <<<"$both"
			release "$map_id"
		elif [[ -z $lines ]]; then
			((++unseen < 20)) || break # one that is being closed is soon gone
		elif ((SECONDS >= end && ++round > 3)); then
			say "$lines"
			return 1
		fi
		pause_after $((SECONDS - start))
	done
	if ! bpftool map show "$@" >/dev/null 2>&1; then
		return 0 # with its last socket an unpinned map goes as well
	fi
	connections "$@" >/dev/null || true # says why
	warn "what is left in the map cannot be seen: connections stay in it until they are closed"
	return 2
}

STAY=() # ids of maps that are not empty

# taken_out STATUS MAP-ID: the status is take_out's.
taken_out() {
	if (($1 == 0)); then
		unpin_release "$2"
		return
	fi
	STAY+=("$2")
	(($1 == 1)) || FAILED=$((FAILED + 1))
}

# delete_keys MAP: those that it reads.  A socket that was closed meanwhile ends the batch: the
# rest is for the next round.  Not echoed: thousands of keys, whose number is said at the end.
delete_keys() {
	awk -v map="$*" '{ gsub(/../, " &"); print "map delete " map " key hex" $0 }' |
		cmd -q bpftool batch file - >/dev/null 2>&1 || true
}

# take_out_earlier SECONDS PROGRAM-ID MAP-ID: the same as take_out for what an earlier load
# has left, whose map of records has no pin.
take_out_earlier() {
	local records
	if records=$(map_id sock_ops_record id "$2") && [[ ! -e $RECORD_PIN ]] &&
		cmd -q bpftool map pin id "$records" "$RECORD_PIN" 2>/dev/null; then
		pin_release "$3"
		cmd -q rm "$RECORD_PIN"
	fi
	take_out "$1" "$3" id "$3"
}

describe() {
	of_connections '
		{
			text = unread("client") unread("server")
			print "  " $at["client"] " -> " $at["server"] (text ? text : ", busy")
		}
		function unread(end,    since) {
			if (!($at[end "_unread"] + 0))
				return ""
			since = $at[end "_unread_ms"]
			return ", " $at[end "_unread"] " bytes unread by the " end " (" $at[end "_program"] ")" \
				(since == "-" ? "" : " for " int(since / 1000) " s")
		}'
}

# linger MAP-ID...: in the background, for what is left; it ends when the maps are empty.
linger() {
	local id fd from=$ITERATES
	# Maps without a pin are to be had by id, which takes CAP_SYS_ADMIN.
	if ! bpftool map show id "$1" >/dev/null 2>&1; then
		say "they stay until they are closed, or unload.sh is run with CAP_SYS_ADMIN"
		unpin_release "$@"
		return
	fi
	(
		trap '' HUP
		# Before the lock is given back: the next one clears the pins of processes that have ended.
		ITERATES=$BASHPID
		for id; do
			cmd -q mv "$BPFFS/$RELEASE-$id-$from" "$(release_path "$id")" || true
		done
		for fd in /proc/self/fd/*; do # the lock, and what the caller has open
			fd=${fd##*/}
			((fd <= 2)) || exec {fd}>&-
		done
		for id; do
			take_out "$LINGER" "$id" id "$id" || true
		done
		end_iterators
		unpin_release "$@"
	) </dev/null >/dev/null 2>&1 &
	say "process $! takes them off the bypass once they are read"
}

# ---- the steps -------------------------------------------------------------

# map_of NAME: a map of the pinned programs, also when its own pin is lost.
map_of() {
	local program
	if [[ -e $BPFFS/$1 ]]; then
		say "pinned $BPFFS/$1"
		return
	fi
	for program in "$SOCKOPS_PIN" "$BYPASS_PIN"; do
		{ map_id "$1" pinned "$program" || true; } | sed 's/^/id /'
	done | sed -n 1p
}

# The pinned program, from where load.sh has attached it.
detach_pinned() {
	local values cgroup pin
	read -ra values < <(config_of "$@") || true
	[[ -n ${values[0]:-} && -e $SOCKOPS_PIN ]] || return 0
	cgroup=$(cgroup_path "${values[0]}")
	[[ -n $cgroup ]] || return 0 # removed, and the attachment with it
	attempt bpftool cgroup detach "$cgroup" sock_ops pinned "$SOCKOPS_PIN" || true
	for pin in "${GUARD_PINS[@]}"; do
		[[ ! -e $pin ]] || attempt bpftool cgroup detach "$cgroup" lsm_cgroup pinned "$pin" || true
	done
	detach_unpinned "$cgroup"
}

# Ours on a cgroup, whose pins are lost.
detach_unpinned() {
	local cgroup=$1 id type ours config
	# Where what is attached cannot be seen, every program is tried: detaching
	# fails where it was not.
	ours=$(ours_on "$cgroup") || ours=$(program_ids "$SOCKOPS" | sed 's/$/ sock_ops/' | only_ours)
	while read -r id type; do
		[[ -n $id ]] || continue
		attempt bpftool cgroup detach "$cgroup" "$type" id "$id" || continue
		if config=$(map_id "$CONFIG" id "$id"); then
			switch_to $OFF id "$config"
		fi
	done <<<"$ours"
	if ours=$(ours_on "$cgroup") && [[ -n $ours ]]; then
		warn "still attached to $cgroup: $(cut -d ' ' -f 1 <<<"$ours" | paste -sd ' ')"
		FAILED=$((FAILED + 1))
	fi
}

unpin() {
	local pin
	while read -r pin; do
		if [[ -d $pin ]]; then
			try rm -r "$pin"
		else
			try rm "$pin"
		fi
	done < <(pins)
	for pin in "$BPFFS/$STATUS"-* "$BPFFS/$OPEN"-* "$BPFFS/$RELEASE"-*; do # of scripts that were killed
		if [[ -e $pin && ! -e /proc/${pin##*-} ]]; then
			try rm "$pin"
		fi
	done
}

# rest_of_earlier_loads PINNED-ID: what an earlier unload.sh left behind, or whose pins are
# lost, and that is switched off, as `PROGRAM-ID MAP-ID`; but not the program that is pinned.
# Those that are on serve somebody else's connections.
rest_of_earlier_loads() {
	local id config
	for id in $(program_ids "$BYPASS"); do
		[[ $id != "$1" ]] || continue
		config=$(map_id "$CONFIG" id "$id") || continue # the classic pair, for one
		if switch_is $OFF id "$config"; then
			map_id "$MAP" id "$id" | sed "s/^/$id /" || true
		fi
	done
}

# is_gone PROGRAM-ID
is_gone() {
	local i
	[[ -n $1 ]] || return 0
	for ((i = 0; i < 20; i++)); do # the kernel frees a moment later
		bpftool prog show id "$1" >/dev/null 2>&1 || return 0
		sleep 0.05
	done
	return 1
}

# take_apart MAP-OF-CONFIG: detach and unpin all that there is.
take_apart() {
	local cgroup
	detach_pinned "$@"
	for cgroup in "$(cgroup2_root)" "$CGROUP"; do
		[[ -z $cgroup ]] || detach_unpinned "$cgroup"
	done
	attempt bpftool prog detach pinned "$BYPASS_PIN" msg_verdict pinned "$MAP_PIN" || true
	unpin
}

# report FOUND LEFT: how many connections there were, and lines of those that had to stay.
report() {
	local off=$(($1 - $(count "$2")))
	if ((FAILED)); then
		warn "$FAILED of $((DONE + FAILED)) steps failed, see above"
	elif ((DONE)); then
		say "unloaded"
	else
		say "nothing is loaded"
	fi
	((off <= 0)) || say "connections taken off the bypass: $off"
	if [[ -n $2 ]]; then
		say "still on the bypass, because their programs have not read everything:"
		with_programs <<<"$2" | describe
	fi
}

main() {
	local sockops bypass config map map_id='' end found=0 left='' lines program id status
	parse "$@"
	need_root
	command -v bpftool >/dev/null ||
		die "bpftool is missing; to install it: sudo $HERE/load.sh --install-deps"
	one_at_a_time
	trap end_iterators EXIT

	sockops=$(id_of prog pinned "$SOCKOPS_PIN")
	bypass=$(id_of prog pinned "$BYPASS_PIN")
	read -ra config < <(map_of "$CONFIG") || true
	read -ra map < <(map_of "$MAP") || true
	end=$((SECONDS + TIMEOUT))

	if [[ ${#map[@]} -gt 0 ]]; then
		map_id=$(id_of map "${map[@]}")
		pin_release "$map_id"
		found=$(connections_now "${map[@]}")
		switch_to $GOING_OFF "${config[@]}"
		let_them_go "$TIMEOUT" "${map[@]}"
	fi
	switch_to $OFF "${config[@]}"
	# While it is on, a message could be on its way to an idle socket.
	if switch_is $OFF "${config[@]}" && [[ ${#map[@]} -gt 0 ]]; then
		status=0
		left=$(take_out "$((end - SECONDS))" "$map_id" "${map[@]}") || status=$?
		taken_out "$status" "$map_id"
	else
		unpin_release "$map_id"
	fi
	take_apart "${config[@]}"
	while read -r program id; do
		[[ $id != "$map_id" ]] || continue
		found=$((found + $(connections_now id "$id")))
		status=0
		lines=$(take_out_earlier "$((end - SECONDS))" "$program" "$id") || status=$?
		taken_out "$status" "$id"
		left+=${left:+${lines:+$'\n'}}$lines
	done < <(rest_of_earlier_loads "$bypass")

	report "$found" "$left"
	if [[ -n $left ]]; then
		linger "${STAY[@]}"
	else
		unpin_release "${STAY[@]}" # those that cannot be seen
		if ! is_gone "$bypass" || ! is_gone "$sockops"; then
			say "a program stays in the kernel until threads that wait in a recv have received something"
		fi
	fi
	((FAILED == 0))
}

main "$@"
