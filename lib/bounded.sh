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

# bounded SECONDS COMMAND...: what it prints in that time.  Fails with 124 when the time is up.  By a
# process of its own, which is killed, but not waited for then: no signal ends one that sleeps in the
# kernel for a lock, and any user can hold some for as long as he likes.  He can also make that
# process the last to close one of his sockets, and it then waits as long as the socket lingers
# (SO_LINGER).  It says at its end that it has printed all, as bash does not always know: where pids
# soon come round again, wait says 255 of one that has ended.
bounded() {
	local fd results
	exec {fd}< <(
		alone
		exec </dev/null 2>/dev/null # who reads our messages does not wait for it
		trap - PIPE
		timeout --signal KILL "$(($1 + 2))" "${@:2}" && say all # later than below, which tells
	)
	timeout --foreground "$1" cat <&"$fd" | awk '
		NR > 1 { print last }
		{ last = $0 }
		END {
			if (last == "all")
				exit
			if (NR)
				print last
			exit 1
		}' 2>/dev/null
	results=("${PIPESTATUS[@]}")
	exec {fd}<&-
	return $((results[0] == 124 ? 124 : results[1]))
}
