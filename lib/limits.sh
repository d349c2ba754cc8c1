# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Which limits hold on this kernel, and what it must be spared.  Sourced by load.sh, after common.sh.
#
# docs/limits.tsv has a line for each row of the table in docs/limits.md: what it is about, a
# tab, and the kernels; then a tab, and `yes` where bpf_guard mends it.

# A release may name the series alone, as Debian 12's 6.1.0-50-amd64 does: its whole version is
# 6.1.176, as `uname -v` says.
KERNEL_RELEASE=$(uname -r)
KERNEL_VERSION=${KERNEL_RELEASE%%[!0-9.]*}
[[ ! $(uname -v) =~ Debian\ ([0-9]+\.[0-9]+\.[0-9]+) ]] || KERNEL_VERSION=${BASH_REMATCH[1]}

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

# applies KERNELS: is this kernel one of them?  `all`, `before LIST`, or a list of series.
applies() {
	local series
	case $1 in
	all) return 0 ;;
	"before "*) kernel_before "${1#before }" ;;
	*)
		for series in ${1//,/ }; do
			[[ $KERNEL_RELEASE != "$series".* ]] || return 0
		done
		return 1
		;;
	esac
}

# May a socket that was accepted from a listener of Multipath TCP be in a sockmap?  Before
# "mptcp: Fix proto fallback detection with BPF" accept(2) takes it for another one, and may crash.
# Distributions may have mended it earlier; such a server then stays on TCP.
mptcp_is_safe() {
	! kernel_before "5.10.247, 5.15.197, 6.1.159, 6.6.119, 6.12.60, 6.17.10, 6.18.0"
}

# limits_here COUNTED: the names of those that hold here.  FIONREAD's depends on what
# the programs go by, whatever the version says: 1: the kernel counts bypassed bytes.
limits_here() {
	local name kernels guard
	while IFS=$'\t' read -r name kernels guard; do
		if [[ $name == FIONREAD ]]; then
			(($1)) || say "$name"
		elif applies "$kernels" && ! { [[ $guard == yes ]] && is_guarded; }; then
			say "$name"
		fi
	done <"$HERE/docs/limits.tsv"
}
