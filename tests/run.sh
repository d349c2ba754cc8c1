#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the checks and the tests, as root:
#
#   tests/run.sh [--install-deps] [--quick] [--kernels|--kernels=all] [BATS-FILE]...
#
# --install-deps first installs what they need, from Debian's packages.  --quick leaves out the
# tests that take 5.5 seconds and more, which have the tag `long`.  --kernels goes on with
# tests/kernels.sh, the tests on other kernels, or with `tests/kernels.sh --all` if it is
# --kernels=all, and has bench/count.sh count instructions in the same virtual machines.  With
# files, only these tests.  Closes with the line `N passed, M failed`.
#
# Tests with the tag `beside` wait for time-outs, and hardly need a CPU, or do not mind how long
# they take: they are played beside the others.

set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/packages.bash
. tests/packages.bash

PACKAGES=(bats bpftool build-essential clang clang-format debhelper dpkg-dev git iproute2
	iputils-ping jq libbpf-dev lintian make man-db mount netcat-openbsd procps python3 python3-yaml
	shellcheck shfmt socat spin systemd util-linux)
# What programs.bats runs.
PACKAGES+=(curl haproxy iperf3 libmemcached-tools memcached nginx nodejs openjdk-17-jdk-headless
	openssh-client openssh-server openssl postgresql python3-grpcio redis-server rsync)
# What status.bats and install.bats run.
PACKAGES+=(prometheus)
# What firewall.bats and nat.bats run.
PACKAGES+=(iptables nftables)
# What bench.bats runs, beside these.
PACKAGES+=(gnuplot-nox libxml2-utils)

if [[ $EUID -ne 0 ]]; then
	echo "run.sh: needs root: sudo $0" >&2
	exit 1
fi
install=() kernels=() filter= # kernels: a command
while [[ ${1:-} == --* ]]; do
	case $1 in
	--install-deps) install=("$1") ;;
	--quick) filter=',!long' ;;
	--kernels) kernels=(tests/kernels.sh) ;;
	--kernels=all) kernels=(tests/kernels.sh --all) ;;
	*)
		echo "run.sh: no such option: $1 (usage: tests/run.sh [--install-deps] [--quick]" \
			"[--kernels|--kernels=all] [BATS-FILE]...)" >&2
		exit 2
		;;
	esac
	shift
done
if [[ ${#install[@]} -gt 0 ]]; then
	install_packages "${PACKAGES[@]}"
fi

failed=0
passed=0
files=("$@")
if [[ ${#files[@]} -eq 0 ]]; then
	files=(tests/*.bats)
	if make lint; then
		passed=1
	else
		failed=1
	fi
fi

log=$(mktemp)
counting='' beside=''
end() {
	local job
	for job in $counting $beside; do
		kill -- "-$job" 2>/dev/null || true
	done
	rm -f "$log" "$log".beside "$log".count
}
trap end EXIT

# play TAGS: the tests of these tags.
play() {
	bats -T --formatter tap --filter-tags "$1$filter" "${files[@]}"
}

# count STATUS: of a suite, the results in the log.
count() {
	local failures
	failures=$(grep -c '^not ok ' "$log" || true)
	# A failure outside of any test, such as in setup_suite.
	((!$1 || failures)) || failures=1
	passed=$((passed + $(grep -c '^ok ' "$log" || true)))
	failed=$((failed + failures))
}

# add LOG: what closes with a line of its own.
add() {
	local more='' less=''
	read -r more less < <(
		sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed.*/\1 \2/p' "$1" | tail -n 1
	) || true
	passed=$((passed + ${more:-0}))
	failed=$((failed + ${less:-1}))
}

# A test that hangs fails.
export BATS_TEST_TIMEOUT=600
# What is around a suite, around both.
. tests/setup_suite.bash
setup_suite
export AROUND=$$
if [[ ${#kernels[@]} -gt 0 ]]; then
	# Meanwhile, on what the tests leave of the CPUs: no neighbour changes what is counted.  What
	# cannot be fetched, kernels.sh says again below.
	setsid chrt --idle 0 bash -c 'tests/kernels.sh --fetch "$@" >/dev/null 2>&1; exec bench/count.sh "$@"' \
		count "${install[@]}" >"$log.count" 2>&1 </dev/null &
	counting=$!
fi
set -m
play beside >"$log.beside" 2>&1 </dev/null &
beside=$!
set +m
status=0
play '!beside' | tee "$log" || status=$?
count "$status"
status=0
wait "$beside" || status=$?
beside=
tee "$log" <"$log.beside"
count "$status"
unset AROUND
teardown_suite || failed=$((failed + 1))
if [[ ${#kernels[@]} -gt 0 ]]; then
	wait "$counting" || true
	counting=
	"${kernels[@]}" "${install[@]}" | tee "$log" || true
	add "$log"
	cat "$log.count"
	add "$log.count"
fi
echo "$passed passed, $failed failed"
((failed == 0))
