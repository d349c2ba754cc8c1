# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What status.sh --json prints, of what look() has seen.  Sourced by status.sh.

# list_of LINES: as the members of a JSON array of strings, as they are shown.
list_of() {
	local line comma=
	[[ -n $1 ]] || return 0
	while IFS= read -r line; do
		printf %s "$comma"
		quoted "$line"
		comma=,
	done < <(say "$1")
}

# truth 0|1|'': not known.
truth() {
	case $1 in
	0) say false ;;
	1) say true ;;
	*) say null ;;
	esac
}

# members: of a JSON object, from lines `NAME NUMBER`.
members() {
	awk '{ printf "%s\"%s\":%s", (NR > 1 ? "," : ""), $1, $2 }'
}

json_of_none() {
	say '{"loaded":false}'
}

show_json() {
	printf '{"loaded":true,"since":%s,"version":%s,"cgroup":' "$SINCE" "$(quoted "$LOADED_VERSION")"
	[[ -n $CGROUP ]] && quoted "$(shown "$CGROUP")" || printf null
	printf ',"ports":[%s],"exclude_ports":[%s],"trace":%s' \
		"$(list_of "${ONLY//,/$'\n'}")" "$(list_of "${EXCEPT//,/$'\n'}")" \
		"$(truth $((!QUIET)))"
	printf ',"exclude_cgroups":[%s]' "$(list_of "$NOT_UNDER")"
	printf ',"exclude_programs":[%s]' "$(list_of "$NOT_OF")"
	printf ',"guard":%s' "$(truth "$GUARDED")"
	printf ',"all_connections":%s' "$(truth $((ALL > 0)))"
	printf ',"admit_zerocopy":%s' "$(truth $((ZEROCOPY > 0)))"
	printf ',"new_listeners_only":%s' "$(truth $((NEW_ALONE > 0)))"
	printf ',"attached":%s' "$(truth "$ATTACHED")"
	printf ',"later_programs":[%s]' "$(list_of "$LATER")"
	printf ',"all_listed":%s' "$(truth "$ALL_LISTED")"
	printf ',"map":{"sockets":%s,"max":%s},"counters":{' "$SOCKETS" "$MOST"
	members <<<"$COUNTERS"
	printf '},"open":{'
	members <<<"$DIRECTIONS"
	printf '},"connections":['
	[[ -z $CONNECTIONS ]] || of_connections '
		{
			printf "%s{\"client\":%s,\"server\":%s,\"age_ms\":%s}", (NR > 1 ? "," : ""),
				end("client"), end("server"), $at["age_ms"]
		}
		function end(who,    over_tcp, unread) {
			over_tcp = $at[who "_over_tcp"]
			unread = $at[who "_unread"]
			return sprintf("{\"address\":\"%s\",\"seen_as\":%s,\"on_bypass\":%s,\"netns\":%s," \
				"\"unread\":%s,\"unread_ms\":%s,\"program\":%s}",
				$at[who], text($at[who "_seen"]), over_tcp == "-" ? "null" : over_tcp + 0 ? "false" : "true",
				known($at[who "_netns"]), unread == "-" ? "null" : unread + 0,
				(unread + 0 ? known($at[who "_unread_ms"]) : 0), text($at[who "_program"]))
		}
		function known(value) {
			return value == "-" ? "null" : value
		}
		function text(value) {
			gsub(/[\\"]/, "\\\\&", value)
			return value == "-" ? "null" : "\"" value "\""
		}' < <(say "$CONNECTIONS")
	say ']}'
}
