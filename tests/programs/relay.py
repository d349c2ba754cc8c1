# SPDX-License-Identifier: GPL-2.0
#
# python3 relay.py PORT TO-PORT: relays each connection with splice(2), as Go's
# io.Copy does.  Says on standard output how many bytes each direction has moved.

import os
import socket
import sys
import threading

HOST = "127.0.0.1"


def move(name, source, target):
    read, write = os.pipe()
    total = 0
    while count := os.splice(source.fileno(), write, 65536):
        total += count
        while count:
            count -= os.splice(read, target.fileno(), count)
        print(name, total, flush=True)
    target.shutdown(socket.SHUT_WR)


port, to = int(sys.argv[1]), int(sys.argv[2])
listener = socket.create_server((HOST, port))
while True:
    client, _ = listener.accept()
    server = socket.create_connection((HOST, to))
    threading.Thread(target=move, args=("there", client, server), daemon=True).start()
    threading.Thread(target=move, args=("back", server, client), daemon=True).start()
