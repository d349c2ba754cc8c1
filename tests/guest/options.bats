#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Options that only TCP honours, on kernels before 6.2: they are looked at once in a jiffy there.
# On newer ones tests/semantics.bats plays all of these cases.

bats_require_minimum_version 1.5.0
load ../sandbox.bash
box_each_test

@test "options: set before the connection or on it, they are honoured within a jiffy" {
	local case cases=(zerocopy_before timestamp timestamping_rx) over_tcp=()
	for case in "${cases[@]}"; do
		over_tcp+=("$(in_box "$ROOT/build/semantics" "$case")")
	done
	load_pair --quiet
	for case in "${!cases[@]}"; do
		have_want "${cases[case]}" "$(in_box "$ROOT/build/semantics" "${cases[case]}")" = "${over_tcp[case]}"
	done
	in_box "$ROOT/build/semantics" shut_rd >/dev/null # its flags are beside one of the options
	have_want "not admitted" "$(counter refused_special)" -eq 1
	have_want "directions that have left" "$(counter left_option)" -eq 2
}
