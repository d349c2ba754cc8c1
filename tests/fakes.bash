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
