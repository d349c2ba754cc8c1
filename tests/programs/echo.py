# SPDX-License-Identifier: GPL-2.0
#
# python3 echo.py serve PORT: sends back what it reads.
# python3 echo.py call PORT: requests and answers on several connections, then
# streams both ways; each byte is checked.

import asyncio
import hashlib
import os
import sys

HOST = "127.0.0.1"


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
    writer.close()


async def serve(port):
    async with await asyncio.start_server(echo, HOST, port) as server:
        await server.serve_forever()


async def talk(port, number):
    reader, writer = await asyncio.open_connection(HOST, port)
    for i in range(200):
        message = os.urandom(1 + (i * 37 + number) % 3000)
        writer.write(message)
        got = await reader.readexactly(len(message))
        assert got == message, f"connection {number}, message {i}"
    writer.close()
    await writer.wait_closed()


async def stream(port, size):
    reader, writer = await asyncio.open_connection(HOST, port)
    sent, got = hashlib.sha256(), hashlib.sha256()

    async def send():
        left = size
        while left:
            data = os.urandom(min(left, 50000))
            left -= len(data)
            sent.update(data)
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    sender = asyncio.create_task(send())
    count = 0
    while data := await reader.read(65536):
        got.update(data)
        count += len(data)
    await sender
    assert count == size, f"have {count} bytes, want {size}"
    assert got.digest() == sent.digest(), f"the content of {size} bytes differs"
    writer.close()


async def call(port):
    await asyncio.gather(*(talk(port, number) for number in range(20)))
    for size in 1000, 65537, 30000000:
        await stream(port, size)
    await asyncio.gather(*(stream(port, 5000000 + i) for i in range(4)))
    print("all came back")


mode, port = sys.argv[1], int(sys.argv[2])
asyncio.run(serve(port) if mode == "serve" else call(port))
