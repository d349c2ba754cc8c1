#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A connection, held by so many descriptors of one table that so many processes share.

shared_files.py PROCESSES DESCRIPTORS

Prints its pid when they are there; all end when its input does.
"""
import ctypes
import os
import resource
import signal
import socket
import sys

CLONE_FILES = 0x400
SYS_CLONE = {"x86_64": 56, "aarch64": 220}[os.uname().machine]

processes, descriptors = map(int, sys.argv[1:])
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
for end, other in ((client, server), (server, client)):
    end.sendall(b"x")
    assert other.recv(1) == b"x"
for _ in range(descriptors):
    os.dup(client.fileno())
pids = []
for _ in range(processes):
    pid = ctypes.CDLL(None).syscall(SYS_CLONE, CLONE_FILES | signal.SIGCHLD, 0, 0, 0, 0)
    if not pid:
        while True:
            signal.pause()
    pids.append(pid)
print(os.getpid(), flush=True)
sys.stdin.read()
for pid in pids:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
