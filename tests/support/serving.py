"""An ASGI app on a port of this machine, in the event loop of the caller: for clients that are other programs."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from creditdesk.app.sockets import HttpProtocol, WebSocketProtocol


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Serve the app, and return its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            lifespan="off",
            http=HttpProtocol,
            ws=WebSocketProtocol,
            ws_ping_interval=None,
            timeout_graceful_shutdown=10,
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:
            assert not task.done(), "the server could not start"
            await asyncio.sleep(0.01)
        try:
            yield "http://{}:{}".format(*listener.getsockname())
        finally:
            server.should_exit = True
            await task
