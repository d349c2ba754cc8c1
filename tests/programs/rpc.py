#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""gRPC, whose C core sets SO_ZEROCOPY on its listener.

    rpc.py serve PORT
    rpc.py call PORT
    rpc.py time PORT CALLS   unary ones of 100 bytes: prints calls/s, and in us the median and p99

The client makes 1,000 unary calls, a stream each way and one both ways, a call of 8 MB each way,
and one that its deadline ends, and compares all that it gets.
"""
import hashlib
import os
import sys
import time
from concurrent import futures

import grpc

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def echo(request, context):
    return request


def late(request, context):
    time.sleep(2)
    return request


def take(requests, context):
    return hashlib.sha256(b"".join(requests)).digest()


def give(request, context):
    for i in range(1000):
        yield request + str(i).encode()


def both(requests, context):
    yield from requests


def serve(port):
    handlers = {
        "echo": grpc.unary_unary_rpc_method_handler(echo),
        "late": grpc.unary_unary_rpc_method_handler(late),
        "take": grpc.stream_unary_rpc_method_handler(take),
        "give": grpc.unary_stream_rpc_method_handler(give),
        "both": grpc.stream_stream_rpc_method_handler(both),
    }
    server = grpc.server(futures.ThreadPoolExecutor(4), options=OPTIONS)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("t", handlers)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def call(port):
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
        unary = channel.unary_unary("/t/echo")
        for i in range(1000):
            request = os.urandom(i)
            assert unary(request, timeout=20) == request
        large = os.urandom(8000000)
        assert unary(large, timeout=20) == large
        parts = [os.urandom(100) for _ in range(1000)]
        assert channel.stream_unary("/t/take")(iter(parts), timeout=20) == take(parts, None)
        assert list(channel.unary_stream("/t/give")(b"n", timeout=20)) == list(give(b"n", None))
        assert list(channel.stream_stream("/t/both")(iter(parts), timeout=20)) == parts
        try:
            channel.unary_unary("/t/late")(b"", timeout=0.3)
            raise AssertionError("no deadline")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
        assert unary(b"after it", timeout=20) == b"after it"
    print("all came back")


def measure(port, calls):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        unary = channel.unary_unary("/t/echo")
        request, took = bytes(100), []
        for _ in range(calls):
            before = time.perf_counter()
            assert unary(request, timeout=20) == request
            took.append(time.perf_counter() - before)
    half = sorted(took[calls // 2 :])  # the first ones find nothing in any cache
    us = [1e6 * half[len(half) * part // 100] for part in (50, 99)]
    print(f"{len(half) / sum(half):.1f},{us[0]:.1f},{us[1]:.1f}")


{"serve": serve, "call": call, "time": measure}[sys.argv[1]](*map(int, sys.argv[2:]))
