#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Compile, load, attach and pin the two programs.  Everything is checked before
# anything is changed; what was done is undone when a later step fails.

set -euo pipefail
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=lib.sh
. "$HERE/lib.sh"

usage() {
	cat <<-END
		usage: sudo ./load.sh [--install-deps]

		Makes TCP connections between programs of this host skip the TCP/IP stack.
		Undo with: sudo ./unload.sh

		  --install-deps  first install what is missing, from the distribution's packages
		  --help          show this
	END
}

# ---- what is needed ------------------------------------------------------

TOOLS=(make clang bpftool)

has_libbpf_headers() {
	clang -E -include bpf/bpf_helpers.h -x c /dev/null >/dev/null 2>&1
}

has_bpftool() {
	# Ubuntu's is a wrapper that fails without the running kernel's tools.
	bpftool version >/dev/null 2>&1
}

missing_deps() {
	local tool
	for tool in "${TOOLS[@]}"; do
		if [[ $tool == bpftool ]]; then
			has_bpftool || say bpftool
		else
			command -v "$tool" >/dev/null || say "$tool"
		fi
	done
	has_libbpf_headers || say libbpf-headers
}

# Package names of what is missing, for apt-get.
apt_packages() {
	local dep
	for dep; do
		case $dep in
		libbpf-headers) say libbpf-dev ;;
		bpftool)
			# Debian has a package of that name; Ubuntu before 25.04 ships
			# it in the tools of each kernel.
			if apt-cache show bpftool 2>/dev/null | grep -q '^Filename:'; then
				say bpftool
			else
				say linux-tools-common "linux-tools-$(uname -r)"
			fi
			;;
		*) say "$dep" ;;
		esac
	done
}

dnf_packages() {
	local dep
	for dep; do
		case $dep in
		libbpf-headers) say libbpf-devel ;;
		*) say "$dep" ;;
		esac
	done
}

install_deps() {
	local missing packages
	mapfile -t missing < <(missing_deps)
	if [[ ${#missing[@]} -eq 0 ]]; then
		say "nothing to install"
		return
	fi
	say "missing: ${missing[*]}"
	if command -v apt-get >/dev/null; then
		cmd apt-get update -q
		mapfile -t packages < <(apt_packages "${missing[@]}" | xargs -n1)
		DEBIAN_FRONTEND=noninteractive cmd apt-get install -y -q --no-install-recommends "${packages[@]}"
	elif command -v dnf >/dev/null; then
		mapfile -t packages < <(dnf_packages "${missing[@]}")
		cmd dnf install -y "${packages[@]}"
	else
		die "no apt-get and no dnf here: install ${missing[*]} yourself"
	fi
}

check_deps() {
	local missing
	mapfile -t missing < <(missing_deps)
	[[ ${#missing[@]} -eq 0 ]] ||
		die "missing: ${missing[*]}; to install them: sudo $0 --install-deps"
}

check_kernel() {
	local release major minor
	release=$(uname -r)
	IFS=.- read -r major minor _ <<<"$release"
	((major > 5 || (major == 5 && minor >= 10))) ||
		die "kernel $release is too old: 5.10 or newer is needed"
	[[ -r /sys/kernel/btf/vmlinux ]] ||
		die "this kernel has no type information (/sys/kernel/btf/vmlinux): one built with CONFIG_DEBUG_INFO_BTF=y is needed"
}

check_cgroup() {
	CGROUP=$(cgroup2_root)
	[[ -n $CGROUP ]] ||
		die "no cgroup v2 hierarchy is mounted; to mount it: mount -t cgroup2 none /sys/fs/cgroup"
}

check_not_loaded() {
	local pin left=()
	for pin in "${PINS[@]}"; do
		[[ -e $pin ]] && left+=("$pin")
	done
	if [[ ${#left[@]} -eq ${#PINS[@]} ]]; then
		die "already loaded; to unload: sudo $HERE/unload.sh"
	elif [[ ${#left[@]} -gt 0 || -n $(attached_ids "$CGROUP" || true) ]]; then
		die "partly loaded (${left[*]:-attached, but not pinned}); to clean up: sudo $HERE/unload.sh"
	fi
}

# ---- undoing -------------------------------------------------------------

UNDO=() # commands, each one string, last step first

on_failure() {
	local status=$? step
	trap - EXIT
	((status)) || status=1
	if [[ ${#UNDO[@]} -gt 0 ]]; then
		warn "failed; undoing what was done"
		for step in "${UNDO[@]}"; do
			cmd bash -c "$step" || warn "could not undo: $step"
		done
	fi
	warn "not loaded: nothing has changed"
	exit "$status"
}

undo_with() {
	UNDO=("$(printf '%q ' "$@")" "${UNDO[@]}")
}

# ---- the steps -----------------------------------------------------------

build() {
	cmd make -s "$1.o"
}

mount_bpffs() {
	[[ $(stat -f -c %T "$BPFFS" 2>/dev/null) == bpf_fs ]] && return
	[[ -d $BPFFS ]] || die "$BPFFS does not exist: this kernel has no BPF file system"
	cmd mount -t bpf bpf "$BPFFS"
	undo_with umount "$BPFFS"
}

attach_sockops() {
	cmd bpftool prog load "$SOCKOPS.o" "$SOCKOPS_PIN" type sockops
	undo_with rm "$SOCKOPS_PIN"
	cmd bpftool cgroup attach "$CGROUP" sock_ops pinned "$SOCKOPS_PIN" multi
	undo_with bpftool cgroup detach "$CGROUP" sock_ops pinned "$SOCKOPS_PIN"
}

pin_map() {
	local id
	id=$(map_id "$MAP" pinned "$SOCKOPS_PIN") || die "$SOCKOPS has no map $MAP"
	cmd bpftool map pin id "$id" "$MAP_PIN"
	undo_with rm "$MAP_PIN"
}

attach_bypass() {
	local name id maps=(map name "$MAP" pinned "$MAP_PIN")
	for name in "${SHARED_MAPS[@]}"; do
		id=$(map_id "$name" pinned "$SOCKOPS_PIN") || die "$SOCKOPS has no map $name"
		maps+=(map name "$name" id "$id")
	done
	cmd bpftool prog load "$BYPASS.o" "$BYPASS_PIN" type sk_msg "${maps[@]}"
	undo_with rm "$BYPASS_PIN"
	cmd bpftool prog attach pinned "$BYPASS_PIN" msg_verdict pinned "$MAP_PIN"
	undo_with bpftool prog detach pinned "$BYPASS_PIN" msg_verdict pinned "$MAP_PIN"
}

# Last: a socket that entered the map before its program was attached there
# would never run it.
switch_on() {
	local id
	id=$(map_id "$MAP_SWITCH" pinned "$SOCKOPS_PIN")
	set_switch "$id" 1
}

main() {
	local install=0
	while [[ $# -gt 0 ]]; do
		case $1 in
		--install-deps) install=1 ;;
		-h | --help)
			usage
			return
			;;
		*) die "unknown argument: $1; see: $0 --help" ;;
		esac
		shift
	done

	need_root
	cd "$HERE"
	if ((install)); then
		install_deps
	fi
	check_deps
	check_kernel
	check_cgroup
	check_not_loaded

	trap on_failure EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	build "$SOCKOPS"
	mount_bpffs
	attach_sockops
	pin_map
	build "$BYPASS"
	attach_bypass
	switch_on
	trap - EXIT INT TERM HUP
	say "loaded: TCP between programs of this host, under $CGROUP, skips the stack"
}

main "$@"
