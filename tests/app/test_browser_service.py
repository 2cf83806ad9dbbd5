"""`creditdesk serve` for browsers: several processes, plain http on this machine, and a log that tells nothing."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from creditdesk.app.demo.issuer import DemoClient, DemoIssuer
from creditdesk.credits.directory import Identity, put_identities
from creditdesk.db.connections import Database
from creditdesk.db.scopes import DatabaseRole, RowScope
from support.browsers import CLIENT_ID, CLIENT_SECRET, CSRF, VIEWER, asked_of, persons
from support.databases import FreshDatabase
from support.issuers import AUDIENCE
from support.processes import creditdesk, running, served
from support.world import ACME, put_place, user_id, workspace_id

PUBLIC_URL = "http://localhost:4999"  # what the console's development server is known by, and leads on to us
KEY = base64.b64encode(b"k" * 32).decode()


@dataclass
class Overheard:
    """Everything that went over the wire to the issuer's token endpoint and back."""

    app: Any
    secrets: set[str] = field(default_factory=set)
    refresh_tokens: Counter[str] = field(default_factory=Counter)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/token":
            await self.app(scope, receive, send)
            return
        body = (await receive())["body"]
        fields = dict(parse_qsl(body.decode()))
        self.secrets |= {value for name, value in fields.items() if name not in ("grant_type", "redirect_uri")}
        self.refresh_tokens.update([fields["refresh_token"]] if "refresh_token" in fields else [])

        async def read() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def overheard(message: Any) -> None:
            if message["type"] == "http.response.body" and message["body"]:
                answer = json.loads(message["body"])
                self.secrets |= {value for name, value in answer.items() if name.endswith("_token")}
            await send(message)

        await self.app(scope, read, overheard)


@pytest.fixture(scope="module")
def issuer() -> Iterator[tuple[str, Overheard]]:
    """An issuer whose tokens expire almost at once, so that each request has them refreshed."""
    apps: list[Overheard] = []

    def app_at(url: str) -> Overheard:
        client = DemoClient(CLIENT_ID, CLIENT_SECRET, redirect_uris=(f"{PUBLIC_URL}/auth/callback",))
        demo = DemoIssuer(url, AUDIENCE, persons=persons(), clients=[client], token_lifetime=timedelta(seconds=3))
        apps.append(Overheard(demo.app()))
        return apps[0]

    with served(app_at) as url:
        yield url, apps[0]


async def put_people(dsn: str, issuer_url: str) -> None:
    database = Database(dsn, max_connections=1)
    await database.open()
    await put_place(database, ACME)
    async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id("acme"))) as conn:
        identity = Identity(issuer_url, "olga", user_id("olga"))
        await put_identities(conn, workspace_id=workspace_id("acme"), identities=[identity])
    await database.close()


@pytest.fixture
def settings(issuer: tuple[str, Overheard], fresh_database: FreshDatabase) -> dict[str, str]:
    asyncio.run(put_people(fresh_database.server_dsn, issuer[0]))
    return {
        "DATABASE_URL": fresh_database.server_dsn,
        "CREDITDESK_OIDC_ISSUER": issuer[0],
        "CREDITDESK_OIDC_AUDIENCE": AUDIENCE,
        "CREDITDESK_PUBLIC_URL": PUBLIC_URL,
        "CREDITDESK_SIGN_IN_CLIENT_ID": CLIENT_ID,
        "CREDITDESK_SIGN_IN_CLIENT_SECRET": CLIENT_SECRET,
        "CREDITDESK_SESSION_KEYS": KEY,
        "CREDITDESK_LOG_LEVEL": "DEBUG",
    }


def test_a_browser_is_signed_in_whichever_process_answers_each_refresh_token_is_shown_once_and_nothing_is_logged(
    settings: dict[str, str], issuer: tuple[str, Overheard]
) -> None:
    overheard = issuer[1]
    with (
        running("serve", **settings, CREDITDESK_WORKERS="2") as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=30) as browser,
    ):
        away = browser.get("/auth/login", params={"return_to": "/budgets"}).headers["location"]
        secrets = {asked_of(away)["state"], asked_of(away)["nonce"], *browser.cookies.values()}
        back = httpx.get(f"{away}&login_hint=olga", trust_env=False).headers["location"]
        assert back.startswith(f"{PUBLIC_URL}/auth/callback?")
        secrets.add(asked_of(back)["code"])
        # A page of another site that has its name lead here is nobody's: the Host header decides nothing.
        wrong = browser.get("/auth/callback", params={**asked_of(back), "state": "forged"})
        assert wrong.status_code == 400
        home = browser.get(f"/auth/callback?{urlsplit(back).query}", headers={"host": "evil.example"})
        assert home.headers["location"] == f"{PUBLIC_URL}/budgets"
        cookie = browser.cookies["creditdesk"]
        secrets.add(cookie)

        def ask(_: int) -> str:
            # Over a connection of its own, so that both processes have to do with it.
            headers = CSRF | {"cookie": f"creditdesk={cookie}"}
            response = httpx.post(f"{server.url}/graphql", json={"query": VIEWER}, headers=headers, trust_env=False)
            assert response.status_code == 200, response.text
            return str(response.json()["data"]["viewer"]["subject"])

        with ThreadPoolExecutor(12) as pool:
            assert list(pool.map(ask, range(60))) == ["olga"] * 60
        assert browser.post("/auth/logout", headers=CSRF).status_code == 200
        assert server.end() == 0
        logged = server.logged()
    assert len(overheard.refresh_tokens) > 1
    assert set(overheard.refresh_tokens.values()) == {1}
    secrets |= overheard.secrets - {CLIENT_ID} | {CLIENT_SECRET, KEY}
    assert len(secrets) > 10
    assert [secret for secret in secrets if secret in logged] == []
    assert '"/auth/callback"' in logged  # it did log, by path


@pytest.mark.parametrize("missing", ["CREDITDESK_PUBLIC_URL", "CREDITDESK_SESSION_KEYS"])
def test_it_does_not_start_half_configured(settings: dict[str, str], missing: str) -> None:
    ended = creditdesk("serve", **{name: value for name, value in settings.items() if name != missing})
    assert (ended.returncode, ended.stderr) == (
        2,
        f"creditdesk: {missing}: is not set, and browsers cannot sign in.\n",
    )


def test_it_does_not_start_for_an_issuer_whose_tokens_are_not_accepted(settings: dict[str, str]) -> None:
    ended = creditdesk("serve", **settings, CREDITDESK_SIGN_IN_ISSUER="https://id.evil.example")
    assert ended.returncode == 2
    assert ended.stderr == (
        "creditdesk: CREDITDESK_SIGN_IN_ISSUER: must name one of the issuers whose tokens are accepted.\n"
    )


def test_without_a_client_there_is_nothing_to_sign_in_by_and_a_cookie_is_nobody_s(settings: dict[str, str]) -> None:
    kept = {name: value for name, value in settings.items() if "SIGN_IN" not in name and "SESSION" not in name}
    with running("serve", **kept) as server:
        for path in ("/auth/login", "/auth/callback", "/auth/session"):
            assert httpx.get(f"{server.url}{path}", trust_env=False).status_code == 404
        response = httpx.post(
            f"{server.url}/graphql",
            json={"query": VIEWER},
            headers=CSRF | {"cookie": f"creditdesk={'A' * 86}"},
            trust_env=False,
        )
        assert response.status_code == 401
