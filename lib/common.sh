# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What all scripts share, also those of a pod and of the Debian package: names, messages, the filter for what others choose,
# and the lock.  Sourced first, after `set -euo pipefail`, with HERE set.
#
# shellcheck disable=SC2034 # names that only some of them use

# shellcheck source=lib/version.sh
. "${BASH_SOURCE[0]%/*}/version.sh"

export LC_ALL=C
# A closed output is as one that nobody reads.  (Without /proc there is none of these files.)
[[ -e /dev/fd/1 || ! -e /dev/fd ]] || exec >/dev/null
[[ -e /dev/fd/2 || ! -e /dev/fd ]] || exec 2>/dev/null

# Members that are no absolute paths lead to wherever a command stands, which others choose
# (haproxy.sh, metrics_file.sh).
absolute_members() {
	local -n list=$1
	local dir dirs kept=
	IFS=: read -rd '' -a dirs < <(printf '%s:\0' "$list")
	for dir in "${dirs[@]}"; do
		[[ $dir != /* ]] || kept+=${kept:+:}$dir
	done
	list=$kept
}
absolute_members PATH
PATH=${PATH:+$PATH:}/usr/sbin:/sbin # bpftool lives there, su leaves it out
[[ -z ${LD_LIBRARY_PATH:-} ]] || absolute_members LD_LIBRARY_PATH
unset LD_PRELOAD

OBJECTS=$HERE/build
BPFFS=/sys/fs/bpf
SOCKOPS=bpf_sockops
BYPASS=bpf_tcpip_bypass
GUARD=bpf_guard
GUARD_TRACE=bpf_guard_trace
STATUS=sock_ops_status
OPEN=sock_ops_open
RELEASE=sock_ops_release
RUNNING=sock_ops_running
MAP=sock_ops_map
CONFIG=sock_ops_config

SOCKOPS_PIN=$BPFFS/$SOCKOPS
BYPASS_PIN=$BPFFS/$BYPASS
# Where the kernel has what it needs.  A directory of its own: to pin all programs of an object,
# bpftool mounts a BPF file system over the parent of its pin directory, unless the parent is on one
# already.
GUARD_DIR=$BPFFS/$GUARD
GUARD_PINS=("$GUARD_DIR/$GUARD" "$GUARD_DIR/${GUARD}_get")
TRACE_PIN=$GUARD_DIR/${GUARD}_says # if the guard is GUARD_TRACE
MAP_PIN=$BPFFS/$MAP
# Of another version, until they take the places of those that are loaded (lib/exchange.sh).
NEW_SOCKOPS_PIN=${SOCKOPS_PIN}_new
NEW_BYPASS_PIN=${BYPASS_PIN}_new
NEW_GUARD_DIR=${GUARD_DIR}_new
STATS_PIN=$BPFFS/sock_ops_stats
RECORD_PIN=$BPFFS/sock_ops_record
BTF=/sys/kernel/btf/vmlinux
CONFIG_PIN=$BPFFS/$CONFIG
PORTS_PIN=$BPFFS/sock_ops_ports
CGROUPS_PIN=$BPFFS/sock_ops_cgroups
NAMES_PIN=$BPFFS/sock_ops_names
ACCOUNTS_PIN=$BPFFS/sock_ops_accounts
REMEMBERED_PIN=$BPFFS/sock_ops_remembered
# libbpf pins the maps when it loads the first program (bpf/sock_record_map.h).
MAP_PINS=("$MAP_PIN" "$RECORD_PIN" "$BPFFS/sock_ops_meet" "$ACCOUNTS_PIN" "$STATS_PIN" "$CONFIG_PIN"
	"$PORTS_PIN" "$CGROUPS_PIN" "$NAMES_PIN" "$BPFFS/sock_ops_excluded" "$REMEMBERED_PIN")
PINS=("$BYPASS_PIN" "$SOCKOPS_PIN" "${MAP_PINS[@]}")
RUNNING_PIN=$BPFFS/$RUNNING # while load.sh looks around

# Nobody may be listening, or the disk be full: that a message cannot be written never decides.
# Also where a program is to read a string that may be long: of a here-string of more than 64 KiB
# bash makes a file in /tmp, which any user can fill.
say() {
	printf '%s\n' "$*" 2>/dev/null || true
}

say_each() {
	printf '%s\n' "$@" 2>/dev/null || true
}

warn() {
	say "${0##*/}: $*" >&2
}

die() {
	warn "$@"
	exit 1
}

# ---- what others choose ----------------------------------------------------
#
# Strings that are not the scripts' own never reach a terminal, a log, or JSON as they are: each
# goes through shown(), once, where it is taken in for showing.  What is done with a thing (a
# cgroup, a process) is done by its number or its unchanged path, never by what is shown.
#
#   what                    chosen by                    taken in by                 shown by
#   names of processes      any user: any bytes          sock_ops_open, in hex;      with_programs();
#                                                        sock_ops_running, in hex    as a place in SOUGHT
#                                                        with_names(), from /proc    shown_lines()
#   --exclude-program       root                         load.sh, parse()            excluded_programs()
#   paths of cgroups        users to whom a cgroup is    cgroup_paths(), by inode;   status.sh, with shown_lines();
#                           delegated: all bytes but     cgroup_path(), by inode;    load.sh; what commands get:
#                           "/" and line breaks          check_cgroup()              cmd()
#   other arguments         root                         parse()                     usage_error(), check_cgroup()
#   names of programs       who may load some; the       programs_on()               programs_on()
#                           kernel takes [A-Za-z0-9_.]
#   types of programs,      the kernel                   programs_on(), map_id(),    by bpftool: numbers and
#   ids, flags, counters                                 number_in(), entries()      words of a pattern
#   version that is loaded  root                         version_in()                as it is: it was shown
#   lines of mounts         who may mount                has_bpffs(),                as paths of cgroups
#                                                        cgroup2_mounts()
#   addresses, ports        who connects                 sock_ops_*, as numbers      address()
#   inodes, pids            the kernel                   sock_ops_*, as numbers      as they are
#   arguments of processes  any user                     haproxy.sh                  not at all
#   names of namespaces     root                         entrances()                 not at all
#   AppArmor's profile      root                         confinement()               confinement()

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
		return text
	}
	function number(hex,    i, sum) {
		for (i = length(hex) - 1; i > 0; i -= 2)
			sum = sum * 256 + byte(substr(hex, i, 2))
		return sprintf("%.0f", sum)
	}'

