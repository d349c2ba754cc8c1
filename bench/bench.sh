#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Compares ours with plain TCP, with the classic pair (tests/classic) and with unix
# sockets, in alternating runs in a sandbox of its own (tests/sandbox.bash).
# What the groups measure stands beside each figures_*; usage() has the options.
#
# Within a group, each round loads one variant after the other, starting with
# another one each time, and takes all figures of the group once under each.  The
# figures of one round make the pairs that ratios are taken from (summary.awk).
#
# CPU time per operation is that of both ends: for bench.c as said there, for real
# programs what the sandbox's cgroup has used (cpu.stat) while the client ran, its
# start included.  Where the kernel accounts for interrupts apart, their time is added.

set -euo pipefail
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=lib/common.sh
. "$HERE/../lib/common.sh"
# shellcheck source=tests/sandbox.bash
. "$HERE/../tests/sandbox.bash"
# shellcheck source=tests/programs.bash
. "$HERE/../tests/programs.bash"
# shellcheck source=tests/packages.bash
. "$HERE/../tests/packages.bash"

GROUPS_ALL=(rr mixed stream warm crr admitted connections veth dnat redis pgbench pgbouncer jdbc nginx
	memcached grpc sockperf foreign memory cost growth)
# What --quick leaves out, unless it is asked for.
GROUPS_SLOW=(warm admitted veth dnat pgbouncer jdbc memcached grpc sockperf cost growth)
PACKAGES=(bpftool clang gcc gnuplot-nox iproute2 jq libbpf-dev libmemcached-tools
	libpostgresql-jdbc-java make memcached nftables nginx openjdk-17-jdk-headless pgbouncer postgresql
	procps python3-grpcio redis-server
	sockperf util-linux wrk)

usage() {
	cat <<-END
		bench.sh - compare ours with plain TCP, the classic pair and unix sockets

		SYNOPSIS
		    sudo bench/bench.sh [--install-deps] [--quick] [--output DIR] [GROUP]...
		    bench/bench.sh --summary CSV...
		    bench/bench.sh --charts CSV... [--output DIR]

		OPTIONS
		    --install-deps   first install what is needed, from Debian's packages
		    --quick          fewer groups, sizes and rounds, shorter runs: under 3 minutes instead
		                     of under 15
		    --output DIR     where results.csv and summary.md go; default: build/bench-results
		    --summary CSV... print the tables (Markdown) of earlier results, of several runs
		                     together
		    --charts CSV...  draw them, as performance-*.svg in DIR; default: docs
		    --help           show this

		GROUPS
		    ${GROUPS_ALL[*]:0:12}
		    ${GROUPS_ALL[*]:12}; default: all, with --quick without
		    ${GROUPS_SLOW[*]}

		EXIT STATUS
		    0 all was measured; 1 a run of plain TCP or of ours failed, or ours was not in
		    effect; 2 an error in the arguments
	END
}

# ---- arguments -------------------------------------------------------------

INSTALL=0
QUICK=0
OUTPUT=
VERB=run
CSVS=()
CHOSEN=()

parse() {
	while [[ $# -gt 0 ]]; do
		case $1 in
		--output)
			[[ $# -ge 2 ]] || usage_error "$1 needs an argument"
			;;&
		--install-deps) INSTALL=1 ;;
		--quick) QUICK=1 ;;
		--output)
			OUTPUT=$2
			shift
			;;
		--summary | --charts)
			VERB=${1#--}
			;;
		-h | --help)
			usage
			exit
			;;
		-*) usage_error "unknown option: $1" ;;
		*)
			if [[ $VERB != run ]]; then
				[[ -r $1 ]] || usage_error "--$VERB: cannot read $1"
				CSVS+=("$1")
			else
				[[ " ${GROUPS_ALL[*]} " == *" $1 "* ]] || usage_error "no such group: $1"
				CHOSEN+=("$1")
			fi
			;;
		esac
		shift
	done
}

# How much is measured.  SIZES of round trips, WRITES of streams; RUN in seconds.
set_extent() {
	ROUNDS=5
	RUN=0.25
	SIZES=(1 64 1024 4096 16384 65536 262144 1048576)
	WRITES=(64 1024 4096 16384 65536 262144 1048576 4194304)
	WARM_WRITES=(64 1024 16384 65536 1048576)
	ANSWERS=(307200 1048576 3145728)
	CONNECTIONS=(1 10 100 1000)
	FILES=(1024 65536) # of nginx
	REQUESTS=20000     # of a real program's client
	IDLE=10000
	IDLE_BESIDE=(0 1000 10000 30000)
	CORES=(1 2)
	[[ $(nproc) -gt 1 ]] || CORES=(1)
	if ((QUICK)); then
		ROUNDS=3
		RUN=0.1
		SIZES=(64 16384 262144)
		WRITES=(1024 65536 1048576)
		WARM_WRITES=(16384)
		ANSWERS=(1048576)
		CONNECTIONS=(1 100)
		FILES=(1024)
		REQUESTS=5000
		IDLE=2000
		IDLE_BESIDE=(0 2000)
	fi
}

