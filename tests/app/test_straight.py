"""Straight ways on a real wire: what goes one, and that nobody can tell by the answers which they went."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from creditdesk.app.main import app_from_settings
from creditdesk.app.middleware import RequestMiddleware, Requests
from creditdesk.app.outgoing import MOST_BUFFERED_BYTES
from creditdesk.app.settings import load_settings
from creditdesk.app.straight import STATE, StraightCall, StraightWays
from support.databases import FreshDatabase
from support.wires import answer, request, talking

ACCESS = "creditdesk.access"


@dataclass
class Office:
    """Answers what is asked at `/plain`: on the straight way unless it begins with "not", or on the whole one.

    On the straight way, what begins with "later" is answered when the test says so.
    """

    straight: list[bytes] = field(default_factory=list)
    whole: list[bytes] = field(default_factory=list)
    waiting: list[StraightCall] = field(default_factory=list)
    counted: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        requests = Requests(count=lambda path, status, _: self.counted.append((path, status)))
        self.ways = StraightWays({"/plain": self._begin}, requests, varies=b"Origin")
        self.app = RequestMiddleware(self._answer, requests=requests)

    def _begin(self, headers: Mapping[bytes, bytes], content: bytes, call: StraightCall) -> bool:
        if content.startswith(b"not"):
            return False
        self.straight.append(content)
        if content.startswith(b"later"):
            self.waiting.append(call)
        else:
            asyncio.get_running_loop().call_soon(self.answer, call, content)
        return headers[b"host"] == b"here"

    def answer(self, call: StraightCall, content: bytes) -> None:
        """Answer a call that waits."""
        call.answer(200, ((b"content-length", b"%d" % len(content)),), content)

    async def _answer(self, _: Scope, receive: Receive, send: Send) -> None:
        content, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            content += message["body"]
            more = message["more_body"]
        self.whole.append(content)
        length = (b"content-length", b"%d" % len(content))
        await send({"type": "http.response.start", "status": 200, "headers": [length, (b"vary", b"Origin")]})
        await send({"type": "http.response.body", "body": content})


def posted(body: bytes, *, path: str = "/plain", head: str = "", method: str = "POST") -> bytes:
    return request(path, method=method, head=f"content-length: {len(body)}\r\n{head}") + body


async def until(condition: Callable[[], object]) -> None:
    """Wait until this is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)


def test_a_plain_request_goes_straight_and_another_one_the_whole_way() -> None:
    office = Office()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = [
            posted(b"not plain"),
            posted(b"query", path="/plain?x"),
            posted(b"below", path="/plain/x"),
            posted(b"method", method="PUT"),
            posted(b"page", head="origin: https://console.test\r\n"),
            posted(b"twice", head="x-request-id: a\r\nx-request-id: b\r\n"),
            posted(b"large" + b"x" * MOST_BUFFERED_BYTES),
            request("/plain", method="POST", head="connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 0\r\n"),
        ]
        for one in whole:
            writer.write(one)
            await answer(reader)
        for one in (b"plain", b""):
            writer.write(posted(one))
            assert await answer(reader) == one
        writer.write(posted(b"last", head="connection: close\r\n"))
        assert await answer(reader) == b"last"
        assert await reader.read() == b""

    talking(office.app, talk, ways=office.ways)
    assert [content[:9] for content in office.whole] == [
        b"not plain", b"query", b"below", b"method", b"page", b"twice", b"largexxxx", b"", b"last",
    ]  # fmt: skip
    assert office.straight == [b"plain", b""]


def test_nobody_can_tell_by_an_answer_which_way_it_went() -> None:
    office = Office()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers = []
        for body in (b"now", b"not"):
            writer.write(posted(body, head="x-request-id: mine\r\n"))
            answers.append(await reader.readuntil(b"\r\n\r\n"))
            assert await reader.readexactly(3) == body
        assert answers[0] == answers[1]
        assert b"\r\nx-request-id: mine\r\n" in answers[0]

    talking(office.app, talk, ways=office.ways)
    assert (office.straight, office.whole) == ([b"now"], [b"not"])
    assert office.counted == [("/plain", "200"), ("unmatched", "200")]


@pytest.mark.parametrize("body", [b"now, in parts", b"not, in parts"])
def test_a_request_may_come_bit_by_bit(body: bytes) -> None:
    office = Office()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in posted(body):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await answer(reader) == body

    talking(office.app, talk, ways=office.ways)
    assert office.straight + office.whole == [body]


