# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Which programs stay on TCP: those that read their sockets with splice(2), on the bypass they would
# hang without the guard, and those of --exclude-program.  What listens or connects from now on is
# known by its name.  What runs already is excluded by its cgroup, and by that of its listeners.
# Sourced by load.sh, after common.sh.
#
# Go programs cannot be recognised cheaply, except these.  The kernel keeps 15 bytes of a name.
#
# Any user can call a program so, and chooses how many processes, descriptors and cgroups there are.
# So the kernel is asked, once, by numbers (sock_ops_running.c); each look has an end; and what is not
# known by then counts as a program that splices.

# They take the guard's EINVAL for an error: systemd-socket-proxyd, and systemd-socket-activate, which
# starts it; pasta, the network of rootless Podman, which becomes passt.avx2 where the CPU has AVX2.
UNGUARDED=(systemd-socket- pasta passt.avx2)
# From 28 on it is dockerd that calls listen(2) for docker-proxy.
GUARDED=(docker-proxy dockerd)
# HAProxy does so with an option alone: of those that run it can be told.
MAY_SPLICE=haproxy

LOOK_SECONDS=5  # for all processes
JUDGE_SECONDS=5 # for the configurations of all that are called haproxy

LEFT_OUT=() # what to say of them
DEEP=       # one is in a cgroup that is too deep to be looked at (excluded.h)

# What to look for among what runs, and why.  A place in these lists stands for a name: no other
# string comes from outside.
SOUGHT=()
WHY=()
MAY_SPLICE_AT= # the place of the one that is to be judged

seek_names() {
	local name why=$1
	for name in "${@:2}"; do
		SOUGHT+=("$name")
		WHY+=("$why")
	done
}

