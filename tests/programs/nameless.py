#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Holds a connection whose network namespace has neither a name nor a process any more.

Says `connected`, and ends when its input does.
"""
import ctypes
import os
import socket
import subprocess
import sys

CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


def check(status):
    if status:
        sys.exit(os.strerror(ctypes.get_errno()))


home = os.open("/proc/self/ns/net", os.O_RDONLY)
check(libc.unshare(CLONE_NEWNET))
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
check(libc.setns(home, CLONE_NEWNET))
client.sendall(b"x")
assert server.recv(1) == b"x"
print("connected", flush=True)
sys.stdin.read()
