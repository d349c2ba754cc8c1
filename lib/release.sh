# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# How unload.sh gives sockets back what they had before the bypass.  Sourced after taking_out.sh.
#
# The work is that of bpf/sock_ops_release.c, which takes the lock of each socket of a network
# namespace, also of those that were never on the bypass.  A program can hold a lock for as long as
# it likes.  So each namespace has a process of its own, and what is held up is left alone: it goes
# on once the lock is free.
#
# shellcheck disable=SC2034,SC2119,SC2120,SC2153 # arguments and names of unload.sh

RELEASE_MS=1500     # to begin with namespaces, at least, when there is no time left
MAX_HELD=64         # at a time,
MAX_HELD_LATER=1024 # and in the background: any user can take these places for good

HELD=()            # `MAP-ID FD INODE` of those that are at it; FD ends with the process
declare -A REST=() # inodes of namespaces that are still to come, by map id
RELEASES=()        # ids of maps whose iterator pin_release() has pinned
UNENTERED=0        # namespaces that could not be entered

# release_path MAP-ID: where the iterator is pinned that restores the sockets of this map.
release_path() {
	list_path "$ITERATES" "$RELEASE" id "$1"
}

# pin_release MAP-ID.  Kernels before 5.15 refuse it: sockets keep the keepalive there.
pin_release() {
	RELEASES+=("$1")
	# Without its pin libbpf would make a map of records anew.
	[[ ! -e $RECORD_PIN ]] || list_at "$(release_path "$1")" "$RELEASE" || true
}

# unpin_release MAP-ID
unpin_release() {
	cmd -q rm -f "$(release_path "$1")"
}

# due RECORDS: the network namespaces of sockets that were taken out and have not got back what they
# had, by an unload.sh that was killed, too.  RECORDS: the id of their map of records.
due() {
	{ open_sockets 2>/dev/null || true; } | awk -v records="$1" '
		NR == 1 {
			for (i = 1; i <= NF; i++)
				at[$i] = i
			next
		}
		$at["records"] == records && $at["due"] == 1 { print $at["netns"] }'
}

FIND_SECONDS=2 # for the files that lead there, three times,
FIND_LATER=10  # and in the background, where it is tried again
FIND_AGAIN=60  # after so many seconds, then after twice as many, and so on: each look may leave
LATE=0         # processes that cannot be killed; 1: the last one had no time to look for all

# Files that are tried for one namespace: a process may have ended, and its number be another one's.
ENTRANCES=16

