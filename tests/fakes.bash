# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Tools that fail, or kill the script that has called them.  Loaded after sandbox.bash.

# fake TOOL SCRIPT: comes before the real one in PATH; $REAL is the real one.
fake() {
	mkdir -p "$BOX_TMP/bin"
	printf '#!/bin/bash\nREAL=%q\n%s\n' "$(command -v "$1")" "$2" >"$BOX_TMP/bin/$1"
	chmod +x "$BOX_TMP/bin/$1"
}

# fake_nth N ACTION [MORE]: bpftool whose n-th command that changes something does ACTION.  MORE is
# a pattern of further commands that count.
fake_nth() {
	echo 0 >"$BOX_TMP/calls"
	fake bpftool "
		case \"\$*\" in
		'prog load'* | 'map update'* | '-j batch'* | 'cgroup '[ad]*tach* | 'prog '[ad]*tach*${3:+ | $3})
			n=\$((\$(<'$BOX_TMP/calls') + 1))
			echo \$n >'$BOX_TMP/calls'
			if ((n == $1)); then
				$2
			fi
			;;
		esac
		exec \"\$REAL\" \"\$@\""
}

# fail_at PATTERN [ACTION]: bpftool whose commands that match do ACTION, and fail.
fail_at() {
	fake bpftool "
		[[ \$* != $1 ]] || { ${2:-:}; echo 'failed: injected' >&2; exit 1; }
		exec \"\$REAL\" \"\$@\""
}

with_fakes() {
	in_box env PATH="$BOX_TMP/bin:$PATH" "$@"
}

# For SCRIPT: kill -9 of the script that has called it, subshells included.
# shellcheck disable=SC2034 # tests use it
KILL='
	p=$PPID
	while tr "\0" " " </proc/$p/cmdline | grep -qE "/(un)?load.sh"; do
		next=$(cut -d" " -f4 /proc/$p/stat)
		kill -9 $p
		p=$next
	done'

# The same: it does its work, and then the script gets SIGTERM, or is told that it has failed.
# shellcheck disable=SC2034 # tests use it
DONE_AND_TERM='
	"$REAL" "$@"
	status=$?
	p=$PPID
	while tr "\0" " " </proc/$p/cmdline | grep -qE "/(un)?load.sh"; do
		script=$p
		p=$(cut -d" " -f4 /proc/$p/stat)
	done
	kill -TERM $script
	exit $status'
# shellcheck disable=SC2034
DONE_AND_FAILED='
	"$REAL" "$@" >/dev/null
	echo injected >&2
	exit 1'
