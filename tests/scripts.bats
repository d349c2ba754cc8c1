#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# load.sh and unload.sh: what they refuse, what they undo, what they leave.

bats_require_minimum_version 1.5.0
load sandbox.bash
load fakes.bash
box_each_test

# Nothing of the pair is in the sandbox.
assert_nothing_loaded() {
	local cgroup
	assert_no_pins
	cgroup=$(box_root)
	have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$cgroup")" = ""
}

# reach ADDRESS: a dual-stack listener by IPv4.
reach() {
	[[ $1 == :: ]] && echo 127.0.0.1 || echo "$1"
}

@test "load.sh: says how many connections were open before, and whose" {
	local listen pids=() name=$'\e",pid=1,fd=2))' before
	mkfifo "$BOX_TMP/go"
	exec 8<>"$BOX_TMP/go"
	cp "$PAIR" "$BOX_TMP/$name"
	for listen in 127.0.0.1 ::1 ::; do
		in_box "$PAIR" --listen "$listen" --connect "$(reach "$listen")" hold \
			<"$BOX_TMP/go" >"$BOX_TMP/out.${#pids[@]}" 3>&- 8>&- &
		pids+=("$!")
		PAIR=$BOX_TMP/$name
		wait_until 10 "the connection" grep -q held "$BOX_TMP/out.$((${#pids[@]} - 1))"
	done
	run -0 load_pair
	output_has "open before, and on TCP until they are opened again: 3 connections," \
		'of \x1b",pid=1,fd=2)) 2, pair 1'
	exec 8>&-
	wait "${pids[@]}"
	unload_pair
	run -0 load_pair
	output_lacks "open before"
	unload_pair
	# One that does not end, with a child that has its pipe.
	fake ss 'setsid sleep 60 & echo; wait'
	before=$SECONDS
	run -0 with_fakes "$ROOT/load.sh" --quiet
	have_want "seconds" $((SECONDS - before)) -le $((20 * SLOWNESS))
}

# counted COMMAND...: of open_before.sh.
counted() {
	in_box env PATH="$BOX_TMP/bin:$PATH" bash -c '
		set -euo pipefail
		HERE=$1
		. "$HERE/lib/common.sh"
		. "$HERE/lib/open_before.sh"
		"${@:2}"' counted "$ROOT" "$@"
}

@test "load.sh: counts 40,000 connections at once, and says where there were too many for ss" {
	local before
	seq 40000 | awk '{ print "0 0 127.0.0.1:" $1 " 127.0.0.2:80\n0 0 127.0.0.2:80 127.0.0.1:" $1 }' \
		>"$BOX_TMP/list"
	before=$SECONDS
	run -0 counted both_ends <"$BOX_TMP/list"
	have_want "counted" "${lines[0]}" = "0 40000"
	have_want "seconds" $((SECONDS - before)) -le $((5 * SLOWNESS))
	# It is killed amid a line.
	fake ss 'head -n 10 "$LIST"; printf "0 0 127.0.0.2:8"; exec sleep 60'
	LIST=$BOX_TMP/list run -0 counted report_open
	output_has "at least 5 connections (ss did not come to its end)"
}

@test "load.sh: works from any directory, and through a symbolic link" {
	cd /
	ln -s "$ROOT/load.sh" "$BOX_TMP/on"
	in_box "$BOX_TMP/on"
	unload_pair
	assert_nothing_loaded
}

@test "load.sh: refuses when already loaded, and changes nothing" {
	load_pair
	local before
	before=$(in_box bpftool prog show pinned /sys/fs/bpf/bpf_sockops)
	run -1 load_pair
	output_has "already loaded" "unload.sh"
	have_want "the program" "$(in_box bpftool prog show pinned /sys/fs/bpf/bpf_sockops)" = "$before"
	unload_pair
}

@test "load.sh: refuses an unknown argument, and changes nothing" {
	run -2 load_pair --no-such-option
	output_has "--no-such-option" "--help"
	assert_nothing_loaded
}

@test "load.sh: refuses to run without root" {
	chmod 755 "$BOX_TMP" # the checkout may be where only root can read
	copy_project "$BOX_TMP/copy"
	run -1 in_box setpriv --reuid 65534 --clear-groups "$BOX_TMP/copy/load.sh"
	output_has "needs root"
	assert_nothing_loaded
}

@test "load.sh: names a missing tool and the command that installs it" {
	local tool path=$BOX_TMP/path
	mkdir "$path"
	for tool in bash env dirname uname sed grep cat make mount stat id readlink; do
		ln -s "$(command -v "$tool")" "$path/$tool"
	done
	run -1 in_box env PATH="$path" "$ROOT/load.sh"
	output_has "missing: " clang "--install-deps"
	assert_nothing_loaded
}

@test "load.sh: looks for no header where root stands" {
	in_box mount -t tmpfs none /usr/include/bpf
	mkdir -p "$BOX_TMP/here/bpf"
	mkfifo "$BOX_TMP/here/bpf/bpf_helpers.h"
	run -1 in_box env -C "$BOX_TMP/here" timeout 20 "$ROOT/load.sh"
	output_has "missing: libbpf-headers"
	assert_nothing_loaded
}

@test "load.sh: mounts a missing bpffs, and unmounts it when a later step fails" {
	while [[ $(in_box stat -f -c %T /sys/fs/bpf) == bpf_fs ]]; do
		in_box umount /sys/fs/bpf # the machine's own may be below
	done
	fail_at '"prog attach"*'
	run ! with_fakes "$ROOT/load.sh"
	have_want "file system on /sys/fs/bpf" "$(in_box stat -f -c %T /sys/fs/bpf)" != bpf_fs
	# Unless somebody has pinned something there.
	fail_at '"prog attach"*' 'mkdir /sys/fs/bpf/others'
	run ! with_fakes "$ROOT/load.sh"
	in_box test -d /sys/fs/bpf/others
	assert_nothing_loaded
	in_box umount /sys/fs/bpf
	load_pair
	have_want "file system on /sys/fs/bpf" "$(in_box stat -f -c %T /sys/fs/bpf)" = bpf_fs
	unload_pair
}

