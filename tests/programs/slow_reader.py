# SPDX-License-Identifier: GPL-2.0
"""slow_reader.py SECONDS: a reader that leaves more than half of a connection's room unread, takes
all, answers, and does so again.  Prints how many sends to it took more than 150 microseconds, and
how many there were."""

import socket
import sys
import time

listener = socket.create_server(("127.0.0.1", 7600))
reader = socket.socket()
# Small segments keep the sender's buffer small, and with it the room.
reader.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
reader.connect(("127.0.0.1", 7600))
writer, _ = listener.accept()
for end in reader, writer:
    end.settimeout(20)

slow = sends = 0
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    reader.sendall(b"?")
    assert writer.recv(1) == b"?"
    writer.sendall(bytes(110000))
    for _ in range(24):
        then = time.perf_counter_ns()
        writer.sendall(b"!")
        slow += time.perf_counter_ns() - then > 150000
    sends += 24
    left = 110024
    while left:
        data = reader.recv(left)
        assert data
        left -= len(data)
print(slow, sends)
