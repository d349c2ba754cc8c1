# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The connections that were open before load.sh, of this network namespace and with both ends in it:
# how many there are, and whose.  They stay on TCP (docs/operating.md says why).  Sourced by
# load.sh, after common.sh.

OPEN_SECONDS=2  # for each look of ss
OPEN_PROGRAMS=5 # that are named

# list_open OPTION...: what ss says; behind the line that was cut off, if it takes too long, `late`.
# Before 6.9 it waits for a mutex that any user can hold, by SOCK_DESTROY of a socket of his.
list_open() {
	bounded "$OPEN_SECONDS" ss -tnH "$@" state established || say $'\nlate'
}

# report_open: nothing, if there are none.
report_open() {
	local pairs late number whose
	command -v ss >/dev/null || {
		say "open before, and on TCP until they are opened again: not counted, ss (iproute2) is missing"
		return
	}
	pairs=$(list_open | both_ends)
	[[ -n $pairs ]] || return 0
	read -r late number < <(say "$pairs")
	whose=$(list_open -p | pids_of "$pairs" | with_names | most_first)
	((number == 1)) && number+=" connection" || number+=" connections"
	((!late)) || number="at least $number (ss did not come to its end)"
	say "open before, and on TCP until they are opened again: $number${whose:+, of $whose}"
}

# In brackets are addresses of IPv6, or of IPv4 in it.
AWK_ENDS='
	function plain(address) {
		gsub(/\[::ffff:|\]|\[/, "", address)
		return address
	}'

# both_ends: of what ss says, first `LATE NUMBER`, then of each connection both addresses.
both_ends() {
	awk "$AWK_ENDS"'
		$1 == "late" {
			late = 1
			$0 = line = ""
		}
		line { take(line) }
		{ line = $0 }
		END {
			take(line)
			if (number || late)
				print late + 0, number + 0
			for (i = 1; i <= number; i++)
				print list[i]
		}
		function take(line,    field, here, there) {
			if (split(line, field, " ") < 4)
				return
			here = plain(field[3])
			there = plain(field[4])
			if (here != there && (there, here) in end)
				list[++number] = here " " there
			end[here, there]
		}'
}

# pids_of PAIRS: prints the pids of both ends of each of these connections, as `ss -p` says; 0 where
# it does not.  Of several processes that hold a socket the last one: behind its number stands no
# name, which could be taken for another one.  Any user chooses names.
pids_of() {
	awk "$AWK_ENDS"'
		NR == FNR {
			if (FNR > 1)
				pair[$1, $2]
			next
		}
		$5 ~ /^users:\(\(/ && match($0, /,pid=[0-9]+,fd=[0-9]+\)\) *$/) {
			split(substr($0, RSTART + 5), number, ",")
			pid[plain($3), plain($4)] = number[1]
		}
		END {
			for (both in pair) {
				split(both, address, SUBSEP)
				print pid[address[1], address[2]] + 0, pid[address[2], address[1]] + 0
			}
		}' <(say "$1") -
}

NAME_EACH='
	for pid; do
		name=$(tr "\n" " " <"/proc/$pid/comm") && printf "%s %s\n" "$pid" "${name% }" # else it has ended
	done'

# with_names: puts before what pids_of says a line `PID NAME` of each process, the name as it is
# shown.
with_names() {
	local ends pids
	ends=$(cat)
	mapfile -t pids < <(say "$ends" | tr ' ' '\n' | sorted -u)
	{ of_processes "$OPEN_SECONDS" "$NAME_EACH" "${pids[@]}" || true; } | shown_lines
	say
	say "$ends"
}

# most_first: `NAME NUMBER, NAME NUMBER`, of the programs with the most connections.
most_first() {
	awk '
		!$0 {
			ends = 1
			next
		}
		!ends {
			name[$1] = substr($0, length($1) + 2)
			next
		}
		{
			count(name[$1])
			if (name[$2] != name[$1])
				count(name[$2])
		}
		function count(program) {
			if (program != "")
				connections[program]++
		}
		END {
			for (program in connections)
				print connections[program], program
		}' | sorted -s -k 1,1nr -k 2 | awk -v most="$OPEN_PROGRAMS" '
		NR > most {
			others = ", and others"
			next
		}
		{
			printf "%s%s %d", (NR > 1 ? ", " : ""), substr($0, length($1) + 2), $1
		}
		END {
			print others
		}'
}
