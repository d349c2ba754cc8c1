#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Which connections load.sh was told to accelerate: by cgroup and by port.  For
# each that is, a twin that is not and never enters the map.

bats_require_minimum_version 1.5.0
load sandbox.bash
load fakes.bash

box_each_test

@test "--cgroup: both ends under it are bypassed, one end or none is not" {
	child_up
	load_pair --cgroup "$CHILD"
	in_child "$PAIR" talk
	have_want "redirected messages, both under it" "$(counter redirected_messages)" -eq 200

	serve "$BOX_TMP/port" in_box -- talk
	in_child "$PAIR" --port "$(cat "$BOX_TMP/port")" talk call
	have_want "clients refused" "$(counter refused_remote)" -eq 1
	serve "$BOX_TMP/port2" in_child -- talk
	in_box "$PAIR" --port "$(cat "$BOX_TMP/port2")" talk call
	have_want "servers refused" "$(counter refused_no_client)" -eq 1
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	have_want "admitted" "$(counter admitted_active admitted_passive)" -eq 2

	run -0 in_box "$ROOT/status.sh"
	output_has "$CHILD"
	unload_pair
	have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$CHILD")" = ""
	rmdir "$BOX_CGROUP/child"
}

@test "--cgroup: unload.sh is no error when the cgroup has been removed" {
	child_up
	load_pair --cgroup "$CHILD"
	rmdir "$BOX_CGROUP/child"
	run -1 load_pair
	run -0 unload_pair
	output_has unloaded
	assert_no_pins
}

@test "--cgroup: where the cgroup cannot be seen, unload.sh says so, and does the rest where it can" {
	child_up
	load_pair --cgroup "$CHILD"
	in_box mount -t tmpfs none "$CHILD"
	run -1 unload_pair
	output_has "switched off, but still attached: the cgroup with the inode number" \
		"cannot be seen from here"
	output_lacks unloaded
	in_box umount "$CHILD"
	run -1 load_pair --cgroup "$CHILD"
	output_has unload.sh
	run -0 unload_pair
	output_has unloaded
	assert_no_pins
	have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$CHILD")" = ""
	rmdir "$BOX_CGROUP/child"
}

@test "--cgroup: one that is 40 levels deep, and unload.sh finds it" {
	local deep=deep i
	for i in {1..39}; do
		deep+=/d
	done
	mkdir -p "$BOX_CGROUP/$deep"
	load_pair --cgroup "$(box_root)/$deep"
	run -0 unload_pair
	output_has unloaded
	assert_no_pins
	have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$(box_root)/$deep")" = ""
}

# With a level below, all are more than 32 from the root, and two from where the pair is attached.
@test "--exclude-cgroup: levels count from where the pair is attached" {
	local deep=deep i
	for i in {1..33}; do
		deep+=/d
	done
	mkdir -p "$BOX_CGROUP/$deep"/{in,out}
	load_pair --cgroup "$(box_root)/$deep" --exclude-cgroup "$(box_root)/$deep/out"
	in_cgroup "$deep/in" "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	in_cgroup "$deep/out" "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	# One above excludes all.
	load_pair --reload --exclude-cgroup "$(box_root)/deep"
	in_cgroup "$deep/in" "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
}

@test "cgroup v2: the root is a mount of the whole, seen, and not of a part" {
	local root part=$BOX_TMP/part
	root=$(box_root)
	child_up
	mkdir "$part"
	# As some programs mount, from a source without a name; and a part, which comes first.
	in_box mount --bind "$CHILD" "$part"
	in_box umount "$root"
	in_box umount /sys/fs/bpf
	in_box python3 -c '
import ctypes, sys
mount = ctypes.CDLL(None).mount
assert not mount(b"", sys.argv[1].encode(), b"cgroup2", 0, None)
assert not mount(b"", b"/sys/fs/bpf", b"bpf", 0, b"mode=0700")' "$root"
	run -0 load_pair
	output_has "under $root,"
	have_want "file systems on /sys/fs/bpf" "$(in_box grep -c " /sys/fs/bpf bpf " /proc/self/mounts)" \
		-eq 1
	unload_pair
	# Where it is hidden, the next one that is whole.
	mkdir "$BOX_TMP/second"
	in_box mount -t cgroup2 none "$BOX_TMP/second"
	in_box mount -t tmpfs none "$root"
	run -0 load_pair
	output_has "under $BOX_TMP/second,"
	unload_pair
	in_box umount "$root"
	rmdir "$BOX_CGROUP/child"
}

