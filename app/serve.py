"""Runs the server: checks what would only fail later, then uvicorn with its workers until a signal ends it."""

import argparse
import asyncio
import logging
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pydantic import SecretStr
from uvicorn import Config, Server
from uvicorn.supervisors import Multiprocess

from creditdesk.app.database import running_database
from creditdesk.app.failures import CommandFailed
from creditdesk.app.listening import BACKLOG, listening, url_of
from creditdesk.app.logs import configure_logs
from creditdesk.app.settings import Settings, handed_down
from creditdesk.app.sockets import HttpProtocol, WebSocketProtocol
from creditdesk.db.connections import Database
from creditdesk.db.readiness import check_schema

APP = "creditdesk.app.main:app_from_environment"
PATIENCE_SECONDS = 5
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than load balancers keep theirs, which is 60 seconds for most of them, so
that none of them sends a request over one that is being closed."""
_FAILED = "The server could not start: its log says why."

_log = logging.getLogger(__name__)


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Take nothing: the environment says it all."""


def run(_: argparse.Namespace, settings: Settings) -> int:
    """Serve until a signal ends it."""
    configure_logs(level=settings.log_level, form=settings.log_format)
    serve(settings)
    return 0


def serve(settings: Settings) -> None:
    """Serve until SIGTERM, or raise KeyboardInterrupt after Ctrl-C; requests under way are finished first."""
    settings.issuers()
    settings.registration()
    with running_database(settings, today=datetime.now(UTC).date()) as database:
        asyncio.run(_check(database.dsn))
        chosen = settings.model_copy(update={"database_url": SecretStr(database.dsn)})
        with listening(settings) as listener, _metrics_directory(settings) as shared, handed_down(chosen, **shared):
            _log.info("listening", extra={"fields": {"url": url_of(listener), "workers": settings.workers}})
            _serve_with_uvicorn(settings, listener)


async def _check(dsn: str) -> None:
    database = Database(dsn, max_connections=1, acquire_timeout_seconds=PATIENCE_SECONDS)
    await database.open()
    try:
        await database.check()
        await check_schema(database)
    finally:
        await database.close()


@contextmanager
def _metrics_directory(settings: Settings) -> Iterator[dict[str, str]]:
    if settings.workers == 1:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="creditdesk-metrics-") as directory:
        yield {"PROMETHEUS_MULTIPROC_DIR": directory}


def _serve_with_uvicorn(settings: Settings, listener: socket.socket) -> None:
    config = Config(
        APP,
        factory=True,
        workers=settings.workers,
        loop="uvloop" if sys.platform != "win32" else "auto",
        http=HttpProtocol if sys.platform != "win32" else "auto",
        ws=WebSocketProtocol,
        ws_max_size=settings.max_body_bytes,
        ws_ping_interval=None,  # the protocol on top has its own
        ws_per_message_deflate=False,  # memory for each of thousands of connections that are mostly idle
        lifespan="on",
        interface="asgi3",
        log_config=None,  # the app's factory configures the logs, in this process or in a worker
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    if settings.workers > 1:
        supervisor = _Supervisor(config, [listener])
        supervisor.run()
        if supervisor.ended_by is None:
            raise CommandFailed(_FAILED)
        if supervisor.ended_by == signal.SIGINT:
            raise KeyboardInterrupt
        return
    server = Server(config)
    try:
        server.run([listener])
    except SystemExit as ending:
        # Having finished, uvicorn raises the signal that ended it once more; before it had started, this is a failure.
        if not server.started:
            raise CommandFailed(_FAILED) from ending


class _Supervisor(Multiprocess):
    """uvicorn's own, which remembers the signal that ended it; without one, its workers could not start."""

    ended_by: signal.Signals | None = None

    def handle_int(self) -> None:
        self.ended_by = signal.SIGINT
        super().handle_int()

    def handle_term(self) -> None:
        self.ended_by = signal.SIGTERM
        super().handle_term()
