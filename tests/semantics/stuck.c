// SPDX-License-Identifier: GPL-2.0
/*
 * Cases: an end that stands in a page fault inside recv or send, and holds its socket's lock; and
 * one that keeps a reference to its socket, which could be taken for a message on its way.
 */
#include "semantics.h"
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define PAGE	4096
#define HELD_MS 1000 /* how long the fault takes */
#define SOON_MS 200  /* beside busy neighbours too */

static int faults = -1;
static char *page;
static atomic_int standing;

/* A page that comes so long after it was asked for. */
static void *bring_page(void *unused)
{
	struct uffdio_zeropage zero = {.range = {(uintptr_t)page, PAGE}};
	struct uffd_msg fault;

	(void)unused;
	if (read(faults, &fault, sizeof(fault)) != sizeof(fault))
		fail("a fault");
	standing = 1;
	sleep_ms(HELD_MS);
	if (ioctl(faults, UFFDIO_ZEROPAGE, &zero))
		fail("UFFDIO_ZEROPAGE");
	return NULL;
}

static void take_page_away(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	pthread_t thread;

	faults = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (faults < 0)
		skip("no userfaultfd");
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	range.range.start = (uintptr_t)page;
	range.range.len = PAGE;
	if (page == MAP_FAILED || ioctl(faults, UFFDIO_API, &api) ||
	    ioctl(faults, UFFDIO_REGISTER, &range))
		fail("userfaultfd");
	if (pthread_create(&thread, NULL, bring_page, NULL))
		fail("pthread_create");
}

static void *recv_into_page(void *fd)
{
	return (void *)recv(*(int *)fd, page, 100, 0);
}

static void *send_from_page(void *fd)
{
	return (void *)send(*(int *)fd, page, 100, MSG_NOSIGNAL);
}

/* All that is still unread, in as many recvs as it takes. */
static long read_rest(int fd, long got)
{
	long n;

	while (await(fd, POLLIN, FOREVER_MS) && (n = recv(fd, page, PAGE, 0)) > 0)
		got += n;
	return got;
}

/* The client stands in the fault, the server sends without blocking.  The result of its call. */
static long send_to_stuck(struct conn c, void *(*call)(void *))
{
	long begin_ms, limit = now_ms() + ARRIVE_MS;
	pthread_t thread;
	void *result;

	if (pthread_create(&thread, NULL, call, &c.client))
		fail("pthread_create");
	while (!standing && now_ms() < limit)
		sleep_ms(2);
	begin_ms = now_ms();
	put(c.server, "next", MSG_DONTWAIT);
	tell("that send was %s", now_ms() - begin_ms < SOON_MS ? "not held up" : "held up");
	pthread_join(thread, &result);
	return (long)result;
}

static void stuck(int family, int receives)
{
	struct conn c = dial_family(family);
	long result;

	take_page_away();
	exchange(c);
	if (receives)
		put(c.server, "given", 0);
	settle();
	result = send_to_stuck(c, receives ? recv_into_page : send_from_page);
	tell("client has sent %ld, received %ld bytes", receives ? 0 : result,
	     read_rest(c.client, receives ? result : 0));
	tell("server has received %ld bytes", read_rest(c.server, 0));
	hang_up(c);
}

CASE(stuck_recv, bypass, "a send to an end that stands in a page fault inside recv")
{
	stuck(AF_INET, 1);
}

CASE(stuck_recv_v6, bypass, "the same over IPv6")
{
	stuck(AF_INET6, 1);
}

CASE(stuck_send, bypass, "a send to an end that stands in a page fault inside send")
{
	stuck(AF_INET, 0);
}

/* What has come, without a word of it. */
static void discard(int fd)
{
	char buf[200];

	settle();
	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

/* Small messages that nobody reads until all are sent: the client's direction leaves the bypass. */
static void leave(struct conn c)
{
	for (int i = 0; i < 40; i++)
		send(c.client, "m", 1, MSG_NOSIGNAL);
	discard(c.server);
}

/* The client's socket gets a reference, for minutes: of TCP's pacing timer, and of MSG_ZEROCOPY. */
static void keep_reference(struct conn c, int flag)
{
	char buf[200] = "";

	set(c.client, SOL_SOCKET, SO_ZEROCOPY, 1);
	set(c.client, SOL_SOCKET, SO_MAX_PACING_RATE, 1);
	send(c.client, buf, sizeof(buf), MSG_NOSIGNAL);
	send(c.client, buf, sizeof(buf), flag | MSG_NOSIGNAL);
	for (int i = 0; i < 30 && send(c.client, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
	     i++)
		sleep_ms(1);
	discard(c.server);
}

/* The client has left the bypass, but its socket has not: it leaves a message unread. */
static struct conn dial_keeper(void)
{
	struct conn c = dial();
	char buf[8];

	if (send(c.client, "q", 1, 0) != 1 || recv(c.server, buf, 1, 0) != 1 ||
	    send(c.server, "unread", 6, 0) != 6)
		fail("a message each way");
	leave(c);
	return c;
}

/* Two threads of the server have sent: is a message of the other one on its way? */
static void stuck_keeper(int flag)
{
	struct conn c = dial_keeper();
	struct task other = {.fd = c.server, .data = (unsigned char *)"other", .want = 5};

	take_page_away();
	begin(&other, "send in a thread", task_send);
	must_return(&other);
	keep_reference(c, flag);
	tell("client has received %ld bytes",
	     read_rest(c.client, send_to_stuck(c, recv_into_page)));
	reset(c.client); /* what it has not sent would keep the cgroup for minutes */
}

CASE(stuck_paced, any, "a send to an end in a page fault, with a paced packet to come")
{
	stuck_keeper(0);
}

CASE(stuck_zerocopy, any, "the same with a packet of MSG_ZEROCOPY")
{
	stuck_keeper(MSG_ZEROCOPY);
}

#define KEEPERS 20

CASE(closing_keepers, any, "connections to ends with such a packet to come are closed")
{
	struct conn c[KEEPERS];
	long begin_ms;

	for (int i = 0; i < KEEPERS; i++) {
		c[i] = dial_keeper();
		keep_reference(c[i], MSG_ZEROCOPY);
	}
	begin_ms = now_ms();
	for (int i = 0; i < KEEPERS; i++)
		close(c[i].server);
	tell("closing them was %s", now_ms() - begin_ms < SOON_MS ? "not held up" : "held up");
	for (int i = 0; i < KEEPERS; i++)
		reset(c[i].client);
}
