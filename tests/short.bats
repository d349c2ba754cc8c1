#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Short connections (accounts.h): a process whose connections to a server end after an answer
# or two soon makes them over TCP; nobody else does.

bats_require_minimum_version 1.5.0
load sandbox.bash
box_each_test

short() {
	in_box timeout 60 python3 "$ROOT/tests/programs/short.py" "$@"
}

BUDGET=48 # SHORT_BUDGET, in a window of 1.07 s

# Accounts that short connections have been charged to.
accounts() {
	in_box bpftool -j map dump pinned /sys/fs/bpf/sock_ops_accounts |
		jq '[.[:-1][] | select(.value[:8] | any(. != "0x00"))] | length' # the last one is no account
}

# assert_left_to_tcp COUNT: of so many connections, made in SECONDS, only the budgets of these
# windows were admitted.
assert_left_to_tcp() {
	local admitted accounts windows=$((SECONDS + 2))
	admitted=$(counter admitted_passive)
	accounts=$(accounts)
	# Where ksoftirqd handles a part of a handshake, the process has another account then.
	have_want "accounts" "$accounts" -ge 1
	have_want "accounts" "$accounts" -le 2
	have_want "admitted" "$admitted" -ge "$BUDGET"
	have_want "admitted" "$admitted" -le $((BUDGET * windows * accounts))
	have_want "left to TCP" "$(counter refused_short)" -gt 0
	have_want "servers refused" "$(counter refused_short refused_no_client)" -eq $(($1 - admitted))
	have_want "clients that found nothing" "$(counter refused_remote)" \
		-eq $(($1 - $(counter admitted_active)))
}

# bats test_tags=long
@test "short connections: are left to TCP once they have spent their budget, however they end" {
	local kind
	for kind in "300 "{client,server,client-reset,server-reset} "--ipv6 300 client"; do
		load_pair --quiet >/dev/null 2>&1
		SECONDS=0
		# shellcheck disable=SC2086 # words
		have_want "$kind" "$(short $kind)" -eq 300
		assert_left_to_tcp 300
		unload_pair >/dev/null 2>&1
	done
}

@test "short connections: those of build/many, with and without --all-connections" {
	load_pair --quiet >/dev/null 2>&1
	SECONDS=0
	in_box "$ROOT/build/many" --churn 300
	assert_left_to_tcp 300
	unload_pair >/dev/null 2>&1
	load_pair --quiet --all-connections >/dev/null 2>&1
	in_box "$ROOT/build/many" --churn 300
	have_want "clients admitted" "$(counter admitted_active)" -eq 300
	# One that sends before the last packet of its handshake is handled stays on TCP: in a slow guest,
	# where ksoftirqd waits for its turn.
	have_want "servers admitted" "$(counter admitted_passive)" -ge 295
	have_want "those whose client was faster" "$(counter refused_no_client)" \
		-eq $((300 - $(counter admitted_passive)))
}

@test "short connections: an answer in several sends is one answer" {
	load_pair --quiet >/dev/null 2>&1
	SECONDS=0
	have_want "connections" "$(short --answer 50 --parts 5 300 client)" -eq 300
	assert_left_to_tcp 300
}

@test "short connections: those with three requests are none" {
	load_pair --quiet
	have_want "connections" "$(short --requests 3 300 client)" -eq 300
	have_want "admitted" "$(counter admitted_passive)" -eq 300
	have_want "messages" "$(counter redirected_messages)" -eq 1800
}

@test "short connections: --all-connections admits them" {
	load_pair --quiet --all-connections
	have_want "in status.sh" "$(in_box "$ROOT/status.sh" --json | jq .all_connections)" = true
	have_want "connections" "$(short 300 client)" -eq 300
	have_want "admitted" "$(counter admitted_passive)" -eq 300
	have_want "left to TCP" "$(counter refused_short)" -eq 0
}

@test "short connections: a long one of the same program pays for them" {
	load_pair --quiet
	have_want "connections" "$(short --beside 64 300 client)" -eq 300
	have_want "admitted" "$(counter admitted_passive)" -eq 301
	have_want "left to TCP" "$(counter refused_short)" -eq 0
}

more_than() {
	[[ $(counter "$1") -gt $2 ]]
}

# most_of_one_program: of the connections on the bypass, those of the program that has most.
most_of_one_program() {
	in_box "$ROOT/status.sh" --json |
		jq '[.connections[] | select(.client.program != null)] | group_by(.client.program) | map(length) | max'
}

