# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The groups of bench.sh that are real servers and clients.  Sourced by bench.sh, whose comment on
# groups says what figures_*, before_* and after_* are.
#
# shellcheck disable=SC2034,SC2154 # names of bench.sh and of tests/programs.bash

before_redis() {
	start_redis 6379 --unixsocket "$BOX_TMP/redis.sock"
}

figures_redis() {
	redis_benchmark "redis GET" 50 get
	redis_benchmark "redis SET" 50 set
	redis_benchmark "redis GET" 1 get
	redis_benchmark "redis GET -P 16" 50 get -P 16
}

# redis_benchmark NAME CLIENTS TEST [OPTION]...
redis_benchmark() {
	local name=$1 clients=$2 test=$3 where=(-h 127.0.0.1 -p 6379)
	shift 3
	[[ $VARIANT != unix ]] || where=(-s "$BOX_TMP/redis.sock")
	measure "$name" 64 "$clients" "$(nproc)" 1/s client '
		BEGIN { FS = "\",\"" }
		/^"[GS]ET"/ {
			sub(/"$/, "")
			printf "%s,%.2f,%.2f,%.3f\n", $2, $5 * 1000, $7 * 1000, cpu / '"$REQUESTS"'
		}' redis-benchmark --csv "${where[@]}" -c "$clients" -n "$REQUESTS" -d 64 -t "$test" "$@"
}

start_pgbench() {
	start_postgres -c "unix_socket_directories=$BOX_TMP/pg"
	quietly in_box "$PG_BIN/pgbench" -h 127.0.0.1 -U postgres -i -q postgres
}

before_pgbench() {
	start_pgbench
	echo "SELECT repeat('x', 1000000);" >"$BOX_TMP/large.sql"
	chmod 644 "$BOX_TMP/large.sql"
}

figures_pgbench() {
	pgbench "pgbench -S" 8 -S
	pgbench "pgbench -S" 1 -S
	# Over pooled connections, as those of pgbench are: the built-in query, and an answer of 1 MB.
	pgbench "pgbench -S and 1 MB" 8 -b select-only@49 -f "$BOX_TMP/large.sql@1"
}

# pgbench NAME CLIENTS OPTION...
pgbench() {
	local name=$1 clients=$2 host=127.0.0.1
	shift 2
	[[ $VARIANT != unix ]] || host=$BOX_TMP/pg
	measure "$name" "" "$clients" "$(nproc)" 1/s client '
		/^number of transactions actually/ { split($NF, n, "/") }
		/^tps = / { printf "%s,,,%.3f\n", $3, cpu / n[1] }' \
		"$PG_BIN/pgbench" -h "$host" -p "$PG_PORT" -U postgres -n -M "$PG_MODE" -c "$clients" -j 1 \
		-t $((REQUESTS / clients / 2)) "$@" postgres
}

# By a pool: each query takes two connections, that of the client and one of the pool's own.  A pool
# for transactions knows no prepared queries.  By default pgbouncer defers accept, and the client's
# side stays on TCP.
before_pgbouncer() {
	start_pgbench
	PG_PORT=6432 PG_MODE=simple
}

after_pgbouncer() {
	PG_PORT=5432 PG_MODE=prepared
}

figures_pgbouncer() {
	with_pgbouncer 0 pgbench "pgbench -S by pgbouncer" 8 -S
	with_pgbouncer 0 pgbench "pgbench -S by pgbouncer" 1 -S
	with_pgbouncer 1 pgbench "the same with deferred accept" 8 -S
}

# with_pgbouncer DEFER COMMAND...: a new one, since the pool keeps its connections.
with_pgbouncer() {
	cat >"$BOX_TMP/pgbouncer.ini" <<-END
		[databases]
		postgres = host=127.0.0.1 port=5432 user=postgres
		[pgbouncer]
		listen_addr = 127.0.0.1
		listen_port = $PG_PORT
		unix_socket_dir =
		auth_type = any
		pool_mode = transaction
		default_pool_size = 4
		tcp_defer_accept = $1
		pidfile = $BOX_TMP/pg/pgbouncer.pid
	END
	shift
	start pgbouncer "$PG_PORT" pgbouncer -u postgres "$BOX_TMP/pgbouncer.ini"
	"$@"
	kill "$(<"$BOX_TMP/pg/pgbouncer.pid")"
	wait_until 5 "pgbouncer to end" test ! -e "$BOX_TMP/pg/pgbouncer.pid"
}

# Java, which blocks in read and write.
before_jdbc() {
	start_pgbench
}

figures_jdbc() {
	measure "JDBC select" "" 1 "$(nproc)" 1/s client '
		/^[0-9.]+,[0-9.]+,[0-9.]+$/ { print $0 "," }' \
		java -cp "$JDBC" "$PROGRAMS/Query.java" "$PG_PORT" $((REQUESTS / 2))
}

before_nginx() {
	start_nginx nginx 8080
	local size
	for size in "${FILES[@]}"; do
		random_file "$BOX_TMP/nginx/$size" "$size"
	done
}

figures_nginx() {
	local size
	for size in "${FILES[@]}"; do
		measure "nginx wrk" "$size" 16 "$(nproc)" 1/s client '
			function us(time) { return time * (time ~ /us$/ ? 1 : time ~ /ms$/ ? 1e3 : 1e6) }
			/^ *50%/ { p50 = us($2) }
			/^ *99%/ { p99 = us($2) }
			/requests in/ { n = $1 }
			/Socket errors|Non-2xx/ { exit }
			/^Requests\/sec:/ { printf "%s,%.2f,%.2f,%.3f\n", $2, p50, p99, cpu / n }' \
			wrk -t 1 -c 16 -d 1s --latency "http://127.0.0.1:8080/$size"
	done
}

before_memcached() {
	start memcached 11211 memcached -u root -l 127.0.0.1 -p 11211 -t 2
	in_box memcached -u root -s "$BOX_TMP/memcached.sock" -t 2 >"$BOX_TMP/memcached2.log" 2>&1 \
		</dev/null &
	wait_until 5 "memcached to listen" test -S "$BOX_TMP/memcached.sock"
}

# Each thread gets all keys, which were set by one.
figures_memcached() {
	local server=127.0.0.1:11211 keys=$((REQUESTS / 4))
	[[ $VARIANT != unix ]] || server=$BOX_TMP/memcached.sock
	measure "memcached get" 400 4 "$(nproc)" 1/s client '
		/^Time to get/ { printf "%.1f,,,%.3f\n", $4 / $(NF - 1), cpu / ($4 + '"$keys"') }' \
		memcslap -s "$server" -N -c 4 -e "$keys" -t get
}

# Its listener sets SO_ZEROCOPY.
before_grpc() {
	OPTIONS=(--admit-zerocopy)
	start grpc 8080 taskset -c 0 /usr/bin/python3 "$PROGRAMS/rpc.py" serve 8080
}

after_grpc() {
	OPTIONS=()
}

# On one core, as sockperf.
figures_grpc() {
	local calls=$((REQUESTS / 20))
	measure "gRPC unary (Python)" 100 1 1 1/s client '
		/^[0-9.]+,[0-9.]+,[0-9.]+$/ { printf "%s,%.3f\n", $0, cpu / '"$calls"' }' \
		taskset -c 0 /usr/bin/python3 "$PROGRAMS/rpc.py" time 8080 "$calls"
}

before_sockperf() {
	start sockperf 11111 taskset -c 0 sockperf sr --tcp -i 127.0.0.1
}

# On one core, since the scheduler may put both ends there or not; most of a run is
# sockperf's own waiting.
figures_sockperf() {
	measure "sockperf ping-pong" 64 1 1 1/s client '
		/Total Run/ { split($0, part, /SentMessages=/); sent = part[2] + 0 }
		/Summary: Round trip/ { us = $(NF - 1) }
		/percentile 99\.000/ { p99 = $NF }
		/percentile 50\.000/ && us > 0 {
			printf "%.1f,%s,%s,%.3f\n", 1e6 / us, $NF, p99, cpu / sent
		}' taskset -c 0 sockperf pp --tcp -i 127.0.0.1 -m 64 -t 1 --full-rtt
}
