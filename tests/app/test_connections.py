"""Connections on a real wire: answers come whole and in order, however they are asked for and taken."""

import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from creditdesk.app.outgoing import MOST_BUFFERED_BYTES
from support.wires import answer, request, talking

LARGE = 8 * 1024 * 1024


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer by the path: at once, in two parts with a moment between them, or with more than a client takes."""
    await receive()
    path = scope["path"]
    length = str(LARGE) if path == "/large" else str(len(path)) if path != "/parts" else "10"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length.encode())]})
    if path == "/parts":
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b"final"})
    elif path == "/large":
        part = b"x" * 65_536
        for _ in range(LARGE // len(part)):
            await send({"type": "http.response.body", "body": part, "more_body": True})
            Sent.bytes += len(part)
        await send({"type": "http.response.body", "body": b""})
    else:
        await send({"type": "http.response.body", "body": path.encode()})


class Sent:
    """How much of the large answer the application got rid of."""

    bytes = 0


def test_requests_that_come_together_are_answered_in_their_order() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        paths = [f"/{number}" for number in range(20)]
        writer.write(b"".join(map(request, paths)))
        assert [(await answer(reader)).decode() for _ in paths] == paths

    talking(app, talk)


def test_a_head_without_a_body_and_what_follows_it() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request("/head", method="HEAD") + request("/after"))
        await answer(reader, has_body=False)
        assert await answer(reader) == b"/after"

    talking(app, talk)


def test_the_first_part_of_an_answer_does_not_wait_for_the_last() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request("/parts"))
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.read(1024) == b"first"
        assert await reader.readexactly(5) == b"final"

    talking(app, talk)


def test_a_client_that_waits_to_be_told_to_continue_is_told() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request("/body", method="POST", head="expect: 100-continue\r\ncontent-length: 4\r\n"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert await answer(reader) == b"/body"

    talking(app, talk)


def test_a_connection_that_is_to_end_with_its_answer_ends_after_it() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request("/last", head="connection: close\r\n"))
        assert await answer(reader) == b"/last"
        assert await reader.read() == b""

    talking(app, talk)


def test_what_a_client_does_not_take_is_not_kept_for_it() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        Sent.bytes = 0
        writer.write(request("/large"))
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while Sent.bytes != before:  # until it is stuck: the kernel has taken what it takes
            before = Sent.bytes
            await asyncio.sleep(0.1)
        assert before < LARGE - 4 * MOST_BUFFERED_BYTES
        assert len(await reader.readexactly(LARGE)) == LARGE
        assert Sent.bytes == LARGE

    talking(app, talk, take=4096)


@pytest.mark.parametrize("nonsense", [b"\x00\x01\r\n\r\n", b"GET\r\n\r\n"])
def test_nonsense_is_answered_and_ended(nonsense: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(nonsense)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")

    talking(app, talk)


def test_a_connection_that_is_idle_for_too_long_is_ended() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request("/one"))
        assert await answer(reader) == b"/one"
        assert await reader.read() == b""

    talking(app, talk, keep=0.05)


def test_a_connection_with_a_request_under_way_is_not_idle() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request("/one"))
        assert await answer(reader) == b"/one"
        writer.write(b"GET /two HTTP/1.1\r\n")  # and the rest comes when others would have been ended
        await asyncio.sleep(0.3)
        writer.write(b"host: here\r\n\r\n")
        assert await answer(reader) == b"/two"

    talking(app, talk, keep=0.1)
