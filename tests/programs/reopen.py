#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""One socket makes two connections to the same listener, dissolved by AF_UNSPEC in between.

The first one is small talk, and ends with bytes that the client has not read: it is still in the map
then.  Of the second one it says "second" once that is there, waits for a line, and then sends.
"""
import ctypes
import socket
import struct
import sys

listener = socket.create_server(("127.0.0.1", 0))
client = socket.socket()

client.connect(listener.getsockname())
first = listener.accept()[0]
for _ in range(5):
    client.sendall(b"question")
    assert first.recv(8) == b"question"
    first.sendall(b"answer")
    assert client.recv(6) == b"answer"
first.sendall(b"unread")

none = struct.pack("=H14x", socket.AF_UNSPEC)
assert not ctypes.CDLL(None).connect(client.fileno(), none, len(none))
client.connect(listener.getsockname())
second = listener.accept()[0]
print("second", flush=True)
sys.stdin.readline()
for _ in range(5):
    client.sendall(b"question")
    assert second.recv(8) == b"question"