# bats test_tags=long
@test "load.sh: undoes everything when any bpftool command fails" {
	local n
	for n in {1..7}; do
		fake_nth "$n" 'echo injected >&2; exit 1'
		run ! with_fakes "$ROOT/load.sh" --no-guard --port 80 --exclude-port 81
		output_has injected "not loaded"
		assert_nothing_loaded
	done
	fake_nth 8 'echo injected >&2; exit 1' # there are seven
	with_fakes "$ROOT/load.sh" --no-guard --port 80 --exclude-port 81
	unload_pair
}

@test "what a bpftool with skeletons shows, it shows in a PID namespace of its own" {
	fake bpftool "[[ \$1 != version ]] || exec echo 'features: libbpf_strict, skeletons'
		[[ \$* == *cgroup\ show* || \$* != *show* ]] ||
			echo \"\$(readlink /proc/self/ns/pid) \$*\" >>'$BOX_TMP/namespaces'
		exec \"\$REAL\" \"\$@\""
	with_fakes "$ROOT/load.sh" --quiet
	with_fakes "$ROOT/status.sh"
	with_fakes "$ROOT/unload.sh"
	have_want "questions" "$(wc -l <"$BOX_TMP/namespaces")" -gt 10
	have_want "in the scripts' namespace" \
		"$(grep -cF "$(in_box readlink /proc/self/ns/pid)" "$BOX_TMP/namespaces")" -eq 0
}

# The step is done, but its command does not come to say so.
# bats test_tags=long
@test "load.sh: undoes a step as well that a signal ends, or that is done and said to have failed" {
	local n
	for n in {1..7}; do
		fake_nth "$n" "$DONE_AND_TERM"
		run -143 with_fakes "$ROOT/load.sh" --no-guard
		output_has "not loaded: nothing has changed"
		assert_nothing_loaded
		fake_nth "$n" "$DONE_AND_FAILED"
		run ! with_fakes "$ROOT/load.sh" --no-guard
		output_has injected "not loaded: nothing has changed"
		assert_nothing_loaded
	done
	rm "$BOX_TMP/bin/bpftool"
	fake grep "[[ \$* == *msg_tot_len* ]] || exec \"\$REAL\" \"\$@\"; $DONE_AND_TERM" # it is switched on by then
	run -0 with_fakes "$ROOT/load.sh" --no-guard
	output_has "loaded: TCP between programs"
	unload_pair
}

# bats test_tags=long
@test "load.sh: loads without the guard where it must, and says why" {
	run -0 in_box "$ROOT/load.sh"
	if in_box test -e /sys/fs/bpf/bpf_guard; then
		output_lacks "no guard"
	else
		output_has "no guard, a program that reads with splice(2) hangs unless it is excluded" loaded
	fi
	unload_pair
	fake cat '[[ $1 != */lsm ]] || { echo lockdown,bpf; exit; }; exec "$REAL" "$@"'
	fail_at '*bpf_guard.o*'
	run -0 with_fakes "$ROOT/load.sh"
	output_has "no guard" "failed: injected" loaded
	run -0 with_fakes "$ROOT/load.sh" --reload
	output_has "no guard" "failed: injected" reloaded
	unload_pair
	# One that loads, and cannot be attached as the guard is.
	fake bpftool '[[ $* != *bpf_guard.o* ]] || { mkdir /sys/fs/bpf/bpf_guard; set -- prog load "'"$ROOT"'/build/bpf_tcpip_bypass.o" /sys/fs/bpf/bpf_guard/bpf_guard type sk_msg; }; exec "$REAL" "$@"'
	run -0 with_fakes "$ROOT/load.sh"
	output_has "no guard" "bpf_guard cannot be attached: " loaded
	have_want "in status.sh" "$(in_box "$ROOT/status.sh" --json | jq .guard)" = false
	unload_pair
	# The other way to it.
	fake cat '[[ $1 != */lsm ]] || { echo lockdown,yama; exit; }; exec "$REAL" "$@"'
	fake bpftool '
		[[ $* != "prog help" ]] || { echo "[autoattach]"; exit; }
		[[ $* != *bpf_guard_trace.o* ]] || { echo "failed: injected" >&2; exit 1; }
		exec "$REAL" "$@"'
	run -0 with_fakes "$ROOT/load.sh"
	output_has "BPF is not among the active LSMs (lockdown,yama)" \
		"refuses bpf_guard_trace: failed: injected" loaded
	have_want "pins" "$(in_box find /sys/fs/bpf -name '*guard*')" = ""
	unload_pair
	fake bpftool '[[ $* != "prog help" ]] || exit 0; exec "$REAL" "$@"'
	run -0 with_fakes "$ROOT/load.sh"
	output_has "no guard" "takes the bpftool of Linux 6.2 or newer" loaded
	unload_pair
	run -0 in_box "$ROOT/load.sh" --no-guard
	output_lacks guard
	have_want "in status.sh" "$(in_box "$ROOT/status.sh" --json | jq .guard)" = false
}

