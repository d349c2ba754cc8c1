# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Which programs stay on TCP: those that read their sockets with splice(2), which would hang on the
# bypass without the guard, and those of --exclude-program.  What listens or connects from now on is
# known by its name.  What runs already is excluded by its cgroup, and by that of its listeners.
# Sourced by load.sh, after cgroups.sh, haproxy.sh, lists.sh and scope.sh.
#
# Go programs cannot be recognised cheaply, except these.  The kernel keeps 15 bytes of a name.
#
# Any user can call a program so, and chooses how many processes, descriptors and cgroups there are.
# So the kernel is asked, once, by numbers (sock_ops_running.c); each look has an end; and what is
# not known by then counts as a program that splices.

# They take the guard's EINVAL for an error: systemd-socket-proxyd, and systemd-socket-activate,
# which starts it; pasta, the network of rootless Podman, which becomes passt.avx2 where the CPU has
# AVX2.
GUARD_MISSES=(systemd-socket- pasta passt.avx2)
# From 28 on it is dockerd that calls listen(2) for docker-proxy.
GUARD_SEES=(docker-proxy dockerd)
# HAProxy splices only with an option, which can be found out for a running one (haproxy.sh).
MAY_SPLICE=haproxy

LOOK_SECONDS=5  # for all processes
JUDGE_SECONDS=5 # for the configurations of all that are called haproxy

LEFT_OUT=() # what to say of them, a line each
DEEP=       # one is in a cgroup that is too deep to be looked at (cgroups.h)

COUNT=()        # of each place in SOUGHT: how many were found
NOT_EXCLUDED=() # and how many that have no cgroup that could be
NAMED=8         # how many of each are named

left_out() {
	LEFT_OUT+=("$*")
}

# left_out_of PLACE WORD...: of something that was found.
left_out_of() {
	((COUNT[$1] > NAMED)) || left_out "${@:2}"
}

# What to look for among what runs, and why.  A place in these lists stands for a name: no other
# string comes from outside.
SOUGHT=()
WHY=()
SHOWN=()       # as they are shown, where that was asked for
MAY_SPLICE_AT= # the place of the one that is to be judged
ALL_THAT_MAY=  # 1: all programs of its name stay on TCP

seek_names() {
	local name why=$1
	for name in "${@:2}"; do
		SOUGHT+=("$name")
		WHY+=("$why")
	done
}

will_be_guarded() {
	((GUARD_WANTED)) && is_guarded
}

