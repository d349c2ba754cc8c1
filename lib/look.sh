# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What status.sh sees of the pair: its maps, its scope, its sockets.  Sourced by status.sh, after
# cgroups.sh and connections.sh.
#
# shellcheck disable=SC2034,SC2153 # names that status.sh, json.sh and metrics.sh show

# Lines `NAME what it counts`.
counter_texts() {
	sed -n 's/^COUNTER(\([a-z_]*\), "\(.*\)")$/\1 \2/p' "$HERE/bpf/counters.h"
}

# counters DUMP: lines `NAME SUM`, over all CPUs.  By the names, which the loaded programs have
# brought: these may be of another version.
counters() {
	awk '
		FNR == NR {
			name[++n] = $1
			next
		}
		{
			gsub(/[]{}"\n]/, "")
			sub(/.*value:/, "")
			sub(/stats:/, "")
			split($0, member, ":")
			if (member[2] ~ /^[0-9]+$/)
				sum[member[1]] += member[2]
		}
		END { for (i = 1; i <= n; i++) if (name[i] in sum) printf "%s %.0f\n", name[i], sum[name[i]] }' \
		<(say "$COUNTER_TEXTS") RS=, - < <(say "$1")
}

# Lines `NAME DIRECTIONS`, of those open: on_bypass, then each counter that is a reason.
directions() {
	awk -v ours="$RECORDS_ID" '
		FNR == NR {
			name[FNR - 1] = $1
			next
		}
		# By its record, since sock_ops_open may list a socket more than once.
		$3 == 1 && $4 == ours && !seen[$(NF - 1)]++ { n[$5]++ }
		END {
			print "on_bypass", n[-1] + 0
			for (i = 0; i in name; i++)
				if (i in n)
					print name[i], n[i]
		}' <(say "$COUNTER_TEXTS") - < <(say "$OPEN_SOCKETS")
}

# filter DUMP SCOPE ADMIT: the ranges of --port (1) or --exclude-port (0), as FIRST-LAST in one
# line.  A value is a struct sock_range, and which half is looked at, an even SCOPE or an odd one,
# stands in ports.h.
filter() {
	entries '
		int(number($1) / '"$MAX_RANGES"') != '$(($2 % 2))' || ended { next }
		(last = number(substr($2, 5, 4))) == 0 {
			ended = 1
			next
		}
		number(substr($2, 9)) == '"$3"' {
			first = number(substr($2, 1, 4))
			printf "%s%s", comma, (first == last ? first : first "-" last)
			comma = ","
		}' <<<"$1"
}

# excluded_cgroups DUMP...: those of --exclude-cgroup, what else load.sh has excluded, and those
# that have been remembered, a line for each: its path, or its number where that cannot be seen.
excluded_cgroups() {
	local ids
	[[ $* == *\"key\"* ]] || return 0 # none
	ids=$(say_each "$@" | entries '{ print number($1) }') || return
	awk '
		FNR == NR {
			path[$1] = substr($0, length($1) + 2)
			next
		}
		NF { print $1 in path ? path[$1] : $1 }' <(paths_shown "$ids") - < <(say "$ids") | sorted -u
}

# paths_shown NUMBERS: lines `NUMBER PATH` of these cgroups, where they can be seen; never
# nothing.
paths_shown() {
	say "$1" | cgroup_paths | shown_lines
	echo
}

# excluded_programs DUMP: those of --exclude-program, and load.sh's own.  A key is a struct
# program_name (excluded.h).
excluded_programs() {
	entries '{ print shown($1) }' <<<"$1" | sorted
}

# All of these, into the variables that the ways to show it use.  They fail, and have said why,
# where something cannot be read; silently where the pair is unloaded meanwhile.
look() {
	look_at_maps && look_at_scope && look_at_sockets
}

look_at_maps() {
	local since booted version
	ask "prog show pinned $SOCKOPS_PIN" "map show pinned $MAP_PIN" "map show pinned $RECORD_PIN" \
		"map dump pinned $CONFIG_PIN" "map dump pinned $STATS_PIN"
	COUNTERS=$(counters "${ANSWERS[4]:-}")
	[[ -n $COUNTERS ]] || {
		! is_loaded || warn "cannot read the counters: that takes CAP_SYS_ADMIN"
		return 1
	}
	since=$(number_in loaded_at "${ANSWERS[0]}")
	MOST=$(number_in max_entries "${ANSWERS[1]}")
	RECORDS_ID=$(number_in id "${ANSWERS[2]}")
	CONFIG_DUMP=${ANSWERS[3]}
	version=$(version_in "$CONFIG_DUMP") || return
	read -r LOADED_LAYOUT LOADED_AT LOADED_VERSION < <(say "${version:-$LAYOUT 0 1.0}")
	booted=$(sed -n 's/^btime //p' /proc/stat)
	[[ -n $booted ]] || return
	# Of the programs alone, which may be later ones.
	((LOADED_AT)) || LOADED_AT=$((since - booted))
	SINCE=$((booted + LOADED_AT))
	GUARDED=0
	! is_guarded || GUARDED=1
	now
	LOOKED=$NOW
}

look_at_scope() {
	local values scope
	read -ra values < <(config_in "$CONFIG_DUMP") || return
	ask "map dump pinned $PORTS_PIN" "map dump pinned $CGROUPS_PIN" "map dump pinned $REMEMBERED_PIN" \
		"map dump pinned $NAMES_PIN"
	((${#ANSWERS[@]} == 4)) || return
	NO_CGROUP="gone or not visible from here"
	CGROUP=$(cgroup_path "${values[AT_CGROUP]}") ||
		NO_CGROUP="not found within some seconds, of the inode number ${values[AT_CGROUP]}"
	PROGRAM_ID=${values[AT_PROGRAM]} # not that of the pin, where a reload to another version was killed
	QUIET=${values[AT_QUIET]}
	ALL=$((values[AT_TERMS] & ADMIT_SHORT))
	ZEROCOPY=$((values[AT_TERMS] & ADMIT_ZEROCOPY))
	NEW_ALONE=$((values[AT_TERMS] & ADMIT_NEW_ALONE))
	scope=$((values[AT_TERMS] >> SCOPE_SHIFT))
	ONLY=$(filter "${ANSWERS[0]}" "$scope" 1) &&
		EXCEPT=$(filter "${ANSWERS[0]}" "$scope" 0) &&
		NOT_UNDER=$(excluded_cgroups "${ANSWERS[@]:1:2}") &&
		NOT_OF=$(excluded_programs "${ANSWERS[3]}") || return
	look_at_attached
}

# in_part STATUS: of iterate().  What is not all is shown, too.
in_part() {
	(($1 == 3)) || return
	ALL_LISTED=0
}

look_at_sockets() {
	ALL_LISTED=1
	now
	LIST_END=$((NOW + LIST_SECONDS * 1000)) # after the paths of cgroups, which may take their time
	if ! { OPEN_SOCKETS=$(iterate "$OPEN") || in_part $?; } ||
		! { CONNECTIONS=$(connections pinned "$MAP_PIN") || in_part $?; }; then
		end_lists
		return 1
	fi
	end_lists # the next look may find another load
	[[ -z $CONNECTIONS ]] || CONNECTIONS=$(say "$CONNECTIONS" | with_programs) || return
	SOCKETS=$(of_connections '
		NF { n += ($at["client_key"] != "-") + ($at["server_key"] != "-") }
		END { print n + 0 }' < <(say "$CONNECTIONS")) && DIRECTIONS=$(directions)
}

# Is ours ATTACHED (empty: not known), and LATER programs that run after it, as NAME/ID: with these
# no connection is admitted.
look_at_attached() {
	local programs id name
	ATTACHED='' LATER=''
	[[ -n $CGROUP ]] || return 0
	programs=$(programs_on sock_ops "$CGROUP" effective) || return 0 # bpftool 7 asks 5.10 for too much
	ATTACHED=0
	while read -r id _ name; do
		if [[ $id == "$PROGRAM_ID" ]]; then
			ATTACHED=1
		elif ((ATTACHED)); then
			LATER+=${LATER:+$'\n'}$name/$id
		fi
	done < <(say "$programs")
}
