"""Clients that place holds over HTTP as fast as they are answered: a process of its own, with nothing else to do.

Started by `bench/hold_speed.py`, which hands over what to send as JSON on standard input.
"""

import asyncio
import itertools
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import uvloop


class Client(asyncio.Protocol):
    """One connection: sends a request, waits for the answer, sends the next."""

    def __init__(self, heads: bytes, bodies: Iterator[bytes], latencies: list[float], until: float) -> None:
        self._heads = heads
        self._bodies = bodies
        self._latencies = latencies
        self._until = until
        self._sent = 0.0
        self._received = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.refused = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: Any = transport
        self._send()

    def _send(self) -> None:
        body = next(self._bodies)
        self._sent = perf_counter()
        self._transport.write(self._heads % len(body) + body)

    def data_received(self, data: bytes) -> None:
        """Take an answer; only a whole one counts."""
        received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0 or len(received) < end + 4 + _length_of(received, end):
            self._received = received
            return
        self._received = b""
        now = perf_counter()
        self._latencies.append(now - self._sent)
        if not received.startswith(b"HTTP/1.1 201"):
            self.refused += 1
            if self.refused == 1:
                sys.stderr.write(f"{received.decode()}\n")
        if now < self._until:
            self._send()
        elif not self.ended.done():
            self._transport.close()
            self.ended.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """End, well or badly."""
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError("the server hung up"))


def _length_of(received: bytes, end: int) -> int:
    """Return how long the body is; creditdesk and its server name headers in lower case."""
    at = received.index(b"content-length: ", 0, end) + 16
    return int(received[at : received.index(b"\r", at)])


def bodies(users: Sequence[str], *, tag: str, seed: int) -> Iterator[bytes]:
    """Return a body for each hold, of a random user."""
    chance = random.Random(seed)  # noqa: S311 - the same users in every run
    named = tag.encode()
    tails = [
        f'","userId":"{user}","product":"chat","model":"large","credits":"0.01","seconds":600}}'.encode()
        for user in users
    ]
    for number in itertools.count():
        yield b'{"source":"bench","id":"%s-%d' % (named, number) + tails[int(chance.random() * len(tails))]


async def run(asked: dict[str, Any]) -> dict[str, Any]:
    """Place holds for a while, and return how it went, with how many latencies of how many milliseconds."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    heads = (
        f"POST /v1/holds HTTP/1.1\r\nHost: {asked['host']}:{asked['port']}\r\n"
        f"Authorization: Bearer {asked['token']}\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    ).encode()
    made = bodies(asked["users"], tag=asked["tag"], seed=asked["seed"])
    started = perf_counter()
    until = started + asked["seconds"]
    clients = [
        (await loop.create_connection(lambda: Client(heads, made, latencies, until), asked["host"], asked["port"]))[1]
        for _ in range(asked["connections"])
    ]
    await asyncio.gather(*(client.ended for client in clients))
    took = perf_counter() - started
    return {
        "rate": len(latencies) / took,
        "latencies": Counter(round(latency * 1000, 1) for latency in latencies),
        "refused": sum(client.refused for client in clients),
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))  # noqa: T201 - the answer
