#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# The same checks against the classic pair (tests/classic): each must fail where
# that pair is broken, or it would prove nothing about ours.

bats_require_minimum_version 1.5.0
load sandbox.bash
load scenarios.bash

setup() {
	box_up
	load_classic
}

teardown() {
	box_down
}

@test "control: the classic pair carries small talk" {
	# The acknowledgment of a half-close ends a recv with EAGAIN at times, on a busy machine.
	in_box "$PAIR" talk || in_box "$PAIR" talk
}

@test "control: the classic pair reorders what a deferred accept gets" {
	have_want "connections in disorder" "$(disorders)" -ge 10
	grep -q 'wrong byte' "$BOX_TMP/disorders"
}

@test "control: the classic pair holds all that a stopped reader is sent" {
	# Sixteen times what ours may hold; with a whole CPU it is 512 MiB, all that there is.
	have_want "bytes held" "$(held_by_stopped_reader)" -ge $((128 * 1024 * 1024))
}

# bats test_tags=long
@test "control: the classic pair mixes two namespaces with one 4-tuple" {
	run ! same_tuple_in_two_namespaces out_of_box
	[[ $output == *"wrong byte"* || $output == *"timed out"* || $output == *hangs* ]]
}
