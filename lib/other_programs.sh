# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Other sock_ops programs, which ours would switch off, or which leave no room for ours.  Sourced by
# load.sh, after cgroups.sh.

# Other sock_ops programs, by the rules of kernel/bpf/cgroup.c.  To a cgroup with one that was
# attached without `multi`, no second one can be attached; below one without any flag, none at all.
# Programs of ancestors run after those of the cgroup itself, and may take our callbacks away; those
# with `override` no longer run once ours is attached below them.
check_other_programs() {
	local own above dir='' id flags name nearest='' top=''
	own=$(programs_on sock_ops "$CGROUP") || {
		unseen "$?"
		return 0
	}
	while read -r id flags name; do
		[[ -z $id || $flags == multi ]] ||
			die "$(other_program "$id" "$name") is attached to $CGROUP_SHOWN without multi: no second one" \
				"can be attached; $(detach_hint "$CGROUP" "$id")"
	done < <(say "$own")

	ancestors "$CGROUP"
	for above in "${ANCESTORS[@]}"; do
		read -r id flags name < <(programs_on sock_ops "$above") || continue
		nearest=${nearest:-$id $flags $name}
		dir=${dir:-$above}
		top=$above
	done
	if [[ -z $nearest ]]; then
		check_above_what_is_seen "$own"
		return
	fi
	read -r id flags name <<<"$nearest"
	if [[ -n $(only_ours <<<"$id sock_ops") ]]; then
		die "attached to $(shown "$dir"), above $CGROUP_SHOWN; to clean up: sudo $HERE/unload.sh" \
			"--cgroup $(printf %q "$dir")"
	fi
	case $flags in
	multi)
		die "$(other_program "$id" "$name") is attached to $(shown "$dir"): it would run after ours," \
			"and may undo what ours sets up; to load beside it: sudo $0 --cgroup $(printf %q "$top")"
		;;
	override)
		die "$(other_program "$id" "$name") is attached to $(shown "$dir") with override: it would not" \
			"run any more under $CGROUP_SHOWN; $(detach_hint "$dir" "$id")"
		;;
	*)
		die "$(other_program "$id" "$name") is attached to $(shown "$dir") without multi: none can be" \
			"attached below; $(detach_hint "$dir" "$id")"
		;;
	esac
}

# check_above_what_is_seen OWN-PROGRAMS: no ancestor that can be seen has one.  In a
# cgroup namespace there are others.
check_above_what_is_seen() {
	local all id _ name
	all=$(programs_on sock_ops "$CGROUP" effective) || {
		unseen "$?"
		return 0
	}
	while read -r id _ name; do
		[[ -z $id || $'\n'$1 == *$'\n'"$id "* ]] ||
			die "$(other_program "$id" "$name") is attached above $(cgroup2_root), which is the topmost" \
				"cgroup here: it would run after ours, or would not run any more; run load.sh outside of this" \
				"container"
	done < <(say "$all")
}

# unseen STATUS: of programs_on().  The kernel may not tell; but not so that bpftool is killed.
unseen() {
	! was_killed "$1" || die "bpftool was killed before it said which sock_ops programs are attached"
}

other_program() {
	say "another sock_ops program, $(shown "$2") (id $1),"
}

detach_hint() {
	say "to detach it: sudo bpftool cgroup detach $(printf %q "$1") sock_ops id $2 (then let its" \
		"owner attach it with multi)"
}
