# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What load.sh writes into the maps: the switch, its random numbers, its version, and whatever else
# is in UPDATES.  Sourced by load.sh, after config.sh.
#
# shellcheck disable=SC2153 # names of load.sh and scope.sh

MAX_ACCOUNTS=4096 # accounts_map.h

UPDATES=() # commands of bpftool, one by one

# in_one WHAT UPDATE...: by one bpftool: each of its processes takes longer than many an update.
# Through a pipe, since all can read its arguments, and some are secret.
in_one() {
	local what=$1 said
	shift
	(($#)) || return 0
	said=$(cmd -q bpftool -j batch file <(say_each "$@") 2>&1) || true
	# On 5.10 it calls the end of its input an error: what counts is what it says of each.
	[[ $(say "$said" | tr '{' '\n' | grep -c '"output":null') -eq $# ]] || {
		warn "cannot set $what: $(say "$said" | tr '{' '\n' | grep -v '^"command"' | tail -n 1)"
		return 1
	}
}

# write_updates WHAT.  Not echoed are cgroups, of which there may be thousands, and what is secret.
write_updates() {
	local update
	for update in "${UPDATES[@]}"; do
		[[ $update == *"$CGROUPS_PIN"* || $update == *"$ACCOUNTS_PIN"* ]] || echoed bpftool "$update"
	done
	in_one "$1" "${UPDATES[@]}" || return
	UPDATES=()
}

# switch_command STATE: config_command, with this load's options.
switch_command() {
	config_command "$CGROUP_INODE" "$1" "$QUIET" "$PROGRAM_ID" $((ADMIT | SCOPE << SCOPE_SHIFT)) \
		pinned "$CONFIG_PIN"
}

set_switch() {
	switch_command "$1"
	cmd "${CONFIG_COMMAND[@]}"
}

# The random numbers of secret.h.
draw_secret() {
	local secret entry
	read -ra secret < <(od -A n -v -t x1 -N 16 /dev/urandom)
	entry="pinned $ACCOUNTS_PIN key $(in_memory 4 "$MAX_ACCOUNTS")"
	UPDATES+=("map update $entry value hex ${secret[*]}")
}

# update_version SECONDS: which version this is, and when its maps were made, for scripts of any
# one.
update_version() {
	local head
	# shellcheck disable=SC2046 # words
	printf -v head '%02x ' $(in_memory 4 "$LAYOUT") $(in_memory 4 "$1")
	name_in_memory "$VERSION"
	UPDATES+=("map update pinned $CONFIG_PIN key 1 0 0 0 value hex $head${BYTES[*]}")
}
