#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Two connections of user 65534 whose servers no process holds: one is on its way through a unix
socket, one has not been accepted.  Says `ready`, and stays until its input ends."""
import array
import os
import socket
import sys

"x".encode("idna")  # which that user may not read
os.setuid(65534)
listener = socket.create_server(("127.0.0.1", 7000))
clients = [socket.create_connection(("127.0.0.1", 7000))]
accepted, _ = listener.accept()
here, there = socket.socketpair()
here.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [accepted.fileno()]))])
accepted.close()
clients.append(socket.create_connection(("127.0.0.1", 7000)))
for client in clients:
    client.sendall(b"unread")
print("ready", flush=True)
sys.stdin.read()
