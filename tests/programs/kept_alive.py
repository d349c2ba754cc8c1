#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Servers that set their keepalive when they have accepted, and read by edges.

Each client has sent 300,000 bytes by then, so that the last ones came over TCP.  The server stops
at a short read, as tokio and nginx do, and waits for the next edge.  Fails where one takes longer
than 5 seconds.
"""
import fcntl
import select
import socket
import sys
import termios

SIZE = 300_000
KEEPALIVES = {
    "none": (),
    "TCP_KEEPIDLE": ((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 300),),
    "on": ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 300)),
    "off": ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),),
}


def upload(options):
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    for part in range(0, SIZE, 50_000):
        client.sendall(b"x" * min(50_000, SIZE - part))
    while int.from_bytes(fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)), sys.byteorder):
        pass  # until the last packet is acknowledged: no other one follows
    server = listener.accept()[0]
    for option in options:
        server.setsockopt(*option)
    server.setblocking(False)
    poll = select.epoll()
    poll.register(server, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
    got = 0
    while got < SIZE:
        if not poll.poll(5):
            return got
        try:
            while True:
                part = len(server.recv(16384))
                got += part
                if part < 16384:
                    break
        except BlockingIOError:
            pass
    return got


stalled = {name: got for name, options in KEEPALIVES.items() if (got := upload(options)) < SIZE}
sys.exit(f"no edge in 5 s: {stalled}" if stalled else 0)
