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

# take_off DIRECTORY: of a guard that may be attached.
take_off() {
	local pin
	for pin in "${GUARD_PINS[@]/#"$GUARD_DIR"/$1}"; do
		cmd -t bpftool cgroup detach "$CGROUP" lsm_cgroup pinned "$pin" || true
	done
	cmd rm -rf "$1"
}

# reload_guard: a new one beside the old, which place_guard() takes off.  Whether the old one is
# attached, or was left by a script that was killed, only CAP_SYS_ADMIN can see.
reload_guard() {
	local dir=$GUARD_DIR
	! is_guarded || dir=$NEW_GUARD_DIR
	load_guard "$dir"
	[[ -z $NO_GUARD || $dir == "$GUARD_DIR" ]] || die "cannot load the guard again: $NO_GUARD"
}

# place_guard: the new one in the place of the old.
place_guard() {
	[[ -d $NEW_GUARD_DIR ]] || return 0
	take_off "$GUARD_DIR"
	cmd mv "$NEW_GUARD_DIR" "$GUARD_DIR"
}
