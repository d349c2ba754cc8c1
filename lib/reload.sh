# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Other options, or another version, for what is loaded (load.sh --reload).  Sourced by load.sh,
# after exchange.sh, guard.sh, scope.sh, splicers.sh and undo.sh.
#
# shellcheck disable=SC2034,SC2153 # names of load.sh, scope.sh and exchange.sh

not_in_place() {
	warn "$*; to load anew: sudo $HERE/unload.sh, then load.sh"
	exit 3
}

# check_loaded: by these scripts, or by others that write the maps as these do.
check_loaded() {
	local dump version inode layout=''
	check_bpffs || exit 1
	one_at_a_time
	is_loaded || {
		can_read_config || exit 1
		die "not loaded; to load: sudo $0"
	}
	dump=$(bpftool -j map dump pinned "$CONFIG_PIN") || die "bpftool does not tell what is loaded"
	version=$(version_in "$dump")
	read -ra LOADED_VALUES < <(config_in "$dump")
	read -r layout LOADED_AT LOADED_VERSION < <(say "$version") || true
	[[ $layout == "$LAYOUT" ]] ||
		not_in_place "loaded by ${LOADED_VERSION:+version $LOADED_VERSION, }another one than these" \
			"scripts, of $VERSION, can change in place"
	CGROUP_INODE=${LOADED_VALUES[AT_CGROUP]}
	[[ -z $CGROUP ]] || inode=$(stat -c %i "$CGROUP") || die "cannot look at $(shown "$CGROUP")"
	[[ -z $CGROUP || $inode == "$CGROUP_INODE" ]] ||
		not_in_place "loaded for another cgroup, which cannot be changed in place"
	PROGRAM_ID=${LOADED_VALUES[AT_PROGRAM]}
	[[ -n $CGROUP ]] || CGROUP=$(cgroup_path "$CGROUP_INODE") ||
		die "the cgroup that it is attached to was not found within some seconds; to name it: sudo $0" \
			"--reload --cgroup PATH OPTION..."
	[[ -n $CGROUP ]] ||
		die "the cgroup that it is attached to has been removed, or cannot be seen from here"
	name_cgroup "$CGROUP"
}

# begin_scope: the one after the scope that is in force.
begin_scope() {
	SCOPE=$(((LOADED_VALUES[AT_TERMS] >> SCOPE_SHIFT) + 1 & 0xffffff))
	end_former
	attach_again
	read_excluded || die "cannot read what is excluded"
}

# enter_scope: puts the new scope into force.  If bpftool fails, it may be in force all the same, and
# connections may have been admitted in it: so undoing puts the old scope into force under a third
# number.  Until here the old number stays, which is in the marks of new listeners (ADMIT_NEW_ALONE).
enter_scope() {
	((LOADED_VALUES[AT_TERMS] = (LOADED_VALUES[AT_TERMS] + (2 << SCOPE_SHIFT)) & 0xffffffff)) || true
	config_command "${LOADED_VALUES[@]}" pinned "$CONFIG_PIN"
	undo_with "the new scope" "${CONFIG_COMMAND[@]}"
	set_switch "$ON"
}

# finish OTHER: what is left to do once the new scope is in force; OTHER is 1 for another version.
# All of it is tried; fails where something did.
finish() {
	local status=0
	((!$1)) || take_places || status=1
	pin_lists || status=1
	place_guard || status=1
	exclude_alone WANTED || status=1
	((GUARD_WANTED)) || ! is_guarded || remove_guard || status=1
	return $status
}

reload() {
	local other=0
	check_loaded
	begin_scope
	[[ $LOADED_VERSION == "$VERSION" ]] || other=1
	STARTED=1
	build
	((!other)) || load_new
	((!GUARD_WANTED)) || reload_guard
	choose_names
	configure || die "if a --reload that was killed has left too much:" \
		"--reload with the options from before it makes room"
	undo_with "$RUNNING_PIN" rm -f "$RUNNING_PIN"
	exclude_running
	configure_cgroups || die "if a --reload that was killed has left too much, load anew: sudo" \
		"$HERE/unload.sh, then load.sh"
	((!other)) || attach_new
	enter_scope
	trap '' INT TERM HUP # the rest is done in any case
	trap - EXIT
	finish "$other" ||
		warn "what is loaded goes by these options, but not all was done; the same command does the rest"
	report
	say "reloaded: what is loaded goes by these options now"
}
