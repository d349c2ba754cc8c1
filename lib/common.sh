# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What load.sh, unload.sh and status.sh share: names, messages, and how to find
# and read things.  Sourced, after `set -euo pipefail`, with HERE set.
#
# shellcheck disable=SC2034 # names that only some of them use

export LC_ALL=C
# A closed output is as one that nobody reads.
: >&1 || exec >/dev/null
: >&2 || exec 2>/dev/null
PATH=$PATH:/usr/sbin:/sbin # bpftool lives there, su leaves it out

OBJECTS=$HERE/build
BPFFS=/sys/fs/bpf
SOCKOPS=bpf_sockops
BYPASS=bpf_tcpip_bypass
GUARD=bpf_guard
STATUS=sock_ops_status
OPEN=sock_ops_open
RELEASE=sock_ops_release
RUNNING=sock_ops_running
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
ACCOUNTS_PIN=$BPFFS/sock_ops_accounts
REMEMBERED_PIN=$BPFFS/sock_ops_remembered
# libbpf pins the maps when it loads the first program (bpf_sockops.h).
MAP_PINS=("$MAP_PIN" "$RECORD_PIN" "$BPFFS/sock_ops_meet" "$ACCOUNTS_PIN" "$STATS_PIN" "$CONFIG_PIN"
	"$PORTS_PIN" "$CGROUPS_PIN" "$NAMES_PIN" "$BPFFS/sock_ops_excluded" "$REMEMBERED_PIN")
PINS=("$BYPASS_PIN" "$SOCKOPS_PIN" "${MAP_PINS[@]}")
RUNNING_PIN=$BPFFS/$RUNNING # while load.sh looks around

# Nobody may be listening, or the disk be full: that a message cannot be written never decides.
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
# Strings that are not the scripts' own never reach a terminal, a log, or JSON as they are: each goes
# through shown(), once, where it is taken in for showing.  What is done with a thing (a cgroup, a
# process) is done by its number or its unchanged path, never by what is shown.
#
#   what                    chosen by                    taken in by                 shown by
#   names of processes      any user: any bytes          sock_ops_open, in hex       with_programs()
#                                                        /proc, ss(8), in load.sh    load.sh
#   --exclude-program       root                         load.sh, parse()            excluded_programs()
#   paths of cgroups        users to whom a cgroup is    cgroup_paths(), by inode;   status.sh, with shown_lines();
#                           delegated: all bytes but     check_cgroup();             load.sh; what commands get:
#                           "/" and line breaks          /proc/PID/cgroup            cmd()
#   other arguments         root                         parse()                     usage_error(), check_cgroup()
#   names of programs       who may load some; the       programs_on()               programs_on()
#                           kernel takes [A-Za-z0-9_.]
#   types of programs,      the kernel                   programs_on(), map_id(),    by bpftool: numbers and
#   ids, flags, counters                                 number_of(), of_entries()   words of a pattern
#   addresses, ports        who connects                 sock_ops_*, as numbers      address()
#   inodes, pids            the kernel                   sock_ops_*, as numbers      as they are
#   arguments of processes  any user                     splicers.sh                 not at all
#   names of namespaces     root                         in_each_namespace()         not at all

# For awk, where bytes are two hexadecimal digits each: shown() of a string up to a zero, and number()
# of one in memory.  LITTLE: the first byte is the least significant one.
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
	function number(hex,    i, size, sum) {
		size = length(hex)
		for (i = 1; i < size; i += 2)
			sum = sum * 256 + byte(substr(hex, little ? size - i : i, 2))
		return sprintf("%.0f", sum)
	}'

# shown STRING: a line of ASCII that stands for it and for no other string.  Plain characters are as
# they are; all other bytes, and "\", are \xNN.  So is a space, except after a letter or a digit:
# nothing looks like the end of a member of a list.
shown() {
	if [[ $* =~ ^([][!-Z^-~]|[A-Za-z0-9]\ )*$ ]]; then # as most are
		say "$*"
	else
		printf %s "$*" | od -A n -v -t x1 | tr -d ' \n' | awk "$AWK_HEX"'{ print shown($0) }'
	fi
}

# shown_lines: the same of each line that it reads.
shown_lines() {
	od -A n -v -t x1 -w1 | awk "$AWK_HEX"'
		$1 != "0a" {
			hex = hex $1
			next
		}
		{
			print shown(hex)
			hex = ""
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

# cmd [-t | -q] COMMAND...: echo a command that changes the system's state, then run it.
#   -t  where it may be that nothing is to be done: echoed when it has succeeded
#   -q  not echoed; a comment says why
cmd() {
	case $1 in
	-t)
		"${@:2}" >/dev/null 2>&1 || return
		say "[#] $(shown "${*:2}")" >&2
		;;
	-q) "${@:2}" ;;
	*)
		say "[#] $(shown "$*")" >&2
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
	usage_error "unknown argument: $(shown "$1")"
}

