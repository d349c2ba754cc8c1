# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Loaded programs and their maps, as bpftool shows them.  Sourced after common.sh.
#
# shellcheck disable=SC2034 # names that only some scripts use

# A MAP below is what bpftool calls so: `pinned PATH` or `id N`.

has_bpftool() {
	command -v bpftool >/dev/null && return
	warn "bpftool is missing; to install it: sudo $HERE/load.sh --install-deps"
	return 1
}

# bpftool_shows ARGUMENT...: bpftool, where it shows programs or maps.  One with skeletons, as
# Ubuntu's, names the processes behind them, and goes through the open files of all that it sees,
# which any user can make very many: in a PID namespace of its own it sees itself alone.  That takes
# CAP_SYS_ADMIN.  Without CAP_PERFMON it does not look.
if [[ $(bpftool version 2>/dev/null) != *skeletons* ]]; then
	bpftool_shows() {
		bpftool "$@"
	}
elif unshare --pid --fork true 2>/dev/null; then
	bpftool_shows() {
		unshare --pid --fork bpftool "$@"
	}
elif setpriv --bounding-set -perfmon true 2>/dev/null; then
	bpftool_shows() {
		setpriv --bounding-set -perfmon bpftool "$@"
	}
else
	bpftool_shows() {
		bpftool "$@"
	}
fi

# all_of prog|map: what bpftool shows of all that the host has; nothing without CAP_SYS_ADMIN.
# Fails where bpftool does.
all_of() {
	local said
	if said=$(bpftool_shows -j "$1" show 2>/dev/null); then
		say "$said"
	else
		[[ $said == *"Operation not permitted"* ]]
	fi
}

# program_ids NAME: ids of all loaded programs of that name.
program_ids() {
	# The kernel keeps 15 characters of a name.
	{ all_of prog || true; } | sed 's/{"id":/\n&/g' |
		sed -n "s/^{\"id\":\([0-9]*\),\"type\":\"[a-z_]*\",\"name\":\"${1:0:15}[a-z]*\",.*/\1/p"
}

# map_id NAME PROGRAM...: the id of the map of that name that a program uses.
map_id() {
	local name=$1 json id
	shift
	json=$(bpftool_shows -j prog show "$@" 2>/dev/null) || return
	[[ $json =~ \"map_ids\":\[([0-9,]*)\] ]] || return
	for id in ${BASH_REMATCH[1]//,/ }; do
		if [[ $(bpftool_shows -j map show id "$id" 2>/dev/null) == *"\"name\":\"$name\""* ]]; then
			say "$id"
			return
		fi
	done
	return 1
}

# in_memory SIZE NUMBER: its bytes, as a little-endian machine has them (load.sh sees to it that it
# is one).
in_memory() {
	local i
	for ((i = 0; i < $1; i++)); do
		printf '%d ' $(($2 >> 8 * i & 255))
	done
}

# name_in_memory NAME: struct program_name into BYTES, in hexadecimal.
name_in_memory() {
	local i byte
	BYTES=()
	for ((i = 0; i < 16; i++)); do
		printf -v byte %d "'${1:i:1}" # nothing: 0
		printf -v "BYTES[$i]" %02x $((byte & 255))
	done
}

# entries PROGRAM: awk on a map, read as bpftool shows it: a line `KEY VALUE` for each entry, both
# in hexadecimal.  From the bytes, which bpftool shows of all maps: what it makes of their types, it
# writes as text in several ways.  Of maps with types that takes CAP_SYS_ADMIN all the same.
entries() {
	awk "$AWK_HEX"'
		BEGIN { RS = "\\{\"key\":\\[" }
		!/^["0-9a-fx,]*\],"value":\[["0-9a-fx,]*\]/ { next }
		{
			sub(/\],"value":\[/, " ")
			sub(/\].*/, "")
			gsub(/"0x|[",]/, "")
		}'"$1"
}

# number_of KEY prog|map|link WHICH: of what bpftool shows of it; nothing when there is none.
number_of() {
	number_in "$1" "$(bpftool_shows -j "$2" show "$3" "$4" 2>/dev/null || true)"
}

# number_in KEY JSON: the same of what bpftool shows.
number_in() {
	[[ ! $2 =~ \"$1\":([0-9]+) ]] || say "${BASH_REMATCH[1]}"
}

# ask QUESTION...: several things at once, each as an argument list of bpftool.  Its answers go into
# ANSWERS, a line of JSON each, up to the first one that fails.
ask() {
	local said
	said=$(say_each "$@" | bpftool_shows -j batch file - 2>/dev/null) || true
	mapfile -t ANSWERS < <(say "${said//'{"command":'/$'\n'}")
	ANSWERS=("${ANSWERS[@]:1}")
}

id_of() {
	number_of id "$@"
}

# reason_in LOG: of what bpftool has said, what libbpf could not do.
reason_in() {
	say "$1" | grep -m 1 'failed:' || say "$1" | tail -n 1
}
