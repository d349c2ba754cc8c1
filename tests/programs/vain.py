#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A program of a chosen name connects in vain, and holds the sockets.

    vain.py NAME COUNT

As many processes as the limit of open files takes.  Says `COUNT have connected in vain`, and ends
after a minute.
"""
import ctypes
import os
import resource
import socket
import sys
import time

name, count = os.fsencode(sys.argv[1]), int(sys.argv[2])
ctypes.CDLL(None).prctl(15, name, 0, 0, 0)  # PR_SET_NAME
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
each = min(limit - 50, count)
processes = -(-count // each)
done, has_done = os.pipe()
held = []
for _ in range(processes):
    if os.fork() == 0:
        for _ in range(each):
            held.append(socket.socket())
            held[-1].connect_ex(("127.0.0.1", 1))
        os.write(has_done, b"x")
        time.sleep(60)
        os._exit(0)
for _ in range(processes):
    os.read(done, 1)
print(f"{count} have connected in vain", flush=True)
time.sleep(60)
