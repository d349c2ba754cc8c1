#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the project's guarantees on Debian's stock kernels, in virtual machines,
# as root:
#
#   tests/kernels.sh [--install-deps] [--all | --fetch] [KERNEL]...
#
# --install-deps first installs what it needs, from Debian's packages.  --all plays
# each guarantee on each kernel where it holds; without, where it takes another path
# than on the others (docs/testing.md).  --fetch fetches what it needs, and plays
# nothing.  KERNEL is a name of guests.bash; without, all of them.  Closes with a table
# and the line `N passed, M failed`, of its cells.
#
# A guest (guests.bash) is 10 to 20 times slower than here; tests/kernels-guest.sh is its init, and
# the serial console brings the results.  There are as many at once as this machine has CPUs, and
# those that rest; meanwhile what the next ones need is fetched.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/guests.bash
. tests/guests.bash

# NAME | KERNEL... | bats file | filter: tests that are bounded there too.  The kernels are
# those on which the programs or the scripts take another path than on this one, or the kernel's own
# code that they lean on is another; none: --all alone.
GUARANTEES='
what bpftool shows     |                   | walkthrough | programs, map and pins
load, unload           | 5.10              | scripts     | any directory|no error|cannot list|stay usable
partial states         |                   | scripts     | all pins are lost
admission              | 5.10 newest arm64 | admission   | (IPv4|IPv6) is bypassed|v4-mapped|dual-stack server
admission over veth    | 5.10              | admission   | over veth
deferred, fast open    | 5.10 newest       | admission   | deferred|Fast Open
Multipath TCP          | 6.1 newest        | admission   | Multipath
isolation              | 5.10              | isolation   | .
filter                 | 5.10              | scope       | several lists|exclude-port: counts|both ends under
new options            | 5.10              | reload      | leaves? out
trace lines            |                   | walkthrough | over IPv4
order, deferred accept | 5.10 newest arm64 | streams     | deferred accept
order, turns           | 5.10 newest arm64 | streams     | slow readers
order, several threads | 5.10 newest arm64 | streams     | order: several
upload, two threads    | 5.10 arm64        | streams     | an upload while another
answers, large         | arm64             | streams     | bulk: an answer
bound, stopped reader  | 5.10              | streams     | bound:
bound, its buffer      | 6.1               | streams     | bound: behind
edge-triggered readers | 5.10 arm64        | streams     | edge-triggered
FIONREAD readers       | arm64             | streams     | FIONREAD
readers that stalled   | arm64             | streams     | seven connections
half-close             | 5.10 newest arm64 | streams     | half-close (at once|after small)
unload, idle           | 5.10 newest       | unload      | : idle|load again
unload, unread         | 5.10 arm64        | unload      | unread connections|waits for
unload, blocking recv  | 5.10 newest arm64 | unload      | blocking recv
unload, no iterators   | 5.10              | unload      | are refused
short connections      | 5.10              | short       | build/many
status.sh              | 5.10              | status      | shows what is unread|directions
memory, too little     | 5.10 6.12         | guest/memory | memory.(high|max)|charged|host.s share|short of|out of memory
memory, behind backlog | 6.1               | guest/memory | behind a backlog
options                | 5.10 6.1          | guest/semantics | options:
kTLS                   | 6.1               | guest/semantics | kTLS:
held socket, repair    | 5.10 6.1          | guest/semantics | held:
nbd, socket taken over | 5.10              | guest/nbd   | data is right|plain TCP, netlink
guard                  | 6.1 newest arm64 6.1-nolsm newest-nolsm | guest/guard | without it a proxy|sees all|loses one|no address|TCP_REPAIR
guard, its programs    | newest 6.1-nolsm  | guest/guard | never remembered|takes it off|does not stay|says by what
guard, killed reloads  | newest            | guest/guard | amid its exchange|cannot be detached
guard, exchanged       | 6.1 newest arm64 newest-nolsm | guest/guard | another version
guard, proxies         | newest 6.1-nolsm  | guest/guard | docker-proxy, which|Go proxy|HAProxy|systemd-socket
Kubernetes, the pod    | 5.10 6.1-nolsm    | guest/pod   | .
docker-proxy           | 5.10              | guest/guard | docker-proxy, started later
other tool, flags      |                   | other       | flags
other tool, sockhash   |                   | other       | map: attached
stateful firewall, NAT | 5.10 newest       | firewall    | long
NAT, each kind         |                   | nat         | each kind is|after an unload
'

# Files whose tests rest for minutes: a guest of their own plays them, beside the others.
RESTING=firewall

