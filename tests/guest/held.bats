#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# An end that stands in a page fault, or in TCP_REPAIR: on kernels before 6.2, where these are
# looked at in another way.  On newer ones tests/semantics.bats plays all of these cases.

bats_require_minimum_version 1.5.0
load ../sandbox.bash
box_each_test

@test "held: a send does not wait for an end in a page fault, and reaches none in repair" {
	local case cases=(stuck_recv stuck_recv_v6 stuck_send repair_client repair_server) over_tcp=()
	for case in "${cases[@]}"; do
		over_tcp+=("$(in_box "$ROOT/build/semantics" "$case")")
	done
	load_pair --quiet
	for case in "${!cases[@]}"; do
		have_want "${cases[case]}" "$(in_box "$ROOT/build/semantics" "${cases[case]}")" = "${over_tcp[case]}"
	done
	have_want "left held" "$(counter left_held)" -eq 3
	have_want "left in repair" "$(counter left_repair)" -eq 2
}
