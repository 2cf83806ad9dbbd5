"""Puts together what browsers need: who is calling by their cookie, and the paths that sign them in and out."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from starlette.routing import Route

from creditdesk.app.settings import Settings
from creditdesk.app.sign_in import SignIn
from creditdesk.auth.authenticate import Authenticator
from creditdesk.auth.callers import Callers
from creditdesk.auth.identity_provider import IdentityProvider
from creditdesk.auth.refreshing import Refresher
from creditdesk.auth.session_cookies import Cookie
from creditdesk.auth.sessions import Sessions
from creditdesk.db.connections import Database

COOKIE = "creditdesk"


@dataclass(frozen=True, slots=True)
class Browsers:
    """Who is calling, and the paths below /auth; none where browsers cannot sign in."""

    callers: Callers
    routes: tuple[Route, ...] = ()


def _clock() -> datetime:
    return datetime.now(UTC)


def browsers_from_settings(
    settings: Settings,
    *,
    database: Database,
    authenticator: Authenticator,
    now: Callable[[], datetime] = _clock,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Browsers:
    """Return what the settings say; `transport` leads to the identity provider where it is not the network."""
    registration = settings.registration()
    if registration is None or settings.public_url is None:
        return Browsers(Callers(authenticator, origins=settings.origins))
    sealer = settings.sealer()
    provider = IdentityProvider(registration, transport=transport)
    refresher = Refresher(database=database, provider=provider, sealer=sealer, now=now)
    sessions = Sessions(
        database=database,
        authenticator=authenticator,
        refresher=refresher,
        cookie=Cookie.named(COOKIE, secure=settings.public_url.startswith("https://")),
        lifetimes=settings.session_lifetimes,
        now=now,
    )
    callers = Callers(authenticator, origins=settings.origins, sessions=sessions)
    sign_in = SignIn(
        provider=provider,
        sessions=sessions,
        callers=callers,
        sealer=sealer,
        public_url=settings.public_url,
        now=now,
    )
    return Browsers(callers, tuple(sign_in.routes()))