# ---- variants --------------------------------------------------------------

OPTIONS=() # of load.sh
VARIANT=plain
GROUP=
ROUND=0

quietly() {
	"$@" >"$BOX_TMP/log" 2>&1 </dev/null || {
		cat "$BOX_TMP/log" >&2
		die "failed: $*"
	}
}

enter() {
	VARIANT=$1
	case $VARIANT in
	ours) quietly load_pair --quiet "${OPTIONS[@]}" ;;
	classic) quietly load_classic ;;
	esac
	# Settle: the first connection after a pause is never the fastest.
	RUN=0.05 both_ends rr 64 1 >/dev/null 2>&1 || true
	ADMITTED=0 REDIRECTED=0
	in_effect stream >/dev/null || true
}

leave() {
	case $VARIANT in
	ours) quietly unload_pair ;;
	classic) quietly unload_classic ;;
	esac
	VARIANT=plain
}

# ---- runs ------------------------------------------------------------------

FAILED=0

# row PATTERN SIZE CONNECTIONS CORES UNIT VALUE,P50,P99,CPU
row() {
	echo "$GROUP,$1,$2,$3,$4,$VARIANT,$ROUND,$5,$6" >>"$CSV"
}

# measure PATTERN SIZE CONNECTIONS CORES UNIT COMMAND...: which prints
# VALUE,P50,P99,CPU.  A run that fails, as some of the classic pair do, is a row as well.
measure() {
	local result
	# Twice: one program in 4,096 shares its account of short connections with the one before.
	take "$@" || take "$@" || die "$GROUP: ${*:1:5}: the bypass was not used as it should be"
	row "${@:1:5}" "$result"
}

# take PATTERN SIZE CONNECTIONS CORES UNIT COMMAND...: into result; fails where a run has gone well,
# but not by the bypass.
take() {
	if ! result=$("${@:6}" 2>"$BOX_TMP/error") || [[ ! $result =~ ^[0-9.]+(,[0-9.]*){3}$ ]]; then
		warn "$GROUP: ${*:1:5}, $VARIANT, round $ROUND failed: $(tail -n 1 "$BOX_TMP/error")"
		[[ $VARIANT == classic ]] || FAILED=$((FAILED + 1))
		result=fail,,,
	fi
	in_effect "${@:1:2}" || [[ $result == fail* ]]
}

# in_effect PATTERN SIZE: since the last look connections were admitted, and messages
# that are no bulk skipped the stack; to foreign peers none.
in_effect() {
	local before=("$ADMITTED" "$REDIRECTED")
	[[ $VARIANT == ours ]] || return 0
	ADMITTED=$(counter admitted_passive)
	REDIRECTED=$(counter redirected_messages)
	if [[ $GROUP == foreign ]]; then
		((ADMITTED == before[0] && REDIRECTED == before[1]))
	elif [[ $1 == stream || $1 == warm || ${2:-1} -gt 16384 ]]; then
		((ADMITTED > before[0]))
	else
		((ADMITTED > before[0] && REDIRECTED > before[1]))
	fi
}

# cpus CORES: of client and server.
cpus() {
	echo "0,$(($1 - 1))"
}

# both_ends PATTERN SIZE CORES [OPTION]...: over 127.0.0.1 or a unix socket.
both_ends() {
	local args=("${@:1:2}" "$RUN") options=(--cpus "$(cpus "$3")" "${IRQ_TIME[@]}" "${@:4}")
	[[ $VARIANT != unix ]] || options+=(--unix)
	in_box timeout 10 "$BENCH" "${options[@]}" "${args[@]}" </dev/null
}

# to_peer WRAPPER PATTERN SIZE CORES: the server in the namespace `peer`, run by
# WRAPPER (in_box or out_of_box).
to_peer() {
	local inside=$1 args=("${@:2:2}" "$RUN") options server status=0
	options=(--cpus "$(cpus "$4")" "${IRQ_TIME[@]}")
	rm -f "$BOX_TMP/port"
	"$inside" timeout 10 ip netns exec peer "$BENCH" "${options[@]}" --serve "$PEER" "${args[@]}" \
		</dev/null >"$BOX_TMP/port" 2>"$BOX_TMP/server.err" &
	server=$!
	wait_until 5 "a server to listen" test -s "$BOX_TMP/port"
	in_box timeout 10 "$BENCH" "${options[@]}" --connect "$TARGET:$(cat "$BOX_TMP/port")" \
		"${args[@]}" </dev/null ||
		status=$?
	wait "$server" || status=$?
	return "$status"
}