# files_to INODE...: lines `INODE FILE` of what may lead to these network namespaces, our own one
# first.  Then by the processes that hold the sockets; only where that is not enough, by all: any
# user can have very many.  Ends with a line `late` where there was no time for these.
files_to() {
	local files missing pids
	files=$(
		stat -L -c '%i %n' /proc/self/ns/net
		bounded "$FIND_SECONDS" bash -c 'exec stat -L -c "%i %n" /run/netns/*' || true
		mapfile -t pids < <(holders "$@")
		[[ ${#pids[@]} -eq 0 ]] ||
			of_processes "$FIND_SECONDS" "$STAT_NETNS" "${pids[@]/#//proc/}" || true
	)
	say "$files"
	missing=$(comm -23 <(say_each "$@" | sorted) <(say "$files" | cut -d ' ' -f 1 | sorted -u))
	[[ -n $missing ]] || return 0
	of_processes "$FIND_SECONDS" "$STAT_NETNS" || (($? != 124)) || say late
}

STAT_NETNS='exec stat -L -c "%i %n" "${@/%//ns/net}"'

# holders INODE...: processes that have sockets in these network namespaces, ENTRANCES of each.
holders() {
	{ open_sockets 2>/dev/null || true; } | awk -v most="$ENTRANCES" '
		FNR == NR {
			wanted[$1]
			next
		}
		FNR == 1 {
			for (i = 1; i <= NF; i++)
				at[$i] = i
			next
		}
		$at["netns"] in wanted && $at["pid"] + 0 && !seen[$at["netns"], $at["pid"]]++ &&
			n[$at["netns"]]++ < most { print $at["pid"] }' <(say_each "$@") -
}

# entrances INODE...: for each of these network namespaces that has a name or a process a line of
# its number and its ENTRANCES, with tabs between, our own one first; and a last line, `late`, where
# there was no time to look for all.
entrances() {
	files_to "$@" | awk -v most="$ENTRANCES" '
		FNR == NR {
			wanted[$1]
			next
		}
		$1 == "late" { late = $1 }
		$1 in wanted {
			if (!($1 in n))
				order[++namespaces] = $1
			if (n[$1]++ < most)
				files[$1] = files[$1] "\t" substr($0, length($1) + 2)
		}
		END {
			for (i = 1; i <= namespaces; i++)
				print order[i] files[order[i]]
			if (late)
				print late
		}' <(say_each "$@") -
}

# enter_to_read PIN INODE FILE...: by the first of these files that leads to that namespace.
enter_to_read() {
	local pin=$1 inode=$2 file
	for file in "${@:3}"; do
		if [[ $file == /proc/self/* ]]; then
			cat "$pin"
			return
		fi
		! nsenter --net="$file" bash -c '[[ $(stat -L -c %i /proc/self/ns/net) != "$2" ]] || exec cat "$1"
			exit 1' bash "$pin" "$inode" || return 0
	done
	return 1
}

# has_ended MS FD: waits that long for the process behind FD, which writes nothing unless it fails.
has_ended() {
	local fd=$2 said='' status=0
	IFS='' read -r -t "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))" -u "$fd" said || status=$?
	((status <= 128)) || return
	exec {fd}<&-
	[[ -z $said ]] || UNENTERED=$((UNENTERED + 1))
}

# release MAP-ID END INODE...: begins in each of these namespaces, or says in REST where it has not.
release() {
	local map_id=$1 end=$2 pin inode files fd late='' found
	local -A entered=()
	shift 2
	pin=$(release_path "$map_id")
	[[ $# -gt 0 && -e $pin ]] || return 0
	# That they are looked for takes nobody's time.
	mapfile -t found < <(entrances "$@")
	now
	((end >= NOW + RELEASE_MS)) || end=$((NOW + RELEASE_MS))
	while IFS=$'\t' read -r inode files; do
		[[ $inode != late ]] || {
			late=1
			continue
		}
		entered[$inode]=1
		if ((${#HELD[@]} >= MAX_HELD)) || ! has_time "$end"; then
			REST[$map_id]+=" $inode"
			continue
		fi
		# Not echoed: there may be thousands of namespaces.
		exec {fd}< <(
			alone
			exec </dev/null 2>/dev/null # who reads our messages does not wait for it
			IFS=$'\t' read -ra files < <(say "$files")
			enter_to_read "$pin" "$inode" "${files[@]}" >/dev/null || say failed
		)
		has_ended 100 "$fd" || HELD+=("$map_id $fd $inode")
	done < <(say_each "${found[@]}" | sed '/^$/d')
	for inode; do
		if [[ -n ${entered[$inode]:-} ]]; then
			:
		elif [[ -n $late ]]; then
			REST[$map_id]+=" $inode"
			LATE=1
		else
			UNENTERED=$((UNENTERED + 1))
		fi
	done
}

# release_taken MAP-ID RECORDS END: where take_out() has taken sockets out, or another unload.sh.
release_taken() {
	local inodes=() OPEN_SOCKETS='' # one list for all that is asked here
	[[ -e $(release_path "$1") && -n $2${!TAKEN[*]} ]] || return 0
	OPEN_SOCKETS=$(iterate "$OPEN" 2>/dev/null) || true
	mapfile -t inodes < <({
		say_each "${!TAKEN[@]}"
		[[ -z $2 ]] || due "$2"
	} | sed '/^$/d' | sorted -u)
	TAKEN=()
	release "$1" "$3" "${inodes[@]}"
}

# hold_more: in a process of its own, where a file for each may be open, and which has time.
hold_more() {
	FIND_SECONDS=$FIND_LATER
	! ulimit -n $((2 * MAX_HELD_LATER)) 2>/dev/null || MAX_HELD=$MAX_HELD_LATER
}

# wait_for_held END: HELD has those that are at it still.
wait_for_held() {
	local entry fd held=()
	for entry in "${HELD[@]}"; do
		read -r _ fd _ <<<"$entry"
		now
		has_ended "$(($1 > NOW ? $1 - NOW : 10))" "$fd" || held+=("$entry")
	done
	HELD=("${held[@]}")
}

# release_rest MAP-ID END: where release() has not begun, as many at a time as may be held up.
release_rest() {
	local inodes
	while [[ -n ${REST[$1]:-} ]] && has_time "$2"; do
		read -ra inodes < <(say "${REST[$1]}")
		REST[$1]=
		LATE=0
		release "$1" "$2" "${inodes[@]}"
		wait_for_held "$((NOW + 5000))"
		((LATE)) || continue
		sleep "$FIND_AGAIN"
		((FIND_AGAIN *= 2))
	done
}

# resume_releases END: what an unload.sh that was killed, or its process in the background, has left.
# The iterator, and what it had to give back, stay as long as its pin.
resume_releases() {
	local pin id program
	for pin in "$BPFFS/$RELEASE"-*; do
		[[ $pin =~ -([0-9]+)-[0-9]+-[0-9]+$ ]] || continue
		id=${BASH_REMATCH[1]}
		{ is_pin "$pin" && ! has_maker "$pin"; } || continue
		[[ ! -e $(release_path "$id") ]] || continue # of this load: due() has found them all
		cmd -q mv "$pin" "$(release_path "$id")" || continue
		RELEASES+=("$id")
		program=$(number_in prog_id "$(bpftool_shows -j link show pinned "$(release_path "$id")")") || true
		[[ -z $program ]] ||
			release_taken "$id" "$(map_id "$RECORD" id "$program" || true)" "$1"
	done
}

# held_up: of which sockets the locks are held, and how many network namespaces have not had their
# turn.
held_up() {
	local lines rest
	read -ra rest < <(say "${REST[*]}")
	((!${#rest[@]})) || say "network namespaces where sockets get back later what they had before:" \
		"${#rest[@]}"
	((${#HELD[@]})) || return 0
	lines=$(open_sockets | without_process | pair_up | with_programs | of_connections '
		{
			if ($at["client_held"] == 2)
				say("client")
			if ($at["server_held"] == 2)
				say("server")
		}
		function say(end) {
			print "  " $at["client"] " -> " $at["server"] ", the " end " (" $at[end "_program"] ")"
		}') || true
	say "sockets get back what they had before once no program of their network namespace holds a" \
		"socket's lock; these hold one now:"
	if [[ -z $lines ]]; then
		lines="  in network namespace $(say_each "${HELD[@]##* }" | paste -sd ' '),"
		lines+=" a program whose socket was not on the bypass"
	fi
	say "$lines"
}
