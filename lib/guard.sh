# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The guard (bpf/bpf_guard.c): whether this host has what it needs, and how it comes and goes.
# Sourced by load.sh, after maps.sh and kernel.sh.

# why_no_guard: what the kernel lacks for it.
why_no_guard() {
	local active machine
	machine=$(uname -m)
	if kernel_before 6.0; then
		say "that needs kernel 6.0 or newer"
	elif [[ $machine != x86_64 && $machine != aarch64 ]]; then
		say "it does not know the system calls of $machine"
	elif ! active=$(cat /sys/kernel/security/lsm 2>/dev/null); then
		say "the active LSMs cannot be seen; where the kernel has any: sudo mount -t securityfs none" \
			"/sys/kernel/security"
	elif [[ ,$active, != *,bpf,* ]]; then
		say "BPF is not among the active LSMs ($active); to have it from the next boot on, add it to" \
			"lsm= of the kernel's command line"
	fi
}

NO_GUARD= # why it is not loaded

# load_guard DIRECTORY.  Without it the rest does its work all the same.
load_guard() {
	local log pin
	NO_GUARD=$(why_no_guard)
	[[ -z $NO_GUARD ]] || return 0
	undo_with "$1" rm -rf "$1"
	if ! log=$(cmd bpftool prog loadall "$OBJECTS/$GUARD.o" "$1" 2>&1); then
		NO_GUARD="the kernel refuses $GUARD: $(reason_in "$log")"
		drop_guard
		return
	fi
	say "$log" >&2
	for pin in "${GUARD_PINS[@]/#"$GUARD_DIR"/$1}"; do
		if ! log=$(cmd bpftool cgroup attach "$CGROUP" lsm_cgroup pinned "$pin" multi 2>&1); then
			NO_GUARD="$GUARD cannot be attached: $(reason_in "$log")"
			drop_guard
			return
		fi
		say "$log" >&2
		undo_with "$pin attached to $CGROUP" bpftool cgroup detach "$CGROUP" lsm_cgroup pinned "$pin"
	done
}

# A guard that cannot be attached does not stay (some arm64 kernels load it, but lack what attaching
# takes).  Its steps are the last ones.
drop_guard() {
	while [[ ${UNDOES[0]} == *"$GUARD"* ]]; do
		cmd bash -c "${UNDO[0]}"
		UNDO=("${UNDO[@]:1}")
		UNDOES=("${UNDOES[@]:1}")
	done
}

# is_guard_attached: a script that was killed may have pinned it only, or detached it already.
# Attaching it once more is refused where it is attached.
is_guard_attached() {
	local pin log
	is_guarded || return
	for pin in "${GUARD_PINS[@]}"; do
		log=$(cmd -q bpftool cgroup attach "$CGROUP" lsm_cgroup pinned "$pin" multi 2>&1) ||
			[[ $log == *"Invalid argument"* ]] || return
	done
}

# For --no-guard, after a --reload.
unload_guard() {
	local pin
	is_guarded || return 0
	for pin in "${GUARD_PINS[@]}"; do
		cmd bpftool cgroup detach "$CGROUP" lsm_cgroup pinned "$pin" || true
	done
	cmd rm -r "$GUARD_DIR" || true
}
