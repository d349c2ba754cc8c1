# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Virtual machines with Debian's stock kernels, for tests/kernels.sh and bench/count.sh.  Sourced
# from the project's root, after `set -euo pipefail`.
#
#   objects, test programs    built once, here: the same for all kernels
#                             (those in Go kept as well)
#   kernels, guest's programs,
#   qemu                      Debian packages, fetched by an apt of our own from
#                             the mirror that this machine uses, and kept in
#                             $XDG_CACHE_HOME (/var/cache)/tcpip-bypass-kernels
#   a guest                   qemu without KVM, one CPU (two break it)
#
# KERNELS_TIMEOUT: seconds after which a guest is killed (1800).
#
# shellcheck disable=SC2034 # names that only one of them uses

# shellcheck source=tests/packages.bash
. tests/packages.bash

shopt -s inherit_errexit
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# NAME SUITE ARCHITECTURE [PARAMETER], as the CPUs take them: the longest first, and at last one
# with several files, which is split.  What is called nolsm boots with the LSMs that Ubuntu has active,
# without BPF.
KERNELS='
newest       sid      amd64
5.10         bullseye amd64
arm64        trixie   arm64
6.1-nolsm    bookworm amd64 lsm=landlock,lockdown,yama,apparmor
newest-nolsm sid      amd64 lsm=landlock,lockdown,yama,apparmor
6.12         trixie   amd64
6.12-nolsm   trixie   amd64 lsm=landlock,lockdown,yama,apparmor
6.1          bookworm amd64
'

# What a guest needs, with what that depends on, but not the packages of LEFT_OUT.
PACKAGES=(apparmor bash bats bpftool coreutils crun diffutils findutils grep haproxy hostname
	iproute2 iputils-ping jq kmod libc-bin mawk mount nbd-client nbd-server netcat-openbsd nftables
	procps sed socat systemd util-linux)
LEFT_OUT='perl|libperl5.*|perl-modules.*|.*-perl|usrmerge|dpkg|tar|debconf|gcc-.*-base|'
LEFT_OUT+='libaudit-common|adduser|passwd|ucf|sensible-utils|lsb-base|init-system-helpers|'
LEFT_OUT+='sysvinit-utils|openssl|ca-certificates|cryptsetup.*|dmsetup'
# Of this one a program alone: the rest is large.
DOCKER=docker.io
DOCKER_PROXY=usr/sbin/docker-proxy
GUEST_SUITE=bookworm
# Of this one bpftool, which attaches tracing programs (kernels-guest.sh).
LATER_SUITE=bookworm-backports
# qemu 10 takes half the time of bookworm's 7.2, and does cmpxchg16b as a CPU does (7.2 not:
# 6.12 dies of it).
QEMU_SUITE=trixie
# Of trixie, as is the compiler for guest/go-proxy.go: listeners of older ones speak plain TCP.
GO=1.24
# Of trixie too, for guest/default-profile.go.
CONTAINERD=(golang-github-containerd-containerd-dev golang-github-containerd-log-dev
	golang-github-sirupsen-logrus-dev golang-golang-x-sys-dev)
MODULES=(veth inet_diag tcp_diag nf_conntrack nf_tables nft_ct nft_counter nft_objref
	nft_chain_nat nft_nat nft_redir nft_masq nbd
	tls gcm ctr ghash_generic) # AES-GCM for kTLS

CACHE=${XDG_CACHE_HOME:-/var/cache}/tcpip-bypass-kernels
TIMEOUT=${KERNELS_TIMEOUT:-1800}
HOST_PACKAGES=(apt bpftool clang cpio gcc kmod libbpf-dev libc6-dev make python3-yaml)
ARM64_PACKAGES=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)

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

