#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# The guard (bpf_guard.c), and real programs that read their sockets with splice(2):
#
#   pair, socat ---> proxy ---> pair, socat
#
# with both connections of the proxy on the bypass at first.  In a guest of tests/kernels.sh
# alone: not every machine lets such programs be loaded.

bats_require_minimum_version 1.5.0
load ../sandbox.bash
load ../fakes.bash
box_each_test

FRONT=7001 # the proxy's port
ACTIVATE_IN=in_box

# proxy NAME BACKEND-PORT: on FRONT, to that port.
proxy() {
	case $1 in
	docker-proxy)
		in_box docker-proxy -proto tcp -host-ip 127.0.0.1 -host-port "$FRONT" \
			-container-ip 127.0.0.1 -container-port "$2" 3>"$BOX_TMP/proxy" &
		;;
	go-proxy)
		in_box "$ROOT/build/go-proxy" "127.0.0.1:$FRONT" "127.0.0.1:$2" >"$BOX_TMP/proxy" 2>&1 3>&- &
		;;
	haproxy)
		cat >"$BOX_TMP/haproxy.cfg" <<-END
			defaults
			    mode tcp
			    option splice-auto
			    option splice-request
			    option splice-response
			    timeout connect 10s
			    timeout client 60s
			    timeout server 60s
			listen front
			    bind 127.0.0.1:$FRONT
			    server back 127.0.0.1:$2
		END
		in_box haproxy -db -f "$BOX_TMP/haproxy.cfg" >"$BOX_TMP/proxy" 2>&1 3>&- &
		;;
	socket-proxyd)
		"$ACTIVATE_IN" systemd-socket-activate -l "127.0.0.1:$FRONT" \
			/lib/systemd/systemd-socket-proxyd "127.0.0.1:$2" >"$BOX_TMP/proxy" 2>&1 3>&- &
		;;
	esac
	wait_until 10 "$1" listens "$FRONT"
}

# converse NAME SCENARIO...: one connection for each, through the proxy, every byte checked.
converse() {
	local name=$1 scenario
	shift
	for scenario; do
		# shellcheck disable=SC2086 # words
		serve "$BOX_TMP/port" in_box -- --timeout 10 $scenario
		proxy "$name" "$(<"$BOX_TMP/port")"
		# shellcheck disable=SC2086 # words
		in_box "$PAIR" --timeout 10 --port "$FRONT" $scenario call
		wait "$SERVER"
		end_proxy "$name"
	done
}

end_proxy() {
	local pid
	local name=${1:0:15}
	[[ $1 != socket-proxyd ]] || name=systemd-socket-
	while pid=$(pid_of "$name"); do
		kill "$pid" 2>/dev/null || true
		sleep 0.05
	done
}

spliced() {
	[[ $(counter guarded) -ge $1 ]]
}

# talk_late NAME: the first bytes come when the proxy waits for them in splice(2).
talk_late() {
	in_box socat TCP-LISTEN:7002,bind=127.0.0.1,fork,reuseaddr EXEC:cat 3>&- &
	wait_until 10 "socat" listens 7002
	proxy "$1" 7002
	mkfifo "$BOX_TMP/go"
	in_box socat -t 10 - "TCP:127.0.0.1:$FRONT" <"$BOX_TMP/go" >"$BOX_TMP/said" 3>&- &
	exec 8>"$BOX_TMP/go"
	wait_until 10 "a splice" spliced 1
	echo "first" >&8
	wait_until 10 "its echo" grep -q first "$BOX_TMP/said"
	echo "second" >&8
	wait_until 10 "its echo" grep -q second "$BOX_TMP/said"
	exec 8>&-
}

@test "guard: without it a proxy that splices never sees bypassed bytes" {
	load_pair --quiet --no-guard --admit-splicing
	have_want "in status.sh" "$(in_box "$ROOT/status.sh" --json | jq .guard)" = false
	serve "$BOX_TMP/port" in_box -- --timeout 30 talk # so that the client gives up first
	proxy docker-proxy "$(<"$BOX_TMP/port")"
	run -3 in_box "$PAIR" --timeout 3 --port "$FRONT" talk call
}

@test "guard: without it docker-proxy, started later, stays on TCP" {
	load_pair --quiet --no-guard
	converse docker-proxy talk half-close-late
	have_want "sockets refused" "$(counter refused_program)" -eq 4
}

