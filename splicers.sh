# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Which programs read their sockets with splice(2), by nature: on the bypass they would hang without
# the guard.  Go programs cannot be told cheaply, but for docker-proxy.  Sourced by load.sh, after
# lib.sh.
#
# Names are as the kernel has them, 15 characters.
#
# shellcheck disable=SC2034 # load.sh reads the names

# systemd-socket-proxyd, and systemd-socket-activate, which starts it, take the guard's EINVAL for an
# error.
UNGUARDED=(systemd-socket-)
# From 28 on it is dockerd that calls listen(2) for docker-proxy.
GUARDED=(docker-proxy dockerd)
# HAProxy does so with an option alone: of those that run it can be told.
MAY_SPLICE=(haproxy)

# haproxy_splices PID: has a file of its configuration an option splice-*?
haproxy_splices() {
	local arguments i from
	mapfile -d '' -t arguments <"/proc/$1/cmdline" || return
	for ((i = 1; i < ${#arguments[@]}; i++)); do
		[[ ${arguments[i - 1]} == -f ]] || continue
		from=cwd
		[[ ${arguments[i]} != /* ]] || from=root
		if grep -qsrE '^[[:space:]]*option[[:space:]]+splice-' "/proc/$1/$from/${arguments[i]}"; then
			return 0
		fi
	done
	return 1
}

# splicers NAME...: a line `PID NAME CGROUP` for each that runs, the cgroup as /proc/PID/cgroup has
# it.  Of several in one cgroup, as docker-proxy for each published port, one.
splicers() {
	local file pid name cgroup
	{ grep -lxF "$(say_each "$@")" /proc/[0-9]*/comm 2>/dev/null || true; } | while read -r file; do
		pid=${file//[^0-9]/}
		{ read -r name <"$file"; } 2>/dev/null || continue # it has ended
		cgroup=$(sed -n 's/^0:://p' "/proc/$pid/cgroup" 2>/dev/null) || continue
		if [[ $name != haproxy ]] || haproxy_splices "$pid"; then
			say "$pid $name $cgroup"
		fi
	done | sort -u -k 2
}
