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
	output_has "| ours | 125 1/s | 100..150 | 1.00 ~ (0.50..1.50) | 1.00 | 1.00 | 5.00 | 0.50 (0.50..0.50) |"
	output_has "| classic | 400 (1 of 2 failed) 1/s | 400..400 | 2.00 (2.00..2.00) |"
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
