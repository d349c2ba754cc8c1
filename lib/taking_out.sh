# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# How unload.sh takes connections out of a map, within a time that nobody can extend.  Sourced after
# connections.sh.

# pause LOOKS END: often at first, when most are idle; later for programs that take their time, of
# which any user may have many: then a tenth of a CPU at most.
pause() {
	local ms=500
	(($1 > 2)) || ms=50
	(($1 < 30)) || ms=$((LOOK_MS < 500 ? 5000 : 10 * LOOK_MS))
	now
	((NOW + ms <= $2)) || ms=$(($2 - NOW > 100 ? $2 - NOW : 100))
	sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}

# ---- taking connections out ------------------------------------------------

LOOKS=3        # at a map, at least, when there is no time left: two that agree, and one at the rest
DELETE_MS=3000 # for going on behind keys that are gone,
STARTS=40      # and so many times at least,
AT_ONCE=2000   # with so many keys

LOOK_MS=0             # that the last look has taken
FOUND=0               # connections
SEEN=                 # of a map, as connections() prints them,
CUT=0                 # 1: not all of them
REMAINING=            # those that had to stay, as connections() prints them,
REMAINING_IS_CUT=0    # 1: there may be more
declare -A COUNTED=() # maps
# shellcheck disable=SC2034 # for release.sh
declare -A TAKEN=() # network namespaces of the sockets that take_out() has taken out, by inode

# count LINES: how many; there are none in an empty string.
count() {
	say "$1" | grep -c . || (($? == 1)) || say 0
}

# see_connections MAP: its connections, in SEEN.  They are counted once, at the first look that sees
# any.
see_connections() {
	local begin
	now
	begin=$NOW
	CUT=0
	SEEN=$(connections "$@" 2>/dev/null) || {
		(($? == 3)) || return
		CUT=1
	}
	now
	LOOK_MS=$((NOW - begin))
	if [[ -n $SEEN && -z ${COUNTED[$*]:-} ]]; then
		FOUND=$((FOUND + $(count "$SEEN")))
		COUNTED[$*]=1
	fi
}

# let_them_go END MAP: until all are idle in two looks in a row (an upload may pause), or until END.
# The first look is the one before, in SEEN.
let_them_go() {
	local end=$1 looks=0 idle=0
	shift
	! map_is_empty "$@" || return 0
	while has_time "$end" && { ((!looks)) || see_connections "$@"; }; do
		if [[ -z $SEEN ]] && ! map_is_empty "$@"; then
			idle=0 # they cannot be seen
		elif of_connections 'NF && !$at["idle"] { exit 1 }' < <(say "$SEEN"); then
			((++idle < 2)) || return 0
		else
			idle=0
		fi
		pause "$((++looks))" "$end"
	done
}

# idle_keys: reads what connections() prints, prints the keys of the sockets of idle connections.
idle_keys() {
	of_connections '$at["idle"] { print $at["client_key"] "\n" $at["server_key"] }' |
		sed '/^-$/d' | sorted
}

# take_out END MAP: until the map is empty, or until END.  Fails with 1 where connections are REMAINING,
# or with 2 where they cannot be seen.
take_out() {
	local end=$1 looks=0 unseen=0 failed=0 idle before='' both
	shift
	while :; do
		if ! see_connections "$@"; then
			((++failed < 3)) || break
			SEEN=
		elif [[ -z $SEEN ]]; then
			! map_is_empty "$@" || return 0
			((++unseen < 20)) || break # one that is being closed is soon gone
		fi
		# First, so that nothing that comes and goes can put it off.
		if ((++looks > LOOKS)) && ! has_time "$end"; then
			[[ -n $SEEN ]] || break
			REMAINING+=${REMAINING:+$'\n'}$SEEN
			# shellcheck disable=SC2034 # for unload.sh
			((!CUT)) || REMAINING_IS_CUT=1
			return 1
		fi
		idle=$(say "$SEEN" | idle_keys)
		both=$(comm -12 <(say "$before") <(say "$idle") | sed '/^$/d')
		before=$idle
		[[ -z $both ]] || delete_keys "$@" < <(say "$both")
		pause "$looks" "$end"
	done
	if [[ $(bpftool_shows map show "$@" 2>&1) == *"No such file"* ]]; then
		return 0 # with its last socket an unpinned map goes as well
	fi
	connections "$@" >/dev/null || true # says why
	warn "what is left in the map cannot be seen: connections stay in it until they are closed"
	return 2
}

# delete_keys MAP: deletes the keys that it reads, of connections that were SEEN idle.  A key that
# is gone, since its socket was closed, ends bpftool; its output tells how many keys it has tried.
# The next bpftool goes on behind that key, and if one key after another is gone, further and
# further behind.  What is skipped is left to the next look.  Not echoed: thousands of keys, whose
# number is said at the end.
delete_keys() {
	local keys at=0 tried gone=0 starts=0 end
	keep_namespaces
	now
	end=$((NOW + DELETE_MS))
	mapfile -t keys
	while ((at < ${#keys[@]})); do
		# awk may have something to say of what bpftool leaves unread.
		tried=$(say_each "${keys[@]:at:AT_ONCE}" |
			awk -v map="$*" '{ gsub(/../, " &"); print "map delete " map " key hex" $0 }' 2>/dev/null |
			{ cmd -q bpftool -j batch file - 2>/dev/null || true; } |
			tr '{' '\n' | grep -c '^"command"') || true # bpftool leaves the rest unread
		((tried)) || break
		((tried == 1)) || gone=0
		((at += tried + (++gone > 30 ? 1 << (gone < 46 ? gone - 30 : 16) : 0)))
		((++starts < STARTS)) || has_time "$end" || break
	done
}

# keep_namespaces: of the sockets that are about to be taken out.
keep_namespaces() {
	local inode
	while read -r inode; do
		# shellcheck disable=SC2034 # for release.sh
		TAKEN[$inode]=1
	done < <(of_connections '
		$at["idle"] { print $at["client_netns"] "\n" $at["server_netns"] }' < <(say "$SEEN") |
		sorted -u | sed -n '/^[0-9]/p')
}