# GUARANTEE | KERNEL... | why it does not hold there, --all or not: rows of docs/limits.md, but for
# bpftool's.
EXCEPTIONS='
options                | newest 6.12 arm64 | semantics.bats has the cases of 6.2 and newer
held socket, repair    | newest 6.12 arm64 | the same
kTLS                   | newest 6.12 arm64 | the kernel refuses the key of a socket in a sockmap
kTLS                   | 5.10     | the cloud image of Debian 11 has no module tls
upload, two threads    | newest   | the reader gets no turn within the waits for it, as slices are long there
FIONREAD readers       | 5.10 6.1 | FIONREAD does not count bypassed bytes
readers that stalled   | 5.10 6.1 | the same
memory, behind backlog | newest 6.12 arm64 | TCP sends again what it drops, as from 6.6 on
bound, its buffer      | 5.10     | holds 64 MiB: readers could stall at the boundary
answers, large         | newest   | programs are preempted inside a call there, and the direction leaves
answers, large         | 5.10 6.1 | an answer of more than 4 KiB is bulk
trace lines            | 5.10     | no addresses in them
what bpftool shows     | 5.10     | bpftool 7.1 cannot list what is attached to a cgroup
partial states         | 5.10     | the same: a program that is attached, but not pinned, is not seen
Multipath TCP          | 5.10     | has no MPTCP
guard                  | 5.10     | needs 5.15
guard, its programs    | 5.10     | the same
guard, proxies         | 5.10     | the same
guard, exchanged       | 5.10     | the same
guard, killed reloads  | 5.10     | the same
'

# ---- one kernel --------------------------------------------------------------

declare -A RESULT # by "KERNEL GUARANTEE"
SKIPPED=()        # reasons

# Without the blanks around the columns.
guarantees() {
	sed '/^$/d; s/ *| */|/g' <<<"$GUARANTEES"
}

# exception KERNEL GUARANTEE: why it is not expected to hold; fails if it is.
exception() {
	awk -F ' *[|] *' -v kernel="${1%-nolsm}" -v name="$2" '
		$1 == name && index(" " $2 " ", " " kernel " ") { print $3; found = 1 }
		END { exit !found }' <<<"$EXCEPTIONS"
}

# guarantees_of KERNEL: those that are played there, as kernels-guest.sh takes them.  To the guard
# alone it matters which LSMs are active.
guarantees_of() {
	local guarantee kernels file filter
	while IFS='|' read -r guarantee kernels file filter; do
		[[ (-n $ALL && ($1 != *-nolsm || $guarantee == guard*)) || " $kernels " == *" $1 "* ]] || continue
		exception "$1" "$guarantee" >/dev/null || echo "$guarantee|$file|$filter"
	done < <(guarantees)
}

# boot NAME PART PARTS: with one part of the guarantees, or with those that are `resting 1`.
boot() {
	local file=$WORK/$1.$2
	stage "$file" "$1"
	# For guest/pod.bats.
	/usr/bin/python3 tests/oci.py @ROOT@ @CGROUP@ <docs/kubernetes.yaml >"$file/project/oci.json"
	sed '/appArmorProfile:/,+1d' docs/kubernetes.yaml |
		/usr/bin/python3 tests/oci.py @ROOT@ @CGROUP@ >"$file/project/oci-default.json"
	cp tests/kernels-guest.sh "$file/init"
	guarantees_of "$1" | awk -F '|' -v part="$2" -v parts="$3" -v resting="$RESTING" '
		($2 == resting) != (part == "resting") { next }
		!($2 in place) { place[$2] = files++ }
		part == "resting" || place[$2] % parts == part' >"$file/guarantees"
	run_guest "$1" "$file" | tee "$file.log" |
		sed -un "s/^@result|\(.*\)|\(.*\)|\(.*\)/$1: \2 \1 (\3 s)/p" || true
}

# fetch_or_skip NAME SUITE ARCHITECTURE [PARAMETER]
fetch_or_skip() {
	NAMES+=("$1")
	if fetch "$@"; then
		return
	elif [[ ${CI:-} == true ]]; then
		RESULT[$1]=FAIL
	else
		RESULT[$1]=skip
		SKIPPED+=("$1: cannot fetch what it needs, see above")
	fi
}

