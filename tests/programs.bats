#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Real programs, as Debian packages them, with both ends under the pair: what
# they store, send and print is right, the counters prove that the bypass was
# used, and nothing stays in the map.  PLAIN=1 runs them without the pair.

bats_require_minimum_version 1.5.0
load sandbox.bash
load programs.bash

setup() {
	box_up
	chmod 755 "$BOX_TMP"
	with_pair
}

teardown() {
	box_down
}

@test "programs: redis-benchmark with and without pipelining" {
	start_redis 6379
	in_box timeout 60 redis-benchmark -q -n 20000 -c 20 -t incr,set,get,lrange_100
	in_box timeout 60 redis-benchmark -q -n 20000 -c 20 -P 16 -t incr,lpush
	in_box timeout 60 redis-benchmark -q -n 200 -c 4 -d 300000 -t set,get
	# Each INCR of both runs was done once.
	have_want "the counter" "$(redis 6379 get counter:__rand_int__)" -eq 40000
	have_want "length of the value" "$(redis 6379 strlen key:__rand_int__)" -eq 300000
	stop_servers
	assert_bypassed 200000
}

@test "programs: redis publishes 1000 messages to 3 subscribers" {
	local i subscriber expected
	start_redis 6379
	for subscriber in 1 2 3; do
		redis 6379 subscribe news >"$BOX_TMP/news.$subscriber" 3>&- &
	done
	wait_until 10 "the subscribers" redis_has_subscribers 3
	seq -f 'publish news message-%g' 1000 | redis 6379 >"$BOX_TMP/published"
	have_want "messages that reached all" "$(grep -cx 3 "$BOX_TMP/published")" -eq 1000
	expected=$(printf 'subscribe\nnews\n1\n' && seq -f $'message\nnews\nmessage-%g' 1000)
	for subscriber in 1 2 3; do
		wait_until 10 "all messages" lines_are "$BOX_TMP/news.$subscriber" 3003
		diff "$BOX_TMP/news.$subscriber" - <<<"$expected"
	done
	stop_servers
	# Beside a busy neighbour a subscriber may not get its turn in time, and the direction to it leave.
	[[ -n ${PLAIN:-} ]] || have_want "left for want of room" "$(counter left_room left_held)" -le 3
	assert_bypassed 1500
}

redis_has_subscribers() {
	[[ $(redis 6379 pubsub numsub news | tail -n 1) -eq $1 ]]
}

lines_are() {
	[[ $(wc -l <"$1") -eq $2 ]]
}

# bats test_tags=long
@test "programs: redis replicates 100 MB and what is written meanwhile" {
	start_redis 6379 --repl-diskless-sync-delay 0
	start_redis 6380
	redis 6379 debug populate 1000 key 100000
	redis 6380 replicaof 127.0.0.1 6379
	in_box timeout 60 redis-benchmark -q -n 20000 -c 4 -r 10000 -d 100 -t set,lpush
	wait_until 30 "the replica" replica_is_level
	have_want "keys" "$(redis 6380 dbsize)" -gt 1000
	have_want "digest of the first server" "$(redis 6379 debug digest)" = "$(redis 6380 debug digest)"
	# The stream of single writes goes on once both are level.
	seq -f 'set after-%g %g' 500 | redis 6379 | uniq -c
	wait_until 30 "the replica" replica_is_level
	have_want "digest of the first server" "$(redis 6379 debug digest)" = "$(redis 6380 debug digest)"
	stop_servers
	assert_left_bulk 1
	assert_bypassed 40000
}

