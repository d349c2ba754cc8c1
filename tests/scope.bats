#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Which connections load.sh was told to accelerate: by cgroup and by port.  For
# each that is, a twin that is not and never enters the map.

bats_require_minimum_version 1.5.0
load sandbox.bash

box_each_test

# in_child COMMAND...: in a cgroup below the sandbox's root.
in_child() {
	(
		echo "$BASHPID" >"$BOX_CGROUP/child/cgroup.procs"
		exec nsenter --target "$BOX_PID" --cgroup --mount --net -- "$@"
	)
}

child_up() {
	mkdir "$BOX_CGROUP/child"
	CHILD=$(box_root)/child
}

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

@test "--cgroup: with all pins lost, unload.sh --cgroup detaches" {
	child_up
	load_pair --cgroup "$CHILD"
	in_box rm /sys/fs/bpf/{bpf_sockops,bpf_tcpip_bypass,sock_ops_{map,record,meet,stats,config,ports}}
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
		load.sh|--port x|--port: not a port or a range: 'x'
		load.sh|--port 80,|--port: not a list of ports: '80,'
		load.sh|--port 80,,81|--port: not a list of ports
		load.sh|--port 0|--port: ports are from 1 to 65535: '0'
		load.sh|--port 65536|--port: ports are from 1 to 65535: '65536'
		load.sh|--port 99999999999999999999|--port: ports are from 1 to 65535
		load.sh|--port 90-80|--port: the range ends before it begins: '90-80'
		load.sh|--exclude-port -5|--exclude-port: not a port or a range: '-5'
		load.sh|--exclude-port 80-|--exclude-port: not a port or a range: '80-'
		load.sh|--cgroup|--cgroup needs an argument
		load.sh|--cgroup /no/such|--cgroup: no such directory: /no/such
		load.sh|--cgroup /proc|--cgroup: not a directory of cgroup v2: /proc
		load.sh|80|unknown argument: 80
		unload.sh|--timeout soon|--timeout: not a number of seconds: 'soon'
		unload.sh|--timeout -1|--timeout: not a number of seconds: '-1'
		unload.sh|--cgroup /no/such|--cgroup: no such directory: /no/such
		unload.sh|now|unknown argument: now
		status.sh|--watch 0|--watch: not a number of seconds from 1: '0'
		status.sh|--json --watch|exclude each other
		status.sh|-x|unknown argument: -x
	END
}

@test "arguments: --help needs no root and names every option" {
	local script option
	chmod 755 "$BOX_TMP" # the checkout may be where only root can read
	cp "$ROOT"/*.sh "$BOX_TMP"
	for script in load.sh unload.sh status.sh; do
		run -0 in_box setpriv --reuid 65534 --clear-groups "$BOX_TMP/$script" --help
		output_has SYNOPSIS "./$script" "EXIT STATUS"
		for option in $(sed -n 's/^\t*\(--[a-z-]*\)).*/\1/p; s/^\t*\(--.*\) | \(--.*\))$/\1 \2/p' "$ROOT/$script" | tr -d '|'); do
			output_has "    $option"
		done
	done
}
