// SPDX-License-Identifier: GPL-2.0
/*
 * One measurement between two processes, a client and a server, over TCP or a
 * unix socket.
 *
 *   bench [OPTION]... PATTERN SIZE SECONDS
 *
 *   rr      round trips on one connection; SIZE bytes each way
 *   crr     the same on connections of their own: connect, --requests round trips, close
 *   many    the same, one outstanding on each of N connections; both ends use epoll
 *   mixed   round trips of 64 bytes, and each time that --every ms have passed one whose
 *           response has SIZE bytes
 *   stream  writes of SIZE bytes, one way
 *   warm    the same after ten round trips of 100 bytes, as on most connections of
 *           real programs: what plain TCP reaches depends on it, since the first
 *           moments of a connection decide how large its receive buffer grows
 *   pipe    writes of SIZE bytes into a pipe, each read by the same process: what a guard costs
 *
 *   --unix                  over a unix socket; default: TCP over 127.0.0.1
 *   --cpus CLIENT,SERVER    pin each end to a CPU
 *   --connections N         for many
 *   --requests N            for crr, on each connection; default: 1
 *   --every MS              for mixed; default: 50
 *   --serve ADDRESS         be the server alone; prints its port
 *   --connect ADDRESS:PORT  be the client alone
 *   --irq-time              CPU time includes all CPUs' interrupt time, see below
 *
 * The client prints RATE,P50,P99,CPU: operations per second (crr: connections; streams: MB
 * received per second), the median and 99th percentile of one in us (rr and crr; mixed: of
 * those with a large response), and the CPU time of both ends for each operation (streams:
 * for each MB) in us.
 * A wrong length or a wrong byte of a response ends it with an error.
 *
 * CPU time is user and system time of the two processes (getrusage), exact to the
 * nanosecond although Linux splits it by ticks.  It includes the softirqs in which
 * the sender of a loopback packet does the receiver's work, unless the kernel has
 * CONFIG_IRQ_TIME_ACCOUNTING (Debian's): then that time is only in /proc/stat,
 * to hundredths of a second, and --irq-time adds it.  What runs in ksoftirqd or
 * interrupts an idle CPU is counted by neither, or by --irq-time alone.
 *
 * The first connection measures nothing: after the last operation the client
 * asks over it for the server's part of the figures.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SMALL_TALK  10
#define SMALL	    100
#define MIXED	    64 /* bytes of a small message of mixed */
#define TIMEOUT	    5  /* seconds more than asked for: a hang ends */
#define BUCKET_NS   64
#define BUCKETS	    (1 << 18) /* up to 16.8 ms */
#define RECV_BUFFER (256 * 1024)

struct report {
	double cpu_us;
	double seconds; /* stream: from the first byte to the last */
	uint64_t bytes; /* stream */
};

static struct sockaddr_storage address;
static socklen_t address_len;
static size_t size;
static double seconds;
static double every = 0.050; /* seconds */
static int connections = 1, requests = 1, over_unix, irq_time;
static char *buf;
static uint32_t histogram[BUCKETS];
static uint64_t trips, mixed; /* of mixed: those with small responses */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static double cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + usage.ru_utime.tv_usec +
	       usage.ru_stime.tv_usec;
}

/* Of all CPUs, since boot. */
static double interrupts_us(void)
{
	unsigned long irq = 0, softirq = 0;
	FILE *f = fopen("/proc/stat", "r");

	if (!f || fscanf(f, "cpu %*u %*u %*u %*u %*u %lu %lu", &irq, &softirq) != 2)
		err(2, "/proc/stat");
	fclose(f);
	return (irq + softirq) * 1e6 / sysconf(_SC_CLK_TCK);
}

static void pin(const char *cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(atoi(cpu), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(2, "sched_setaffinity to CPU %s", cpu);
}

/* 0 at the end of the stream, if it comes before the first byte. */
static int read_all(int fd, void *to, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = recv(fd, (char *)to + got, len - got, 0);

		if (n == 0 && !got)
			return 0;
		if (n <= 0)
			err(2, "recv after %zu of %zu", got, len);
		got += n;
	}
	return 1;
}

static void write_all(int fd, const void *from, size_t len)
{
	for (size_t sent = 0; sent < len;) {
		ssize_t n = send(fd, (const char *)from + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0)
			err(2, "send");
		sent += n;
	}
}

