# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Servers for programs.bats and bench/bench.sh: started in the sandbox, with all their files
# below $BOX_TMP.  With PLAIN=1 in the environment the tests run the same
# programs without the pair, to tell its defects from theirs.

PROGRAMS=$ROOT/tests/programs

# start NAME PORT COMMAND...: a server in the sandbox, its lines go to $BOX_TMP/NAME.log.
start() {
	local name=$1 port=$2
	shift 2
	in_box "$@" >"$BOX_TMP/$name.log" 2>&1 3>&- &
	wait_until 20 "$name to listen" listens "$port" || {
		tail "$BOX_TMP/$name.log" >&2
		return 1
	}
}

# End the servers and what talks to them: their connections end with them.
stop_servers() {
	wait_until 20 "the servers to end" programs_have_ended
}

# with_pair OPTION...: load it, without its lines.
with_pair() {
	[[ -n ${PLAIN:-} ]] || load_pair --quiet --all-connections "$@" >"$BOX_TMP/load.log" 2>&1
}

# assert_bypassed MESSAGES: so many at least skipped the stack, each connection
# was admitted with both ends, and all are closed.
assert_bypassed() {
	[[ -z ${PLAIN:-} ]] || return 0
	have_want "redirected messages" "$(counter redirected_messages)" -ge "$1"
	have_want "servers admitted" "$(counter admitted_passive)" -eq "$(counter admitted_active)"
	have_want "ends not admitted" "$(in_box bpftool map dump pinned /sys/fs/bpf/sock_ops_stats |
		awk '/"refused_/ { sum += $2 } END { print sum + 0 }')" -eq 0
	wait_until 10 "the map to be empty" map_is_empty
}

# assert_left_bulk COUNT: so many directions at least went back to TCP as bulk.
# Beside a busy neighbour a program may be preempted in a call on its socket, and its bulk leave
# for that.
assert_left_bulk() {
	[[ -z ${PLAIN:-} ]] || return 0
	have_want "left as bulk" "$(counter left_bulk left_room left_held)" -ge "$1"
}

# random_file FILE BYTES
random_file() {
	head -c "$2" /dev/urandom >"$1"
}

same_content() {
	cmp "$1" "$2" || {
		echo "$(stat -c %s "$1") bytes of $1, $(stat -c %s "$2") of $2" >&2
		return 1
	}
}

start_redis() {
	start "redis-$1" "$1" redis-server --port "$1" --bind 127.0.0.1 --dir "$BOX_TMP" \
		--save '' --enable-debug-command yes --rdbcompression no "${@:2}"
}

redis() {
	in_box timeout 30 redis-cli -p "$@"
}

# replica_is_level: it has got all that its master has written.
replica_is_level() {
	local written read
	written=$(redis 6379 info replication | sed -n 's/^master_repl_offset://p')
	read=$(redis 6380 info replication | sed -n 's/^slave_repl_offset://p')
	[[ $written == "$read" ]] && redis 6380 info replication | grep -q '^master_link_status:up'
}

# PostgreSQL refuses to run as root.
as_postgres() {
	in_box setpriv --reuid postgres --regid postgres --init-groups -- "$@"
}

