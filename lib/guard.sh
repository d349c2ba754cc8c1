# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The guard (bpf/guard.h): whether this host has what it needs for one of the two ways to it, and
# how it comes and goes.  Sourced by load.sh, after maps.sh and kernel.sh.
#
# shellcheck disable=SC2034 # names that load.sh uses

GUARD_BY= # what it is that was loaded
NO_GUARD= # or why it was not

# why_no_guard: what no way to it can do without.
why_no_guard() {
	local machine
	machine=$(uname -m)
	if kernel_before 5.15; then
		say "that needs kernel 5.15 or newer"
	elif [[ $machine != x86_64 && $machine != aarch64 ]]; then
		say "it does not know the system calls of $machine"
	fi
}

# why_no_lsm: what the kernel lacks for bpf/bpf_guard.c.
why_no_lsm() {
	local active
	if kernel_before 6.0; then
		say "BPF LSM programs for it need kernel 6.0 or newer"
	elif ! active=$(cat /sys/kernel/security/lsm 2>/dev/null); then
		say "the active LSMs cannot be seen; where the kernel has any: sudo mount -t securityfs none" \
			"/sys/kernel/security"
	elif [[ ,$active, != *,bpf,* ]]; then
		say "BPF is not among the active LSMs ($active); to have it from the next boot on, add it to" \
			"lsm= of the kernel's command line"
	fi
}

# why_no_trace: what this host lacks for bpf/bpf_guard_trace.c.
why_no_trace() {
	if [[ $(uname -m) == aarch64 ]] && kernel_before 6.4; then
		say "tracing programs for it need kernel 6.4 or newer on arm64"
	elif [[ $(bpftool prog help 2>&1) != *autoattach* ]]; then
		say "attaching tracing programs takes the bpftool of Linux 6.2 or newer"
	fi
}

# load_guard DIRECTORY: by the first way that this host has.  Without it the rest does its work all
# the same.
load_guard() {
	local way why reasons=
	NO_GUARD=$(why_no_guard)
	[[ -z $NO_GUARD ]] || return 0
	for way in lsm trace; do
		why=$("why_no_$way")
		if [[ -z $why ]]; then
			undo_with "$1" rm -rf "$1"
			! "guard_by_$way" "$1" || return 0
			drop_guard
		fi
		reasons+=${reasons:+; }$why
	done
	GUARD_BY=
	NO_GUARD=$reasons
}

# guard_by_lsm DIRECTORY, guard_by_trace DIRECTORY: where they fail, `why` says why.

guard_by_lsm() {
	local log name pin
	GUARD_BY="BPF LSM programs"
	log=$(cmd bpftool prog loadall "$OBJECTS/$GUARD.o" "$1" 2>&1) || {
		why="the kernel refuses $GUARD: $(reason_in "$log")"
		return 1
	}
	say "$log" >&2
	for name in "${GUARD_PROGRAMS[@]}"; do
		pin=$1/$name
		undo_with "$pin attached to $CGROUP_SHOWN" bpftool cgroup detach "$CGROUP" lsm_cgroup pinned \
			"$pin"
		begin_step
		log=$(cmd bpftool cgroup attach "$CGROUP" lsm_cgroup pinned "$pin" multi 2>&1) || {
			why="$GUARD cannot be attached: $(reason_in "$log")"
			return 1
		}
		end_step
		say "$log" >&2
	done
}

# What is pinned are their links: with these they are attached, and detached.
guard_by_trace() {
	local log
	GUARD_BY="tracing programs"
	log=$(cmd bpftool prog loadall "$OBJECTS/$GUARD_TRACE.o" "$1" autoattach 2>&1) || {
		why="the kernel refuses $GUARD_TRACE: $(reason_in "$log")"
		return 1
	}
	say "$log" >&2
	# What it could not attach, it has pinned all the same.
	[[ $log != *"falling back to pinning"* ]] || {
		why="$GUARD_TRACE cannot be attached: $(reason_in "$log")"
		return 1
	}
}

# A guard that cannot be attached does not stay (some arm64 kernels load it, but lack what attaching
# takes).  Its steps are the last ones.  What cannot be undone is left to on_failure().
drop_guard() {
	while [[ ${UNDOES[0]:-} == *"$GUARD"* ]]; do
		undo_last
	done
}

# attach_guard DIRECTORY: again, where a script that was killed has left it in part.  The kernel
# refuses a program a second time.  Tracing programs are attached as long as their links are pinned.
attach_guard() {
	local name
	for name in "${GUARD_PROGRAMS[@]}"; do
		cmd -t bpftool cgroup attach "$CGROUP" lsm_cgroup pinned "$1/$name" multi || true
	done
}

# take_off DIRECTORY: of a guard, attached or not.
take_off() {
	local name
	for name in "${GUARD_PROGRAMS[@]}"; do
		detach_pin "$CGROUP" lsm_cgroup "$1/$name" || return
	done
	cmd rm -rf "$1"
}

# reload_guard: a new one beside the old, which place_guard() takes off.
reload_guard() {
	local dir=$GUARD_DIR
	! is_guarded || dir=$NEW_GUARD_DIR
	load_guard "$dir"
	[[ -z $NO_GUARD || $dir == "$GUARD_DIR" ]] || die "cannot load the guard again: $NO_GUARD"
}

# place_guard: the new one in the place of the old.  A whole one is in the first of GUARD_DIRS, or,
# while there is none, in the last, wherever this is killed.
place_guard() {
	[[ -d $NEW_GUARD_DIR ]] || return 0
	cmd mv -T "$GUARD_DIR" "$OLD_GUARD_DIR" && cmd mv -T "$NEW_GUARD_DIR" "$GUARD_DIR" &&
		take_off "$OLD_GUARD_DIR"
}

# remove_guard: from its place first, so that it is not believed when it is taken off in part.
remove_guard() {
	cmd mv -T "$GUARD_DIR" "$NEW_GUARD_DIR" && take_off "$NEW_GUARD_DIR"
}

# end_former_guard: what a load.sh that was killed has left of these.  The one in its place stays.
end_former_guard() {
	local dir
	[[ -e $GUARD_DIR || ! -e $OLD_GUARD_DIR ]] || cmd mv -T "$OLD_GUARD_DIR" "$GUARD_DIR"
	for dir in "$NEW_GUARD_DIR" "$OLD_GUARD_DIR"; do
		[[ ! -e $dir ]] || take_off "$dir" ||
			die "bpftool cannot take off what a load.sh that was killed has left: $dir"
	done
	if is_guarded; then
		attach_guard "$GUARD_DIR"
	elif [[ -e $GUARD_DIR ]]; then
		take_off "$GUARD_DIR" || die "bpftool cannot take off what is left of $GUARD_DIR"
	fi
}
