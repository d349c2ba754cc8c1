# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What load.sh, unload.sh and status.sh share: names, messages, and how to find
# and read things.  Sourced, after `set -euo pipefail`, with HERE set.
#
# shellcheck disable=SC2034 # names that only some of them use

export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin # bpftool lives there, su leaves it out

BPFFS=/sys/fs/bpf
SOCKOPS=bpf_sockops
BYPASS=bpf_tcpip_bypass
GUARD=bpf_guard
STATUS=sock_ops_status
OPEN=sock_ops_open
RELEASE=sock_ops_release
MAP=sock_ops_map
CONFIG=sock_ops_config

SOCKOPS_PIN=$BPFFS/$SOCKOPS
BYPASS_PIN=$BPFFS/$BYPASS
# Where the kernel has what it needs.  A directory of its own: bpftool mounts a BPF file system upon the
# parent of the directory that it is to pin all programs of an object in, unless that is one.
GUARD_DIR=$BPFFS/$GUARD
GUARD_PINS=("$GUARD_DIR/$GUARD" "$GUARD_DIR/${GUARD}_get")
MAP_PIN=$BPFFS/$MAP
STATS_PIN=$BPFFS/sock_ops_stats
RECORD_PIN=$BPFFS/sock_ops_record
BTF=/sys/kernel/btf/vmlinux
CONFIG_PIN=$BPFFS/$CONFIG
PORTS_PIN=$BPFFS/sock_ops_ports
CGROUPS_PIN=$BPFFS/sock_ops_cgroups
NAMES_PIN=$BPFFS/sock_ops_names
# libbpf pins the maps when it loads the first program (bpf_sockops.h).
MAP_PINS=("$MAP_PIN" "$RECORD_PIN" "$BPFFS/sock_ops_meet" "$BPFFS/sock_ops_accounts" "$STATS_PIN" "$CONFIG_PIN"
	"$PORTS_PIN" "$CGROUPS_PIN" "$NAMES_PIN" "$BPFFS/sock_ops_excluded")
PINS=("$BYPASS_PIN" "$SOCKOPS_PIN" "${MAP_PINS[@]}")

say() {
	printf '%s\n' "$*"
}

say_each() {
	printf '%s\n' "$@"
}

warn() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
	warn "$@"
	exit 1
}

# ---- what others choose ----------------------------------------------------
# Strings that are not the scripts' own never reach a terminal, a log, or JSON as they are: each goes
# through shown(), once, where it is taken in for showing.  What is done with a thing (a cgroup, a
# process) is done by its number or its unchanged path, never by what is shown.
#
#   what                        chosen by                 checked                   shown by
#   names of processes          any user (prctl, comm)    nowhere: any bytes        status.sh, unload.sh, load.sh
#   --exclude-program           root                      load.sh, parse()          status.sh, load.sh
#   paths of cgroups            any user, in what is      nowhere: any bytes but /  all three
#                               delegated to him; root    check_cgroup()
#   arguments of the scripts    root                      parse()                   usage_error()
#   names of other programs     their owners (CAP_BPF)    the kernel: [A-Za-z0-9_.] status.sh, load.sh
#   what bpftool and the        the kernel                nowhere                   warn(), die()
#   kernel say of a failure
#   names of network            root                      not read for showing      -
#   namespaces
#   numbers: pids, inodes, ids  the kernel                ^[0-9]+$ where parsed     all three

# shown HEX: for awk, where the string is its bytes, two digits each.
AWK_SHOWN='
	function shown(hex,    i, byte, text) {
		for (i = 1; i < length(hex); i += 2) {
			byte = index("0123456789abcdef", substr(hex, i, 1)) * 16 + \
				index("0123456789abcdef", substr(hex, i + 1, 1)) - 17
			if (byte > 32 && byte < 127 && byte != 92 || byte == 32 && text ~ /[A-Za-z0-9]$/)
				text = text sprintf("%c", byte)
			else
				text = text "\\x" substr(hex, i, 2)
		}
		return text
	}'

