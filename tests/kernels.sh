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
# nothing.  KERNEL is a name of the table below; without, all of them.  Closes with a table
# and the line `N passed, M failed`, of its cells.
#
#   objects, test programs    built once, here: the same for all kernels
#                             (guest/go-proxy.go kept as well)
#   kernels, guest's programs,
#   qemu                      Debian packages, fetched by an apt of our own from
#                             the mirror that this machine uses, and kept in
#                             $XDG_CACHE_HOME (/var/cache)/tcpip-bypass-kernels
#   a guest                   qemu without KVM, one CPU (two break it), 10 to 20
#                             times slower than here; tests/kernels-guest.sh is
#                             its init, the serial console brings the results; as
#                             many guests at once as this machine has CPUs, and those that
#                             rest; meanwhile what the next ones need is fetched
#
# KERNELS_TIMEOUT: seconds after which a guest is killed (1800).

set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/packages.bash
. tests/packages.bash

# NAME SUITE ARCHITECTURE, as the CPUs take them: the longest first.
KERNELS='
newest sid      amd64
5.10   bullseye amd64
arm64  trixie   arm64
6.1    bookworm amd64
6.12   trixie   amd64
'

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
memory, too little     | 5.10 6.12         | guest/memory | .
options                | 5.10 6.1          | guest/semantics | options:
kTLS                   | 6.1               | guest/semantics | kTLS:
held socket, repair    | 5.10 6.1          | guest/semantics | held:
nbd, socket taken over | 5.10              | guest/nbd   | data is right|plain TCP, netlink
guard                  | 6.1 newest arm64  | guest/guard | without it a proxy|sees all|loses one|never remembered|takes it off|does not stay|no address|TCP_REPAIR
guard, exchanged       | 6.1 newest arm64  | guest/guard | another version
guard, proxies         | 6.1 newest        | guest/guard | docker-proxy, which|Go proxy|HAProxy|systemd-socket
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
answers, large         | newest   | programs are preempted inside a call there, and the direction leaves
answers, large         | 5.10 6.1 | an answer of more than 4 KiB is bulk
trace lines            | 5.10     | no addresses in them
what bpftool shows     | 5.10     | bpftool 7.1 cannot list what is attached to a cgroup
partial states         | 5.10     | the same: a program that is attached, but not pinned, is not seen
Multipath TCP          | 5.10     | has no MPTCP
guard                  | 5.10     | needs lsm_cgroup, of 6.0
guard, proxies         | 5.10     | the same
guard, exchanged       | 5.10     | the same
'

# What a guest needs, with what that depends on, but not the packages of LEFT_OUT.
PACKAGES=(bash bats bpftool coreutils diffutils findutils grep haproxy hostname iproute2
	iputils-ping jq kmod libc-bin mawk mount nbd-client nbd-server netcat-openbsd nftables procps
	sed socat systemd util-linux)
LEFT_OUT='perl|libperl5.*|perl-modules.*|.*-perl|usrmerge|dpkg|tar|debconf|gcc-.*-base|libaudit-common|adduser|passwd|ucf|sensible-utils|lsb-base|init-system-helpers|sysvinit-utils|openssl|ca-certificates|cryptsetup.*|dmsetup'
# Of this one a program alone: the rest is large.
DOCKER=docker.io
DOCKER_PROXY=usr/sbin/docker-proxy
GUEST_SUITE=bookworm
# qemu 10 takes half the time of bookworm's 7.2, and does cmpxchg16b as a CPU does (7.2 not:
# 6.12 dies of it).
QEMU_SUITE=trixie
# Of trixie, as is the compiler for guest/go-proxy.go: listeners of older ones speak plain TCP.
GO=1.24
MODULES=(veth inet_diag tcp_diag nf_conntrack nf_tables nft_ct nft_counter nft_objref
	nft_chain_nat nft_nat nft_redir nft_masq nbd
	tls gcm ctr ghash_generic) # AES-GCM for kTLS

CACHE=${XDG_CACHE_HOME:-/var/cache}/tcpip-bypass-kernels
TIMEOUT=${KERNELS_TIMEOUT:-1800}
HOST_PACKAGES=(apt bpftool clang cpio gcc kmod libbpf-dev libc6-dev make)
ARM64_PACKAGES=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)

die() {
	echo "kernels.sh: $*" >&2
	exit 1
}

# ---- Debian packages, without touching this machine's apt --------------------

# mirror: of the machine's own sources.
mirror() {
	apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' | sed -n 1p
}

