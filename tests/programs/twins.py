#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""COUNT connections to one server, the ends of which all have the same two sequence numbers.

TCP_REPAIR sets those of a client.  A server takes its first one from what an earlier connection of
the same addresses has left in TIME_WAIT (tcp_twsk_unique, tcp_timewait_state_process).  Takes
CAP_NET_ADMIN in the network namespace alone.  Says `ready`, and ends when its input does.
"""
import socket
import struct
import sys

TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
RECV_QUEUE, SEND_QUEUE = 1, 2
SO_TIMESTAMP = 29
CLIENT, SERVER = 1_000_000, 2_000_000  # the first byte of each
TIME_WAIT_STEP = 65535 + 2  # behind the last sequence number of the earlier connection
PORT, FIRST = 7300, 20000


def new_socket(address):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(address)
    s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return s


def set_number(s, queue, number):
    s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
    s.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, struct.pack("I", number))


def leave_time_wait(server, client):
    """The server's end of a connection, whose next one begins at SERVER."""
    ends = []
    for own, other, sent, got in ((server, client, SERVER - TIME_WAIT_STEP - 2, CLIENT - 1000),
                                  (client, server, CLIENT - 1000, SERVER - TIME_WAIT_STEP - 2)):
        s = new_socket(own)
        set_number(s, SEND_QUEUE, sent)
        set_number(s, RECV_QUEUE, got)
        s.connect(other)
        ends.append(s)
    for s in ends:
        s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 0)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    ends[0].close()
    ends[1].recv(1)
    ends[1].close()


def connect(server, client, timestamped=False):
    s = new_socket(client)
    if timestamped:  # not admitted then
        s.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
    set_number(s, SEND_QUEUE, CLIENT - 1)
    s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.connect(server)
    return s


def main():
    server = ("127.0.0.1", PORT)
    clients = [("127.0.0.1", FIRST + n) for n in range(int(sys.argv[1]))]
    for client in clients:
        leave_time_wait(server, client)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(server)
    listener.listen(100)
    held = []
    for client in clients:
        here = connect(server, client)
        there, _ = listener.accept()
        for _ in range(3):
            here.send(b"q")
            there.recv(1)
            there.send(b"a")
            here.recv(1)
        held.append((here, there))
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
