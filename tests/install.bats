#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Installed copies: make install, the systemd unit, the Debian package, and what
# the Kubernetes manifest runs.

bats_require_minimum_version 1.5.0
load sandbox.bash
load fakes.bash

box_each_test

# works_without_compiler COMMANDS: load, talk, status, unload, by COMMANDS-load and so on.
works_without_compiler() {
	local commands=$1
	# What a target without a compiler has in PATH.
	mkdir "$BOX_TMP/target"
	local tool
	for tool in awk basename bash cat comm cut date dirname env find flock grep head id ls mount \
		mountpoint nproc \
		od paste printf readlink rm sed setpriv sleep sort stat tac tail timeout tput tr umount uname wc xargs; do
		ln -sf "$(readlink -f "$(command -v "$tool")")" "$BOX_TMP/target/$tool"
	done
	cp --remove-destination "$(command -v bpftool)" "$BOX_TMP/target/bpftool" # from where the mount is
	in_box mount --bind "$BOX_TMP/target" /usr/sbin
	! in_box env PATH="$BOX_TMP/target:/usr/sbin:/sbin" bash -c 'command -v clang || command -v make'
	in_box env PATH="$BOX_TMP/target" "$commands-load"
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	run -0 in_box env PATH="$BOX_TMP/target" "$commands-status"
	output_has "200 " "messages that skipped the stack"
	in_box env PATH="$BOX_TMP/target" "$commands-unload"
	assert_no_pins
}

@test "make install: works without a compiler; make uninstall leaves nothing" {
	(umask 0 && make -C "$ROOT" -s install PREFIX="$BOX_TMP/usr")
	have_want "files that others can write" "$(find "$BOX_TMP/usr" -type f -perm /022)" = ""
	works_without_compiler "$BOX_TMP/usr/sbin/tcpip-bypass"
	make -C "$ROOT" -s uninstall PREFIX="$BOX_TMP/usr"
	have_want "files that are left" "$(find "$BOX_TMP/usr" ! -type d)" = ""
}

@test "make install: the man pages say what --help says" {
	local command page option warnings
	make -C "$ROOT" -s install PREFIX="$BOX_TMP/usr"
	for command in load status unload; do
		page=$BOX_TMP/usr/share/man/man8/tcpip-bypass-$command.8
		have_want "sections of $command" "$(grep '^\.SH' "$page")" = $'.SH NAME\n'"$(
			"$ROOT/$command.sh" --help | sed -n 's/^[A-Z]/.SH &/p'
		)"
		for option in $("$ROOT/$command.sh" --help | sed -n 's/^    \(--[a-z-]*\).*/\1/p'); do
			grep -F -- "\\fB${option//-/\\-}" "$page"
		done
		! grep -E '[a-z]\.sh' "$page"
		command -v man >/dev/null || continue
		warnings=$(MANWIDTH=80 man --warnings -l "$page" 2>&1 >/dev/null)
		have_want "warnings of man" "$warnings" = ""
	done
}

@test "make install: DESTDIR stages, PREFIX is where it will be" {
	make -C "$ROOT" -s install DESTDIR="$BOX_TMP/stage" PREFIX=/opt/x
	have_want "target of the link" "$(readlink "$BOX_TMP/stage/opt/x/sbin/tcpip-bypass-load")" = \
		/opt/x/lib/tcpip-bypass/load.sh
	grep -q '^ExecStart=/opt/x/lib/tcpip-bypass/load.sh ' \
		"$BOX_TMP/stage/opt/x/lib/systemd/system/tcpip-bypass.service"
	! grep -r "$BOX_TMP" "$BOX_TMP/stage"
	make -C "$ROOT" -s uninstall DESTDIR="$BOX_TMP/stage" PREFIX=/opt/x
	have_want "files that are left" "$(find "$BOX_TMP/stage" ! -type d)" = ""
}

@test "systemd unit: is sound, with the least rights" {
	local units=$BOX_TMP/usr/lib/systemd/system
	make -C "$ROOT" -s install PREFIX="$BOX_TMP/usr"
	run -0 systemd-analyze verify "$units"/tcpip-bypass*
	have_want "output" "$output" = ""
	systemd-analyze security --offline=true --threshold=25 --no-pager \
		"$units/tcpip-bypass.service" >/dev/null
	# What it reads takes CAP_SYS_ADMIN.
	systemd-analyze security --offline=true --threshold=35 --no-pager \
		"$units/tcpip-bypass-metrics.service" >/dev/null
}

