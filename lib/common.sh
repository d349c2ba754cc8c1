# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What all scripts share, also those of a pod and of the Debian package: their environment, messages
# and commands.  Sourced first, after `set -euo pipefail`, with HERE set.

if ((BASH_VERSINFO[0] < 5 || (BASH_VERSINFO[0] == 5 && BASH_VERSINFO[1] < 1))); then
	# Older ones make a file in /tmp of each here-string, and any user can fill that.
	echo "${0##*/}: needs bash 5.1 or newer" >&2
	exit 2
fi
unset BASH_COMPAT POSIXLY_CORRECT

# shellcheck source=lib/version.sh
. "${BASH_SOURCE[0]%/*}/version.sh"
# shellcheck source=lib/pins.sh
. "${BASH_SOURCE[0]%/*}/pins.sh"
# shellcheck source=lib/shown.sh
. "${BASH_SOURCE[0]%/*}/shown.sh"
# shellcheck source=lib/bounded.sh
. "${BASH_SOURCE[0]%/*}/bounded.sh"
# shellcheck source=lib/bpffs.sh
. "${BASH_SOURCE[0]%/*}/bpffs.sh"

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

# sorted [OPTION]...: of what is larger than its memory, sort makes files in /tmp, too.  This is more
# than a list can have (LIST_LINES).
sorted() {
	sort -S 128M "$@"
}

die() {
	warn "$@"
	exit 1
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

# was_killed STATUS: by a signal, or did it end by itself?  bpftool may fail with an errno: 234 is
# EINVAL.
was_killed() {
	(($1 > 128 && $1 < 160))
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

# now: ms since the host was started, in NOW.  Nobody sets that clock.
now() {
	local up
	read -r up _ </proc/uptime
	# shellcheck disable=SC2034 # for who calls it
	NOW=$((10#${up/./} * 10))
}

# has_time END, which is one of now().
has_time() {
	now
	((NOW < $1))
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

need_root() {
	[[ $EUID -eq 0 ]] || die "needs root: sudo $0"
}

# confinement: for the end of a message, if AppArmor may deny root what the file system grants it.
confinement() {
	local profile=
	read -r profile 2>/dev/null </proc/self/attr/apparmor/current || true
	[[ $profile == *" (enforce)" ]] || return 0
	say "; AppArmor's profile $(shown "${profile% (*}") may deny it: on Kubernetes set" \
		"appArmorProfile to Unconfined, as docs/kubernetes.yaml does; with Docker use" \
		"--security-opt apparmor=unconfined"
}
