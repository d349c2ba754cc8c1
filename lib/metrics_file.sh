#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Writes the counters for the textfile collector of Prometheus' node exporter: whole, or not at all,
# as tcpip-bypass.prom in the directory METRICS.
#
# A user who may write in that directory, or beside it, can put a link, a pipe or another directory
# in the place of each at any moment.  So all is done in the one directory that is entered first,
# and by dd, which makes a file that was not there, or fails: neither a link is followed, nor the
# mode of what has a name changed.

set -euo pipefail
HERE=$(readlink -f "${BASH_SOURCE[0]}")
HERE=${HERE%/lib/*}
# shellcheck source=lib/common.sh
. "$HERE/lib/common.sh"
NEW=tcpip-bypass.new

[[ ${METRICS:-} == /* ]] || die "METRICS is not the path of a directory"
# 1: not loaded, which the text says.
text=$("$HERE/status.sh" --prometheus) || (($? == 1))
[[ $text == *tcpip_bypass_loaded* ]] || die "status.sh does not tell; the metrics stay as they are"
cd "$METRICS"
# Who may write beside it can have it lead anywhere.
[[ $(pwd -P) == "${METRICS%/}" ]] ||
	die "METRICS is not the path of a directory, but a link; it leads to $(shown "$(pwd -P)")"
umask 022
rm -f "$NEW"
printf '%s\n' "$text" | dd of="$NEW" conv=excl oflag=nofollow status=none
mv -fT "$NEW" tcpip-bypass.prom