@test "guard: TCP_REPAIR does not save a part of what is unread" {
	local both one
	both=$(said repair_both)
	one=$(said repair_client)
	[[ $both == *"TCP_QUEUE_SEQ -> 0"* ]]
	load_pair --quiet
	[[ $(said repair_both) == *"TCP_QUEUE_SEQ -> EBUSY"* ]]
	have_want "bytes of one kind" "$(said repair_client)" = "$one"
}

# The record of the other end has become a user's memory: if its words were taken for addresses of
# sockets, the answer would tell him what is in the kernel's memory.
@test "guard: it follows no address that a user has chosen" {
	local text AS_USER=(env) # the guest's libraries are root's alone
	load_pair --quiet --all-connections
	text=$(awk '$3 == "_text" { print $1 }' /proc/kallsyms)
	have_want "calls that got EINVAL" "$(stale ask 400 $((16#$text + 1048576)))" -eq 0
	have_want "calls that the guard has seen" "$(counter guarded)" -eq 400
}

# said CASE: what tests/semantics says of it.
said() {
	in_box "$ROOT/build/semantics" "$1"
}

@test "guard: what reads past the psock sees all bytes, as over TCP; bypassed ones that wait are EINVAL" {
	local case over_tcp=() without
	for case in splice_from zerocopy_receives sendfile_from; do
		over_tcp+=("$(said "$case")")
	done
	load_pair --quiet --no-guard
	without=$(said splice_from)
	have_want "without the guard" "$without" != "${over_tcp[0]}"
	without=$(said zerocopy_receives)
	have_want "without the guard" "$without" != "${over_tcp[1]}"
	without=$(said sendfile_from)
	have_want "without the guard" "$without" != "${over_tcp[2]}"
	[[ $(said splice_behind) != *EINVAL* && $(said zerocopy_receive) != *EINVAL* ]]
	unload_pair
	load_pair --quiet
	have_want "with it" "$(said splice_from)" = "${over_tcp[0]}"
	have_want "with it" "$(said zerocopy_receives)" = "${over_tcp[1]}"
	have_want "with it" "$(said sendfile_from)" = "${over_tcp[2]}"
	have_want "calls that got EINVAL" "$(counter guarded_unread)" -eq 0
	[[ $(said zerocopy_receive) == *"server TCP_ZEROCOPY_RECEIVE -> EINVAL"*'recv DONTWAIT 100 -> 5 "hello"'* ]]
	have_want "its program, which then has read them, stays on TCP" "$(counter remembered)" -eq 0
	[[ $(said splice_behind) == *"server to pipe splice -> EINVAL"* ]]
	have_want "calls that got EINVAL" "$(counter guarded_unread)" -eq 2
}

@test "guard: docker-proxy, which is written in Go, has all bytes" {
	load_pair --quiet
	have_want "in status.sh" "$(in_box "$ROOT/status.sh" --json | jq .guard)" = true
	converse docker-proxy talk "--seed 3 --count 6 --size 300000 turns" "--size 300000 duplex" \
		half-close-late
	have_want "ends admitted" "$(counter admitted_active admitted_passive)" -ge 16
	have_want "sockets read with splice" "$(counter guarded)" -ge 8
	talk_late docker-proxy
}

@test "guard: a Go proxy whose listener speaks Multipath TCP has all bytes" {
	proxy go-proxy 7002
	[[ $(in_box ss -Hltni "sport = $FRONT") == *mptcp* ]]
	end_proxy go-proxy
	load_pair --quiet
	converse go-proxy talk "--seed 3 --count 6 --size 300000 turns" "--size 300000 duplex" \
		half-close-late
	have_want "ends admitted" "$(counter admitted_active admitted_passive)" -eq 16
	have_want "sockets read with splice" "$(counter guarded)" -ge 8
	talk_late go-proxy
}

@test "guard: HAProxy with option splice-auto has all bytes" {
	load_pair --quiet
	converse haproxy talk "--seed 3 --count 6 --size 300000 turns" "--size 300000 duplex" \
		half-close-late
	have_want "ends admitted" "$(counter admitted_active admitted_passive)" -ge 16
	have_want "sockets read with splice" "$(counter guarded)" -ge 1
}

