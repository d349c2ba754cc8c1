# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Loaded programs and their maps, as bpftool shows them, and the pins.  Sourced after common.sh.
#
# shellcheck disable=SC2034 # names that only some scripts use

# A MAP below is what bpftool calls so: `pinned PATH` or `id N`.

# bpftool_shows ARGUMENT...: bpftool, where it shows programs or maps.  One with skeletons, as
# Ubuntu's, names the processes behind them, and goes through the open files of all that it sees,
# which any user can make very many: in a PID namespace of its own it sees itself alone.  That takes
# CAP_SYS_ADMIN.
if [[ $(bpftool version 2>/dev/null) == *skeletons* ]] && unshare --pid --fork true 2>/dev/null; then
	bpftool_shows() {
		unshare --pid --fork bpftool "$@"
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

# The states of the switch: SWITCH_* of the programs.
OFF=0
ON=1
GOING_OFF=2

# What is admitted beside the rest: ADMIT_* of the programs.
ADMIT_MPTCP=1
ADMIT_SHORT=2
ADMIT_ALL_CGROUPS=4
ADMIT_NEW_ALONE=8 # fewer
ADMIT_ZEROCOPY=16
SCOPE_SHIFT=8 # and from this bit on the number of the scope

MAX_RANGES=64 # of ports in a scope (ports.h)

# number_at AT SIZE BYTE...: of these bytes, 0xHH each, the number that begins there, into NUMBER.
number_at() {
	local i bytes=("${@:3}")
	NUMBER=0
	for ((i = $1 + $2 - 1; i >= $1; i--)); do
		((NUMBER = NUMBER << 8 | bytes[i])) || true
	done
}

# config_of MAP: the members of struct sock_config (bpf/config.h), as `CGROUP SWITCH QUIET PROGRAM
# ADMIT`; nothing where it is no map of ours.  Fails where bpftool does.  Without awk, as it is
# asked for again and again.
config_of() {
	local said
	said=$(bpftool -j map lookup "$@" key 0 0 0 0 2>/dev/null) || return
	config_in "$said"
}

# config_in JSON: the same of what bpftool shows.
config_in() {
	local bytes at size values=()
	[[ $1 =~ \"key\":\[(\"0x00\",?){4}\],\"value\":\[((\"0x[0-9a-f]{2}\",?){24})\] ]] || return 0
	read -ra bytes <<<"${BASH_REMATCH[2]//[\",]/ }"
	while read -r at size; do
		number_at "$at" "$size" "${bytes[@]}"
		values+=("$NUMBER")
	done <<<$'0 8\n8 4\n12 4\n16 4\n20 4'
	say "${values[@]}"
}

# version_in DUMP: of sock_ops_config, as `LAYOUT SECONDS VERSION`, with when it was loaded, in
# seconds since the host was started (0: not known), and the version as it is shown; nothing where a
# load has none.
version_in() {
	entries 'number($1) == 1 && length($2) == 48 {
		print number(substr($2, 1, 8)), number(substr($2, 9, 8)), shown(substr($2, 17))
	}' <<<"$1"
}

# layout_of MAP: of the load that this sock_ops_config belongs to; ours, if it does not say; nothing
# where bpftool does not tell.
layout_of() {
	local dump version
	dump=$(bpftool -j map dump "$@" 2>/dev/null) || return 0
	version=$(version_in "$dump") || return 0
	version=${version%% *}
	say "${version:-$LAYOUT}"
}

# config_value CGROUP SWITCH QUIET PROGRAM ADMIT: their bytes.
config_value() {
	in_memory 8 "$1"
	in_memory 4 "$2"
	in_memory 4 "$3"
	in_memory 4 "$4"
	in_memory 4 "$5"
}

# config_command CGROUP SWITCH QUIET PROGRAM ADMIT MAP: in CONFIG_COMMAND, what writes these into
# it.
config_command() {
	# shellcheck disable=SC2207 # words
	CONFIG_COMMAND=(bpftool map update "${@:6}" key 0 0 0 0 value $(config_value "${@:1:5}"))
}

# set_config CGROUP SWITCH QUIET PROGRAM ADMIT MAP
set_config() {
	config_command "$@"
	cmd "${CONFIG_COMMAND[@]}"
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

# What stands where our pins are to be, whatever it is.
pins() {
	local pin
	for pin in "${PINS[@]}" "${LIST_PINS[@]}" "${GUARD_DIRS[@]}" "$RUNNING_PIN" "$NEW_SOCKOPS_PIN" \
		"$NEW_BYPASS_PIN"; do
		[[ ! -e $pin && ! -L $pin ]] || say "$pin"
	done
}

# is_pin PATH: a regular file of root in a BPF file system is what root has pinned there: no other
# can be made.  Others can make links and directories, where the file system was open to them once.
is_pin() {
	[[ -f $1 && ! -L $1 && -O $1 ]]
}

is_guarded() {
	[[ -d $GUARD_DIR && ! -L $GUARD_DIR && -O $GUARD_DIR ]] &&
		is_pin "$GUARD_DIR/${GUARD_PROGRAMS[0]}" && is_pin "$GUARD_DIR/${GUARD_PROGRAMS[1]}"
}

# can_read_config: what cannot be read is not switched off.  To be asked where is_loaded says no.
can_read_config() {
	[[ -z $(config_of pinned "$CONFIG_PIN") ]] && is_pin "$CONFIG_PIN" || return 0
	warn "bpftool cannot read $CONFIG_PIN; this says why: sudo bpftool map dump pinned $CONFIG_PIN"
	return 1
}

# All is pinned, and switched on: the last thing that load.sh does, and the first
# that unload.sh undoes.
is_loaded() {
	local values pin said
	for pin in "${PINS[@]}"; do
		is_pin "$pin" || return
	done
	# Twice: a bpftool that was killed has not said no.
	said=$(config_of pinned "$CONFIG_PIN") || said=$(config_of pinned "$CONFIG_PIN") || return
	read -ra values < <(say "$said")
	[[ ${values[1]:-$OFF} -eq $ON ]]
}
