#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A stranger whose handshakes end in another program's time, on the same CPU (accounts.h).

With TCP_QUICKACK off the timer of the delayed ACK sends the last packet of a handshake, in whatever
runs then: here that is this program, which computes.  At the beginning of a window he closes all
these connections, and the program opens some of its own, talks on them, says "held", and keeps them
until the end of the input.
"""
import os
import selectors
import socket
import sys
import time

SHORT, OWN, CPU, NOBODY = 120, 20, 0, 65534
WINDOW_BITS = 30  # accounts.h

listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
address = listener.getsockname()


def serve():
    listener.setblocking(False)
    events = selectors.DefaultSelector()
    events.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in events.select():
            if key.fileobj is listener:
                events.register(listener.accept()[0], selectors.EVENT_READ)
            elif data := key.fileobj.recv(100):
                key.fileobj.send(data)
            else:
                events.unregister(key.fileobj)
                key.fileobj.close()


def spend(pipe):
    os.setuid(NOBODY)
    connections = []
    for _ in range(SHORT):
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        sock.setblocking(False)
        sock.connect_ex(address)
        connections.append(sock)
        if len(connections) % 60 == 0:
            time.sleep(0.3)
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    time.sleep(((1 << WINDOW_BITS) - now % (1 << WINDOW_BITS)) / 1e9)
    for sock in connections:
        sock.close()
    os.write(pipe, b"x")


def start(function, *arguments):
    pid = os.fork()
    if not pid:
        function(*arguments)
        os._exit(0)
    return pid


server = start(serve)
os.sched_setaffinity(0, {CPU})
closed, pipe = os.pipe()
os.set_blocking(closed, False)
stranger = start(spend, pipe)
while True:
    try:
        os.read(closed, 1)
        break
    except BlockingIOError:
        pass  # computes
own = []
for _ in range(OWN):
    own.append(socket.create_connection(address))
    for _ in range(5):
        own[-1].send(b"q")
        own[-1].recv(1)
print("held", flush=True)
sys.stdin.read()
os.waitpid(stranger, 0)
os.kill(server, 9)