# bats test_tags=long
@test "programs: pgbench with 4 clients keeps its balances" {
	start_postgres
	in_box "$PG_BIN/pgbench" -h 127.0.0.1 -U postgres -i -q -s 2 postgres >"$BOX_TMP/init" 2>&1
	in_box timeout 60 "$PG_BIN/pgbench" -h 127.0.0.1 -U postgres -c 4 -j 2 -t 500 postgres \
		>"$BOX_TMP/bench" 2>&1
	in_box timeout 60 "$PG_BIN/pgbench" -h 127.0.0.1 -U postgres -n -M prepared -S -c 4 -t 2000 \
		postgres
	grep -F "transactions actually processed: 2000/2000" "$BOX_TMP/bench"
	have_want "transactions" "$(sql -c 'select count(*) from pgbench_history')" -eq 2000
	[[ $(sql -c 'select (select sum(delta) from pgbench_history) = (select sum(abalance) from pgbench_accounts)
		and (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches)') == t ]]
	stop_servers
	# Seven statements and their answers in each of 2000, one in each of 8000.
	assert_bypassed $((2000 * 7 * 2 + 8000 * 2))
}

@test "programs: PostgreSQL copies 100 MB in and out" {
	start_postgres
	head -c 75M /dev/urandom | base64 -w 1000 >"$BOX_TMP/in"
	sql -c 'create table lines (line text)'
	sql -c 'copy lines from stdin' <"$BOX_TMP/in"
	sql -c 'copy lines to stdout' >"$BOX_TMP/out"
	same_content "$BOX_TMP/in" "$BOX_TMP/out"
	# In turns, both ways, some of it bulk.
	sql -c "select repeat('x', (i * i * 3)) from generate_series(1, 200) i" >"$BOX_TMP/rows"
	have_want "rows, and wrong ones" \
		"$(awk 'length != NR * NR * 3 { wrong++ } END { print NR, wrong + 0 }' "$BOX_TMP/rows")" = "200 0"
	stop_servers
	assert_left_bulk 2
	assert_bypassed 10
}

@test "programs: PostgreSQL notifies of 1000 events in order" {
	start_postgres
	mkfifo "$BOX_TMP/listen"
	sql <"$BOX_TMP/listen" >"$BOX_TMP/heard" 3>&- &
	exec 8>"$BOX_TMP/listen"
	echo "listen news; select 'listening';" >&8
	wait_until 10 "the listener" grep -q listening "$BOX_TMP/heard"
	seq -f "notify news, 'event %g';" 1000 | sql
	wait_until 20 "all events" heard_all 1000
	sed -n 's/.*with payload "\(.*\)" received.*/\1/p' "$BOX_TMP/heard" |
		diff - <(seq -f 'event %g' 1000)
	exec 8>&-
	stop_servers
	# One, two or three for each event: those that come together share one.
	assert_bypassed 2000
}

# psql shows what it has heard after each statement.
heard_all() {
	echo 'select 1;' >&8
	[[ $(grep -c '^Asynchronous' "$BOX_TMP/heard") -ge $1 ]]
}

@test "programs: nginx answers 1000 requests on one connection" {
	start_nginx nginx 8080
	seq 1 100 >"$BOX_TMP/nginx/small"
	random_file "$BOX_TMP/nginx/large" 30000
	fetch -w '%{num_connects}\n' "http://127.0.0.1:8080/small?[1-1000]" >"$BOX_TMP/out"
	have_want "right answers" "$(grep -c '^100$' "$BOX_TMP/out")" -eq 1000
	# The last line of each is followed by the connections that it took.
	fetch -w '%{num_connects}\n' -o "$BOX_TMP/large.#1" "http://127.0.0.1:8080/large?[1-1000]" \
		>"$BOX_TMP/connects"
	have_want "connections" "$(awk '{ sum += $1 } END { print sum }' "$BOX_TMP/connects")" -eq 1
	have_want "files that are alike" \
		"$(sha256sum "$BOX_TMP"/large.* "$BOX_TMP/nginx/large" | cut -d ' ' -f 1 | sort | uniq -c | awk 'NR == 1 { print $1 }')" = 1001
	stop_servers
	assert_bypassed 4000
}

@test "programs: nginx stores uploads of 1 KB to 200 MB" {
	local size
	start_nginx nginx 8080
	for size in 1000 4096 65536 65537 1000000 20000000 200000000; do
		put_and_get http://127.0.0.1:8080 "$size"
	done
	stop_servers
	assert_left_bulk 1
	assert_bypassed 20
}

# bats test_tags=long
@test "programs: nginx as a reverse proxy to a second nginx" {
	local size
	start_nginx nginx 8081
	start_nginx proxy 8080 \
		"proxy_pass http://127.0.0.1:8081; proxy_http_version 1.1; proxy_set_header Connection '';"
	start_nginx stream 8082 \
		"proxy_pass http://127.0.0.1:8081; proxy_request_buffering off; proxy_buffering off;"
	for size in 1000 70000 3000000 100000000; do
		put_and_get http://127.0.0.1:8080 "$size"
		put_and_get http://127.0.0.1:8082 "$size"
	done
	seq 1 100 >"$BOX_TMP/nginx/small"
	fetch "http://127.0.0.1:8080/small?[1-300]" "http://127.0.0.1:8082/small?[1-300]" >"$BOX_TMP/out"
	have_want "answers" "$(grep -c '^100$' "$BOX_TMP/out")" -eq 600
	stop_servers
	assert_left_bulk 2
	assert_bypassed 2400
}

# nginx reads by edges, and stops when FIONREAD says 0: it must not be told so of a socket
# that cannot leave the map, since the server has not read the request's body.
# bats test_tags=long
@test "programs: nginx as a reverse proxy to a server that answers before it reads" {
	start early 8081 python3 "$PROGRAMS/early.py" 8081 40000000
	start_nginx proxy 8080 \
		"proxy_pass http://127.0.0.1:8081; proxy_request_buffering off; proxy_max_temp_file_size 0;"
	random_file "$BOX_TMP/body" 50000
	fetch --limit-rate 20M -T "$BOX_TMP/body" -o "$BOX_TMP/back" http://127.0.0.1:8080/x
	python3 -c 'import sys; sys.stdout.buffer.write((bytes(range(256)) * 156251)[:40000000])' \
		>"$BOX_TMP/want"
	same_content "$BOX_TMP/want" "$BOX_TMP/back"
	wait_until 5 "the server to read the body" grep -q "body read" "$BOX_TMP/early.log"
	stop_servers
	assert_left_bulk 2
	assert_bypassed 20
}

@test "programs: nginx with HTTP/2, in clear text and with TLS" {
	local size
	NGINX_LISTEN="http2" start_nginx clear 8080
	in_box openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
		-keyout "$BOX_TMP/key.pem" -out "$BOX_TMP/cert.pem" 2>/dev/null
	NGINX_LISTEN="ssl http2" NGINX_SERVER="ssl_certificate $BOX_TMP/cert.pem; ssl_certificate_key $BOX_TMP/key.pem;" \
		start_nginx tls 8443
	for size in 1000 65537 30000000; do
		put_and_get http://127.0.0.1:8080 "$size" --http2-prior-knowledge
		put_and_get https://127.0.0.1:8443 "$size" --http2 --insecure
	done
	# 20 streams at a time on one connection.
	random_file "$BOX_TMP/tls/part" 50000
	fetch --http2 --insecure --parallel --parallel-max 20 -w '%{http_version}\n' \
		-o "$BOX_TMP/part.#1" \
		"https://127.0.0.1:8443/part?[1-200]" >"$BOX_TMP/versions" 2>/dev/null
	have_want "answers over HTTP/2" "$(grep -cx 2 "$BOX_TMP/versions")" -eq 200
	have_want "files that are alike" \
		"$(sha256sum "$BOX_TMP"/part.* "$BOX_TMP/tls/part" | cut -d ' ' -f 1 | sort | uniq -c | awk 'NR == 1 { print $1 }')" = 201
	stop_servers
	assert_bypassed 200
}

# bats test_tags=long
@test "programs: nginx with slow clients" {
	start_nginx nginx 8080
	random_file "$BOX_TMP/nginx/file" 20000000
	fetch --limit-rate 10M -o "$BOX_TMP/down" http://127.0.0.1:8080/file
	same_content "$BOX_TMP/nginx/file" "$BOX_TMP/down"
	fetch --limit-rate 10M -T "$BOX_TMP/nginx/file" http://127.0.0.1:8080/up
	same_content "$BOX_TMP/nginx/file" "$BOX_TMP/nginx/up"
	# One that stops for a second in the middle.
	in_box curl -q -sS --max-time 30 http://127.0.0.1:8080/file 3>&- |
		(head -c 5000 && sleep 1 && cat) >"$BOX_TMP/late"
	same_content "$BOX_TMP/nginx/file" "$BOX_TMP/late"
	stop_servers
	assert_bypassed 4
}

@test "programs: HAProxy without splice" {
	local size
	start_nginx nginx 8081
	start_haproxy 8080 8081
	for size in 1000 65537 3000000 100000000; do
		put_and_get http://127.0.0.1:8080 "$size"
	done
	seq 1 100 >"$BOX_TMP/nginx/small"
	fetch "http://127.0.0.1:8080/small?[1-500]" >"$BOX_TMP/out"
	have_want "answers" "$(grep -c '^100$' "$BOX_TMP/out")" -eq 500
	stop_servers
	assert_left_bulk 2
	assert_bypassed 2000
}

@test "programs: Node.js, an HTTP server and client, and streams" {
	start node 8080 node "$PROGRAMS/echo.js" serve 8080
	in_box timeout 60 node "$PROGRAMS/echo.js" call 8080 >"$BOX_TMP/out"
	grep -x "all came back" "$BOX_TMP/out"
	stop_servers
	assert_left_bulk 2
	assert_bypassed 2000
}

# Of Debian: python3-grpcio is not there for another python3.
# bats test_tags=long
@test "programs: gRPC with the C core, which sets SO_ZEROCOPY, stays on TCP unless it is told" {
	start grpc 8080 /usr/bin/python3 "$PROGRAMS/rpc.py" serve 8080
	in_box timeout 60 /usr/bin/python3 "$PROGRAMS/rpc.py" call 8080 >"$BOX_TMP/out"
	grep -x "all came back" "$BOX_TMP/out"
	[[ -n ${PLAIN:-} ]] || {
		have_want "redirected messages" "$(counter redirected_messages)" -eq 0
		have_want "not admitted" "$(counter refused_special)" -ge 1
		load_pair --reload --quiet --all-connections --admit-zerocopy >"$BOX_TMP/load.log" 2>&1
		zero_counters
	}
	in_box timeout 60 /usr/bin/python3 "$PROGRAMS/rpc.py" call 8080 >"$BOX_TMP/out"
	grep -x "all came back" "$BOX_TMP/out"
	stop_servers
	assert_bypassed 2000 # its 8 MB are bulk
}

# bats test_tags=long
@test "programs: Python, asyncio streams and http.server" {
	start asyncio 8080 python3 "$PROGRAMS/echo.py" serve 8080
	in_box timeout 60 python3 "$PROGRAMS/echo.py" call 8080 >"$BOX_TMP/out"
	grep -x "all came back" "$BOX_TMP/out"
	mkdir "$BOX_TMP/www"
	random_file "$BOX_TMP/www/large" 100000000
	seq 1 100 >"$BOX_TMP/www/small"
	start http.server 8081 python3 -m http.server --bind 127.0.0.1 --directory "$BOX_TMP/www" 8081
	fetch -o "$BOX_TMP/large" http://127.0.0.1:8081/large
	same_content "$BOX_TMP/www/large" "$BOX_TMP/large"
	fetch "http://127.0.0.1:8081/small?[1-200]" >"$BOX_TMP/out"
	have_want "answers" "$(grep -c '^100$' "$BOX_TMP/out")" -eq 200
	stop_servers
	assert_left_bulk 2
	assert_bypassed $((20 * 200 * 2 + 200 * 2))
}

# bats test_tags=long
@test "programs: Java, HttpServer and HttpClient" {
	# Its sources are compiled when it starts.
	start java 8080 java "$PROGRAMS/Echo.java" serve 8080
	in_box timeout 60 java "$PROGRAMS/Echo.java" call 8080 >"$BOX_TMP/out"
	grep -x "all came back" "$BOX_TMP/out"
	stop_servers
	assert_left_bulk 1
	assert_bypassed 1000
}

# bats test_tags=long
@test "programs: OpenSSH copies 200 MB each way" {
	start_sshd 2222
	random_file "$BOX_TMP/file" 200000000
	in_box timeout 60 scp -q -F "$BOX_TMP/ssh_config" -P 2222 "$BOX_TMP/file" "127.0.0.1:$BOX_TMP/up"
	same_content "$BOX_TMP/file" "$BOX_TMP/up"
	in_box timeout 60 scp -q -F "$BOX_TMP/ssh_config" -P 2222 "127.0.0.1:$BOX_TMP/file" "$BOX_TMP/down"
	same_content "$BOX_TMP/file" "$BOX_TMP/down"
	have_want "last of the sorted numbers" \
		"$(seq 1 1000 | in_box timeout 30 ssh -F "$BOX_TMP/ssh_config" -p 2222 127.0.0.1 'sort -n | tail -n 1')" -eq 1000
	stop_servers
	# SFTP has each 32 KiB acknowledged: it may stay on the bypass, or leave as bulk.
	assert_bypassed 20
}

# bats test_tags=long
@test "programs: rsync sends and fetches 100 MB by its daemon" {
	local i
	mkdir "$BOX_TMP/from" "$BOX_TMP/store"
	random_file "$BOX_TMP/from/large" 100000000
	for i in {1..500}; do
		seq "$i" $((i * 3)) >"$BOX_TMP/from/small.$i"
	done
	cat >"$BOX_TMP/rsyncd.conf" <<-EOF
		use chroot = no
		uid = root
		gid = root
		[store]
		path = $BOX_TMP/store
		read only = no
	EOF
	start rsync 8730 rsync \
		--daemon --no-detach --config="$BOX_TMP/rsyncd.conf" --address=127.0.0.1 --port=8730
	in_box timeout 60 rsync -a "$BOX_TMP/from/" rsync://127.0.0.1:8730/store/
	diff -r "$BOX_TMP/from" "$BOX_TMP/store"
	# The second time only what differs: checksums go one way, blocks the other.
	echo "more" >>"$BOX_TMP/from/large"
	echo "less" >"$BOX_TMP/from/small.7"
	in_box timeout 60 rsync -a --checksum --no-whole-file "$BOX_TMP/from/" \
		rsync://127.0.0.1:8730/store/
	diff -r "$BOX_TMP/from" "$BOX_TMP/store"
	in_box timeout 60 rsync -a rsync://127.0.0.1:8730/store/ "$BOX_TMP/back/"
	diff -r "$BOX_TMP/from" "$BOX_TMP/back"
	stop_servers
	assert_left_bulk 2
	assert_bypassed 10
}

# bats test_tags=long
@test "programs: git clones from and pushes to its daemon" {
	local work=$BOX_TMP/work i
	git init -q --bare "$BOX_TMP/store.git"
	git init -q "$work"
	random_file "$work/large" 30000000
	for i in {1..50}; do
		seq "$i" $((i * 3)) >"$work/small.$i"
		git_in "$work" add -A
		git_in "$work" commit -q -m "commit $i"
	done
	start git 9418 git -c safe.directory='*' daemon --reuseaddr --listen=127.0.0.1 --export-all \
		--enable=receive-pack --base-path="$BOX_TMP" "$BOX_TMP"
	git_in "$work" push -q git://127.0.0.1/store.git HEAD:refs/heads/main
	for i in 1 2; do
		in_box timeout 60 git clone -q --branch main git://127.0.0.1/store.git "$BOX_TMP/clone.$i"
		git_in "$BOX_TMP/clone.$i" fsck --strict
		diff -r --exclude=.git "$work" "$BOX_TMP/clone.$i"
		have_want "head of the clone" "$(git_in "$BOX_TMP/clone.$i" rev-parse HEAD)" = \
			"$(git_in "$work" rev-parse HEAD)"
	done
	for i in {1..20}; do
		have_want "head of the store" \
			"$(git_in "$work" ls-remote git://127.0.0.1/store.git main | cut -f 1)" = \
			"$(git_in "$work" rev-parse HEAD)"
	done
	stop_servers
	assert_left_bulk 2
	assert_bypassed 100
}

@test "programs: iperf3 with 8 streams, in reverse, and both ways" {
	local option
	start iperf3 5201 iperf3 --server --bind 127.0.0.1
	for option in "-P 8 -n 200M" "-R -n 500M" "--bidir -t 2" "-l 100 -n 2M"; do
		# shellcheck disable=SC2086
		in_box timeout 30 iperf3 -c 127.0.0.1 -J $option >"$BOX_TMP/iperf3.json"
		have_want "iperf3's error" "$(jq -r .error "$BOX_TMP/iperf3.json")" = null
		have_want "bytes sent, $option" "$(jq .end.sum_sent.bytes "$BOX_TMP/iperf3.json")" -ge 2000000
		# The receiver stops to count when the sender tells of its end.
		have_want "bytes received, $option" "$(jq .end.sum_received.bytes "$BOX_TMP/iperf3.json")" -gt 0
	done
	stop_servers
	# Not each of them: one whose reader keeps up may stay.
	assert_left_bulk 8
	assert_bypassed 100
}

@test "programs: memcached keeps 1 B to 900 KB, and passes its conformance test" {
	local size file files=()
	start memcached 11211 memcached -u nobody -l 127.0.0.1 -p 11211
	for size in 1 100 1448 4096 65536 100000 900000; do
		random_file "$BOX_TMP/value.$size" "$size"
		files+=("$BOX_TMP/value.$size")
	done
	in_box timeout 30 memccp --servers=127.0.0.1:11211 "${files[@]}"
	for file in "${files[@]}"; do
		in_box timeout 30 memccat --servers=127.0.0.1:11211 --file="$BOX_TMP/value" "${file##*/}"
		same_content "$file" "$BOX_TMP/value"
	done
	in_box timeout 60 memccapable -h 127.0.0.1 -p 11211 >"$BOX_TMP/capable"
	stop_servers
	assert_bypassed 100
}

@test "programs: socat relays 100 MB each way, and ends half-closed" {
	random_file "$BOX_TMP/file" 100000000
	start echo 7001 socat TCP4-LISTEN:7001,bind=127.0.0.1,fork,reuseaddr EXEC:cat
	start relay 7000 socat TCP4-LISTEN:7000,bind=127.0.0.1,fork,reuseaddr TCP4:127.0.0.1:7001
	in_box timeout 60 socat -t 30 - TCP4:127.0.0.1:7000 <"$BOX_TMP/file" >"$BOX_TMP/back"
	same_content "$BOX_TMP/file" "$BOX_TMP/back"
	have_want "what comes back" \
		"$(seq 1 1000 | in_box timeout 30 socat -t 30 - TCP4:127.0.0.1:7000 | sha256sum)" = "$(seq 1 1000 | sha256sum)"
	stop_servers
	assert_left_bulk 2
	assert_bypassed 4
}

@test "programs: a relay with splice(2) sees no bytes that were bypassed" {
	needs_pair
	start_splice_relay
	mkfifo "$BOX_TMP/go"
	in_box timeout 60 socat -u - TCP4:127.0.0.1:7000 <"$BOX_TMP/go" >/dev/null 2>&1 3>&- &
	exec 8>"$BOX_TMP/go"
	echo hello >&8
	wait_until 10 "bytes that nobody reads" unread_since 1000 6
	have_want "what the relay says" "$(cat "$BOX_TMP/relay.log")" = ""
	exec 8>&-
	stop_servers
	assert_bypassed 1
}

# unread_since MILLISECONDS BYTES: as status.sh shows it for a server on port 7000.
unread_since() {
	in_box "$ROOT/status.sh" --json | jq -e --argjson ms "$1" --argjson bytes "$2" \
		'.connections[].server | select(.address == "127.0.0.1:7000" and .unread == $bytes and .unread_ms >= $ms)' >/dev/null
}

# bats test_tags=long
@test "programs: a relay with splice(2) works when its ports are excluded" {
	needs_pair
	unload_pair >/dev/null
	with_pair --exclude-port 7000-7001
	start_splice_relay
	have_want "what comes back" "$(echo hello | in_box timeout 30 socat -t 20 - TCP4:127.0.0.1:7000)" \
		= hello
	random_file "$BOX_TMP/file" 50000000
	in_box timeout 60 socat -t 30 - TCP4:127.0.0.1:7000 <"$BOX_TMP/file" >"$BOX_TMP/back"
	same_content "$BOX_TMP/file" "$BOX_TMP/back"
	grep -x "back 50000000" "$BOX_TMP/relay.log"
	have_want "not admitted" "$(counter refused_port)" -ge 4
	have_want "admitted" "$(counter admitted_active admitted_passive)" -eq 0
}

# bats test_tags=long
@test "programs: HAProxy with splice-response sees no bytes that were bypassed" {
	local i short=0
	needs_pair
	grep -q "burst may be 256 KiB" "$BOX_TMP/load.log" || skip "on this kernel such an answer is bulk"
	start_nginx nginx 8081
	HAPROXY_TIMEOUT=1s start_haproxy 8080 8081 "option splice-response"
	# Less than makes a connection leave; more than HAProxy reads before it splices.
	random_file "$BOX_TMP/nginx/file" 60000
	for i in 1 2 3 4 5; do
		! fetch -o "$BOX_TMP/short" http://127.0.0.1:8080/file 2>/dev/null || continue
		short=$((short + 1))
		# What came is right as far as it goes.
		cmp -n "$(stat -c %s "$BOX_TMP/short")" "$BOX_TMP/nginx/file" "$BOX_TMP/short"
	done
	have_want "short answers" "$short" -eq 5
	stop_servers
	assert_bypassed 10
}

@test "programs: HAProxy with splice works when its server's port is excluded" {
	local size
	needs_pair
	unload_pair >/dev/null
	with_pair --exclude-port 8081
	start_nginx nginx 8081
	start_haproxy 8080 8081 "option splice-response"
	for size in 60000 1000000 50000000; do
		put_and_get http://127.0.0.1:8080 "$size"
	done
	have_want "bytes spliced" "$(haproxy_spliced)" -ge 40000000
	seq 1 100 >"$BOX_TMP/nginx/small"
	fetch "http://127.0.0.1:8080/small?[1-100]" >"$BOX_TMP/out"
	have_want "answers" "$(grep -c '^100$' "$BOX_TMP/out")" -eq 100
	have_want "not admitted" "$(counter refused_port)" -ge 2
	# The clients of HAProxy are on the bypass, their requests are not spliced.
	have_want "redirected messages" "$(counter redirected_messages)" -ge 200
	stop_servers
	wait_until 10 "the map to be empty" map_is_empty
}

@test "programs: HAProxy with splice both ways works when both ports are excluded" {
	local size
	needs_pair
	unload_pair >/dev/null
	with_pair --exclude-port 8080-8081
	start_nginx nginx 8081
	start_haproxy 8080 8081 "option splice-auto
			option splice-request
			option splice-response"
	for size in 60000 1000000 50000000; do
		put_and_get http://127.0.0.1:8080 "$size"
	done
	have_want "bytes spliced" "$(haproxy_spliced)" -ge 80000000
	have_want "admitted" "$(counter admitted_active admitted_passive)" -eq 0
}
