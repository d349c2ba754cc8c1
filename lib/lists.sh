# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The lists of sockets, which iterator programs print (bpf/status_line.h, sock_ops_open.c), or act
# on (sock_ops_release.c).  Sourced after maps.sh.
#
# load.sh pins the lists that know the records of what it loads.  What they print is text, with
# columns that have names: so scripts of any version can show and unload it.  Where there is no pin,
# as in the middle of a load, or when the pins are lost, a script loads its own lists, if these know
# the layout of the records.
#
# shellcheck disable=SC2034,SC2119,SC2120,SC2153 # names, and arguments, that only some scripts use

LOADED_LAYOUT=$LAYOUT # of what is listed
LOG=                  # why there is no list
OPEN_SOCKETS=         # see open_sockets()

ITERATES=$$ # the process whose lists these are
BEGUN=      # and when it was started: see begun()
LIST_LINES=200000
LIST_SECONDS=8 # that a list may take,
LIST_END=0     # and when all lists of a script are to be there, by now(); 0: no end

# begun STAT: when a process was started, in ticks since the host was, by its /proc/PID/stat, in
# BEGUN; empty: it has ended.  Another one can have its number later, or in another pid namespace,
# but not the same time as well.
begun() {
	local fields
	read -ra fields <<<"${1##*) }" # behind its name: from the third one on
	BEGUN=${fields[19]:-}
}
begun "$(</proc/$$/stat)"

# pin_lists: those that are missing, by load.sh.  Kernels before 5.15 refuse sock_ops_release, and
# the policy of some hosts iterators over maps.  Fails where bpftool was killed.
pin_lists() {
	local name map status=0
	for name in "${LISTS[@]}"; do
		! is_pin "$BPFFS/$name" || continue # of this load: --reload of the same version
		map=()
		[[ $name != "$STATUS" ]] || map=(map pinned "$MAP_PIN")
		cmd -t bpftool iter pin "$OBJECTS/$name.o" "$BPFFS/$name" "${map[@]}" || ! was_killed "$?" || {
			warn "bpftool was killed before it had pinned $name"
			status=1
		}
	done
	return "$status"
}

# list_path PID NAME [MAP]: where a process has its pin of that list: a name that is used only once,
# with BEGUN, which must be that process's.
list_path() {
	say "$BPFFS/$2-${4:+${4##*/}-}$BEGUN-$1"
}

# list_at PIN NAME [MAP]: pins that list at PIN, unless it is there.  Not echoed, as all that serves
# a script itself and is gone at its end.
list_at() {
	local map=()
	! is_pin "$1" || return 0
	if [[ (-z ${4:-} || $4 == "$MAP_PIN") ]] && is_pin "$BPFFS/$2"; then
		cmd -q ln "$BPFFS/$2" "$1" 2>/dev/null && return
	fi
	if [[ $LOADED_LAYOUT != "$LAYOUT" ]]; then
		LOG="their layout is that of another version, whose scripts can"
		return 1
	fi
	[[ $# -eq 2 ]] || map=(map "${@:3}")
	LOG=$(cmd -q bpftool iter pin "$OBJECTS/$2.o" "$1" "${map[@]}" 2>&1)
}

# hold_lists [MAP]: those that load.sh has pinned, so that they stay when it is unpinned.
hold_lists() {
	! is_pin "$BPFFS/$OPEN" || list_at "$(list_path "$ITERATES" "$OPEN")" "$OPEN" || true
	! is_pin "$BPFFS/$STATUS" || list_at "$(list_path "$ITERATES" "$STATUS" "$@")" "$STATUS" "$@" ||
		true
}

# iterate NAME [MAP]: what that list prints, of a map or of all sockets that processes hold.  It
# stays pinned until end_lists, as status.sh --watch and an unload.sh that waits come here again and
# again.  Fails with 2, silently, where the host refuses iterators over maps, and with 3 where it is
# not all.
iterate() {
	local pin status=0 seconds=$LIST_SECONDS
	pin=$(list_path "$ITERATES" "$@")
	if ! list_at "$pin" "$@"; then
		# The words of an older libbpf, or of a newer one.
		[[ $# -eq 1 || ($LOG != *"not permitted"* && $LOG != *-EPERM*) ]] || return 2
		warn "cannot list the sockets: $(reason_in "$LOG")"
		return 1
	fi
	# Any user can make one list take long, but not all lists of a script together.
	now
	if ((LIST_END && LIST_END - NOW < 1000 * seconds)); then
		seconds=$((LIST_END - NOW > 1000 ? (LIST_END - NOW) / 1000 : 1))
	fi
	read_pin "$seconds" "$pin" || status=$?
	if ((status == 124)); then
		warn "not all sockets are listed: there are more than $LIST_LINES, or finding them takes longer" \
			"than $seconds s"
		return 3
	elif ((status)); then
		warn "cannot list the sockets"
		return 1
	fi
}

# read_pin SECONDS PIN: what the iterator that is pinned there prints.  Fails with 124 when the time
# is up: any user can make a list of tasks take long, by tables of descriptors that are large and
# empty, and no signal ends a read(2) of it.  He can make a list long, too, and bash takes a minute
# to look for something in 10 MB.  So each socket is in it once, by the column id, and it has
# LIST_LINES at most.
read_pin() {
	local results
	bounded "$1" cat "$2" | awk -v most="$LIST_LINES" '
		NR == 1 {
			for (id = NF; id && $id != "id"; id--)
				;
		}
		id && NR > 1 && seen[$id]++ { next }
		++lines > most + 1 { exit full = 1 }
		{ print }
		END { exit full ? 124 : 0 }'
	results=("${PIPESTATUS[@]}")
	return $((results[1] ? results[1] : results[0]))
}

# has_maker PIN: is the process at work whose list it is?
has_maker() {
	local pid=${1##*-} made=${1%-*} BEGUN
	made=${made##*-}
	begun "$(bounded 1 cat "/proc/$pid/stat")" # it may be anybody's by now
	[[ -n $BEGUN && $BEGUN == "$made" ]]
}

end_lists() {
	cmd -q rm -f "$BPFFS/$STATUS"-*"-$ITERATES" "$BPFFS/$OPEN"-*"-$ITERATES"
}

# open_sockets: what sock_ops_open prints, or has printed just before, in OPEN_SOCKETS.
open_sockets() {
	if [[ -n ${OPEN_SOCKETS:-} ]]; then
		say "$OPEN_SOCKETS"
	else
		iterate "$OPEN"
	fi
}