# systemd as the first process of a PID namespace of the sandbox, with our unit
# and nothing else.
start_systemd() {
	local units=$BOX_TMP/units unit
	mkdir -p "$units/tcpip-bypass.service.d"
	make -C "$ROOT" -s install DESTDIR="$BOX_TMP/stage"
	in_box mount --bind "$BOX_TMP/stage/usr/local" /usr/local
	cp "$BOX_TMP"/stage/usr/local/lib/systemd/system/* "$units"
	for unit in basic.target sysinit.target shutdown.target network.target; do
		echo "[Unit]" >"$units/$unit"
	done
	printf '[Unit]\nWants=tcpip-bypass.service\nAfter=tcpip-bypass.service\n' >"$units/test.target"
	printf '[Service]\nEnvironmentFile=/run/options\nStandardOutput=append:/run/log\nStandardError=append:/run/log\n' \
		>"$units/tcpip-bypass.service.d/test.conf"
	mkdir "$units/tcpip-bypass-metrics.service.d"
	printf '[Service]\nEnvironment=METRICS=/run\nStandardError=append:/run/log\n' \
		>"$units/tcpip-bypass-metrics.service.d/test.conf"
	options "--port 7000-7001"
	touch "$BOX_TMP/console"
	in_box mount --bind "$BOX_TMP/console" /dev/console
	in_box unshare --pid --fork --mount-proc --uts env container=lxc SYSTEMD_UNIT_PATH="$units" \
		/lib/systemd/systemd --system --unit=test.target >/dev/null 2>&1 3>&- &
	wait_until 30 "systemd" systemd_runs
}

# options OPTIONS: for load.sh, as /etc/default/tcpip-bypass.
options() {
	in_box bash -c 'echo "OPTIONS=$1" >/run/options' options "$1"
}

systemd_runs() {
	SYSTEMD=$(find "$BOX_CGROUP" -name cgroup.procs -exec cat {} + | while read -r pid; do
		[[ $(cat "/proc/$pid/comm" 2>/dev/null) != systemd ]] || echo "$pid"
	done | head -n 1)
	[[ -n $SYSTEMD ]] && [[ $(ctl is-active test.target) == active ]]
}

ctl() {
	nsenter --target "$SYSTEMD" --mount --pid --net --cgroup -- timeout 60 systemctl --no-pager "$@" \
		2>/dev/null
}

reloads() {
	[[ $(ctl show -P ActiveState tcpip-bypass) == reloading ]]
}

# bats test_tags=long,beside
@test "systemd unit: systemd starts and stops it, confined as it is" {
	start_systemd
	[[ $(ctl is-active tcpip-bypass) == active ]] || {
		in_box cat /run/log
		false
	}
	in_box "$PAIR" --port 7000 talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	in_box "$PAIR" --port 7002 talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	options "--port 7002"
	ctl reload tcpip-bypass
	in_box "$PAIR" --port 7000 talk
	in_box "$PAIR" --port 7002 talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 400
	ctl start tcpip-bypass-metrics.service
	in_box cat /run/tcpip-bypass.prom >"$BOX_TMP/prom"
	promtool check metrics <"$BOX_TMP/prom"
	grep -x 'tcpip_bypass_redirected_messages_total 400' "$BOX_TMP/prom"
	options "--port 7000-7001"
	hold_many 10 0 # out of the port's scope
	ctl restart tcpip-bypass
	have_want "state of the unit" "$(ctl is-active tcpip-bypass)" = active
	in_box "$PAIR" --port 7001 talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	# What a load.sh that was killed leaves behind is no obstacle.
	in_box rm /sys/fs/bpf/sock_ops_stats
	ctl restart tcpip-bypass
	have_want "state of the unit" "$(ctl is-active tcpip-bypass)" = active
	# Amid a reload systemd stops it in another way.
	in_box bash -c 'printf "#!/bin/bash\n[[ ! -e /run/slow ]] || sleep 0.3\nexec %s \"\$@\"\n" "$(command -v bpftool)" >/usr/local/bin/bpftool; chmod +x /usr/local/bin/bpftool; touch /run/slow'
	ctl reload tcpip-bypass &
	wait_until 10 "a reload" reloads
	ctl stop tcpip-bypass
	wait "$!" || true
	assert_no_pins
	in_box rm /run/slow
	ctl start tcpip-bypass-metrics.service
	in_box grep -x 'tcpip_bypass_loaded 0' /run/tcpip-bypass.prom
	many_talk 1
	exec 8>&-
	wait "$MANY"
	# A lock that a user holds, which what gives sockets back what they had waits for.
	options ""
	ctl start tcpip-bypass
	mkfifo "$BOX_TMP/stay"
	in_box "$ROOT/build/stuck" recv <"$BOX_TMP/stay" >"$BOX_TMP/stuck" 3>&- 8>&- &
	exec 9>"$BOX_TMP/stay"
	wait_until 10 "a held lock" grep -q ready "$BOX_TMP/stuck"
	hold_many 5 0
	ctl stop tcpip-bypass
	have_want "state of the unit" "$(ctl is-active tcpip-bypass)" = inactive
	exec 8>&- 9>&-
	wait "$MANY"
	# What is unread then goes back to TCP once it is read.
	ctl start tcpip-bypass
	hold_many 2 1
	ctl stop tcpip-bypass
	in_box grep "takes them off the bypass once they are read" /run/log
	many_talk 1
	wait_until 20 "the process in the background to end" in_box bash -c '! compgen -G "/sys/fs/bpf/sock_ops_*-*"'
	exec 8>&-
	wait "$MANY"
}

# bats test_tags=long
@test "Debian package: builds, and works without a compiler" {
	mkdir "$BOX_TMP/src"
	(cd "$ROOT" && git ls-files -z | tar -c --null -T -) | tar -x -C "$BOX_TMP/src"
	(cd "$BOX_TMP/src" && dpkg-buildpackage -b -us -uc) >"$BOX_TMP/log" 2>&1 || {
		tail -n 40 "$BOX_TMP/log"
		false
	}
	if command -v lintian >/dev/null; then
		run -0 lintian --allow-root "$BOX_TMP"/tcpip-bypass_*.changes
		have_want "what lintian says" "$output" = ""
	fi
	run -0 dpkg-deb -I "$BOX_TMP"/tcpip-bypass_*.deb
	output_has "Depends: bpftool"
	dpkg-deb -x "$BOX_TMP"/tcpip-bypass_*.deb "$BOX_TMP/unpacked"
	ls "$BOX_TMP"/unpacked/lib/systemd/system/tcpip-bypass.service \
		"$BOX_TMP"/unpacked/usr/share/man/man8/tcpip-bypass-{load,status,unload}.8.gz
	in_box mkdir -p /usr/lib/tcpip-bypass
	in_box mount --bind "$BOX_TMP/unpacked/usr/lib/tcpip-bypass" /usr/lib/tcpip-bypass
	works_without_compiler "$BOX_TMP/unpacked/usr/sbin/tcpip-bypass"
	in_box umount /usr/lib/tcpip-bypass
	rmdir /usr/lib/tcpip-bypass
}

# manifest EXPRESSION: of the container in the manifest, by Python.
manifest() {
	python3 -c 'import sys, yaml
c = yaml.safe_load(open(sys.argv[1]))["spec"]["template"]["spec"]["containers"][0]
print(eval(sys.argv[2]))' "$ROOT/docs/kubernetes.yaml" "$1"
}

@test "Kubernetes manifest: the kustomization and the patch name what it has" {
	python3 - "$ROOT/docs" <<-'END'
		import sys, yaml
		load = lambda name: yaml.safe_load(open(f"{sys.argv[1]}/{name}"))
		custom, manifest, patch = (load(f"{name}.yaml") for name in ("kustomization", "kubernetes", "kubernetes-metrics"))
		assert custom["resources"] == ["kubernetes.yaml"]
		container = manifest["spec"]["template"]["spec"]["containers"][0]
		assert container["image"].split(":")[0] == custom["images"][0]["name"]
		patched = patch["spec"]["template"]["spec"]
		assert patched["containers"][0]["name"] == container["name"]
		assert patch["metadata"] == {key: manifest["metadata"][key] for key in ("name", "namespace")}
		volumes = [volume["name"] for volume in patched["volumes"]]
		assert [use["name"] for use in patched["containers"][0]["volumeMounts"]] == volumes
	END
}

# pod NAME: what the container of the manifest runs, with its capabilities and its environment;
# tests/guest/pod.bats has it run by a container runtime.
pod() {
	local caps run
	mkdir -p "$BOX_TMP/$1"
	caps=$(manifest '",".join("+" + x.lower() for x in c["securityContext"]["capabilities"]["add"])')
	run=$(manifest '" ".join(c["command"])')
	# shellcheck disable=SC2086 # words
	in_box setpriv --bounding-set "-all,$caps" env TMPDIR="$BOX_TMP/$1" METRICS="${METRICS:-$BOX_TMP/$1}" \
		OPTIONS="$OPTIONS" \
		bash -c 'echo $$ >"$TMPDIR/pid"; exec "$@"' pod ${run//\/usr\/lib\/tcpip-bypass/$BOX_TMP/usr/lib/tcpip-bypass} \
		>"$BOX_TMP/$1/log" 2>&1 3>&- &
	wait_until 20 "$1 to be ready" pod_is_ready "$1"
}

pod_is_ready() {
	in_box env TMPDIR="$BOX_TMP/$1" bash "$BOX_TMP/usr/lib/tcpip-bypass/lib/pod.sh" --loaded
}

end_pod() {
	kill "-$2" "$(<"$BOX_TMP/$1/pid")"
	wait_until 20 "$1 to end" pod_has_ended "$(<"$BOX_TMP/$1/pid")"
}

# bats test_tags=long
@test "Kubernetes manifest: its container loads, is taken over by the next one, and unloads at the end" {
	local OPTIONS="--port 7000"
	make -C "$ROOT" -s install PREFIX="$BOX_TMP/usr"
	pod a
	in_box "$PAIR" --port 7000 talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	wait_until 20 "its metrics" grep -q 'tcpip_bypass_redirected_messages_total' \
		"$BOX_TMP/a/tcpip-bypass.prom"
	promtool check metrics <"$BOX_TMP/a/tcpip-bypass.prom"
	# An update, while connections talk.
	OPTIONS=
	pod b
	hold_many 20 0
	OPTIONS=$'--exclude-port\n7001'
	pod c
	end_pod a TERM
	end_pod b TERM
	grep -q "another pod goes on" "$BOX_TMP/a/log"
	have_want "in the map" "$(in_map)" -eq 40
	many_talk 1
	have_want "still on the bypass" "$(in_map)" -eq 40
	have_want "ports" "$(in_box "$ROOT/status.sh" --json | jq -c .exclude_ports)" = '["7001"]'
	# What is wrong changes nothing.
	mkdir "$BOX_TMP/d"
	run -2 in_box env TMPDIR="$BOX_TMP/d" OPTIONS="--port x" bash \
		"$BOX_TMP/usr/lib/tcpip-bypass/lib/pod.sh"
	output_has "--port: not a port or a range: x"
	have_want "still on the bypass" "$(in_map)" -eq 40
	# Its container is started again.
	end_pod c KILL
	rm -r "$BOX_TMP/c"
	pod c
	have_want "still on the bypass" "$(in_map)" -eq 40
	end_pod c TERM
	grep -q "^connections taken off the bypass: 20" "$BOX_TMP/c/log"
	grep -q "^tcpip_bypass_loaded 0" "$BOX_TMP/c/tcpip-bypass.prom"
	many_talk 2
	exec 8>&-
	wait "$MANY"
	assert_no_pins
}

# bats test_tags=long,beside
@test "Kubernetes manifest: a container ends also when that takes longer than it rests between looks" {
	local OPTIONS=
	make -C "$ROOT" -s install PREFIX="$BOX_TMP/usr"
	sed -i 's/^SECONDS_BETWEEN=15$/SECONDS_BETWEEN=1/; s/^LINGER_SECONDS=30 /LINGER_SECONDS=1 /' \
		"$BOX_TMP/usr/lib/tcpip-bypass/lib/pod.sh"
	pod a
	hold_many 2 1 # what is unread is given 10 s
	end_pod a TERM
	grep -q "unread by the client" "$BOX_TMP/a/log"
	grep -q "^tcpip_bypass_loaded 0" "$BOX_TMP/a/tcpip-bypass.prom"
	assert_no_pins
	many_talk 1
	exec 8>&-
	wait "$MANY"
}

# bats test_tags=long,beside
@test "Kubernetes manifest: a container whose pair is unloaded by somebody else ends, to be started again" {
	local OPTIONS=
	make -C "$ROOT" -s install PREFIX="$BOX_TMP/usr"
	sed -i 's/^SECONDS_BETWEEN=15$/SECONDS_BETWEEN=1/' "$BOX_TMP/usr/lib/tcpip-bypass/lib/pod.sh"
	fake bpftool "[[ ! -e '$BOX_TMP/failing' ]] || { echo >>'$BOX_TMP/failing'; exit 1; }
		exec \"\$REAL\" \"\$@\""
	PATH=$BOX_TMP/bin:$PATH pod a
	# A bpftool that fails does not say that it is unloaded.
	: >"$BOX_TMP/failing"
	wait_until 20 "some looks" has_lines 8 "$BOX_TMP/failing"
	rm "$BOX_TMP/failing"
	pod_is_ready a
	run ! pod_has_ended "$(<"$BOX_TMP/a/pid")"
	unload_pair
	run -1 pod_is_ready a
	wait_until 20 "the container to end" pod_has_ended "$(<"$BOX_TMP/a/pid")"
	grep -q "the container must start again" "$BOX_TMP/a/log"
}

# bats test_tags=long
@test "Kubernetes manifest: a container that is started again does not undo an update" {
	local OPTIONS="--exclude-port 7001"
	make -C "$ROOT" -s install PREFIX="$BOX_TMP/usr"
	pod a
	OPTIONS="--exclude-port 7002" pod b
	end_pod a KILL
	rm "$BOX_TMP/a/ready" # and again before it was ready
	pod a
	wait_until 20 "it to be at work again" grep -Eq "stays|reloaded" "$BOX_TMP/a/log"
	have_want "ports" "$(in_box "$ROOT/status.sh" --json | jq -c .exclude_ports)" = '["7002"]'
	end_pod a TERM
	grep -q "another pod goes on" "$BOX_TMP/a/log"
	# Nor is anything loaded twice where there is nothing yet.
	unload_pair
	end_pod b KILL
	pod b
	pod_is_ready b
	end_pod b TERM
	assert_no_pins
}

# bats test_tags=long,beside
@test "Kubernetes manifest: a container leaves alone what an unload.sh by hand has left in the background" {
	local OPTIONS= pin
	make -C "$ROOT" -s install PREFIX="$BOX_TMP/usr"
	load_pair --quiet
	hold_many 2 1
	unload_pair --timeout 0
	pin=$(in_box sh -c 'ls /sys/fs/bpf/sock_ops_status-*')
	pod a
	end_pod a TERM
	in_box test -e "$pin" # maybe another, where another box has left something behind
	[[ $(ps -o stat= -p "${pin##*-}") != Z* ]]
	many_talk 1
	wait_until 20 "it to end" in_box test ! -e "$pin"
	exec 8>&-
	wait "$MANY"
}

# bats test_tags=beside
@test "Kubernetes manifest: a container that cannot write its metrics ends, and unloads" {
	local OPTIONS=
	make -C "$ROOT" -s install PREFIX="$BOX_TMP/usr"
	local METRICS=$BOX_TMP/metrics holder
	sed -i 's/^WRITE_SECONDS=.*/WRITE_SECONDS=1/' "$BOX_TMP/usr/lib/tcpip-bypass/lib/metrics_file.sh"
	mkdir "$METRICS"
	chmod 755 "$BOX_TMP" "$METRICS" # any user can read the node exporter's
	coproc in_box "$ROOT/build/stuck" lock "$METRICS" 3>&-
	holder=${COPROC[1]}
	read -r _ <&"${COPROC[0]}"
	pod a
	end_pod a TERM
	grep -q "METRICS: somebody holds the lock of that directory" "$BOX_TMP/a/log"
	grep -q "^unloaded" "$BOX_TMP/a/log"
	assert_no_pins
	# Nor does it hold up the removal of the package.
	sed -n '/^forget_metrics()/,/^}/p' "$ROOT/debian/tcpip-bypass.prerm" >"$BOX_TMP/forget"
	run -0 in_box timeout 20 bash -ec 'HERE=$1 DEFAULTS=$2; . "$3"; forget_metrics' bash "$ROOT" \
		<(echo "METRICS=$METRICS") "$BOX_TMP/forget"
	exec {holder}>&-
}

