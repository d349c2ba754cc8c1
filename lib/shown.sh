# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# How what others choose is shown.  Sourced by common.sh.

# Strings that are not the scripts' own never reach a terminal, a log, or JSON as they are: each
# goes through shown(), once, where it is taken in for showing.  What is done with a thing (a
# cgroup, a process) is done by its number or its unchanged path, never by what is shown.
#
#   what                  chosen by                 taken in by               shown by
#   names of processes    any user: any bytes       sock_ops_open, in hex     with_programs()
#                                                   sock_ops_running, in hex  a place in SOUGHT
#                                                   with_names()              shown_lines()
#                                                   lock_holders()            lock_holders()
#   --exclude-program     root                      load.sh, parse()          excluded_programs()
#   paths of cgroups      whom a cgroup was given:  cgroup_path[s](), by      shown_lines(), status.sh,
#                         all bytes but "/" and     inode; check_cgroup()     load.sh; what commands
#                         line breaks                                         get: cmd()
#   other arguments       root                      parse()                   usage_error(),
#                                                                             check_cgroup()
#   names of programs     who may load some; the    programs_on()             programs_on()
#                         kernel takes only
#                         [A-Za-z0-9_.]
#   types of programs,    the kernel                programs_on(), map_id(),  as numbers, and words of
#   ids, flags, counters                            number_in(), entries()    a pattern
#   version loaded        root                      version_in()              as it is: it was shown
#   lines of mounts       who may mount             cgroup2_mounts()          as paths of cgroups
#   addresses, ports      who connects              sock_ops_*, as numbers    address()
#   inodes, pids          the kernel                sock_ops_*, as numbers;   as they are
#                                                   lock_holders()
#   arguments of          any user                  haproxy.sh                not at all
#   processes
#   names of namespaces   root                      entrances()               not at all
#   METRICS               root; where it leads,     metrics_file.sh           metrics_file.sh
#                         who may write beside it
#   AppArmor's profile    root                      confinement()             confinement()

# For awk, where bytes are two hexadecimal digits each: shown() of a string up to a zero, and
# number() of one in memory, the least significant byte first.
AWK_HEX='
	function byte(hex) {
		return index("123456789abcdef", substr(hex, 1, 1)) * 16 + \
			index("123456789abcdef", substr(hex, 2, 1))
	}
	function shown(hex,    i, b, char, before, text) {
		for (i = 1; i < length(hex) && (b = byte(substr(hex, i, 2))); i += 2) {
			char = sprintf("%c", b)
			if (b > 32 && b < 127 && b != 92 || b == 32 && before ~ /[A-Za-z0-9]/)
				text = text char
			else
				text = text "\\x" substr(hex, i, 2)
			before = char
		}
		sub(/ $/, "\\x20", text)
		return text
	}
	function number(hex,    i, sum) {
		for (i = length(hex) - 1; i > 0; i -= 2)
			sum = sum * 256 + byte(substr(hex, i, 2))
		return sprintf("%.0f", sum)
	}'

# is_plain STRING: is it shown as it is?
is_plain() {
	[[ $1 =~ ^([][!-Z^-~]|[A-Za-z0-9]\ )*$ && $1 != *\  ]]
}

# shown STRING: a line of ASCII that stands for it and for no other string.  Plain characters are as
# they are; all other bytes, and "\", are \xNN.  So is a space, except after a letter or a digit,
# and at the end: nothing looks like the end of a member of a list.
shown() {
	if is_plain "$*"; then # as most are
		say "$*"
	else
		printf %s "$*" | od -A n -v -t x1 | tr -d ' \n' | awk "$AWK_HEX"'{ print shown($0) }'
	fi
}

# shown_lines: the same of each line that it reads.
shown_lines() {
	awk "$AWK_HEX"'
		BEGIN {
			for (i = 1; i < 256; i++)
				hex_of[sprintf("%c", i)] = sprintf("%02x", i)
		}
		/^([]!-Z[^-~]|[A-Za-z0-9] )*$/ && !/ $/ { # as most are
			print
			next
		}
		{
			hex = ""
			for (i = 1; i <= length($0); i++)
				hex = hex hex_of[substr($0, i, 1)]
			print shown(hex)
		}'
}

# quoted SHOWN: what shown() has printed, as a string of JSON.
quoted() {
	local text=${1//\\/\\\\}
	printf '"%s"' "${text//\"/\\\"}"
}