# bats test_tags=long
@test "short connections: beside a storm of them another program's are admitted" {
	local storm
	load_pair --quiet
	short --serve >"$BOX_TMP/port" 3>&- &
	wait_until 5 "the server" test -s "$BOX_TMP/port"
	short --connect "$(<"$BOX_TMP/port")" 1000000 client >/dev/null 3>&- &
	storm=$!
	wait_until 5 "the storm" more_than refused_short 300
	mkfifo "$BOX_TMP/go"
	short --connect "$(<"$BOX_TMP/port")" --requests 10 --hold 100 client <"$BOX_TMP/go" \
		>"$BOX_TMP/other" 3>&- &
	exec 8>"$BOX_TMP/go"
	wait_until 10 "the other program" grep -q held "$BOX_TMP/other"
	have_want "connections of the other program on the bypass" "$(most_of_one_program)" -eq 100
	# And the storm is given another chance in each window.
	wait_until 5 "another window" more_than admitted_passive $((100 + 3 * BUDGET))
	kill "$storm" 2>/dev/null || true
	exec 8>&-
	wait_until 10 "the other program's end" grep -q 100 "$BOX_TMP/other"
}

# bats test_tags=long
@test "short connections: a stranger cannot spend the budget of a process that he has chosen" {
	local netns
	load_pair --quiet
	short --serve >"$BOX_TMP/port" 3>&- &
	wait_until 5 "the server" test -s "$BOX_TMP/port"
	mkfifo "$BOX_TMP/go" "$BOX_TMP/aims"
	in_box bash -c 'echo $$ >"$1/pid"; read -r; exec python3 "$0" --connect "$(<"$1/port")" --requests 10 --hold 100 client' \
		"$ROOT/tests/programs/short.py" "$BOX_TMP" <"$BOX_TMP/go" >"$BOX_TMP/chosen" 3>&- &
	exec 8>"$BOX_TMP/go"
	wait_until 5 "the chosen process" test -s "$BOX_TMP/pid"
	netns=$(in_box stat -L -c %i /proc/self/ns/net)
	# In a network namespace of his own.
	in_box unshare --net bash -euc 'ip link set lo up; exec "$@"' - "${AS_USER[@]}" \
		timeout 60 python3 -c "$(<"$ROOT/tests/programs/aim.py")" "$netns" "$(<"$BOX_TMP/port")" "$(<"$BOX_TMP/pid")" \
		<"$BOX_TMP/aims" >"$BOX_TMP/stranger" 3>&- 8>&- &
	exec 9>"$BOX_TMP/aims"
	wait_until 10 "the stranger" more_than refused_short 100
	echo >&8
	wait_until 20 "the chosen process" grep -q held "$BOX_TMP/chosen"
	have_want "its connections on the bypass" "$(most_of_one_program)" -eq 100
	exec 8>&- 9>&-
	wait_until 10 "its end" grep -q 100 "$BOX_TMP/chosen"
}

# bats test_tags=long
@test "short connections: nor for long, if he has found out what shares it" {
	local count bypassed said
	load_pair --quiet
	# shellcheck disable=SC2046 # two words
	mapfile -t said < <(in_box timeout 40 python3 "$ROOT/tests/programs/found_out.py" \
		$(secret | jq -r '[.[0:8], .[8:16] | map(ltrimstr("0x")) | reverse | "0x" + add] | .[]' | xargs printf '%u '))
	read -r count bypassed <<<"${said[0]}"
	have_want "of $count on the bypass in this epoch" "$bypassed" -lt $((count / 2))
	read -r count bypassed <<<"${said[1]}"
	have_want "of $count in the next one" "$bypassed" -gt $((count * 9 / 10))
}

@test "short connections: nor that of the program in whose time his handshakes end" {
	load_pair --quiet
	mkfifo "$BOX_TMP/go"
	in_box python3 "$ROOT/tests/programs/delayed.py" <"$BOX_TMP/go" >"$BOX_TMP/said" 3>&- &
	exec 8>"$BOX_TMP/go"
	wait_until 30 "its own connections" grep -q held "$BOX_TMP/said"
	have_want "its connections on the bypass" "$(most_of_one_program)" -eq 20
	exec 8>&-
}

# Its client resets the connection later; the record of its server is memory of a stranger then.
@test "short connections: no memory that was a record's decides which budget is spent" {
	local before
	load_pair --quiet
	before=$(secret)
	stale reset 2400 4096 # the secret's place
	have_want "admitted" "$(counter admitted_passive)" -eq 2400
	have_want "the secret" "$(secret)" = "$before"
	have_want "accounts" "$(accounts)" -le 2
}

secret() {
	in_box bpftool -j map lookup pinned /sys/fs/bpf/sock_ops_accounts key hex 00 10 00 00 |
		jq -c .value
}
