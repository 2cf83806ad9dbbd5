"""`creditdesk demo`: a database with a year in it, an identity provider and the server, with one command."""

import argparse
import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from pydantic import SecretStr

from creditdesk.app.database import running_database
from creditdesk.app.demo.access import put_access
from creditdesk.app.demo.controls import put_controls
from creditdesk.app.demo.dataset import Scale
from creditdesk.app.demo.issuer import DemoIssuer
from creditdesk.app.demo.load import load
from creditdesk.app.demo.offered_tokens import OfferedTokens
from creditdesk.app.demo.people import FEWEST_USERS, acme
from creditdesk.app.demo.sign_ins import AUDIENCE, SignIn, browser_settings, demo_issuer, link, sign_ins, tokens_of
from creditdesk.app.demo.signing_keys import SigningKeys
from creditdesk.app.demo.welcome import Demo, ready, welcome
from creditdesk.app.failures import CommandFailed
from creditdesk.app.logs import configure_logs
from creditdesk.app.serve import APP
from creditdesk.app.settings import Settings, handed_down
from creditdesk.app.sockets import WebSocketProtocol
from creditdesk.db.connections import Database

_LOOPBACK = "127.0.0.1"
_LARGEST_PORT = 65_535
_MOST_DAYS = 390
"""What migrations make months for."""

_OWN = ("claim_", "oidc_", "issuers_", "role_map", "sign_in_", "session_keys")
"""Settings that the demo decides itself: those of its own issuer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take where to listen and how much data to make."""
    scale = Scale()
    parser.add_argument("--port", type=_between(0, _LARGEST_PORT), help="default: CREDITDESK_PORT; 0 takes a free one")
    parser.add_argument("--ready-file", type=Path, metavar="PATH", help="write URLs and tokens there, as JSON")
    parser.add_argument("--users", type=_between(FEWEST_USERS, 100_000), default=scale.users, metavar="N")
    parser.add_argument("--days", type=_between(1, _MOST_DAYS), default=scale.days, metavar="N")
    parser.add_argument("--events-per-day", type=_between(1, 1_000_000), default=scale.events_per_day, metavar="N")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the demo until Ctrl-C or SIGTERM."""
    scale = Scale(arguments.users, arguments.days, arguments.events_per_day)
    settings = _demo_settings(settings, arguments.port)
    configure_logs(level=settings.log_level, form=settings.log_format)
    try:
        with ExitStack() as stack:
            ours = stack.enter_context(_listening(settings.host, settings.port))
            issuers = stack.enter_context(_listening_near(ours.getsockname()[1] + 1))
            dsn = stack.enter_context(running_database(settings, today=datetime.now(UTC).date())).dsn
            people = sign_ins(scale.users)
            public_url = settings.public_url or _url(ours)
            keys = SigningKeys.kept_in(settings.data_directory / "demo")
            issuer = demo_issuer(_url(issuers), people, keys=keys, public_url=public_url)
            asyncio.run(_prepare(dsn, scale, people, issuer))
            demo = Demo(f"{_url(ours)}/graphql", public_url, issuer, dsn, tokens_of(issuer, people))
            chosen: dict[str, object] = {
                "database_url": SecretStr(dsn),
                "oidc_issuer": issuer.url,
                "oidc_audience": (AUDIENCE,),
            }
            chosen |= browser_settings(public_url, origins=settings.cors_origins)
            stack.enter_context(handed_down(settings.model_copy(update=chosen)))
            with _announced(demo, arguments.ready_file) as announce:
                _run_servers(settings, demo, (ours, issuers), announce)
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. The next start goes on from here.\n")
    return 0


def _between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        with suppress(ValueError):
            if least <= int(text) <= most:
                return int(text)
        message = f"takes a whole number from {least} to {most}"
        raise argparse.ArgumentTypeError(message)

    return number


def _demo_settings(settings: Settings, port: int | None) -> Settings:
    """Return the settings with what belongs to the demo's own issuer, and with a quiet log unless one was asked for."""
    fields = Settings.model_fields
    update: dict[str, object] = {name: fields[name].default for name in fields if name.startswith(_OWN)}
    if port is not None:
        update["port"] = port
    if "log_level" not in settings.model_fields_set:
        update["log_level"] = "WARNING"
    if "graphiql" not in settings.model_fields_set:
        update["graphiql"] = "on"
    if "log_format" not in settings.model_fields_set:
        update["log_format"] = "text"
    return settings.model_copy(update=update)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Bind before anything is started: a port in use is said at once."""
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)  # its own text repeats the port
        raise CommandFailed(f"Cannot listen on {host}:{port} ({why}): name another port with --port.") from None
    with listener:
        yield listener


@contextmanager
def _listening_near(port: int) -> Iterator[socket.socket]:
    """Bind this port, so that the issuer keeps its name from start to start, or a free one."""
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(_listening(_LOOPBACK, port if port <= _LARGEST_PORT else 0))
        except CommandFailed:
            listener = stack.enter_context(_listening(_LOOPBACK, 0))
        yield listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - what is bound, not what we bind
        host = _LOOPBACK
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _prepare(dsn: str, scale: Scale, people: Sequence[SignIn], issuer: DemoIssuer) -> None:
    database = Database(dsn, max_connections=4, statement_timeout_seconds=60)
    await database.open()
    try:
        now = datetime.now(UTC)
        recorded = await load(database, scale=scale, now=now)
        await put_controls(database, acme(scale.users), now=now)
        await link(database, people, issuer_url=issuer.url)
        await put_access(database, people, issuer_url=issuer.url, now=now)
    finally:
        await database.close()
    sys.stderr.write(f"{recorded} events recorded.\n")


class _Server(uvicorn.Server):
    """uvicorn's own, which leaves the signals to us: there are two of them."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        return nullcontext()


