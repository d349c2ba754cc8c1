# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What load.sh has done, and how it is undone when a later step fails.  Sourced by load.sh.

STARTED=0 # has anything but the mount been tried?
UNDO=()   # commands, each one string, last step first
UNDOES=() # what each of them removes
UNSURE=0  # has the last step perhaps not been done?

on_failure() {
	local status=$?
	trap '' INT TERM HUP # once is enough
	trap - EXIT
	local what command left=() outcome="not loaded"
	local clean_up="sudo $HERE/unload.sh --cgroup $CGROUP_QUOTED"
	((status)) || status=1
	((!RELOAD)) || outcome="not reloaded"
	[[ ${#UNDO[@]} -eq 0 ]] || ((!STARTED)) || warn "failed; undoing what was done"
	while [[ ${#UNDO[@]} -gt 0 ]]; do
		what=${UNDOES[0]} command=${UNDO[0]}
		undo_last && continue
		warn "could not undo: $what"
		left+=("$what")
		undone
		[[ $command != *umount* ]] || clean_up+=" && sudo umount --lazy $BPFFS"
	done
	((!RELOAD || !STARTED)) || exclude_alone WAS || left+=("what the new options exclude")
	if [[ ${#left[@]} -gt 0 ]]; then
		warn "$outcome, but left behind: $(printf '%s, ' "${left[@]}" | sed 's/, $//'); to clean up:" \
			"$clean_up"
	elif ((STARTED)); then
		warn "$outcome: nothing has changed"
	fi
	exit "$status"
}

# undo_with WHAT COMMAND...: the command undoes WHAT.  Called before the step that makes it: a
# signal may come after a tool has done its work and before it says so.
undo_with() {
	local command
	UNDOES=("$1" "${UNDOES[@]}")
	shift
	printf -v command '%q ' "$@"
	command=${command% }
	UNDO=("$command" "${UNDO[@]}")
}

# step COMMAND...: a step for which undo_with has just been called.  If it fails, UNSURE stays set.
step() {
	begin_step
	cmd "$@" || return
	end_step
}

# begin_step and end_step: around one whose command is another than that of step(); there is no
# end_step if it fails.
begin_step() {
	UNSURE=1
}

end_step() {
	UNSURE=0
}

# undo_last: undoes the last step; where that fails, the step stays in UNDO.
undo_last() {
	local command=${UNDO[0]}
	if ((UNSURE)); then
		UNSURE=0
		cmd -t bash -c "$command" || true
	else
		echoed "$command"
		quietened bash -c "$command" || return
	fi
	undone
}

undone() {
	UNDO=("${UNDO[@]:1}")
	UNDOES=("${UNDOES[@]:1}")
}
