"""Drives an ASGI app in this process, its lifespan included."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
from starlette.applications import Starlette

from support.issuers import run

T = TypeVar("T")


@asynccontextmanager
async def client_of(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield client


def with_client(app: Starlette, ask: Callable[[httpx.AsyncClient], Coroutine[Any, Any, T]]) -> T:
    """Run `ask` against the app in an event loop of its own."""

    async def asked() -> T:
        async with client_of(app) as client:
            return await ask(client)

    return run(asked())
