#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# The measurements of bench/ work; what they measure is not looked at.

bats_require_minimum_version 1.5.0
load assert.bash

setup() {
	BENCH=$BATS_TEST_DIRNAME/../bench/bench.sh
	cd "$BATS_TEST_TMPDIR"
}

# bats test_tags=long
@test "bench: all variants give positive figures, in a table" {
	local variant
	run -0 --separate-stderr "$BENCH" --quick --output . connections
	# 2 numbers of connections, 3 rounds.
	for variant in plain ours classic unix; do
		awk -F, -v v="$variant" '$6 == v && $9 > 0 && $12 > 0 { n++ } END { exit n != 6 }' results.csv
	done
	have_want "lines of results" "$(grep -vc '^#' results.csv)" -eq 25
	grep -q '^# kernel: ' results.csv
	grep -q '^# congestion control: cubic' results.csv
	output_has "| many | 64 B | 100 | " " | ours | "
	have_want "output" "$output" = "$("$BENCH" --summary results.csv)"
}

# results GROUP PATTERN...: two rounds, in one of which the classic pair failed.
results() {
	echo group,pattern,size,connections,cores,variant,round,unit,value,p50_us,p99_us,cpu_us_per_op
	while [[ $# -gt 0 ]]; do
		cat <<-END
			$1,$2,64,1,1,plain,1,1/s,100,1,1,10
			$1,$2,64,1,1,ours,1,1/s,150,1,1,5
			$1,$2,64,1,1,classic,1,1/s,fail,,,
			$1,$2,64,1,1,plain,2,1/s,200,1,1,10
			$1,$2,64,1,1,ours,2,1/s,100,1,1,5
			$1,$2,64,1,1,classic,2,1/s,400,1,1,5
		END
		shift 2
	done
}

@test "bench: ratios are of pairs, and a run that failed is in the table" {
	results rr rr >results.csv
	run -0 "$BENCH" --summary results.csv
	# 1.5 and 0.5: in the noise.
	output_has "| ours | 125 1/s | 100..150 | 1.00 ~ (0.50..1.50) | 0.25 (0.25..0.25) | 1.00 | 1.00 | 5.00 | 0.50 (0.50..0.50) |"
	output_has "| classic | 400 (1 of 2 failed) 1/s | 400..400 | 2.00 (2.00..2.00) |"
	# The rounds of several runs are rounds of one.
	sed 's/,100,1,1,5/,1000,1,1,5/' results.csv >second.csv
	run -0 "$BENCH" --summary results.csv second.csv
	output_has "| ours | 150 1/s | 100..1000 | 1.50 ~ (0.50..5.00) |" \
		"| classic | 400 (2 of 4 failed) 1/s |"
	echo "rr,one field, too many,64,1,1,plain,1,1/s,100,1,1,10" >>results.csv
	run -1 "$BENCH" --summary results.csv
	output_has "not a row of results"
}

@test "bench: charts are well-formed, and there is one for what was measured" {
	local chart
	results rr rr stream stream redis "redis GET" >results.csv
	run -0 --separate-stderr "$BENCH" --charts results.csv --output charts
	for chart in charts/performance-{latency,stream,programs}.svg; do
		xmllint --noout "$chart"
		grep -q 'classic pair' "$chart"
	done
	grep -q 'redis GET' charts/performance-programs.svg
	results crr crr >results.csv
	"$BENCH" --charts results.csv --output none
	run ! ls none/*.svg
}

@test "bench: errors in the arguments say what is wrong" {
	run -2 "$BENCH" nonsense
	output_has "no such group: nonsense" --help
	run -2 "$BENCH" --summary missing.csv
	output_has "cannot read missing.csv"
	run -2 "$BENCH" --output
	output_has "--output needs an argument"
}

# counted RELEASE KEY=VALUE...: what bench/count.sh has counted on 6.12.
counted() {
	local release=$1 pair
	shift
	for pair; do
		echo "6.12,$release,${pair/=/,}"
	done
}

# compared: `now` with what stands in `checked`.
compared() {
	(
		export ROOT=$BATS_TEST_DIRNAME/..
		# shellcheck disable=SC1090
		. <(sed 's/^main "\$@"$//; s/^cd .*/cd "$ROOT"/' "$ROOT/bench/count.sh")
		compare "$BATS_TEST_TMPDIR"/{checked,now}
	)
}

@test "count: what takes more than is checked in fails, of another kernel by its ratio" {
	counted a rr_64,plain=2000 rr_64,classic=1000 rr_64,ours=1100 pipe,plain=100 pipe,guard=150 \
		>checked
	counted a rr_64,plain=2500 rr_64,classic=1300 rr_64,ours=1110 pipe,plain=100 pipe,guard=140 >now
	run -0 compared
	output_has "2 passed, 0 failed"
	counted a rr_64,plain=2000 rr_64,classic=1000 rr_64,ours=1112 pipe,plain=100 pipe,guard=150 >now
	run -1 compared
	output_has "6.12, rr_64, ours: 1112, 1.011 of what is checked in: MORE" "1 passed, 1 failed"
	counted b rr_64,plain=2000 rr_64,classic=1200 rr_64,ours=1340 pipe,plain=80 pipe,guard=121 >now
	run -0 compared
	counted b rr_64,plain=2000 rr_64,classic=1000 rr_64,ours=1140 pipe,plain=80 pipe,guard=121 >now
	run -1 compared
	output_has "1 passed, 1 failed"
	counted a rr_16k,ours=1 >now
	run -1 compared
	output_has "nothing is checked in"
}

@test "count: docs/performance.md has what is checked in" {
	cd "$BATS_TEST_DIRNAME/.."
	diff <(bench/count.sh --table) <(grep -A 20 '^| instructions | kernel' docs/performance.md | sed '/^$/,$d')
}

@test "virtual machines: a wrong argument gets a clear error, from both scripts that run them" {
	cd "$BATS_TEST_DIRNAME/.."
	run -1 tests/kernels.sh 9.9
	output_has "kernels.sh: no such kernel: 9.9; there are: newest"
	run -1 bench/count.sh --nosuch
	output_has "count.sh: no such option: --nosuch"
}