static int ready(int fd)
{
	int one = 1;

	if (fd < 0)
		err(2, "connection");
	if (!over_unix)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static int accept_one(int listener)
{
	return ready(accept(listener, NULL, NULL));
}

static int connect_one(void)
{
	int fd = socket(address.ss_family, SOCK_STREAM, 0);

	if (connect(fd, (void *)&address, address_len))
		err(2, "connect");
	return ready(fd);
}

static int epoll_of(const int *fds)
{
	int epoll = epoll_create1(0);

	for (int i = 0; i < connections; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};

		if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event))
			err(2, "epoll_ctl");
	}
	return epoll;
}

/* ---- the server ---------------------------------------------------------- */

static int answer(int fd)
{
	if (!read_all(fd, buf, size))
		return 0;
	write_all(fd, buf, size);
	return 1;
}

static void serve_rr(int listener)
{
	int fd = accept_one(listener);

	while (answer(fd))
		;
}

static void serve_crr(int listener)
{
	int fd;
	char byte;

	/* The last one ends without a request. */
	while (answer(fd = accept_one(listener))) {
		for (int i = 1; i < requests; i++)
			answer(fd);
		if (recv(fd, &byte, 1, 0))
			errx(2, "more requests on a connection than asked for");
		close(fd);
	}
}

static void serve_many(int listener)
{
	int *fds = calloc(connections, sizeof(*fds)), epoll, open = connections;
	struct epoll_event events[64];

	for (int i = 0; i < connections; i++)
		fds[i] = accept_one(listener);
	epoll = epoll_of(fds);
	while (open) {
		int n = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < n; i++)
			if (!answer(events[i].data.fd)) {
				close(events[i].data.fd);
				open--;
			}
	}
}

/* The last byte of a request says whether the response is to be large. */
static void serve_mixed(int listener)
{
	int fd = accept_one(listener);

	while (read_all(fd, buf, MIXED))
		write_all(fd, buf, buf[MIXED - 1] ? size : MIXED);
}

static void serve_stream(int listener, int warm, struct report *report)
{
	static char to[RECV_BUFFER];
	int fd = accept_one(listener);
	double start = 0;
	ssize_t n;

	for (int i = 0; warm && i < SMALL_TALK; i++) {
		read_all(fd, to, SMALL);
		write_all(fd, to, SMALL);
	}
	while ((n = recv(fd, to, sizeof(to), 0)) > 0) {
		if (!start)
			start = now();
		report->bytes += n;
	}
	if (n < 0)
		err(2, "recv");
	report->seconds = now() - start;
}

static void serve(int listener, const char *pattern)
{
	struct report report = {0};
	int control = accept_one(listener);
	double cpu = cpu_us();
	char byte;

	if (!strcmp(pattern, "rr"))
		serve_rr(listener);
	else if (!strcmp(pattern, "crr"))
		serve_crr(listener);
	else if (!strcmp(pattern, "many"))
		serve_many(listener);
	else if (!strcmp(pattern, "mixed"))
		serve_mixed(listener);
	else if (strcmp(pattern, "pipe"))
		serve_stream(listener, !strcmp(pattern, "warm"), &report);
	report.cpu_us = cpu_us() - cpu;
	if (!read_all(control, &byte, 1))
		errx(2, "the client did not end as it should");
	write_all(control, &report, sizeof(report));
}

/* ---- the client ---------------------------------------------------------- */

/* The number of the request, as far as it has room, at both its ends. */
static size_t stamp_size(void)
{
	return size < sizeof(trips) ? size : sizeof(trips);
}

static void request(int fd, uint64_t number)
{
	memcpy(buf, &number, stamp_size());
	memcpy(buf + size - stamp_size(), &number, stamp_size());
	write_all(fd, buf, size);
}

static void response(int fd, uint64_t number)
{
	size_t n = stamp_size();

	memset(buf, ~(int)number, n);
	memset(buf + size - n, ~(int)number, n);
	if (!read_all(fd, buf, size))
		errx(2, "the server has closed");
	if (memcmp(buf, &number, n) || memcmp(buf + size - n, &number, n))
		errx(2, "wrong bytes in response %llu", (unsigned long long)number);
}

static void count_trip(double took)
{
	size_t bucket = took * 1e9 / BUCKET_NS;

	histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
	trips++;
}

static double percentile_us(double part)
{
	uint64_t seen = 0;
	size_t i = 0;

	while (i < BUCKETS - 1 && (seen += histogram[i]) < part * trips)
		i++;
	return (i + 0.5) * BUCKET_NS / 1e3;
}

