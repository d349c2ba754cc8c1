#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Writes the counters for the textfile collector of Prometheus' node exporter: whole, or not at all,
# as tcpip-bypass.prom in the directory METRICS.
#
#   metrics_file.sh           looks, and writes
#   metrics_file.sh - TEXT    writes
#
# A user who may write in that directory, or beside it, can put a link, a pipe or another directory
# in the place of each at any moment.  So all is done in the one directory that is entered first,
# and by dd, which makes a file that was not there, or fails: neither a link is followed, nor the
# mode of what has a name changed.
#
# Whoever can read it can hold its lock, and who looks something up there cannot be killed then.  So
# that is done by a process which nobody waits for.

set -euo pipefail
HERE=$(readlink -f "${BASH_SOURCE[0]}")
HERE=${HERE%/lib/*}
# shellcheck source=lib/common.sh
. "$HERE/lib/common.sh"
NEW=tcpip-bypass.new
WRITE_SECONDS=5

write() {
	cd "$METRICS" 2>/dev/null || die "METRICS is not the path of a directory"
	# Who may write beside it can have it lead anywhere.
	[[ $(pwd -P) == "${METRICS%/}" ]] ||
		die "METRICS is not the path of a directory, but a link; it leads to $(shown "$(pwd -P)")"
	umask 022
	rm -f "$NEW"
	printf '%s\n' "$1" | dd of="$NEW" conv=excl oflag=nofollow status=none
	mv -fT "$NEW" tcpip-bypass.prom
}

main() {
	local text said status=0
	[[ ${METRICS:-} == /* ]] || die "METRICS is not the path of a directory"
	if (($#)); then
		write "$2"
		return
	fi
	# 1: not loaded, which the text says.
	text=$("$HERE/status.sh" --prometheus) || (($? == 1))
	[[ $text == *tcpip_bypass_loaded* ]] || die "status.sh does not tell; the metrics stay as they are"
	said=$(bounded "$WRITE_SECONDS" \
		bash -c 'exec "$@" 2>&1' bash "$HERE/lib/metrics_file.sh" - "$text") ||
		status=$?
	[[ -z $said ]] || say "$said" >&2
	((status != 124)) || warn "METRICS: somebody holds the lock of that directory"
	exit "$status"
}

main "$@"