# is_plain STRING: is it shown as it is?
is_plain() {
	[[ $1 =~ ^([][!-Z^-~]|[A-Za-z0-9]\ )*$ ]]
}

# shown STRING: a line of ASCII that stands for it and for no other string.  Plain characters are as
# they are; all other bytes, and "\", are \xNN.  So is a space, except after a letter or a digit:
# nothing looks like the end of a member of a list.
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
		/^([]!-Z[^-~]|[A-Za-z0-9] )*$/ { # as most are
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

# What was asked for cannot be understood.
usage_error() {
	warn "$*; see: $0 --help"
	exit 2
}

# echoed COMMAND...: as it is to be pasted, or read.  No process for it where none is needed: it
# takes as long as many a command.
echoed() {
	local text=$*
	is_plain "$text" || text=$(shown "$text")
	say "[#] $text" >&2
}

# cmd [-t | -q] COMMAND...: echo a command that changes the system's state, then run it.
#   -t  where it may be that nothing is to be done: echoed when it has succeeded
#   -q  not echoed: what only the scripts themselves use
cmd() {
	case $1 in
	-t)
		"${@:2}" >/dev/null 2>&1 || return
		echoed "${@:2}"
		;;
	-q) "${@:2}" ;;
	*)
		echoed "$@"
		quietened "$@"
		;;
	esac
}

# quietened COMMAND...: what it says of a path that others have chosen is shown as that.
quietened() {
	if is_plain "$*"; then
		"$@"
	else
		{ "$@" 2>&1 >&3 | shown_lines >&2; } 3>&1
	fi
}

