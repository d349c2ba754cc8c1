#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What the container of docs/kubernetes.yaml runs: loads the pair on its node, and unloads it at
# SIGTERM, unless another pod has taken it over.
#
#   pod.sh            with load.sh's options in OPTIONS
#   pod.sh --loaded   is it loaded, by this pod or by one that has taken it over?
#
# A pod that finds the pair loaded takes it over (load.sh --reload): connections stay on the bypass,
# also when it brings another version.  The one before sees by the scope, which has another number
# then, that it is not its own any more.  Where METRICS is a directory, a file in it has the counters
# for the textfile collector of Prometheus' node exporter.

set -euo pipefail
HERE=$(readlink -f "${BASH_SOURCE[0]}")
HERE=${HERE%/lib/*}
# shellcheck source=lib/common.sh
. "$HERE/lib/common.sh"
# shellcheck source=lib/maps.sh
. "$HERE/lib/maps.sh"

OURS=${TMPDIR:-/tmp}/loaded # what this pod has loaded: goes with the pod
SECONDS_BETWEEN=15

# on_node COMMAND...: so that the paths of cgroups are the node's, also those of other pods.
ON_NODE=(nsenter --cgroup=/proc/1/ns/cgroup --)
on_node() {
	"${ON_NODE[@]}" "$@"
}

# state: what is loaded, another one after each load or reload; nothing where nothing is.
state() {
	! is_loaded || config_of pinned "$CONFIG_PIN"
}

load() {
	local options
	read -ra options <<<"${OPTIONS:-}"
	if is_loaded && on_node "$HERE/load.sh" --reload --quiet "${options[@]}"; then
		return
	fi
	# Loaded in part, by a container that was killed, or so that it cannot be taken over.
	on_node "$HERE/unload.sh" --timeout 1
	on_node "$HERE/load.sh" --quiet "${options[@]}"
}

# Another one may have taken it over.
end() {
	trap '' TERM INT
	if [[ $(state) == "$(<"$OURS")" ]]; then
		on_node "$HERE/unload.sh" || true
	else
		say "another pod has taken it over"
	fi
	exit 0
}

write_metrics() {
	local text
	text=$("$HERE/status.sh" --prometheus) || (($? == 1)) || return 0
	if printf '%s\n' "$text" >"$METRICS/tcpip-bypass.new"; then
		mv "$METRICS/tcpip-bypass.new" "$METRICS/tcpip-bypass.prom" || true
	fi
}

main() {
	local never
	if [[ ${1:-} == --loaded ]]; then
		[[ -s $OURS ]] && is_loaded
		return
	fi
	rm -f "$OURS"
	trap 'exit 0' TERM INT
	if ! on_node true 2>/dev/null; then
		warn "cannot see the node's cgroups (hostPID, CAP_SYS_PTRACE): those of other pods have no paths here"
		ON_NODE=(env)
	fi
	load
	state >"$OURS"
	trap end TERM INT
	# By the shell itself: with the node's pids nothing ends with it.
	exec {never}<> <(:)
	while [[ -n $(state) ]]; do
		[[ ! -d ${METRICS:-} ]] || write_metrics
		read -rt "$SECONDS_BETWEEN" -u "$never" || true
	done
	warn "unloaded by somebody else: the container is to be started again"
	exit 1
}

main "$@"
