# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What each init of a guest (tests/guests.bash) begins with: the file systems of a host, and its
# output to the console.  Ends in the project's directory.

export LC_ALL=C HOME=/root PATH=/usr/sbin:/usr/bin
mount -t devtmpfs none /dev
exec </dev/null >/dev/console 2>&1
ln -sf /proc/self/fd /dev/fd
mount -t proc none /proc
mount -t sysfs none /sys
mount -t securityfs none /sys/kernel/security
mount -t cgroup2 none /sys/fs/cgroup
mount -t bpf -o mode=0700 none /sys/fs/bpf
mount -t tracefs none /sys/kernel/tracing
mount -t tmpfs none /run
ip link set lo up
cd /project || exit