# start_postgres OPTION...
start_postgres() {
	local dirs=(/usr/lib/postgresql/*/bin)
	PG_BIN=${dirs[-1]}
	rm -rf "$BOX_TMP/pg"
	install -d -o postgres "$BOX_TMP/pg"
	as_postgres "$PG_BIN/initdb" -N --no-locale -E UTF8 -A trust -D "$BOX_TMP/pg/data" \
		>"$BOX_TMP/initdb.log"
	start postgres 5432 setpriv --reuid postgres --regid postgres --init-groups -- "$PG_BIN/postgres" \
		-F \
		-D "$BOX_TMP/pg/data" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
		-c synchronize_seqscans=off "$@"
	wait_until 20 "PostgreSQL to answer" as_postgres "$PG_BIN/pg_isready" -q -h 127.0.0.1
}

sql() {
	in_box timeout 60 "$PG_BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -U postgres "$@"
}

# start_nginx NAME PORT [DIRECTIVE]...: one that stores what is PUT, further
# directives go into its location.
start_nginx() {
	local name=$1 port=$2
	mkdir -p "$BOX_TMP/$name"
	cat >"$BOX_TMP/$name.conf" <<-EOF
		user root;
		worker_processes 2;
		daemon off;
		pid $BOX_TMP/$name.pid;
		error_log $BOX_TMP/$name.err;
		events { }
		http {
			access_log off;
			sendfile on;
			keepalive_requests 100000;
			client_max_body_size 0;
			client_body_temp_path $BOX_TMP/$name.body;
			proxy_temp_path $BOX_TMP/$name.proxy;
			fastcgi_temp_path $BOX_TMP/$name.fastcgi;
			uwsgi_temp_path $BOX_TMP/$name.uwsgi;
			scgi_temp_path $BOX_TMP/$name.scgi;
			server {
				listen 127.0.0.1:$port ${NGINX_LISTEN:-};
				${NGINX_SERVER:-}
				root $BOX_TMP/$name;
				location / {
					${3:-dav_methods PUT;}
				}
			}
		}
	EOF
	start "$name" "$port" nginx -c "$BOX_TMP/$name.conf" -e "$BOX_TMP/$name.err"
}

# fetch CURL-ARGUMENT...
fetch() {
	in_box curl -q -sS --fail --noproxy '*' --max-time 60 "$@"
}

# put_and_get URL BYTES [CURL-ARGUMENT...]: the body comes back as it was.
put_and_get() {
	local url=$1/$2 size=$2
	shift 2
	random_file "$BOX_TMP/body" "$size"
	fetch "$@" -T "$BOX_TMP/body" "$url"
	fetch "$@" -o "$BOX_TMP/back" "$url"
	same_content "$BOX_TMP/body" "$BOX_TMP/back"
}

# start_haproxy PORT BACKEND-PORT [OPTION]
start_haproxy() {
	cat >"$BOX_TMP/haproxy.cfg" <<-EOF
		global
			nbthread 2
			stats socket $BOX_TMP/haproxy.sock
		defaults
			mode http
			timeout connect 5s
			timeout client ${HAPROXY_TIMEOUT:-30s}
			timeout server ${HAPROXY_TIMEOUT:-30s}
			${3:-}
		frontend in
			bind 127.0.0.1:$1
			default_backend out
		backend out
			server nginx 127.0.0.1:$2
	EOF
	start haproxy "$1" haproxy -db -f "$BOX_TMP/haproxy.cfg"
}

# Bytes that HAProxy has moved with splice(2).
haproxy_spliced() {
	echo "show info" | in_box timeout 5 socat - "UNIX-CONNECT:$BOX_TMP/haproxy.sock" |
		sed -n 's/^TotalSpli[a-z]*BytesOut: //ip'
}

# A relay that reads with splice(2) on port 7000, before an echo server on 7001.
start_splice_relay() {
	start echo 7001 socat TCP4-LISTEN:7001,bind=127.0.0.1,fork,reuseaddr EXEC:cat
	start relay 7000 python3 "$PROGRAMS/relay.py" 7000 7001
}

# An OpenSSH server and the configuration of its client, with keys of their own.
start_sshd() {
	in_box mkdir -p /run/sshd
	in_box ssh-keygen -q -t ed25519 -N '' -f "$BOX_TMP/host"
	in_box ssh-keygen -q -t ed25519 -N '' -f "$BOX_TMP/user"
	cat >"$BOX_TMP/sshd_config" <<-EOF
		ListenAddress 127.0.0.1:$1
		HostKey $BOX_TMP/host
		AuthorizedKeysFile $BOX_TMP/user.pub
		PidFile none
		UsePAM no
		StrictModes no
		PermitRootLogin yes
		Subsystem sftp internal-sftp
	EOF
	cat >"$BOX_TMP/ssh_config" <<-EOF
		User root
		IdentityFile $BOX_TMP/user
		IdentitiesOnly yes
		BatchMode yes
		StrictHostKeyChecking no
		UserKnownHostsFile $BOX_TMP/known_hosts
	EOF
	# Without PAM a locked password would keep root out.
	sed 's/^root:[^:]*/root:*/' /etc/shadow >"$BOX_TMP/shadow"
	in_box mount --bind "$BOX_TMP/shadow" /etc/shadow
	start sshd "$1" "$(command -v sshd || echo /usr/sbin/sshd)" -D -e -f "$BOX_TMP/sshd_config"
}

# git_in DIRECTORY ARGUMENT...
git_in() {
	in_box timeout 60 git -C "$1" -c user.name=test -c user.email=test@localhost -c gc.auto=0 \
		-c safe.directory='*' "${@:2}"
}

needs_pair() {
	[[ -z ${PLAIN:-} ]] || skip "PLAIN=1: the pair is not loaded"
}
