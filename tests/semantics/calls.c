// SPDX-License-Identifier: GPL-2.0
/* The calls that most cases make, each with its line of the transcript. */
#include "semantics.h"
#include <linux/errqueue.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>

static void tell_sent(int fd, const char *text, int flags, long r)
{
	tell("%s send%s \"%s\" -> %s", names[fd], flag_names(flags & ~MSG_NOSIGNAL), text, res(r));
}

void put(int fd, const char *text, int flags)
{
	tell_sent(fd, text, flags, send(fd, text, strlen(text), flags | MSG_NOSIGNAL));
}

static int is_text(const char *buf, long len)
{
	for (long i = 0; i < len; i++)
		if (buf[i] < ' ' || buf[i] > '~')
			return 0;
	return len > 0;
}

void tell_got(int fd, size_t want, int flags, long r, const char *buf)
{
	if (r > 0 && r <= 80 && is_text(buf, r))
		tell("%s recv%s %zu -> %ld \"%.*s\"", names[fd], flag_names(flags), want, r, (int)r,
		     buf);
	else
		tell("%s recv%s %zu -> %s", names[fd], flag_names(flags), want, res(r));
}

long get(int fd, size_t want, int flags)
{
	char buf[4096];
	long r;

	if (want > sizeof(buf))
		want = sizeof(buf);
	memset(buf, '.', sizeof(buf));
	if (!(flags & MSG_DONTWAIT) && !await(fd, flags & MSG_OOB ? POLLPRI : POLLIN, ARRIVE_MS)) {
		tell("%s recv%s %zu: nothing comes", names[fd], flag_names(flags), want);
		return -1;
	}
	r = recv(fd, buf, want, flags);
	tell_got(fd, want, flags, r, buf);
	return r;
}

void no_more(int fd)
{
	settle();
	get(fd, 100, MSG_DONTWAIT);
}

void error_of(int fd)
{
	int err = get_option(fd, SOL_SOCKET, SO_ERROR);

	tell("%s SO_ERROR %s", names[fd], err ? strerrorname_np(err) : "0");
}

void end(int fd, int how)
{
	static const char *const hows[] = {"RD", "WR", "RDWR"};

	tell("%s shutdown %s -> %s", names[fd], hows[how], res(shutdown(fd, how)));
	settle();
}

void shut(int fd)
{
	tell("%s close -> %s", names[fd], res(close(fd)));
	settle();
}

void reset(int fd)
{
	struct linger l = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	tell("%s close with linger 0 -> %s", names[fd], res(close(fd)));
	settle();
}

static void select_names(int fd, char *text)
{
	struct timeval none = {0, 0};
	fd_set r, w, x;

	FD_ZERO(&r);
	FD_SET(fd, &r);
	w = x = r;
	if (select(fd + 1, &r, &w, &x, &none) < 0)
		fail("select");
	strcpy(text, FD_ISSET(fd, &r) ? "r" : "-");
	strcat(text, FD_ISSET(fd, &w) ? "w" : "-");
	strcat(text, FD_ISSET(fd, &x) ? "x" : "-");
}

static unsigned int epoll_once(int fd)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP}, got = {0};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e))
		fail("epoll");
	if (epoll_wait(ep, &got, 1, 0) < 0)
		fail("epoll_wait");
	close(ep);
	return got.events;
}

/* What poll, epoll and select say of a socket. */
void ready(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP};
	char sel[4];

	settle();
	poll(&p, 1, 0);
	select_names(fd, sel);
	tell("%s ready: poll%s; epoll%s; select %s", names[fd], poll_names(p.revents),
	     poll_names(epoll_once(fd)), sel);
}

void tell_unread(int fd)
{
	int n = -1;

	if (ioctl(fd, FIONREAD, &n))
		n = -1;
	tell("%s FIONREAD %d", names[fd], n);
}

void greet(struct conn c)
{
	put(c.client, "greeting", 0);
	get(c.server, 100, 0);
}

void completion(int fd)
{
	char control[256];
	struct msghdr m = {.msg_control = control, .msg_controllen = sizeof(control)};
	struct sock_extended_err err;
	struct cmsghdr *cmsg;
	long r;

	if (!(await(fd, 0, 300) & POLLERR)) {
		tell("%s error queue: nothing comes", names[fd]);
		return;
	}
	r = recvmsg(fd, &m, MSG_ERRQUEUE);
	tell("%s error queue -> %s", names[fd], res(r));
	for (cmsg = CMSG_FIRSTHDR(&m); r >= 0 && cmsg; cmsg = CMSG_NXTHDR(&m, cmsg)) {
		if (cmsg->cmsg_level == SOL_SOCKET) {
			tell("a time stamp");
		} else {
			memcpy(&err, CMSG_DATA(cmsg), sizeof(err));
			tell("origin %d, errno %d, range %u-%u, copied %s", err.ee_origin,
			     err.ee_errno, err.ee_info, err.ee_data,
			     err.ee_code & SO_EE_CODE_ZEROCOPY_COPIED ? "yes" : "no");
		}
	}
}

void exchange(struct conn c)
{
	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	put(c.server, "welcome", 0);
	get(c.client, 100, 0);
}

atomic_int sigpipes;

static void on_sigpipe(int sig)
{
	(void)sig;
	sigpipes++;
}

void count_sigpipes(void)
{
	signal(SIGPIPE, on_sigpipe);
}
