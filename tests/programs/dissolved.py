#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A connection that its client dissolves by AF_UNSPEC, with bytes unread, while its server goes on.

`server`: on 10.7.0.2:7000; sends b"old", and after a line of input b"injected" ten times.
`client`: says "connected"; after a line it connects the same socket to a server of its own, says
"again", and after another line what it reads of that.
"""
import contextlib
import ctypes
import socket
import struct
import sys

SERVER = ("10.7.0.2", 7000)

if sys.argv[1] == "server":
    sock = socket.create_server(SERVER).accept()[0]
    sock.recv(1)
    sock.sendall(b"old")
    sys.stdin.readline()
    with contextlib.suppress(OSError):
        for _ in range(10):
            sock.sendall(b"injected")
    print("sent", flush=True)
    sys.stdin.readline()
else:
    listener = socket.create_server(("127.0.0.1", 0))
    sock = socket.create_connection(SERVER)
    sock.sendall(b"?")
    while sock.recv(3, socket.MSG_PEEK) != b"old":
        pass
    print("connected", flush=True)
    sys.stdin.readline()
    none = struct.pack("=H14x", socket.AF_UNSPEC)
    assert not ctypes.CDLL(None).connect(sock.fileno(), none, len(none))
    sock.settimeout(10)
    sock.connect(listener.getsockname())
    peer = listener.accept()[0]
    print("again", flush=True)
    sys.stdin.readline()
    peer.sendall(b"answer")
    peer.close()
    said = b""
    while part := sock.recv(1000):
        said += part
    print(said.decode(), flush=True)
