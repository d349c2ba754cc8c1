#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Versions: what scripts of one and a pair of another know of each other.

bats_require_minimum_version 1.5.0
load sandbox.bash

box_each_test

# What scripts and programs of one LAYOUT agree upon: maps, and what is in them.
layout() {
	local map
	echo "layout $(sed -n 's/^LAYOUT=//p' "$ROOT/lib/version.sh")"
	for map in map record meet accounts stats config ports cgroups names excluded remembered; do
		in_box bpftool -j map show pinned "/sys/fs/bpf/sock_ops_$map" | jq -r \
			'"\(.name) \(.type) flags \(.flags) key \(.bytes_key) value \(.bytes_value) entries \(.max_entries)"'
	done
	for object in bpf_sockops bpf_tcpip_bypass; do
		bpftool btf dump file "$ROOT/build/$object.o" format c | awk '
			/^struct (sock_(key|view|record|stats|cpu|account|range|config)|meet_key|program_name) {/, /^};/'
	done | awk '/^struct/ { known = seen[$2]++ } !known'
}

@test "versions: maps and records are those of the layout's number" {
	load_pair >/dev/null 2>&1
	# If they differ: raise LAYOUT in lib/version.sh.
	diff "$ROOT/tests/layout.expected" <(layout)
}

@test "versions: one number, in the scripts and in both lists of changes" {
	version=$(sed -n 's/^VERSION=//p' "$ROOT/lib/version.sh")
	have_want "of the package" "$(sed -n '1s/.*(\(.*\)).*/\1/p' "$ROOT/debian/changelog")" = "$version"
	have_want "of CHANGELOG.md" "$(sed -n 's/^## //p' "$ROOT/CHANGELOG.md" | sed -n 1p)" = "$version"
	for script in load unload status; do
		have_want "of $script.sh" "$("$ROOT/$script.sh" --version)" = "tcpip-bypass $version"
	done
}

# pretend LAYOUT VERSION-IN-HEX: what is loaded says that it is of these.
pretend() {
	in_box bpftool map update pinned /sys/fs/bpf/sock_ops_config key 1 0 0 0 \
		value hex "$1" 0 0 0 0 0 0 0 $2
}

@test "versions: status.sh says which is loaded, and when it is not that of the scripts" {
	load_pair --quiet >/dev/null 2>&1
	version=$(sed -n 's/^VERSION=//p' "$ROOT/lib/version.sh")
	run -0 in_box "$ROOT/status.sh"
	output_has " ago), version $version"
	output_lacks "these scripts"
	# 9.9$(x), a line break, an escape sequence
	pretend 1 "39 2e 39 24 28 78 29 a 1b 5b 0 0 0 0 0 0"
	run -0 in_box "$ROOT/status.sh"
	output_has ' ago), version 9.9$(x)\x0a\x1b[' "these scripts are of version $version"
	have_want "in JSON" "$(in_box "$ROOT/status.sh" --json | jq -r .version)" = '9.9$(x)\x0a\x1b['
	run -0 load_pair --reload --quiet --port 7000
	unload_pair
}

@test "versions: a pair with another layout is not changed in place, and unloads" {
	load_pair --quiet >/dev/null 2>&1
	before=$(in_box "$ROOT/status.sh" --json | jq -c '[.since, .ports]')
	pretend 2 "39 2e 39 0 0 0 0 0 0 0 0 0 0 0 0 0"
	run -1 load_pair --reload --port 7000
	output_has "loaded by version 9.9" "unload.sh"
	pretend 0 "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
	run -1 load_pair --reload --port 7000
	output_has "another" "unload.sh"
	have_want "status" "$(in_box "$ROOT/status.sh" --json | jq -c '[.since, .ports]')" = "$before"
	unload_pair
	assert_no_pins
}
