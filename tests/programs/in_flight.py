#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Holds a connection that no process has open: both ends are on their way through a unix socket.

Says `connected`, and ends when its input does.
"""
import socket
import sys

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.sendall(b"x")
assert server.recv(1) == b"x"
here, there = socket.socketpair()
socket.send_fds(here, [b"two"], [client.fileno(), server.fileno()])
client.close()
server.close()
print("connected", flush=True)
sys.stdin.read()
