#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Closes connections one by one, in the order of their keys.

    closing.py COUNT RATE

Makes COUNT connections with a round trip on each, says "ready", waits for a line, closes RATE of them
a second, and says "closed" when all are.
"""
import resource
import socket
import sys
import time

count, rate = int(sys.argv[1]), float(sys.argv[2])
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

listener = socket.create_server(("127.0.0.1", 0))
ends = []
for i in range(count):
    client = socket.create_connection(
        listener.getsockname(), source_address=(f"127.1.{i >> 8}.{i & 255}", 0))
    server = listener.accept()[0]
    client.sendall(b"question")
    assert server.recv(8) == b"question"
    server.sendall(b"answer")
    assert client.recv(6) == b"answer"
    ends.append((client, server))

print("ready", flush=True)
sys.stdin.readline()
for client, server in ends:
    client.close()
    server.close()
    time.sleep(1 / rate)
print("closed", flush=True)