# go_programs ARCHITECTURE: prints the directory that those of guest/ are in, built.
go_programs() {
	local key dir build go=$WORK/go/usr/lib/go-$GO code=$WORK/go/usr/share/gocode \
		profile=$WORK/go/profile
	key=$(echo "$GO ${CONTAINERD[*]}" | cat - tests/guest/*.go | sha256sum)
	dir=$CACHE/go-programs-$1-${key:0:12}
	if [[ ! -e $dir ]]; then
		if [[ ! -e $go ]]; then
			apt_of "$QEMU_SUITE" amd64
			mkdir -p "$profile"
			unpack "$WORK/go" "golang-$GO-go" "golang-$GO-src" "${CONTAINERD[@]}"
			# The other files of its package would need all of containerd.
			sed 's/^package apparmor$/package main/' \
				"$code/src/github.com/containerd/containerd/contrib/apparmor/template.go" \
				>"$profile/template.go"
			cp tests/guest/default-profile.go "$profile"
		fi
		mkdir -p "$dir.new"
		build=(env "GOROOT=$go" "GOPATH=$code" "GOCACHE=$WORK/go/cache" GOTOOLCHAIN=local "GOARCH=$1"
			CGO_ENABLED=0 "$go/bin/go" build -o)
		"${build[@]}" "$dir.new/go-proxy" tests/guest/go-proxy.go
		# Debian's packages are no modules.  Without modules Go's defaults are those of 1.20: no
		# listener speaks Multipath TCP.
		GO111MODULE=off "${build[@]}" "$dir.new/default-profile" "$profile"/*.go
		mv "$dir.new" "$dir"
	fi
	echo "$dir"
}

# guest_root ARCHITECTURE: the programs, without maintainer scripts having run;
# prints the archive's path.
guest_root() {
	local key file dir packages link
	key=$(echo "$GUEST_SUITE $LATER_SUITE $1 ${PACKAGES[*]} $LEFT_OUT $DOCKER" | sha256sum)
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
		apt_of "$LATER_SUITE" "$1"
		mkdir "$dir/later"
		unpack "$dir/later" bpftool
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

# ---- a guest -------------------------------------------------------------------

# stage DIRECTORY KERNEL: the project as installed, without sources, which would want a compiler.
# The caller adds /init.
stage() {
	local dir=$1/project program sources
	shopt -s nullglob
	mkdir -p "$dir/build"
	cp -r ./*.sh ./*.h bpf lib README.md docs tests "$dir"
	cp -r build/*.o build/classic build/other "$dir/build"
	for program in pair readers senders many stale einval stuck semantics bench; do
		if [[ ${ARCH_OF[$2]} == amd64 ]]; then
			cp "build/$program" "$dir/build"
		else
			sources=({tests,bench}/"$program"*.c "tests/$program"/*.c)
			aarch64-linux-gnu-gcc -O2 -g -pthread "${sources[@]}" -o "$dir/build/$program"
		fi
	done
	cp "${GO_PROGRAMS_OF[$2]}"/* "$dir/build"
}

# run_guest KERNEL DIRECTORY [ARGUMENT OF QEMU]...: what it writes to its console.  DIRECTORY is its
# root, besides the programs, and goes.
run_guest() {
	# The plainest CPU: others take a fifth longer to emulate.
	local name=$1 dir=$2 console=ttyS0 machine=(-cpu "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt")
	shift 2
	if [[ ${ARCH_OF[$name]} == arm64 ]]; then
		# Pointer authentication in the real cipher is slow to emulate.
		machine=(-machine virt -cpu "max,pauth-impdef=on")
		console=ttyAMA0
	fi
	archive "$dir" | cat "${ROOT_OF[$name]}" "${KERNEL_OF[$name]}/modules.cpio" - >"$dir.initrd"
	rm -rf "$dir"
	in_qemu "${ARCH_OF[$name]}" "${machine[@]}" -accel tcg,thread=single -smp 1 -m 1024 "$@" \
		-nodefaults -no-user-config -display none -no-reboot -serial stdio \
		-kernel "${KERNEL_OF[$name]}/vmlinuz" -initrd "$dir.initrd" \
		-append "console=$console panic=-1 quiet loglevel=4 mitigations=off init_on_alloc=0 ${PARAMETER_OF[$name]}" \
		</dev/null 2>&1 | sed -u 's,\r$,,'
	rm -f "$dir.initrd"
}

declare -A ARCH_OF PARAMETER_OF ROOT_OF KERNEL_OF GO_PROGRAMS_OF # by NAME
QEMU=                                                            # of emulators()

# fetch NAME SUITE ARCHITECTURE [PARAMETER]: what it needs.
fetch() {
	local name=$1 suite=$2 arch=$3 files status
	# In a condition bash would go on after errors.
	set +e
	files=$(
		set -e
		guest_root "$arch"
		kernel "$suite" "$arch"
		go_programs "$arch"
		emulators
	)
	status=$?
	set -e
	{ read -r ROOT_OF["$name"] && read -r KERNEL_OF["$name"] && read -r GO_PROGRAMS_OF["$name"] &&
		read -r QEMU; } <<<"$files" || return
	((status == 0)) || return
	ARCH_OF[$name]=$arch
	PARAMETER_OF[$name]=${4:-}
	echo "$name: $(<"${KERNEL_OF[$name]}/release") ($suite, $arch)"
}

# prepare_guests: first of all; WORK goes at the end.
prepare_guests() {
	WORK=$(mktemp -d)
	trap 'rm -rf "$WORK"' EXIT
	mkdir -p "$CACHE"
	MIRROR=$(mirror)
	[[ -n $MIRROR ]] || die "apt knows no Debian mirror here; to fetch its lists: sudo apt-get update"
}
