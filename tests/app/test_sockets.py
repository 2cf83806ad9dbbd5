"""Connections of the server: what is written in a turn of the loop goes out together, and nothing stays behind."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from creditdesk.app.outgoing import MOST_BUFFERED_BYTES, JoiningTransport, Outgoing
from creditdesk.app.sockets import HttpProtocol, IdleConnections


class Wire:
    """What a transport was told to do, step by step; several may share what they were told."""

    def __init__(self, told: list[object] | None = None) -> None:
        self.told: list[object] = [] if told is None else told
        self._is_closing = False

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def close(self) -> None:
        self._is_closing = True
        self.told.append("close")

    def abort(self) -> None:
        self._is_closing = True
        self.told.append("abort")

    def is_closing(self) -> bool:
        return self._is_closing


def told(use: Callable[..., Any], *, connections: int = 1) -> list[object]:
    """Return what the transports of connections were told until the loop had nothing left to do, in its order."""

    async def using() -> list[object]:
        steps: list[object] = []
        outgoing = Outgoing.of(asyncio.get_running_loop())
        result = use(
            *(JoiningTransport(cast("asyncio.Transport", Wire(steps)), outgoing) for _ in range(connections)),
            **({"steps": steps} if connections > 1 else {}),
        )
        if asyncio.iscoroutine(result):
            await result
        await asyncio.sleep(0)
        return steps

    return asyncio.run(using())


def test_a_head_and_its_body_are_sent_together() -> None:
    def answer(transport: JoiningTransport) -> None:
        transport.write(b"head")
        transport.write(b"body")

    assert told(answer) == [b"headbody"]


def test_what_nothing_follows_is_sent_by_itself() -> None:
    async def stream(transport: JoiningTransport) -> None:
        transport.write(b"head")
        await asyncio.sleep(0)
        transport.write(b"event")
        await asyncio.sleep(0)
        transport.write(b"another")

    assert told(stream) == [b"head", b"event", b"another"]


def test_answers_of_one_turn_leave_together_after_all_of_them_were_written() -> None:
    def answer(first: JoiningTransport, second: JoiningTransport, *, steps: list[object]) -> None:
        for transport, body in ((first, b"1"), (second, b"2")):
            transport.write(b"head")
            transport.write(body)
        steps.append("written")

    assert told(answer, connections=2) == ["written", b"head1", b"head2"]


def test_an_answer_does_not_wait_for_a_turn_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("creditdesk.app.outgoing.LONGEST_HELD_SECONDS", -1)

    def answer(first: JoiningTransport, second: JoiningTransport, *, steps: list[object]) -> None:
        first.write(b"first")
        second.write(b"second")
        steps.append("written")

    assert told(answer, connections=2) == [b"first", "written", b"second"]


def test_what_is_large_goes_on_at_once_where_writing_can_be_paused() -> None:
    part = b"x" * (MOST_BUFFERED_BYTES // 2)

    def answer(transport: JoiningTransport, _: JoiningTransport, *, steps: list[object]) -> None:
        for _part in range(3):
            transport.write(part)
        steps.append("written")
        transport.write(b"end")

    assert told(answer, connections=2) == [3 * part, "written", b"end"]


def test_whatever_was_written_is_sent_before_the_connection_is_closed() -> None:
    def answer(transport: JoiningTransport) -> None:
        transport.write(b"head")
        transport.close()
        assert transport.is_closing()

    assert told(answer) == [b"head", "close"]


def test_nothing_is_sent_to_a_client_who_was_let_go() -> None:
    def answer(transport: JoiningTransport) -> None:
        transport.write(b"head")
        transport.abort()
        transport.write(b"body")

    assert told(answer) == ["abort"]


def test_nothing_is_a_part_as_well() -> None:
    def answer(transport: JoiningTransport) -> None:
        transport.write(b"head")
        transport.write(b"")

    assert told(answer) == [b"head"]


class Clock:
    """A loop whose time passes when it is told to, with the timers that were set in it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self.timers.append((self.now + seconds, call))

    def pass_by(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= until]:
            timer = min(due, key=lambda one: one[0])
            self.timers.remove(timer)
            self.now = timer[0]
            timer[1]()
        self.now = until


class Connection:
    """A connection that knows when it was let go."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.let_go: list[float] = []

    def timeout_keep_alive_handler(self) -> None:
        self.let_go.append(self.clock.now)


def idling(seconds: float, connections: int) -> tuple[Clock, IdleConnections, list[Connection], list[HttpProtocol]]:
    clock = Clock()
    made = [Connection(clock) for _ in range(connections)]
    return (
        clock,
        IdleConnections(cast("asyncio.AbstractEventLoop", clock), seconds),
        made,
        cast("list[HttpProtocol]", made),
    )


def test_each_idle_connection_is_let_go_when_its_time_is_over_with_one_timer_for_all() -> None:
    clock, idle, made, connections = idling(10, 3)
    for one in connections:
        idle.add(one)
        clock.pass_by(2)
        assert len(clock.timers) == 1
    clock.pass_by(100)
    assert [one.let_go for one in made] == [[110], [112], [114]]
    assert not clock.timers


def test_a_connection_that_is_used_is_kept_and_its_time_begins_anew_after_that() -> None:
    clock, idle, made, connections = idling(10, 2)
    idle.add(connections[0])
    clock.pass_by(5)
    idle.add(connections[1])
    idle.discard(connections[0])
    clock.pass_by(7)
    idle.add(connections[0])
    clock.pass_by(100)
    assert [one.let_go for one in made] == [[122], [115]]


def test_a_connection_that_is_gone_is_forgotten() -> None:
    clock, idle, made, connections = idling(10, 1)
    idle.add(connections[0])
    idle.discard(connections[0])
    idle.discard(connections[0])
    clock.pass_by(100)
    assert made[0].let_go == []
    assert not clock.timers