# bats test_tags=long
@test "load.sh: killed between any two steps, unload.sh cleans up and it loads again" {
	local n status
	for n in {1..11}; do
		fake_nth "$n" "$KILL" "'iter pin'*"
		status=0
		with_fakes "$ROOT/load.sh" --no-guard || status=$?
		have_want "exit status" "$status" -eq 137
		if ((n > 1)); then
			run ! load_pair
			output_has "unload.sh"
		fi
		unload_pair
		assert_nothing_loaded
	done
	fake_nth 11 "\"\$REAL\" \"\$@\"; $KILL; exit" "'iter pin'*" # the last one is done
	run ! with_fakes "$ROOT/load.sh" --no-guard
	run ! load_pair
	output_has "already loaded"
	unload_pair
	assert_nothing_loaded
	load_pair
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	unload_pair
}

# bats test_tags=long
@test "unload.sh: killed between any two steps, it ends its work when run again" {
	local n status
	for n in {1..4}; do
		load_pair --no-guard
		fake_nth "$n" "$KILL"
		status=0
		with_fakes "$ROOT/unload.sh" || status=$?
		have_want "exit status" "$status" -eq 137
		run -1 load_pair
		output_has "unload.sh"
		unload_pair
		assert_nothing_loaded
	done
	rm "$BOX_TMP/bin/bpftool"
	for n in {0..4} 8; do # amid the pins: programs, the map, records, another map
		load_pair
		fake rm "[[ \$* == /sys/fs/bpf/* ]] && { \"\$REAL\" -f \"\${@:1:$n}\"; $KILL; exit 1; }
			exec \"\$REAL\" \"\$@\""
		status=0
		with_fakes "$ROOT/unload.sh" || status=$?
		have_want "exit status" "$status" -eq 137
		unload_pair
		assert_nothing_loaded
	done
}

@test "load.sh: of two at once one loads, the other says that it is loaded" {
	local first second status=0
	in_box "$ROOT/load.sh" >"$BOX_TMP/first" 2>&1 3>&- &
	first=$!
	in_box "$ROOT/load.sh" >"$BOX_TMP/second" 2>&1 3>&- &
	second=$!
	wait "$first" || status=$((status + $?))
	wait "$second" || status=$((status + $?))
	have_want "sum of the exit statuses" "$status" -eq 1
	grep -h "^loaded" "$BOX_TMP/first" "$BOX_TMP/second"
	grep -h "already loaded" "$BOX_TMP/first" "$BOX_TMP/second"
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
}

# bats test_tags=long
@test "load.sh and unload.sh at once leave all or nothing" {
	local i loader unloader
	for i in {1..3}; do
		in_box "$ROOT/load.sh" >/dev/null 2>&1 3>&- &
		loader=$!
		in_box "$ROOT/unload.sh" >"$BOX_TMP/unload" 2>&1 3>&- &
		unloader=$!
		wait "$loader"
		wait "$unloader"
		if in_box test -e /sys/fs/bpf/bpf_sockops; then
			in_box "$ROOT/status.sh"
			unload_pair
		fi
		assert_nothing_loaded
	done
}

@test "load.sh: undoes everything when the second program does not compile" {
	copy_project "$BOX_TMP/copy"
	echo 'syntax error' >>"$BOX_TMP/copy/bpf_tcpip_bypass.c"
	run ! in_box "$BOX_TMP/copy/load.sh"
	output_has error "not loaded"
	assert_nothing_loaded
}

@test "unload.sh: is no error when nothing is loaded" {
	run -0 unload_pair
	have_want "output" "$output" = "nothing is loaded"
}

# bats test_tags=long
@test "unload.sh: works when a pin is lost, whichever" {
	local pins
	# Those that it reads one by one, and the rest.
	for pins in bpf_sockops bpf_tcpip_bypass sock_ops_map sock_ops_record sock_ops_config \
		'sock_ops_meet sock_ops_accounts sock_ops_stats sock_ops_ports sock_ops_cgroups sock_ops_names sock_ops_excluded'; do
		load_pair
		in_box bash -c "cd /sys/fs/bpf && rm $pins"
		run -1 load_pair
		output_has "loaded in part" "unload.sh"
		run -0 unload_pair
		assert_nothing_loaded
	done
	child_up
	load_pair --cgroup "$CHILD"
	in_box rm /sys/fs/bpf/bpf_sockops
	run -0 unload_pair
	have_want "attached" "$(in_box bpftool cgroup show "$CHILD")" = ""
	rmdir "$BOX_CGROUP/child"
}

# bats test_tags=long
@test "unload.sh: works when another thing is in the place of a pin, whichever" {
	local pin other
	while IFS='|' read -r pin other; do
		load_pair --quiet --no-guard
		# shellcheck disable=SC2086 # words
		in_box bash -c 'pin=$1; shift; rm "$pin"; "$@" "$pin"' bash "/sys/fs/bpf/$pin" $other
		run -0 unload_pair
		assert_nothing_loaded
	done <<-END
		sock_ops_map|mkdir
		sock_ops_map|ln /sys/fs/bpf/sock_ops_stats
		sock_ops_config|ln /sys/fs/bpf/sock_ops_stats
		sock_ops_config|ln -s /nowhere
		bpf_sockops|mkdir
		bpf_sockops|ln /sys/fs/bpf/sock_ops_stats
		bpf_tcpip_bypass|ln -s /nowhere
		sock_ops_record|mkdir
	END
}

@test "unload.sh: takes connections out when the pins of the map and of one program are lost" {
	local program
	for program in bpf_sockops bpf_tcpip_bypass; do
		load_pair --quiet
		hold_many 3 0
		in_box rm "/sys/fs/bpf/$program" /sys/fs/bpf/sock_ops_map
		run -0 unload_pair
		output_has "connections taken off the bypass: 3"
		exec 8>&-
		wait "$MANY"
		assert_nothing_loaded
	done
}

@test "unload.sh: works when all pins are lost" {
	load_pair
	in_box bash -c 'rm -rf /sys/fs/bpf/{bpf,sock_ops}_*'
	run -1 load_pair
	output_has "attached to " ", but not pinned" "unload.sh"
	run -0 unload_pair
	assert_nothing_loaded
}

