#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Load the pair, the guard and the lists, or change what is loaded (--reload).  Everything is
# checked before anything is changed; what was done is undone when a later step fails.

set -euo pipefail
HERE=$(readlink -f "${BASH_SOURCE[0]}")
HERE=${HERE%/*}
# shellcheck source=lib/common.sh
. "$HERE/lib/common.sh"
# shellcheck source=lib/maps.sh
. "$HERE/lib/maps.sh"
# shellcheck source=lib/config.sh
. "$HERE/lib/config.sh"
# shellcheck source=lib/cgroups.sh
. "$HERE/lib/cgroups.sh"
# shellcheck source=lib/attached.sh
. "$HERE/lib/attached.sh"
# shellcheck source=lib/checks.sh
. "$HERE/lib/checks.sh"
# shellcheck source=lib/undo.sh
. "$HERE/lib/undo.sh"
# shellcheck source=lib/deps.sh
. "$HERE/lib/deps.sh"
# shellcheck source=lib/kernel.sh
. "$HERE/lib/kernel.sh"
# shellcheck source=lib/lists.sh
. "$HERE/lib/lists.sh"
# shellcheck source=lib/guard.sh
. "$HERE/lib/guard.sh"
# shellcheck source=lib/exchange.sh
. "$HERE/lib/exchange.sh"
# shellcheck source=lib/other_programs.sh
. "$HERE/lib/other_programs.sh"
# shellcheck source=lib/updates.sh
. "$HERE/lib/updates.sh"
# shellcheck source=lib/scope.sh
. "$HERE/lib/scope.sh"
# shellcheck source=lib/open_before.sh
. "$HERE/lib/open_before.sh"
# shellcheck source=lib/haproxy.sh
. "$HERE/lib/haproxy.sh"
# shellcheck source=lib/splicers.sh
. "$HERE/lib/splicers.sh"
# shellcheck source=lib/reload.sh
. "$HERE/lib/reload.sh"

usage() {
	cat <<-END
		load.sh - let TCP between programs of this host skip the TCP/IP stack

		SYNOPSIS
		    sudo ./load.sh [--cgroup PATH] [--exclude-cgroup PATH]...
		                   [--exclude-program NAME]... [--port LIST] [--exclude-port LIST]
		                   [--all-connections] [--admit-zerocopy] [--no-guard]
		                   [--admit-splicing] [--quiet] [--install-deps]
		    sudo ./load.sh --reload [OPTION]...
		    ./load.sh --help | --version

		DESCRIPTION
		    Loads two BPF programs and attaches them.  From then on new TCP connections between
		    programs of this host are accelerated.  If a step fails, what was done is undone.
		    Where this host has what it needs, two or four more, the guard, see the calls of
		    programs that read their sockets with splice(2).

		    With --reload what is loaded goes by the OPTIONs given now, in the place of those
		    before, and becomes this version, if it is another one.  Connections stay on the
		    bypass.  Those that the new options leave out go back to TCP, at a send of theirs.

		OPTIONS
		    --cgroup PATH           only connections with both ends under this cgroup, a directory
		                            of cgroup v2; default: the root, that is, all programs
		    --exclude-cgroup PATH   no connections with an end under this cgroup; up to $MAX_CGROUPS times
		    --exclude-program NAME  no connections to or from programs of this name; for what such
		                            a program listens on already its cgroup is excluded; a name
		                            as in /proc/PID/comm, of which 15 characters count; up to
		                            $MAX_PROGRAMS times
		    --port LIST             only connections to servers that listen on these ports: numbers
		                            from 1 to 65535 and ranges, as in 80,8000-8100
		    --exclude-port LIST     no connections to these ports, whatever --port says; at most
		                            $MAX_RANGES numbers and ranges in both lists together
		    --all-connections       also those of programs whose last connections to the server were
		                            short: a connection with one or two requests takes longer on
		                            the bypass than over TCP, and is left to it
		    --admit-zerocopy        also those whose server has SO_ZEROCOPY set, as those of gRPC in C++,
		                            Python, Ruby, PHP and C#: a program that does send with
		                            MSG_ZEROCOPY then waits for completions that never come
		    --no-guard              without the guard, programs that are asked at each read(2),
		                            write(2), splice(2) and getsockopt(2)
		    --admit-splicing        do not exclude the programs that are known to read with splice(2),
		                            and cannot be guarded; otherwise they are excluded as by
		                            --exclude-program, and named
		    --quiet                 write no lines to the kernel's trace
		    --reload                change what is loaded: all options but --cgroup, and the version
		    --install-deps          first install what is missing to compile and load, from the
		                            distribution's packages
		    --help                  show this text

		EXIT STATUS
		    0  loaded
		    1  not loaded, or not reloaded, and nothing has changed; what could not be undone is named
		    2  the same: an argument is wrong
		    3  the same: what is loaded, of another version or for another cgroup, cannot be reloaded

		SEE ALSO
		    status.sh shows what is loaded.  unload.sh ends it.
	END
}

# ---- arguments -------------------------------------------------------------

CGROUP=        # unchanged, for what is done with it
CGROUP_SHOWN=  # for messages,
CGROUP_QUOTED= # and in commands to paste
QUIET=0
GUARD_WANTED=1
ADMIT_SPLICING=0
RELOAD=0
INSTALL=0

parse() {
	local list
	while [[ $# -gt 0 ]]; do
		case $1 in
		--cgroup | --exclude-cgroup | --exclude-program | --port | --exclude-port)
			[[ $# -ge 2 ]] || usage_error "$1 needs an argument"
			;;&
		--cgroup)
			check_cgroup "$1" "$2"
			CGROUP=$(readlink -f "$2")
			check_lasting "$1" "$CGROUP" "nothing is attached then"
			shift
			;;
		--exclude-cgroup)
			check_cgroup "$1" "$2"
			check_lasting "$1" "$2" "it is not excluded then; --exclude-program lasts, too"
			CGROUPS[$CGROUP_NUMBER]=1
			shift
			;;
		--exclude-program)
			[[ -n $2 && $2 != */* ]] || usage_error "$1: not a name as in /proc/PID/comm: $(shown "$2")"
			PROGRAMS+=("${2:0:15}")
			shift
			;;
		--port)
			list=$(ranges "$1" "$2")
			mapfile -t -O "${#PORTS[@]}" PORTS <<<"$list"
			shift
			;;
		--exclude-port)
			list=$(ranges "$1" "$2")
			mapfile -t -O "${#EXCLUDE[@]}" EXCLUDE <<<"$list"
			shift
			;;
		--all-connections) ((ADMIT |= ADMIT_SHORT)) ;;
		--admit-zerocopy) ((ADMIT |= ADMIT_ZEROCOPY)) ;;
		--no-guard) GUARD_WANTED=0 ;;
		--admit-splicing) ADMIT_SPLICING=1 ;;
		--quiet) QUIET=1 ;;
		--reload) RELOAD=1 ;;
		--install-deps) INSTALL=1 ;;
		*) help_or_error "$1" ;;
		esac
		shift
	done
	check_numbers
}

