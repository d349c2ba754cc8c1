# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The BPF file system: whom it is for, and the lock of the scripts, which is its root.  Sourced by
# common.sh.

# has_bpffs: is there one?  Where that is not known, there is.
has_bpffs() {
	local kind
	[[ -d $BPFFS ]] || return
	kind=$(stat -f -c %T "$BPFFS" 2>/dev/null) || kind=bpf_fs
	[[ $kind == bpf_fs ]]
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

# The kernel may have made *.debug.
UNMOUNT='[[ -n $(find "$1" -mindepth 1 ! -name "*.debug" -print -quit) ]] || umount --lazy "$1"'

# For root alone.  Two at once would mount two, one upon the other.  A lock prevents it, but any
# user can take that one: so it is waited for 5 s at most.
mount_bpffs() {
	local lock
	! has_bpffs || return 0
	[[ -d $BPFFS ]] || die "$BPFFS does not exist: this kernel has no BPF file system"
	exec {lock}<"$BPFFS"
	timeout --foreground 5 flock "$lock" || true
	if ! has_bpffs; then
		# Unless somebody has pinned something there.  Lazily: the lock of all scripts is in it.
		undo_with "the BPF file system on $BPFFS" bash -c "$UNMOUNT" bash "$BPFFS"
		step mount -t bpf -o mode=0700 bpf "$BPFFS"
	fi
	exec {lock}<&-
}

# lock_holders: the processes that have the lock, as far as they can be found within 5 s.  One that
# is no script of ours has opened the directory while all could.  By the names of open files first:
# a user can stop whoever reads the fdinfo of an epoll(7) of his.
lock_holders() {
	local device inode pid name find
	read -r device inode < <(stat -c '%d %i' "$BPFFS")
	printf -v device '%02x:%02x' $((device >> 8 & 0xfff)) $((device & 0xff | device >> 12 & 0xfff00))
	find="find \"\${@/%//fd}\" -mindepth 1 -maxdepth 1 -lname '$BPFFS' | sed 's,/fd/,/fdinfo/,' |
		xargs grep -ls '^lock:.* FLOCK .* $device:$inode '"
	while IFS=/ read -r _ _ pid _; do
		name=$(bounded 1 cat "/proc/$pid/comm") || true
		say "$pid ($(shown "$name"))"
	done < <(of_processes 5 "$find" | head -n 20) | paste -sd ' '
}

# Several scripts at once would take each other's work for leftovers.  The lock is the root of the
# BPF file system: what can collide are the pins in it, containers that share them share it, only
# root can open it (check_bpffs), and it leaves nothing behind.  Where there is none, nothing can be
# pinned.  Not flock --wait, which takes a POSIX timer: root of any container can have all of uid 0's.
one_at_a_time() {
	has_bpffs || return 0
	exec {LOCK}<"$BPFFS"
	if ! flock --nonblock "$LOCK"; then
		warn "waiting for another load.sh or unload.sh"
		timeout --foreground 60 flock "$LOCK" ||
			die "another load.sh or unload.sh has been at work for a minute; try" \
				"again later, or end what holds the lock of $BPFFS: $(lock_holders)"
	fi
	[[ $BPFFS -ef /dev/fd/$LOCK ]] || die "$BPFFS was unmounted meanwhile; try again"
}

# is_being_changed: does another script have the lock?
is_being_changed() {
	! flock --shared --nonblock "$BPFFS" true
}
