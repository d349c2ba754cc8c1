#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""One program's connections to one server, each with a few requests.

    short.py [OPTION]... COUNT CLOSES
    short.py [OPTION]... --serve

--serve         only the server: prints its port
--connect PORT  only the client
--ipv6
--requests N    of each connection (1)
--answer BYTES  (1), --parts N: in so many sends (1)
--beside N      so many requests on another connection, that stays open, for each (0)
--hold          keep them all open until the input ends; says `held`
CLOSES          who ends a connection, and how: client, server, client-reset, server-reset

Prints how many came through as they should.
"""
import argparse
import os
import select
import socket
import struct
import sys
import threading

parser = argparse.ArgumentParser()
parser.add_argument("--serve", action="store_true")
parser.add_argument("--connect", type=int)
parser.add_argument("--ipv6", action="store_true")
parser.add_argument("--requests", type=int, default=1)
parser.add_argument("--answer", type=int, default=1)
parser.add_argument("--parts", type=int, default=1)
parser.add_argument("--beside", type=int, default=0)
parser.add_argument("--hold", action="store_true")
parser.add_argument("count", type=int, nargs="?")
parser.add_argument("closes", nargs="?", default="client", choices=["client", "server", "client-reset", "server-reset"])
opt = parser.parse_args()

HOST = "::1" if opt.ipv6 else "127.0.0.1"
FAMILY = socket.AF_INET6 if opt.ipv6 else socket.AF_INET
who, _, reset = opt.closes.partition("-")


def end(sock):
    if reset:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def until_end(sock):
    try:
        # Not in recv: on the bypass one that waits is not told of a reset (docs/limits.md).
        while select.select([sock], [], []) and sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    sock.close()


def receive(sock, size):
    while size:
        got = sock.recv(min(size, 65536))
        if not got:
            raise EOFError
        size -= len(got)


def answer(sock):
    part = b"a" * (opt.answer // opt.parts)
    answers = 0
    while (answers < opt.requests or who == "client") and sock.recv(1):
        for _ in range(opt.parts):
            sock.sendall(part)
        answers += 1
    end(sock) if who == "server" else sock.close()


def serve(listener):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=answer, args=(sock,), daemon=True).start()


def request(sock):
    sock.sendall(b"q")
    receive(sock, opt.answer)


def talk(port):
    held = []
    beside = socket.create_connection((HOST, port)) if opt.beside else None
    for _ in range(opt.count):
        client = socket.create_connection((HOST, port))
        for _ in range(opt.requests):
            request(client)
        for _ in range(opt.beside):
            request(beside)
        if opt.hold:
            held.append(client)
        elif who == "client":
            end(client)
        else:
            until_end(client)
    if opt.hold:
        print("held", flush=True)
        sys.stdin.read()
    print(opt.count)


if opt.connect:
    talk(opt.connect)
    sys.exit()
listener = socket.create_server((HOST, 0), family=FAMILY, backlog=100)
port = listener.getsockname()[1]
if opt.serve:
    print(port, flush=True)
    serve(listener)
server = os.fork()
if not server:
    serve(listener)
try:
    talk(port)
finally:
    os.kill(server, 9)
