#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A stranger's short connections, which aim at the account of a chosen process (accounts.h).

    aim.py NETNS PORT PID

The process PID connects to a server on PORT, in the network namespace with this inode number.
Without a secret its account is a hash of these three.  So take a port of our own with which our
hash is the same, and make short connections to it, until the end of the input.
"""
import os
import select
import socket
import sys

FIRST, SECOND, WORD = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, (1 << 64) - 1
DISTANCE = 0.001  # seconds between two


def simple(netns, port, pid):
    return ((((netns ^ port) * FIRST & WORD) ^ pid) * SECOND & WORD) >> 52


def mix(word):
    word = word * FIRST & WORD
    word = (word ^ word >> 32) * SECOND & WORD
    return word ^ word >> 32


def mixed(netns, port, pid):
    return mix(mix(netns << 16 ^ port) ^ pid) >> 52


def listeners(account):
    chosen = account(*map(int, sys.argv[1:4]))
    own = os.stat("/proc/self/ns/net").st_ino
    for port in range(1024, 65536):
        if account(own, port, os.getpid()) == chosen:
            yield socket.create_server(("127.0.0.1", port))
            return


servers = [s for account in (simple, mixed) for s in listeners(account)]
print("aimed", flush=True)
while not select.select([sys.stdin], [], [], DISTANCE)[0]:
    for server in servers:
        with socket.create_connection(server.getsockname()) as client, server.accept()[0] as accepted:
            client.send(b"q")
            accepted.recv(1)
            accepted.send(b"a")
            client.recv(1)