@test "--cgroup: a name that begins and ends with a space, and has bytes that are not plain" {
	local dir escape=$'\e]0;title\a'
	for dir in ' a ' $'b\e]0;title\a'; do
		mkdir "$BOX_CGROUP/$dir"
		load_pair --cgroup "$(box_root)/$dir"
		in_box bash -c 'rm -rf /sys/fs/bpf/{bpf,sock_ops}_*'
		run -0 unload_pair --cgroup "$(box_root)/$dir"
		output_has unloaded
		have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$(box_root)/$dir")" = ""
		# What is said when it has gone meanwhile.
		fake bpftool "[[ \$* != 'cgroup '*tach* ]] || { rmdir '$(box_root)'/*a* '$(box_root)'/b* 2>/dev/null; echo \"Error: \$3\" >&2; exit 1; }
			exec \"\$REAL\" \"\$@\""
		run -1 with_fakes "$ROOT/load.sh" --cgroup "$(box_root)/$dir"
		[[ $output == *"Error:"* && $output != *"$escape"* ]]
		rm "$BOX_TMP/bin/bpftool"
		assert_no_pins
	done
}

@test "--cgroup: with all pins lost, unload.sh --cgroup detaches" {
	child_up
	load_pair --cgroup "$CHILD"
	in_box bash -c 'rm -rf /sys/fs/bpf/{bpf,sock_ops}_*'
	run -1 load_pair --cgroup "$CHILD"
	output_has "unload.sh --cgroup $CHILD"
	run -0 unload_pair --cgroup "$CHILD"
	have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$CHILD")" = ""
	rmdir "$BOX_CGROUP/child"
}

# assert_ports BYPASSED NOT-BYPASSED: space-separated ports.
assert_ports() {
	local port messages=0 refused=0 # the port is the server's reason, its client finds none
	for port in $1; do
		in_box "$PAIR" --port "$port" talk
		messages=$((messages + 200))
		have_want "redirected messages, port $port" "$(counter redirected_messages)" -eq "$messages"
	done
	for port in $2; do
		in_box "$PAIR" --port "$port" talk
		refused=$((refused + 1))
		have_want "redirected messages, port $port" "$(counter redirected_messages)" -eq "$messages"
		have_want "refused for the port" "$(counter refused_port)" -eq "$refused"
		have_want "clients refused" "$(counter refused_remote)" -eq "$refused"
	done
	have_want "admitted" "$(counter admitted_active admitted_passive)" -eq $((messages / 100))
}

# bats test_tags=long
@test "--exclude-cgroup: no connection with an end under it is bypassed" {
	local ends server client below shown
	child_up
	below='a\x2db, c"d' # as systemd writes a dash
	shown='a\x5cx2db,\x20c"d'
	mkdir "$BOX_CGROUP/child/$below"
	load_pair --exclude-cgroup "$CHILD" --exclude-cgroup "$CHILD/$below"
	for ends in "in_box in_child" "in_child in_box" "in_child in_child"; do
		read -r server client <<<"$ends"
		serve "$BOX_TMP/port" "$server" -- talk
		"$client" "$PAIR" --port "$(cat "$BOX_TMP/port")" talk call
		wait "$SERVER"
		have_want "redirected messages" "$(counter redirected_messages)" -eq 0
	done
	# A client that is refused is none to its server.
	have_want "refused for the cgroup" "$(counter refused_cgroup)" -eq 3
	have_want "servers without a client" "$(counter refused_no_client)" -eq 2
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	run -0 in_box "$ROOT/status.sh"
	output_has "on TCP       $CHILD, $CHILD/$shown"
	have_want "in status.sh" "$(in_box "$ROOT/status.sh" --json | jq -r '.exclude_cgroups[]')" = \
		"$CHILD"$'\n'"$CHILD/$shown"
	unload_pair
	load_pair --exclude-cgroup "$CHILD/$below"
	in_child "$PAIR" talk # above it
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	unload_pair
	rmdir "$BOX_CGROUP/child/$below" "$BOX_CGROUP/child"
}