# shown STRING: a line of ASCII that stands for it and for no other string.  Plain characters are as
# they are; all other bytes, and "\", are \xNN.  So is a space, except after a letter or a digit:
# nothing looks like the end of a member of a list.
shown() {
	if [[ $* =~ ^([][!-Z^-~]|[A-Za-z0-9]\ )*$ ]]; then # as most are
		say "$*"
	else
		printf %s "$*" | od -A n -v -t x1 | tr -d ' \n' | awk "$AWK_SHOWN"'{ print shown($0) }'
	fi
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

# cmd [-t | -q] COMMAND...: echo a command that changes the system's state, then run it.
#   -t  where it may be that nothing is to be done: echoed when it has succeeded
#   -q  not echoed; a comment says why
cmd() {
	case $1 in
	-t)
		"${@:2}" >/dev/null 2>&1 || return
		printf '[#] %s\n' "${*:2}" >&2
		;;
	-q) "${@:2}" ;;
	*)
		printf '[#] %s\n' "$*" >&2
		"$@"
		;;
	esac
}

# help_or_error ARGUMENT: what no option of the script is.
help_or_error() {
	case $1 in
	-h | --help)
		usage
		exit
		;;
	esac
	usage_error "unknown argument: $1"
}

# check_cgroup OPTION PATH
check_cgroup() {
	[[ -d $2 ]] || usage_error "$1: no such directory: $2"
	[[ $(stat -f -c %T "$2") == cgroup2fs ]] || usage_error "$1: not a directory of cgroup v2: $2"
}

need_root() {
	[[ $EUID -eq 0 ]] || die "needs root: sudo $0"
}

# Several scripts at once would take each other's work for leftovers.
one_at_a_time() {
	local dir lock
	dir=$(cgroup2_root)
	[[ -n $dir ]] || return 0 # nothing can be loaded
	exec {lock}<"$dir"
	flock --nonblock "$lock" && return
	warn "waiting for another load.sh or unload.sh"
	flock --wait 60 "$lock" || die "another load.sh or unload.sh has been at work for a minute; try again later"
}

# ---- cgroups ---------------------------------------------------------------

cgroup2_mounts() {
	local _ dir type
	while read -r _ dir type _; do
		if [[ $type == cgroup2 ]]; then
			printf '%b\n' "$dir" # the kernel writes a space as \040
		fi
	done </proc/self/mounts
}

# The first one; nothing when there is none.
cgroup2_root() {
	cgroup2_mounts | sed -n 1p
}

# cgroup_path INODE: where that cgroup is; nothing when it is gone, or not to be
# seen from here.
cgroup_path() {
	local dir
	while read -r dir; do
		find "$dir" -type d -inum "$1" -print -quit 2>/dev/null
	done < <(cgroup2_mounts) | sed -n 1p
}

# programs_on TYPE CGROUP [effective]: a line `ID FLAGS NAME` for each program of that
# attach type that is attached there, in the order in which they run; with `effective`
# for each that runs for its sockets, those of its ancestors come last.  FLAGS:
# multi, override, or "-" for neither (or not known: effective).  Without
# CAP_SYS_ADMIN it prints nothing.  Fails when the kernel does not tell: bpftool 7
# asks 5.10 for too much.
programs_on() {
	local json program='\{"id":([0-9]+),"attach_type":"(cgroup_)?'"$1"'"(,"attach_flags":"([^"]*)")?[^{}]*"name":"([^"]*)"(.*)'
	json=$(bpftool -j cgroup show "${@:2}" 2>/dev/null) || return
	while [[ $json =~ $program ]]; do
		say "${BASH_REMATCH[1]} ${BASH_REMATCH[4]:--} ${BASH_REMATCH[5]:--}"
		json=${BASH_REMATCH[6]}
	done
}

# only_ours: of lines `ID TYPE` those of our programs, and of what has our pin.  Others, such as the
# usual demos of this idea, may have the same names, but have no map of records.
only_ours() {
	local id type pinned
	pinned=$(id_of prog pinned "$SOCKOPS_PIN")
	while read -r id type; do
		[[ -n $id ]] || continue
		if [[ $id == "$pinned" ]] || map_id sock_ops_record id "$id" >/dev/null; then
			say "$id $type"
		fi
	done
}

# ours_on CGROUP: a line `ID TYPE` for each of our programs that is attached there.  Fails as
# programs_on does.
ours_on() {
	local list
	list=$(programs_on '[a-z_]+' "$1") || return
	awk -v sockops="$SOCKOPS" -v guard="$GUARD" '
		$3 == sockops { print $1, "sock_ops" }
		$3 == guard || $3 == guard "_get" { print $1, "lsm_cgroup" }' <<<"$list" | only_ours
}

