#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
sockmap.py MAP: a connection on the bypass, whose client's socket is then put into the
pinned sockhash MAP of another tool, as with pidfd_getfd(2).  Both ends go on: small
talk, bulk each way, a half-close with a late answer.
"""
import ctypes
import os
import platform
import socket
import struct
import sys
import threading

SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
BPF_MAP_UPDATE_ELEM, BPF_OBJ_GET = 2, 7
libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, *words):
    attr = ctypes.create_string_buffer(struct.pack("=" + "Q" * len(words), *words), 128)
    result = libc.syscall(SYS_BPF, command, attr, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def insert(path, sock):
    name = ctypes.create_string_buffer(path.encode())
    sockmap = bpf(BPF_OBJ_GET, ctypes.addressof(name), 0)
    key = ctypes.create_string_buffer(struct.pack("=Q", 1), 8)
    value = ctypes.create_string_buffer(struct.pack("=I", sock.fileno()), 4)
    bpf(BPF_MAP_UPDATE_ELEM, sockmap, ctypes.addressof(key), ctypes.addressof(value), 0)


def get(sock, size):
    data = b""
    while len(data) < size:
        part = sock.recv(1 << 20)
        if not part:
            break
        data += part
    return data


def pass_on(sender, receiver, data):
    thread = threading.Thread(target=sender.sendall, args=(data,))
    thread.start()
    assert get(receiver, len(data)) == data, "what was received is wrong"
    thread.join()


listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
for end in client, server:
    end.settimeout(10)  # and so recv does not block
bulk = os.urandom(3_000_000)
for message in b"before" * 10, b"before":
    pass_on(client, server, message)
    pass_on(server, client, message)
insert(sys.argv[1], client)
for message in b"x", b"small" * 100, bulk, b"again", bulk:
    pass_on(client, server, message)
    pass_on(server, client, message)
client.shutdown(socket.SHUT_WR)
assert server.recv(1) == b""
threading.Timer(0.05, server.sendall, (b"answer",)).start()
assert get(client, 6) == b"answer"