# Before anything is attached: by name what listens or connects from then on.
choose_names() {
	local names=("${UNGUARDED[@]}")
	seek_names "it is excluded by name" "${PROGRAMS[@]}"
	((!ADMIT_SPLICING)) || return 0
	is_guarded || names+=("${GUARDED[@]}")
	seek_names "it reads with splice(2)" "${names[@]}"
	if ! is_guarded; then
		MAY_SPLICE_AT=${#SOUGHT[@]}
		seek_names "it reads with splice(2)" "$MAY_SPLICE"
	fi
	PROGRAMS+=("${names[@]}")
	LEFT_OUT+=("stay on TCP, because they read with splice(2), now or later: ${names[*]}")
}

# Once that is attached: what runs already.  A program that is started in between is seen twice.
exclude_running() {
	local place pid cgroup found paths
	((${#SOUGHT[@]})) || return 0
	found=$(running | sought | judged | merged)
	[[ -n $found ]] || return 0
	paths=$(cut -d ' ' -f 3 <<<"$found" | cgroup_paths | shown_lines)
	while read -r place pid cgroup; do
		exclude_found "$place" "$pid" "$cgroup" "$(sed -n "s/^$cgroup //p" <<<"$paths")"
	done <<<"$found"
}

# exclude_found PLACE PID CGROUP PATH: CGROUP is 0 where none can be excluded, or `deep`.
exclude_found() {
	local why who
	case $1 in
	blind)
		LEFT_OUT+=("are not excluded, as what runs cannot be seen: programs that listen already")
		return
		;;
	late)
		why="not all programs could be looked at within $LOOK_SECONDS s"
		who="a program that listens"
		;;
	*)
		why=${WHY[${1%\?}]}
		[[ $1 != *\? ]] || why="it may read with splice(2), its configuration cannot be read"
		who=$(shown "${SOUGHT[${1%\?}]}")
		;;
	esac
	who+=" (pid $2)"
	if [[ $3 == deep ]]; then
		# shellcheck disable=SC2034 # for load.sh
		DEEP=1
		LEFT_OUT+=("stays on TCP, because $why: $who, and all cgroups as deep as its own")
	elif ((!$3)); then
		LEFT_OUT+=("has no cgroup that could be excluded, so that what it listens on already is not: $who; restart it, or leave its ports out: --exclude-port")
	elif exclude_cgroup "$3"; then
		LEFT_OUT+=("stays on TCP, because $why: $who, and all of ${4:-cgroup $3, which was removed, or cannot be seen from here}")
	else
		LEFT_OUT+=("is not excluded, as $MAX_CGROUPS cgroups are already: $who, in ${4:-cgroup $3}; leave its ports out: --exclude-port")
	fi
}

# exclude_cgroup INODE: fails where there is no place for it.
exclude_cgroup() {
	[[ " ${CGROUPS[*]} " != *" $1 "* ]] || return 0
	((${#CGROUPS[@]} < MAX_CGROUPS)) && CGROUPS+=("$1")
}

# running: the lines of sock_ops_running, and `late` where it takes too long, or `blind`.
running() {
	local log
	if ! log=$(cmd -q bpftool iter pin "$OBJECTS/$RUNNING.o" "$RUNNING_PIN" 2>&1); then
		warn "cannot list what runs: $(reason_in "$log")"
		say blind
		return
	fi
	timeout --signal KILL "$LOOK_SECONDS" cat "$RUNNING_PIN" || say $'\nlate' # of a line that was cut off
	cmd -q rm "$RUNNING_PIN"
}

# name_in_hex NAME: its 16 bytes.
name_in_hex() {
	local i byte hex=''
	for ((i = 0; i < 16; i++)); do
		printf -v byte %d "'${1:i:1}" # nothing: 0
		printf -v hex '%s%02x' "$hex" $((byte & 255))
	done
	say "$hex"
}

# sought: of these lines those of the names that are sought, as `PLACE PID CGROUPS`, each once.  PLACE
# is `late` for all that listens, where not all has been seen.
sought() {
	local name hex=''
	for name in "${SOUGHT[@]}"; do
		hex+=" $(name_in_hex "$name")"
	done
	awk -v names="$hex" '
		BEGIN {
			for (n = split(names, list, " "); n; n--)
				place[list[n]] = n - 1
		}
		$1 == "blind" { print "blind", 0, "0," }
		$1 == "late" {
			for (line in listens)
				print line
		}
		NF != 4 || $4 !~ /^([0-9]+,)+$|^deep$/ { next }
		$2 in place { once(place[$2] " " $1 " " $4) }
		!($2 in place) && $3 { listens["late " $1 " " $4] }
		function once(line) {
			if (!(line in seen))
				print line
			seen[line]
		}'
}

# judged: without the programs that may splice and do not.  PLACE gets a `?` where that is not known.
judged() {
	local place pid cgroups known='' status end=$((SECONDS + JUDGE_SECONDS))
	while read -r place pid cgroups; do
		if [[ $place == "$MAY_SPLICE_AT" ]]; then
			[[ $known != *" $cgroups "* ]] || continue
			status=2
			((SECONDS >= end)) || {
				status=0
				splices "$pid" || status=$?
			}
			((status != 1)) || continue
			((status != 2)) || place+='?'
			known+=" $cgroups "
		fi
		say "$place $pid $cgroups"
	done
}

# merged: as `PLACE PID CGROUP`.  Where there are more cgroups than may be excluded, those at the lowest
# level give way to the ones above them, and again: it costs a user nothing to make many, below his
# own.  Of several programs in one cgroup, as docker-proxy for each published port, one.
# shellcheck disable=SC2153 # of load.sh
merged() {
	awk -v most="$((MAX_CGROUPS - ${#CGROUPS[@]}))" '
		{
			place[++lines] = $1
			pid[lines] = $2
			sub(/,(0,)*$/, "", $3)
			of[lines] = $3
			n = split($3, cgroup, ",")
			if (n > deepest)
				deepest = n
			level[$3] = n
		}
		END {
			for (chain in level)
				if (chain != "deep" && chain != "0")
					into[chain] = chain
			while (different() > most && deepest > 1) {
				for (chain in into)
					if (level[chain] == deepest) {
						sub(/^[^,]*,/, "", into[chain])
						level[chain]--
					}
				deepest--
			}
			for (i = 1; i <= lines; i++) {
				to = of[i] in into ? into[of[i]] : of[i]
				sub(/,.*/, "", to)
				if (!seen[place[i], to]++)
					print place[i], pid[i], to
			}
		}
		# How many there are.
		function different(    chain, other, n) {
			for (chain in into)
				if (!(into[chain] in other)) {
					other[into[chain]]
					n++
				}
			return n + 0
		}'
}

# ---- HAProxy ---------------------------------------------------------------

# Any process can be called so, and name any file as its configuration: a FIFO, a device, one of
# /proc.  READER opens it: a user that owns nothing, so that only what everybody may read is read, and
# that runs nothing else, so that nobody can trace it.  It must be a regular file, also once it is open.
READER=4294967000

# The arguments are files.  Ends with 3 where one is not there, with 2 where it is not to be read.
READ_FILES='
	for path; do
		[[ -e $path ]] || exit 3
		files=("$path")
		[[ ! -d $path ]] || files=("$path"/*.cfg)
		for file in "${files[@]}"; do
			[[ -f $file ]] && exec <"$file" && [[ -f /dev/fd/0 && -s /dev/fd/0 ]] || exit 2
			if head -c 4194304 | grep -aE "^[[:space:]]*option[[:space:]]+splice-" >/dev/null; then
				exit 0
			fi
			[[ -z $(head -c 1 | tr -c x x) ]] || exit 2 # there is more
		done
	done
	exit 1'

# The arguments are a process, READ_FILES and READER.  Even its arguments can be made to wait.
JUDGE_ONE='
	pid=$1 status=3 files=()
	mapfile -d "" -t arguments <"/proc/$pid/cmdline" || exit 2
	for ((i = 1; i < ${#arguments[@]}; i++)); do
		[[ ${arguments[i - 1]} != -f ]] || files+=("${arguments[i]}")
	done
	[[ ${#files[@]} -gt 0 ]] || exit 2
	while read -r key value; do
		[[ $key != PPid: ]] || parent=$value
	done <"/proc/$pid/status"
	# Many change their root once they have read it: the parent still sees it.
	for base in "$pid" "$parent"; do
		((status == 3)) || break
		from=cwd
		[[ ${files[0]} != /* ]] || from=root
		cd "/proc/$base/$from" || exit 2
		setpriv --reuid "$3" --regid "$3" --clear-groups --inh-caps=-all bash -c "$2" bash "${files[@]/#/./}"
		status=$?
	done
	exit "$status"'

# splices PID: has a file of its configuration an option splice-*?  1: no; 2: that is not to be known.
splices() {
	local status=0
	# Without the lock: a child that cannot be killed would keep it.
	(
		exec {LOCK}<&- # of one_at_a_time()
		exec timeout --signal KILL 2 bash -c "$JUDGE_ONE" bash "$1" "$READ_FILES" "$READER" </dev/null >/dev/null 2>&1
	) || status=$?
	((status <= 1)) || status=2
	return "$status"
}
