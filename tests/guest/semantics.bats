#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Cases of tests/semantics/ that take another path on kernels before 6.2, or need what this machine
# lacks.  tests/semantics.bats plays all of them on newer ones.

bats_require_minimum_version 1.5.0
load ../sandbox.bash
box_each_test

# load_beside_tcp CASE...: the pair; each case then says what it has said on plain TCP.
load_beside_tcp() {
	local case
	declare -gA OVER_TCP=()
	for case; do
		OVER_TCP[$case]=$(in_box "$ROOT/build/semantics" "$case")
	done
	load_pair --quiet
	for case; do
		have_want "$case" "$(in_box "$ROOT/build/semantics" "$case")" = "${OVER_TCP[$case]}"
	done
}

# The lock and TCP_REPAIR are read with a helper there.
@test "held: a send does not wait for an end in a page fault, and reaches none in repair" {
	load_beside_tcp stuck_recv stuck_recv_v6 stuck_send repair_client repair_server
	have_want "left held" "$(counter left_held)" -eq 3
	have_want "left in repair" "$(counter left_repair)" -eq 2
}

# They are looked at once in a jiffy there.
@test "options: set before the connection or on it, they are honoured within a jiffy" {
	load_beside_tcp zerocopy_before timestamp timestamping_rx
	in_box "$ROOT/build/semantics" shut_rd >/dev/null # its flags are beside one of the options
	have_want "not admitted" "$(counter refused_special)" -eq 1
	have_want "directions that have left" "$(counter left_option)" -eq 2
}

# Needs the kernel's module.
@test "kTLS: a connection that takes it up leaves the bypass, and goes on as over TCP" {
	load_beside_tcp ktls ktls_v6
	have_want "messages over TCP" "$(grep -c recv <<<"${OVER_TCP[ktls]}")" -eq 8
	have_want "messages on the bypass" "$(counter redirected_messages)" -eq 4
	have_want "directions that left for it" "$(counter left_ulp)" -ge 2
}