# ---- programs and maps -----------------------------------------------------
# A MAP below is what bpftool calls so: `pinned PATH` or `id N`.

# program_ids NAME: ids of all loaded programs of that name.
program_ids() {
	# The kernel keeps 15 characters of a name.
	{ bpftool prog show 2>/dev/null || true; } |
		sed -n "s/^\([0-9]*\): [a-z_]*  name ${1:0:15}[a-z]*  .*/\1/p"
}

# map_id NAME PROGRAM...: the id of the map of that name that a program uses.
map_id() {
	local name=$1 json id
	shift
	json=$(bpftool -j prog show "$@" 2>/dev/null) || return
	[[ $json =~ \"map_ids\":\[([0-9,]*)\] ]] || return
	for id in ${BASH_REMATCH[1]//,/ }; do
		if [[ $(bpftool -j map show id "$id" 2>/dev/null) == *"\"name\":\"$name\""* ]]; then
			say "$id"
			return
		fi
	done
	return 1
}

# in_memory SIZE NUMBER: its bytes, in the host's byte order.
in_memory() {
	local i bytes=()
	for ((i = 0; i < $1; i++)); do
		bytes+=($(($2 >> 8 * i & 255)))
	done
	in_host_order "${bytes[@]}"
}

# from_memory BYTE...: the number that they are.
from_memory() {
	local byte shift=0 number=0
	for byte in $(in_host_order "$@"); do
		number=$((number | byte << shift))
		shift=$((shift + 8))
	done
	say "$number"
}

# in_host_order BYTE...: from the least significant byte first, or back to that.
in_host_order() {
	local i order=("$@")
	if ! is_little_endian; then
		order=()
		for ((i = $#; i; i--)); do
			order+=("${!i}")
		done
	fi
	printf '%s ' "${order[@]}"
}

# By the kernel's type information, which begins with the number 0xeb9f (struct btf_header).
is_little_endian() {
	local byte
	IFS='' read -r -n 1 byte <"$BTF"
	[[ $byte == $'\x9f' ]]
}

# The states of the switch: SWITCH_* of the programs.
OFF=0
ON=1
GOING_OFF=2

# What is admitted beside the rest: ADMIT_* of the programs.
ADMIT_MPTCP=1
ADMIT_SHORT=2
ADMIT_ALL_CGROUPS=4

# config_of MAP: the members of struct sock_config (bpf_sockops.h), as
# `CGROUP SWITCH QUIET PROGRAM ADMIT`, the last two "-" where an earlier version has loaded.  From
# the bytes: to see the map's types takes CAP_SYS_ADMIN.
config_of() {
	local json bytes rest="- -"
	json=$(bpftool -j map lookup "$@" key 0 0 0 0 2>/dev/null) || return
	[[ $json =~ \"value\":\[([^]]*)\] ]] || return
	read -ra bytes <<<"${BASH_REMATCH[1]//[\",]/ }"
	[[ ${#bytes[@]} -eq 24 || ${#bytes[@]} -eq 16 ]] || return
	((${#bytes[@]} == 16)) || rest="$(from_memory "${bytes[@]:16:4}") $(from_memory "${bytes[@]:20:4}")"
	say "$(from_memory "${bytes[@]:0:8}") $(from_memory "${bytes[@]:8:4}") $(from_memory "${bytes[@]:12:4}") $rest"
}

# set_config CGROUP SWITCH QUIET PROGRAM ADMIT MAP
set_config() {
	local value
	read -ra value < <(in_memory 8 "$1" && in_memory 4 "$2" && in_memory 4 "$3" &&
		if [[ $4 != - ]]; then in_memory 4 "$4" && in_memory 4 "$5"; fi && echo)
	shift 5
	cmd bpftool map update "$@" key 0 0 0 0 value "${value[@]}"
}

# number_of KEY prog|map PROGRAM|MAP: of what bpftool shows of it; nothing when there is none.
number_of() {
	local json
	json=$(bpftool -j "$2" show "$3" "$4" 2>/dev/null) || return 0
	[[ ! $json =~ \"$1\":([0-9]+) ]] || say "${BASH_REMATCH[1]}"
}

id_of() {
	number_of id "$@"
}

# reason_in LOG: of what bpftool has said, what libbpf could not do.
reason_in() {
	grep -m 1 'failed:' <<<"$1" || tail -n 1 <<<"$1"
}

# The pins that are there.
pins() {
	local pin
	for pin in "${PINS[@]}" "$GUARD_DIR"; do
		[[ ! -e $pin ]] || say "$pin"
	done
}

is_guarded() {
	[[ -e ${GUARD_PINS[0]} && -e ${GUARD_PINS[1]} ]]
}

# All is pinned, and switched on: the last thing that load.sh does, and the first
# that unload.sh undoes.
is_loaded() {
	local values pin
	for pin in "${PINS[@]}"; do
		[[ -e $pin ]] || return
	done
	read -ra values < <(config_of pinned "$CONFIG_PIN")
	[[ ${values[1]:-$OFF} -eq $ON ]]
}

# ---- the connections -------------------------------------------------------

# in_each_namespace COMMAND...: in our own network namespace, and in each other one that has a
# name or a process.
in_each_namespace() {
	local namespace
	"$@" || true
	while read -r namespace; do
		nsenter --net="$namespace" "$@" 2>/dev/null || true
	done < <(stat -L -c '%i %n' /proc/[0-9]*/ns/net /run/netns/* 2>/dev/null | sort -u -k 1,1 |
		awk -v own="$(stat -L -c %i /proc/self/ns/net)" '$1 != own { print $2 }')
}

ITERATES=$$ # the process whose iterators these are

# iterate NAME [MAP]: what the iterator program of that name prints, of a map, or of the
# sockets of each network namespace.  It is loaded once, and stays pinned until end_iterators.
# Not echoed: status.sh --watch and an unload.sh that waits come here again and again.
iterate() {
	local pin=$BPFFS/$1-${3:+${3##*/}-}$ITERATES log map=()
	[[ $# -eq 1 ]] || map=(map "${@:2}")
	if [[ ! -e $pin ]] && ! log=$(cmd -q bpftool iter pin "$HERE/$1.o" "$pin" "${map[@]}" 2>&1); then
		warn "cannot list the sockets: $(reason_in "$log")"
		return 1
	fi
	if [[ ${#map[@]} -gt 0 ]]; then
		cat "$pin"
	else
		in_each_namespace cat "$pin"
	fi
}

end_iterators() {
	cmd -q rm -f "$BPFFS/$STATUS"-*"-$ITERATES" "$BPFFS/$OPEN-$ITERATES"
}

# What connections() prints of a connection.  What is not known is "-".
CONNECTION=(
	age_ms # since admission
	idle   # 1: it can be taken out
	# Of each end: its address:port, the one that the other end sees (another one behind NAT),
	# its key if it is in the map, its network namespace, the bytes that it has not read, for
	# how many ms it has not (at most), whether it sends over TCP, and the inode of its socket.
	client client_seen client_key client_netns client_unread client_unread_ms client_over_tcp client_inode
	server server_seen server_key server_netns server_unread server_unread_ms server_over_tcp server_inode
	# with_programs() adds the programs, as NAME/PID.
	client_program server_program
)

# of_connections PROGRAM [FILE...]: awk on what connections() prints, where $at["client"] is
# the field of that name.
of_connections() {
	awk -F '\t' -v OFS='\t' -v names="${CONNECTION[*]}" '
		BEGIN {
			for (i = split(names, name, " "); i; i--)
				at[name[i]] = i
		}
		'"$1" "${@:2}"
}

# sockets MAP: what sock_ops_status prints (status_line.h).  Where the host's policy refuses
# iterators over maps, sock_ops_open tells the same; not of a socket of a network namespace that
# cannot be entered, nor of one that a reset has closed and its program has not (5.19).
# OPEN_SOCKETS: what it has said just before, if it has been asked.
sockets() {
	local said
	if said=$(iterate "$STATUS" "$@" 2>&1); then
		say "$said"
	elif [[ $said == *"not permitted"* || $said == *-EPERM* ]]; then # as libbpf has it
		say "${OPEN_SOCKETS:-$(iterate "$OPEN")}" | awk -v id="$(id_of map "$@")" '
			NR == 1 || index("," $4, "," id ",") {
				sub(/^[^ ]+ [^ ]+ [^ ]+ [^ ]+ /, "")
				print
			}'
	else
		say "$said" >&2
		return 1
	fi
}

# map_is_empty MAP: also of what sockets() cannot see.
map_is_empty() {
	[[ $(bpftool map getnext "$@" 2>&1) == *"next key: No such file"* ]]
}

# connections MAP: a line for each connection that has at least one end in the map.
connections() {
	! map_is_empty "$@" || return 0
	sockets "$@" | awk '
		NR == 1 {
			for (i = 1; i <= NF; i++)
				column[i] = $i
			next
		}
		# The kernel may list a socket twice.
		!($1 in listed) {
			listed[$1]
			for (i = 1; i <= NF; i++)
				socket[$1, column[i]] = $i
		}
		END {
			for (end in listed) {
				peer = socket[end, "peer"]
				# Of two ends the line of the server counts, or the first one.
				if (peer in listed && (peer in done || of(peer, "server") > of(end, "server")))
					continue
				done[end]
				if (of(end, "server"))
					show(peer, end)
				else
					show(end, peer)
			}
		}
		function of(end, field) {
			return end in listed ? socket[end, field] : "-"
		}
		function show(client, server,    age) {
			age = of(client, "age_ms")
			print age == "-" ? of(server, "age_ms") : age, idle(client, server), \
				fields(client, server), fields(server, client)
		}
		# Of two ends it is enough that one knows the other.
		function idle(client, server) {
			if (!(client in listed) || !(server in listed))
				return of(client in listed ? client : server, "idle")
			return of(client, "idle") && of(server, "idle") && (of(client, "pair") || of(server, "pair"))
		}
		# What is unread here, the other end has sent.
		function fields(end, peer) {
			return (end in listed ? of(end, "local") : of(peer, "remote")) OFS of(peer, "remote") OFS \
				of(end, "key") OFS of(end, "netns") OFS of(end, "unread") OFS of(peer, "sent_ms") OFS \
				of(end, "over_tcp") OFS of(end, "inode")
		}' OFS='\t' | shorten_addresses
}

# In what connections() prints: the longest run of zero groups of IPv6, two at least, becomes "::".
shorten_addresses() {
	of_connections '
		BEGIN { split("client client_seen server server_seen", cell, " ") }
		{
			for (n in cell)
				$at[cell[n]] = short($at[cell[n]])
			print
		}
		function short(address,    zeros, i) {
			if (address !~ /^\[/)
				return address
			sub(/\[/, "[:", address)
			sub(/\]/, ":]", address)
			for (zeros = ":0:0:0:0:0:0:0:0:"; length(zeros) > 3; zeros = substr(zeros, 3))
				if (i = index(address, zeros)) {
					address = substr(address, 1, i) ":" substr(address, i + length(zeros))
					break
				}
			if (address ~ /^\[:[^:]/)
				address = "[" substr(address, 3)
			if (match(address, /[^:]:\]/))
				address = substr(address, 1, RSTART) substr(address, RSTART + 2)
			return address
		}'
}

# with_programs: adds the programs to what connections() prints, by the sockets in
# /proc/PID/fd.
with_programs() {
	of_connections '
		# Of several processes that share a socket the one with the lowest number.
		FNR == NR {
			split($0, part, /[ \/]/)
			inode = $0
			gsub(/.*\[|\]$/, "", inode)
			if (!(inode in owner) || part[3] + 0 < owner[inode])
				owner[inode] = part[3] + 0
			next
		}
		{ print $0, program($at["client_inode"]), program($at["server_inode"]) }
		function program(inode,    pid, name, file) {
			pid = owner[inode]
			if (!inode || !pid)
				return "-"
			if (!(pid in names_of)) {
				file = "/proc/" pid "/comm"
				if ((getline name <file) <= 0)
					name = "?"
				close(file)
				gsub(/[\t\\"]/, "?", name)
				names_of[pid] = name
			}
			return names_of[pid] "/" pid
		}' <(
		find /proc/[0-9]*/fd -maxdepth 1 -lname 'socket:*' -printf '%h %l\n' 2>/dev/null || true
		echo /proc/0/fd # never an empty file
	) -
}