@test "--exclude-cgroup: nobody escapes by a cgroup far below" {
	local deep=$BOX_CGROUP/child path
	child_up
	path=$CHILD
	for _ in {1..40}; do
		deep+=/d path+=/d
		mkdir "$deep"
	done
	load_pair --quiet --exclude-cgroup "$CHILD"
	in_child bash -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$path" "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 0
	have_want "refused for the cgroup" "$(counter refused_cgroup)" -ge 1
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
}

@test "--exclude-cgroup: what is no cgroup is refused" {
	run -2 load_pair --exclude-cgroup
	output_has "needs an argument"
	run -2 load_pair --exclude-cgroup /nowhere
	output_has "--exclude-cgroup: no such directory: /nowhere"
	run -2 load_pair --exclude-cgroup /proc
	output_has "--exclude-cgroup: not a directory of cgroup v2: /proc"
	assert_no_pins
}

# pair_as NAME: PAIR under that name.
pair_as() {
	cp "$PAIR" "$BOX_TMP/$1"
	echo "$BOX_TMP/$1"
}

# bats test_tags=long
@test "--exclude-program: nothing that it listens or connects with is bypassed" {
	local excluded longer ends server client options
	excluded=$(pair_as 'sixteen "letters')
	longer=$(pair_as 'sixteen "letter') # the same to the kernel
	load_pair --quiet --exclude-program 'sixteen "letters' --exclude-program other
	for options in "--listen 127.0.0.1" "--listen ::1" "--listen :: --connect 127.0.0.1" \
		--mptcp-server; do
		for ends in "$excluded|$PAIR" "$PAIR|$excluded" "$longer|$excluded" "$PAIR|$PAIR"; do
			IFS='|' read -r server client <<<"$ends"
			zero_counters
			# shellcheck disable=SC2086 # words
			PAIR=$server serve "$BOX_TMP/port" in_box -- $options talk
			# shellcheck disable=SC2086 # words
			in_box "$client" $options --port "$(<"$BOX_TMP/port")" talk call
			wait "$SERVER"
			[[ $ends != "$PAIR|$PAIR" ]] || break
			have_want "redirected, $ends, $options" "$(counter redirected_messages)" -eq 0
			have_want "refused, $ends, $options" "$(counter refused_program)" -eq 1
			have_want "others" "$(counter refused_remote refused_no_client)" -eq 1
		done
		have_want "redirected, $options" "$(counter redirected_messages)" -eq 200
	done
	run -0 in_box "$ROOT/status.sh"
	output_has 'on TCP       programs: docker-proxy, dockerd, other, ' \
		', sixteen "letter, systemd-socket-'
	have_want "in status.sh" \
		"$(in_box "$ROOT/status.sh" --json | jq -r '.exclude_programs[]' | grep -c .)" -eq 7
}

# bats test_tags=long
@test "--exclude-program: names are compared byte for byte, whatever the bytes" {
	local name names=() options=() code bytes=''
	for code in {1..255}; do
		((code == 47)) || bytes+=$(printf '\\x%02x' "$code") # a slash: in no name of a file
		if ((code % 15 == 0)); then
			printf -v name %b "$bytes"
			names+=("$name")
			options+=(--exclude-program "$name")
			bytes=''
		fi
	done
	load_pair --quiet --admit-splicing --all-connections "${options[@]}"
	for name in "${names[@]}"; do
		zero_counters
		in_box "$(pair_as "$name")" talk
		have_want "refused, $name" "$(counter refused_program)" -eq 1
		have_want "redirected, $name" "$(counter redirected_messages)" -eq 0
		in_box "$(pair_as "${name%?}~")" talk
		have_want "redirected, ${name%?}~" "$(counter redirected_messages)" -eq 200
	done
}

