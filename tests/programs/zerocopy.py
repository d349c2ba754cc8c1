#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Programs that set SO_ZEROCOPY on a connected socket: the N-th send has the number N.

They use a buffer again once its number has come: one that comes too early has them send wrong bytes
(Documentation/networking/msg_zerocopy.rst).  Fails where a number is another one.
"""
import select
import socket
import struct
import sys

SO_ZEROCOPY, MSG_ZEROCOPY = 60, 0x4000000
SENDS = 4


def completed(sock):
    """Numbers that have come, in their order."""
    numbers = []
    poll = select.poll()
    poll.register(sock, 0)  # POLLERR
    while len(numbers) < SENDS and poll.poll(5000):
        for _, _, error in sock.recvmsg(1, 500, socket.MSG_ERRQUEUE)[1]:
            first, last = struct.unpack("8x2I", error[:16])
            numbers += range(first, last + 1)
    return numbers


def numbers(size, round_trips):
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server = listener.accept()[0]
    for _ in range(round_trips):
        client.sendall(b"q")
        server.recv(1)
        server.sendall(b"a")
        client.recv(1)
    client.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
    for n in range(SENDS):
        assert client.send(bytes([n]) * size, MSG_ZEROCOPY) == size
        read = b""
        while len(read) < size:
            read += server.recv(size)
        assert read == bytes([n]) * size
    return completed(client)


for size in (1000, 20_000, 100_000, 400_000):
    for round_trips in (0, 10):
        came = numbers(size, round_trips)
        if came != list(range(SENDS)):
            sys.exit(f"{SENDS} sends of {size} bytes after {round_trips} round trips: the numbers {came}")
