# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The BPF file system: whom it is for, and the lock of the scripts, which is its root.  Sourced by
# common.sh.

has_bpffs() {
	local line lines type=
	mapfile -t lines </proc/self/mounts # `read` would have the kernel write it anew for each line
	for line in "${lines[@]}"; do
		# The last one hides those before.
		[[ $line != *" $BPFFS "* || ! $line =~ ^[^\ ]*\ "$BPFFS"\ ([^\ ]+)\  ]] || type=${BASH_REMATCH[1]}
	done
	[[ $type == bpf ]]
}

# Pins are believed, and the lock is taken, because nobody but root can reach them.  systemd mounts
# it so, mount(8) by default with mode 1777.
check_bpffs() {
	local owner mode
	has_bpffs || return 0
	read -r owner mode < <(stat -c '%u %a' "$BPFFS") || {
		warn "cannot look at $BPFFS"
		return 1
	}
	((owner == 0 && (8#$mode & 8#077) == 0)) || {
		warn "others than root can use $BPFFS (mode $mode), and so pretend that something is loaded, or" \
			"stop these scripts; to close it: sudo chown root $BPFFS; sudo chmod 700 $BPFFS"
		return 1
	}
}

# Several scripts at once would take each other's work for leftovers.  The lock is the root of the
# BPF file system: what can collide are the pins in it, containers that share them share it, only
# root can open it (check_bpffs), and it leaves nothing behind.  Where there is none, nothing can be
# pinned.
one_at_a_time() {
	has_bpffs || return 0
	exec {LOCK}<"$BPFFS"
	if ! flock --nonblock "$LOCK"; then
		warn "waiting for another load.sh or unload.sh"
		flock --wait 60 "$LOCK" || die "another load.sh or unload.sh has been at work for a minute; try" \
			"again later"
	fi
	[[ $BPFFS -ef /dev/fd/$LOCK ]] || die "$BPFFS was unmounted meanwhile; try again"
}

# is_being_changed: does another script have the lock?
is_being_changed() {
	! flock --shared --nonblock "$BPFFS" true
}