def _run_servers(
    settings: Settings, demo: Demo, listeners: tuple[socket.socket, socket.socket], announce: Callable[[], None]
) -> None:
    try:
        asyncio.run(_serve(settings, demo, listeners, announce))
    except SystemExit as error:  # uvicorn's, where the app cannot be made; signals are handled in the loop
        raise CommandFailed("The demo's server could not start: its log says why.") from error


async def _serve(
    settings: Settings, demo: Demo, listeners: tuple[socket.socket, socket.socket], announce: Callable[[], None]
) -> None:
    ours = uvicorn.Config(
        APP, factory=True, log_config=None, access_log=False, ws=WebSocketProtocol, lifespan="on", proxy_headers=False,
        server_header=False, timeout_graceful_shutdown=settings.shutdown_seconds,
    )  # fmt: skip
    issuers = uvicorn.Config(
        demo.issuer.app(), log_config=None, access_log=False, ws="none", lifespan="off", proxy_headers=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )  # fmt: skip
    ours.load()
    ours.loaded_app = OfferedTokens(ours.loaded_app, demo.tokens)
    servers = [_Server(ours), _Server(issuers)]

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    def stop_by_signal() -> None:
        for server in servers:
            server.force_exit = server.should_exit  # the second time, without waiting for requests
        stop()

    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, stop_by_signal)
    serving = [asyncio.create_task(server.serve([one])) for server, one in zip(servers, listeners, strict=True)]
    while not all(server.started for server in servers) and not any(task.done() for task in serving):  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.02)
    if all(server.started for server in servers):
        announce()
    done, _ = await asyncio.wait(serving, return_when=asyncio.FIRST_COMPLETED)
    stop()
    await asyncio.gather(*serving)
    if not all(server.started for server in servers) and done:
        raise SystemExit


@contextmanager
def _announced(demo: Demo, ready_file: Path | None) -> Iterator[Callable[[], None]]:
    """Yield what says that everything is there; the ready file is gone when it no longer is."""

    def announce() -> None:
        sys.stdout.write(welcome(demo))
        sys.stdout.flush()
        if ready_file is not None:
            _write_private(ready_file, ready(demo))

    try:
        yield announce
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def _write_private(file: Path, text: str) -> None:
    # Written aside and renamed: who waits for the file finds the whole of it, and only this user may read it.
    aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
    aside.replace(file)