@test "guard: systemd-socket-proxyd, which it cannot help, stays on TCP, and is named" {
	child_up
	ACTIVATE_IN=in_child
	serve "$BOX_TMP/port" in_box -- --timeout 10 --seed 3 --count 6 --size 300000 turns
	proxy socket-proxyd "$(<"$BOX_TMP/port")"
	run -0 load_pair --quiet
	output_has "stays on TCP, because it reads with splice(2): systemd-socket-" "$CHILD"
	in_box "$PAIR" --timeout 10 --port "$FRONT" --seed 3 --count 6 --size 300000 turns call
	wait "$SERVER"
	have_want "redirected messages" "$(counter redirected_messages)" -eq 0
	have_want "calls that got EINVAL" "$(counter guarded_unread)" -eq 0
}

@test "guard: systemd-socket-proxyd that is started later stays on TCP, both its connections" {
	load_pair --quiet
	converse socket-proxyd "--seed 3 --count 6 --size 300000 turns" "--size 300000 duplex"
	have_want "redirected messages" "$(counter redirected_messages)" -eq 0
	have_want "sockets refused" "$(counter refused_program)" -eq 4
}

# As by systemd itself: the listener is there before the program, which a first connection starts.
@test "guard: systemd-socket-proxyd that is given its listener stays on TCP from its start on" {
	load_pair --quiet
	cp "$(command -v systemd-socket-activate)" "$BOX_TMP/activate"
	in_box "$BOX_TMP/activate" -l "127.0.0.1:$FRONT" \
		/lib/systemd/systemd-socket-proxyd 127.0.0.1:7002 >"$BOX_TMP/proxy" 2>&1 3>&- &
	wait_until 10 "the listener" listens "$FRONT"
	# There is nothing behind it yet: so it ends this one.
	in_box timeout 30 socat -u "TCP:127.0.0.1:$FRONT" -
	have_want "clients admitted" "$(counter admitted_active)" -eq 1
	serve "$BOX_TMP/port" in_box -- --timeout 10 --port 7002 --seed 3 --count 6 --size 300000 turns
	in_box "$PAIR" --timeout 10 --port "$FRONT" --seed 3 --count 6 --size 300000 turns call
	wait "$SERVER"
	have_want "redirected messages" "$(counter redirected_messages)" -eq 0
	have_want "sockets refused" "$(counter refused_program)" -ge 2
	end_proxy systemd-socket-
}

# said_through_proxy: the answer of an echo server behind it, if any.  No half-close before it:
# at that systemd-socket-proxyd ends both directions.
said_through_proxy() {
	in_box timeout 20 socat "TCP:127.0.0.1:$FRONT" \
		"SYSTEM:echo hello; read -r answer; echo \"\$answer\" >$BOX_TMP/answer" || true
	cat "$BOX_TMP/answer"
}

@test "guard: a program that takes EINVAL for an error loses one connection, and its cgroup stays on TCP then" {
	local over_tcp
	over_tcp=$(said splice_relay)
	child_up
	mkdir "$BOX_CGROUP/child/below" "$BOX_CGROUP/other"
	load_pair --quiet --admit-splicing --exclude-cgroup "${CHILD%/*}/other"
	[[ $(in_child "$ROOT/build/semantics" splice_relay) == *"server splice -> EINVAL"* ]]
	have_want "remembered" "$(counter remembered)" -ge 1
	have_want "its second connection" "$(in_child "$ROOT/build/semantics" splice_relay)" = "$over_tcp"
	zero_counters
	in_child "$PAIR" talk
	have_want "admitted, of others there" "$(counter admitted_active admitted_passive)" -eq 0
	have_want "refused" "$(counter refused_cgroup)" -eq 1
	in_child bash -c 'echo $$ >"$0/below/cgroup.procs"; exec "$@"' "$CHILD" "$PAIR" talk
	have_want "redirected, below it" "$(counter redirected_messages)" -eq 200
	in_child bash -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "${CHILD%/*}/other" "$PAIR" talk
	have_want "redirected, where load.sh has excluded" "$(counter redirected_messages)" -eq 200
	run -0 in_box "$ROOT/status.sh"
	output_has "$CHILD"
}

