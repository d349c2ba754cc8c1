// SPDX-License-Identifier: GPL-2.0
/*
 * stuck recv|send, stuck lock DIRECTORY: an end of a connection that stands in a page
 * fault, as of a file on a network, or of FUSE.  It calls recv(2) or send(2) with memory
 * that userfaultfd is to bring, and has the socket's lock until its input ends.  Or as a
 * user without rights it reads that directory there, and has its lock; a second process
 * that waits for the lock, to make a file, keeps out who looks something up.
 *
 *   server  a process of its own, named stuck-server, which holds the other end
 *   client  after a round trip, so that both ends are on the bypass; then it says `ready`, with the
 *           port of its server, and makes that call
 *
 * For recv the server sends a message that it cannot be given.  Bounded by an alarm.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE	4096
#define SECONDS 120

static int faults, directory = -1;
static char *page;

static void check(int failed, const char *what)
{
	if (failed)
		err(1, "%s", what);
}

/* A page that is not there until it is made. */
static void prepare_fault(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};

	faults = syscall(SYS_userfaultfd, O_CLOEXEC);
	check(faults < 0 || ioctl(faults, UFFDIO_API, &api), "userfaultfd");
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(page == MAP_FAILED, "mmap");
	range.range.start = (uintptr_t)page;
	range.range.len = PAGE;
	check(ioctl(faults, UFFDIO_REGISTER, &range), "UFFDIO_REGISTER");
}

static void make_page(void)
{
	struct uffdio_zeropage zero = {.range = {(uintptr_t)page, PAGE}};

	check(ioctl(faults, UFFDIO_ZEROPAGE, &zero) && zero.zeropage != PAGE, "UFFDIO_ZEROPAGE");
}

/* Until it sleeps for the lock of the directory that is read. */
static void make_a_file(void)
{
	char path[32], state = 0;
	pid_t pid = fork();
	FILE *stat;

	if (!pid) {
		mkdirat(directory, "file", 0700);
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	while (state != 'D' && (stat = fopen(path, "r"))) {
		check(fscanf(stat, "%*d (stuck) %c", &state) != 1, path);
		fclose(stat);
	}
}

/* Says when the fault has come, and ends it when its input ends. */
static void *keeper(void *port)
{
	struct uffd_msg fault;
	char byte;

	check(read(faults, &fault, sizeof(fault)) != sizeof(fault), "a fault");
	if (directory >= 0)
		make_a_file();
	printf("ready %d\n", *(int *)port);
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	make_page();
	return NULL;
}

/* The other end: it answers, sends what cannot be given, and holds the connection. */
static void serve(int listener, int sends)
{
	char text[16];
	int s;

	prctl(PR_SET_NAME, "stuck-server");
	s = accept(listener, NULL, NULL);
	check(s < 0, "accept");
	check(recv(s, text, sizeof(text), 0) != 5, "recv");
	check(send(s, "hello", 5, 0) != 5, "send");
	if (sends)
		send(s, "given", 5, MSG_DONTWAIT);
	while (recv(s, text, sizeof(text), 0) > 0)
		;
	exit(0);
}

/* What `ss -p` looks up is known before. */
static int read_directory(void)
{
	struct stat found;

	fstatat(directory, "fd", &found, 0);
	fstatat(directory, "stat", &found, 0);
	fstatat(directory, "attr/current", &found, 0);
	check(setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534), "setresuid");
	return syscall(SYS_getdents64, directory, page, PAGE) < 0;
}

static int stand(int s, int receives)
{
	char text[16];

	check(send(s, "hello", 5, 0) != 5 || recv(s, text, 5, 0) != 5, "a round trip");
	if (directory >= 0)
		return read_directory();
	if (receives)
		return recv(s, page, 100, 0) <= 0;
	return send(s, page, 100, 0) != 100;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(address);
	int receives, listener, s, failed, port;
	pthread_t thread;
	pid_t server;

	if (argc == 3 && !strcmp(argv[1], "lock")) {
		directory = open(argv[2], O_RDONLY | O_DIRECTORY);
		check(directory < 0, argv[2]);
	} else if (argc != 2 || (strcmp(argv[1], "recv") && strcmp(argv[1], "send"))) {
		errx(2, "recv, send, or lock DIRECTORY?");
	}
	receives = !strcmp(argv[1], "recv");
	alarm(SECONDS);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	check(bind(listener, (void *)&address, size) || listen(listener, 1) ||
		      getsockname(listener, (void *)&address, &size),
	      "listen");
	server = fork();
	if (!server)
		serve(listener, receives);
	close(listener);
	s = socket(AF_INET, SOCK_STREAM, 0);
	check(connect(s, (void *)&address, size), "connect");
	prepare_fault();
	port = ntohs(address.sin_port);
	check(pthread_create(&thread, NULL, keeper, &port), "a thread");
	failed = stand(s, receives);
	close(s);
	waitpid(server, NULL, 0);
	return failed;
}
