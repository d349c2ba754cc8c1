# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Names: of programs, of maps, and where they are pinned; what stands there.  Sourced by common.sh,
# with HERE set.
#
# shellcheck disable=SC2034 # names that only some scripts use

OBJECTS=$HERE/build
BPFFS=/sys/fs/bpf
SOCKOPS=bpf_sockops
BYPASS=bpf_tcpip_bypass
GUARD=bpf_guard
GUARD_TRACE=bpf_guard_trace
STATUS=sock_ops_status
OPEN=sock_ops_open
RELEASE=sock_ops_release
RUNNING=sock_ops_running
MAP=sock_ops_map
CONFIG=sock_ops_config
RECORD=sock_ops_record

SOCKOPS_PIN=$BPFFS/$SOCKOPS
BYPASS_PIN=$BPFFS/$BYPASS
# Where the kernel has what it needs.  A directory of its own: to pin all programs of an object,
# bpftool mounts a BPF file system over the parent of its pin directory, unless the parent is on one
# already.
GUARD_DIR=$BPFFS/$GUARD
GUARD_PROGRAMS=("$GUARD" "${GUARD}_get")
TRACE_PIN=$GUARD_DIR/${GUARD}_says # if the guard is GUARD_TRACE
MAP_PIN=$BPFFS/$MAP
# Of another version, until they take the places of those that are loaded (lib/exchange.sh).
NEW_SOCKOPS_PIN=${SOCKOPS_PIN}_new
NEW_BYPASS_PIN=${BYPASS_PIN}_new
NEW_GUARD_DIR=${GUARD_DIR}_new
# And the guard whose place was taken, until it is taken off.
OLD_GUARD_DIR=${GUARD_DIR}_old
GUARD_DIRS=("$GUARD_DIR" "$NEW_GUARD_DIR" "$OLD_GUARD_DIR")
STATS_PIN=$BPFFS/sock_ops_stats
RECORD_PIN=$BPFFS/$RECORD
CONFIG_PIN=$BPFFS/$CONFIG
PORTS_PIN=$BPFFS/sock_ops_ports
CGROUPS_PIN=$BPFFS/sock_ops_cgroups
NAMES_PIN=$BPFFS/sock_ops_names
ACCOUNTS_PIN=$BPFFS/sock_ops_accounts
REMEMBERED_PIN=$BPFFS/sock_ops_remembered
# libbpf pins the maps when it loads the first program (bpf/sock_record_map.h).
MAP_PINS=("$MAP_PIN" "$RECORD_PIN" "$BPFFS/sock_ops_meet" "$ACCOUNTS_PIN" "$STATS_PIN" "$CONFIG_PIN"
	"$PORTS_PIN" "$CGROUPS_PIN" "$NAMES_PIN" "$BPFFS/sock_ops_excluded" "$REMEMBERED_PIN")
PINS=("$BYPASS_PIN" "$SOCKOPS_PIN" "${MAP_PINS[@]}")
LISTS=("$OPEN" "$STATUS" "$RELEASE")
LIST_PINS=("${LISTS[@]/#/$BPFFS/}")
RUNNING_PIN=$BPFFS/$RUNNING # while load.sh looks around

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
