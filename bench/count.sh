#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Counts instructions, as root:
#
#   bench/count.sh [--install-deps] [KERNEL]...
#   bench/count.sh --update
#   bench/count.sh --table
#
# In virtual machines (tests/guests.bash), whose clock counts the instructions that their CPU
# executes (qemu -icount): so figures are the same on every machine, and beside any neighbour, to
# 0.5 %.  What they leave out is what a cache and a pipeline make of them.
#
# Fails where the pair takes more than what is checked in (count.csv) by over 1 %; --update
# writes what was counted there.  If Debian has another release of that kernel by now, the figures
# are compared by what they are to those of TCP, or of the classic pair, and over 3 % fail.  Streams
# are not compared: how large TCP lets its buffers grow makes 8 % from one to the next.  Closes with
# the line `N passed, M failed`, of what was compared.  --table prints what is checked in.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/guests.bash
. tests/guests.bash

COUNTED=bench/count.csv # kernel,release,what,variant,instructions
COUNTED_ON=(6.1 6.12)

# count_on KERNEL: lines of COUNTED; fails where the guest did not come to its end.
count_on() {
	local log=$WORK/$1.log release
	stage "$WORK/$1" "$1"
	cp bench/count-guest.sh "$WORK/$1/init"
	run_guest "$1" "$WORK/$1" -icount shift=0,sleep=off >"$log" || true # its end decides
	release=$(<"${KERNEL_OF[$1]}/release")
	sed -n "s/^@count|\(.*\)|\(.*\)|\(.*\)/$1,$release,\1,\2,\3/p" "$log"
	grep -qa '^@done' "$log" || {
		echo "$1: the guest did not come to its end; the last it said:" >&2
		tail -n 20 "$log" >&2
		return 1
	}
}

# compare COUNTED FIGURES: of what is ours, or a guard's.
compare() {
	awk -F, '
		function control(kernel, what, value,    other) {
			other = value[kernel, what, "classic"]
			return other ? other : value[kernel, what, "plain"]
		}
		FNR == NR {
			was[$1, $3, $4] = $5
			release[$1] = $2
			next
		}
		{
			is[$1, $3, $4] = $5
			row[++rows] = $0
		}
		END {
			for (i = 1; i <= rows; i++) {
				split(row[i], cell, ",")
				if (cell[4] !~ /^(ours|all|guard|trace)$/ || cell[3] ~ /^stream/)
					continue
				old = was[cell[1], cell[3], cell[4]]
				if (!old) {
					bad++
					printf "%s, %s, %s: %d, and nothing is checked in\n", cell[1], cell[3], cell[4], cell[5]
					continue
				}
				ratio = cell[5] / old
				most = 1.01
				if (cell[2] != release[cell[1]]) {
					ratio *= control(cell[1], cell[3], was) / control(cell[1], cell[3], is)
					most = 1.03
				}
				over = (ratio > most)
				printf "%s, %s, %s: %d, %.3f of what is checked in%s\n", cell[1], cell[3], cell[4],
					cell[5], ratio, over ? ": MORE" : ""
				bad += over
				good += !over
			}
			printf "%d passed, %d failed\n", good, bad
			exit (bad != 0)
		}' "$1" "$2"
}

# table: of what is checked in, for docs/performance.md.
table() {
	awk -F, '
		BEGIN {
			names = "rr_64,round trip of 64 B|rr_16k,of 16 KiB|rr_256k,of 256 KiB|send,program of a send|" \
				"connection,connection with one request|outside,the same to a peer outside of the cgroup|" \
				"stream_mb,MB of a stream|pipe,write(2) and read(2) of 1 B in a pipe"
			variants = "plain,ours,all,guard,trace,classic,empty,unix"
			split(variants, variant, ",")
			print "| instructions | kernel | plain TCP | ours | `--all-connections` | guard | by tracing | classic | empty | unix |"
			print "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
		}
		FNR > 1 {
			value[$1, $3, $4] = $5
			if (!($1 in seen)) {
				seen[$1]
				kernel[++kernels] = $1
			}
		}
		END {
			for (i = split(names, name, "|"); i; i--)
				lines[i] = name[i]
			for (i = 1; i in lines; i++) {
				split(lines[i], part, ",")
				for (k = 1; k <= kernels; k++) {
					printf "| %s | %s |", part[2], kernel[k]
					for (v = 1; v in variant; v++)
						printf " %s |", ((kernel[k], part[1], variant[v]) in value) ? thousands(value[kernel[k], part[1], variant[v]]) : ""
					print ""
				}
			}
		}
		function thousands(n) {
			return n < 1000 ? n : int(n / 1000) "," sprintf("%03d", n % 1000)
		}' "$COUNTED"
}

main() {
	local name suite arch parameter update='' pids=() failed=0
	while [[ ${1:-} == --* ]]; do
		case $1 in
		--install-deps) install_packages "${HOST_PACKAGES[@]}" ;;
		--update) update=1 ;;
		--table)
			table
			return
			;;
		*)
			die "no such option: $1 (usage: bench/count.sh [--install-deps] [--update | --table]" \
				"[KERNEL]...)"
			;;
		esac
		shift
	done
	[[ $EUID -eq 0 ]] || die "needs root: sudo $0"
	[[ -z $update || $# -eq 0 ]] || die "--update: all kernels, or none"
	[[ $# -gt 0 ]] || set -- "${COUNTED_ON[@]}"
	prepare_guests
	make -s all test-programs
	while read -r name suite arch parameter; do
		[[ -n $name && " $* " == *" $name "* ]] || continue
		fetch "$name" "$suite" "$arch" "$parameter" || die "cannot fetch what $name needs, see above"
		count_on "$name" >"$WORK/$name.csv" &
		pids+=($!)
	done <<<"$KERNELS"
	((${#pids[@]} == $#)) || die "no such kernel among: $*"
	for pid in "${pids[@]}"; do
		wait "$pid" || failed=1
	done
	((!failed)) || die "not all was counted"
	{
		echo kernel,release,what,variant,instructions
		cat "$WORK"/*.csv
	} >"$WORK/all"
	if [[ -n $update ]]; then
		cp "$WORK/all" "$COUNTED"
		return
	fi
	compare "$COUNTED" <(sed 1d "$WORK/all")
}

main "$@"
