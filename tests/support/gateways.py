"""Gateways: programs that ask for holds before each call, on connections that they keep, lose, or drop."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PATIENCE_SECONDS = 60
PAUSE_SECONDS = 0.1


class LostAnswerError(Exception):
    """The connection broke before the whole answer was there: what was asked for may be done, or not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def hold(self) -> dict[str, Any]:
        """Return the hold, which there must be."""
        assert self.status in {200, 201}, self
        return dict(self.body["hold"])

    @property
    def code(self) -> str:
        """Return the code of the one error that there must be."""
        [error] = self.body["errors"]
        return str(error["extensions"]["code"])


def request_of(
    path: str, body: object = None, *, method: str = "POST", headers: Mapping[str, str] | None = None
) -> bytes:
    """Return a request as it goes over the wire; a body that is bytes goes as it is."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    given = {"host": "gateway.test", "content-type": "application/json", "content-length": str(len(content))}
    lines = [
        f"{method} {path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in (given | dict(headers or {})).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


@dataclass
class Gateway:
    """One connection to a server, opened when it is needed. `unavailable` counts how often the server was not there."""

    url: str
    token: str
    unavailable: int = 0
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(default=None, repr=False)

    async def ask(self, path: str, body: object = None, *, method: str = "POST", **headers: str) -> Answer:
        """Ask once; raise LostAnswerError where no whole answer comes."""
        given = {"authorization": f"Bearer {self.token}"} | headers
        return await self.exchange(request_of(path, body, method=method, headers=given), has_body=method != "HEAD")

    async def insist(self, path: str, body: object = None) -> Answer:
        """Ask until there is an answer other than that the server is not available: what a gateway should do."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    answer = await self.ask(path, body)
                except LostAnswerError:
                    answer = None
                if answer is not None and answer.status != 503:
                    return answer
                self.unavailable += 1
                await asyncio.sleep(PAUSE_SECONDS)

    async def exchange(self, raw: bytes, *, has_body: bool = True) -> Answer:
        """Send bytes, and read one answer."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.send(raw)
                assert self._streams is not None
                return await _answer(self._streams[0], has_body=has_body)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.hang_up()
            raise LostAnswerError from error

    async def send(self, raw: bytes) -> None:
        """Send bytes, and wait for nothing."""
        if self._streams is None or self._streams[1].is_closing() or self._streams[0].at_eof():
            self.hang_up()
            host, port = self.url.removeprefix("http://").split(":")
            self._streams = await asyncio.open_connection(host, int(port))
        self._streams[1].write(raw)
        await self._streams[1].drain()

    async def ask_and_hang_up(self, path: str, body: object = None) -> None:
        """Ask, and be gone before the answer comes."""
        try:
            await self.send(request_of(path, body, headers={"authorization": f"Bearer {self.token}"}))
        except OSError:
            self.unavailable += 1
        self.hang_up()

    def hang_up(self) -> None:
        """Drop the connection, and whatever is still on its way."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def _answer(reader: asyncio.StreamReader, *, has_body: bool) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    content = await reader.readexactly(int(headers["content-length"])) if has_body else b""
    return Answer(int(first.split()[1]), headers, content.decode())
