// SPDX-License-Identifier: GPL-2.0
/* Cases: one direction ends, the other one goes on. */
#include "semantics.h"
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* One ends its direction, the other one answers, then ends its own. */
static void half_close(struct conn c, int first, int second)
{
	put(first, "question", 0);
	end(first, SHUT_WR);
	get(second, 100, 0);
	get(second, 100, 0);
	ready(second);
	put(second, "answer, ", 0);
	put(second, "and more", 0);
	ready(first);
	get(first, 100, 0);
	no_more(first);
	end(second, SHUT_WR);
	ready(first);
	ready(second);
	get(first, 100, 0);
	get(second, 100, 0);
	error_of(first);
	error_of(second);
	put(first, "x", 0);
	put(second, "x", 0);
	hang_up(c);
}

CASE(half_close_client, bypass, "half-close, the client first")
{
	struct conn c = dial();

	half_close(c, c.client, c.server);
}

CASE(half_close_server, bypass, "half-close, the server first")
{
	struct conn c = dial();

	half_close(c, c.server, c.client);
}

CASE(half_close_unread, bypass, "half-close with unread bytes both ways")
{
	struct conn c = dial();

	put(c.server, "early answer", 0);
	put(c.client, "question", 0);
	end(c.client, SHUT_WR);
	put(c.server, ", late answer", 0);
	end(c.server, SHUT_WR);
	get(c.client, 100, 0);
	get(c.client, 100, 0);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	hang_up(c);
}

/* A page that is not there: who touches it waits until it is made. */
static int absent_page(unsigned char **page)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == ENOSYS)
		skip("no userfaultfd(2) here");
	*page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	reg.range.start = (uintptr_t)*page;
	reg.range.len = 4096;
	if (fd < 0 || *page == MAP_FAILED || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &reg))
		fail("userfaultfd");
	return fd;
}

static void make_page(int fd, unsigned char *page)
{
	struct uffdio_zeropage zero = {.range = {(uintptr_t)page, 4096}};

	if (ioctl(fd, UFFDIO_ZEROPAGE, &zero))
		fail("UFFDIO_ZEROPAGE");
	close(fd);
}

/*
 * The client ends its direction while the server's recv, which has the server's socket
 * locked, waits for memory; then it waits for the answer.
 */
static void half_close_fault(struct conn c)
{
	struct task server = {.fd = c.server, .want = 100};
	struct task client = {.fd = c.client, .want = 100};
	int fault = absent_page(&server.data);

	begin(&server, "recv into an absent page", task_recv_into);
	put(c.client, "question", 0);
	tell("the page is %s",
	     await(fault, POLLIN, ARRIVE_MS) == POLLIN ? "asked for" : "not asked for");
	end(c.client, SHUT_WR);
	begin(&client, "recv", task_recv);
	make_page(fault, server.data);
	must_return(&server);
	gets_later(&client, c.server, "answer");
	hang_up(c);
}

CASE(half_close_fault, bypass, "half-close while the other end's recv waits for memory")
{
	half_close_fault(dial());
}

CASE(half_close_fault_answered, bypass, "the same, the other end has sent before")
{
	struct conn c = dial();

	greet(c);
	put(c.server, "answer", 0);
	get(c.client, 100, 0);
	half_close_fault(c);
}
