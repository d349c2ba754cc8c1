// SPDX-License-Identifier: GPL-2.0
/* Cases: urgent bytes. */
#include "semantics.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>

static atomic_int urgent;

static void on_urgent(int sig)
{
	(void)sig;
	urgent++;
}

CASE(oob, bypass, "MSG_OOB, SIGURG, SIOCATMARK, exceptfds")
{
	struct conn c = dial();
	int mark = -1;

	signal(SIGURG, on_urgent);
	fcntl(c.server, F_SETOWN, getpid());
	put(c.client, "before", 0);
	put(c.client, "!", MSG_OOB);
	put(c.client, "after", 0);
	ready(c.server);
	tell("SIGURG: %s", urgent ? "yes" : "no");
	get(c.server, 1, MSG_OOB | MSG_DONTWAIT);
	get(c.server, 100, 0);
	ioctl(c.server, SIOCATMARK, &mark);
	tell("at the mark: %d", mark);
	get(c.server, 100, MSG_DONTWAIT);
	hang_up(c);
}

CASE(oob_inline, bypass, "MSG_OOB with SO_OOBINLINE")
{
	struct conn c = dial();

	set(c.server, SOL_SOCKET, SO_OOBINLINE, 1);
	put(c.client, "before", 0);
	put(c.client, "!", MSG_OOB);
	settle();
	get(c.server, 100, 0);
	get(c.server, 100, MSG_DONTWAIT);
	hang_up(c);
}

CASE(oob_none, bypass, "MSG_OOB where nothing is urgent")
{
	struct conn c = dial();
	int mark = -1;

	put(c.client, "x", 0);
	ready(c.server);
	get(c.server, 1, MSG_OOB | MSG_DONTWAIT);
	tell("SIOCATMARK -> %s, %d", res(ioctl(c.server, SIOCATMARK, &mark)), mark);
	get(c.server, 1, 0);
	hang_up(c);
}
