# SPDX-License-Identifier: GPL-2.0
"""What an end that only waits learns by the probes of its socket, and that these end nothing.

    quiet.py [CGROUP]

Says of the client's and of the server's end of a connection each:
  lost reset   the other end has reset the connection, and the reset was dropped: what recv says
  no memory    TCP had none for a non-blocking send (by the limit of CGROUP, of the memory controller
               of cgroup v1): whether there is an event that it can go on
  cut path     for 110 s, with unread bytes, where the program's own keepalive gives up after 120:
               how much arrives
"""
import os
import select
import socket
import struct
import subprocess
import sys
import time

MINUTE = 65  # CONNTRACK_SECONDS, and some
CUT = 110    # MAX_UNANSWERED probes, one a second, and some


def nft(rules):
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def drop(table, *packets):
    rules = "; ".join(f"{which} drop" for which in packets)
    nft(f"table inet {table} {{ chain out {{ type filter hook output priority 0; {rules}; }}; }}")


def connections(port=0):
    """Two of them: which end it is about, its socket, and the other end's."""
    listener = socket.create_server(("127.0.0.1", port))
    for end in "client", "server":
        client = socket.create_connection(listener.getsockname())
        server = listener.accept()[0]
        for _ in range(10):
            for sender, reader in ((client, server), (server, client)):
                sender.sendall(b"x")
                reader.recv(1)
        yield (end, client, server) if end == "client" else (end, server, client)


def lose_resets():
    lost = []
    drop("lost", "tcp flags & rst == rst")
    for end, waiting, other in connections():
        lost.append((end, waiting))
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        other.close()
    nft("delete table inet lost")
    return lost


def limit(cgroup, value):
    with open(cgroup + "/memory.kmem.tcp.limit_in_bytes", "w") as file:
        file.write(value)


def refuse_sends(cgroup):
    refused = []
    with open(cgroup + "/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
    limit(cgroup, "100M")
    pairs = list(connections())
    with open(cgroup + "/memory.kmem.tcp.usage_in_bytes") as file:
        limit(cgroup, file.read())
    for end, sender, other in pairs:
        sender.setblocking(False)
        poll = select.epoll()
        poll.register(sender, select.EPOLLOUT | select.EPOLLET)
        poll.poll(0)
        try:
            sender.send(b"x" * 1000)
        except BlockingIOError:
            refused.append((end, poll, sender, other))
    limit(cgroup, "100M")
    return refused


def cut_path():
    """Their ends have bytes over TCP behind bypassed ones, so that they probe each second."""
    kept = list(connections(7700))
    for _, reader, sender in kept:
        for option, value in (socket.TCP_KEEPIDLE, CUT + 4), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3):
            reader.setsockopt(socket.IPPROTO_TCP, option, value)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for _ in range(60):
            sender.sendall(b"x" * 10)
    time.sleep(3)
    drop("cut", "tcp dport 7700", "tcp sport 7700")
    return kept


kept = cut_path()
cut = time.time()
lost = lose_resets()
refused = refuse_sends(sys.argv[1]) if sys.argv[1:] else []
begin = time.time()

for end, waiting in lost:
    waiting.settimeout(max(1, begin + MINUTE - time.time()))
    try:
        print(f"lost reset, {end}: {len(waiting.recv(1))} bytes")
    except OSError as error:
        print(f"lost reset, {end}: {error.strerror or error}")
for end, poll, *_ in refused:
    print(f"no memory, {end}: {len(poll.poll(max(0, begin + MINUTE - time.time())))} event")
time.sleep(max(0, cut + CUT - time.time()))
nft("delete table inet cut")
time.sleep(8)
for end, reader, sender in kept:
    reader.settimeout(5)
    got = 0
    try:
        sender.sendall(b"x" * 400)
        while got < 1000:
            got += len(reader.recv(1000))
        print(f"cut path, {end}: {got} bytes")
    except OSError as error:
        print(f"cut path, {end}: {error.strerror or error}")