def test_a_body_in_chunks_is_the_body() -> None:
    office = Office()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request("/plain", method="POST", head="transfer-encoding: chunked\r\n"))
        writer.write(b"3\r\nnow\r\n4\r\n, or\r\n0\r\n\r\n")
        assert await answer(reader) == b"now, or"

    talking(office.app, talk, ways=office.ways)


def test_a_client_that_waits_to_be_told_to_continue_is_told() -> None:
    office = Office()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request("/plain", method="POST", head="expect: 100-continue\r\ncontent-length: 3\r\n"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"now")
        assert await answer(reader) == b"now"

    talking(office.app, talk, ways=office.ways)
    assert office.whole == [b"now"]


def test_what_comes_together_is_answered_in_its_order_whatever_way_it_goes() -> None:
    office = Office()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies = [b"later", b"now, but after it", b"not plain"]
        writer.write(b"".join(map(posted, bodies)))
        await until(lambda: office.waiting)
        await asyncio.sleep(0.05)
        office.answer(office.waiting[0], b"later")
        assert [await answer(reader) for _ in bodies] == bodies
        writer.write(posted(b"now"))
        assert await answer(reader) == b"now"

    talking(office.app, talk, ways=office.ways)
    assert office.straight == [b"later", b"now"]  # what waits behind another one waits on the whole way
    assert office.whole == [b"now, but after it", b"not plain"]


def test_a_client_that_hangs_up_is_answered_nothing_and_what_was_asked_is_noted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    office = Office()
    caplog.set_level(logging.INFO, ACCESS)

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(posted(b"later"))
        await until(lambda: office.waiting)
        writer.transport.abort()
        await until(lambda: office.waiting[0].disconnected)
        office.answer(office.waiting[0], b"nobody reads this")

    talking(office.app, talk, ways=office.ways)
    assert office.counted == [("/plain", "200")]
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_half_a_request_of_a_client_that_hangs_up_is_none_and_is_noted() -> None:
    office = Office()

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(posted(b"now, or never")[:-1])
        await asyncio.sleep(0.05)
        writer.transport.abort()
        await until(lambda: office.counted)

    talking(office.app, talk, ways=office.ways)
    assert (office.straight, office.whole, office.counted) == ([], [], [("unmatched", "none")])


def test_a_server_that_ends_answers_first_what_it_has_begun_to_read() -> None:
    office, state = Office(), ServerState()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        half = posted(b"now, or never")
        writer.write(half[:-1])
        await asyncio.sleep(0.05)
        [connection] = state.connections
        connection.shutdown()
        writer.write(half[-1:])
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nconnection: close\r\n" in head
        assert await reader.read() == b"now, or never"

    talking(office.app, talk, ways=office.ways, state=state)


def test_a_server_that_ends_sends_an_answer_that_somebody_waits_for_and_ends_the_connection() -> None:
    office, state = Office(), ServerState()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(posted(b"later"))
        await until(lambda: office.waiting)
        [connection] = state.connections
        connection.shutdown()
        await asyncio.sleep(0.05)
        office.answer(office.waiting[0], b"last")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.endswith(b"\r\nconnection: close\r\n\r\n")
        assert await reader.read() == b"last"

    talking(office.app, talk, ways=office.ways, state=state)


def test_what_nobody_expected_is_a_500_with_the_request_s_id_and_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    office = Office()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(posted(b"later", head="x-request-id: mine\r\n"))
        await until(lambda: office.waiting)
        office.waiting[0].fail(ZeroDivisionError("by nothing"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 500 ")
        body = await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        [error] = json.loads(body)["errors"]
        assert error["extensions"] == {"code": "INTERNAL", "requestId": "mine"}
        assert "nothing" not in error["message"]
        writer.write(posted(b"now"))
        assert await answer(reader) == b"now"

    talking(office.app, talk, ways=office.ways)
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "by nothing"
    assert office.counted == [("/plain", "500"), ("/plain", "200")]


def test_the_server_s_own_app_has_straight_ways_for_placing_holds_and_for_the_graph(
    fresh_database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", fresh_database.server_dsn)
    monkeypatch.setenv("CREDITDESK_OIDC_ISSUER", "https://idp.test")
    monkeypatch.setenv("CREDITDESK_OIDC_AUDIENCE", "creditdesk")
    app = app_from_settings(load_settings())

    async def state_of() -> Mapping[str, object]:
        async with app.router.lifespan_context(app) as state:
            return dict(state or {})

    ways = asyncio.run(state_of())[STATE]
    assert isinstance(ways, StraightWays)
    assert b"/v1/holds" in ways
    assert b"/graphql" in ways
    assert b"/v1/holds/authorize" not in ways
