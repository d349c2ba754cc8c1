# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Before the tests: what they need is there.

setup_suite() {
	local dir
	dir=$(dirname "${BASH_SOURCE[0]}")
	[[ $EUID -eq 0 ]] || {
		echo "the tests need root" >&2
		return 1
	}
	# A copy without sources has been built elsewhere (tests/kernels.sh).
	if [[ -e $dir/../bpf_sockops.c ]]; then
		make -C "$dir/.." --no-print-directory all test-programs >&2
	fi
}