@test "guard: so does systemd-socket-proxyd through a listener that is there" {
	child_up
	ACTIVATE_IN=in_child
	load_pair --quiet --admit-splicing
	in_box socat TCP-LISTEN:7002,bind=127.0.0.1,fork,reuseaddr EXEC:cat 3>&- &
	wait_until 10 "socat" listens 7002
	proxy socket-proxyd 7002
	have_want "first" "$(said_through_proxy)" = ""
	have_want "then" "$(said_through_proxy)" = hello
	run -0 in_box "$ROOT/status.sh"
	output_has "on TCP       $CHILD"
	end_proxy systemd-socket-
}

# einval CASE: 50 programs in the child cgroup.
einval() {
	have_want "calls that got EINVAL" "$(in_child "$ROOT/build/einval" "$1" 50)" -eq 50
}

@test "guard: a program that goes on reading after EINVAL is never remembered, however it ends" {
	child_up
	load_pair --quiet --all-connections
	einval part
	have_want "remembered, of a part of the first message" "$(counter remembered)" -eq 0
	einval all
	have_want "remembered, of all but the last message" "$(counter remembered)" -eq 0
	in_child "$ROOT/build/einval" nothing 50
	have_want "remembered, of nothing" "$(counter remembered)" -eq 1
}

@test "guard: the cgroup that the pair is attached to is never remembered, as all may run there" {
	load_pair --quiet --admit-splicing
	for _ in 1 2; do
		[[ $(said splice_relay) == *"server splice -> EINVAL"* ]]
	done
	have_want "remembered" "$(counter remembered)" -eq 0
	have_want "not remembered" "$(counter not_remembered)" -ge 2
	zero_counters
	in_box "$PAIR" talk
	have_want "redirected" "$(counter redirected_messages)" -eq 200
}

# Where BPF is not among the active LSMs, the guard are tracing programs, and what is pinned are
# their links.
by_trace() {
	[[ $(</sys/kernel/security/lsm) != *bpf* ]]
}

guard_id() {
	if by_trace; then
		in_box bpftool -j link show pinned /sys/fs/bpf/bpf_guard/bpf_guard | jq .prog_id
	else
		in_box bpftool -j prog show pinned /sys/fs/bpf/bpf_guard/bpf_guard | jq .id
	fi
}

# guards [CGROUP]: how many of its programs are attached; of the tracing ones a pair counts as one.
guards() {
	if by_trace; then
		echo $(($(bpftool -j link show | grep -o '"type":"tracing"' | wc -l) / 2))
	else
		in_box bpftool cgroup show "${1:-$(box_root)}" | grep -c bpf_guard || true
	fi
}

@test "guard: one of another version takes its place, and --reload --no-guard takes it off" {
	local other=$BOX_TMP/other before
	mkdir "$other"
	cp -r "$ROOT"/*.sh "$ROOT"/{lib,bpf,build,docs} "$other"
	sed -i 's/^VERSION=.*/VERSION=9.9/' "$other/lib/version.sh"
	load_pair --quiet
	before=$(guard_id)
	in_box "$other/load.sh" --reload --quiet
	have_want "the guard's id" "$(guard_id)" != "$before"
	wait_until 10 "the one before to go" is_gone "$before"
	have_want "guards" "$(guards)" -eq 2
	have_want "pins" "$(in_box find /sys/fs/bpf -name '*_new')" = ""
	talk_late go-proxy
	# As a script leaves it that was killed: pinned, and detached in part.
	if by_trace; then
		in_box rm /sys/fs/bpf/bpf_guard/bpf_guard_says
	else
		in_box bpftool cgroup detach "$(box_root)" lsm_cgroup pinned /sys/fs/bpf/bpf_guard/bpf_guard
	fi
	in_box "$other/load.sh" --reload --quiet
	wait_until 10 "the one before to go" eval '(($(guards) == 2))'
	in_box "$other/load.sh" --reload --quiet --no-guard
	have_want "in status.sh" "$(in_box "$ROOT/status.sh" --json | jq .guard)" = false
	wait_until 10 "the guard to go" eval '(($(guards) == 0))'
	in_box "$other/load.sh" --reload --quiet
	have_want "in status.sh" "$(in_box "$ROOT/status.sh" --json | jq .guard)" = true
}

# is_attached: is the one that is in its place?
is_attached() {
	by_trace || ! in_box bpftool cgroup attach "$(box_root)" lsm_cgroup \
		pinned /sys/fs/bpf/bpf_guard/bpf_guard multi 2>/dev/null
}

