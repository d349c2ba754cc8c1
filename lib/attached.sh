# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Which programs are attached to a cgroup, and how ours are detached.  Sourced after maps.sh.

# programs_on TYPE CGROUP [effective]: a line `ID FLAGS NAME` for each program of that
# attach type that is attached there, in the order in which they run; with `effective`
# for each that runs for its sockets, those of its ancestors come last.  FLAGS:
# multi, override, or "-" for neither (or not known: effective).  Without
# CAP_SYS_ADMIN it prints nothing.  Fails when the kernel does not tell: bpftool 7
# asks 5.10 for too much.
programs_on() {
	local json rest program='\{"id":([0-9]+),"attach_type":"(cgroup_)?'"$1"'"'
	program+='(,"attach_flags":"([^"]*)")?[^{}]*"name":"([^"]*)"(.*)'
	json=$(bpftool -j cgroup show "${@:2}" 2>/dev/null) || return
	while [[ $json =~ $program ]]; do
		rest=${BASH_REMATCH[6]}
		say "${BASH_REMATCH[1]} ${BASH_REMATCH[4]:--} $(shown "${BASH_REMATCH[5]:--}")"
		json=$rest
	done
}

# only_ours: reads lines `ID TYPE`, prints those of our programs, and of what has our pin.  Others,
# such as the usual demos of this idea, may have the same names, but have no map of records.
only_ours() {
	local id type pinned=
	while read -r id type; do
		[[ -n $id ]] || continue
		pinned=${pinned:-$(id_of prog pinned "$SOCKOPS_PIN")}
		if [[ $id == "$pinned" ]] || map_id "$RECORD" id "$id" >/dev/null; then
			say "$id $type"
		fi
	done
}

# detach_pin CGROUP TYPE PIN: what is pinned there, attached or not, which only CAP_SYS_ADMIN can
# see.  So it is attached first, which the kernel refuses a second time: what does not detach it
# then has failed.  (Unless it could not be attached, and is not: then it must be seen.)
detach_pin() {
	local programs id
	# Something else; or the link of a tracing program, which is gone with its pin.
	is_pin "$3" && [[ $(bpftool_shows prog show pinned "$3" 2>&1) != *"incorrect object type"* ]] ||
		return 0
	cmd -q bpftool cgroup attach "$1" "$2" pinned "$3" multi >/dev/null 2>&1 || true
	! cmd -t bpftool cgroup detach "$1" "$2" pinned "$3" || return 0
	id=$(id_of prog pinned "$3")
	programs=$(programs_on '[a-z_]+' "$1") && [[ -n $programs && -n $id ]] &&
		! grep -q "^$id " < <(say "$programs")
}

# ours_on CGROUP: a line `ID TYPE` for each of our programs that is attached there.  Fails as
# programs_on does.
ours_on() {
	local list id name
	list=$(programs_on '[a-z_]+' "$1") || return
	while read -r id _ name; do
		case $name in
		"$SOCKOPS") say "$id sock_ops" ;;
		"${GUARD_PROGRAMS[0]}" | "${GUARD_PROGRAMS[1]}") say "$id lsm_cgroup" ;;
		esac
	done < <(say "$list") | only_ours
}
