"""Browsers that sign in at the demo's issuer, on a network that can be cut, with a clock that all sides share."""

import asyncio
import base64
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
from starlette.applications import Starlette

from creditdesk.app.browsers import browsers_from_settings
from creditdesk.app.demo.issuer import DemoClient, DemoIssuer, DemoPerson
from creditdesk.app.demo.signing_keys import SigningKeys
from creditdesk.app.holds import HoldsEndpoint
from creditdesk.app.main import create_app
from creditdesk.app.metrics import Metrics
from creditdesk.app.settings import load_settings
from creditdesk.auth.authenticate import Authenticator
from creditdesk.auth.callers import Callers
from creditdesk.auth.tokens import TokenVerifier
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.db.connections import Database
from creditdesk.graphql.endpoint import GraphQLEndpoint
from support.databases import FreshDatabase
from support.issuers import AUDIENCE, URL, Clock, Network
from support.world import CALLERS, MAX_BODY_BYTES, PLACES, boundless, put_place, workspace_slug

PUBLIC_URL = "https://credits.example.com"
CONSOLE = "https://console.example.com"
COOKIE = "__Host-creditdesk"
CLIENT_ID, CLIENT_SECRET = "console", "secret-of-the-console"
CSRF = {"x-creditdesk-csrf": "1"}
VIEWER = "{ viewer { subject roles workspace { slug } } }"


def key(number: int) -> str:
    """Return a key to seal with, as it is configured."""
    return base64.b64encode(bytes([number]) * 32).decode()


SETTINGS = {
    "CREDITDESK_OIDC_ISSUER": URL,
    "CREDITDESK_OIDC_AUDIENCE": AUDIENCE,
    "CREDITDESK_PUBLIC_URL": PUBLIC_URL,
    "CREDITDESK_SIGN_IN_CLIENT_ID": CLIENT_ID,
    "CREDITDESK_SIGN_IN_CLIENT_SECRET": CLIENT_SECRET,
    "CREDITDESK_SESSION_KEYS": key(1),
    "CREDITDESK_CORS_ORIGINS": CONSOLE,
}


def persons() -> list[DemoPerson]:
    """Return everybody who may call the API, as the issuer knows them."""
    found = []
    for caller in CALLERS.values():
        claims = {name: value for name, value in caller.items() if name != "sub"}
        subject = str(caller["sub"])
        found.append(
            DemoPerson(subject, subject, f"{subject}@example.com", {"workspace": workspace_slug("acme"), **claims})
        )
    return found


@dataclass
class Browser:
    """A browser: its cookies, and how it follows a sign-in by hand."""

    client: httpx.AsyncClient
    issuer: httpx.AsyncClient

    @property
    def cookie(self) -> str | None:
        """The session's cookie."""
        return self.client.cookies.get(COOKIE) or self.client.cookies.get("creditdesk")

    @cookie.setter
    def cookie(self, value: str) -> None:
        self.client.cookies.set(COOKIE, value, domain="credits.example.com", path="/")

    async def leave(self, return_to: str | None = None) -> str:
        """Begin to sign in, and return where the identity provider is."""
        asked = {} if return_to is None else {"return_to": return_to}
        response = await self.client.get("/auth/login", params=asked)
        assert response.status_code == 303, response.text
        return str(response.headers["location"])

    async def consent(self, address: str, subject: str) -> str:
        """Sign in at the identity provider, and return where it leads back to."""
        response = await self.issuer.get(f"{address}&login_hint={subject}")
        assert response.status_code == 303, response.text
        return str(response.headers["location"])

    async def come_back(self, address: str) -> httpx.Response:
        """Follow the way back."""
        parts = urlsplit(address)
        return await self.client.get(f"{parts.path}?{parts.query}")

    async def sign_in(self, subject: str, return_to: str | None = None) -> httpx.Response:
        """Go the whole way."""
        response = await self.come_back(await self.consent(await self.leave(return_to), subject))
        assert response.status_code == 303, response.text
        return response

    async def ask(self, query: str = VIEWER, **headers: str) -> httpx.Response:
        """Ask the graph, as a page of our own does."""
        return await self.client.post("/graphql", json={"query": query}, headers=CSRF | headers)

    async def subject(self) -> str:
        """Return who the graph takes this browser for."""
        response = await self.ask()
        assert response.status_code == 200, response.text
        assert "errors" not in response.json(), response.text
        return str(response.json()["data"]["viewer"]["subject"])


