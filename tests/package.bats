#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# The Debian package: what dpkg does with what is loaded, while connections talk.
#
#      packages: this version, and others made of it: 1.0, 9.9, and 99 with another LAYOUT
#
#      sandbox
#        └─ machine: namespaces of its own for mounts and pids, its files are an
#           overlay over those of this machine, its first process is systemd or a shell;
#           from machine_up on in_box runs there

bats_require_minimum_version 1.5.0
# bats file_tags=beside
load sandbox.bash
load scenarios.bash

box_each_test

setup_file() {
	VERSION=$("$ROOT/load.sh" --version)
	export VERSION=${VERSION#* } PACKAGES=$BATS_FILE_TMPDIR
	build_package
	copy_project "$PACKAGES/other"
	lay_out_otherwise "$PACKAGES/other"
	make -s -C "$PACKAGES/other" all
	another_package 1.0
	another_package 9.9
	another_package 99 "$PACKAGES/other/build"/*.o
}

# build_package: of this version, with the objects that are here already.
build_package() {
	local src=$PACKAGES/src
	mkdir -p "$src/build"
	(cd "$ROOT" && git ls-files -z | tar -c --null -T -) | tar -x -C "$src"
	cp -p "$ROOT"/build/*.[od] "$src/build"
	(cd "$src" && dpkg-buildpackage -b -nc -us -uc) >"$PACKAGES/log" 2>&1 || {
		tail -n 40 "$PACKAGES/log" >&2
		return 1
	}
}

# another_package VERSION [OBJECT]...: the same of another version; the objects bring LAYOUT 99.
another_package() {
	local dir=$PACKAGES/$1 version=$1
	shift
	dpkg-deb -R "$PACKAGES/tcpip-bypass_${VERSION}_"*.deb "$dir"
	sed -i "s/^Version:.*/Version: $version/" "$dir/DEBIAN/control"
	sed -i "s/^VERSION=.*/VERSION=$version/" "$dir/usr/lib/tcpip-bypass/lib/version.sh"
	if (($#)); then
		cp "$@" "$dir/usr/lib/tcpip-bypass/build"
		sed -i 's/^LAYOUT=.*/LAYOUT=99/' "$dir/usr/lib/tcpip-bypass/lib/version.sh"
	fi
	dpkg-deb -Znone -b "$dir" "$PACKAGES" >/dev/null
}

# machine_up COMMAND...: which is its first process.
machine_up() {
	in_box bash -euc '
		mkdir -p /run/machine/{upper,work,root}
		mount -t overlay -o lowerdir=/,upperdir=/run/machine/upper,workdir=/run/machine/work none /run/machine/root
		cd /run/machine/root
		echo uninitialized >etc/machine-id # systemd writes one
		rm -rf etc/{init.d,rc?.d,default/tcpip-bypass} {etc,usr/lib}/systemd/system/* usr/sbin/policy-rc.d
		for unit in basic sysinit shutdown network multi-user timers; do
			echo "[Unit]" >"usr/lib/systemd/system/$unit.target"
		done
		mount -t tmpfs none run
		mkdir -p old run/changed
		mount --bind /run/machine/upper run/changed
		for tree; do
			mkdir -p ".$tree"
			mount --rbind "$tree" ".$tree"
		done
		touch /run/console
		mount --bind /run/console dev/console' machine "$ROOT" "$BOX_TMP" "$PACKAGES" /sys /dev
	in_box unshare --pid --fork --mount --uts -- bash -euc '
		read -r pid _ </proc/self/stat # as the sandbox sees it
		echo "$pid" >"$1"
		shift
		cd /run/machine/root
		mount -t proc proc proc
		pivot_root . old
		cd /
		umount --lazy /old
		touch /run/ready
		exec "$@"' machine "$BOX_TMP/machine" "$@" >"$BOX_TMP/machine.log" 2>&1 3>&- &
	wait_until 5 "the machine" test -s "$BOX_TMP/machine"
	BOX_PID=$(<"$BOX_TMP/machine")
	wait_until 5 "its files" in_box test -e /run/ready
	BOX_NAMESPACES+=(--pid)
	changed_files >"$BOX_TMP/changed"
}

machine_with_systemd() {
	machine_up env container=lxc /lib/systemd/systemd --system --unit=multi-user.target
	wait_until 30 "systemd" is_active multi-user.target
}

machine_without_systemd() {
	machine_up bash -c 'while sleep 1; do :; done'
}

# changed_files: of the machine, except for logs and dpkg's own.
changed_files() {
	in_box find /run/changed \( -path '*/var/log' -o -path '*/var/lib/dpkg' \) -prune -o ! -type d \
		-print | sort
	in_box find /var/lib/dpkg -name '*tcpip-bypass*'
}

is_active() {
	in_box systemctl --quiet is-active "$1" 2>/dev/null
}

# puts_in VERSION, and takes_out: dpkg, in the machine.
puts_in() {
	run -0 in_box dpkg --no-triggers -i "$PACKAGES/tcpip-bypass_$1_"*.deb
	echo "$output"
	have_want "version of the scripts" "$(in_box tcpip-bypass-status --version)" = "tcpip-bypass $1"
}

takes_out() {
	run -0 in_box dpkg --no-triggers "$@" tcpip-bypass
	echo "$output"
}

# amid_traffic COMMAND...: while other connections come, talk and go; each checks all its bytes.
amid_traffic() {
	local pid
	rm -f "$BOX_TMP/stop"
	in_box bash -c 'until [[ -e $1 ]]; do "$2" --timeout 20 turns && "$2" talk || exit; done' traffic \
		"$BOX_TMP/stop" "$PAIR" >"$BOX_TMP/traffic" 2>&1 3>&- 8>&- &
	pid=$!
	"$@"
	touch "$BOX_TMP/stop"
	wait "$pid" || {
		cat "$BOX_TMP/traffic" >&2
		return 1
	}
}

# advised COMMAND: that is what dpkg has said last; do so.
advised() {
	output_has "    sudo $*"
	in_box "${@/OPTION.../--quiet}"
}

loaded_version() {
	in_box tcpip-bypass-status --json | jq -r .version
}

# assert_loaded VERSION ROUND: 20 connections talk on the bypass, in their round of that number.
assert_loaded() {
	have_want "version that is loaded" "$(loaded_version)" = "$1"
	have_want "in the map" "$(in_map)" -eq 40
	zero_counters
	many_talk "$2"
	assert_stayed 40
	have_want "pins" "$(in_box find /sys/fs/bpf -name '*_new')" = ""
}

# Also what enabling the unit, and the administrator, have made.
assert_purged() {
	takes_out -P
	diff "$BOX_TMP/changed" <(changed_files)
}

connections_end() {
	exec 8>&-
	wait "$MANY"
}

# bats test_tags=long
@test "package: upgrade and downgrade keep connections on the bypass, removal takes them off, purge leaves nothing" {
	local before
	machine_with_systemd
	puts_in "$VERSION"
	run ! is_active tcpip-bypass
	in_box bash -c 'mkdir /run/metrics; printf "OPTIONS=--port 1-65535\nMETRICS=\"/run/metrics\"\n" >/etc/default/tcpip-bypass'
	in_box systemctl enable --now tcpip-bypass tcpip-bypass-metrics.timer
	hold_many 20 0
	assert_loaded "$VERSION" 1
	before=$(program_id bpf_sockops)
	amid_traffic puts_in 9.9
	assert_loaded 9.9 2
	have_want "program" "$(program_id bpf_sockops)" -ne "$before"
	amid_traffic puts_in "$VERSION"
	assert_loaded "$VERSION" 3
	# A step of the reload fails.
	in_box sed -i 's/1-65535/none/' /etc/default/tcpip-bypass
	puts_in 9.9
	output_has "version $VERSION stays loaded, and works"
	assert_loaded "$VERSION" 4
	in_box sed -i 's/none/1-65535/' /etc/default/tcpip-bypass
	advised systemctl reload tcpip-bypass
	assert_loaded 9.9 5
	is_active tcpip-bypass
	wait_until 20 "metrics" in_box test -e /run/metrics/tcpip-bypass.prom
	amid_traffic takes_out -r
	output_lacks "stays loaded"
	assert_no_pins
	have_want "metrics" "$(in_box ls /run/metrics)" = ""
	run ! is_active tcpip-bypass
	run ! is_active tcpip-bypass-metrics.timer
	many_talk 6
	connections_end
	assert_purged
}

# bats test_tags=long
@test "package: where another layout is loaded, it stays, and dpkg says how to change over" {
	machine_with_systemd
	puts_in "$VERSION"
	in_box systemctl start tcpip-bypass
	hold_many 20 0
	puts_in 99
	output_has "version $VERSION stays loaded, and works. Version 99 cannot take over its connections"
	assert_loaded "$VERSION" 1
	is_active tcpip-bypass
	advised systemctl restart tcpip-bypass
	many_talk 2
	have_want "in the map" "$(in_map)" -eq 0
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	have_want "version that is loaded" "$(loaded_version)" = 99
	connections_end
	hold_many 20 0
	puts_in "$VERSION"
	output_has "version 99 stays loaded"
	assert_loaded 99 1
	# What is in the place of its files is somebody else's.
	in_box bash -c 'mkdir -p /run/metrics/tcpip-bypass.prom; echo METRICS=/run/metrics >>/etc/default/tcpip-bypass'
	takes_out -r
	assert_no_pins
	many_talk 2
	connections_end
	assert_purged
}

# bats test_tags=long
@test "package: what is loaded by hand stays through an upgrade, removal unloads it, and what is unread later" {
	local id
	machine_without_systemd
	puts_in "$VERSION"
	in_box tcpip-bypass-load --quiet
	hold_many 20 0
	puts_in 9.9
	output_has "version $VERSION stays loaded, and works. It was loaded by hand"
	assert_loaded "$VERSION" 1
	advised tcpip-bypass-load --reload OPTION...
	assert_loaded 9.9 2
	connections_end
	# In a chroot, what is loaded is somebody else's.
	in_box bash -c 'mkdir /run/chroot; mount --rbind / /run/chroot'
	run -0 in_box chroot /run/chroot dpkg --no-triggers -r tcpip-bypass
	in_box umount --lazy /run/chroot
	hold_many 20 3
	have_want "in the map" "$(in_map)" -eq 40
	puts_in 9.9
	id=$(program_id bpf_tcpip_bypass)
	in_box chmod 777 /sys/fs/bpf
	takes_out -r
	output_has "what could not be unloaded (see above) stays loaded, and works"
	in_box chmod 700 /sys/fs/bpf
	have_want "in the map" "$(in_map)" -eq 40
	puts_in 9.9
	takes_out -r
	assert_three_stay "$id"
	connections_end
	assert_purged
}

# bats test_tags=long
@test "package: version 1.0 is unloaded by its own scripts before an upgrade, and its unit started again" {
	machine_with_systemd
	puts_in 1.0
	in_box systemctl enable --now tcpip-bypass
	hold_many 20 0
	# As a sign that these are the old scripts.
	in_box sed -i '2i echo "the old ones" >&2' /usr/lib/tcpip-bypass/unload.sh
	puts_in "$VERSION"
	output_has "the old ones"
	output_lacks "sudo"
	many_talk 1
	have_want "in the map" "$(in_map)" -eq 0
	is_active tcpip-bypass
	have_want "version that is loaded" "$(loaded_version)" = "$VERSION"
	connections_end
}
