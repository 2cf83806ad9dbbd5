"""Whether the process is up, and whether it can do its work: what an orchestrator and a load balancer ask."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from creditdesk.auth.errors import IssuerUnavailable
from creditdesk.db.errors import DatabaseError, DatabaseUnavailable
from creditdesk.db.readiness import SchemaBehind

PATIENCE_SECONDS = 2.0

Check = Callable[[], Awaitable[None]]

# The first that fits. Nothing of the error's own text: it may name hosts.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "no answer in time"),
    (DatabaseUnavailable, "unreachable"),
    (SchemaBehind, "behind this version: run creditdesk migrate"),
    (DatabaseError, "refused"),
    (IssuerUnavailable, "unreachable"),
)

_log = logging.getLogger(__name__)


async def healthz(_: Request) -> Response:
    """Say that the process is up: nothing else, so that a database's outage restarts no server."""
    return JSONResponse({"process": "ok"})


class Readiness:
    """Answers /readyz from a few checks, all of which must hold, and from the issuers, of which one is enough.

    The outage of one tenant's issuer takes no server away from the others.
    """

    def __init__(self, checks: Mapping[str, Check], issuers: Mapping[str, Check]) -> None:
        self._checks = {**checks, **issuers}
        self._issuers = frozenset(issuers)
        # One at a time: anybody may ask, and must not take the pool's connections from those who are signed in.
        self._turn = asyncio.Lock()

    async def readyz(self, _: Request) -> Response:
        """Answer 200 if the server can do its work, else 503, with a word for each check."""
        async with self._turn:
            found = await asyncio.gather(*(_outcome(name, check) for name, check in self._checks.items()))
        outcomes = dict(zip(self._checks, found, strict=True))
        failed = {name for name, outcome in outcomes.items() if outcome != "ok"}
        ready = failed < self._issuers
        return JSONResponse(outcomes, 200 if ready else 503, {"cache-control": "no-store"})


async def _outcome(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await check()
    except tuple(kind for kind, _ in _REASONS) as error:
        _log.warning("not ready: %s: %s", name, error)
        return next(reason for kind, reason in _REASONS if isinstance(error, kind))
    return "ok"
