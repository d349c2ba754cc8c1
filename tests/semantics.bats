#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# What a program sees of its sockets under the pair is what it sees on plain TCP,
# apart from what docs/limits.md lists.  Every case of tests/semantics/ is played twice,
# in two sandboxes: without the pair, and with it.  The transcripts may differ in
# the lines of semantics.expected, and must differ there.  The guard is left out: it has tests of
# its own (guest/guard.bats).

bats_require_minimum_version 1.5.0
load sandbox.bash

EXPECTED=$ROOT/tests/semantics.expected

# Sandboxes for each of the two plays: the cases mostly sleep.
SHARDS=3

# play HOW SHARD: every SHARDS-th case; beside each transcript NAME its exit
# status, NAME.status, and, under the pair, the messages redirected, NAME.redirected.
play() {
	local dir=$PLAYED/$1 name before=0 now=0 i=0
	while read -r name _; do
		((i++ % SHARDS == $2)) || continue
		in_box "$ROOT/build/semantics" "$name" >"$dir/$name" 2>"$dir/$name.err" &&
			echo 0 >"$dir/$name.status" || echo $? >"$dir/$name.status"
		[[ $1 == loaded ]] || continue
		now=$(counter redirected_messages)
		echo $((now - before)) >"$dir/$name.redirected"
		before=$now
	done < <("$ROOT/build/semantics" --list)
}

play_in_box() {
	box_up || return
	if [[ $1 == plain ]] || load_pair --quiet --no-guard --admit-splicing >"$PLAYED/load.$2" 2>&1; then
		play "$1" "$2"
	fi
	box_down || echo "the sandbox is still there" >&2
}

setup_file() {
	local how shard pids=()
	export PLAYED=$BATS_FILE_TMPDIR
	mkdir "$PLAYED/plain" "$PLAYED/loaded"
	for how in plain loaded; do
		for ((shard = 0; shard < SHARDS; shard++)); do
			(play_in_box "$how" "$shard" || true) >"$PLAYED/$how.$shard" 2>&1 3>&- &
			pids+=("$!")
		done
	done
	wait "${pids[@]}"
}

cases() {
	"$ROOT/build/semantics" --list | cut -d ' ' -f 1
}

# The entries of semantics.expected: `NAME ROW`.
entries() {
	sed -n 's/^\([a-z0-9_]*\): /\1 /p' "$EXPECTED"
}

row_of() {
	entries | sed -n "s/^$1 //p"
}

# The first column of the table in docs/limits.md, without what is in parentheses.
rows() {
	sed -n '/^|---/,/^$/s/^| \([^|]*[^| ]\) *|.*/\1/p' "$ROOT/docs/limits.md" |
		tr -d '`' | sed 's/ (.*//'
}

# applies ROW: does it hold on this kernel?  Its third column says so: `all`, or `before LIST`.
applies() {
	local kernels
	kernels=$(sed -n '/^|---/,/^$/p' "$ROOT/docs/limits.md" | tr -d '`' |
		awk -F ' *[|] *' -v row="$1" '{ sub(/ \(.*/, "", $2) } $2 == row { print $4 }')
	case $kernels in
	all) ;;
	"before "*)
		HERE=$ROOT bash -c '. "$HERE/lib/common.sh" && . "$HERE/lib/kernel.sh" && kernel_before "$1"' \
			bash "${kernels#before }"
		;;
	*) return 1 ;;
	esac
}

# The lines that are to differ in a case.
expected() {
	local row
	row=$(row_of "$1")
	if [[ $row ]] && applies "$row"; then
		awk -v want="$1:" '/^[a-z0-9_]+: / { on = $1 == want; next } on && /^[-+]/' "$EXPECTED"
	fi
}

differing() {
	diff -U0 "$PLAYED/plain/$1" "$PLAYED/loaded/$1" | sed '1,2d' | grep '^[-+]' || true
}

skipped() {
	[[ $(cat "$PLAYED/plain/$1.status") == 77 && $(cat "$PLAYED/loaded/$1.status") == 77 ]]
}

@test "semantics: every case is played to its end, on TCP and under the pair" {
	local name how status bad=0
	for name in $(cases); do
		for how in plain loaded; do
			status=$(cat "$PLAYED/$how/$name.status")
			case $status in
			0) ;;
			77) echo "# $how: $name: $(tail -n 1 "$PLAYED/$how/$name")" >&3 ;;
			*)
				echo "$how: $name: status $status"
				tail -n 3 "$PLAYED/$how/$name" "$PLAYED/$how/$name.err"
				bad=1
				;;
			esac
		done
	done
	((bad == 0))
}

@test "semantics: what is to be bypassed is, what is not to be is not" {
	local name path redirected bad=0
	while read -r name path _; do
		! skipped "$name" || continue
		redirected=$(cat "$PLAYED/loaded/$name.redirected")
		if [[ $path == bypass && $redirected -eq 0 || $path == stack && $redirected -ne 0 ]]; then
			echo "$name: wants $path, messages redirected: $redirected"
			bad=1
		fi
	done < <("$ROOT/build/semantics" --list)
	((bad == 0))
}

# bats test_tags=long
@test "semantics: no difference but the listed ones, and each of those" {
	local name want have bad=0
	for name in $(cases); do
		! skipped "$name" || continue
		want=$(expected "$name")
		have=$(differing "$name")
		if [[ $have != "$want" ]]; then
			printf '%s: want these differences:\n%s\nhave:\n%s\n' "$name" "$want" "$have"
			bad=1
		fi
	done
	((bad == 0))
}

@test "semantics: each listed difference has its case and its row in docs/limits.md" {
	local name row bad=0
	while read -r name row; do
		if ! cases | grep -qxF -e "$name"; then
			echo "no such case: $name"
			bad=1
		fi
		if ! rows | grep -qxF -e "$row"; then
			echo "$name: no such row: $row"
			bad=1
		fi
	done < <(entries)
	((bad == 0))
	have_want "names that stand twice" "$(entries | cut -d ' ' -f 1 | sort | uniq -d)" = ""
}

@test "semantics: the documents say how many cases there are" {
	local count documents
	count=$(cases | wc -l)
	documents=$(cd "$ROOT" && grep -l "plays $count cases" README.md docs/limits.md docs/testing.md | wc -l)
	have_want "documents that say $count" "$documents" -eq 3
}

@test "semantics: each row of docs/limits.md has its case" {
	local row bad=0
	while read -r row; do
		case $row in
		# Older kernels have these.
		FIONREAD | "unread bytes when a reset arrives") continue ;;
		# Chance decides this.
		"a reset behind megabytes that came in one send") continue ;;
		# A newer one refuses it (tests/kernels.sh).
		kTLS) continue ;;
		# tests/guest/nbd.bats and tests/readers.c play these.
		"a socket that its program hands to the kernel" | "a reader that stops at a short read, or when FIONREAD says 0") continue ;;
		# tests/senders.c and faults.bats play these.
		"a shutdown by one thread while another one sends" | "a path that is taken away") continue ;;
		# No socket sees these.
		"tcpdump, netfilter, tc, ss -i" | "programs at cgroup_skb" | "conntrack helpers" | "addresses in the trace lines") continue ;;
		esac
		if ! entries | cut -d ' ' -f 2- | grep -qxF -e "$row"; then
			echo "no case shows: $row"
			bad=1
		fi
	done < <(rows)
	((bad == 0))
}
