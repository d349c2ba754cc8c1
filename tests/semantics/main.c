// SPDX-License-Identifier: GPL-2.0
/*
 * What a program sees of its TCP sockets, written down line by line.
 *
 *   semantics CASE      play one case, print its transcript
 *   semantics --list    NAME PATH DESCRIPTION of each case, one a line
 *
 * A transcript holds results, error names, readiness, bytes and their order; no
 * times, no ports, no amounts that depend on buffer sizes.  It is thus the same
 * in each run, and semantics.bats compares those of plain TCP with those under
 * the pair.  PATH says where the case's bytes must go when the pair is loaded:
 * `bypass`, at least one message redirected; `stack`, none; `any`.
 *
 * Both ends are in this process (or its children).  Nothing waits for ever: a
 * case that hangs says so in its transcript.  Exit status 0: played to its end;
 * 2: something failed that is not under test; 3: it hung; 77: skipped, the
 * transcript says why.
 */
#include "semantics.h"
#include <signal.h>
#include <stdio.h>

#define CASE_SECONDS 15

static struct test_case *cases;

static int stands_before(const struct test_case *a, const struct test_case *b)
{
	int files = strcmp(a->file, b->file);

	return files ? files < 0 : a->line < b->line;
}

/* In order: that in which constructors run is the linker's. */
void add_case(struct test_case *added)
{
	struct test_case **at = &cases;

	while (*at && stands_before(*at, added))
		at = &(*at)->next;
	added->next = *at;
	*at = added;
}

static void on_alarm(int sig)
{
	static const char msg[] = "hangs\n";

	(void)sig;
	_exit(write(STDOUT_FILENO, msg, sizeof(msg) - 1) < 0 ? 2 : 3);
}

int main(int argc, char **argv)
{
	const char *name = argc == 2 ? argv[1] : "";
	const struct test_case *c;

	if (!strcmp(name, "--list")) {
		for (c = cases; c; c = c->next)
			printf("%s %s %s\n", c->name, c->path, c->what);
		return 0;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, on_alarm);
	alarm(CASE_SECONDS);
	for (c = cases; c; c = c->next) {
		if (!strcmp(c->name, name)) {
			c->run();
			return 0;
		}
	}
	fprintf(stderr, "usage: semantics CASE | --list\n");
	return 2;
}
