# SPDX-License-Identifier: GPL-2.0
#
# python3 early.py PORT BYTES: an HTTP server that answers a PUT with so many bytes as soon as
# it has read the head; the request's body it reads afterwards, and counts in its last line.

import socket
import sys

port, size = map(int, sys.argv[1:])
block = bytes(range(256)) * 256
with socket.create_server(("127.0.0.1", port)) as listener:
    server, _ = listener.accept()
head = b""
while b"\r\n\r\n" not in head:
    head += server.recv(1)
length = int(head.lower().split(b"content-length:")[1].split()[0])
server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size)
for sent in range(0, size, len(block)):
    server.sendall(block[: size - sent])
while length:
    length -= len(server.recv(min(length, 65536)))
print("body read", flush=True)
