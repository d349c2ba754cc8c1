#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Sends five bytes to a server, itself, that does not accept the connection.

Prints the port of the server, and ends when its input does.
"""
import socket
import sys

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
client.sendall(b"hello")
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
