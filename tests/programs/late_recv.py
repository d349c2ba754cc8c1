#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Uploads to a server that is busy at first; a recv for its answer begins when the send buffer is full.

By another thread than the one that sends, or by the same one, which has stopped at EAGAIN.  Once
the server reads, there is room in the send buffer: that must not end the recv.
"""
import socket
import sys
import threading
import time

SIZE = 10_000


def connect():
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    return client, listener.accept()[0]


def serve(server, total):
    time.sleep(0.3)  # busy
    while total:
        total -= len(server.recv(30_000))
    server.sendall(b"answer")


def by_another_thread():
    client, server = connect()
    total = 8_000_000
    threading.Thread(target=serve, args=(server, total), daemon=True).start()
    sender = threading.Thread(target=lambda: [client.sendall(b"x" * SIZE) for _ in range(total // SIZE)])
    sender.start()
    time.sleep(0.1)  # until it sleeps
    return client.recv(100)


def by_itself():
    client, server = connect()
    total = 0
    try:
        while True:
            total += client.send(b"x" * SIZE, socket.MSG_DONTWAIT)
    except BlockingIOError:
        pass
    threading.Thread(target=serve, args=(server, total), daemon=True).start()
    return client.recv(100)


for upload in (by_another_thread, by_itself) * 3:
    if upload() != b"answer":
        sys.exit(f"no answer {upload.__name__}")
