"""Connections on a real wire, served by the server's own protocol."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import uvloop
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.server import ServerState

from creditdesk.app.sockets import HttpProtocol
from creditdesk.app.straight import STATE, StraightWays

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def talking(
    app: ASGIApp,
    talk: Talk,
    *,
    take: int | None = None,
    keep: float = 75,
    ways: StraightWays | None = None,
    state: ServerState | None = None,
) -> None:
    """Serve an application with the server's protocol on uvloop, and talk to it over one connection.

    The client takes up to `take` bytes at a time, and is let go after `keep` seconds without a request.
    """

    async def talked() -> None:
        loop = asyncio.get_running_loop()
        config = Config(app, log_config=None, lifespan="off", timeout_keep_alive=keep)  # type: ignore[arg-type]
        config.load()
        server_state = state or ServerState()
        server = await loop.create_server(
            lambda: HttpProtocol(config, server_state, {} if ways is None else {STATE: ways}), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        opened = socket.socket()
        if take is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, take)
        opened.settimeout(0)
        await loop.sock_connect(opened, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=opened, limit=take or 65_536)
        try:
            async with asyncio.timeout(20):
                await talk(reader, writer)
        finally:
            writer.close()
            server.close()

    uvloop.run(talked())


@contextmanager
def listening(
    runner: asyncio.Runner, app: ASGIApp, ways: StraightWays | None = None, *, state: ServerState | None = None
) -> Iterator[str]:
    """Have the server's protocol take connections whenever the runner runs, and yield where."""
    config = Config(app, log_config=None, access_log=False, lifespan="off")
    config.load()
    server_state = state or ServerState()
    shared = {} if ways is None else {STATE: ways}
    loop = runner.get_loop()
    made = loop.create_server(lambda: HttpProtocol(config, server_state, shared), "127.0.0.1", 0)
    server = runner.run(made)

    async def closed() -> None:
        server.close()
        for connection in list(server_state.connections):
            connection.shutdown()
        await server.wait_closed()

    try:
        yield "http://{}:{}".format(*server.sockets[0].getsockname())
    finally:
        runner.run(closed())


def request(path: str, *, method: str = "GET", head: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: here\r\n{head}\r\n".encode()


async def answer(reader: asyncio.StreamReader, *, has_body: bool = True) -> bytes:
    """Return the body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    return await reader.readexactly(length) if has_body else b""
