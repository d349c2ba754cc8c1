# SPDX-License-Identifier: GPL-2.0
"""A server with TCP_USER_TIMEOUT, 2 s, whose reader is behind, sends into a path that is cut.

Cuts the loopback of its network namespace by nft.  Prints whether the server's connection has
ended within 10 s, and by which error.
"""
import errno
import select
import socket
import subprocess
import time

TCP_USER_TIMEOUT = 18
CUT = "table ip cut { chain input { type filter hook input priority 0; policy drop; }; }"


def nft(text):
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
server.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, 2000)
for _ in range(3):
    for sender, reader in ((client, server), (server, client)):
        sender.sendall(b"x" * 1000)
        reader.recv(1000, socket.MSG_WAITALL)
client.setblocking(False)
try:
    for _ in range(600):
        client.send(b"x" * 100000)
except BlockingIOError:
    pass
time.sleep(2.5)  # two of the probes of a socket that waits for its reader
nft(CUT)
server.send(b"x")
poll = select.poll()
poll.register(server, select.POLLERR)
if poll.poll(10000):
    print("ended:", errno.errorcode[server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)])
else:
    print("not ended")
nft("delete table ip cut")  # what is left of the connection ends by a reset
