# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What load.sh and unload.sh share: names, messages, and how to find things.
# Sourced, after `set -euo pipefail`.
#
# shellcheck disable=SC2034 # names that only one of them uses

export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin # bpftool lives there, su leaves it out

BPFFS=/sys/fs/bpf
SOCKOPS=bpf_sockops
BYPASS=bpf_tcpip_bypass
MAP=sock_ops_map
MAP_SWITCH=sock_ops_switch
# Maps that the second program takes over from the first, besides MAP.
SHARED_MAPS=(sock_ops_record sock_ops_meet sock_ops_stats "$MAP_SWITCH")

SOCKOPS_PIN=$BPFFS/$SOCKOPS
BYPASS_PIN=$BPFFS/$BYPASS
MAP_PIN=$BPFFS/$MAP
PINS=("$BYPASS_PIN" "$SOCKOPS_PIN" "$MAP_PIN")

say() {
	printf '%s\n' "$*"
}

warn() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
	warn "$@"
	exit 1
}

# Echo a command that changes the system's state, then run it.
cmd() {
	printf '[#] %s\n' "$*" >&2
	"$@"
}

need_root() {
	[[ $EUID -eq 0 ]] || die "needs root: sudo $0"
}

# The first cgroup v2 mount; nothing when there is none.
cgroup2_root() {
	local _ dir type
	while read -r _ dir type _; do
		if [[ $type == cgroup2 ]]; then
			printf '%b\n' "$dir" # the kernel writes a space as \040
			return
		fi
	done </proc/self/mounts
}

# ids_of_maps PROGRAM...: the ids of a program's maps.
ids_of_maps() {
	local json
	json=$(bpftool -j prog show "$@")
	[[ $json =~ \"map_ids\":\[([0-9,]*)\] ]] || return 0
	say "${BASH_REMATCH[1]//,/ }"
}

# map_id NAME PROGRAM...: the id of the map of that name that a program uses.
map_id() {
	local name=$1 id ids
	shift
	ids=$(ids_of_maps "$@")
	for id in $ids; do
		if [[ $(bpftool -j map show id "$id") == *"\"name\":\"$name\""* ]]; then
			say "$id"
			return
		fi
	done
	return 1
}

# set_switch MAP_ID 0|1: struct sock_switch in bpf_sockops.h, 32 bits in the
# host's byte order.
set_switch() {
	local value=("$2" 0 0 0)
	if [[ $(printf '\1\0' | od -An -tu2) -ne 1 ]]; then
		value=(0 0 0 "$2")
	fi
	cmd bpftool map update id "$1" key 0 0 0 0 value "${value[@]}"
}

# attached_ids CGROUP: ids of the sock_ops programs of our name attached there.
# Fails when the kernel does not tell: bpftool 7 asks 5.10 for too much.
attached_ids() {
	local list line
	list=$(bpftool cgroup show "$1" 2>/dev/null) || return
	# Columns: ID AttachType AttachFlags Name; the flags may be empty.
	while read -r line; do
		if [[ $line =~ ^([0-9]+)\ .*sock_ops.*\ $SOCKOPS$ ]]; then
			say "${BASH_REMATCH[1]}"
		fi
	done <<<"$list"
}

# loaded_ids: ids of all programs of our name, wherever they are attached.
loaded_ids() {
	{ bpftool prog show name "$SOCKOPS" 2>/dev/null || true; } |
		sed -n 's/^\([0-9]*\): sock_ops .*/\1/p'
}
