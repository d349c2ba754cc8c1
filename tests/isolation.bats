#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Two namespaces with the same loopback 4-tuple:
#
#   one:  client 127.0.0.1:7001 <-> server 127.0.0.1:7000   connects first
#   two:  client 127.0.0.1:7001 <-> server 127.0.0.1:7000   connects then
#
# Both talk in turn, and each end checks that what it reads is its own.  With
# two's server outside the cgroup, the only entry under its key is one's server.

bats_require_minimum_version 1.5.0
load sandbox.bash
load scenarios.bash

box_loaded

@test "isolation: two namespaces with one 4-tuple never mix" {
	same_tuple_in_two_namespaces in_box
	have_want "admitted" "$(counter admitted_active admitted_passive)" -eq 4
	have_want "messages over TCP" "$(counter passed_messages)" -eq 0
	have_want "redirected messages" "$(counter redirected_messages)" -eq 120
	have_want "sockets in the map" "$(in_map)" -eq 0
}

@test "isolation: the same, one server outside the cgroup" {
	same_tuple_in_two_namespaces out_of_box
	have_want "admitted" "$(counter admitted_active admitted_passive)" -eq 2
	have_want "redirected messages" "$(counter redirected_messages)" -eq 60
	have_want "sockets in the map" "$(in_map)" -eq 0
}

@test "isolation: a port used again meets no old entry" {
	local i
	for i in {1..20}; do
		in_box "$PAIR" --seed "$i" --port 7000 --client-port 7001 --count 20 --abort talk
	done
	have_want "admitted" "$(counter admitted_active admitted_passive)" -eq 40
	have_want "redirected messages" "$(counter redirected_messages)" -eq 800
}
