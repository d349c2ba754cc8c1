// SPDX-License-Identifier: GPL-2.0
/* Cases: a process that is frozen, then thawed, while it waits in a call. */
#include "semantics.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* Write to a file of a cgroup, or read it. */
static int cgroup_put(const char *dir, const char *file, const char *text)
{
	char path[512];
	int fd, ok;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return ok;
}

static int cgroup_has(const char *dir, const char *file, const char *text)
{
	char path[512], buf[256] = "";
	int fd, ok;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ok = fd >= 0 && read(fd, buf, sizeof(buf) - 1) > 0 && strstr(buf, text);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* A new cgroup below our own one; NULL when that cannot be. */
static const char *cgroup_new(void)
{
	static char dir[400];
	char line[1024], mount[128] = "", own[128] = "";
	FILE *f = fopen("/proc/self/mounts", "re");

	while (f && !mount[0] && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %127s cgroup2 ", mount) != 1 || !strstr(line, " cgroup2 "))
			mount[0] = 0;
	if (f)
		fclose(f);
	f = fopen("/proc/self/cgroup", "re");
	while (f && !own[0] && fgets(line, sizeof(line), f))
		sscanf(line, "0::%127s", own);
	if (f)
		fclose(f);
	snprintf(dir, sizeof(dir), "%s%s/semantics.%d", mount, own, (int)getpid());
	return mount[0] && own[0] && !mkdir(dir, 0755) ? dir : NULL;
}

static void await_frozen(const char *dir, const char *state)
{
	long limit = now_ms() + ARRIVE_MS;

	while (!cgroup_has(dir, "cgroup.events", state) && now_ms() < limit)
		sleep_ms(2);
	if (!cgroup_has(dir, "cgroup.events", state))
		tell("never %s", state);
}

/* As `docker pause` and `systemctl freeze` do it. */
CASE(recv_frozen, bypass, "a blocking recv in a cgroup that is frozen and thawed")
{
	const char *dir = cgroup_new();
	struct conn c = dial();
	char pid_text[16];
	long limit;
	pid_t pid;

	if (!dir)
		skip("no cgroup of v2 can be made");
	greet(c);
	pid = fork();
	if (!pid) {
		char buf[100];

		tell_got(c.server, sizeof(buf), 0, recv(c.server, buf, sizeof(buf), 0), buf);
		fflush(stdout);
		_exit(0);
	}
	snprintf(pid_text, sizeof(pid_text), "%d", (int)pid);
	if (!cgroup_put(dir, "cgroup.procs", pid_text))
		fail("cgroup.procs");
	limit = now_ms() + ARRIVE_MS;
	while (!is_asleep(pid) && now_ms() < limit)
		sleep_ms(2);
	settle();
	if (!cgroup_put(dir, "cgroup.freeze", "1"))
		fail("cgroup.freeze");
	await_frozen(dir, "frozen 1");
	if (!cgroup_put(dir, "cgroup.freeze", "0"))
		fail("cgroup.freeze");
	await_frozen(dir, "frozen 0");
	limit = now_ms() + FOREVER_MS;
	while (cgroup_has(dir, "cgroup.events", "populated 1") && now_ms() < limit)
		sleep_ms(2);
	if (send(c.client, "late", 4, 0) != 4) /* the child may be writing a line */
		fail("send");
	wait_child(pid);
	tell("left for the parent: %s", await(c.server, POLLIN, SETTLE_MS) ? "late" : "nothing");
	rmdir(dir);
	hang_up(c);
}