# apt_of SUITE ARCHITECTURE: prepares one; then apt_in runs its commands.
apt_of() {
	local dir=$CACHE/apt/$1-$2
	mkdir -p "$dir"/{state/lists/partial,cache/archives/partial}
	touch "$dir/status"
	echo "deb $MIRROR $1 main" >"$dir/sources.list"
	cat >"$dir/apt.conf" <<-END
		Dir::State "$dir/state";
		Dir::State::status "$dir/status";
		Dir::Cache "$dir/cache";
		Dir::Etc::sourcelist "$dir/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		APT::Architecture "$2";
		APT::Architectures { "$2"; };
		APT::Sandbox::User "root";
		Acquire::Languages "none";
	END
	APT_CONF=$dir/apt.conf
	apt_in timeout 300 apt-get update -qq --error-on=any
}

apt_in() {
	APT_CONFIG=$APT_CONF "$@"
}

# with_dependencies PACKAGE...: their names, and those of what they depend on.
with_dependencies() {
	apt_in apt-get install -s --no-install-recommends "$@" |
		awk -v out="^($LEFT_OUT)\$" '$1 == "Inst" && $2 !~ out { print $2 }'
}

# unpack DIRECTORY PACKAGE...: fetched, into that directory.
unpack() {
	local dir=$1 debs deb
	shift
	debs=$(mktemp -d "$WORK/debs.XXXX")
	(cd "$debs" && apt_in timeout 600 apt-get download -qq "$@")
	for deb in "$debs"/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir" --keep-directory-symlink \
			--exclude './usr/share/doc' --exclude './usr/share/man' \
			--exclude './usr/share/locale' --exclude './usr/share/i18n' \
			--exclude './usr/lib/*/gconv'
	done
	rm -rf "$debs"
}

archive() {
	(cd "$1" && find . -print0 | cpio --quiet -0 -o -H newc -R 0:0)
}

# ---- qemu, and the three parts of an initramfs --------------------------------

# emulators: prints the directory that qemu and its libraries are in.
emulators() {
	local dir=$CACHE/qemu-$QEMU_SUITE packages
	if [[ ! -e $dir ]]; then
		apt_of "$QEMU_SUITE" amd64
		mapfile -t packages < <(with_dependencies qemu-system-x86 qemu-system-arm)
		rm -rf "$dir.new"
		mkdir "$dir.new"
		unpack "$dir.new" "${packages[@]}"
		mv "$dir.new" "$dir"
	fi
	echo "$dir"
}

# in_qemu ARCHITECTURE ARGUMENT...: with the libraries of its own suite.
in_qemu() {
	local cpu=x86_64
	[[ $1 != arm64 ]] || cpu=aarch64
	shift
	timeout --foreground --kill-after 10 "$TIMEOUT" \
		"$QEMU/usr/lib64/ld-linux-x86-64.so.2" --library-path "$QEMU/usr/lib/x86_64-linux-gnu" \
		"$QEMU/usr/bin/qemu-system-$cpu" -L "$QEMU/usr/share/qemu" -L "$QEMU/usr/share/seabios" "$@"
}

# go_proxy ARCHITECTURE: prints the path of guest/go-proxy.go, built.
go_proxy() {
	local key file go=$WORK/go/usr/lib/go-$GO
	key=$(echo "$GO" | cat - tests/guest/go-proxy.go | sha256sum)
	file=$CACHE/go-proxy-$1-${key:0:12}
	if [[ ! -e $file ]]; then
		if [[ ! -e $go ]]; then
			apt_of "$QEMU_SUITE" amd64
			mkdir "$WORK/go"
			unpack "$WORK/go" "golang-$GO-go" "golang-$GO-src"
		fi
		GOROOT=$go GOCACHE=$WORK/go/cache GOTOOLCHAIN=local GOARCH=$1 CGO_ENABLED=0 \
			"$go/bin/go" build -o "$file" tests/guest/go-proxy.go
	fi
	echo "$file"
}

