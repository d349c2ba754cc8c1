#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What the container of docs/kubernetes.yaml runs: loads the pair on its node, and unloads it at
# SIGTERM, unless there is another pod.
#
#   pod.sh            with load.sh's options in OPTIONS
#   pod.sh --loaded   is it loaded, and has this pod come so far?
#
# A pod that finds the pair loaded takes it over (load.sh --reload): connections stay on the bypass,
# also when it brings another version.  All pods of a node, two during an update, share a lock,
# which goes with the process that holds it: the pod that can get it exclusively is the last one.
#
# Where METRICS is a directory, a file in it has the counters for the textfile collector of
# Prometheus' node exporter.

set -euo pipefail
HERE=$(readlink -f "${BASH_SOURCE[0]}")
HERE=${HERE%/lib/*}
# shellcheck source=lib/common.sh
. "$HERE/lib/common.sh"
# shellcheck source=lib/maps.sh
. "$HERE/lib/maps.sh"
# shellcheck source=lib/config.sh
. "$HERE/lib/config.sh"
# shellcheck source=lib/lists.sh
. "$HERE/lib/lists.sh"

PODS=$BPFFS/pods              # the lock, in root's BPF file system
READY=${TMPDIR:-/tmp}/ready   # goes with the pod, not with its container
LOADED=${TMPDIR:-/tmp}/loaded # so does this, and it stays
AGAIN=0                       # 1: a container of this pod has loaded before
SECONDS_BETWEEN=15
LINGER_SECONDS=30 # of the grace period of the manifest
METRICS_REST=600
METRICS_AT=0 # not before SECONDS is that

# on_node COMMAND...: so that the paths of cgroups are the node's, also those of other pods.
ON_NODE=(nsenter --cgroup=/proc/1/ns/cgroup --)
on_node() {
	"${ON_NODE[@]}" "$@"
}

# join: until a pod that unloads has ended.
join() {
	while :; do
		mkdir -p "$PODS" || die "cannot write to $BPFFS$(confinement)"
		exec {TOGETHER}<"$PODS"
		flock --shared "$TOGETHER"
		[[ ! $PODS -ef /dev/fd/$TOGETHER ]] || return 0
		exec {TOGETHER}<&- # the last one has removed it meanwhile
	done
}

# is_last: 1: another one goes on; 2: that is not to be known.
is_last() {
	local status
	for _ in {1..3}; do
		status=0
		flock --exclusive --nonblock "$TOGETHER" || status=$?
		((status > 1)) || return "$status"
	done
	return 2
}

# load_in_turn: waits for another pod, or a load.sh by hand.  What these have half done must not be
# taken for something that was loaded in part.
load_in_turn() {
	local turn status=0
	mkdir -p "$PODS/turn"
	exec {turn}<"$PODS/turn"
	timeout --foreground 120 flock "$turn" || die "another pod has been loading for two minutes"
	timeout --foreground 60 flock --shared "$BPFFS" true || true
	load || status=$?
	exec {turn}<&-
	return "$status"
}

load() {
	local options status=0
	read -rd '' -a options < <(printf '%s \0' "${OPTIONS:-}") # YAML may make lines of them
	if is_loaded; then
		# A later pod may have taken over meanwhile.
		((!AGAIN)) || {
			say "started again: what is loaded stays"
			return 0
		}
		on_node "$HERE/load.sh" --reload --quiet "${options[@]}" || status=$?
		# Unless it cannot be changed in place, what is loaded stays as it is.
		((status == 3)) || return "$status"
	fi
	# Loaded in part, by a container that was killed, or by another version.
	can_read_config || return 1
	on_node "$HERE/unload.sh" --timeout 1
	on_node "$HERE/load.sh" --quiet "${options[@]}"
}

# left_lists: the pins of processes that an unload.sh has left behind, but not those that were there
# BEFORE, which are somebody else's.  Those of a status.sh have the map's name in place of its
# number.
left_lists() {
	{
		compgen -G "$BPFFS/$STATUS-[0-9]*"
		compgen -G "$BPFFS/$RELEASE-[0-9]*"
	} | grep -vxF "$BEFORE" || true
}

# unload: all processes end with the container, also the one that unload.sh leaves for what is
# unread.
unload() {
	local i pin BEFORE=''
	BEFORE=$(left_lists)
	on_node "$HERE/unload.sh" || true
	for ((i = 0; i < LINGER_SECONDS; i++)); do
		[[ -n $(left_lists) ]] || break
		sleep 1
	done
	while read -r pin; do
		[[ -n $pin ]] || continue
		# Else it would pin its lists again.
		! has_maker "$pin" || kill -KILL "${pin##*-}" 2>/dev/null || true
		rm -f "$BPFFS"/sock_ops_*-"${pin##*-}"
	done < <(left_lists)
	rmdir "$PODS/turn" "$PODS"
}

end() {
	local status=0
	trap '' TERM INT
	is_last || status=$?
	case $status in
	0)
		unload
		METRICS_AT=0
		write_metrics
		;;
	1) say "another pod goes on" ;;
	*) die "flock does not tell whether another pod goes on; if none does:" \
		"sudo unload.sh on the node" ;;
	esac
	exit 0
}

# write_metrics: where somebody holds the directory's lock, not again for a while, as each time
# leaves a process that cannot be killed.
write_metrics() {
	local status=0
	[[ -n ${METRICS:-} ]] && ((SECONDS >= METRICS_AT)) || return 0
	"$HERE/lib/metrics_file.sh" || status=$?
	((status != 124)) || METRICS_AT=$((SECONDS + METRICS_REST))
}

main() {
	local signals ended=
	if [[ ${1:-} == --loaded ]]; then
		[[ -e $READY ]] && is_loaded
		return
	fi
	[[ ! -e $LOADED ]] || AGAIN=1
	rm -f "$READY"
	# A line in it ends the rest below.  No more than that in a trap: the time that a read was given
	# would end the trap's commands as well.
	exec {signals}<> <(:)
	trap 'ended=1; echo >&"$signals"' TERM INT
	check_bpffs || exit 1
	join
	if ! on_node true 2>/dev/null; then
		warn "cannot see the node's cgroups (hostPID, CAP_SYS_PTRACE):" \
			"those of other pods have no paths here"
		ON_NODE=(env)
	fi
	load_in_turn || exit
	: >"$LOADED"
	: >"$READY"
	while [[ -z $ended ]] && { is_loaded || ! can_read_config; }; do
		write_metrics
		# By the shell itself: with the node's pids nothing ends with it.
		read -rt "$SECONDS_BETWEEN" -u "$signals" || true
	done
	[[ -z $ended ]] || end
	warn "unloaded by somebody else: the container must start again"
	exit 1
}

main "$@"
