# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What load.sh needs to compile and load, and how to install it.  Sourced by
# load.sh, after common.sh.

# An installed copy has only the objects.
has_sources() {
	[[ -e $HERE/$SOCKOPS.c ]]
}

# Asking the compiler takes as long as all other checks here: look for the file first.  Not where
# root stands: the directory may be a user's.
has_libbpf_headers() {
	[[ -e /usr/include/bpf/bpf_helpers.h ]] ||
		(cd / && clang -E -x c - <<<'#include <bpf/bpf_helpers.h>') >/dev/null 2>&1
}

missing_deps() {
	local tool
	# Ubuntu's bpftool is a wrapper that fails without the running kernel's tools.
	bpftool version >/dev/null 2>&1 || say bpftool
	has_sources || return 0
	for tool in make clang; do
		command -v "$tool" >/dev/null || say "$tool"
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
			if [[ $'\n'$(apt-cache show bpftool 2>/dev/null) == *$'\nFilename:'* ]]; then
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