# evaluate NAME: what the consoles of its guests say.
evaluate() {
	local name=$1 log guarantee value good=1
	for log in "$WORK/$name".*.log; do
		while IFS='|' read -r _ guarantee value _; do
			RESULT["$name $guarantee"]=$value
			[[ $value == ok ]] || good=0
		done < <(grep -a '^@result|' "$log" || true)
		if ! grep -qa '^@done' "$log"; then
			echo "$name: a guest did not come to its end; the last it said:"
			tail -n 5 "$log"
			good=0
		fi
	done
	if ((!good)); then
		cat "$WORK/$name".*.log >"build/kernels-$name.log"
		echo "$name: what failed, from build/kernels-$name.log:"
		# A result alone, where a test has come to no end.
		awk '/^(ok|@)/ { failed = 0 } /^not ok/ { failed = 1 }
			(failed || /^@result.*[|]FAIL[|]/) && ++lines <= 60' "build/kernels-$name.log"
	fi
}

# ---- all ---------------------------------------------------------------------

ALL=     # each guarantee on each kernel
RESTS=() # pids of boot

# The guests that are to have a CPU each.
busy() {
	jobs -rp | grep -cvxF "$(printf '%s\n' "${RESTS[@]:-none}")" || true
}

# cell KERNEL GUARANTEE KERNEL...: into CELL.
cell() {
	local reason
	CELL=${RESULT["$1"]:-${RESULT["$1 $2"]:-FAIL}}
	if [[ -z ${RESULT["$1"]:-} ]] && reason=$(exception "$1" "$2"); then
		CELL=skip
		SKIPPED+=("$1, $2: $reason")
	elif [[ -z $ALL && " $3 " != *" $1 "* ]]; then
		CELL=-
	fi
}

table() {
	local kernel guarantee kernels passed=0 failed=0 skipped=0
	printf '%-24s' ''
	printf '%-13s' "${NAMES[@]}"
	echo
	while IFS='|' read -r guarantee kernels _; do
		printf '%-24s' "$guarantee"
		for kernel in "${NAMES[@]}"; do
			cell "$kernel" "$guarantee" "$kernels"
			printf '%-13s' "$CELL"
			case $CELL in
			ok) passed=$((passed + 1)) ;;
			skip) skipped=$((skipped + 1)) ;;
			-) ;;
			*) failed=$((failed + 1)) ;;
			esac
		done
		echo
	done < <(guarantees)
	[[ -n $ALL ]] || echo '-: as on another kernel; --all plays it'
	[[ ${#SKIPPED[@]} -eq 0 ]] || printf 'skip: %s\n' "${SKIPPED[@]}"
	((skipped)) && skipped=", $skipped skipped" || skipped=
	echo "$passed passed, $failed failed$skipped"
	((failed == 0))
}

main() {
	local name suite arch parameter cpus part parts kernel kernels=() count=0 fetch_only=
	[[ $EUID -eq 0 ]] || die "needs root: sudo $0"
	while [[ ${1:-} == --* ]]; do
		case $1 in
		--install-deps) install_packages "${HOST_PACKAGES[@]}" "${ARM64_PACKAGES[@]}" ;;
		--all) ALL=1 ;;
		--fetch) fetch_only=1 ;;
		*)
			die "no such option: $1 (usage: tests/kernels.sh [--install-deps] [--all | --fetch]" \
				"[KERNEL]...)"
			;;
		esac
		shift
	done
	for name; do
		grep -q "^$name " <<<"$KERNELS" ||
			die "no such kernel: $name; there are: $(awk '{ print $1 }' <<<"$KERNELS" | xargs)"
	done

	prepare_guests
	[[ -n $fetch_only ]] || make -s all test-programs

	while read -r name suite arch parameter; do
		if [[ -n $name && ($# -eq 0 || " $* " == *" $name "*) && -n $(guarantees_of "$name") ]]; then
			kernels+=("$name $suite $arch $parameter")
		fi
	done <<<"$KERNELS"
	# One CPU for each guest.  Those that are left over when all CPUs have got the
	# same number of kernels are split, so that no CPU idles for long.
	cpus=$(nproc)
	NAMES=()
	for kernel in "${kernels[@]}"; do
		read -r name suite arch parameter <<<"$kernel"
		fetch_or_skip "$name" "$suite" "$arch" "$parameter"
		[[ -z ${RESULT[$name]:-} && -z $fetch_only ]] || continue
		parts=1
		((++count <= ${#kernels[@]} / cpus * cpus)) || parts=$cpus
		for ((part = 0; part < parts; part++)); do
			while (($(busy) >= cpus)); do
				wait -n
			done
			boot "$name" "$part" "$parts" &
		done
		if [[ $(guarantees_of "$name") == *"|$RESTING|"* ]]; then
			boot "$name" resting 1 &
			RESTS+=("$!")
		fi
	done
	wait
	[[ -z $fetch_only ]] || return 0
	for name in "${NAMES[@]}"; do
		[[ -n ${RESULT[$name]:-} ]] || evaluate "$name"
	done
	table
}

main "$@"
