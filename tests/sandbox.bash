# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# A sandbox for each test: a new cgroup, and in it a process with cgroup, mount
# and network namespaces of its own, a bpffs and a cgroup v2 mount that shows
# the new cgroup as the root.
#
#      machine's cgroup v2 root
#        └─ tcpip-bypass-test.XXXX        <- "/" of the cgroup namespace:
#             │                              load.sh attaches here
#             ├─ in_box ...                  (lo up, empty /sys/fs/bpf)
#             └─ namespaces made by in_box ip netns add ...
#      out_of_box ...: same network, but outside of that cgroup
#
# The scripts run unchanged, with their defaults.  All waits are bounded; where
# everything takes longer (tests/kernels.sh), SLOWNESS times as long.

# shellcheck disable=SC2034 # names that the tests read, or set

# shellcheck source=tests/assert.bash
. "$(dirname "${BASH_SOURCE[0]}")/assert.bash"

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PAIR=$ROOT/build/pair
SLOWNESS=${SLOWNESS:-1}
BOX_SECONDS=${BOX_SECONDS:-900} # how long a sandbox lives
BOX_NAMESPACES=(--cgroup --mount --net)

box_up() {
	local root
	root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
	BOX_HOME=$(sed -n 's/^0:://p' /proc/self/cgroup)
	BOX_HOME=$root${BOX_HOME%/}
	BOX_CGROUP=$(mktemp -d "$BOX_HOME/tcpip-bypass-test.XXXX")
	BOX_TMP=$(mktemp -d)
	(
		echo "$BASHPID" >"$BOX_CGROUP/cgroup.procs"
		exec unshare --cgroup --mount --net --propagation private -- \
			bash -euc '
				umount --lazy "$1"
				mount -t cgroup2 none "$1"
				mount -t bpf -o mode=0700 bpf /sys/fs/bpf
				mountpoint -q /sys/kernel/tracing ||
					mount -t tracefs none /sys/kernel/tracing
				mount -t tmpfs none /run
				ip link set lo up
				touch "$2/ready"
				exec sleep "$3"' box "$root" "$BOX_TMP" "$BOX_SECONDS"
	) >"$BOX_TMP/box.log" 2>&1 3>&- &
	BOX_PID=$!
	wait_until 5 "the sandbox" test -e "$BOX_TMP/ready"
}

box_down() {
	local i pid
	say_why_failed
	disown -a # bash has nothing to say of their end
	# Only what runs in the test's own cgroup.
	for ((i = 0; i < 50; i++)); do
		while read -r pid; do
			kill -9 "$pid" 2>/dev/null || true
		done < <(find "$BOX_CGROUP" -name cgroup.procs -exec cat {} +)
		find "$BOX_CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null
		[[ -d $BOX_CGROUP ]] || break
		sleep 0.1
	done
	rm -rf "$BOX_TMP"
	[[ ! -d $BOX_CGROUP ]]
}

# A test that has failed says what the programs have counted.
say_why_failed() {
	[[ -n ${BATS_TEST_NAME:-} && -z ${BATS_TEST_COMPLETED:-} ]] || return 0
	in_box timeout $((10 * SLOWNESS)) "$ROOT/status.sh" >&2 || true
}

# For a file whose tests need a sandbox each, and nothing more: its setup and teardown.
# shellcheck disable=SC2317 # bats calls them
box_each_test() {
	setup() {
		box_up
	}
	teardown() {
		box_down
	}
}

# For a file whose tests share a sandbox with the pair loaded: each begins with an empty map,
# counters at 0, and no programs of the one before.
# shellcheck disable=SC2317 # bats calls them
box_loaded() {
	setup_file() {
		box_up
		export BOX_CGROUP BOX_TMP BOX_PID
	}
	setup() {
		if in_box test -e /sys/fs/bpf/bpf_sockops; then
			wait_until 5 "the map to be empty" map_is_empty
			zero_counters
		else
			in_box "$ROOT/load.sh" >/dev/null 2>&1
		fi
	}
	teardown() {
		say_why_failed
		wait_until 20 "the programs to end" programs_have_ended
	}
	teardown_file() {
		box_down
	}
}

# program_id PIN: the id of a loaded program.
program_id() {
	in_box bpftool -j prog show pinned "/sys/fs/bpf/$1" | jq .id
}

