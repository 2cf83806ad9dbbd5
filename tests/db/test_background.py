"""Tasks in the background end when they are told to, also where one cancellation is lost."""

import asyncio
from contextlib import suppress

import pytest

from creditdesk.db import background


def test_a_task_ends_although_its_first_cancellation_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_SECONDS_TO_END", 0.01)
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while lost < 2:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            lost += 1
        await asyncio.sleep(3600)

    async def run() -> tuple[bool, bool]:
        tasks = asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)
        await background.end(*tasks)
        return tasks[0].cancelled(), tasks[1].cancelled()

    assert asyncio.run(run()) == (True, True)
    assert lost == 2