# Microseconds of the sandbox's processes so far.
cpu_used() {
	local irq=0
	if [[ ${#IRQ_TIME[@]} -gt 0 ]]; then
		irq=$(awk -v hz="$(getconf CLK_TCK)" '/^cpu / { printf "%d", ($7 + $8) * 1e6 / hz }' /proc/stat)
	fi
	awk -v irq="$irq" '/^usage_usec/ { printf "%d\n", $2 + irq }' "$BOX_CGROUP/cpu.stat"
}

# client AWK COMMAND...: runs a real program.  Its CPU time is `cpu` for the awk program, which
# prints VALUE,P50,P99,CPU from the client's lines.
client() {
	local extract=$1 before lines
	shift
	before=$(cpu_used)
	lines=$(in_box timeout 20 "$@" </dev/null 2>&1) || {
		echo "$lines" >&2
		return 1
	}
	awk -v cpu=$(($(cpu_used) - before)) "$extract" <<<"$lines"
}

# ---- groups ----------------------------------------------------------------
# Of each: the variants, the programs it needs, figures_* (all figures, once, under the
# variant that is loaded), and if need be before_* and after_*.

variants() {
	case $1 in
	rr | mixed | stream | crr | connections | redis | pgbench | memcached)
		echo plain ours classic unix
		;;
	memory) echo plain ours ;;
	cost) echo ours classic ;;
	growth) echo ours ;;
	*) echo plain ours classic ;;
	esac
}

programs() {
	case $1 in
	redis) echo redis-server redis-benchmark ;;
	pgbench) echo pgbench ;;
	pgbouncer) echo pgbench pgbouncer ;;
	jdbc) echo pgbench java "$JDBC" ;;
	nginx) echo nginx wrk ;;
	memcached) echo memcached memcslap ;;
	grpc) echo /usr/bin/python3 ;;
	sockperf) echo sockperf ;;
	dnat) echo nft ;;
	esac
}

# shellcheck source=bench/patterns.bash
. "$HERE/patterns.bash"
# shellcheck source=bench/real_programs.bash
. "$HERE/real_programs.bash"

# ---- the run ---------------------------------------------------------------

# hook before|after: of this group, if it has one.
hook() {
	if declare -F "$1_$GROUP" >/dev/null; then
		"$1_$GROUP"
	fi
}