# guest_root ARCHITECTURE: the programs, without maintainer scripts having run;
# prints the archive's path.
guest_root() {
	local key file dir packages link
	key=$(echo "$GUEST_SUITE $1 ${PACKAGES[*]} $LEFT_OUT $DOCKER" | sha256sum)
	file=$CACHE/root-$1-${key:0:12}.cpio
	if [[ ! -e $file ]]; then
		apt_of "$GUEST_SUITE" "$1"
		mapfile -t packages < <(with_dependencies "${PACKAGES[@]}")
		dir=$(mktemp -d "$WORK/root.XXXX")
		for link in bin sbin lib lib64; do
			mkdir -p "$dir/usr/$link"
			ln -s "usr/$link" "$dir/$link"
		done
		unpack "$dir" "${packages[@]}"
		mkdir "$dir/docker"
		unpack "$dir/docker" "$DOCKER"
		mv "$dir/docker/$DOCKER_PROXY" "$dir/$DOCKER_PROXY"
		rm -rf "$dir/docker"
		# What maintainer scripts would have done.
		ln -s mawk "$dir/usr/bin/awk"
		ln -s nc.openbsd "$dir/usr/bin/nc"
		ln -sf bash "$dir/usr/bin/sh"
		echo root:x:0:0::/root:/bin/bash >"$dir/etc/passwd"
		mkdir -p "$dir"/{dev,proc,sys,run,root,tmp}
		archive "$dir" >"$file.new"
		mv "$file.new" "$file"
		rm -rf "$dir"
	fi
	echo "$file"
}

