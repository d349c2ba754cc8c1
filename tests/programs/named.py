#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Processes with hostile names, each with a connection to itself.

Prints a line `PID HEX` for each, its name in hexadecimal, then `ready`; they end when its input does.
Together the names have all bytes from 1 to 255, and some say things to a shell or a terminal.
"""
import ctypes
import os
import socket
import sys

PR_SET_NAME = 15

libc = ctypes.CDLL(None)
every = bytes(range(1, 256))
names = [every[i : i + 15] for i in range(0, 255, 15)] + [
    b"ON[$(id>&2)]",
    b"$(kill $$)",
    b"a\nb\nc",
    b"`id`;id|id&id",
    b"x/1 -> y/2, z",
    b'","x":"',
    b"-",
    b"%s%n\\x41",
]


def hold(name, ready):
    libc.prctl(PR_SET_NAME, name, 0, 0, 0)
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    for end, other in ((client, server), (server, client)):
        end.sendall(b"x")
        assert other.recv(1) == b"x"
    os.write(ready, b".")
    os.close(ready)
    sys.stdin.read()
    os._exit(0)


for name in names:
    is_ready, ready = os.pipe()
    pid = os.fork()
    if not pid:
        hold(name, ready)
    os.close(ready)
    assert os.read(is_ready, 1) == b"."
    os.close(is_ready)
    print(pid, name.hex(), flush=True)
print("ready", flush=True)
sys.stdin.read()
