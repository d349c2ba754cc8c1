#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# kTLS, in guests of tests/kernels.sh that have its module.

bats_require_minimum_version 1.5.0
load ../sandbox.bash
box_each_test

@test "kTLS: a connection that takes it up leaves the bypass, and goes on as over TCP" {
	local case over_tcp=()
	for case in ktls ktls_v6; do
		over_tcp+=("$(in_box "$ROOT/build/semantics" "$case")")
	done
	have_want "messages over TCP" "$(grep -c recv <<<"${over_tcp[0]}")" -eq 8
	load_pair --quiet
	have_want "IPv4" "$(in_box "$ROOT/build/semantics" ktls)" = "${over_tcp[0]}"
	have_want "IPv6" "$(in_box "$ROOT/build/semantics" ktls_v6)" = "${over_tcp[1]}"
	have_want "messages on the bypass" "$(counter redirected_messages)" -eq 4
	have_want "directions that left for it" "$(counter left_ulp)" -ge 2
}
