"""Clients that record usage, or place holds and settle them, as fast as they are answered: a process of its own.

Started by `bench/write_workloads.py`, which hands over what to send as JSON on standard input. Every event and every
hold is a new one.
"""

import asyncio
import itertools
import json
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import uvloop

_RECORD = """mutation Record($input: RecordUsageInput!) { recordUsage(input: $input) { __typename
  ... on RecordUsageSuccess { accepted rejected { code } } } }"""
PRODUCTS = {"chat": "chat-large", "code": "code-fast", "agents": "agent-browser", "api": "api-text"}


class Writer:
    """One connection, which asks and waits by turns."""

    def __init__(self, asked: dict[str, Any], dice: random.Random, numbers: Iterator[int]) -> None:
        self._asked = asked
        self._dice = dice
        self._numbers = numbers
        self.latencies: list[float] = []

    async def run(self, until: float) -> None:
        """Write until a moment."""
        reader, writer = await asyncio.open_connection(self._asked["host"], self._asked["port"])
        write = self._record if self._asked["kind"] == "events" else self._hold
        try:
            while (started := perf_counter()) < until:
                await write(reader, writer)
                self.latencies.append((perf_counter() - started) * 1000)
        finally:
            writer.close()

    async def _post(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: Any) -> Any:
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._asked['host']}\r\nAuthorization: Bearer {self._asked['token']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        writer.write(head.encode() + content)
        status = await reader.readline()
        length = 0
        while (line := await reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        answer = json.loads(await reader.readexactly(length))
        if status.split()[1] not in (b"200", b"201"):
            message = f"{status!r} {answer}"
            raise RuntimeError(message)
        return answer

    async def _record(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at, size = datetime.now(UTC).isoformat(), self._asked["size"]
        events = []
        for _ in range(size):
            product = self._dice.choice([*PRODUCTS])
            events.append(
                {
                    "source": "bench-writes",
                    "id": f"{self._asked['tag']}-{next(self._numbers)}",
                    "at": at,
                    "user": {"email": self._dice.choice(self._asked["emails"])},
                    "product": product,
                    "model": PRODUCTS[product],
                    "credits": f"0.{self._dice.randrange(1, 999_999):06}",
                    "inputTokens": str(self._dice.randrange(4000)),
                    "outputTokens": str(self._dice.randrange(1500)),
                }
            )
        body = {"query": _RECORD, "variables": {"input": {"events": events}}}
        answer = await self._post(reader, writer, "/graphql", body)
        if answer["data"]["recordUsage"].get("accepted") != size:
            raise RuntimeError(str(answer)[:500])

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        product = self._dice.choice([*PRODUCTS])
        asked = {
            "source": "bench-writes",
            "id": f"{self._asked['tag']}-{next(self._numbers)}",
            "email": self._dice.choice(self._asked["emails"]),
            "product": product,
            "model": PRODUCTS[product],
            "credits": "0.01",
            "seconds": 600,
        }
        placed = await self._post(reader, writer, "/v1/holds", asked)
        hold = placed["hold"]["id"]
        settled = await self._post(reader, writer, f"/v1/holds/{hold}/settle", {"credits": "0.008"})
        if settled["hold"]["state"] != "SETTLED":
            raise RuntimeError(str(settled)[:500])


async def run(asked: dict[str, Any]) -> dict[str, float]:
    """Write for a while, and return how it went; latencies in milliseconds."""
    numbers = itertools.count()
    writers = [
        Writer(asked, random.Random(number), numbers)  # noqa: S311 - the same users in every run
        for number in range(asked["connections"])
    ]
    started = perf_counter()
    await asyncio.gather(*(writer.run(started + asked["seconds"]) for writer in writers))
    took = perf_counter() - started
    latencies = sorted(latency for writer in writers for latency in writer.latencies)
    return {
        "count": len(latencies),
        "rate": len(latencies) / took,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))  # noqa: T201 - the answer