@test "guard: a reload that is killed amid its exchange leaves one, and one that fails then takes none off" {
	local mv
	for mv in '*_new\ *' ''; do
		load_pair --quiet
		if [[ -n $mv ]]; then
			fake mv "[[ \$* != *$mv ]] || { $KILL
			}
			exec \"\$REAL\" \"\$@\""
		else
			fake rm "[[ \$* != '-rf '*guard* ]] || { $KILL
			}
			exec \"\$REAL\" \"\$@\""
		fi
		run ! with_fakes "$ROOT/load.sh" --reload --quiet
		rm -f "$BOX_TMP"/bin/*
		fail_at '"-j batch"*'
		run -1 with_fakes "$ROOT/load.sh" --reload --quiet
		output_has "not reloaded: nothing has changed"
		rm "$BOX_TMP/bin/bpftool"
		wait_until 10 "one to stay" eval '(($(guards) == 2))'
		is_attached
		have_want "in status.sh" "$(in_box "$ROOT/status.sh" --json | jq .guard)" = true
		unload_pair
		wait_until 10 "the guard to go" eval '(($(guards) == 0))'
		assert_no_pins
	done
}

@test "guard: where one cannot be detached, the reload says so, and the next one does it" {
	local how
	by_trace && skip "their pins are what attaches them"
	for how in --no-guard ''; do
		load_pair --quiet
		fail_at '"cgroup detach"*lsm*'
		# shellcheck disable=SC2086 # no word, or one
		run -0 with_fakes "$ROOT/load.sh" --reload --quiet $how
		output_has "not all was done; the same command does the rest"
		rm "$BOX_TMP/bin/bpftool"
		# shellcheck disable=SC2086
		run -0 in_box "$ROOT/load.sh" --reload --quiet $how
		output_lacks "not all was done"
		have_want "guards" "$(guards)" -eq "$([[ -n $how ]] && echo 0 || echo 2)"
		unload_pair
		have_want "guards" "$(guards)" -eq 0
	done
}

@test "guard: unload.sh takes it off, also when its pin is lost" {
	local lost
	for lost in '' /sys/fs/bpf/bpf_guard /sys/fs/bpf/bpf_guard/bpf_guard; do
		load_pair --quiet
		have_want "guards" "$(guards)" -eq 2
		[[ -z $lost ]] || in_box rm -r "$lost"
		unload_pair
		wait_until 10 "the guard to go" eval '(($(guards) == 0))'
		assert_no_pins
	done
}

@test "guard: load.sh says by what, or why there is none; status.sh as well" {
	local by="BPF LSM programs" state=on
	! by_trace || by="tracing programs" state="on, by tracing programs"
	run -0 in_box "$ROOT/load.sh" --quiet
	output_has "guard: $by"
	output_lacks "no guard"
	run -0 in_box "$ROOT/status.sh"
	output_has "guard        $state"
}

@test "guard: a part of its programs does not stay, nor where load.sh is killed" {
	if by_trace; then
		fail_at '*bpf_guard_trace*' '"$REAL" "$@"; rm $4/bpf_guard_get'
		run -0 with_fakes "$ROOT/load.sh"
		output_has "no guard" "failed: injected" loaded
		wait_until 10 "the guard to go" eval '(($(guards) == 0))'
		unload_pair
		fail_at '*bpf_guard_trace*' '"$REAL" "$@"; rm $4/bpf_guard_get'"$KILL"
		run -137 with_fakes "$ROOT/load.sh"
		have_want "guards" "$(guards)" -ge 1
		unload_pair
		wait_until 10 "the guard to go" eval '(($(guards) == 0))'
		assert_no_pins
		return
	fi
	fail_at '*attach*bpf_guard_get*'
	run -0 with_fakes "$ROOT/load.sh"
	output_has "no guard" "failed: injected" loaded
	have_want "guards" "$(guards)" -eq 0
	unload_pair
	child_up
	fail_at '*attach*bpf_guard_get*' "$KILL"
	run -137 with_fakes "$ROOT/load.sh" --cgroup "$CHILD"
	have_want "guards" "$(guards "$CHILD")" -eq 1
	unload_pair
	have_want "guards" "$(guards "$CHILD")" -eq 0
	assert_no_pins
}
