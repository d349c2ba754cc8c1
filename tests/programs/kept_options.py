#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Keepalive options after an unload: of sockets that are accepted then, and of one that is used again.

Says `ready` when three connections wait to be accepted, and one is dissolved by AF_UNSPEC with bytes
unread; after a line of input which of them have their own options.
"""
import socket
import sys

from used_again import dissolved, options

WANTED = options(socket.socket())

listener = socket.create_server(("127.0.0.1", 0))
waiting = [socket.create_connection(listener.getsockname()) for _ in range(3)]
again, _peer = dissolved()
print("ready", flush=True)
sys.stdin.readline()
print("accepted:", *(options(listener.accept()[0]) == WANTED for _ in waiting))
again.connect(listener.getsockname())
print("again:", options(again) == WANTED)