# check_cgroup OPTION PATH
check_cgroup() {
	[[ -d $2 ]] || usage_error "$1: no such directory: $(shown "$2")"
	[[ $(stat -f -c %T "$2") == cgroup2fs ]] || usage_error "$1: not a directory of cgroup v2: $(shown "$2")"
}

need_root() {
	[[ $EUID -eq 0 ]] || die "needs root: sudo $0"
}

has_bpffs() {
	[[ $(stat -f -c %T "$BPFFS" 2>/dev/null) == bpf_fs ]]
}

# Pins are believed, and the lock is taken, because nobody but root can reach them.  systemd mounts it
# so, mount(8) by default with mode 1777.
check_bpffs() {
	local owner mode
	has_bpffs || return 0
	read -r owner mode < <(stat -c '%u %a' "$BPFFS")
	((owner == 0 && (8#$mode & 8#077) == 0)) || {
		warn "others than root can use $BPFFS (mode $mode), and so pretend that something is loaded, or stop these scripts; to close it: sudo chown root $BPFFS; sudo chmod 700 $BPFFS"
		return 1
	}
}

# Several scripts at once would take each other's work for leftovers.  The lock is the root of the BPF
# file system: what can collide are the pins in it, containers that share them share it, only root can
# open it (check_bpffs), and it leaves nothing behind.  Where there is none, nothing can be pinned.
one_at_a_time() {
	has_bpffs || return 0
	exec {LOCK}<"$BPFFS"
	if ! flock --nonblock "$LOCK"; then
		warn "waiting for another load.sh or unload.sh"
		flock --wait 60 "$LOCK" || die "another load.sh or unload.sh has been at work for a minute; try again later"
	fi
	[[ $BPFFS -ef /dev/fd/$LOCK ]] || die "$BPFFS was unmounted meanwhile; try again"
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
# seen from here.  Fails when that takes too long to say.
cgroup_path() {
	local dir path
	while read -r dir; do
		path=$(timeout --signal KILL 5 find "$dir" -xdev -type d -inum "$1" -print -quit 2>/dev/null) ||
			(($? != 137)) || return 1
		[[ -z $path ]] || {
			say "$path"
			return
		}
	done < <(cgroup2_mounts)
}

# cgroup_paths: of numbers of cgroups, which it reads, those that are to be seen, as lines `NUMBER PATH`.
# In one walk: there may be thousands, and any user to whom a cgroup is delegated can make some, as deep
# as he likes.  None that is excluded is deeper than 32 levels (excluded.h).
cgroup_paths() {
	local dir ids
	ids=$(sed "/^$/d")
	[[ -n $ids ]] || return 0
	while read -r dir; do
		timeout 5 find "$dir" -xdev -maxdepth 32 -type d -printf '%i %p\n' 2>/dev/null || true
	done < <(cgroup2_mounts) | awk -v longest=1024 '
		FNR == NR {
			wanted[$1]
			next
		}
		$1 in wanted {
			if (length($0) <= longest)
				print
			delete wanted[$1] # one mount is enough
		}' <(say "$ids") -
}

# programs_on TYPE CGROUP [effective]: a line `ID FLAGS NAME` for each program of that
# attach type that is attached there, in the order in which they run; with `effective`
# for each that runs for its sockets, those of its ancestors come last.  FLAGS:
# multi, override, or "-" for neither (or not known: effective).  Without
# CAP_SYS_ADMIN it prints nothing.  Fails when the kernel does not tell: bpftool 7
# asks 5.10 for too much.
programs_on() {
	local json rest program='\{"id":([0-9]+),"attach_type":"(cgroup_)?'"$1"'"(,"attach_flags":"([^"]*)")?[^{}]*"name":"([^"]*)"(.*)'
	json=$(bpftool -j cgroup show "${@:2}" 2>/dev/null) || return
	while [[ $json =~ $program ]]; do
		rest=${BASH_REMATCH[6]}
		say "${BASH_REMATCH[1]} ${BASH_REMATCH[4]:--} $(shown "${BASH_REMATCH[5]:--}")"
		json=$rest
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
	{ bpftool -j prog show 2>/dev/null || true; } | sed 's/{"id":/\n&/g' |
		sed -n "s/^{\"id\":\([0-9]*\),\"type\":\"[a-z_]*\",\"name\":\"${1:0:15}[a-z]*\",.*/\1/p"
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

# in_host_order BYTE...: from the least significant byte first.
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

# of_entries PROGRAM dump|lookup MAP...: awk on what a map has, as bpftool shows it, a line `KEY VALUE` for
# each entry, both in hexadecimal.  From the bytes, which bpftool shows of all maps: what it makes of their
# types, it writes as text in several ways.  Of maps with types that takes CAP_SYS_ADMIN all the same.
of_entries() {
	local little=0
	! is_little_endian || little=1
	{ bpftool -j map "${@:2}" 2>/dev/null || true; } | awk -v little="$little" "$AWK_HEX"'
		BEGIN { RS = "\\{\"key\":\\[" }
		!/^["0-9a-fx,]*\],"value":\[["0-9a-fx,]*\]/ { next }
		{
			sub(/\],"value":\[/, " ")
			sub(/\].*/, "")
			gsub(/"0x|[",]/, "")
		}'"$1"
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
# `CGROUP SWITCH QUIET PROGRAM ADMIT`, the last two "-" where an earlier version has loaded.
config_of() {
	local values
	values=$(of_entries '
		length($2) == 32 { rest = "- -" }
		length($2) == 48 { rest = number(substr($2, 33, 8)) " " number(substr($2, 41, 8)) }
		rest { print number(substr($2, 1, 16)), number(substr($2, 17, 8)), number(substr($2, 25, 8)), rest }' \
		lookup "$@" key 0 0 0 0)
	[[ -z $values ]] || say "$values"
}

# config_value CGROUP SWITCH QUIET PROGRAM ADMIT: their bytes.
config_value() {
	in_memory 8 "$1"
	in_memory 4 "$2"
	in_memory 4 "$3"
	[[ $4 == - ]] || in_memory 4 "$4"
	[[ $4 == - ]] || in_memory 4 "$5"
}

# set_config CGROUP SWITCH QUIET PROGRAM ADMIT MAP
set_config() {
	# shellcheck disable=SC2046 # words
	cmd bpftool map update "${@:6}" key 0 0 0 0 value $(config_value "${@:1:5}")
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

# What stands where our pins are to be, whatever it is.
pins() {
	local pin
	for pin in "${PINS[@]}" "$GUARD_DIR" "$RUNNING_PIN"; do
		[[ ! -e $pin && ! -L $pin ]] || say "$pin"
	done
}

# is_pin PATH: a regular file of root in a BPF file system is what root has pinned there: no other can
# be made.  Others can make links and directories, where the file system was open to them once.
is_pin() {
	[[ -f $1 && ! -L $1 && -O $1 ]]
}

is_guarded() {
	[[ -d $GUARD_DIR && ! -L $GUARD_DIR && -O $GUARD_DIR ]] && is_pin "${GUARD_PINS[0]}" && is_pin "${GUARD_PINS[1]}"
}

# All is pinned, and switched on: the last thing that load.sh does, and the first
# that unload.sh undoes.
is_loaded() {
	local values pin
	for pin in "${PINS[@]}"; do
		is_pin "$pin" || return
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
STARTED=${EPOCHREALTIME/./}
LIST_SECONDS=8 # that a list may take

# iterate NAME [MAP]: what the iterator program of that name prints, of a map or of all sockets that
# processes hold.  It is loaded once, and stays pinned until end_iterators; nobody has had a pin of this
# name before.  Not echoed: status.sh --watch and an unload.sh that waits come here again and again.
# Fails with 2, silently, where the host refuses iterators over maps.
iterate() {
	local pin=$BPFFS/$1-${3:+${3##*/}-}$STARTED-$ITERATES log map=() status=0
	[[ $# -eq 1 ]] || map=(map "${@:2}")
	if ! is_pin "$pin" && ! log=$(cmd -q bpftool iter pin "$OBJECTS/$1.o" "$pin" "${map[@]}" 2>&1); then
		# As libbpf has it, an older one or a newer one.
		[[ ${#map[@]} -eq 0 || ($log != *"not permitted"* && $log != *-EPERM*) ]] || return 2
		warn "cannot list the sockets: $(reason_in "$log")"
		return 1
	fi
	timeout --foreground "$LIST_SECONDS" cat "$pin" || status=$?
	if ((status == 124)); then
		warn "not all sockets are listed: to find them takes longer than $LIST_SECONDS s"
	elif ((status)); then
		warn "cannot list the sockets"
		return 1
	fi
}

end_iterators() {
	cmd -q rm -f "$BPFFS/$STATUS"-*"-$ITERATES" "$BPFFS/$OPEN"-*"-$ITERATES"
}

# open_sockets: what sock_ops_open prints, or has printed just before, in OPEN_SOCKETS.
open_sockets() {
	if [[ -n ${OPEN_SOCKETS:-} ]]; then
		say "$OPEN_SOCKETS"
	else
		iterate "$OPEN"
	fi
}

# What connections() prints of a connection.  What is not known is "-".
CONNECTION=(
	age_ms # since admission
	idle   # 1: it can be taken out
	# Of each end: its address:port, the one that the other end sees (another one behind NAT),
	# its key if it is in the map, its network namespace, the bytes that it has not read, for
	# how many ms it has not (at most), whether it sends over TCP, the inode of its socket, its
	# user, and whether a thread has its lock (status_line.h).
	client client_seen client_key client_netns client_unread client_unread_ms client_over_tcp client_inode client_uid client_held
	server server_seen server_key server_netns server_unread server_unread_ms server_over_tcp server_inode server_uid server_held
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
# iterators over maps, sock_ops_open tells the same of the sockets that processes hold.
sockets() {
	local said status=0
	said=$(iterate "$STATUS" "$@") || status=$?
	case $status in
	0) say "$said" ;;
	2)
		open_sockets | awk -v id="$(id_of map "$@")" '
			NR == 1 || index("," $6, "," id ",") {
				sub(/^[^ ]+ [^ ]+ [^ ]+ [^ ]+ [^ ]+ [^ ]+ /, "")
				print
			}'
		;;
	*) return 1 ;;
	esac
}

# map_is_empty MAP: also of what sockets() cannot see.
map_is_empty() {
	[[ $(bpftool map getnext "$@" 2>&1) == *"next key: No such file"* ]]
}

# connections MAP: a line for each connection that has at least one end in the map.
connections() {
	map_is_empty "$@" || sockets "$@" | pair_up
}

# pair_up: the sockets, by the two sequence numbers of their keys (struct sock_key, of which the
# addresses come first): of the two ends of a connection these are the same, with NAT between them.
pair_up() {
	awk "$AWK_HEX$AWK_ADDRESS"'
		NR == 1 {
			for (i = columns = NF; i; i--)
				column[i] = $i
			next
		}
		# The kernel may list a socket twice; the last line may be cut off.
		NF == columns && !((end = substr($1, 65, 16)) in listed) {
			listed[end]
			for (i = 1; i <= NF; i++)
				socket[end, column[i]] = $i
		}
		END {
			for (end in listed) {
				peer = substr(end, 9) substr(end, 1, 8)
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
			return (end in listed ? local(end) : remote(peer)) OFS remote(peer) OFS \
				of(end, "key") OFS of(end, "netns") OFS of(end, "unread") (of(end, "more") + 0 ? "+" : "") OFS \
				of(peer, "sent_ms") OFS of(end, "over_tcp") OFS of(end, "inode") OFS of(end, "uid") OFS of(end, "held")
		}
		function local(end) {
			return address(substr(of(end, "key"), 1, 32), of(end, "local_port"))
		}
		function remote(end) {
			return end in listed ? address(substr(of(end, "key"), 33, 32), of(end, "remote_port")) : "-"
		}' OFS='\t'
}

# address(IP, PORT), for awk: of 32 digits, with AWK_HEX.  The longest run of zero groups of IPv6, two at
# least, becomes "::".
AWK_ADDRESS='
	function address(ip, port) {
		if (!(ip in written))
			written[ip] = ip ~ /^00000000000000000000ffff/ ? ipv4(substr(ip, 25)) : "[" ipv6(ip) "]"
		return written[ip] ":" port
	}
	function ipv4(ip) {
		return byte(ip) "." byte(substr(ip, 3)) "." byte(substr(ip, 5)) "." byte(substr(ip, 7))
	}
	function ipv6(ip,    i, text, group, zeros) {
		text = ":"
		for (i = 1; i < 32; i += 4) {
			for (group = substr(ip, i, 4); group ~ /^0./;)
				group = substr(group, 2)
			text = text group ":"
		}
		for (zeros = ":0:0:0:0:0:0:0:0:"; length(zeros) > 3; zeros = substr(zeros, 3))
			if (i = index(text, zeros)) {
				text = substr(text, 1, i) ":" substr(text, i + length(zeros))
				break
			}
		if (text !~ /^::/)
			text = substr(text, 2)
		return text ~ /::$/ ? text : substr(text, 1, length(text) - 1)
	}'

# with_programs: adds the programs to what connections() prints, by the inodes of the sockets that
# processes hold; of several processes the one with the lowest number.  Of a socket that none holds,
# as one on its way through a unix socket, the user: `uid N`, which is no NAME/PID.
with_programs() {
	of_connections "$AWK_HEX"'
		FNR == NR {
			split($0, cell, " ")
			if (FNR == 1)
				for (inode in cell)
					if (cell[inode] == "inode")
						break
			if (cell[1] + 0 && !(cell[inode] in program))
				program[cell[inode]] = shown(cell[2]) "/" cell[1]
			next
		}
		{ print $0, of("client"), of("server") }
		function of(end,    inode) {
			inode = $at[end "_inode"]
			if (inode in program)
				return program[inode]
			return $at[end "_uid"] == "-" ? "-" : "uid " $at[end "_uid"]
		}' <(
		open_sockets || true
		echo 0
	) -
}