# check_numbers: how many of each there may be.
check_numbers() {
	((${#PORTS[@]} + ${#EXCLUDE[@]} <= MAX_RANGES)) ||
		usage_error "--port and --exclude-port: more than $MAX_RANGES ports and ranges"
	((${#CGROUPS[@]} <= MAX_CGROUPS)) || usage_error "--exclude-cgroup: more than $MAX_CGROUPS times"
	((${#PROGRAMS[@]} <= MAX_PROGRAMS)) ||
		usage_error "--exclude-program: more than $MAX_PROGRAMS times"
}

# ---- the steps -------------------------------------------------------------

build() {
	local object
	if has_sources; then
		cmd make -s -C "$HERE" all || die "cannot build in $HERE; to build there as its owner: make -C" \
			"$HERE"
	fi
	for object in "$SOCKOPS" "$BYPASS" "$GUARD" "$GUARD_TRACE" "$STATUS" "$OPEN" "$RELEASE" \
		"$RUNNING"; do
		[[ -e $OBJECTS/$object.o ]] || die "$OBJECTS/$object.o is missing: install again"
	done
}

# load_program NAME TYPE PIN
load_program() {
	local log
	undo_with "$3" rm -f "$3"
	log=$(cmd bpftool prog load "$OBJECTS/$1.o" "$3" type "$2" 2>&1) || {
		say "$log" | tail -n 20 >&2 # the verifier's reason comes last
		die "the kernel refuses $1$(confinement)"
	}
	say "$log" >&2
}

# What bpf_sockops compares with, once it is loaded.
identify() {
	CGROUP_INODE=$(stat -c %i "$CGROUP")
	PROGRAM_ID=$(id_of prog pinned "$SOCKOPS_PIN")
	[[ -n $PROGRAM_ID ]] || die "bpftool does not say the id of $SOCKOPS_PIN"
}

attach_sockops() {
	undo_with "$SOCKOPS attached to $CGROUP_SHOWN" \
		bpftool cgroup detach "$CGROUP" sock_ops pinned "$SOCKOPS_PIN"
	step bpftool cgroup attach "$CGROUP" sock_ops pinned "$SOCKOPS_PIN" multi ||
		die "cannot attach to $CGROUP_SHOWN; if another sock_ops program is why, this shows it: sudo" \
			"bpftool cgroup show $CGROUP_QUOTED effective"
}

attach_bypass() {
	undo_with "$BYPASS attached to $MAP" \
		bpftool prog detach pinned "$BYPASS_PIN" msg_verdict pinned "$MAP_PIN"
	step bpftool prog attach pinned "$BYPASS_PIN" msg_verdict pinned "$MAP_PIN"
}

# Last: a socket that entered the map before its program was attached there
# would never run it.
switch_on() {
	# Also if bpftool fails: it may be on, and must not stay on once all is detached.
	switch_command "$OFF"
	undo_with "the switch, which is on" "${CONFIG_COMMAND[@]}"
	set_switch "$ON"
}

# What to expect on this kernel.
report() {
	local burst="does not count bypassed bytes; a burst may be 4 KiB" # CREDIT_UNCOUNTED
	if counts_bypassed; then
		burst="counts bypassed bytes; a burst may be 256 KiB" # CREDIT
	fi
	say "kernel $KERNEL_RELEASE: FIONREAD $burst"
	((ADMIT & ADMIT_MPTCP)) ||
		say "not accelerated on this kernel: servers that listen for Multipath TCP, as those in Go do" \
			"from 1.24 on"
	[[ -z $GUARD_BY ]] || say "guard: $GUARD_BY"
	[[ -z $NO_GUARD ]] || say "no guard, a program that reads with splice(2) hangs unless it is" \
		"excluded (docs/limits.md): $NO_GUARD"
	[[ ${#LEFT_OUT[@]} -eq 0 ]] || say_each "${LEFT_OUT[@]}"
	say "what else differs from TCP while a connection is on the bypass: docs/limits.md"
}

# ---- all of it -------------------------------------------------------------

load() {
	local open
	mount_bpffs
	check_bpffs || exit 1
	one_at_a_time
	check_not_loaded
	check_other_programs

	STARTED=1
	build
	undo_with "maps in $BPFFS" rm -f "${MAP_PINS[@]}"
	load_program "$SOCKOPS" sockops "$SOCKOPS_PIN"
	identify
	set_switch "$OFF" # so that unload.sh knows the cgroup
	((!GUARD_WANTED)) || load_guard "$GUARD_DIR"
	choose_names
	draw_secret
	now
	update_version $((NOW / 1000))
	configure || exit 1
	attach_sockops
	load_program "$BYPASS" sk_msg "$BYPASS_PIN"
	attach_bypass
	undo_with "lists in $BPFFS" rm -f "${LIST_PINS[@]}"
	pin_lists || exit 1
	undo_with "$RUNNING_PIN" rm -f "$RUNNING_PIN"
	exclude_running
	configure_cgroups || exit 1
	open=$(report_open)
	switch_on
	trap '' INT TERM HUP # it is loaded, and says so
	trap - EXIT
	report
	[[ -z $open ]] || say "$open"
	say "loaded: TCP between programs of this host, under $CGROUP_SHOWN, skips the stack"
}

# name_cgroup PATH
name_cgroup() {
	CGROUP=$1
	CGROUP_SHOWN=$(shown "$CGROUP")
	CGROUP_QUOTED=$(printf %q "$CGROUP")
}

main() {
	parse "$@"
	need_root
	check_capabilities
	check_kernel
	if ((INSTALL)); then
		install_deps
	fi
	check_deps
	! mptcp_is_safe || ((ADMIT |= ADMIT_MPTCP))
	if ((!RELOAD)); then
		[[ -n $CGROUP ]] || CGROUP=$(root_to_attach_to)
		name_cgroup "$CGROUP"
	fi
	trap '' PIPE # a reader that goes away stops nothing
	trap on_failure EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	if ((RELOAD)); then
		reload
	else
		load
	fi
}

main "$@"
