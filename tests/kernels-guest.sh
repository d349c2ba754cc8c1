#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The init of tests/kernels.sh's guests: runs the guarantees, writes the results
# to the console, and switches the machine off.

export LC_ALL=C HOME=/root PATH=/usr/sbin:/usr/bin SLOWNESS=8
mount -t devtmpfs none /dev
exec </dev/null >/dev/console 2>&1
ln -sf /proc/self/fd /dev/fd
mount -t proc none /proc
mount -t sysfs none /sys
mount -t securityfs none /sys/kernel/security
mount -t cgroup2 none /sys/fs/cgroup
mount -t bpf none /sys/fs/bpf
mount -t tracefs none /sys/kernel/tracing
mount -t tmpfs none /run
while read -r module; do
	insmod "/modules/$module"
done </modules/list
ip link set lo up
ulimit -n 65536
cd /project || exit

guarantees() {
	local name file filter begin status result
	while IFS='|' read -r name file filter; do
		begin=$SECONDS
		timeout --kill-after 5 300 bats -T --formatter tap -f "$filter" "tests/$file.bats" </dev/null >/tmp/log 2>&1
		status=$?
		cat /tmp/log
		# A filter that fits nothing proves nothing.
		if ((status == 0)) && grep -q '^ok ' /tmp/log; then
			result=ok
		else
			result=FAIL
		fi
		echo "@result|$name|$result|$((SECONDS - begin))"
	done </guarantees
}

echo "@kernel|$(uname -r)"
# A child: the kernel sends SIGHUP to a stopped process group whose parent is init.
(guarantees)
echo "@done"
echo b >/proc/sysrq-trigger
sleep 60
