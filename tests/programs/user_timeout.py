# SPDX-License-Identifier: GPL-2.0
"""An end with TCP_USER_TIMEOUT, 2 s, whose reader is behind, sends into a path that is cut.

    user_timeout.py server|client ADDRESS

Cuts the loopback of its network namespace by nft.  Prints whether that end's connection has
ended within 10 s, and by which error.
"""
import errno
import select
import socket
import subprocess
import sys
import time

TCP_USER_TIMEOUT = 18
CUT = "table inet cut { chain input { type filter hook input priority 0; policy drop; }; }"


def nft(text):
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


which, address = sys.argv[1:]
listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
listener.bind((address, 0))
listener.listen()
client = socket.socket(listener.family)
client.connect(listener.getsockname())
server, _ = listener.accept()
end, peer = (server, client) if which == "server" else (client, server)
end.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, 2000)
for _ in range(3):
    for sender, reader in ((client, server), (server, client)):
        sender.sendall(b"x" * 1000)
        reader.recv(1000, socket.MSG_WAITALL)
peer.setblocking(False)
try:
    for _ in range(600):
        peer.send(b"x" * 100000)
except BlockingIOError:
    pass
time.sleep(2.5)  # two of the probes of a socket that waits for its reader
nft(CUT)
end.send(b"x")
poll = select.poll()
poll.register(end, select.POLLERR)
if poll.poll(10000):
    print("ended:", errno.errorcode[end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)])
else:
    print("not ended")
nft("delete table inet cut")  # what is left of the connection ends by a reset