@test "unload.sh: detaches although bpftool cannot list what is attached" {
	# As bpftool 7 on 5.10.
	fake bpftool '[[ "$*" == *"cgroup show"* ]] && exit 255; exec "$REAL" "$@"'
	load_pair
	run -0 with_fakes "$ROOT/unload.sh"
	output_has "cgroup detach" unloaded
	assert_nothing_loaded
}

@test "unload.sh: leaves other programs on the cgroup alone" {
	local cgroup
	cgroup=$(box_root)
	in_box bpftool prog load "$ROOT/build/classic/bpf_sockops.o" /sys/fs/bpf/other type sockops
	in_box mkdir "$cgroup/child"
	in_box bpftool cgroup attach "$cgroup/child" sock_ops pinned /sys/fs/bpf/other multi
	load_pair
	unload_pair
	run -0 in_box bpftool cgroup show "$cgroup/child"
	output_has sock_ops
	in_box rmdir "$cgroup/child"
	in_box rm /sys/fs/bpf/other
}

# bats test_tags=long
@test "unload.sh: open connections stay usable, then and after they are read" {
	local out=$BOX_TMP/out go=$BOX_TMP/go pid round id
	load_pair
	id=$(program_id bpf_tcpip_bypass)
	mkfifo "$go"
	in_box "$PAIR" --count 20 --timeout 5 hold <"$go" >"$out" 3>&- &
	pid=$!
	exec 8>"$go"
	wait_until 5 "small talk" grep -q held "$out"
	in_box "$ROOT/status.sh" # which reason it was, if not
	have_want "redirected messages" "$(counter redirected_messages)" -eq 40
	unload_pair
	for round in {1..20}; do
		echo >&8
		wait_until 5 "an answer after unload" has_line_count "$out" "$round"
	done
	exec 8>&-
	wait "$pid"
	wait_until 5 "the program to go" is_gone "$id"
	load_pair # and again, from the start
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	unload_pair
}

has_line_count() {
	[[ $(grep -c again "$1") -ge $2 ]]
}

# ---- another sock_ops program ------------------------------------------------

# Loads it; what bpftool shows of attachments is needed, and 5.10 does not tell.
other_up() {
	CGROUP=$(box_root)
	in_box bpftool -j cgroup show "$CGROUP" ||
		skip "this bpftool cannot list what is attached on this kernel"
	in_box bpftool prog load "$ROOT/build/other/flags.bpf.o" /sys/fs/bpf/other type sockops
	OTHER=$(program_id other)
	in_box mkdir -p "$CGROUP/a/b"
}

# other_attach CGROUP [FLAG]
other_attach() {
	in_box bpftool cgroup attach "$1" sock_ops pinned /sys/fs/bpf/other "${@:2}"
}

other_detach() {
	in_box bpftool cgroup detach "$1" sock_ops pinned /sys/fs/bpf/other
}

# Is the other program still the only one, and does it still run for $CGROUP/a/b?
assert_only_other() {
	assert_no_pins
	have_want "programs that run" \
		"$(in_box bpftool -j cgroup show "$CGROUP/a/b" effective | jq -c 'map(.id)')" = "[$OTHER]"
}

