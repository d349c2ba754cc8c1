# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Loads that no pin leads to.  Sourced by unload.sh, after lingering.sh.
#
# shellcheck disable=SC2034,SC2153 # names of unload.sh

LEFT_BEHIND_MS=15000 # for what earlier unloads had to leave: any user can make that many
NOT_LOOKED_AT=0      # loads for which there was no time

# left_behind PINNED-ID: loads that no pin leads to, as `PROGRAM-ID MAP-ID CONFIG-ID RECORDS-ID`:
# those that an earlier unload.sh had to leave, or whose pins are lost, but not the pinned
# program's.  Fails where bpftool does.  A load whose sock_ops program is in the kernel is left out:
# it serves somebody else's connections, or another script, perhaps in a container, is at work on
# it.
left_behind() {
	{ all_of prog && all_of map; } | sed 's/{"id":/\n&/g' | awk -F '[:,"]+' -v pinned="$1" \
		-v sockops="$SOCKOPS" \
		-v bypass="${BYPASS:0:15}" -v map="$MAP" -v config="$CONFIG" -v record="$RECORD" '
		# {"id":N,"type":"TYPE","name":"NAME", and of a program "map_ids":[N,N,...]
		!/^\{"id":[0-9]+,"type":"[a-z_]+","name":"/ { next }
		!match($0, /"map_ids":\[[0-9,]+\]/) {
			name[$3] = $7
			next
		}
		{ maps[$3] = substr($0, RSTART + 11, RLENGTH - 12) }
		$5 == "sock_ops" && $7 == sockops { attached[$3] }
		$5 == "sk_msg" && substr($7, 1, 15) == bypass && $3 != pinned { left[$3] }
		END {
			for (id in attached)
				serving[of(id, config)]
			for (id in left)
				if (of(id, map) && of(id, config) && !(of(id, config) in serving))
					print id, of(id, map), of(id, config), of(id, record)
		}
		function of(program, wanted,    id, i) {
			for (i = split(maps[program], id, ","); i; i--)
				if (name[id[i]] == wanted)
					return id[i]
			return ""
		}'
}

# is_gone PROGRAM-ID.  Also if it may not be asked (without CAP_SYS_ADMIN), but not if bpftool
# fails.
is_gone() {
	local i said
	[[ -n $1 ]] || return 0
	for ((i = 0; i < 20; i++)); do # the kernel frees a moment later
		said=$(bpftool_shows prog show id "$1" 2>&1) ||
			[[ $said != *"No such file"* && $said != *"Operation not permitted"* ]] || return 0
		sleep 0.05
	done
	return 1
}

# end_left_behind END PROGRAM-ID MAP-ID CONFIG-ID RECORDS-ID: end_bypass() for a load whose maps
# have no pins.
end_left_behind() {
	LOADED_LAYOUT=$(layout_of id "$4")
	[[ -n $LOADED_LAYOUT ]] || {
		failed "bpftool does not tell what program $2 belongs to; to try again: sudo $0"
		return 0
	}
	if [[ $LOADED_LAYOUT != "$LAYOUT" ]]; then
		say "left behind by another version (program $2): what has unread bytes stays on the bypass" \
			"until it is closed, or the unload.sh of that version is run"
		switch_to "$OFF" id "$4"
		return
	fi
	if lingers "$3" >/dev/null && see_connections id "$3" &&
		[[ -n $SEEN && -z $(say "$SEEN" | idle_keys) ]]; then
		REMAINING+=${REMAINING:+$'\n'}$SEEN
		STAY+=("$3")
		return
	fi
	if switch_is "$ON" id "$4"; then
		say "the pair was switched on, but attached nowhere (program $2)"
	fi
	if [[ ! -e $RECORD_PIN ]] && cmd -q bpftool map pin id "$5" "$RECORD_PIN" 2>/dev/null; then
		end_bypass "$1" "$3" "$5" id "$4" id "$3"
		cmd -q rm "$RECORD_PIN"
	else
		end_bypass "$1" "$3" '' id "$4" id "$3"
	fi
}

# end_all_left_behind END PINNED-ID MAP-ID: those of left_behind(), but not the one that has this
# map.
end_all_left_behind() {
	local program id config records behind held
	held=$(list_path "$$" "$BYPASS")
	behind=$(left_behind "$2") || failed "bpftool does not tell what earlier unloads had to leave"
	while read -r program id config records; do
		[[ -n $id && $id != "$3" ]] || continue
		if ! has_time "$(($1 + LEFT_BEHIND_MS))"; then
			NOT_LOOKED_AT=$((NOT_LOOKED_AT + 1))
			continue
		fi
		# It must not go by itself meanwhile, as when the last process of a container ends.
		if cmd -q bpftool prog pin id "$program" "$held" 2>/dev/null || ! is_gone "$program"; then
			end_left_behind "$1" "$program" "$id" "$config" "$records"
		fi
		cmd -q rm -f "$held"
	done < <(say "$behind")
}
