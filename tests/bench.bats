#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# The measurements of bench/ work; what they measure is not looked at.

bats_require_minimum_version 1.5.0

setup() {
	BENCH=$BATS_TEST_DIRNAME/../bench/bench.sh
	cd "$BATS_TEST_TMPDIR"
}

@test "bench: all variants give positive figures, in tables and charts" {
	run -0 --separate-stderr "$BENCH" --quick --output . rr
	# 3 sizes, 3 rounds, 4 variants, on each number of cores.
	cores=$(($(nproc) > 1 ? 2 : 1))
	[[ $(grep -c '^rr,rr,' results.csv) -eq $((36 * cores)) ]]
	for variant in plain ours classic unix; do
		[[ $(awk -F, -v v="$variant" '$6 == v && $9 > 0 && $10 > 0 && $12 > 0' results.csv | wc -l) -eq $((9 * cores)) ]]
	done
	grep -q '^# kernel: ' results.csv
	[[ $output == *"| rr | 64 B | 1 | 1 | ours | "* ]]
	[[ $output == "$("$BENCH" --summary results.csv)" ]]
	"$BENCH" --charts results.csv --output charts
	for chart in charts/performance-{latency,stream}.svg; do
		xmllint --noout "$chart"
	done
	grep -q 'classic pair' charts/performance-latency.svg
}

@test "bench: a run that fails is in the table" {
	head -n 40 >results.csv <<-END
		group,pattern,size,connections,cores,variant,round,unit,value,p50_us,p99_us,cpu_us_per_op
		rr,rr,64,1,1,plain,1,1/s,100,1,1,10
		rr,rr,64,1,1,ours,1,1/s,150,1,1,5
		rr,rr,64,1,1,classic,1,1/s,fail,,,
		rr,rr,64,1,1,plain,2,1/s,200,1,1,10
		rr,rr,64,1,1,ours,2,1/s,100,1,1,5
		rr,rr,64,1,1,classic,2,1/s,400,1,1,5
	END
	run -0 "$BENCH" --summary results.csv
	# Of pairs: 1.5 and 0.5, which is the noise.
	[[ $output == *"| ours | 125 1/s | 100..150 | 1.00 ~ (0.50..1.50) | 1.00 | 1.00 | 5.00 | 0.50 (0.50..0.50) |"* ]]
	[[ $output == *"| classic | 400 (1 of 2 failed) 1/s | 400..400 | 2.00 (2.00..2.00) |"* ]]
}

@test "bench: errors in the arguments say what is wrong" {
	run -2 "$BENCH" nonsense
	[[ $output == *"no such group: nonsense"*--help* ]]
	run -2 "$BENCH" --summary missing.csv
	[[ $output == *"cannot read missing.csv"* ]]
	run -2 "$BENCH" --output
}
