"""Clients that send requests over HTTP as fast as they are answered: a process of its own, with nothing else to do.

Started by `bench/read_speed.py`, which hands over what to send as JSON on standard input.
"""

import asyncio
import json
import random
import sys
from time import perf_counter
from typing import Any

import uvloop


class Client(asyncio.Protocol):
    """One connection: sends a request, waits for the whole answer, sends the next."""

    def __init__(self, requests: list[bytes], dice: random.Random, latencies: list[float], until: float) -> None:
        self._requests = requests
        self._dice = dice
        self._latencies = latencies
        self._until = until
        self._sent = 0.0
        self._head = b""
        self._missing: int | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: Any = transport
        self._send()

    def _send(self) -> None:
        self._head, self._missing = b"", None
        self._sent = perf_counter()
        self._transport.write(self._dice.choice(self._requests))

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        if self._missing is None:
            self._head += data
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            at = head.lower().index(b"content-length: ") + 16
            self._missing = int(head[at:].split(b"\r\n", 1)[0]) - len(body)
            if not head.startswith(b"HTTP/1.1 200"):
                self.failed += 1
        else:
            self._missing -= len(data)
        if self._missing == 0:
            self._answered()

    def _answered(self) -> None:
        now = perf_counter()
        self._latencies.append(now - self._sent)
        if now < self._until:
            self._send()
        elif not self.ended.done():
            self._transport.close()
            self.ended.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """End, well or badly."""
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError("the server hung up"))


async def run(asked: dict[str, Any]) -> dict[str, float]:
    """Send requests for a while, and return how it went; latencies in milliseconds."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    requests = [text.encode() for text in asked["requests"]]
    dice = random.Random(1)  # noqa: S311 - the same order in every run
    started = perf_counter()
    until = started + asked["seconds"]
    clients = [
        (await loop.create_connection(lambda: Client(requests, dice, latencies, until), asked["host"], asked["port"]))[
            1
        ]
        for _ in range(asked["connections"])
    ]
    await asyncio.gather(*(client.ended for client in clients))
    took = perf_counter() - started
    latencies.sort()
    return {
        "count": len(latencies),
        "rate": len(latencies) / took,
        "p50": latencies[len(latencies) // 2] * 1000,
        "p99": latencies[len(latencies) * 99 // 100] * 1000,
        "failed": sum(client.failed for client in clients),
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))  # noqa: T201 - the answer