static void call_rr(void)
{
	int fd = connect_one();
	double last = now(), end = last + seconds, t;

	while (last < end) {
		request(fd, trips);
		response(fd, trips);
		t = now();
		count_trip(t - last);
		last = t;
	}
	close(fd);
}

static void call_crr(void)
{
	double last = now(), end = last + seconds, t;
	int fd;

	while (last < end) {
		fd = connect_one();
		for (int i = 0; i < requests; i++) {
			request(fd, trips);
			response(fd, trips);
		}
		close(fd);
		t = now();
		count_trip(t - last);
		last = t;
	}
	close(connect_one());
}

static void call_pipe(void)
{
	double last = now(), end = last + seconds, t;
	int ends[2];

	if (pipe(ends))
		err(2, "pipe");
	while (last < end) {
		ssize_t written = write(ends[1], buf, size);

		if (read(ends[0], buf, size) != written || written != (ssize_t)size)
			err(2, "a pipe of %zu bytes", size);
		t = now();
		count_trip(t - last);
		last = t;
	}
}

/* Small ones are counted alone, large ones are timed. */
static void call_mixed(void)
{
	int fd = connect_one();
	double end = now() + seconds, due = now() + every, start;
	uint64_t small = 0;

	while ((start = now()) < end) {
		int large = start >= due;

		memcpy(buf, &small, sizeof(small));
		buf[MIXED - 1] = large;
		write_all(fd, buf, MIXED);
		memset(buf, ~(int)small, sizeof(small));
		if (!read_all(fd, buf, large ? size : MIXED))
			errx(2, "the server has closed");
		if (memcmp(buf, &small, sizeof(small)))
			errx(2, "wrong bytes in response %llu", (unsigned long long)small);
		if (large) {
			count_trip(now() - start);
			due += every;
		} else {
			small++;
		}
	}
	close(fd);
	mixed = small;
}

static void call_many(const int *fds)
{
	uint64_t *number = calloc(fds[connections - 1] + 1, sizeof(*number));
	int epoll = epoll_of(fds), open = connections;
	struct epoll_event events[64];
	double end = now() + seconds;

	for (int i = 0; i < connections; i++)
		request(fds[i], number[fds[i]]);
	while (open) {
		int n = epoll_wait(epoll, events, 64, -1), over = now() >= end;

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			response(fd, number[fd]++);
			trips++;
			if (over) {
				close(fd);
				open--;
			} else {
				request(fd, number[fd]);
			}
		}
	}
}

/* Returns the bytes. */
static uint64_t call_stream(int warm)
{
	/* So that looking at the clock costs nothing, and the end comes in time. */
	int writes = size < 65536 ? 16 : 1, fd = connect_one();
	uint64_t sent = 0;
	double end;

	for (int i = 0; warm && i < SMALL_TALK; i++) {
		char small[SMALL] = {0};

		write_all(fd, small, SMALL);
		read_all(fd, small, SMALL);
	}
	for (end = now() + seconds; now() < end; sent += writes * size)
		for (int i = 0; i < writes; i++)
			write_all(fd, buf, size);
	close(fd);
	return sent;
}

static void call(const char *pattern)
{
	int control = connect_one(), streams = 0, *fds = calloc(connections, sizeof(*fds));
	double start, took, cpu, interrupts = irq_time ? interrupts_us() : 0;
	struct report report;
	uint64_t sent = 0;

	if (!strcmp(pattern, "many"))
		for (int i = 0; i < connections; i++)
			fds[i] = connect_one();
	cpu = cpu_us();
	start = now();
	if (!strcmp(pattern, "rr")) {
		call_rr();
	} else if (!strcmp(pattern, "crr")) {
		call_crr();
	} else if (!strcmp(pattern, "many")) {
		call_many(fds);
	} else if (!strcmp(pattern, "mixed")) {
		call_mixed();
	} else if (!strcmp(pattern, "pipe")) {
		call_pipe();
	} else {
		streams = 1;
		sent = call_stream(!strcmp(pattern, "warm"));
	}
	took = now() - start;
	cpu = cpu_us() - cpu;
	write_all(control, "", 1);
	if (!read_all(control, &report, sizeof(report)))
		errx(2, "the server failed");
	cpu += report.cpu_us;
	if (irq_time)
		cpu += interrupts_us() - interrupts;
	if (report.bytes != sent)
		errx(2, "sent %llu bytes, received %llu", (unsigned long long)sent,
		     (unsigned long long)report.bytes);
	if (streams)
		printf("%.1f,,,%.3f\n", sent / 1e6 / report.seconds, cpu / (sent / 1e6));
	else if (connections > 1 || !strcmp(pattern, "many"))
		printf("%.1f,,,%.3f\n", trips / took, cpu / trips);
	else if (!strcmp(pattern, "mixed"))
		printf("%.1f,%.2f,%.2f,%.3f\n", mixed / took, percentile_us(0.5),
		       percentile_us(0.99), cpu / mixed);
	else
		printf("%.1f,%.2f,%.2f,%.3f\n", trips / took, percentile_us(0.5),
		       percentile_us(0.99), cpu / trips);
}

