# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What an unload leaves to a process in the background: connections that had to stay, and
# sockets that have not got back what they had.  Sourced by unload.sh, after taking_out.sh and
# release.sh.
#
# shellcheck disable=SC2034,SC2153 # names of lists.sh and of common.sh

LINGER=86400 # seconds that such a process waits at most

STAY=()                   # ids of maps that are not empty
declare -A PINNED_LIST=() # of a pinned map, by its id: where this process has its list

# lingers MAP-ID: the process of an earlier unload.sh that goes on with this load.
lingers() {
	local pin
	for pin in "$BPFFS/$STATUS-$1-"* "$BPFFS/$RELEASE-$1-"*; do
		if [[ $pin != *-"$ITERATES" ]] && has_maker "$pin"; then
			say "${pin##*-}"
			return
		fi
	done
	return 1
}

# linger: for what is REMAINING, and where sockets have not got back what they had.  It ends when
# that is done.  One process for each load: any user can keep a connection of each that there ever was.
linger() {
	local id ids go pid
	# Opening a map without a pin, by its id, takes CAP_SYS_ADMIN.
	if [[ ${#STAY[@]} -gt 0 &&
		$(bpftool_shows map show id "${STAY[0]}" 2>&1) == *"not permitted"* ]]; then
		say "they stay until they are closed, or unload.sh is run with CAP_SYS_ADMIN"
		STAY=()
	fi
	mapfile -t ids < <(say_each "${STAY[@]}" "${!REST[@]}" "${HELD[@]%% *}" |
		sed '/^$/d' | sorted -u)
	for id in "${RELEASES[@]}"; do
		[[ " ${ids[*]} " == *" $id "* ]] || unpin_release "$id"
	done
	for id in "${ids[@]}"; do
		if pid=$(lingers "$id"); then
			say "process $pid, of an earlier unload.sh, takes them off the bypass once they are read"
			unpin_release "$id"
			continue
		fi
		exec {go}> >(
			exec >/dev/null 2>&1
			read -r || true # until the pins are there
			exec </dev/null
			finish "$id"
		)
		pid=$!
		pin_for "$pid" "$id"
		exec {go}>&-
		if [[ " ${STAY[*]} " == *" $id "* ]]; then
			say "process $pid takes them off the bypass once they are read"
		else
			say "process $pid gives sockets back what they had"
		fi
	done
}

# pin_for PID MAP-ID: the lists that this process goes on with: the next unload.sh clears the pins
# of processes that have ended.
pin_for() {
	local release open status
	release=$(release_path "$2")
	open=$(list_path "$ITERATES" "$OPEN")
	status=${PINNED_LIST[$2]:-$(list_path "$ITERATES" "$STATUS" id "$2")}
	local BEGUN
	begun "$(<"/proc/$1/stat")"
	[[ ! -e $release ]] || cmd -q mv "$release" "$(list_path "$1" "$RELEASE" id "$2")"
	[[ ! -e $open ]] || cmd -q ln "$open" "$(list_path "$1" "$OPEN")"
	[[ ! -e $status ]] || cmd -q ln "$status" "$(list_path "$1" "$STATUS" id "$2")"
}

# finish MAP-ID
finish() {
	local id=$1 end entry fds=() held=()
	trap '' HUP
	ITERATES=$BASHPID
	begun "$(<"/proc/$ITERATES/stat")"
	LIST_END=0 # nobody waits for it
	hold_more
	for entry in "${HELD[@]}"; do
		if [[ $entry == "$id "* ]]; then
			held+=("$entry")
			entry=${entry#* }
			fds+=("${entry% *}")
		fi
	done
	HELD=("${held[@]}")
	alone "${fds[@]}"
	now
	end=$((NOW + LINGER * 1000))
	release_rest "$id" "$((NOW + 60000))" # any user can make this take for ever
	if [[ " ${STAY[*]} " == *" $id "* ]]; then
		take_out "$end" id "$id" || true
		release_taken "$id" '' "$end"
	fi
	release_rest "$id" "$end"
	wait_for_held "$end"
	end_lists
	unpin_release "$id"
}
