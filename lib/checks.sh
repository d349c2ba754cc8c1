# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What load.sh needs of the host, looked at before anything is changed.  Sourced by load.sh, after
# attached.sh and cgroups.sh.

# In a container root may lack them.
check_capabilities() {
	local line lines effective=0
	mapfile -t lines </proc/self/status # `read` would have the kernel write it anew for each line
	for line in "${lines[@]}"; do
		[[ $line != CapEff:* ]] || effective=$((16#${line#CapEff:[[:space:]]}))
	done
	# Of linux/capability.h: NET_ADMIN 12, SYS_ADMIN 21, PERFMON 38, BPF 39.
	((effective >> 12 & 1 && (effective >> 21 & 1 || (effective >> 38 & 1 && effective >> 39 & 1)))) ||
		die "root lacks capabilities here: CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON are needed; in a" \
			"container, run this on the host or grant them"
}

check_kernel() {
	local major minor magic lockdown=
	IFS=.- read -r major minor _ <<<"$KERNEL_RELEASE"
	((major > 5 || (major == 5 && minor >= 10))) ||
		die "kernel $KERNEL_RELEASE is too old: 5.10 or newer is needed"
	[[ -r $BTF ]] ||
		die "this kernel has no type information ($BTF): one built with CONFIG_DEBUG_INFO_BTF=y is needed"
	IFS= read -rN 1 magic <"$BTF" || true
	[[ $magic == $'\x9f' ]] || # of 0xeb9f, with which it begins (struct btf_header)
		die "this machine is big-endian: only little-endian ones are supported"
	read -r lockdown 2>/dev/null </sys/kernel/security/lockdown || true
	[[ $lockdown != *"[confidentiality]"* ]] ||
		die "this kernel is locked down for confidentiality, which forbids the programs to read kernel" \
			"memory; boot it with lockdown=integrity, or without lockdown="
}

# Where to attach, without --cgroup.
root_to_attach_to() {
	local root usual=/sys/fs/cgroup own=/run/cgroup2
	root=$(cgroup2_root)
	if [[ -z $root && -n $(ls -A "$usual" 2>/dev/null) ]]; then
		# A mount over what is there, which is cgroup v1, would hide it.
		die "no cgroup v2 hierarchy is mounted; to mount it beside v1: sudo mkdir -p $own; sudo mount" \
			"-t cgroup2 none $own"
	fi
	[[ -n $root ]] || die "no cgroup v2 hierarchy is mounted; to mount it: sudo mount -t cgroup2" \
		"none $usual"
	say "$root"
}

check_not_loaded() {
	local left
	is_loaded && die "already loaded; to change its options: sudo $0 --reload OPTION..., to unload:" \
		"sudo $HERE/unload.sh"
	can_read_config || exit 1
	left=$(pins)
	[[ -z $left ]] ||
		die "loaded in part, or switched off (${left//$'\n'/ }); to clean up: sudo $HERE/unload.sh"
	[[ -z $(ours_on "$CGROUP" || true) ]] ||
		die "attached to $CGROUP_SHOWN, but not pinned; to clean up: sudo $HERE/unload.sh --cgroup" \
			"$CGROUP_QUOTED"
}
