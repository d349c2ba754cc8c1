// SPDX-License-Identifier: GPL-2.0
/* Cases: the peer has closed with something unread, or has reset the connection. */
#include "semantics.h"

CASE(closed_peer, bypass, "first, second, third send to a peer that has closed")
{
	struct conn c = dial();

	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	shut(c.server);
	ready(c.client);
	put(c.client, "first", 0);
	settle();
	ready(c.client);
	put(c.client, "second", 0);
	put(c.client, "third", 0);
	error_of(c.client);
	get(c.client, 100, 0);
	close(c.client);
}

CASE(closed_peer_read, bypass, "a send to a closed peer whose last bytes are unread")
{
	struct conn c = dial();

	put(c.server, "unread", 0);
	settle();
	shut(c.server);
	put(c.client, "first", 0);
	settle();
	ready(c.client);
	get(c.client, 100, 0);
	get(c.client, 100, 0);
	error_of(c.client);
	close(c.client);
}

CASE(reset, bypass, "a reset")
{
	struct conn c = dial();

	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	reset(c.client);
	ready(c.server);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	put(c.server, "x", 0);
	error_of(c.server);
	ready(c.server);
	close(c.server);
}

CASE(reset_unread, bypass, "a reset, with bytes unread")
{
	struct conn c = dial();

	put(c.client, "hello", 0);
	settle();
	reset(c.client);
	ready(c.server);
	get(c.server, 3, 0);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	error_of(c.server);
	close(c.server);
}

CASE(reset_error, bypass, "SO_ERROR after a reset")
{
	struct conn c = dial();

	put(c.server, "hello", 0);
	get(c.client, 100, 0);
	reset(c.client);
	error_of(c.server);
	error_of(c.server);
	get(c.server, 100, 0);
	close(c.server);
}

CASE(reset_send, bypass, "sends after a reset")
{
	struct conn c = dial();

	count_sigpipes();
	put(c.server, "hello", 0);
	get(c.client, 100, 0);
	reset(c.client);
	put(c.server, "first", 0);
	put(c.server, "second", 0);
	tell("server write -> %s", res(write(c.server, "third", 5)));
	tell("SIGPIPE: %d", sigpipes);
	error_of(c.server);
	put(c.server, "fourth", 0);
	get(c.server, 100, 0);
	close(c.server);
}

CASE(close_unread, bypass, "close with unread bytes")
{
	struct conn c = dial();

	put(c.client, "unread", 0);
	settle();
	shut(c.server);
	ready(c.client);
	get(c.client, 100, 0);
	get(c.client, 100, 0);
	error_of(c.client);
	put(c.client, "x", 0);
	close(c.client);
}

CASE(close_unread_answered, bypass, "close with unread bytes after an answer")
{
	struct conn c = dial();

	put(c.server, "answer", 0);
	put(c.client, "unread", 0);
	settle();
	shut(c.server);
	ready(c.client);
	get(c.client, 100, 0);
	get(c.client, 100, 0);
	close(c.client);
}
