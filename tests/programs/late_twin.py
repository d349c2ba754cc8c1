#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""late_twin.py victim|stranger MODE: a connection, and a later one with its sequence numbers.

The stranger has seen the numbers, and is root of namespaces of his own.

    unmet     the victim's client has sent nothing yet
    deferred  nor is its server's end there yet (TCP_DEFER_ACCEPT)
    same      the stranger has the victim's addresses as well, and dissolves his connection

Each says `ready` and waits for a line of input.  The victim then says what was read.
"""
import ctypes
import socket
import struct
import sys

import twins

role, mode = sys.argv[1:]
ADDRESS = "10.9.0.1" if role == "victim" or mode == "same" else "10.8.0.1"
server, client = (ADDRESS, twins.PORT), (ADDRESS, twins.FIRST)

twins.leave_time_wait(server, client)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(server)
if mode == "deferred" and role == "victim":
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)
listener.listen()
ours = twins.connect(server, client, role == "stranger" and mode == "deferred")
listener.settimeout(5)
theirs = None
if mode != "deferred" or role == "stranger":
    theirs = listener.accept()[0]


def wait():
    print("ready", flush=True)
    sys.stdin.readline()


def read_by(end):
    end.settimeout(3)
    said = b""
    try:
        while part := end.recv(1000):
            said += part
    except OSError:
        pass
    return said.decode() or "nothing"


if role == "stranger":
    if mode == "same":
        assert not ctypes.CDLL(None).connect(ours.fileno(), struct.pack("=H14x", socket.AF_UNSPEC), 16)
        ours.setblocking(False)
        ours.connect_ex((ADDRESS, 9))
    wait()
    print("nothing" if mode == "same" else read_by(theirs))
elif mode == "same":
    for _ in range(20):
        ours.sendall(b"?")
        theirs.recv(1)
        theirs.sendall(b"!")
        ours.recv(1)
    theirs.sendall(b"first ")
    wait()
    theirs.sendall(b"second")
    theirs.shutdown(socket.SHUT_WR)
    print(read_by(ours))
else:
    wait()
    ours.sendall(b"for the server")
    ours.shutdown(socket.SHUT_WR)
    try:
        print(read_by(theirs or listener.accept()[0]))
    except OSError:
        print("nothing")