pod_has_ended() {
	! kill -0 "$1" 2>/dev/null
}

@test "Debian package: what is purged in another root is nothing of this one" {
	in_box mount -t tmpfs none /etc/default
	in_box touch /etc/default/tcpip-bypass
	in_box env DPKG_ROOT="$BOX_TMP" sh "$ROOT/debian/tcpip-bypass.postrm" purge
	in_box test -e /etc/default/tcpip-bypass
	in_box env DPKG_ROOT="$BOX_TMP" bash "$ROOT/debian/tcpip-bypass.postinst" configure 1.0
	in_box sh "$ROOT/debian/tcpip-bypass.postrm" purge
	run ! in_box test -e /etc/default/tcpip-bypass
}

@test "Kubernetes manifest: where flock does not tell whether another pod goes on, the container says so" {
	local OPTIONS=
	make -C "$ROOT" -s install PREFIX="$BOX_TMP/usr"
	fake flock "[[ \$* != '--exclusive --nonblock'* || ! -e '$BOX_TMP/failing' ]] || kill -9 \$\$
		exec \"\$REAL\" \"\$@\""
	PATH=$BOX_TMP/bin:$PATH pod a
	touch "$BOX_TMP/failing"
	end_pod a TERM
	grep "flock does not tell whether another pod goes on" "$BOX_TMP/a/log"
	rm "$BOX_TMP/failing"
	pod b
	end_pod b TERM
	assert_no_pins
}
