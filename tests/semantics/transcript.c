// SPDX-License-Identifier: GPL-2.0
/* The transcript: its lines, and the names of errors, flags and events in them. */
#include "semantics.h"
#include <stdarg.h>
#include <stdio.h>

void tell(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void die(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("semantics: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	fflush(stdout);
	_exit(status);
}

void skip(const char *why)
{
	tell("skipped: %s", why);
	fflush(stdout);
	_exit(77);
}

const char *res(long r)
{
	static _Thread_local char text[8][32];
	static _Thread_local int at;

	if (r < 0)
		return strerrorname_np(errno);
	at = (at + 1) % 8;
	snprintf(text[at], sizeof(text[at]), "%ld", r);
	return text[at];
}

char names[1024][24];

int named(int fd, const char *name)
{
	if (fd < 0)
		fail(name);
	snprintf(names[fd], sizeof(names[fd]), "%s", name);
	return fd;
}

const char *flag_names(int flags)
{
	static const struct {
		int flag;
		const char *name;
	} known[] = {
		{MSG_PEEK, "PEEK"},	    {MSG_DONTWAIT, "DONTWAIT"}, {MSG_TRUNC, "TRUNC"},
		{MSG_WAITALL, "WAITALL"},   {MSG_OOB, "OOB"},		{MSG_MORE, "MORE"},
		{MSG_ERRQUEUE, "ERRQUEUE"}, {MSG_EOR, "EOR"},		{MSG_NOSIGNAL, "NOSIGNAL"},
		{MSG_ZEROCOPY, "ZEROCOPY"}, {MSG_CTRUNC, "CTRUNC"},
	};
	static char text[128];

	text[0] = 0;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (flags & known[i].flag) {
			strcat(text, " ");
			strcat(text, known[i].name);
		}
	}
	return text;
}

const char *poll_names(unsigned int events)
{
	static const struct {
		unsigned int event;
		const char *name;
	} known[] = {
		{POLLIN, " in"},   {POLLPRI, " pri"}, {POLLOUT, " out"},
		{POLLERR, " err"}, {POLLHUP, " hup"}, {POLLRDHUP, " rdhup"},
	};
	static char text[4][64];
	static int at;

	at = (at + 1) % 4;
	text[at][0] = 0;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (events & known[i].event)
			strcat(text[at], known[i].name);
	return text[at][0] ? text[at] : " nothing";
}
