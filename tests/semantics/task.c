// SPDX-License-Identifier: GPL-2.0
/* Calls that block, in a thread of their own: have they returned, or do they wait? */
#include "semantics.h"
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>

long task_connect(struct task *t)
{
	const union address *a = (const void *)t->buf;

	return connect(t->fd, &a->any, sizeof(a->in));
}

long task_recv(struct task *t)
{
	return recv(t->fd, t->buf, t->want, t->flags);
}

long task_read(struct task *t)
{
	return read(t->fd, t->buf, t->want);
}

long task_recv_into(struct task *t)
{
	return recv(t->fd, t->data, t->want, t->flags);
}

long task_send(struct task *t)
{
	return send(t->fd, t->data, t->want, t->flags | MSG_NOSIGNAL);
}

long task_poll(struct task *t)
{
	struct pollfd p = {.fd = t->fd, .events = POLLIN | POLLRDHUP};
	int n = poll(&p, 1, ARRIVE_MS);

	return n > 0 ? p.revents : n;
}

long task_select(struct task *t)
{
	struct timeval limit = {ARRIVE_MS / 1000, 0};
	fd_set r;

	FD_ZERO(&r);
	FD_SET(t->fd, &r);
	return select(t->fd + 1, &r, NULL, NULL, &limit);
}

long task_epoll(struct task *t)
{
	struct epoll_event e = {.events = EPOLLIN | t->flags}, got = {0};
	int ep = epoll_create1(EPOLL_CLOEXEC), n;

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, t->fd, &e))
		fail("epoll_ctl");
	n = epoll_wait(ep, &got, 1, ARRIVE_MS);
	close(ep);
	return n > 0 ? (long)got.events : n;
}

static void *task_main(void *arg)
{
	struct task *t = arg;
	long start = now_ms();

	t->tid = syscall(SYS_gettid);
	t->result = t->run(t);
	t->err = errno;
	t->took = now_ms() - start;
	t->done = 1;
	return NULL;
}

int is_asleep(int tid)
{
	char path[64], line[256] = "", *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	state = strrchr(line, ')');
	return state && state[1] && state[2] == 'S';
}

void begin(struct task *t, const char *what, long (*run)(struct task *))
{
	long limit = now_ms() + ARRIVE_MS;

	t->what = what;
	t->run = run;
	t->tid = t->done = 0;
	if (pthread_create(&t->thread, NULL, task_main, t))
		fail("pthread_create");
	while (!t->done && now_ms() < limit) {
		sleep_ms(2);
		if (t->tid && is_asleep(t->tid)) {
			sleep_ms(2);
			if (is_asleep(t->tid))
				break;
		}
	}
}

int returned(struct task *t, long ms)
{
	long limit = now_ms() + ms;

	while (!t->done && now_ms() < limit)
		sleep_ms(2);
	if (!t->done)
		return 0;
	pthread_join(t->thread, NULL);
	return 1;
}

static void tell_task(struct task *t)
{
	errno = t->err;
	if (t->run == task_recv || t->run == task_read)
		tell_got(t->fd, t->want, t->flags, t->result, t->buf);
	else if (t->run == task_poll || t->run == task_epoll)
		tell("%s %s -> %s", names[t->fd], t->what,
		     t->result > 0 ? poll_names(t->result) + 1 : res(t->result));
	else
		tell("%s %s -> %s", names[t->fd], t->what, res(t->result));
}

int still_waits(struct task *t)
{
	if (!returned(t, FOREVER_MS)) {
		tell("%s %s: waits", names[t->fd], t->what);
		return 1;
	}
	tell_task(t);
	return 0;
}

void must_return(struct task *t)
{
	if (!returned(t, ARRIVE_MS))
		tell("%s %s: never returns", names[t->fd], t->what);
	else
		tell_task(t);
}

int fed(struct task *t, int from, const char *text)
{
	if (!still_waits(t))
		return 0;
	put(from, text, 0);
	must_return(t);
	return 1;
}

void gets_later(struct task *t, int from, const char *text)
{
	if (!fed(t, from, text)) {
		put(from, text, 0);
		get(t->fd, 100, 0);
	}
}

static void on_user(int sig)
{
	(void)sig;
}

void interrupt(struct task *t, int flags)
{
	struct sigaction a = {.sa_handler = on_user, .sa_flags = flags};

	sigaction(SIGUSR1, &a, NULL);
	pthread_kill(t->thread, SIGUSR1);
}

void wait_child(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status)
		tell("the child failed");
}
