// SPDX-License-Identifier: GPL-2.0
/* Cases: control data, time stamps among it. */
#include "semantics.h"
#include <linux/net_tstamp.h>
#include <sys/uio.h>
#include <linux/tcp.h>

/* Control data that is wrong, and control data that does not belong here. */
CASE(control, bypass, "sendmsg with control data")
{
	struct conn c = dial();
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec v = {"hello", 5};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
	struct cmsghdr *cmsg;

	m.msg_controllen = sizeof(control);
	cmsg = CMSG_FIRSTHDR(&m);
	*cmsg = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = 9999};
	tell("client sendmsg with unknown control data -> %s", res(sendmsg(c.client, &m, 0)));
	cmsg->cmsg_level = IPPROTO_IP;
	cmsg->cmsg_type = IP_TTL;
	tell("client sendmsg with IP_TTL -> %s", res(sendmsg(c.client, &m, 0)));
	put(c.client, "!", 0);
	settle();
	get(c.server, 100, 0);
	hang_up(c);
}

/* Prints what control data comes; returns whether any came. */
static int tell_control(int fd)
{
	char buf[100], control[256];
	struct iovec v = {buf, sizeof(buf)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
	struct cmsghdr *cmsg;
	int inq, any = 0;

	m.msg_controllen = sizeof(control);
	if (recvmsg(fd, &m, MSG_DONTWAIT) < 0)
		tell("%s recvmsg -> %s", names[fd], res(-1));
	for (cmsg = CMSG_FIRSTHDR(&m); cmsg; cmsg = CMSG_NXTHDR(&m, cmsg)) {
		any = 1;
		if (cmsg->cmsg_level == IPPROTO_TCP && cmsg->cmsg_type == TCP_CM_INQ) {
			memcpy(&inq, CMSG_DATA(cmsg), sizeof(inq));
			tell("control data: TCP_CM_INQ %d", inq);
		} else {
			tell("control data: level %d, type %d", cmsg->cmsg_level, cmsg->cmsg_type);
		}
	}
	return any;
}

/* The kernel begins to stamp packets a while after it was asked to. */
static void stamped(int option, int value)
{
	struct conn c = dial();
	int any = 0;

	greet(c);
	set(c.server, SOL_SOCKET, option, value);
	for (int i = 0; i < 20 && !any; i++) {
		send(c.client, "hello", 5, 0);
		settle();
		any = tell_control(c.server);
	}
	if (!any)
		tell("never any control data");
	hang_up(c);
}

CASE(timestamp, bypass, "SO_TIMESTAMP")
{
	stamped(SO_TIMESTAMP, 1);
}

CASE(timestamping_rx, bypass, "SO_TIMESTAMPING of what is received")
{
	stamped(SO_TIMESTAMPING, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE);
}

CASE(timestamping_tx, bypass, "SO_TIMESTAMPING of what is sent")
{
	struct conn c = dial();

	greet(c);
	set(c.client, SOL_SOCKET, SO_TIMESTAMPING,
	    SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY);
	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	completion(c.client);
	hang_up(c);
}

CASE(inq, bypass, "TCP_INQ")
{
	struct conn c = dial();

	set(c.server, IPPROTO_TCP, TCP_INQ, 1);
	put(c.client, "hello", 0);
	settle();
	if (!tell_control(c.server))
		tell("no control data");
	hang_up(c);
}