@dataclass
class House:
    """The whole app in this process, on an event loop of its own, and the issuer beside it."""

    fresh: FreshDatabase
    runner: asyncio.Runner
    clock: Clock
    keys: SigningKeys
    network: Network
    database: Database
    callers: Callers
    app: Starlette
    stack: AsyncExitStack
    issuer: DemoIssuer = field(init=False)
    opened: list[httpx.AsyncClient] = field(default_factory=list)

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def browser(self, url: str = PUBLIC_URL, app: Starlette | None = None) -> Browser:
        """Return a browser without any cookie; it knows the server by this address."""
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app or self.app), base_url=url)
        issuer = httpx.AsyncClient(transport=self.network)
        self.opened += [client, issuer]
        return Browser(client, issuer)

    def signed_in(self, subject: str = "olga") -> Browser:
        """Return a browser in which somebody has signed in."""
        browser = self.browser()
        self.run(browser.sign_in(subject))
        return browser

    def reset(self) -> None:
        """Begin again: nobody is signed in, nobody is cut off, everybody is who they were, and it is now."""
        self.sql("DELETE FROM browser_session")
        self.sql("UPDATE app_user SET active = (display_name NOT LIKE 'Ina %%'), sessions_ended_at = NULL")
        self.clock.moment = time.time()
        redirects, back = (f"{PUBLIC_URL}/auth/callback",), (f"{PUBLIC_URL}/",)
        client = DemoClient(CLIENT_ID, CLIENT_SECRET, redirect_uris=redirects, sign_out_uris=back)
        self.issuer = DemoIssuer(URL, AUDIENCE, persons=persons(), clients=[client], keys=self.keys, now=self.clock)
        self.network.app, self.network.is_cut = self.issuer.app(), False

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run plain SQL past every policy."""
        with psycopg.connect(self.fresh.superuser_dsn, autocommit=True) as connection:
            cursor = connection.execute(cast("Any", query), parameters)
            return cursor.fetchall() if cursor.description else []

    def sessions(self) -> int:
        return int(self.sql("SELECT count(*) FROM browser_session")[0][0])

    async def opened_app(self, **settings: str) -> tuple[Database, Starlette]:
        """Return another process's worth of the app, on the same database."""
        database, _, app = _app(self.fresh, self.network, self.clock, settings)
        await self.stack.enter_async_context(app.router.lifespan_context(app))
        return database, app


def _app(
    fresh: FreshDatabase, network: Network, clock: Clock, changes: Mapping[str, str]
) -> tuple[Database, Callers, Starlette]:
    settings = load_settings({**SETTINGS, "DATABASE_URL": fresh.server_dsn, **changes})
    database = Database(fresh.server_dsn, max_connections=8)
    http = httpx.AsyncClient(transport=network)
    verifier = TokenVerifier(settings.issuers(), http, now=clock)
    authenticator = Authenticator(verifier=verifier, database=database)
    browsers = browsers_from_settings(
        settings,
        database=database,
        authenticator=authenticator,
        now=lambda: datetime.fromtimestamp(clock(), UTC),
        transport=network,
    )
    desk = HoldDesk(database, lambda: datetime.now(UTC))
    endpoint = GraphQLEndpoint(
        database=database,
        desk=desk,
        callers=browsers.callers,
        answering=boundless(),
        max_body_bytes=MAX_BODY_BYTES,
    )
    app = create_app(
        database=database,
        verifier=verifier,
        http=http,
        graphql_endpoint=endpoint,
        holds_endpoint=HoldsEndpoint(desk=desk, authenticator=authenticator, max_body_bytes=MAX_BODY_BYTES),
        metrics=Metrics(),
        routes=browsers.routes,
        origins=settings.origins,
        session_idle=settings.session_lifetimes.idle,
    )
    return database, browsers.callers, app


@contextmanager
def house_of(fresh: FreshDatabase, **settings: str) -> Iterator[House]:
    """Put the people of both workspaces in place, and open the app before them."""
    with asyncio.Runner() as runner:

        @asynccontextmanager
        async def opened() -> Any:
            clock, network = Clock(time.time()), Network(None)
            database, callers, app = _app(fresh, network, clock, settings)
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(app.router.lifespan_context(app))
                for place in PLACES:
                    await put_place(database, place)
                house = House(fresh, runner, clock, SigningKeys(), network, database, callers, app, stack)
                house.reset()
                yield house
                for one in house.opened:
                    await one.aclose()

        manager = opened()
        house: House = runner.run(manager.__aenter__())
        try:
            yield house
        finally:
            runner.run(manager.__aexit__(None, None, None))


def asked_of(address: str) -> dict[str, str]:
    """Return the parameters of an address, each given once."""
    return {name: value for name, (value,) in parse_qs(urlsplit(address).query).items()}
