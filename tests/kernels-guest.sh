#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The init of tests/kernels.sh's guests: runs the guarantees, writes the results
# to the console, and switches the machine off.

# shellcheck source=tests/guest/mounts.bash
. /project/tests/guest/mounts.bash
export SLOWNESS=8
# Where BPF is kept from being an LSM, the guard wants a bpftool that attaches tracing programs.
[[ $(</proc/cmdline) != *lsm=* ]] || PATH=/later/usr/sbin:$PATH
while read -r module; do
	insmod "/modules/$module"
done </modules/list
# From 7.0 on a program is preempted inside a call as well, with its socket's lock: the direction to
# it then leaves.  In a slice of 1 ms this CPU does what others do in 50 us: there all take turns of
# 100 ms, and who wakes up waits for his.
turns=()
[[ $(uname -r) == [56].* ]] || turns=(chrt --rr 1)
ulimit -n 65536

# Each file once, with the tests of all its guarantees.
guarantees() {
	local file
	while read -r file; do
		play "$file" "$(awk -F '|' -v file="$file" '$2 == file' /guarantees)"
	done < <(cut -d '|' -f 2 /guarantees | awk '!seen[$0]++')
}

# play FILE GUARANTEES: a test that hangs fails.
play() {
	local filter name status=0
	filter=$(cut -d '|' -f 3- <<<"$2" | paste -sd '|')
	BATS_TEST_TIMEOUT=300 "${turns[@]}" timeout --kill-after 5 900 bats -T --formatter tap \
		-f "$filter" \
		"tests/$1.bats" </dev/null >/tmp/log 2>&1 || status=$?
	cat /tmp/log
	while IFS='|' read -r name _ filter; do
		grep -E '^(not )?ok ' /tmp/log | grep -E "$filter" >/tmp/tests
		echo "@result|$name|$(result "$status")|$(seconds)"
	done <<<"$2"
}

# result STATUS: of /tmp/tests.  A filter that fits nothing proves nothing, nor does what bats
# could not play (its status is 1 where a test has failed).
result() {
	if [[ ! -s /tmp/tests ]] || grep -q '^not ok' /tmp/tests || (($1 > 1)); then
		echo FAIL
	elif (($1)) && ! grep -q '^not ok' /tmp/log; then
		echo FAIL
	else
		echo ok
	fi
}

seconds() {
	sed -n 's/.* in \([0-9]*\)ms$/\1/p; s/.* in \([0-9]*\)sec$/\1000/p' /tmp/tests |
		awk '{ ms += $1 } END { printf "%d", ms / 1000 + 0.5 }'
}

echo "@kernel|$(uname -r)"
# A child: the kernel sends SIGHUP to a stopped process group whose parent is init.
(guarantees)
echo "@done"
echo b >/proc/sysrq-trigger
sleep 60
