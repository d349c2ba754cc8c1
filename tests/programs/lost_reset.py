#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A client's connection ends with bytes unread, and that one reset is lost.

    lost_reset.py dissolved|killed

By connect(2) to AF_UNSPEC, or by the kernel, for `ss --kill`.  Its server sends on, and must learn of
it, as over TCP.
"""
import ctypes
import socket
import struct
import subprocess
import sys
import time


def nft(rules):
    subprocess.run(["nft", "-f", "-"], input=rules.encode(), check=True)


listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server = listener.accept()[0]
for _ in range(10):
    client.sendall(b"x")
    server.recv(1)
    server.sendall(b"y")
    client.recv(1)
server.sendall(b"unread")
time.sleep(0.1)
nft("table inet lost { chain out { type filter hook output priority 0; tcp flags & rst == rst drop; }; }")
if sys.argv[1] == "dissolved":
    none = struct.pack("=H14x", socket.AF_UNSPEC)
    assert not ctypes.CDLL(None).connect(client.fileno(), none, len(none))
else:
    subprocess.run(["ss", "--kill", "-t", "sport", "=", str(client.getsockname()[1])], check=True, stdout=subprocess.DEVNULL)
nft("delete table inet lost")
server.settimeout(5)
try:
    for _ in range(3):
        server.sendall(b"question")
        time.sleep(0.2)
except (ConnectionResetError, BrokenPipeError):
    sys.exit(0)
sys.exit("it was not told")
