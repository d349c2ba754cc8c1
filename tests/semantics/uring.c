// SPDX-License-Identifier: GPL-2.0
/* Cases: io_uring. */
#include "semantics.h"
#include <linux/io_uring.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static struct {
	int fd;
	unsigned int *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static void ring_up(void)
{
	struct io_uring_params p = {0};
	size_t sq_len, cq_len;
	char *sq, *cq;

	ring.fd = syscall(SYS_io_uring_setup, 8, &p);
	if (ring.fd < 0) {
		static char why[80];

		snprintf(why, sizeof(why), "io_uring_setup: %s", strerrorname_np(errno));
		skip(why);
	}
	sq_len = p.sq_off.array + p.sq_entries * sizeof(unsigned int);
	cq_len = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	sq = mmap(NULL, sq_len, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, cq_len, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_CQ_RING);
	ring.sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
			 MAP_SHARED, ring.fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || ring.sqes == MAP_FAILED)
		fail("io_uring mmap");
	ring.sq_tail = (void *)(sq + p.sq_off.tail);
	ring.sq_mask = (void *)(sq + p.sq_off.ring_mask);
	ring.sq_array = (void *)(sq + p.sq_off.array);
	ring.cq_head = (void *)(cq + p.cq_off.head);
	ring.cq_tail = (void *)(cq + p.cq_off.tail);
	ring.cq_mask = (void *)(cq + p.cq_off.ring_mask);
	ring.cqes = (void *)(cq + p.cq_off.cqes);
}

static void submit(struct io_uring_sqe sqe)
{
	unsigned int tail = *ring.sq_tail, at = tail & *ring.sq_mask;

	ring.sqes[at] = sqe;
	ring.sq_array[at] = at;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0) != 1)
		fail("io_uring_enter");
}

static void ring_op(int op, int fd, const void *buf, unsigned int len, int flags)
{
	submit((struct io_uring_sqe){
		.opcode = op, .fd = fd, .addr = (uintptr_t)buf, .len = len, .msg_flags = flags});
}

/* The next completion: more than once it is waited for no longer than `ms`. */
static int completed(const char *what, int ms, struct io_uring_cqe *cqe)
{
	long limit = now_ms() + ms;

	while (__atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE) == *ring.cq_head) {
		if (now_ms() > limit) {
			tell("io_uring %s: waits", what);
			return 0;
		}
		sleep_ms(2);
		/* completes what waits to be run in this task */
		syscall(SYS_io_uring_enter, ring.fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
	}
	*cqe = ring.cqes[*ring.cq_head & *ring.cq_mask];
	__atomic_store_n(ring.cq_head, *ring.cq_head + 1, __ATOMIC_RELEASE);
	errno = -cqe->res;
	return 1;
}

/* A result; completed() has set errno. */
static const char *outcome(const struct io_uring_cqe *cqe)
{
	return res(cqe->res < 0 ? -1 : cqe->res);
}

static void ring_done(const char *what)
{
	struct io_uring_cqe cqe;

	if (completed(what, ARRIVE_MS, &cqe))
		tell("io_uring %s -> %s", what, outcome(&cqe));
}

/* If `what` waits, send what ends it; it is `then` from there on. */
static void ring_fed(const char *what, int from, const char *text, const char *then)
{
	struct io_uring_cqe cqe;

	if (!completed(what, FOREVER_MS, &cqe)) {
		put(from, text, 0);
		ring_done(then);
	} else {
		tell("io_uring %s -> %s", what, outcome(&cqe));
	}
}

static void ring_poll(int fd)
{
	submit((struct io_uring_sqe){
		.opcode = IORING_OP_POLL_ADD, .fd = fd, .poll32_events = POLLIN | POLLRDHUP});
}

static void ring_polled(void)
{
	struct io_uring_cqe cqe;

	if (completed("poll", ARRIVE_MS, &cqe))
		tell("io_uring poll ->%s", poll_names(cqe.res));
}

CASE(uring, bypass, "io_uring send, recv")
{
	struct conn c = dial();
	char buf[100] = "";

	ring_up();
	ring_op(IORING_OP_SEND, c.client, "hello", 5, 0);
	ring_done("send");
	ring_op(IORING_OP_RECV, c.server, buf, sizeof(buf), 0);
	ring_done("recv, bytes there");
	tell("\"%s\"", buf);
	memset(buf, 0, sizeof(buf));
	ring_op(IORING_OP_RECV, c.server, buf, sizeof(buf), 0);
	ring_fed("recv, none there", c.client, "later", "recv");
	tell("\"%s\"", buf);
	ring_op(IORING_OP_RECV, c.server, buf, sizeof(buf), 0);
	shut(c.client);
	ring_done("recv, at the end");
	close(c.server);
}