@test "--exclude-program: no user can fill what tells excluded sockets from others" {
	load_pair --quiet --no-guard
	in_box "${AS_USER[@]}" timeout 60 python3 -c "$(<"$ROOT/tests/programs/vain.py")" pasta 68000 \
		>"$BOX_TMP/vain" 3>&- &
	wait_until 30 "the vain connects" grep -q "68000 have connected" "$BOX_TMP/vain"
	in_box "$(pair_as docker-proxy)" talk
	have_want "refused" "$(counter refused_program)" -eq 1
	have_want "redirected" "$(counter redirected_messages)" -eq 0
	in_box "$PAIR" talk
	have_want "redirected, of others" "$(counter redirected_messages)" -eq 200
}

# Any user is root of a network namespace of his own, and can grant the sockets there no memory.
@test "--exclude-program: who leaves no memory for the mark harms no other program" {
	local size excluded
	in_box test -w /proc/sys/net/core/optmem_max || skip "no net.core.optmem_max of its own"
	excluded=$(pair_as excluded)
	load_pair --quiet --exclude-program excluded
	size=$(in_box sysctl -n net.core.optmem_max)
	in_box sysctl -qw net.core.optmem_max=16 # of each socket
	in_box "$excluded" talk                  # which leaves none for a record either
	have_want "redirected" "$(counter redirected_messages)" -eq 0
	have_want "refused" "$(counter refused_program)" -ge 1
	in_box sysctl -qw "net.core.optmem_max=$size"
	have_want "excluded cgroups" "$(in_box "$ROOT/status.sh" --json | jq -c .exclude_cgroups)" = "[]"
	in_box "$PAIR" talk
	have_want "redirected, of others" "$(counter redirected_messages)" -eq 200
	in_box "$excluded" talk
	have_want "refused" "$(counter refused_program)" -ge 1
	have_want "redirected, of others" "$(counter redirected_messages)" -eq 200
}

@test "--exclude-program: a socket that has gone leaves nothing behind for the next one" {
	local excluded other
	excluded=$(pair_as excluded)
	other=$(pair_as exclude)
	load_pair --quiet --exclude-program excluded --all-connections
	for _ in {1..20}; do # the kernel gives the same memory to the next socket
		in_box "$excluded" talk
		in_box "$other" talk
	done
	have_want "refused" "$(counter refused_program)" -eq 20
	have_want "redirected" "$(counter redirected_messages)" -eq $((20 * 200))
}

@test "--exclude-program: a thread with a name of its own is of its program" {
	load_pair --quiet --exclude-program python3
	in_box socat TCP-LISTEN:7002,bind=127.0.0.1,reuseaddr EXEC:cat 3>&- &
	wait_until 10 "socat" listens 7002
	in_box python3 - <<-END
		import socket, threading
		def call():
		    open(f"/proc/self/task/{threading.get_native_id()}/comm", "w").write("worker")
		    with socket.create_connection(("127.0.0.1", 7002)) as s:
		        s.sendall(b"hello")
		        s.shutdown(socket.SHUT_WR)
		        print(s.recv(100), open(f"/proc/self/task/{threading.get_native_id()}/comm").read())
		thread = threading.Thread(target=call)
		thread.start()
		thread.join()
	END
	have_want "refused" "$(counter refused_program)" -eq 1
	have_want "redirected" "$(counter redirected_messages)" -eq 0
}

