"""A connection of the server: what is written in steps goes out together, and nothing stays behind."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from creditdesk.app.sockets import JoiningTransport


class Wire:
    """What a transport was told to do, step by step."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def writelines(self, data: tuple[bytes, ...]) -> None:
        self.told.append(list(data))

    def close(self) -> None:
        self.told.append("close")

    def is_closing(self) -> bool:
        return "close" in self.told


def told(use: Callable[[JoiningTransport], Any]) -> list[object]:
    """Return what a transport was told until the loop had nothing left to do."""

    async def using() -> list[object]:
        wire = Wire()
        result = use(JoiningTransport(cast("asyncio.Transport", wire), asyncio.get_running_loop()))
        if asyncio.iscoroutine(result):
            await result
        await asyncio.sleep(0)
        return wire.told

    return asyncio.run(using())


def test_a_head_and_its_body_are_sent_together() -> None:
    def answer(transport: JoiningTransport) -> None:
        transport.write(b"head")
        transport.write(b"body")

    assert told(answer) == [[b"head", b"body"]]


def test_what_nothing_follows_is_sent_by_itself() -> None:
    async def stream(transport: JoiningTransport) -> None:
        transport.write(b"head")
        await asyncio.sleep(0)
        transport.write(b"event")
        await asyncio.sleep(0)
        transport.write(b"another")

    assert told(stream) == [b"head", b"event", b"another"]


def test_several_answers_at_once_keep_their_order() -> None:
    def answer(transport: JoiningTransport) -> None:
        for part in (b"1", b"2", b"3", b"4", b"5"):
            transport.write(part)

    assert told(answer) == [[b"1", b"2"], [b"3", b"4"], b"5"]


def test_whatever_was_written_is_sent_before_the_connection_is_closed() -> None:
    def answer(transport: JoiningTransport) -> None:
        transport.write(b"head")
        transport.close()
        assert transport.is_closing()

    assert told(answer) == [b"head", "close"]


@pytest.mark.parametrize("parts", [(b"",), (b"head", b"")])
def test_nothing_is_a_part_as_well(parts: tuple[bytes, ...]) -> None:
    def answer(transport: JoiningTransport) -> None:
        for part in parts:
            transport.write(part)

    expected: list[object] = [parts[0]] if len(parts) == 1 else [list(parts)]
    assert told(answer) == expected