run_group() {
	local program names i variant
	GROUP=$1
	for program in $(programs "$GROUP"); do
		[[ -e $program ]] || command -v "$program" >/dev/null || {
			warn "$GROUP: skipped, $program is missing; to install it: sudo $0 --install-deps"
			return
		}
	done
	read -ra names < <(variants "$GROUP")
	OPTIONS=()
	hook before
	for ((ROUND = 1; ROUND <= ROUNDS; ROUND++)); do
		for ((i = 0; i < ${#names[@]}; i++)); do
			variant=${names[(ROUND - 1 + i) % ${#names[@]}]}
			enter "$variant"
			"figures_$GROUP"
			leave
		done
	done
	hook after
	quietly stop_servers
	warn "$GROUP: done after $SECONDS s"
}

# hypervisor: as the kernel has found it, or systemd.  What a system call takes depends on it, and
# on what follows, and a ratio more on these than on us.
hypervisor() {
	dmesg 2>/dev/null | sed -n 's/.*Hypervisor detected: //p' | grep . ||
		systemd-detect-virt --vm 2>/dev/null || true
}

# mitigations: the names of those that are on.
mitigations() {
	(cd /sys/devices/system/cpu/vulnerabilities && grep -l ^Mitigation ./*) 2>/dev/null |
		sed 's|./||' | paste -sd ' '
}

meta() {
	local program version
	echo "# kernel: $(uname -r)"
	echo "# cpu: $(nproc) x $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
	echo "# threads per core: $(lscpu | sed -n 's/^Thread(s) per core: *//p')"
	echo "# virtual machine: $(hypervisor)"
	echo "# page-table isolation: $(grep -qw pti /proc/cpuinfo && echo yes || echo no)"
	echo "# mitigations: $(mitigations)"
	echo "# write(2) and read(2) of a byte in a pipe: $(in_box "$ROOT/build/bench" pipe 1 0.5 |
		awk -F, '{ printf "%.2f us", 1e6 / $1 }')"
	echo "# date: $(date -u +%F)"
	echo "# commit: $(git -C "$ROOT" describe --always --dirty 2>/dev/null || true)"
	echo "# congestion control: $(in_box sysctl -n net.ipv4.tcp_congestion_control)"
	echo "# interrupts are accounted for apart: $([[ ${#IRQ_TIME[@]} -gt 0 ]] && echo yes || echo no)"
	echo "# rounds: $ROUNDS, seconds of a run: $RUN$( ((QUICK)) && echo ", quick")"
	for program in redis-server postgresql pgbouncer openjdk-17-jdk-headless libpostgresql-jdbc-java \
		nginx wrk memcached \
		libmemcached-tools python3-grpcio sockperf; do
		version=$(dpkg-query -W -f '${Version}' "$program" 2>/dev/null) || continue
		[[ -z $version ]] || echo "# $program: $version"
	done
	echo "group,pattern,size,connections,cores,variant,round,unit,value,p50_us,p99_us,cpu_us_per_op"
}

# Is the time in interrupts missing from that of the processes?
irq_time_is_apart() {
	{ zcat /proc/config.gz || cat "/boot/config-$(uname -r)"; } 2>/dev/null |
		grep -qx CONFIG_IRQ_TIME_ACCOUNTING=y
}

# use_cubic COMMAND...: in the namespace in which it runs what follows.  Only the
# machine's own namespace can allow it to others, for the moment.
use_cubic() {
	local allowed=net.ipv4.tcp_allowed_congestion_control
	ALLOWED=$(sysctl -n $allowed)
	sysctl -qw $allowed="$ALLOWED cubic" ||
		die "this kernel has no cubic; to load it: sudo modprobe tcp_cubic"
	"$@" sysctl -qw net.ipv4.tcp_congestion_control=cubic
	sysctl -qw $allowed="$ALLOWED"
	ALLOWED=
}

BPF_STATS=
ALLOWED=

clean_up() {
	[[ -z $BPF_STATS ]] || sysctl -qw kernel.bpf_stats_enabled="$BPF_STATS"
	[[ -z $ALLOWED ]] || sysctl -qw net.ipv4.tcp_allowed_congestion_control="$ALLOWED"
	box_down >/dev/null 2>&1 || true
}

choose_groups() {
	local group
	for group in "${GROUPS_ALL[@]}"; do
		if ((!QUICK)) || [[ " ${GROUPS_SLOW[*]} " != *" $group "* ]]; then
			CHOSEN+=("$group")
		fi
	done
}

run() {
	local group tool
	[[ $EUID -eq 0 ]] || die "needs root: sudo $0"
	if ((INSTALL)); then
		install_packages "${PACKAGES[@]}" >&2
	fi
	for tool in make clang bpftool jq; do
		command -v "$tool" >/dev/null || die "$tool is missing; to install it: sudo $0 --install-deps"
	done
	make -s -C "$ROOT" all test-programs >&2
	set_extent
	OUTPUT=${OUTPUT:-$ROOT/build/bench-results}
	mkdir -p "$OUTPUT"
	CSV=$OUTPUT/results.csv
	CSVS=("$CSV")
	IRQ_TIME=()
	if irq_time_is_apart; then
		IRQ_TIME=(--irq-time)
	fi

	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	# Read by sandbox.bash.
	# shellcheck disable=SC2034
	BOX_SECONDS=3600
	box_up
	disown -a
	chmod 755 "$BOX_TMP"
	use_cubic in_box
	meta >"$CSV"
	[[ ${#CHOSEN[@]} -gt 0 ]] || choose_groups
	for group in "${CHOSEN[@]}"; do
		run_group "$group"
	done
	summary | tee "$OUTPUT/summary.md"
	warn "took $SECONDS s; results: $CSV, tables: $OUTPUT/summary.md"
	((FAILED == 0)) || die "$FAILED runs of others than the classic pair failed, see above"
}

summary() {
	awk -f "$HERE/summary.awk" "${CSVS[@]}"
}

charts() {
	local data
	command -v gnuplot >/dev/null || die "gnuplot is missing; to install it: sudo $0 --install-deps"
	data=$(mktemp)
	# shellcheck disable=SC2064 # now
	trap "rm -f '$data'" EXIT
	awk -v form=chart -f "$HERE/summary.awk" "${CSVS[@]}" >"$data"
	OUTPUT=${OUTPUT:-$ROOT/docs}
	mkdir -p "$OUTPUT"
	gnuplot -e "data = '$data'; dir = '$OUTPUT'" "$HERE/charts.gp"
	find "$OUTPUT" -name 'performance-*.svg' -newer "$data"
}

BENCH=$ROOT/build/bench
JDBC=/usr/share/java/postgresql.jar
PG_PORT=5432 PG_MODE=prepared # of pgbench()
parse "$@"
[[ $VERB == run || ${#CSVS[@]} -gt 0 ]] || usage_error "--$VERB needs the results of a run"
"$VERB"
