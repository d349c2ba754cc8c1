# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Around the whole suite: what it needs is there, and nothing of it is left.  Where AROUND is set,
# run.sh does that around several suites at once.

ours() {
	bpftool prog show | grep -c -E ' name bpf_(sockops|tcpip_bypass|tcpip_bypas) ' || true
}

setup_suite() {
	local dir
	[[ -z ${AROUND:-} ]] || return 0
	dir=$(dirname "${BASH_SOURCE[0]}")
	[[ $EUID -eq 0 ]] || {
		echo "the tests need root" >&2
		return 1
	}
	# A copy without sources has been built elsewhere (tests/kernels.sh).
	if [[ -e $dir/../bpf_sockops.c ]]; then
		make -C "$dir/.." --no-print-directory all test-programs >&2
	fi
	OURS_BEFORE=$(ours)
	export OURS_BEFORE
}

teardown_suite() {
	local i
	[[ -z ${AROUND:-} ]] || return 0
	for ((i = 0; i < 50; i++)); do
		[[ $(ours) -le $OURS_BEFORE ]] && return
		sleep 0.1
	done
	echo "programs left in the kernel: $(ours), before the tests: $OURS_BEFORE" >&2
	return 1
}
