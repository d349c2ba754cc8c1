#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# The container of docs/kubernetes.yaml, run by crun from the OCI configuration that tests/oci.py
# makes of the manifest: its own mount, IPC, UTS and cgroup namespaces, a root file system that is
# read-only, and the capabilities and the AppArmor profile of the manifest.  In a guest of
# tests/kernels.sh alone, where AppArmor is on.

bats_require_minimum_version 1.5.0
load ../sandbox.bash
load ../pods.bash

setup() {
	local dir
	box_up
	have_want "AppArmor is on" "$(</sys/module/apparmor/parameters/enabled)" = Y
	"$ROOT/build/default-profile"
	mkdir -p "$BOX_TMP"/root/{usr,proc,sys,dev,tmp,run,etc} /usr/lib/tcpip-bypass
	for dir in bin sbin lib lib64; do
		ln -s "usr/$dir" "$BOX_TMP/root/$dir"
	done
	in_box mount --bind "$ROOT" /usr/lib/tcpip-bypass
	in_box mount --rbind /usr "$BOX_TMP/root/usr"
}

teardown() {
	local name
	[[ -n ${BATS_TEST_COMPLETED:-} ]] || tail -n 20 "$BOX_TMP"/*.log >&2
	for name in a b; do
		crun_in_box delete --force "$name" 2>/dev/null || true
	done
	box_down
}

crun_in_box() {
	in_box crun --root /run/crun --cgroup-manager cgroupfs "$@"
}

# start NAME OPTIONS [CONFIGURATION]: its container, until that ends.
start() {
	mkdir -p "$BOX_TMP/$1"
	sed "s|@ROOT@|$BOX_TMP/root|; s|@CGROUP@|/kubepods/$1|; s|OPTIONS=|&$2|" "$ROOT/${3:-oci.json}" \
		>"$BOX_TMP/$1/config.json"
	# The guest's root file system is none that can be pivoted away from.
	crun_in_box run --no-pivot --bundle "$BOX_TMP/$1" "$1" >"$BOX_TMP/$1.log" 2>&1 3>&-
}

# pod NAME OPTIONS: until it is ready.
pod() {
	start "$@" &
	wait_until 15 "$1 to be ready" is_ready "$1"
}

in_pod() {
	crun_in_box exec "$1" "${@:2}"
}

# status_in NAME FILTER
status_in() {
	in_pod "$1" /usr/lib/tcpip-bypass/status.sh --json | jq -r "$2"
}

is_ready() {
	in_pod "$1" /bin/bash /usr/lib/tcpip-bypass/lib/pod.sh --loaded 2>/dev/null
}

# end_pod NAME SIGNAL: and what it says at its end.
end_pod() {
	crun_in_box kill "$1" "$2"
	wait_until 15 "$1 to end" has_ended "$1"
	crun_in_box delete --force "$1" 2>/dev/null || true
}

has_ended() {
	[[ $(crun_in_box list 2>/dev/null) != *"$1 "*running* ]]
}

has_in_map() {
	[[ $(in_map) -eq $1 ]]
}

# names PROGRAM: as status.sh shows the one that runs in each of these pods.
names() {
	echo "$1/$(<"$BOX_CGROUP/kubepods/pod1/cgroup.procs") $1/$(<"$BOX_CGROUP/kubepods/pod2/cgroup.procs")"
}

@test "pod: loads, with the guard; the next one takes over, and connections stay on the bypass" {
	local talk messages
	pods_up
	nat_up
	pod a ""
	[[ ! -s /sys/kernel/security/lsm || $(uname -r) == 5.* ]] || grep -q "^guard: " "$BOX_TMP/a.log"
	# By a pod's address, and by that of a Service.
	through pod1 pod2 10.244.2.2 10.244.2.2 7000 7000 talk
	through pod1 pod2 10.244.2.2 10.96.0.1 80 7000 talk
	have_want "admitted" "$(counter admitted_active admitted_passive)" -eq 4
	have_want "redirected messages" "$(counter redirected_messages)" -eq 400
	have_want "redirected bytes" "$(counter redirected_bytes)" -gt 200000
	have_want "messages over TCP" "$(counter passed_messages)" -eq 0
	# This one goes on talking.
	through pod1 pod2 10.244.2.2 10.96.0.1 80 7000 --until "$BOX_TMP/until" end-of-stream 3>&- &
	talk=$!
	wait_until 5 "the connection" has_in_map 2
	have_want "programs" "$(status_in a '.connections[0] | .client.program + " " + .server.program')" \
		= "$(names pair)"
	hold_many 10 1
	messages=$(counter redirected_messages)
	pod b "--exclude-port 7001"
	end_pod a TERM
	grep -q "another pod goes on" "$BOX_TMP/a.log"
	have_want "messages meanwhile" "$(counter redirected_messages)" -gt $((messages + 4))
	many_talk 1
	have_want "on the bypass" "$(in_map)" -eq 22
	have_want "ports" "$(status_in b '.exclude_ports[]')" = 7001
	# Its container is started again.
	end_pod b KILL
	pod a ""
	have_want "on the bypass" "$(in_map)" -eq 22
	have_want "messages over TCP" "$(counter passed_messages)" -eq 0
	end_pod a TERM
	grep -q "^connections taken off the bypass: 11" "$BOX_TMP/a.log"
	many_talk 2
	exec 8>&-
	wait "$MANY"
	touch "$BOX_TMP/until"
	wait "$talk"
	assert_no_pins
}

@test "pod: under the runtime's default profile it says what denies it, and what mends it" {
	local denial="; AppArmor's profile cri-containerd.apparmor.d may deny it: on Kubernetes set appArmorProfile to Unconfined"
	run -1 start a "" oci-default.json
	grep "cannot write to /sys/fs/bpf$denial" "$BOX_TMP/a.log"
	run -1 in_box aa-exec -p cri-containerd.apparmor.d -- "$ROOT/load.sh"
	output_has "failed to pin map: Permission denied" "the kernel refuses bpf_sockops$denial"
	assert_no_pins
}
