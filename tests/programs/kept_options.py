#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Keepalive options after an unload: of sockets that are accepted then, and of one that is used again.

Says `ready` when three connections wait to be accepted, and one is dissolved by AF_UNSPEC with bytes
unread; after a line of input which of their options are not as the kernel makes them.
"""
import ctypes
import socket
import struct
import sys

OPTIONS = {"SO_KEEPALIVE": (socket.SOL_SOCKET, socket.SO_KEEPALIVE), "TCP_KEEPIDLE": (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
           "TCP_KEEPINTVL": (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), "TCP_KEEPCNT": (socket.IPPROTO_TCP, socket.TCP_KEEPCNT)}
WANTED = {name: socket.socket().getsockopt(*option) for name, option in OPTIONS.items()}


def changed(sock):
    return [name for name, option in OPTIONS.items() if sock.getsockopt(*option) != WANTED[name]]


listener = socket.create_server(("127.0.0.1", 0))
waiting = [socket.create_connection(listener.getsockname()) for _ in range(3)]
other = socket.create_server(("127.0.0.1", 0))
again = socket.create_connection(other.getsockname())
peer = other.accept()[0]
again.sendall(b"?")
peer.recv(1)
peer.sendall(b"old")
while again.recv(3, socket.MSG_PEEK) != b"old":
    pass
assert not ctypes.CDLL(None).connect(again.fileno(), struct.pack("=H14x", socket.AF_UNSPEC), 16)
print("ready", flush=True)
sys.stdin.readline()
print("accepted:", *(name for _ in waiting for name in changed(listener.accept()[0])))
again.connect(other.getsockname())
print("again:", *changed(again))
