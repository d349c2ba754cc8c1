#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Detach and unpin the two programs, from any partial state.  Connections that
# are open stay usable: once switched off, each direction goes back to TCP when
# its reader has read everything.

set -euo pipefail
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=lib.sh
. "$HERE/lib.sh"

usage() {
	cat <<-END
		usage: sudo ./unload.sh

		Ends what load.sh has begun.  No error when nothing is loaded.

		  --help  show this
	END
}

DONE=0   # steps that changed something
FAILED=0 # steps that did not succeed

try() {
	if cmd "$@"; then
		DONE=$((DONE + 1))
	else
		warn "failed: $*"
		FAILED=$((FAILED + 1))
	fi
}

OURS=() # ids of the sock_ops programs that were pinned here, or attached

pinned_id() {
	local json
	json=$(bpftool -j prog show pinned "$SOCKOPS_PIN" 2>/dev/null) || return 0
	if [[ $json =~ \"id\":([0-9]+) ]]; then
		say "${BASH_REMATCH[1]}"
	fi
}

detach_sockops() {
	local cgroup=$1 id ids
	if ids=$(attached_ids "$cgroup"); then
		for id in $ids; do
			try bpftool cgroup detach "$cgroup" sock_ops id "$id"
			OURS+=("$id")
		done
		return
	fi
	# What is attached cannot be seen: detaching fails where it was not.
	for id in $(loaded_ids); do
		if bpftool cgroup detach "$cgroup" sock_ops id "$id" 2>/dev/null; then
			say "[#] bpftool cgroup detach $cgroup sock_ops id $id" >&2
			DONE=$((DONE + 1))
			OURS+=("$id")
		fi
	done
}

# Every direction then leaves the bypass, and nothing is admitted.
switch_off() {
	local id map
	for id in "$@"; do
		map=$(map_id "$MAP_SWITCH" id "$id") || continue # not one of ours
		if set_switch "$map" 0; then
			DONE=$((DONE + 1))
		else
			FAILED=$((FAILED + 1))
		fi
	done
}

detach_bypass() {
	if [[ -e $BYPASS_PIN && -e $MAP_PIN ]]; then
		try bpftool prog detach pinned "$BYPASS_PIN" msg_verdict pinned "$MAP_PIN"
	fi
}

unpin() {
	local pin
	for pin in "${PINS[@]}"; do
		if [[ -e $pin ]]; then
			try rm "$pin"
		fi
	done
}

# A socket in the map keeps its program, and the program keeps the map.
report_rest() {
	local id i
	for id in "$@"; do
		for ((i = 0; i < 20; i++)); do # the kernel frees maps a moment later
			bpftool map show id "$id" >/dev/null 2>&1 || break
			sleep 0.05
		done
		if bpftool map show id "$id" >/dev/null 2>&1; then
			say "map $id stays in the kernel until the connections in it are closed"
		fi
	done
}

main() {
	local cgroup id maps=()
	while [[ $# -gt 0 ]]; do
		case $1 in
		-h | --help)
			usage
			return
			;;
		*) die "unknown argument: $1; see: $0 --help" ;;
		esac
	done

	need_root
	command -v bpftool >/dev/null ||
		die "bpftool is missing; to install it: sudo $HERE/load.sh --install-deps"

	cgroup=$(cgroup2_root)
	mapfile -t OURS < <(pinned_id)
	if [[ -n $cgroup ]]; then
		detach_sockops "$cgroup"
	fi
	mapfile -t OURS < <(printf '%s\n' "${OURS[@]}" | sort -un | sed '/^$/d')
	for id in "${OURS[@]}"; do
		maps+=("$(map_id "$MAP" id "$id")") || true
	done
	switch_off "${OURS[@]}"
	detach_bypass
	unpin

	if ((FAILED)); then
		die "$FAILED of $((DONE + FAILED)) steps failed, see above"
	elif ((DONE)); then
		say "unloaded"
	else
		say "nothing is loaded"
	fi
	report_rest "${maps[@]}"
}

main "$@"