CASE(uring_nonempty, bypass, "io_uring recv: does it say that there is more?")
{
	struct io_uring_cqe cqe;
	struct conn c = dial();
	char buf[100] = "";

	ring_up();
	put(c.client, "hello, there", 0);
	settle();
	ring_op(IORING_OP_RECV, c.server, buf, 5, 0);
	if (completed("recv", ARRIVE_MS, &cqe))
		tell("io_uring recv -> %s, more %s", outcome(&cqe),
		     cqe.flags & IORING_CQE_F_SOCK_NONEMPTY ? "yes" : "no");
	get(c.server, 100, 0);
	hang_up(c);
}

CASE(uring_poll, bypass, "io_uring poll")
{
	struct conn c = dial();
	struct io_uring_cqe cqe;

	ring_up();
	ring_poll(c.server);
	if (completed("poll", FOREVER_MS, &cqe))
		tell("io_uring poll -> too early");
	put(c.client, "hello", 0);
	ring_polled();
	get(c.server, 100, 0);
	ring_poll(c.server);
	shut(c.client);
	ring_polled();
	close(c.server);
}

CASE(uring_waitall, bypass, "io_uring recv with MSG_WAITALL")
{
	struct conn c = dial();
	char buf[11] = "";

	ring_up();
	put(c.client, "hello", 0);
	settle();
	ring_op(IORING_OP_RECV, c.server, buf, 10, MSG_WAITALL);
	ring_fed("recv WAITALL", c.client, "world", "recv WAITALL");
	tell("\"%s\"", buf);
	hang_up(c);
}

static struct conn dial_ring(void)
{
	struct conn c = dial();

	ring_up();
	greet(c);
	return c;
}

static void send_zc(int from, int to)
{
	struct io_uring_cqe cqe;
	static char data[5000];
	int notified = 0;

	memset(data, 'z', sizeof(data));
	ring_op(IORING_OP_SEND_ZC, from, data, sizeof(data), 0);
	if (!completed("send_zc", ARRIVE_MS, &cqe))
		return;
	if (cqe.res == -EINVAL)
		skip("no IORING_OP_SEND_ZC before Linux 6.0");
	tell("io_uring send_zc -> %s, more %s", outcome(&cqe),
	     cqe.flags & IORING_CQE_F_MORE ? "yes" : "no");
	if (cqe.res > 0) {
		get(to, 4000, 0);
		get(to, 4000, 0);
	}
	if (cqe.flags & IORING_CQE_F_MORE)
		notified = completed("notification", ARRIVE_MS, &cqe);
	tell("notified: %s", notified ? "yes" : "no");
}

CASE(uring_send_zc, bypass, "io_uring send_zc, its notification")
{
	struct conn c = dial_ring();

	send_zc(c.client, c.server);
	hang_up(c);
}

CASE(uring_send_zc_server, bypass, "io_uring send_zc of the accepted end")
{
	struct conn c = dial_ring();

	send_zc(c.server, c.client);
	hang_up(c);
}

/* Bulk both ways first, so that the connection is plain TCP again. */
CASE(uring_send_zc_left, bypass, "io_uring send_zc after bulk, off the bypass")
{
	struct conn c = dial_ring();

	exchange_bulk(c);
	send_zc(c.client, c.server);
	send_zc(c.server, c.client);
	hang_up(c);
}

CASE(uring_cancel, bypass, "io_uring cancels a recv")
{
	struct conn c = dial();
	struct io_uring_cqe cqe;
	char buf[100] = "";

	ring_up();
	submit((struct io_uring_sqe){.opcode = IORING_OP_RECV,
				     .fd = c.server,
				     .addr = (uintptr_t)buf,
				     .len = sizeof(buf),
				     .user_data = 7});
	settle();
	submit((struct io_uring_sqe){.opcode = IORING_OP_ASYNC_CANCEL, .addr = 7});
	for (int i = 0; i < 2; i++)
		if (completed("cancel", ARRIVE_MS, &cqe))
			tell("%s -> %s", cqe.user_data == 7 ? "recv" : "cancel", outcome(&cqe));
	put(c.client, "kept", 0);
	get(c.server, 100, 0);
	hang_up(c);
}
