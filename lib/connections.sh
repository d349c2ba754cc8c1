# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The connections: what the lists of the sockets say of both ends.  Sourced after lists.sh.
#
# shellcheck disable=SC2034,SC2153 # names that only some scripts use, and those of common.sh

# What connections() prints of a connection.  What is not known is "-".
CONNECTION=(
	age_ms # since admission
	idle   # 1: it can be taken out
	# Of each end: its address:port, the one that the other end sees (another one behind NAT),
	# its key if it is in the map, its network namespace, the bytes that it has not read, for
	# how many ms it has not (at most), whether it sends over TCP, the inode of its socket, its
	# user, and whether a thread has its lock (status_line.h).
	client client_seen client_key client_netns client_unread client_unread_ms client_over_tcp
	client_inode client_uid client_held
	server server_seen server_key server_netns server_unread server_unread_ms server_over_tcp
	server_inode server_uid server_held
	# with_programs() adds the programs, as NAME/PID.
	client_program server_program
)

# of_connections PROGRAM [FILE...]: awk on what connections() prints, where $at["client"] is
# the field of that name.
of_connections() {
	awk -F '\t' -v OFS='\t' -v names="${CONNECTION[*]}" '
		BEGIN {
			for (i = split(names, name, " "); i; i--)
				at[name[i]] = i
		}
		'"$1" "${@:2}"
}

# without_process: turns lines of sock_ops_open into those of sock_ops_status.
without_process() {
	sed 's/^\([^ ]* \)\{6\}//'
}

# sockets MAP: what sock_ops_status prints (status_line.h).  Where the host's policy refuses
# iterators over maps, sock_ops_open tells the same of the sockets that processes hold.
sockets() {
	local status=0
	iterate "$STATUS" "$@" || status=$?
	((status == 2)) || return "$status"
	open_sockets | awk -v id="$(id_of map "$@")" 'NR == 1 || index("," $6, "," id ",")' |
		without_process
}

# map_is_empty MAP: also of what sockets() cannot see.
map_is_empty() {
	[[ $(bpftool map getnext "$@" 2>&1) == *"next key: No such file"* ]]
}

# connections MAP: a line for each connection that has at least one end in the map.
connections() {
	map_is_empty "$@" || sockets "$@" | pair_up
}

# Of two ends, for pair_up().
AWK_PAIRS='
	function partner(end, own,    peer, its, third) {
		peer = with_id[own[at["peer"]]]
		if (!(peer in line))
			peer = known_by[own[at["id"]]]
		if (!(peer in line) || peer in done)
			return "-"
		# Has the peer not met anybody else?
		split(line[peer], its, " ")
		third = with_id[its[at["peer"]]]
		return third == end || !(third in line) ? peer : "-"
	}
	function show(client, server,    age) {
		age = of(client, "age_ms")
		print (age == "-" ? of(server, "age_ms") : age), idle(client, server), \
			fields(client, server), fields(server, client)
	}
	# Of two ends it is enough that one knows the other.
	function idle(client, server) {
		if (!known(client))
			return of(server, "idle")
		if (!known(server))
			return of(client, "idle")
		return of(client, "idle") && of(server, "idle") && (of(client, "pair") || of(server, "pair"))
	}'

# pair_up: the sockets, by their keys (struct sock_key, in which the addresses are bytes 4 to 35).
# Two ends are one connection if one knows the other, which knows no third one.  Their sequence
# numbers do not tell: root of a network namespace can choose them, so that many connections have
# the same ones.
pair_up() {
	awk "$AWK_HEX$AWK_ADDRESS$AWK_FIELDS"'
		NR == 1 {
			for (i = columns = NF; i; i--)
				at[$i] = i
			next
		}
		# The kernel may list a socket twice; the last line may be cut off.
		NF == columns && !($1 in line) {
			line[$1] = $0
			with_id[$at["id"]] = $1
			known_by[$at["peer"]] = $1
		}
		END {
			delete with_id[0]
			delete known_by[0]
			for (end in line) {
				if (end in done)
					continue
				split(line[end], own, " ")
				peer = partner(end, own)
				done[end]
				done[peer]
				# Of an end alone its own side.
				split(peer in line ? line[peer] : "", other, " ")
				if (own[at["server"]] + 0)
					show(other, own)
				else
					show(own, other)
			}
		}'"$AWK_PAIRS" OFS='\t'
}

# fields(END, PEER), for awk: of the columns of a socket, as in pair_up(), and of the other end's;
# those of an end that is not known are empty.
AWK_FIELDS='
	function known(end) {
		return 1 in end
	}
	function of(end, column) {
		return known(end) ? end[at[column]] : "-"
	}
	# What is unread here, the other end has sent.
	function fields(end, peer) {
		return (known(end) ? local(end) : remote(peer)) OFS remote(peer) OFS \
			of(end, "key") OFS of(end, "netns") OFS of(end, "unread") (of(end, "more") + 0 ? "+" : "") OFS \
			of(peer, "sent_ms") OFS of(end, "over_tcp") OFS of(end, "inode") OFS \
			of(end, "uid") OFS of(end, "held")
	}
	function local(end) {
		return address(substr(of(end, "key"), 9, 32), of(end, "local_port"))
	}
	function remote(end) {
		return known(end) ? address(substr(of(end, "key"), 41, 32), of(end, "remote_port")) : "-"
	}'

# address(IP, PORT), for awk: of 32 digits, with AWK_HEX.  The longest run of zero groups of IPv6,
# two at least, becomes "::".
AWK_ADDRESS='
	function address(ip, port) {
		if (!(ip in written))
			written[ip] = ip ~ /^00000000000000000000ffff/ ? ipv4(substr(ip, 25)) : "[" ipv6(ip) "]"
		return written[ip] ":" port
	}
	function ipv4(ip) {
		return byte(ip) "." byte(substr(ip, 3)) "." byte(substr(ip, 5)) "." byte(substr(ip, 7))
	}
	function ipv6(ip,    i, text, group, zeros) {
		text = ":"
		for (i = 1; i < 32; i += 4) {
			for (group = substr(ip, i, 4); group ~ /^0./;)
				group = substr(group, 2)
			text = text group ":"
		}
		for (zeros = ":0:0:0:0:0:0:0:0:"; length(zeros) > 3; zeros = substr(zeros, 3))
			if (i = index(text, zeros)) {
				text = substr(text, 1, i) ":" substr(text, i + length(zeros))
				break
			}
		if (text !~ /^::/)
			text = substr(text, 2)
		return text ~ /::$/ ? text : substr(text, 1, length(text) - 1)
	}'

# with_programs: adds the programs to what connections() prints, by the inodes of the sockets that
# processes hold; of several processes the one with the lowest number.  Of a socket that none holds,
# as one on its way through a unix socket, the user: `uid N`, which is no NAME/PID.
with_programs() {
	of_connections "$AWK_HEX"'
		FNR == NR {
			split($0, cell, " ")
			if (FNR == 1)
				for (inode in cell)
					if (cell[inode] == "inode")
						break
			if (cell[1] + 0 && !(cell[inode] in program))
				program[cell[inode]] = shown(cell[2]) "/" cell[1]
			next
		}
		{ print $0, of("client"), of("server") }
		function of(end,    inode) {
			inode = $at[end "_inode"]
			if (inode in program)
				return program[inode]
			return $at[end "_uid"] == "-" ? "-" : "uid " $at[end "_uid"]
		}' <(
		open_sockets || true
		echo 0
	) -
}
