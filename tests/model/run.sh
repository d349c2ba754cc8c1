#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Searches the variants of handover.pml that variants.txt lists, one after another:
#
#   tests/model/run.sh [--full] [NAME...]   all of them, those named _full only with --full; or these
#   tests/model/run.sh --trace NAME         shows a counterexample, step by step
#
# Prints of each its states, its seconds, and what came out.  A variant passes when that is what
# variants.txt expects: all states were searched, or a counterexample violates the assertion that is
# named there.  Closes with the line `N passed, M failed`.
#
# LIMIT=SECONDS (120) and MEM=MB (3000) bound each search.  Needs spin and clang.

set -euo pipefail
export LC_ALL=C
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
MODEL=$HERE/handover.pml
LIMIT=${LIMIT:-120}
MEM=${MEM:-3000}
DEPTH=20000 # of the search, in steps: some 2000 are used

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# search NAME MACROS: what the verifier says, in $WORK/out.
search() {
	local macros how=(-O0)
	read -ra macros <<<"$2"
	cd "$WORK"
	rm -f pan pan.* ./*.trail out
	if ! spin "${macros[@]}" -a "$MODEL" >out 2>&1 || [[ ! -e pan.c ]] || grep -i error out; then
		cat out
		return 1
	fi
	# Most of these are searched sooner than code is made faster.  COLLAPSE: slower, less memory.
	[[ $1 != *_full ]] || how=(-O1 -DCOLLAPSE)
	# SAFETY: no search for cycles.
	"${CLANG:-clang}" "${how[@]}" -w -DSAFETY -DVECTORSZ=1024 -DMEMLIM="$MEM" -o pan pan.c
	timeout "$LIMIT" ./pan -n -w20 -m"$DEPTH" >out 2>&1 || true
}

# outcome: `holds`, `fails ASSERTION`, or what else happened.
outcome() {
	local found
	if [[ $(sed -n 's/^pan: reached -DMEMLIM.*/x/p' "$WORK/out") ]]; then
		echo "not finished: more than $MEM MB"
	elif ! grep -q 'states, stored' "$WORK/out"; then
		echo "not finished in $LIMIT s"
	elif found=$(sed -n 's/^pan:1: //p' "$WORK/out") && [[ -n $found ]]; then
		sed -E 's/^assertion violated ([a-z_]+) .*/fails \1/' <<<"$found"
	elif grep -q 'max search depth too small' "$WORK/out"; then
		echo "not finished: deeper than $DEPTH steps"
	elif grep -q 'errors: 0$' "$WORK/out"; then
		echo "holds"
	else
		echo "no result"
	fi
}

# variants: NAME|EXPECTED|MACROS|WHAT
variants() {
	grep '^[a-z]' "$HERE/variants.txt"
}

# is_expected EXPECTED FOUND: `fails A B` expects one of two assertions.
is_expected() {
	local word
	if [[ $1 == holds ]]; then
		[[ $2 == holds ]]
		return
	fi
	for word in ${1#fails}; do
		[[ $2 != "fails $word" ]] || return 0
	done
	return 1
}

full=0 trace=
case ${1:-} in
--full)
	full=1
	shift
	;;
--trace)
	trace=${2:?needs a name}
	shift
	;;
-*)
	sed -n '4,14{s/^# \{0,1\}//; p}' "${BASH_SOURCE[0]}" >&2
	exit 2
	;;
esac
for name; do
	if [[ $'\n'$(variants) != *$'\n'"$name|"* ]]; then
		echo "run.sh: no such variant: $name" >&2
		exit 2
	fi
done

passed=0 failed=0
while IFS='|' read -r name expected macros _; do
	if (($#)); then
		[[ " $* " == *" $name "* ]] || continue
	elif [[ $name == *_full ]] && ((!full)); then
		continue
	fi
	search "$name" "$macros" || echo "no search" >"$WORK/out"
	found=$(outcome)
	if [[ -n $trace ]]; then
		[[ $found == fails* ]] || {
			echo "$name: $found"
			exit
		}
		read -ra macros <<<"$macros"
		(cd "$WORK" && spin -k ./*.trail -t -p "${macros[@]}" "$MODEL") | sed "s#$MODEL##" |
			grep -v 'Starting\|:init:\|\[else\]\|\[(1)\]\|\.(goto)'
		exit
	fi
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$WORK/out")
	seconds=$(sed -n 's/^pan: elapsed time \([0-9.e+-]*\) .*/\1/p' "$WORK/out")
	verdict=ok
	if is_expected "$expected" "$found"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		verdict="NOT OK, expected: $expected"
	fi
	printf '%-14s %10.0f %7.1f  %-20s %s\n' "$name" "${states:-0}" "${seconds:-0}" "$found" "$verdict"
done < <(variants)
echo "$passed passed, $failed failed"
((failed == 0))
