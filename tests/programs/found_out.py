# SPDX-License-Identifier: GPL-2.0
"""A stranger who has found out a port that shares the account of a process (accounts.h).

    found_out.py SECRET SECRET

Here he knows it from the secrets; he could look with sock_diag whose connections are on TCP.  He
makes short connections to that port.  Meanwhile the process opens connections of ten requests to
another one.  Prints how many of these there were and were on the bypass, before the next epoch and
in the one after it."""
import os
import socket
import struct
import sys
import time

FIRST, SECOND, WORD = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, (1 << 64) - 1
EPOCH = 1 << 33  # ns
BYTES_RECEIVED = 128  # in struct tcp_info


def mix(word):
    word = word * FIRST & WORD
    word = (word ^ word >> 32) * SECOND & WORD
    return word ^ word >> 32


def account(port, epoch):
    secret = [int(word) for word in sys.argv[1:3]]
    netns = os.stat("/proc/self/ns/net").st_ino
    return mix(mix(netns << 16 ^ port ^ secret[0]) ^ epoch << 32 ^ os.getpid() ^ secret[1]) >> 52


def talk(server, requests):
    with socket.create_connection(server.getsockname()) as client, server.accept()[0] as accepted:
        for _ in range(requests):
            client.send(b"q")
            accepted.recv(1)
            accepted.send(b"a")
            client.recv(1)
        info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        return not struct.unpack_from("Q", info, BYTES_RECEIVED)[0]


def until(end):
    count = bypassed = 0
    while time.monotonic_ns() < end:
        for _ in range(30):
            for server in shared:
                talk(server, 1)
        count += 1
        bypassed += talk(chosen, 10)
    print(count, bypassed, flush=True)


now = time.monotonic_ns()
if EPOCH - now % EPOCH < 3e9:
    time.sleep((EPOCH - now % EPOCH) / 1e9)
epoch = time.monotonic_ns() // EPOCH
chosen = socket.create_server(("127.0.0.1", 0))
shared = []
for of in 0, epoch:  # 0: where there are no epochs
    own = account(chosen.getsockname()[1], of)
    port = next(p for p in range(1024, 65536) if account(p, of) == own and p != chosen.getsockname()[1])
    shared.append(socket.create_server(("127.0.0.1", port)))
until((epoch + 1) * EPOCH - 1e9)
time.sleep(2)
until((epoch + 1) * EPOCH + 3e9)