# is_gone ID: has this program left the kernel?
is_gone() {
	! bpftool prog show id "$1" >/dev/null 2>&1
}

# Those in the sandbox end, and with them their connections; the sandbox stays.
programs_have_ended() {
	local pid pids
	# All at once: while it is read, the list shrinks.
	mapfile -t pids <"$BOX_CGROUP/cgroup.procs"
	((${#pids[@]} > 1)) || return 0
	for pid in "${pids[@]}"; do
		[[ $pid -eq $BOX_PID ]] || kill "$pid" 2>/dev/null || true
	done
	return 1
}

# in_box COMMAND...: in the sandbox's namespaces and cgroup.
in_box() {
	in_cgroup . "$@"
}

# in_cgroup PATH COMMAND...: in a cgroup below the sandbox's root.
in_cgroup() {
	(
		echo "$BASHPID" >"$BOX_CGROUP/$1/cgroup.procs"
		exec nsenter --target "$BOX_PID" "${BOX_NAMESPACES[@]}" -- "${@:2}"
	)
}

# in_box "${AS_USER[@]}" COMMAND...: as any user, without capabilities.  He cannot read the
# checkout.
AS_USER=(setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all --inh-caps -all --)

# The root of cgroup v2, as the sandbox sees it.
box_root() {
	in_box awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts
}

# in_child COMMAND...: in the cgroup that child_up makes.
in_child() {
	in_cgroup child "$@"
}

child_up() {
	mkdir "$BOX_CGROUP/child"
	CHILD=$(box_root)/child
}

# listens PORT: does anybody, in the sandbox?
listens() {
	[[ -n $(in_box ss -Hltn "sport = $1") ]]
}

# pid_of NAME: of a program in the sandbox.
pid_of() {
	local pid
	while read -r pid; do
		if [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "$1" ]]; then
			echo "$pid"
			return
		fi
	done <"$BOX_CGROUP/cgroup.procs"
	return 1
}

# out_of_box COMMAND...: in its network, but in the cgroup above it.
out_of_box() {
	nsenter --target "$BOX_PID" --mount --net -- "$@"
}

# wait_until SECONDS WHAT COMMAND...: poll until the command succeeds, less often the longer it
# takes.
wait_until() {
	local end=$((SECONDS + $1 * SLOWNESS)) what=$2 polls=0
	shift 2
	until "$@"; do
		if ((SECONDS > end)); then
			echo "timed out waiting for $what" >&2
			return 1
		fi
		if ((++polls < 20)); then
			sleep 0.02
		else
			sleep "$((polls < 40 ? 0 : 1)).2"
		fi
	done
}

# has_lines COUNT FILE: so many, or more.
has_lines() {
	[[ $(wc -l <"$2") -ge $1 ]]
}

# copy_project DIRECTORY: what is needed to build and run it there, without objects.
copy_project() {
	mkdir "$1"
	cp -rp "$ROOT"/*.[ch] "$ROOT"/*.sh "$ROOT/Makefile" "$ROOT/bpf" "$ROOT/lib" "$ROOT/docs" "$1"
}

# lay_out_otherwise DIRECTORY: that copy has a LAYOUT of its own, in which all that a record has
# lies elsewhere.
lay_out_otherwise() {
	sed -i 's/^LAYOUT=.*/LAYOUT=99/' "$1/lib/version.sh"
	sed -i 's|^\t__u64 sk;.*this end.s \*/$|\t__u64 ahead[2];\n&|' "$1/bpf/sock_record.h"
	grep -q ahead "$1/bpf/sock_record.h"
}

load_pair() {
	in_box "$ROOT/load.sh" "$@"
}

unload_pair() {
	in_box "$ROOT/unload.sh" "$@"
}

# The classic pair in the place of ours.
load_classic() {
	local bpf=/sys/fs/bpf cgroup id
	cgroup=$(box_root)
	in_box bpftool prog load "$ROOT/build/classic/bpf_sockops.o" $bpf/bpf_sockops type sockops
	id=$(in_box bpftool prog show pinned $bpf/bpf_sockops | sed -n 's/.*map_ids \([0-9]*\).*/\1/p')
	in_box bpftool map pin id "$id" $bpf/sock_ops_map
	in_box bpftool prog load "$ROOT/build/classic/bpf_tcpip_bypass.o" $bpf/bpf_tcpip_bypass \
		type sk_msg map name sock_ops_map pinned $bpf/sock_ops_map
	in_box bpftool prog attach pinned $bpf/bpf_tcpip_bypass msg_verdict pinned $bpf/sock_ops_map
	in_box bpftool cgroup attach "$cgroup" sock_ops pinned $bpf/bpf_sockops multi
}

# What was connected meanwhile goes on with it until it is closed.
unload_classic() {
	local bpf=/sys/fs/bpf cgroup
	cgroup=$(box_root)
	in_box bpftool cgroup detach "$cgroup" sock_ops pinned $bpf/bpf_sockops
	in_box bpftool prog detach pinned $bpf/bpf_tcpip_bypass msg_verdict pinned $bpf/sock_ops_map
	in_box rm $bpf/bpf_sockops $bpf/bpf_tcpip_bypass $bpf/sock_ops_map
}

# counters: a line `NAME VALUE` for each, the sum over all CPUs.
counters() {
	in_box bpftool map dump pinned /sys/fs/bpf/sock_ops_stats | awk -F '[": ,]+' '
		/"[a-z_]+": [0-9]+/ { sum[$2] += $3 }
		END { for (name in sum) print name, sum[name] }'
}

zero_counters() {
	local pin=/sys/fs/bpf/sock_ops_stats size
	size=$(in_box bpftool -j map show pinned $pin | jq .bytes_value)
	# shellcheck disable=SC2046 # a word for each byte
	in_box bpftool map update pinned $pin key 0 0 0 0 value $(yes 0 | head -n "$size")
}

# counter NAME...: the sum of these.
counter() {
	counters | awk -v want=" $* " 'index(want, " " $1 " ") { sum += $2 } END { print sum + 0 }'
}

# Sockets that are in the map now.  The kernel shows their keys, not their values.
in_map() {
	in_box bpftool map dump pinned /sys/fs/bpf/sock_ops_map | grep -c ^key: || true
}

map_is_empty() {
	[[ $(in_map) -eq 0 ]]
}

assert_no_pins() {
	have_want "pins" "$(in_box find /sys/fs/bpf -name 'bpf_*' -o -name 'sock_ops_*')" = ""
}

# Bytes that have gone over an interface of the sandbox, headers included.
device_bytes() {
	in_box awk -v dev="$1:" '$1 == dev { print $10 }' /proc/net/dev
}

# hold_many COUNT UNREAD: so many connections, the client of the first UNREAD of
# them has not read.  A line to fd 8 is a round trip on all of them.
hold_many() {
	rm -f "$BOX_TMP/go" "$BOX_TMP/many"
	mkfifo "$BOX_TMP/go"
	in_box sysctl -qw net.ipv4.ip_local_port_range="1024 65000"
	in_box "$ROOT/build/many" "$1" "$2" <"$BOX_TMP/go" >"$BOX_TMP/many" 3>&- &
	MANY=$!
	exec 8>"$BOX_TMP/go"
	wait_until 30 "$1 connections" grep -q ready "$BOX_TMP/many"
}

# A round trip on all of them, the N-th one.
many_talk() {
	echo >&8
	wait_until 30 "a round trip on each connection" many_have_talked "$1"
}

many_have_talked() {
	[[ $(grep -c again "$BOX_TMP/many") -ge $1 ]]
}

# stale HOW CONNECTIONS WORD: tests/stale.c, as any user to whom a cgroup is delegated.
stale() {
	chmod 755 "$BOX_TMP" "$BOX_CGROUP" # as a machine has its own
	mkdir "$BOX_CGROUP/delegated"
	chown 65534 "$BOX_CGROUP/delegated"
	cp "$ROOT/build/stale" "$BOX_TMP"
	in_box "${AS_USER[@]}" "$BOX_TMP/stale" "$1" "$2" "$(box_root)/delegated" "$3"
}

# serve FILE WRAPPER... -- PAIR-ARGUMENTS: start one end, wait for its port.
serve() {
	local port_file=$1 wrapper=()
	shift
	while [[ $1 != -- ]]; do
		wrapper+=("$1")
		shift
	done
	shift
	rm -f "$port_file" # of one before
	"${wrapper[@]}" "$PAIR" "$@" serve >"$port_file" 2>"$port_file.err" 3>&- 8>&- 9>&- &
	SERVER=$!
	wait_until 5 "a server to listen" test -s "$port_file"
}
