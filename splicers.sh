# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Which programs read their sockets with splice(2), by nature: on the bypass they would hang without
# the guard.  Go programs cannot be told cheaply, but for these.  And which programs of a name run.
# Sourced by load.sh, after lib.sh.
#
# Names are as the kernel has them, 15 characters.
#
# shellcheck disable=SC2034 # load.sh reads the names

# They take the guard's EINVAL for an error: systemd-socket-proxyd, and systemd-socket-activate, which
# starts it; pasta, the network of rootless Podman, which becomes passt.avx2 where the CPU has AVX2.
UNGUARDED=(systemd-socket- pasta passt.avx2)
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

# running NAME...: a line `PID<tab>NAME<tab>CGROUP` for each that runs, and for each of its listeners,
# which may be in another cgroup: that of the program that has made them, as systemd.  CGROUP is as
# /proc/PID/cgroup has it, or unreachable:ID, in hexadecimal, of one that was removed.  Of several in
# one cgroup, as docker-proxy for each published port, one.
running() {
	found "$@" | one_in_each_cgroup
}

# splicing NAME...: the same, of those that read with splice(2).
splicing() {
	local pid name cgroup
	found "$@" | while IFS=$'\t' read -r pid name cgroup; do
		if [[ $name != haproxy ]] || haproxy_splices "$pid"; then
			printf '%s\t%s\t%s\n' "$pid" "$name" "$cgroup"
		fi
	done | one_in_each_cgroup
}

one_in_each_cgroup() {
	sort -t $'\t' -u -k 2
}

found() {
	processes "$@"
	listeners "$@"
}

processes() {
	local file pid name cgroup
	{ grep -lxF "$(say_each "$@")" /proc/[0-9]*/comm 2>/dev/null || true; } | while read -r file; do
		pid=${file//[^0-9]/}
		{ read -r name <"$file"; } 2>/dev/null || continue # it has ended
		cgroup=$(sed -n 's/^0:://p' "/proc/$pid/cgroup" 2>/dev/null) || continue
		printf '%s\t%s\t%s\n' "$pid" "$name" "$cgroup"
	done
}

# Of this network namespace.
listeners() {
	{ ss -Htlnp --cgroup 2>/dev/null || true; } | awk -v names="$(say_each "$@")" '
		BEGIN {
			n = split(names, list, "\n")
			while (n)
				wanted[list[n--]]
		}
		match($0, / cgroup:[^ ]+/) {
			cgroup = substr($0, RSTART + 8, RLENGTH - 8)
			while (match($0, /"[^"]*",pid=[0-9]+/)) {
				split(substr($0, RSTART + 1, RLENGTH - 1), user, /",pid=/)
				if (user[1] in wanted)
					print user[2] "\t" user[1] "\t" cgroup
				$0 = substr($0, RSTART + RLENGTH)
			}
		}'
}