# kernel SUITE ARCHITECTURE: prints a directory with vmlinuz, modules.cpio, release.
kernel() {
	local packages key dir tree release module
	apt_of "$1" "$2"
	# 7.x has split the image into several packages.
	mapfile -t packages < <(apt_in apt-cache depends --recurse -i "linux-image-cloud-$2" |
		grep -E '^linux-(image|binary|modules)-[0-9]' | sort -u)
	key=$(echo "${MODULES[*]}" | sha256sum)
	dir=$CACHE/kernel-${packages[-1]}-${key:0:12}
	if [[ ! -e $dir/release ]]; then
		tree=$(mktemp -d "$WORK/tree.XXXX")
		mkdir -p "$tree/usr/lib" "$dir"
		ln -s usr/lib "$tree/lib"
		unpack "$tree" "${packages[@]}"
		release=$(basename "$tree"/lib/modules/*)
		cp "$(find "$tree" -type f -name 'vmlinuz*' -print -quit)" "$dir/vmlinuz"
		depmod -b "$tree" "$release" 2>/dev/null # warns of files that it does not need
		mkdir -p "$tree/guest/modules"
		for module in "${MODULES[@]}"; do
			# What is built into a kernel is no module there.
			modprobe -d "$tree" -S "$release" --show-depends "$module" 2>/dev/null || true
		done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$tree/list"
		while read -r module; do
			cp "$module" "$tree/guest/modules"
			basename "$module"
		done <"$tree/list" >"$tree/guest/modules/list"
		archive "$tree/guest" >"$dir/modules.cpio"
		echo "$release" >"$dir/release"
		rm -rf "$tree"
	fi
	echo "$dir"
}

# project KERNEL ARCHITECTURE PART PARTS: as installed, without sources, which would want
# a compiler; with one part of the guarantees, or with those that are `resting 1`.
project() {
	local dir program sources
	shopt -s nullglob
	dir=$(mktemp -d "$WORK/project.XXXX")
	mkdir -p "$dir/project/build"
	cp -r ./*.sh ./*.h bpf lib README.md docs tests "$dir/project"
	cp -r build/*.o build/classic build/other "$dir/project/build"
	for program in pair readers senders many stale stuck semantics; do
		if [[ $2 == amd64 ]]; then
			cp "build/$program" "$dir/project/build"
		else
			sources=("tests/$program"*.c "tests/$program"/*.c)
			aarch64-linux-gnu-gcc -O2 -g -pthread "${sources[@]}" -o "$dir/project/build/$program"
		fi
	done
	cp "${GO_PROXY_OF[$1]}" "$dir/project/build/go-proxy"
	cp tests/kernels-guest.sh "$dir/init"
	guarantees_of "$1" | awk -F '|' -v part="$3" -v parts="$4" -v resting="$RESTING" '
		($2 == resting) != (part == "resting") { next }
		!($2 in place) { place[$2] = files++ }
		part == "resting" || place[$2] % parts == part' >"$dir/guarantees"
	archive "$dir"
	rm -rf "$dir"
}

# ---- one kernel --------------------------------------------------------------

declare -A RESULT # by "KERNEL GUARANTEE"
SKIPPED=()        # reasons

# Without the blanks around the columns.
guarantees() {
	sed '/^$/d; s/ *| */|/g' <<<"$GUARANTEES"
}

# exception KERNEL GUARANTEE: why it is not expected to hold; fails if it is.
exception() {
	awk -F ' *[|] *' -v kernel="$1" -v name="$2" '
		$1 == name && index(" " $2 " ", " " kernel " ") { print $3; found = 1 }
		END { exit !found }' <<<"$EXCEPTIONS"
}

# guarantees_of KERNEL: those that are played there, as kernels-guest.sh takes them.
guarantees_of() {
	local guarantee kernels file filter
	while IFS='|' read -r guarantee kernels file filter; do
		[[ -n $ALL || " $kernels " == *" $1 "* ]] || continue
		exception "$1" "$guarantee" >/dev/null || echo "$guarantee|$file|$filter"
	done < <(guarantees)
}

# boot NAME PART PARTS
boot() {
	# The plainest CPU: others take a fifth longer to emulate.
	local file=$WORK/$1.$2 console=ttyS0 machine=(-cpu "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt")
	if [[ ${ARCH_OF[$1]} == arm64 ]]; then
		# Pointer authentication in the real cipher is slow to emulate.
		machine=(-machine virt -cpu "max,pauth-impdef=on")
		console=ttyAMA0
	fi
	project "$1" "${ARCH_OF[$1]}" "$2" "$3" >"$file.project"
	cat "${ROOT_OF[$1]}" "${KERNEL_OF[$1]}/modules.cpio" "$file.project" >"$file.initrd"
	in_qemu "${ARCH_OF[$1]}" "${machine[@]}" -accel tcg,thread=single -smp 1 -m 1024 \
		-nodefaults -no-user-config -display none -no-reboot -serial stdio \
		-kernel "${KERNEL_OF[$1]}/vmlinuz" -initrd "$file.initrd" \
		-append "console=$console panic=-1 quiet loglevel=4 mitigations=off init_on_alloc=0" \
		</dev/null 2>&1 | sed -u 's,\r$,,' | tee "$file.log" |
		sed -un "s/^@result|\(.*\)|\(.*\)|\(.*\)/$1: \2 \1 (\3 s)/p" || true
	rm -f "$file.initrd" "$file.project"
}

declare -A ARCH_OF ROOT_OF KERNEL_OF GO_PROXY_OF # by NAME
QEMU=                                            # of emulators()

# fetch NAME SUITE ARCHITECTURE
fetch() {
	local name=$1 suite=$2 arch=$3 files status
	# In a condition bash would go on after errors.
	set +e
	files=$(
		set -e
		guest_root "$arch"
		kernel "$suite" "$arch"
		go_proxy "$arch"
		emulators
	)
	status=$?
	set -e
	{ read -r ROOT_OF["$name"] && read -r KERNEL_OF["$name"] && read -r GO_PROXY_OF["$name"] &&
		read -r QEMU; } <<<"$files" || status=1
	NAMES+=("$name")
	ARCH_OF[$name]=$arch
	if ((status == 0)); then
		echo "$name: $(<"${KERNEL_OF[$name]}/release") ($suite, $arch)"
	elif [[ ${CI:-} == true ]]; then
		RESULT[$name]=FAIL
	else
		RESULT[$name]=skip
		SKIPPED+=("$name: cannot fetch what it needs, see above")
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
	printf '%-8s' "${NAMES[@]}"
	echo
	while IFS='|' read -r guarantee kernels _; do
		printf '%-24s' "$guarantee"
		for kernel in "${NAMES[@]}"; do
			cell "$kernel" "$guarantee" "$kernels"
			printf '%-8s' "$CELL"
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
	local name suite arch cpus part parts kernel kernels=() count=0 fetch_only=
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

	WORK=$(mktemp -d)
	trap 'rm -rf "$WORK"' EXIT
	mkdir -p "$CACHE"
	MIRROR=$(mirror)
	[[ -n $MIRROR ]] || die "apt knows no Debian mirror here; to fetch its lists: sudo apt-get update"
	[[ -n $fetch_only ]] || make -s all test-programs

	while read -r name suite arch; do
		if [[ -n $name && ($# -eq 0 || " $* " == *" $name "*) ]]; then
			kernels+=("$name $suite $arch")
		fi
	done <<<"$KERNELS"
	# One CPU for each guest.  Those that are left over when all CPUs have got the
	# same number of kernels are split, so that no CPU idles for long.
	cpus=$(nproc)
	NAMES=()
	for kernel in "${kernels[@]}"; do
		read -r name suite arch <<<"$kernel"
		fetch "$name" "$suite" "$arch"
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
