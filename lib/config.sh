# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# sock_ops_config (bpf/config.h): the switch, what is admitted, and which version it is.  Sourced
# after maps.sh.
#
# shellcheck disable=SC2034 # names that only some scripts use

# The states of the switch: SWITCH_* of the programs.
OFF=0
ON=1
GOING_OFF=2

# Who may be admitted: ADMIT_* of the programs.
ADMIT_MPTCP=1
ADMIT_SHORT=2
ADMIT_ALL_CGROUPS=4
ADMIT_NEW_ALONE=8 # fewer
ADMIT_ZEROCOPY=16
SCOPE_SHIFT=8 # and from this bit on the number of the scope

# Places of the numbers that config_in() prints, in the order of struct sock_config.
AT_CGROUP=0
AT_STATE=1
AT_QUIET=2
AT_PROGRAM=3
AT_TERMS=4

MAX_RANGES=64 # of ports in a scope (ports.h), for load.sh and status.sh

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
	[[ ${values[AT_STATE]:-$OFF} -eq $ON ]]
}
