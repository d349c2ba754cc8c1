#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# The model of the handover (tests/model), and that its runner fails when it should.  `make model
# DEPTH=full` searches larger instances as well.

# bats file_tags=beside

bats_require_minimum_version 1.5.0
load assert.bash

setup() {
	ROOT=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
}

# with_variant LINE: a copy of the model that has this variant alone.
with_variant() {
	cp "$ROOT"/tests/model/* "$BATS_TEST_TMPDIR"
	echo "$1" >"$BATS_TEST_TMPDIR/variants.txt"
}

# search holds|fails LEAST: all variants of which that is expected, at least so many, on what other
# tests leave of two CPUs.
search() {
	local names half pid
	mapfile -t names < <(awk -F '|' -v expected="$1" '
		/^[a-z]/ && $1 !~ /_full$/ && index($2, expected) == 1 { print $1 }
	' "$ROOT/tests/model/variants.txt")
	have_want "variants" "${#names[@]}" -ge "$2"
	half=$((${#names[@]} / 2))
	export LIMIT=400
	nice -n 19 "$ROOT/tests/model/run.sh" "${names[@]:0:half}" 3>&- &
	pid=$!
	run -0 nice -n 19 "$ROOT/tests/model/run.sh" "${names[@]:half}"
	output_has "$((${#names[@]} - half)) passed, 0 failed"
	wait "$pid"
}

# bats test_tags=long
@test "model: as the rules are, each byte is read, once and in order" {
	search holds 28
}

# bats test_tags=long
@test "model: without any one of the rules, fences and waits there is a counterexample" {
	search fails 44
}

@test "model: what must fail and holds is a failure" {
	with_variant "way|fails in_order|-DT0=0 -DT1=1 -DN1=2|the rules as they are"
	run -1 "$BATS_TEST_TMPDIR/run.sh"
	output_has "NOT OK" "0 passed, 1 failed"
}

@test "model: a counterexample of another assertion is a failure" {
	with_variant "refs|fails in_order|-DT0=1 -DN0=1 -DT1=1 -DN1=2 -DBREAK_LANDED_REFS|loses a message"
	run -1 "$BATS_TEST_TMPDIR/run.sh"
	output_has "fails nothing_lost" "NOT OK" "0 passed, 1 failed"
}

@test "model: a search that does not finish is a failure" {
	with_variant "one|holds|-DT0=1 -DN0=2 -DT1=1 -DN1=2|too long for a tenth of a second"
	LIMIT=0.1 run -1 "$BATS_TEST_TMPDIR/run.sh"
	output_has "not finished" "0 passed, 1 failed"
	MEM=1 run -1 "$BATS_TEST_TMPDIR/run.sh"
	output_has "not finished" "0 passed, 1 failed"
}

# Where a function has another name than the step, a comment of the code has `model:` and the label.
@test "model: its labels are named in the code, and the reverse" {
	local label missing=
	cd "$ROOT"
	for label in $(sed -n 's/^\([a-z_]*\):.*/\1/p' tests/model/handover.pml | sort -u); do
		# Where a process may wait at the end, and the kernel's reader.
		[[ ! $label =~ ^(end[0-9]*|done|recv|from_tcp)$ ]] || continue
		grep -qrE "model: .*\b$label\b" bpf bpf_*.c || missing+=" $label"
	done
	for label in $(grep -rhoE 'model: [a-z_, ]*[a-z_]' bpf bpf_*.c | sed 's/model: //; s/,/ /g'); do
		grep -qE "^$label:" tests/model/handover.pml || missing+=" $label"
	done
	have_want "without the other" "'$missing'" = "''"
}
