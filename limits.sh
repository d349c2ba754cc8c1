# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Which limits hold on this kernel.  Sourced by load.sh, after lib.sh.
#
# docs/limits.tsv has a line for each row of the table in docs/limits.md: what it is about, a
# tab, and the kernels.

# kernel_before LIST: is this kernel older than what the list names, a version
# for each series that got the change, the newest last?
kernel_before() {
	local version kernel series
	kernel=$(uname -r)
	kernel=${kernel%%[!0-9.]*}
	for version in ${1//,/ }; do
		series=$(cut -d. -f1,2 <<<"$version")
		[[ $kernel == "$series".* ]] && break
	done
	[[ $kernel != "$version" && $(printf '%s\n' "$kernel" "$version" | sort -V | head -n 1) == "$kernel" ]]
}

# applies KERNELS: is this kernel one of them?  `all`, `before LIST`, or a series.
applies() {
	case $1 in
	all) return 0 ;;
	"before "*) kernel_before "${1#before }" ;;
	*) [[ $(uname -r) == "$1".* ]] ;;
	esac
}

# limits_here COUNTED: the names of those that hold here.  FIONREAD's depends on what the
# programs go by, whatever the version says: 1: the kernel counts bypassed bytes.
limits_here() {
	local name kernels
	while IFS=$'\t' read -r name kernels; do
		if [[ $name == FIONREAD ]]; then
			(($1)) || say "$name"
		elif applies "$kernels"; then
			say "$name"
		fi
	done <"$HERE/docs/limits.tsv"
}
