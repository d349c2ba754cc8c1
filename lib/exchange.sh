# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Programs of another version in the place of those that are loaded, with the same maps
# (load.sh --reload).  Sourced by load.sh, after guard.sh.
#
# Sockets in the map keep the sk_msg program with which they have entered until they are closed: two
# versions of it are at work then, which the same LAYOUT allows.  From the attachment of the new
# sock_ops program until the switch of scopes, neither of the two admits a connection: the old one
# is not the last one any more, and the new one is not yet the one of sock_config (runs_last).  Both
# run for each packet of a socket in the map: a second on_packet() changes nothing.
#
# shellcheck disable=SC2034 # names that load.sh uses

# load_new: load both new programs, and pin them.
load_new() {
	load_program "$SOCKOPS" sockops "$NEW_SOCKOPS_PIN"
	load_program "$BYPASS" sk_msg "$NEW_BYPASS_PIN"
}

# attach_new: attach them, and detach the old sock_ops program.
attach_new() {
	undo_with "the new $BYPASS" bpftool prog attach pinned "$BYPASS_PIN" msg_verdict pinned "$MAP_PIN"
	step bpftool prog attach pinned "$NEW_BYPASS_PIN" msg_verdict pinned "$MAP_PIN"
	undo_with "the new $SOCKOPS" bpftool cgroup detach "$CGROUP" sock_ops pinned "$NEW_SOCKOPS_PIN"
	step bpftool cgroup attach "$CGROUP" sock_ops pinned "$NEW_SOCKOPS_PIN" multi
	undo_with "no $SOCKOPS attached" \
		bpftool cgroup attach "$CGROUP" sock_ops pinned "$SOCKOPS_PIN" multi
	step bpftool cgroup detach "$CGROUP" sock_ops pinned "$SOCKOPS_PIN"
	PROGRAM_ID=$(id_of prog pinned "$NEW_SOCKOPS_PIN")
	[[ -n $PROGRAM_ID ]] || die "bpftool does not tell what is loaded"
}

# take_places: move the new pins over the old ones, also those of a load.sh that was killed.  First
# the old lists go: nobody looks for them again once the version is noted.
take_places() {
	cmd -q rm -f "${LIST_PINS[@]}" || return
	[[ ! -e $NEW_BYPASS_PIN ]] || cmd mv "$NEW_BYPASS_PIN" "$BYPASS_PIN" || return
	# Last: while it is there, this is not done.
	cmd mv "$NEW_SOCKOPS_PIN" "$SOCKOPS_PIN" || return
	update_version "$LOADED_AT"
	write_updates "the version"
}

# attach_again: what was detached by somebody else.  The kernel refuses a sock_ops program a second
# time, and takes an sk_msg program for its own successor.
attach_again() {
	local programs
	if ! cmd -t bpftool cgroup attach "$CGROUP" sock_ops pinned "$SOCKOPS_PIN" multi &&
		programs=$(programs_on sock_ops "$CGROUP") && [[ -n $programs ]] &&
		! grep -q "^$(id_of prog pinned "$SOCKOPS_PIN") " < <(say "$programs"); then
		die "$SOCKOPS was detached, and cannot be attached again; if another sock_ops program is why," \
			"this shows it: sudo bpftool cgroup show $CGROUP_QUOTED effective"
	fi
	cmd -q bpftool prog attach pinned "$BYPASS_PIN" msg_verdict pinned "$MAP_PIN" 2>/dev/null || true
}

# end_former: ends what a load.sh that was killed has begun.  If its programs are in force already,
# they take the places; if not, they go.
end_former() {
	local id=''
	end_former_guard
	[[ -e $NEW_SOCKOPS_PIN || -e $NEW_BYPASS_PIN ]] || return 0
	if [[ -e $NEW_SOCKOPS_PIN ]]; then
		id=$(id_of prog pinned "$NEW_SOCKOPS_PIN")
		[[ -n $id ]] || die "bpftool does not tell what is loaded"
	fi
	if [[ $id == "$PROGRAM_ID" ]]; then
		take_places
		LOADED_VERSION=unknown # so that this one is exchanged as well
		return
	fi
	attach_again
	detach_pin "$CGROUP" sock_ops "$NEW_SOCKOPS_PIN" ||
		die "bpftool cannot detach what a load.sh that was killed has left: $NEW_SOCKOPS_PIN"
	cmd rm -f "$NEW_SOCKOPS_PIN" "$NEW_BYPASS_PIN"
}