# Runs the command of the last refusal, after the last ": ".
as_told() {
	local command=${output##*: sudo }
	# shellcheck disable=SC2086 # words
	in_box ${command%% (*}
}

@test "load.sh: refuses a cgroup with a sock_ops program without multi, and names it" {
	local flag
	other_up
	for flag in "" override; do
		# shellcheck disable=SC2086 # none, or one
		other_attach "$CGROUP/a" $flag
		run -1 load_pair --cgroup "$CGROUP/a"
		output_has "other_flags (id $OTHER), is attached to $CGROUP/a without multi: no second one"
		output_lacks "[#]"
		assert_only_other
		as_told
		have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$CGROUP/a")" = ""
	done
	load_pair --cgroup "$CGROUP/a"
	unload_pair
}

@test "load.sh: refuses a cgroup below a sock_ops program without any flag" {
	other_up
	other_attach "$CGROUP"
	run -1 load_pair --cgroup "$CGROUP/a/b"
	output_has "other_flags (id $OTHER), is attached to $CGROUP without multi: none can be attached below"
	assert_only_other
	as_told
	load_pair --cgroup "$CGROUP/a/b"
	unload_pair
}

@test "load.sh: refuses a cgroup below a sock_ops program with override, which would not run any more" {
	other_up
	other_attach "$CGROUP/a" override
	run -1 load_pair --cgroup "$CGROUP/a/b"
	output_has "other_flags (id $OTHER), is attached to $CGROUP/a with override: it would not run any more under $CGROUP/a/b"
	assert_only_other
	as_told
	load_pair --cgroup "$CGROUP/a/b"
	unload_pair
}

@test "load.sh: a bpftool that is killed says not that there is no such program" {
	other_up
	other_attach "$CGROUP/a" override
	fake bpftool '[[ $* != "-j cgroup show "* ]] || kill -KILL $$
		exec "$REAL" "$@"'
	run -1 with_fakes "$ROOT/load.sh" --cgroup "$CGROUP/a/b"
	output_has "bpftool was killed before it said which sock_ops programs are attached"
	assert_only_other
}

@test "load.sh: below a sock_ops program with multi it names the cgroup to load for instead" {
	other_up
	other_attach "$CGROUP/a" multi
	run -1 load_pair --cgroup "$CGROUP/a/b"
	output_has "other_flags (id $OTHER), is attached to $CGROUP/a: it would run after ours" \
		"load.sh --cgroup $CGROUP/a"
	assert_only_other
	# Two of them: the topmost.
	in_box bpftool prog load "$ROOT/build/other/flags.bpf.o" /sys/fs/bpf/second type sockops
	in_box bpftool cgroup attach "$CGROUP" sock_ops pinned /sys/fs/bpf/second multi
	run -1 load_pair --cgroup "$CGROUP/a/b"
	output_has "id $OTHER" "load.sh --cgroup $CGROUP"
	as_told
	# Ours is the last one that runs.
	have_want "the program that runs last" \
		"$(in_box bpftool -j cgroup show "$CGROUP/a/b" effective | jq -r '.[-1].name')" = bpf_sockops
	unload_pair
	other_detach "$CGROUP/a"
}

# bats test_tags=long
@test "load.sh: loads beside a sock_ops program with multi, and above any" {
	local flag
	other_up
	other_attach "$CGROUP" multi
	load_pair
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	unload_pair
	have_want "programs of the cgroup" \
		"$(in_box bpftool -j cgroup show "$CGROUP" | jq -c 'map(.id)')" = "[$OTHER]"
	other_detach "$CGROUP"
	for flag in "" override multi; do
		# shellcheck disable=SC2086 # none, or one
		other_attach "$CGROUP/a" $flag
		load_pair
		unload_pair
		have_want "programs of the cgroup" \
			"$(in_box bpftool -j cgroup show "$CGROUP/a" | jq -c 'map(.id)')" = "[$OTHER]"
		other_detach "$CGROUP/a"
	done
}

@test "load.sh: refuses to load below a sock_ops program that is above all that can be seen" {
	local flag
	other_up
	for flag in "" override multi; do
		# shellcheck disable=SC2086 # none, or one
		other_attach "$CGROUP" $flag
		run -1 in_container "$ROOT/load.sh"
		output_has "other_flags (id $OTHER), is attached above $CGROUP, which is the topmost cgroup here"
		assert_only_other
		other_detach "$CGROUP"
	done
	in_container "$ROOT/load.sh"
	unload_pair --cgroup "$CGROUP/a"
}

# in_container COMMAND...: with a/ as the root of all cgroups that it sees.
in_container() {
	in_box bash -c '
		echo $$ >"$1/a/cgroup.procs"
		exec unshare --cgroup --mount -- bash -c '\''
			umount "$1" && mount -t cgroup2 none "$1" && shift && exec "$@"'\'' container "$@"' \
		container "$CGROUP" "$@"
}

# bats test_tags=long
@test "load.sh: names its own program on a cgroup above, and the command that unloads" {
	other_up
	load_pair --cgroup "$CGROUP/a"
	in_box bash -c 'rm /sys/fs/bpf/bpf_* /sys/fs/bpf/sock_ops_*'
	run -1 load_pair --cgroup "$CGROUP/a/b"
	output_has "attached to $CGROUP/a, above $CGROUP/a/b; to clean up: " "unload.sh --cgroup $CGROUP/a"
	as_told
	load_pair --cgroup "$CGROUP/a/b"
	unload_pair
}

@test "load.sh: where attachments cannot be listed, a failed one comes with the command that may tell why" {
	other_up
	other_attach "$CGROUP/a"
	fake bpftool '[[ "$*" == "-j cgroup show"* ]] && exit 255; exec "$REAL" "$@"' # as on 5.10
	run -1 with_fakes "$ROOT/load.sh" --cgroup "$CGROUP/a/b"
	output_has "cannot attach to $CGROUP/a/b" "bpftool cgroup show $CGROUP/a/b effective" \
		"not loaded: nothing has changed"
	assert_only_other
}

# bats test_tags=long
@test "load.sh: a step that cannot be undone is named, with the command that cleans up" {
	local step what cgroup
	cgroup=$(box_root)
	while IFS='|' read -r step what; do
		fake bpftool "[[ \"\$*\" == 'prog attach'* || \"\$*\" == '$step'* ]] && exit 1; exec \"\$REAL\" \"\$@\""
		fake rm "[[ \"\$*\" == '$step'* ]] && exit 1; exec \"\$REAL\" \"\$@\""
		in_box mkdir "$cgroup/a"
		run -1 with_fakes "$ROOT/load.sh" --cgroup "$cgroup/a"
		output_lacks "nothing has changed"
		output_has "not loaded, but left behind: $what; to clean up: sudo $ROOT/unload.sh --cgroup $cgroup/a"
		as_told
		have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$cgroup/a")" = ""
		assert_nothing_loaded
		in_box rmdir "$cgroup/a"
	done <<-END
		cgroup detach|bpf_sockops attached to $cgroup/a
		-f /sys/fs/bpf/bpf_sockops|/sys/fs/bpf/bpf_sockops
		-f /sys/fs/bpf/sock_ops_map|maps in /sys/fs/bpf
	END
}

# ---- machines on which it cannot work ----------------------------------------

@test "load.sh: refuses a kernel without type information" {
	in_box mount -t tmpfs none /sys/kernel/btf
	run -1 load_pair
	output_has "no type information" CONFIG_DEBUG_INFO_BTF
	assert_nothing_loaded
}

@test "load.sh: refuses a kernel that is locked down for confidentiality" {
	in_box mount -t tmpfs none /sys/kernel/security
	in_box bash -c 'echo "none integrity [confidentiality]" >/sys/kernel/security/lockdown'
	run -1 load_pair
	output_has "locked down for confidentiality"
	assert_nothing_loaded
	in_box bash -c 'echo "none [integrity] confidentiality" >/sys/kernel/security/lockdown'
	load_pair
}

@test "load.sh and unload.sh: a machine with cgroup v1 only" {
	local root
	root=$(box_root)
	in_box umount "$root"
	run -1 load_pair
	output_has "no cgroup v2 hierarchy is mounted" "mount -t cgroup2"
	run -0 unload_pair
	have_want "output" "$output" = "nothing is loaded"
	in_box mount -t tmpfs none "$root" # where controllers of v1 are mounted
	in_box mkdir "$root/memory"
	run -1 load_pair
	output_has "no cgroup v2 hierarchy is mounted" "mount -t cgroup2 none /run/cgroup2"
	in_box umount "$root"
	in_box mount -t cgroup2 none "$root"
	assert_nothing_loaded
}

@test "load.sh: refuses to run in a container without the capabilities" {
	run -1 in_box setpriv --bounding-set -all "$ROOT/load.sh"
	output_has "root lacks capabilities" CAP_BPF
	run -1 in_box setpriv --bounding-set -bpf,-sys_admin "$ROOT/load.sh"
	output_has "root lacks capabilities" CAP_BPF
	assert_nothing_loaded
}

# bats test_tags=long
@test "load.sh and unload.sh: work with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN alone" {
	local few=(setpriv --bounding-set "-all,+bpf,+perfmon,+net_admin")
	make -C "$ROOT" -s all
	child_up
	in_box "${few[@]}" "$ROOT/load.sh" --exclude-cgroup "$CHILD"
	in_child "$PAIR" talk
	have_want "redirected messages, of the excluded cgroup" "$(counter redirected_messages)" -eq 0
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	run -1 in_box "${few[@]}" "$ROOT/load.sh"
	output_has "already loaded"
	run -2 in_box "${few[@]}" "$ROOT/status.sh"
	output_has "CAP_SYS_ADMIN"
	hold_many 10 0
	run -0 in_box "${few[@]}" "$ROOT/unload.sh"
	output_has "connections taken off the bypass: 10"
	many_talk 1
	exec 8>&-
	wait "$MANY"
	assert_nothing_loaded
}

@test "load.sh: shows the verifier's last lines when the kernel refuses a program" {
	copy_project "$BOX_TMP/copy"
	sed -i '/^SEC("sk_msg")/,$s/^\tif (!sk || !cpu)/\tasm volatile("r1 = 0; r1 = *(u64 *)(r1 + 0)" ::: "r1");\n&/' "$BOX_TMP/copy/bpf_tcpip_bypass.c"
	run -1 in_box "$BOX_TMP/copy/load.sh"
	output_has "END PROG LOAD LOG" "the kernel refuses bpf_tcpip_bypass" \
		"not loaded: nothing has changed"
	have_want "lines, without the commands" "$(grep -Evc '^\[#\]|^  CLANG' <<<"$output")" -le 23
	assert_nothing_loaded
}

# bats test_tags=long
@test "load.sh: from a read-only checkout, with objects and without" {
	copy_project "$BOX_TMP/copy"
	in_box mount --bind "$BOX_TMP/copy" "$BOX_TMP/copy"
	in_box mount -o remount,ro,bind "$BOX_TMP/copy"
	run -1 in_box "$BOX_TMP/copy/load.sh"
	output_has "cannot build in $BOX_TMP/copy" "make -C"
	assert_nothing_loaded
	make -C "$BOX_TMP/copy" -s all # outside of the sandbox it is writable
	in_box "$BOX_TMP/copy/load.sh"
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	in_box "$BOX_TMP/copy/status.sh"
	in_box "$BOX_TMP/copy/unload.sh"
	assert_nothing_loaded
	in_box umount "$BOX_TMP/copy"
}

@test "load.sh and unload.sh: other programs' pins of our names are cleared away" {
	# The usual demos of this idea use them.
	load_classic
	run -1 load_pair
	output_has "loaded in part" "unload.sh"
	unload_pair
	assert_nothing_loaded
	load_pair
	unload_pair
}

@test "load.sh and unload.sh: another's program of our names is left alone" {
	local root
	root=$(box_root)
	child_up
	load_classic
	in_box rm /sys/fs/bpf/{bpf_sockops,bpf_tcpip_bypass,sock_ops_map}
	run -0 unload_pair
	output_has "nothing is loaded"
	run -1 load_pair --cgroup "$CHILD"
	output_has "another sock_ops program"
	have_want "still attached" "$(in_box bpftool -j cgroup show "$root" | jq length)" -eq 1
	in_box bpftool cgroup detach "$root" sock_ops id \
		"$(in_box bpftool -j cgroup show "$root" | jq '.[0].id')"
}

@test "status.sh and unload.sh: without bpftool they say how to install it" {
	local tool path=$BOX_TMP/path
	mkdir "$path"
	for tool in bash dirname readlink sed; do
		ln -s "$(command -v "$tool")" "$path/$tool"
	done
	# The scripts look in the system's directories as well.
	in_box mount --bind "$path" /usr/sbin
	run -1 in_box env PATH="$path" "$ROOT/unload.sh"
	output_has "bpftool is missing" "load.sh --install-deps"
	run -2 in_box env PATH="$path" "$ROOT/status.sh"
	output_has "bpftool is missing" "load.sh --install-deps"
	in_box umount /usr/sbin
}

# bats test_tags=long
@test "unload.sh: says so when the sockets cannot be listed, and does the rest" {
	load_pair
	hold_many 10 0
	in_box rm /sys/fs/bpf/sock_ops_{open,status}
	fail_at '"iter pin"*'
	run -1 with_fakes "$ROOT/unload.sh"
	output_has injected "stay in it until they are closed"
	assert_nothing_loaded
	many_talk 1
	unload_pair # takes them out
	exec 8>&-
	wait "$MANY"
}

# More than the kernel takes as one argument.
@test "unload.sh: finds the entrance of one of 30,000 network namespaces" {
	local own
	own=$(stat -L -c %i /proc/self/ns/net)
	run -0 bash -c '
		set -euo pipefail
		HERE=$1
		. "$HERE/lib/common.sh"
		. "$HERE/lib/release.sh"
		entrances {1..30000} "$2"' entrances "$ROOT" "$own"
	have_want "entrances" "${output%%$'\t/proc/'[0-9]*}" = "$own"$'\t/proc/self/ns/net'
}

@test "unload.sh: a pin stays for the process that has made it, not for any that has its number" {
	local pin=/sys/fs/bpf/sock_ops_open pid fields
	in_box bash -c 'echo $$; exec sleep 100' >"$BOX_TMP/pid" 3>&- &
	wait_until 5 "a process" test -s "$BOX_TMP/pid"
	pid=$(<"$BOX_TMP/pid")
	read -ra fields </proc/"$pid"/stat
	in_box bpftool iter pin "$ROOT/build/sock_ops_open.o" "$pin-${fields[21]}-$pid"
	# As of one that had the number before it, or has it in another pid namespace: there is always a 1.
	in_box bpftool iter pin "$ROOT/build/sock_ops_open.o" "$pin-$((fields[21] - 6000))-$pid"
	in_box bpftool iter pin "$ROOT/build/sock_ops_open.o" "$pin-${fields[21]}-1"
	unload_pair
	have_want "pins" "$(in_box find /sys/fs/bpf -name 'sock_ops_*')" = "$pin-${fields[21]}-$pid"
	in_box rm "$pin-${fields[21]}-$pid"
}

# number_of NAME: a constant of the programs.
number_of() {
	echo $(($(sed -n "s/^#define $1[[:space:]][[:space:]]*//p" "$ROOT"/*.[ch] "$ROOT"/bpf/*.h)))
}

@test "load.sh: says what this kernel counts, and where the limits stand" {
	run -0 load_pair
	if grep -q msg_tot_len /sys/kernel/btf/vmlinux; then
		output_has "FIONREAD counts bypassed bytes; a burst may be 256 KiB"
	else
		output_has "FIONREAD does not count bypassed bytes; a burst may be 4 KiB"
	fi
	output_has "differs from TCP while a connection is on the bypass: docs/limits.md"
	have_want "CREDIT of the programs" "$(number_of CREDIT)" -eq $((256 * 1024))
	have_want "CREDIT_UNCOUNTED" "$(number_of CREDIT_UNCOUNTED)" -eq $((4 * 1024))
}

@test "scripts: their constants are those of the programs" {
	local name
	for name in OFF ON GOING_OFF; do
		have_want "$name" "$(sed -n "s/^$name=//p" "$ROOT/lib/config.sh")" -eq \
			"$(sed -n "s/^\tSWITCH_$name = \([0-9]*\),/\1/p" "$ROOT/bpf/config.h")"
	done
	for name in MPTCP SHORT ALL_CGROUPS NEW_ALONE ZEROCOPY; do
		have_want "ADMIT_$name" "$(sed -n "s/^ADMIT_$name=\([0-9]*\).*/\1/p" "$ROOT/lib/config.sh")" -eq \
			"$(sed -n "s/^\tADMIT_$name = \([0-9]*\),.*/\1/p" "$ROOT/bpf/config.h")"
	done
	for name in MAX_RANGES MAX_CGROUPS MAX_NAMES MAX_LEVELS SCOPE_SHIFT; do
		have_want "$name" "$(sed -n "s/^$name=\([0-9]*\).*/\1/p" "$ROOT"/lib/{scope,config,cgroups}.sh)" \
			-eq "$(number_of "$name")"
	done
	have_want MAX_ACCOUNTS "$(sed -n "s/^MAX_ACCOUNTS=\([0-9]*\).*/\1/p" "$ROOT/lib/updates.sh")" \
		-eq $((1 << $(number_of ACCOUNT_BITS)))
}

# console_of COMMAND: what the README shows of it.
console_of() {
	awk -v begin="\$ sudo $1" '
		on && /^(```|\$ )/ { exit }
		on
		index($0, begin) == 1 { on = 1 }' "$ROOT/README.md"
}

# assert_shown COMMAND: the README shows what `run` has caught: all of it, but for what
# `...` stands for.  What differs from kernel to kernel is for another test.
assert_shown() {
	local cgroup line text='' texts=()
	cgroup=$(box_root)
	while IFS= read -r line; do
		if [[ $line == *... || $line == kernel* ]]; then
			[[ $line == kernel* ]] || text+=${line%...}
			texts+=("$text")
			text=
		else
			text+=${line//\/sys\/fs\/cgroup/$cgroup}$'\n'
		fi
	done < <(console_of "$1")
	output=$output$'\n'
	have_want "gaps in what the README shows of $1" "${#texts[@]}" -ge 2
	output_has "${texts[@]}" "$text"
	have_want "its first lines" "${output:0:${#texts[0]}}" = "${texts[0]}"
	have_want "its last lines" "${output: -${#text}}" = "$text"
}

@test "README: shows what load.sh and unload.sh print" {
	run -0 in_box "$ROOT/load.sh" --install-deps
	assert_shown ./load.sh
	hold_many 1 0
	run -0 unload_pair
	assert_shown ./unload.sh
	exec 8>&-
	wait "$MANY"
}

@test "README: its limits are rows of docs/limits.md" {
	local row rows=0
	while IFS= read -r row; do
		grep -qxF -- "${row//(docs\/limits.md#/(#}" "$ROOT/docs/limits.md" || {
			echo "not a row of docs/limits.md: $row" >&2
			return 1
		}
		rows=$((rows + 1))
	done < <(sed -n '/^## Limits/,/^## /p' "$ROOT/README.md" | grep '^|')
	have_want "rows, two of them the head" "$rows" -ge 7
}

@test "README and docs: no line of text is longer than 120 characters" {
	run -0 awk '
		FNR == 1 { code = 0 }
		/^```/ { code = !code }
		!code && !/^(\||    )/ && length > 120 { print FILENAME ":" FNR ": " length }' "$ROOT"/*.md "$ROOT"/docs/*.md
	have_want "lines that are longer" "$output" = ""
}

# before RELEASE LIST [BUILD]: is that kernel older than what the list names?  BUILD is what `uname
# -v` says.
before() {
	bash -c '
		HERE=$1
		release=$2 build=$4
		uname() {
			echo "$release $build"
		}
		. "$HERE/lib/common.sh"
		. "$HERE/lib/kernel.sh"
		kernel_before "$3"' before "$ROOT" "$1" "$2" "${3:-#1 SMP}"
}

@test "load.sh: knows which kernels are older than a list of versions" {
	local since="6.6.128, 6.12.75, 6.18.14, 7.0"
	for release in 5.10.0-46-cloud-amd64 6.1.0-56-amd64 6.6.127 6.12.74+deb13-amd64 6.18.13 6.19.2; do
		before "$release" "$since"
	done
	for release in 6.6.128 6.6.200 6.12.75-1 6.12.117+deb13-amd64 6.18.14 7.0.0 7.2.13-amd64 8.1.2; do
		run ! before "$release" "$since"
	done
	before 5.12.19 5.13
	run ! before 5.13.0 5.13
	before 6.1.0-50-amd64 6.1.159 "#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)"
	run ! before 6.1.0-50-amd64 6.1.159 "#1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-07-01)"
}

# The unit's capabilities do not show what is attached.
@test "unload.sh: what bpftool does not detach stays pinned, also where it cannot be seen" {
	local as_unit=(setpriv --bounding-set "-all,+bpf,+perfmon,+net_admin")
	load_pair
	fail_at '"cgroup detach"*'
	run -1 with_fakes "${as_unit[@]}" "$ROOT/unload.sh"
	output_has "bpftool cannot detach /sys/fs/bpf/bpf_sockops" "what is pinned stays"
	rm "$BOX_TMP/bin/bpftool"
	run -0 in_box "${as_unit[@]}" "$ROOT/unload.sh"
	have_want "attached" "$(in_box bpftool cgroup show "$(box_root)")" = ""
	assert_nothing_loaded
}

@test "load.sh: --reload says so where ours was detached, and cannot be attached again" {
	load_pair --quiet
	in_box bpftool cgroup detach "$(box_root)" sock_ops pinned /sys/fs/bpf/bpf_sockops
	in_box bpftool prog load "$ROOT/build/classic/bpf_sockops.o" /sys/fs/bpf/other type sockops
	in_box bpftool cgroup attach "$(box_root)" sock_ops pinned /sys/fs/bpf/other
	run -1 load_pair --reload --quiet
	output_has "bpf_sockops was detached, and cannot be attached again"
	in_box bpftool cgroup detach "$(box_root)" sock_ops pinned /sys/fs/bpf/other
	in_box rm /sys/fs/bpf/other
}

@test "unload.sh: enters a network namespace by those who have sockets there, and looks at all processes last" {
	run -0 bash -c '
		set -euo pipefail
		HERE=$1
		. "$HERE/lib/common.sh"
		. "$HERE/lib/release.sh"
		open_sockets() { printf "%s\n" "pid netns" "0 7" "41 7" "42 8"; }
		of_processes() { [[ $# -gt 2 ]] || return 124; echo "7 ${*:3}"; }
		entrances 7 9' entrances "$ROOT"
	have_want "entrances" "$output" = $'7\t/proc/41\nlate'
}

@test "lists: each gives a sign of life where there is nothing to print" {
	local list
	load_pair --quiet
	in_box nc -l 127.0.0.1 7001 </dev/null >/dev/null 3>&- & # a socket
	wait_until 5 "it to listen" listens 7001
	for list in sock_ops_open sock_ops_release; do
		have_want "bytes of $list" "$(in_box cat "/sys/fs/bpf/$list" | wc -c)" -ge 1
	done
}

@test "unload.sh: a list that was cut does not count what it did not reach" {
	copy_project "$BOX_TMP/few"
	cp -r "$ROOT/build" "$BOX_TMP/few"
	sed -i 's/^LIST_LINES=.*/LIST_LINES=4/' "$BOX_TMP/few/lib/lists.sh"
	load_pair --quiet
	hold_many 5 5
	run -0 in_box "$BOX_TMP/few/unload.sh" --timeout 0
	output_has "still on the bypass" "and perhaps others"
	output_lacks "taken off"
	many_talk 1
	exec 8>&-
	wait "$MANY"
}

# once TOOL PATTERN ACTION: at its first call with such arguments.
once() {
	fake "$1" "[[ \$* != $2 ]] || ! mkdir '$BOX_TMP/once' 2>/dev/null || { $3; }
		exec \"\$REAL\" \"\$@\""
}

@test "unload.sh: what bpftool or a list does not tell once is asked again, or said" {
	load_pair --quiet
	hold_many 4 0
	in_box bash -c 'rm -rf /sys/fs/bpf/{bpf,sock_ops}_*'
	in_box bpftool cgroup detach "$(box_root)" sock_ops id "$(in_box bpftool -j cgroup show "$(box_root)" | jq '.[0].id')"
	once bpftool "'-j map dump id '*" 'exit 255'
	run -1 with_fakes "$ROOT/unload.sh"
	output_has "bpftool does not tell what program"
	rm -rf "$BOX_TMP/once" "$BOX_TMP"/bin/*
	once cat '*sock_ops_status-*' 'exit 1'
	run -0 with_fakes "$ROOT/unload.sh"
	output_has "connections taken off the bypass: 4"
	rm "$BOX_TMP/bin/cat"
	many_talk 1
	exec 8>&-
	wait "$MANY"
}
