# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Cgroups: where they are.  Sourced after maps.sh.
#
# shellcheck disable=SC2034 # names that only some scripts use

# check_cgroup OPTION PATH: its number, in CGROUP_NUMBER.  Who owns a directory above it can hold
# its lock.
check_cgroup() {
	local said kind
	said=$(bounded 5 stat -L -c '%i %F' -- "$2") || (($? != 124)) ||
		usage_error "$1: somebody holds the lock of a directory above it: $(shown "$2")"
	kind=$(bounded 5 stat -L -f -c %T -- "$2") || true
	[[ $said == *" directory" ]] || usage_error "$1: no such directory: $(shown "$2")"
	[[ $kind == cgroup2fs ]] || usage_error "$1: not a directory of cgroup v2: $(shown "$2")"
	CGROUP_NUMBER=${said%% *}
}

# check_lasting OPTION PATH WHAT-FOLLOWS
check_lasting() {
	[[ ${2%/} != *.@(service|scope) ]] ||
		warn "$1: systemd removes the cgroup of a service that is stopped, and makes another one when" \
			"it is started again: $3; a slice lasts: $(shown "$2")"
}

# cgroup2_mounts: where cgroup v2 is mounted.  First those of a whole hierarchy, or of one above
# this cgroup namespace (/..); others show a part of it.
cgroup2_mounts() {
	local line lines whole=() parts=()
	mapfile -t lines </proc/self/mountinfo # `read` would have the kernel write it anew for each line
	for line in "${lines[@]}"; do
		[[ $line =~ ^([0-9:]+\ ){3}([^\ ]+)\ ([^\ ]+)\ .*\ -\ cgroup2\  ]] || continue
		# The kernel writes a space as \040, which %b takes as \0040.
		printf -v line %b "${BASH_REMATCH[3]//\\/\\0}"
		if [[ ${BASH_REMATCH[2]} =~ ^(/|(/\.\.)+)$ ]]; then
			whole+=("$line")
		else
			parts+=("$line")
		fi
	done
	# Without those that another mount hides.
	for line in "${whole[@]}" "${parts[@]}"; do
		[[ $(stat -f -c %T "$line" 2>/dev/null) != cgroup2fs ]] || say "$line"
	done
}

# The first one; nothing when there is none.
cgroup2_root() {
	cgroup2_mounts | sed -n 1p
}

MAX_LEVELS=32 # kernel_cgroup.h, below the cgroup that is attached to

# Level by level as far as services and containers are, so that nobody can hide one of them behind
# many that he makes below his own; then all of it, in one walk.
FIND_CGROUP='
	for level in {1..6}; do
		path=$(find "$1" -xdev -mindepth "$level" -maxdepth "$level" -type d -inum "$2" -print -quit)
		[[ -z $path ]] || exec printf "%s\n" "$path"
	done
	exec find "$1" -xdev -mindepth 7 -type d -inum "$2" -print -quit'

FIND_CGROUPS='
	find "$1" -maxdepth 0 -printf "%i %p\n"
	for level in {1..6}; do
		find "$1" -xdev -mindepth "$level" -maxdepth "$level" -type d -printf "%i %p\n"
	done
	exec find "$1" -xdev -mindepth 7 -maxdepth "$2" -type d -printf "%i %p\n"'

# find_beside INODE DIR: the same where one walk is held up: any user can hold the lock of a
# directory that he can read.  A process for each, so that one hides no more than what is below it.
# Fails where one did.
find_beside() {
	local list path late=0 dirs=("$2")
	for _ in {1..6}; do
		((${#dirs[@]})) || break
		list=$(bounded 1 bash -c 'printf "%s\0" "$@" |
			xargs -0 -n 1 -P 64 -I DIR find DIR -xdev -mindepth 1 -maxdepth 1 -type d -printf "%i %p\n"' \
			bash "${dirs[@]}") || late=1
		path=$(say "$list" | sed -n "s/^$1 //p")
		[[ -z $path ]] || {
			say "$path"
			return
		}
		mapfile -t dirs < <(say "$list" | sed -n 's/^[0-9]* //p')
	done
	return "$late"
}

# cgroup_path INODE: where that cgroup is; nothing when it is gone, or not to be
# seen from here.  Fails when that takes too long to say.
cgroup_path() {
	local dir path
	while IFS='' read -r dir; do
		# As most are attached to the root.
		[[ $(stat -c %i "$dir") != "$1" ]] || {
			say "$dir"
			return
		}
		path=$(bounded 2 bash -c "$FIND_CGROUP" bash "$dir" "$1") || (($? != 124)) ||
			path=$(find_beside "$1" "$dir") || return 1
		[[ -z $path ]] || {
			say "$path"
			return
		}
	done < <(cgroup2_mounts)
}

# cgroup_paths: reads numbers of cgroups, prints `NUMBER PATH` of those that can be seen.  In one
# walk: there may be thousands, and any user to whom a cgroup is delegated can make some, as deep as
# he likes.  An excluded one is at most MAX_LEVELS below the one that is attached to.
cgroup_paths() {
	local dir ids
	ids=$(sed "/^$/d")
	[[ -n $ids ]] || return 0
	while IFS='' read -r dir; do
		bounded 5 bash -c "$FIND_CGROUPS" bash "$dir" $((2 * MAX_LEVELS)) || true
	done < <(cgroup2_mounts) | awk -v longest=400 '
		FNR == NR {
			wanted[$1]
			next
		}
		$1 in wanted {
			if (length($0) <= longest)
				print
			delete wanted[$1] # one mount is enough
		}' <(say "$ids") -
}

# ancestors CGROUP: those that can be seen, up to the root of what is mounted, in ANCESTORS.
ancestors() {
	local dir=$1 dirs=() device='' line lines
	ANCESTORS=()
	while [[ $dir == /?* ]]; do
		dirs+=("$dir")
		dir=${dir%/*}
	done
	lines=$(stat -c '%d %n' "${dirs[@]}") || die "cannot look at the cgroups above $(shown "$1")"
	while IFS='' read -r line; do
		device=${device:-${line%% *}}
		[[ ${line%% *} == "$device" ]] || break
		[[ ${line#* } == "$1" ]] || ANCESTORS+=("${line#* }")
	done < <(say "$lines")
}