# bats test_tags=long
@test "--exclude-program: what listens already stays on TCP by the cgroup of its listener" {
	local server port how pid
	server=$(pair_as excluded)
	for how in running moved removed; do
		child_up
		serve_in_child "$server"
		port=$(<"$BOX_TMP/port")
		pid=$(<"$BOX_CGROUP/child/cgroup.procs")
		if [[ $how != running ]]; then # as one that systemd has made the listener for
			echo "$pid" >"$BOX_CGROUP/cgroup.procs"
		fi
		if [[ $how == removed ]]; then
			rmdir "$BOX_CGROUP/child"
		fi
		run -0 load_pair --quiet --exclude-program excluded --admit-splicing
		if [[ $how == removed ]]; then
			output_has "stays on TCP, because it is excluded by name: excluded (pid $pid), and all of cgroup" "which was removed"
		else
			output_has "stays on TCP, because it is excluded by name: excluded (pid $pid), and all of $CHILD"
		fi
		in_box "$PAIR" --port "$port" talk call
		wait "$SERVER"
		have_want "redirected, $how" "$(counter redirected_messages)" -eq 0
		in_box "$PAIR" talk
		have_want "redirected, of others" "$(counter redirected_messages)" -eq 200
		unload_pair
		[[ $how == removed ]] || rmdir "$BOX_CGROUP/child"
	done
}

# serve_in_child PROGRAM
serve_in_child() {
	PAIR=$1 serve "$BOX_TMP/port" in_child -- talk
}

@test "splice: without the guard a docker-proxy that is started later stays on TCP" {
	local name
	load_pair --quiet --no-guard
	for name in docker-proxy dockerd systemd-socket-proxyd; do
		in_box "$(pair_as "$name")" talk
	done
	have_want "refused" "$(counter refused_program)" -eq 3
	unload_pair
	load_pair --quiet --no-guard --admit-splicing
	in_box "$BOX_TMP/docker-proxy" talk
	have_want "redirected" "$(counter redirected_messages)" -eq 200
}

# bats test_tags=long
@test "splice: without the guard HAProxy that splices stays on TCP, and is named" {
	local backend proxy
	chmod 755 "$BOX_TMP" # what not everybody can read counts as splicing
	child_up
	serve "$BOX_TMP/port" in_box -- --seed 3 --count 6 --size 300000 turns
	backend=$(cat "$BOX_TMP/port")
	printf '%s\n' defaults ' mode tcp' ' option splice-auto' ' option splice-request' \
		' option splice-response' \
		' timeout connect 10s' ' timeout client 60s' ' timeout server 60s' \
		'listen front' ' bind 127.0.0.1:7001' " server back 127.0.0.1:$backend" >"$BOX_TMP/haproxy.cfg"
	in_child haproxy -db -f "$BOX_TMP/haproxy.cfg" >"$BOX_TMP/haproxy" 2>&1 3>&- &
	wait_until 10 "HAProxy" listens 7001
	proxy=$(in_box cat "$CHILD/cgroup.procs" | head -n 1)
	run -0 load_pair --no-guard
	output_has "stays on TCP, because it reads with splice(2): haproxy (pid $proxy), and all of $CHILD"
	in_box "$PAIR" --seed 3 --count 6 --size 300000 --port 7001 turns call
	wait "$SERVER"
	have_want "servers admitted" "$(counter admitted_passive)" -eq 0
	have_want "redirected messages" "$(counter redirected_messages)" -eq 0
	unload_pair

	run -0 load_pair --no-guard --admit-splicing
	output_lacks haproxy
	unload_pair
	# It does what it has read.
	sed -i '/splice/d' "$BOX_TMP/haproxy.cfg"
	run -0 load_pair --no-guard
	output_has "its configuration cannot be read, or has changed: haproxy (pid $proxy), and all of $CHILD"
	unload_pair
	kill "$proxy"
	in_child haproxy -db -f "$BOX_TMP/haproxy.cfg" >"$BOX_TMP/haproxy" 2>&1 3>&- &
	wait_until 10 "HAProxy" eval 'proxy=$(in_box cat "$CHILD/cgroup.procs" | head -n 1) && listens 7001'
	run -0 load_pair --no-guard
	output_lacks haproxy
	unload_pair
	# By its name in any case.
	run -0 load_pair --no-guard --exclude-program haproxy
	output_has "stays on TCP, because it is excluded by name: haproxy (pid $proxy), and all of $CHILD"
}

