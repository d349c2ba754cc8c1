# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Commands whose time others can stretch.  Sourced by common.sh.
#
# shellcheck disable=SC2119,SC2120 # arguments that only some scripts use

# alone [FD...]: in a process that may outlive this one: without the lock, and what the caller has
# open, except for these.
alone() {
	local fd
	for fd in /proc/self/fd/*; do
		fd=${fd##*/}
		((fd <= 2)) || [[ " $* " == *" $fd "* ]] || exec {fd}>&-
	done
}

# bounded SECONDS COMMAND...: what it prints in that time.  Fails with 124 when the time is up.  By
# a process of its own, which is killed, but not waited for then: no signal ends one that sleeps in
# the kernel for a lock, and any user can hold some for as long as he likes.  He can also make that
# process the last to close one of his sockets, and it then waits as long as the socket lingers
# (SO_LINGER).  It says by a pipe that it has printed all, as bash does not always know: where pids
# soon come round again, wait says 255 of one that has ended.
bounded() {
	local fd all status=0
	exec {all}<> <(:)
	exec {fd}< <(
		alone "$all"
		exec </dev/null 2>/dev/null # who reads our messages does not wait for it
		trap - PIPE
		# After the limit below, whose 124 tells.
		timeout --signal KILL "$(($1 + 2))" "${@:2}" && echo >&"$all"
	)
	timeout --foreground "$1" cat <&"$fd" 2>/dev/null || status=$?
	exec {fd}<&-
	((status)) || read -rt 0 -u "$all" || status=1
	exec {all}<&-
	return "$status"
}

# of_processes SECONDS SCRIPT [PROCESS...]: what bash prints in that time, with SCRIPT and 4 of the
# processes at a time; without, of all directories in /proc.  Any user can hold the lock of the
# directory that his process has in /proc (getdents(2) into memory that does not come, and a
# mkdir(2) behind it), and who looks something up there sleeps.  So 64 of these are at it at once,
# and each that sleeps hides 3 others at most.
of_processes() {
	# There may be more of all than the kernel takes as arguments.
	bounded "$1" bash -c '(($# > 1)) || set -- "$1" /proc/[0-9]*
		printf "%s\n" "${@:2}" | xargs -n 4 -P 64 bash -c "$1" bash' bash "${@:2}"
}
