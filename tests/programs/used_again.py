#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Sockets that are dissolved by AF_UNSPEC with bytes unread, and used again.

One connects to itself, which is a simultaneous open: says what it reads then.  Another one listens:
says the keepalive options of it and of what it accepts.
"""
import ctypes
import socket
import struct
import sys

FAMILY, LOOPBACK = (socket.AF_INET6, "::1") if sys.argv[1:] == ["6"] else (socket.AF_INET, "127.0.0.1")
OPTIONS = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
           (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT))


def dissolved(port=0):
    listener = socket.create_server((LOOPBACK, 0), family=FAMILY)
    sock = socket.socket(FAMILY)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.connect(listener.getsockname())
    peer = listener.accept()[0]
    sock.sendall(b"?")
    peer.recv(1)
    peer.sendall(b"old")
    while sock.recv(3, socket.MSG_PEEK) != b"old":
        pass
    none = struct.pack("=H26x", socket.AF_UNSPEC)
    assert not ctypes.CDLL(None).connect(sock.fileno(), none, len(none))
    sock.bind((LOOPBACK, port))
    sock.settimeout(10)
    return sock, peer


def options(sock):
    return [sock.getsockopt(*option) for option in OPTIONS]


def main():
    again, _ = dissolved()
    again.connect(again.getsockname())
    again.sendall(b"new")
    print(again.recv(100).decode())
    listener, _ = dissolved(3260)  # a port that is never admitted
    listener.listen()
    client = socket.create_connection(listener.getsockname()[:2])
    plain = socket.socket(FAMILY)
    print(options(listener) == options(plain), options(listener.accept()[0]) == options(plain))


if __name__ == "__main__":
    main()