# Before anything is attached: by name what listens or connects from then on.
choose_names() {
	local names=("${GUARD_MISSES[@]}")
	seek_names "it is excluded by name" "${PROGRAMS[@]}"
	((!ADMIT_SPLICING)) || return 0
	will_be_guarded || names+=("${GUARD_SEES[@]}")
	seek_names "it reads with splice(2)" "${names[@]}"
	if ! will_be_guarded; then
		MAY_SPLICE_AT=${#SOUGHT[@]}
		seek_names "it reads with splice(2)" "$MAY_SPLICE"
	fi
	PROGRAMS+=("${names[@]}")
	left_out "stay on TCP, because they read with splice(2), now or later: ${names[*]}"
}

# Once that is attached: what runs already.  A program that is started in between is seen twice.
exclude_running() {
	local list found paths line place pid cgroup uid
	local -A path_of=()
	((${#SOUGHT[@]})) || return 0
	# First all of the list: what reads it may take its time.
	list=$(list_running) || exclude_what_listens "not all programs could be looked at"
	# An iterator goes through those of its reader's PID namespace; this is the number of the first
	# one.
	[[ $(stat -L -c %i /proc/self/ns/pid) == 4026531836 ]] || exclude_unseen
	# Those of --exclude-program first: any user can fill what is left of MAX_CGROUPS.
	found=$(say "$list" | sought | in_turn | once_each "$MAY_SPLICE_AT" | judged | once_each |
		sorted -s -n -k 1,1 | up_to_most)
	[[ -n $found ]] || return 0
	# All of them first: find has little time, and bash reads a pipe byte by byte.
	paths=$(say "$found" | awk -v most="$NAMED" '++n[$1 + 0] <= most { print $3 }' | cgroup_paths |
		shown_lines)
	while IFS='' read -r line; do
		[[ -z $line ]] || path_of[${line%% *}]=${line#* }
	done < <(say "$paths")
	while read -r place pid cgroup uid; do
		exclude_found "$place" "$pid" "$cgroup" "$uid" "${path_of[$cgroup]:-}"
	done < <(say "$found")
	for place in "${!NOT_EXCLUDED[@]}"; do
		((NOT_EXCLUDED[place] <= NAMED)) ||
			left_out "nor have $((NOT_EXCLUDED[place] - NAMED)) more; to see them all: ps -C" \
				"$(printf %q "${SHOWN[place]}")"
	done
	for place in "${!COUNT[@]}"; do
		((COUNT[place] <= NAMED)) || left_out "and so do the cgroups of $((COUNT[place] - NAMED)) more:" \
			"${SHOWN[place]}; status.sh --json lists them"
	done
}

# exclude_found PLACE PID CGROUP UID PATH: CGROUP is 0 where none can be excluded, or `deep`.  There
# may be thousands: no process for each, and of each name no more than NAMED are named.
exclude_found() {
	local place=${1%[?~]} why who lasts=
	why=${WHY[place]}
	[[ $1 != *\? ]] ||
		why="it may read with splice(2), its configuration cannot be read, or has changed"
	[[ $1 != *\~ ]] || why="it may read with splice(2), there was no time to read its configuration"
	[[ -n ${SHOWN[place]:-} ]] || SHOWN[place]=$(shown "${SOUGHT[place]}")
	if [[ $place == "$MAY_SPLICE_AT" ]]; then
		if [[ $3 == 0 ]] || is_system "$4"; then
			exclude_all_that_may
		else
			lasts="; until it is started again, --exclude-program $MAY_SPLICE lasts"
		fi
	fi
	who="${SHOWN[place]} (pid $2)"
	if [[ $3 == 0 ]]; then
		NOT_EXCLUDED[place]=$((${NOT_EXCLUDED[place]:-0} + 1))
		((NOT_EXCLUDED[place] > NAMED)) ||
			left_out "$who has no cgroup that could be excluded, so that what it listens on already is" \
				"not; restart it, or leave its ports out: --exclude-port"
		return
	fi
	COUNT[place]=$((${COUNT[place]:-0} + 1))
	if [[ $3 == deep ]]; then
		# shellcheck disable=SC2034 # for load.sh
		DEEP=1
		left_out_of "$place" "stays on TCP, because $why: $who, and all cgroups as deep as its own"
	elif [[ -n ${CGROUPS[$3]:-} ]] || ((${#CGROUPS[@]} < MAX_CGROUPS)); then
		CGROUPS[$3]=1
		left_out_of "$place" "stays on TCP, because $why: $who, and all of" \
			"${5:-cgroup $3, which was removed, cannot be seen here or in time, or has a long path}$lasts"
	else
		exclude_what_listens "more than $MAX_CGROUPS cgroups would have to be excluded"
	fi
}

# is_system UID: one of the system's own, or of systemd's for a service (DynamicUser=), and no
# user's.  For awk as well.
IS_SYSTEM='uid < 1000 || (uid >= 61184 && uid <= 65519)'
is_system() {
	local uid=$1
	((IS_SYSTEM))
}

# exclude_all_that_may: also what is started again, and has another cgroup then.  Where the cgroup
# tells, a user's program must not bring this about for those of others.
exclude_all_that_may() {
	[[ -n $MAY_SPLICE_AT && -z $ALL_THAT_MAY ]] || return 0
	ALL_THAT_MAY=1
	exclude_name "$MAY_SPLICE"
	left_out "stays on TCP, whenever it is started: any program called $MAY_SPLICE," \
		"since one may read with splice(2)"
}

# exclude_unseen: what is in other PID namespaces.  What has called listen(2) since a load that
# could not see them either went by the names that were excluded then: at a reload without further
# names its marks count.
exclude_unseen() {
	local entry why="programs of other PID namespaces cannot be seen" marks_count=0
	exclude_all_that_may # a name that may be new, too
	# Unless the number of the scope has reached the bits that are in the marks.
	((!RELOAD || !(LOADED_VALUES[AT_TERMS] & ADMIT_NEW_ALONE))) ||
		((marks_count = SCOPE >> 8 == LOADED_VALUES[AT_TERMS] >> SCOPE_SHIFT + 8)) || true
	for entry in "${!WANTED[@]}"; do
		[[ $entry != "$NAMES_PIN "* ]] || was_excluded "$NAMES_PIN" "${entry#* }" || marks_count=0
	done
	if ((marks_count)); then
		((ADMIT |= ADMIT_NEW_ALONE))
		left_out "stays on TCP, as $why: what listened at the load"
	else
		exclude_what_listens "$why"
	fi
}

# exclude_what_listens WHY: what is not known counts as a program that splices.  It connects, too.
exclude_what_listens() {
	((!(ADMIT & ADMIT_NEW_ALONE))) || return 0
	((ADMIT |= ADMIT_NEW_ALONE))
	# With marks of its own for what listens from now on (scopes_of_marks); even or odd as before.
	((SCOPE = (SCOPE + 256) & 0xffffff)) || true
	exclude_all_that_may
	left_out "stays on TCP, as $1: whatever listens already, until it is started again"
}

# list_running: the lines of sock_ops_running.  Fails where it takes too long, or is refused.
list_running() {
	local log status=0
	cmd -q rm -f "$RUNNING_PIN" # of a load.sh that was killed
	if ! log=$(cmd -q bpftool iter pin "$OBJECTS/$RUNNING.o" "$RUNNING_PIN" 2>&1); then
		warn "cannot list what runs: $(reason_in "$log")"
		return 1
	fi
	read_pin "$LOOK_SECONDS" "$RUNNING_PIN" || status=1
	cmd -q rm "$RUNNING_PIN"
	return "$status"
}

# sought: reads these lines, prints those of the names that are sought, as `PLACE PID CGROUP UID`,
# each once.  The last one may have been cut off.
sought() {
	local name word hex=''
	for name in "${SOUGHT[@]}"; do
		name_in_memory "$name"
		printf -v word %s "${BYTES[@]}"
		hex+=" $word"
	done
	awk -v names="$hex" '
		BEGIN {
			for (n = split(names, list, " "); n; n--)
				place[list[n]] = n - 1
		}
		NF == 5 && $5 ~ /^([0-9]+|deep)$/ && $2 in place { once(place[$2] " " $1 " " $5 " " $3) }
		function once(line) {
			if (!(line in seen))
				print line
			seen[line]
		}'
}

# in_turn: first one process of each user, the system's own before others, then a second one of
# each: a user with many does not use up the time in which they are judged.  Nor does one with many
# numbers (subuid(5)): above 65,535 there may be as many that are one's own.
in_turn() {
	awk '{
		user = $4 < 65536 ? $4 : 65536 + int($4 / 65536)
		print n[$1, user]++, user, $0
	}' | sorted -s -k 1,1n -k 2,2n | cut -d ' ' -f 3-
}

# judged: without the programs that may splice and do not.  PLACE gets a `?` where that is not
# known, or a `~` where there was no time for it.
judged() {
	local place pid cgroup uid status end whose
	local -A known=()
	now
	end=$((NOW + JUDGE_SECONDS * 1000))
	while read -r place pid cgroup uid; do
		if [[ $place == "$MAY_SPLICE_AT" ]]; then
			whose=$cgroup
			! is_system "$uid" || whose+=-system
			[[ $cgroup == 0 || -z ${known[$whose]:-} ]] || continue
			status=0
			if has_time "$end"; then
				splices "$pid" || status=$?
			else
				place+='~'
			fi
			((status != 1)) || continue
			((status != 2)) || place+='?'
			known[$whose]=1
		fi
		say "$place $pid $cgroup $uid"
	done
}

# once_each [PLACE]: of several programs of one name in one cgroup, such as docker-proxy for each
# published port, the first one of the system and the first one of users (is_system); where no
# cgroup can be excluded, each; and each of the name at that place.
once_each() {
	awk -v all="${1:-none}" '
		{ uid = $4 }
		!$3 || $1 == all || !seen[$1, $3, ('"$IS_SYSTEM"')]++'
}

# up_to_most: no more cgroups than can be excluded, and one.
up_to_most() {
	awk -v most="$MAX_CGROUPS" '
		$3 in seen || n <= most {
			n += !($3 in seen)
			seen[$3]
			print
		}'
}
