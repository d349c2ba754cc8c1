# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The scope: which connections are admitted, by ports, cgroups and names of programs, and how it is
# written into the maps (bpf/ports.h, cgroups.h, excluded.h).  Sourced by load.sh, after
# cgroups.sh and updates.sh.
#
# With --reload a scope takes the place of another one without a moment between the two.  Its ports
# go where no program looks yet.  What it excludes is added to what is excluded already: for a
# moment what either of the two excludes stays on TCP.  Then the switch of scopes is one number in
# sock_config.terms.  What the old one alone has excluded is taken out afterwards.
#
# shellcheck disable=SC2034,SC2153 # names that load.sh and splicers.sh use, and have

MAX_CGROUPS=4096 # cgroups.h
MAX_NAMES=128    # excluded.h, of two scopes
# For --exclude-program: splicers.sh has six more.
MAX_PROGRAMS=$((MAX_NAMES / 2 - 6))

PORTS=()              # ranges for --port, as FIRST-LAST
EXCLUDE=()            # and for --exclude-port
PROGRAMS=()           # names for --exclude-program
declare -A CGROUPS=() # by inode number, for --exclude-cgroup
ADMIT=0               # ADMIT_*, together
SCOPE=0               # its number

# ranges OPTION LIST: prints them as FIRST-LAST.
ranges() {
	local option=$1 part parts first last
	[[ $2 =~ ^[^,]+(,[^,]+)*$ ]] || usage_error "$option: not a list of ports: $(shown "$2")"
	mapfile -d , -t parts < <(printf %s "$2")
	for part in "${parts[@]}"; do
		[[ $part =~ ^([0-9]+)(-([0-9]+))?$ ]] ||
			usage_error "$option: not a port or a range: $(shown "$part")"
		first=${BASH_REMATCH[1]}
		last=${BASH_REMATCH[3]:-$first}
		((${#first} <= 5 && ${#last} <= 5 && 10#$first >= 1 && 10#$last <= 65535)) ||
			usage_error "$option: ports are from 1 to 65535: $(shown "$part")"
		((10#$first <= 10#$last)) || usage_error "$option: the range ends before it begins:" \
			"$(shown "$part")"
		say "$((10#$first))-$((10#$last))"
	done
}

# ---- in the maps -----------------------------------------------------------

# `PIN KEY` of what the scope excludes that is replaced, and of what this one does: the number of
# the scope that brought it.
declare -A WAS=()
declare -A WANTED=()

# excluded_now: what is in the maps, as lines `SCOPE PIN KEY`.
excluded_now() {
	local pin dump
	for pin in "$NAMES_PIN" "$CGROUPS_PIN"; do
		dump=$(bpftool -j map dump pinned "$pin") || return
		entries '{
			gsub(/../, " &", $1)
			print number($2), "'"$pin"'" $1
		}' < <(say "$dump") || return
	done
}

# read_excluded: of the scope that is replaced.
read_excluded() {
	local number entry list
	list=$(excluded_now) || return
	while read -r number entry; do
		[[ -z $entry ]] || WAS[$entry]=$number
	done < <(say "$list")
}

# exclude PIN KEY: in hexadecimal.
exclude() {
	local number
	WANTED[$*]=$SCOPE
	number=$(in_memory 4 "$SCOPE")
	[[ -n ${WAS[$*]:-} ]] || UPDATES+=("map update pinned $1 key hex $2 value ${number% }")
}

# was_excluded PIN KEY: by the scope that is replaced, not merely by a reload that was killed.
# The numbers of scopes have 24 bits.
was_excluded() {
	local number=${WAS[$*]:-}
	[[ -n $number ]] && ((((LOADED_VALUES[AT_TERMS] >> SCOPE_SHIFT) - number & 0xffffff) < 0x800000))
}

exclude_name() {
	name_in_memory "$1"
	exclude "$NAMES_PIN" "${BYTES[*]}"
}

# exclude_alone SCOPE: WAS or WANTED; what else is in the maps is taken out.
exclude_alone() {
	local -n scope=$1
	local entry list
	list=$(excluded_now) || return
	UPDATES=()
	while read -r _ entry; do
		[[ -z $entry || -n ${scope[$entry]:-} ]] ||
			UPDATES+=("map delete pinned ${entry/ / key hex }")
	done < <(say "$list")
	write_updates "what is excluded"
}

# Ports and names.
configure() {
	local range admit program update at=$((SCOPE % 2 * MAX_RANGES)) end
	end=$((at + MAX_RANGES))
	# In the order of decision: exclusions first; 0 ends the list.
	for range in "${EXCLUDE[@]/%/ 0}" "${PORTS[@]/%/ 1}" "0-0 0"; do
		((at < end)) || break
		read -r range admit <<<"$range"
		update="map update pinned $PORTS_PIN key $(in_memory 4 "$at")"
		update+="value $(in_memory 2 "${range%-*}")$(in_memory 2 "${range#*-}")$(in_memory 4 "$admit")"
		UPDATES+=("${update% }")
		at=$((at + 1))
	done
	for program in "${PROGRAMS[@]}"; do
		exclude_name "$program"
	done
	write_updates "ports and names of programs"
}

# exclude_below: where an ancestor of the cgroup that is attached to is excluded, exclude that one
# as well: the programs look no further up (cgroups.h).
exclude_below() {
	local inode inodes
	ancestors "$CGROUP"
	((${#ANCESTORS[@]})) || return 0
	inodes=$(stat -c %i "${ANCESTORS[@]}") || die "cannot look at the cgroups above $CGROUP_SHOWN"
	for inode in $inodes; do
		[[ -z ${CGROUPS[$inode]:-} ]] || CGROUPS[$CGROUP_INODE]=1
	done
}

# Of --exclude-cgroup, and of what runs.
configure_cgroups() {
	local inode hex key
	exclude_below
	[[ ${#CGROUPS[@]} -gt 0 || -n $DEEP ]] || ((ADMIT |= ADMIT_ALL_CGROUPS))
	for inode in "${!CGROUPS[@]}"; do
		printf -v hex %016x "$inode"
		key="${hex:14} ${hex:12:2} ${hex:10:2} ${hex:8:2} ${hex:6:2} ${hex:4:2} ${hex:2:2} ${hex:0:2}"
		exclude "$CGROUPS_PIN" "$key"
	done
	write_updates "the cgroups that are excluded"
}
