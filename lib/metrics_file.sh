#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Writes the counters for the textfile collector of Prometheus' node exporter: whole, or not at all,
# as tcpip-bypass.prom in the directory METRICS.
#
# Who may write in that directory, or beside it, can put a link or a device in the place of each file
# at any moment.  So install(1) takes away what is there, and creates a file, or fails; with -T
# nothing is put into what is a directory.

set -euo pipefail
HERE=$(readlink -f "${BASH_SOURCE[0]}")
HERE=${HERE%/lib/*}
NEW=$METRICS/tcpip-bypass.new

# 1: not loaded, which the text says.
text=$("$HERE/status.sh" --prometheus) || (($? == 1))
printf '%s\n' "$text" | install -m 644 -T /dev/stdin "$NEW"
mv -fT "$NEW" "$METRICS/tcpip-bypass.prom"