static void timed_out(int signal)
{
	(void)signal;
	dprintf(STDERR_FILENO, "bench: timed out after %llu operations\n",
		(unsigned long long)trips);
	_exit(2);
}

static void set_address(const char *text, int port)
{
	struct sockaddr_in *in = (void *)&address;

	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	if (inet_pton(AF_INET, text, &in->sin_addr) != 1)
		errx(2, "no address of IPv4: %s", text);
	address_len = sizeof(*in);
}

static int listen_there(void)
{
	int listener;

	if (over_unix) {
		address.ss_family = AF_UNIX; /* the kernel chooses an abstract name */
		address_len = sizeof(sa_family_t);
	} else if (!address_len) {
		set_address("127.0.0.1", 0);
	}
	listener = socket(address.ss_family, SOCK_STREAM, 0);
	if (bind(listener, (void *)&address, address_len) || listen(listener, 4096))
		err(2, "listen");
	address_len = sizeof(address);
	if (getsockname(listener, (void *)&address, &address_len))
		err(2, "getsockname");
	return listener;
}

static const char *client_cpu, *server_cpu, *pattern;
static int serves = 1, calls = 1;

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"unix", no_argument, NULL, 'u'},
		{"cpus", required_argument, NULL, 'c'},
		{"connections", required_argument, NULL, 'n'},
		{"requests", required_argument, NULL, 'r'},
		{"every", required_argument, NULL, 'e'},
		{"serve", required_argument, NULL, 'S'},
		{"connect", required_argument, NULL, 'C'},
		{"irq-time", no_argument, NULL, 'i'},
		{0},
	};
	char *second;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'u':
			over_unix = 1;
			break;
		case 'c':
			client_cpu = strtok(optarg, ",");
			server_cpu = strtok(NULL, ",");
			break;
		case 'n':
			connections = atoi(optarg);
			break;
		case 'r':
			requests = atoi(optarg);
			break;
		case 'e':
			every = atof(optarg) / 1000;
			break;
		case 'S':
			calls = 0;
			set_address(optarg, 0);
			break;
		case 'C':
			serves = 0;
			second = strchr(optarg, ':');
			if (!second)
				errx(2, "--connect: not ADDRESS:PORT: %s", optarg);
			*second = 0;
			set_address(optarg, atoi(second + 1));
			break;
		case 'i':
			irq_time = 1;
			break;
		default:
			exit(2);
		}
	}
	if (argc - optind != 3)
		errx(2, "usage: bench [OPTION]... rr|crr|many|mixed|stream|warm|pipe SIZE SECONDS");
	pattern = argv[optind];
	size = atol(argv[optind + 1]);
	seconds = atof(argv[optind + 2]);
	buf = calloc(1, size > MIXED ? size : MIXED);
	if (!size || !buf || connections < 1)
		errx(2, "no such size or number");
	if (!strstr(" rr crr many mixed stream warm pipe ", pattern))
		errx(2, "no such pattern: %s", pattern);
}

int main(int argc, char **argv)
{
	int listener = -1, status;
	struct rlimit files;
	pid_t pid = 0;

	parse(argc, argv);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);

	if (serves)
		listener = listen_there();
	if (serves && calls)
		pid = fork();
	signal(SIGALRM, timed_out);
	alarm(seconds + TIMEOUT);
	if (serves && !pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!calls)
			printf("%d\n", ntohs(((struct sockaddr_in *)&address)->sin_port));
		fflush(stdout);
		if (server_cpu)
			pin(server_cpu);
		serve(listener, pattern);
		return 0;
	}
	if (client_cpu)
		pin(client_cpu);
	call(pattern);
	if (serves && (waitpid(pid, &status, 0) != pid || status))
		errx(2, "the server failed");
	return 0;
}