both_run() {
	pid_of systemd-socket- >/dev/null &&
		[[ $(sed 's,.*,/proc/&/comm,' "$BOX_CGROUP/child/cgroup.procs" | xargs cat | grep -cx docker-proxy) -eq 70 ]]
}

# bats test_tags=long
@test "splice: docker-proxy and systemd-socket-proxyd are known, in a cgroup of their own or not" {
	local name full=()
	child_up
	for name in docker-proxy systemd-socket-proxyd; do
		cp "$(command -v sleep)" "$BOX_TMP/$name"
	done
	for _ in {1..70}; do # one for each published port
		in_child "$BOX_TMP/docker-proxy" 60 3>&- &
	done
	in_box "$BOX_TMP/systemd-socket-proxyd" 60 3>&- &
	wait_until 5 "both" both_run
	run -0 load_pair --no-guard
	output_has "stays on TCP, because it reads with splice(2): docker-proxy" "and all of $CHILD"
	[[ $output == *"systemd-socket- (pid "*" has no cgroup that could be excluded, "* ]]
	have_want "lines about docker-proxy" "$(grep -c "docker-proxy (pid" <<<"$output")" -eq 1
	have_want "in status.sh" "$(in_box "$ROOT/status.sh" --json | jq -c .exclude_cgroups)" = \
		"[\"$CHILD\"]"
	unload_pair
	# A load.sh with fewer places.
	copy_project "$BOX_TMP/few"
	cp -r "$ROOT/build" "$BOX_TMP/few"
	sed -i 's/^MAX_CGROUPS=.*/MAX_CGROUPS=4/' "$BOX_TMP/few/lib/scope.sh"
	for name in {1..4}; do
		mkdir "$BOX_CGROUP/full$name"
		full+=(--exclude-cgroup "${CHILD%/*}/full$name")
	done
	run -0 in_box "$BOX_TMP/few/load.sh" --no-guard "${full[@]}"
	output_has "stays on TCP, as more than 4 cgroups would have to be excluded: whatever listens already"
	in_box "$PAIR" talk # listens from now on
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	rmdir "$BOX_CGROUP"/full*
}

@test "where a PID namespace hides programs, all that listens already stays on TCP" {
	local name others=()
	in_box mount -t bpf -o mode=0700 bpf /sys/fs/bpf
	in_box socat TCP4-LISTEN:7001,fork exec:cat 3>&- 8>&- &
	wait_until 5 "it to listen" in_box bash -c 'ss -ltn | grep -q :7001'
	run -0 in_box unshare --pid --fork --mount-proc "$ROOT/load.sh" --no-guard
	output_has "stays on TCP, as programs of other PID namespaces cannot be seen: whatever listens already"
	have_want "an echo" "$(echo hello | in_box nc -N 127.0.0.1 7001)" = hello
	in_box "$PAIR" talk # listens from now on
	have_want "admitted" "$(counter admitted_passive)" -eq 1
	# Nor are they seen at a reload, in which what listens by now goes on.
	in_box socat TCP4-LISTEN:7002,fork exec:cat 3>&- 8>&- &
	wait_until 5 "it to listen" in_box bash -c 'ss -ltn | grep -q :7002'
	run -0 in_box unshare --pid --fork --mount-proc "$ROOT/load.sh" --reload --no-guard
	output_has "programs of other PID namespaces cannot be seen: what listened at the load"
	have_want "an echo" "$(echo hello | in_box nc -N 127.0.0.1 7001)" = hello
	have_want "admitted" "$(counter admitted_passive)" -eq 1
	have_want "an echo" "$(echo hello | in_box nc -N 127.0.0.1 7002)" = hello
	have_want "admitted" "$(counter admitted_passive)" -eq 2
	# But not what may have a name that is excluded only now, or was by one that was killed.
	fail_at '"map update pinned /sys/fs/bpf/sock_ops_config"*' "$KILL"
	# (Not as the first process there, which cannot be killed from inside.)
	run ! with_fakes unshare --pid --fork --mount-proc bash -c '"$@"; exit' bash "$ROOT/load.sh" \
		--reload --no-guard --exclude-program socat
	rm "$BOX_TMP/bin/bpftool"
	run -0 in_box unshare --pid --fork --mount-proc "$ROOT/load.sh" --reload --no-guard \
		--exclude-program socat
	output_has "programs of other PID namespaces cannot be seen: whatever listens already"
	have_want "an echo" "$(echo hello | in_box nc -N 127.0.0.1 7002)" = hello
	have_want "admitted" "$(counter admitted_passive)" -eq 2
	# Nor what may be called haproxy, where the reload brings only that name.
	unload_pair
	for name in systemd-socket- pasta passt.avx2 docker-proxy dockerd; do
		others+=(--exclude-program "$name")
	done
	run -0 in_box unshare --pid --fork --mount-proc "$ROOT/load.sh" --no-guard --admit-splicing \
		"${others[@]}"
	run -0 in_box unshare --pid --fork --mount-proc "$ROOT/load.sh" --reload --no-guard
	output_has "programs of other PID namespaces cannot be seen: whatever listens already"
}

@test "--port: only connections to these ports are bypassed" {
	load_pair --port 7000,7010-7012
	assert_ports "7000 7010 7011 7012" "6999 7001 7009 7013"
	# It is the listening side that counts.
	in_box "$PAIR" --port 6999 --client-port 7000 talk
	have_want "admitted" "$(counter admitted_active admitted_passive)" -eq 8
}

@test "--port: several lists add up" {
	load_pair --port 7000 --port 7002
	assert_ports "7000 7002" "7001"
}

@test "--exclude-port: all ports but these are bypassed" {
	load_pair --exclude-port 7000,7010-7012
	assert_ports "6999 7001 7009 7013" "7000 7010 7011 7012"
}

@test "--exclude-port: counts whatever --port says" {
	load_pair --port 7000-7010 --exclude-port 7005
	assert_ports "7000 7004 7006 7010" "7005 7011"
}

@test "--port: as many ports and ranges as promised" {
	load_pair --port "$(seq -s, 7001 2 7127)" # 64 of them
	assert_ports "7001 7127" "7128 7002"
	unload_pair
	run -2 load_pair --port "$(seq -s, 7001 2 7129)"
	output_has "more than 64"
}

# bats test_tags=long
@test "--quiet: no trace lines" {
	in_box timeout 0.5 cat /sys/kernel/tracing/trace_pipe >/dev/null || true
	in_box cat /sys/kernel/tracing/trace_pipe >"$BOX_TMP/trace" 3>&- &
	load_pair --quiet
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	unload_pair
	load_pair # the twin, and a mark that the trace has been read so far
	in_box "$PAIR" --port 7123 talk
	wait_until 3 "a trace line" grep -q -- '-->7123$' "$BOX_TMP/trace"
	have_want "connections in the trace" "$(grep -c 'Active connect' "$BOX_TMP/trace")" -eq 1
	run -0 in_box "$ROOT/status.sh"
	output_has "trace        on"
}

@test "arguments: a list of ports is no pattern of files, and no list of words" {
	local list
	touch "$BOX_TMP/8080"
	for list in '[78]*' '8080 8081' ' ' $'80\n81'; do
		run -2 in_box env -C "$BOX_TMP" "$ROOT/load.sh" --port "$list"
		output_has "--port: not a port or a range: " --help
		assert_no_pins
	done
}

@test "arguments: a cgroup that systemd removes when its service stops is named as that" {
	mkdir "$BOX_CGROUP/a.service"
	run -0 load_pair --exclude-cgroup "$(box_root)/a.service/"
	output_has "--exclude-cgroup: systemd removes the cgroup of a service" "it is not excluded then" \
		"a.service"
	unload_pair
	run -0 load_pair --cgroup "$(box_root)/a.service"
	output_has "--cgroup: systemd removes the cgroup of a service" "nothing is attached then"
	rmdir "$BOX_CGROUP/a.service"
	run -0 in_box "$ROOT/status.sh"
	output_has "if the cgroup was removed" "no new connection is" "unload.sh, then load.sh"
	run -0 unload_pair
	assert_no_pins
}

@test "--exclude-cgroup: by a symbolic link" {
	child_up
	in_box ln -s "$CHILD" "$BOX_TMP/child"
	load_pair --exclude-cgroup "$BOX_TMP/child"
	have_want "cgroups" "$(in_box "$ROOT/status.sh" --json | jq -c .exclude_cgroups)" = "[\"$CHILD\"]"
	rmdir "$BOX_CGROUP/child"
}

@test "arguments: what is wrong is named, and nothing changes" {
	local line script argument want
	while IFS='|' read -r script argument want; do
		# shellcheck disable=SC2086 # words
		run -2 in_box "$ROOT/$script" $argument
		[[ $output == *"$want"*"--help"* ]] || {
			echo "$script $argument: $output" >&2
			return 1
		}
		assert_no_pins
	done <<-END
		load.sh|--port|--port needs an argument
		load.sh|--port x|--port: not a port or a range: x
		load.sh|--port 80,|--port: not a list of ports: 80,
		load.sh|--port 80,,81|--port: not a list of ports
		load.sh|--port 0|--port: ports are from 1 to 65535: 0
		load.sh|--port 65536|--port: ports are from 1 to 65535: 65536
		load.sh|--port 99999999999999999999|--port: ports are from 1 to 65535
		load.sh|--port 90-80|--port: the range ends before it begins: 90-80
		load.sh|--exclude-port -5|--exclude-port: not a port or a range: -5
		load.sh|--exclude-port 80-|--exclude-port: not a port or a range: 80-
		load.sh|--exclude-program|--exclude-program needs an argument
		load.sh|--exclude-program /bin/nc|--exclude-program: not a name as in /proc/PID/comm: /bin/nc
		load.sh|--cgroup|--cgroup needs an argument
		load.sh|--cgroup /no/such|--cgroup: no such directory: /no/such
		load.sh|--cgroup /proc|--cgroup: not a directory of cgroup v2: /proc
		load.sh|80|unknown argument: 80
		unload.sh|--timeout soon|--timeout: not a number of seconds: soon
		unload.sh|--timeout -1|--timeout: not a number of seconds: -1
		unload.sh|--cgroup /no/such|--cgroup: no such directory: /no/such
		unload.sh|--cgroup /proc|--cgroup: not a directory of cgroup v2: /proc
		unload.sh|now|unknown argument: now
		status.sh|--watch 0|--watch: not a number of seconds from 1: 0
		status.sh|--json --watch|exclude each other
		status.sh|-x|unknown argument: -x
	END
	# Not the root, as without it: a variable may not be set.
	run -2 in_box "$ROOT/load.sh" --cgroup ""
	output_has "--cgroup: no such directory: "
}

@test "arguments: --help needs no root and names every option" {
	local script option
	chmod 755 "$BOX_TMP" # the checkout may be where only root can read
	copy_project "$BOX_TMP/copy"
	for script in load.sh unload.sh status.sh; do
		run -0 in_box setpriv --reuid 65534 --clear-groups "$BOX_TMP/copy/$script" --help
		output_has SYNOPSIS "./$script" "EXIT STATUS"
		for option in \
			$(sed -n 's/^\t*\(--[a-z-]*\)).*/\1/p; s/^\t*\(--.*\) | \(--.*\))$/\1 \2/p' "$ROOT/$script" | tr -d '|'); do
			output_has "    $option"
		done
	done
}
