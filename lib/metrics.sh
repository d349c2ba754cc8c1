# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What status.sh --prometheus prints: the text format of Prometheus, version 0.0.4.  Sourced by
# status.sh.
#
# A counter of counters.h is a metric of its own, or, where its name begins with the name of a
# family, a sample of that family, whose label is the rest of the name.  A new counter needs nothing
# here.

# Lines `FAMILY LABEL HELP`.
FAMILIES='admitted end Sockets that have entered the map.
refused reason Sockets that were not admitted: plain TCP.
left reason Directions of connections that went back to TCP.'

# gauge NAME[LABELS] VALUE HELP
gauge() {
	local name=${1%%\{*}
	printf '# HELP tcpip_bypass_%s %s\n# TYPE tcpip_bypass_%s gauge\ntcpip_bypass_%s %s\n' \
		"$name" "$3" "$name" "$1" "$2"
}

# loaded_is 0|1
loaded_is() {
	gauge loaded "$1" "1: the pair is loaded, and switched on."
}

metrics_of_none() {
	loaded_is 0
}

# show_metrics: of what look_at_maps() has seen.
show_metrics() {
	loaded_is 1
	gauge loaded_timestamp_seconds "$SINCE" "When it was loaded, in seconds since 1970."
	gauge "info{version=$(quoted "$LOADED_VERSION")}" 1 "The version that is loaded."
	gauge guard "$GUARDED" "1: the guard is loaded."
	gauge map_max_sockets "$MOST" "Sockets for which there is room in the map."
	awk '
		FILENAME == ARGV[1] {
			label[$1] = $2
			help[$1] = substr($0, length($1 $2) + 3)
			next
		}
		FILENAME == ARGV[2] {
			text[$1] = substr($0, length($1) + 2)
			next
		}
		{
			family = $1
			sub(/_.*/, "", family)
			if (!(family in label))
				sample($1, toupper(substr(text[$1], 1, 1)) substr(text[$1], 2) ".", "", $2)
			else
				sample(family, help[family], \
					"{" label[family] "=\"" substr($1, length(family) + 2) "\"}", $2)
		}
		function sample(name, help, labels, value) {
			name = "tcpip_bypass_" name "_total"
			if (!(name in seen))
				printf "# HELP %s %s\n# TYPE %s counter\n", name, help, name
			seen[name]
			print name labels, value
		}' <(say "$FAMILIES") <(say "$COUNTER_TEXTS") - <<<"$COUNTERS"
}
