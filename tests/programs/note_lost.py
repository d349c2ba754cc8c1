# SPDX-License-Identifier: GPL-2.0
"""A client whose server's note is lost before it has sent anything.

    note_lost.py COMMAND...

The server greets over the bypass; COMMAND then empties sock_ops_meet, as a flood of handshakes
would do.  The client answers, and waits for the next bytes by FIONREAD.  Prints how many it
sees within 5 s.
"""
import array
import fcntl
import socket
import subprocess
import sys
import termios
import time


def unread(sock):
    count = array.array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, count)
    return count[0]


listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
server.sendall(b"greeting")
assert client.recv(100) == b"greeting"
subprocess.run(sys.argv[1:], check=True)
client.sendall(b"answer")
assert server.recv(100) == b"answer"
server.sendall(b"x" * 5000)
end = time.monotonic() + 5
while unread(client) < 5000 and time.monotonic() < end:
    time.sleep(0.01)
print(unread(client))
assert client.recv(5000, socket.MSG_WAITALL) == b"x" * 5000
