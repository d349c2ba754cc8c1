# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Which kernel this is, and what must not be enabled on it.  Sourced by load.sh, after common.sh.

# A release may name the series alone, as Debian 12's 6.1.0-50-amd64 does: its whole version is
# 6.1.176, as `uname -v` says.
read -r KERNEL_RELEASE KERNEL_BUILD < <(uname -rv)
KERNEL_VERSION=${KERNEL_RELEASE%%[!0-9.]*}
[[ ! $KERNEL_BUILD =~ Debian\ ([0-9]+\.[0-9]+\.[0-9]+) ]] || KERNEL_VERSION=${BASH_REMATCH[1]}

BTF=/sys/kernel/btf/vmlinux

# Does FIONREAD count bypassed bytes?  As counts_bypassed() of kernel_sock.h.
counts_bypassed() {
	grep -q msg_tot_len "$BTF"
}

# kernel_before LIST: is this kernel older than what the list names, a version
# for each series that got the change, the newest last?
kernel_before() {
	local version i kernel=() part=()
	IFS=. read -ra kernel <<<"$KERNEL_VERSION"
	for version in ${1//,/ }; do
		IFS=. read -ra part <<<"$version"
		[[ ${kernel[0]}.${kernel[1]} == "${part[0]}.${part[1]}" ]] && break
	done
	for i in 0 1 2; do
		((${kernel[i]:-0} == ${part[i]:-0})) || break
	done
	((${kernel[i]:-0} < ${part[i]:-0}))
}

# May a socket that was accepted from a listener of Multipath TCP be in a sockmap?  Before
# "mptcp: Fix proto fallback detection with BPF" accept(2) takes it for another one, and may crash.
# Distributions may have mended it earlier; such a server then stays on TCP.
mptcp_is_safe() {
	! kernel_before "5.10.247, 5.15.197, 6.1.159, 6.6.119, 6.12.60, 6.17.10, 6.18.0"
}