# up: seconds since the host was started, in UP.  Nobody sets that clock.
up() {
	read -r UP _ </proc/uptime
	UP=${UP%%.*}
}

# help_or_error ARGUMENT: what no option of the script is.
help_or_error() {
	case $1 in
	-h | --help)
		usage
		exit
		;;
	--version)
		say "tcpip-bypass $VERSION"
		exit
		;;
	esac
	usage_error "unknown argument: $(shown "$1")"
}

# check_cgroup OPTION PATH
check_cgroup() {
	[[ -d $2 ]] || usage_error "$1: no such directory: $(shown "$2")"
	[[ $(stat -f -c %T "$2") == cgroup2fs ]] ||
		usage_error "$1: not a directory of cgroup v2: $(shown "$2")"
}

# check_lasting OPTION PATH WHAT-FOLLOWS
check_lasting() {
	[[ ${2%/} != *.@(service|scope) ]] ||
		warn "$1: systemd removes the cgroup of a service that is stopped, and makes another one when it is" \
			"started again: $3; a slice lasts: $(shown "$2")"
}

need_root() {
	[[ $EUID -eq 0 ]] || die "needs root: sudo $0"
}

# confinement: for the end of a message, if AppArmor may deny root what the file system grants it.
confinement() {
	local profile=
	read -r profile 2>/dev/null </proc/self/attr/apparmor/current || true
	[[ $profile == *" (enforce)" ]] || return 0
	say "; AppArmor's profile $(shown "${profile% (*}") may deny it: on Kubernetes set appArmorProfile to" \
		"Unconfined, as docs/kubernetes.yaml does; with Docker use --security-opt apparmor=unconfined"
}

has_bpffs() {
	local line lines type=
	mapfile -t lines </proc/self/mounts # `read` would have the kernel write it anew for each line
	for line in "${lines[@]}"; do
		# The last one hides those before.
		[[ $line != *" $BPFFS "* || ! $line =~ ^[^\ ]*\ "$BPFFS"\ ([^\ ]+)\  ]] || type=${BASH_REMATCH[1]}
	done
	[[ $type == bpf ]]
}

# Pins are believed, and the lock is taken, because nobody but root can reach them.  systemd mounts
# it so, mount(8) by default with mode 1777.
check_bpffs() {
	local owner mode
	has_bpffs || return 0
	read -r owner mode < <(stat -c '%u %a' "$BPFFS") || {
		warn "cannot look at $BPFFS"
		return 1
	}
	((owner == 0 && (8#$mode & 8#077) == 0)) || {
		warn "others than root can use $BPFFS (mode $mode), and so pretend that something is loaded, or" \
			"stop these scripts; to close it: sudo chown root $BPFFS; sudo chmod 700 $BPFFS"
		return 1
	}
}

# Several scripts at once would take each other's work for leftovers.  The lock is the root of the
# BPF file system: what can collide are the pins in it, containers that share them share it, only
# root can open it (check_bpffs), and it leaves nothing behind.  Where there is none, nothing can be
# pinned.
one_at_a_time() {
	has_bpffs || return 0
	exec {LOCK}<"$BPFFS"
	if ! flock --nonblock "$LOCK"; then
		warn "waiting for another load.sh or unload.sh"
		flock --wait 60 "$LOCK" || die "another load.sh or unload.sh has been at work for a minute; try" \
			"again later"
	fi
	[[ $BPFFS -ef /dev/fd/$LOCK ]] || die "$BPFFS was unmounted meanwhile; try again"
}

# is_being_changed: does another script have the lock?
is_being_changed() {
	! flock --shared --nonblock "$BPFFS" true
}

# alone [FD...]: in a process that may outlive this one: without the lock, and what the caller has
# open, except for these.
alone() {
	local fd
	for fd in /proc/self/fd/*; do
		fd=${fd##*/}
		((fd <= 2)) || [[ " $* " == *" $fd "* ]] || exec {fd}>&-
	done
}
