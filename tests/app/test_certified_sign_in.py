"""A browser signs in at a certified OpenID provider, npm's `oidc-provider`, and out again."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from support.browsers import CSRF, VIEWER, asked_of
from support.certified import MOST_REDIRECTS, CertifiedProvider
from support.databases import FreshDatabase
from support.node import node_serving
from support.processes import RunningProcess, creditdesk, running

PUBLIC_URL = "http://localhost:8000"
SECRET = "creditdesk-secret-of-the-tests-0123456789"


@pytest.fixture(scope="module")
def provider() -> Iterator[CertifiedProvider]:
    with node_serving("oidc_provider.mjs") as listening:
        yield CertifiedProvider(listening["url"])


@pytest.fixture(scope="module")
def server(
    provider: CertifiedProvider, module_database: FreshDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningProcess]:
    file: Path = tmp_path_factory.mktemp("directory") / "directory.json"
    ana = {"displayName": "Ana", "email": "ana@example.com", "identities": [{"issuer": provider.url, "subject": "ana"}]}
    put = {"workspace": {"slug": "acme", "name": "Acme", "zone": "UTC"}, "groups": [], "users": [ana]}
    file.write_text(json.dumps(put), encoding="utf-8")
    done = creditdesk("directory", str(file), DATABASE_URL=module_database.server_dsn)
    assert done.returncode == 0, done.stderr
    settings = {
        "DATABASE_URL": module_database.server_dsn,
        "CREDITDESK_OIDC_ISSUER": provider.url,
        "CREDITDESK_OIDC_AUDIENCE": "urn:creditdesk:api",
        "CREDITDESK_PUBLIC_URL": PUBLIC_URL,
        "CREDITDESK_SIGN_IN_CLIENT_ID": "creditdesk",
        "CREDITDESK_SIGN_IN_CLIENT_SECRET": SECRET,
        "CREDITDESK_SIGN_IN_PARAMETERS": '{"prompt": "consent"}',
        "CREDITDESK_SESSION_KEYS": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=",
    }
    with running("serve", **settings) as process:
        yield process


def at_the_provider(pages: httpx.Client, address: str) -> str:
    """Go through the provider's pages as Ana, and return the way back."""
    place = f"{address}&login_hint=ana"
    for _ in range(MOST_REDIRECTS):
        answer = pages.get(place)
        assert answer.is_redirect, answer.text
        place = answer.headers["location"]
        if place.startswith(PUBLIC_URL):
            break
    return place


@pytest.fixture
def pages(provider: CertifiedProvider) -> Iterator[httpx.Client]:
    """The browser, as the provider knows it."""
    with httpx.Client(base_url=provider.url, trust_env=False) as client:
        yield client


@pytest.fixture
def browser(server: RunningProcess) -> Iterator[httpx.Client]:
    """The same browser, as we know it."""
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


def ask(browser: httpx.Client) -> httpx.Response:
    return browser.post("/graphql", json={"query": VIEWER}, headers=CSRF)


def sessions(database: FreshDatabase, query: str = "SELECT tokens_version FROM browser_session") -> list[Any]:
    with psycopg.connect(database.superuser_dsn, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def test_a_browser_signs_in_is_refreshed_and_signs_out_at_a_certified_provider(
    provider: CertifiedProvider, pages: httpx.Client, browser: httpx.Client, module_database: FreshDatabase
) -> None:
    away = browser.get("/auth/login", params={"return_to": "/budgets"}).headers["location"]
    assert away.startswith(f"{provider.url}/auth?")
    home = browser.get(f"/auth/callback?{urlsplit(at_the_provider(pages, away)).query}")
    assert (home.status_code, home.headers.get("location")) == (303, f"{PUBLIC_URL}/budgets"), home.text
    viewer = ask(browser).json()["data"]["viewer"]
    assert viewer == {"subject": "ana", "roles": ["ADMIN"], "workspace": {"slug": "acme"}}
    # As when the access token has expired; the refresh token is exchanged for the next one each time.
    for version in (2, 3):
        sessions(module_database, "UPDATE browser_session SET tokens_expire_at = now()")
        assert ask(browser).status_code == 200
        assert sessions(module_database) == [(version,)]
    out = browser.post("/auth/logout", headers=CSRF).json()["location"]
    assert (ask(browser).status_code, sessions(module_database)) == (401, [])
    page = pages.get(out)
    assert page.status_code == 200, page.text
    [form] = re.findall(r'action="([^"]+/session/end/confirm)"', page.text)
    [xsrf] = re.findall(r'name="xsrf" value="([^"]+)"', page.text)
    ended = pages.post(form, data={"xsrf": xsrf, "logout": "yes"})
    assert ended.headers["location"].partition("?")[0] == f"{PUBLIC_URL}/"


def test_a_code_of_the_certified_provider_that_is_used_again_ends_the_session_it_was_worth(
    server: RunningProcess, pages: httpx.Client, browser: httpx.Client, module_database: FreshDatabase
) -> None:
    back = at_the_provider(pages, browser.get("/auth/login").headers["location"])
    under_way = dict(browser.cookies)
    assert browser.get(f"/auth/callback?{urlsplit(back).query}").status_code == 303
    with httpx.Client(base_url=server.url, trust_env=False, cookies=under_way) as thief:
        refused = thief.get(f"/auth/callback?{urlsplit(back).query}")
        assert refused.json()["errors"][0]["extensions"]["code"] == "SIGN_IN_FAILED"
    # The provider has taken back what the code was worth: the session ends with its access token.
    sessions(module_database, "UPDATE browser_session SET tokens_expire_at = now()")
    assert ask(browser).status_code == 401
    assert sessions(module_database) == []


def test_a_code_of_the_certified_provider_is_worth_nothing_to_whoever_forges_the_state(
    pages: httpx.Client, browser: httpx.Client, module_database: FreshDatabase
) -> None:
    back = at_the_provider(pages, browser.get("/auth/login").headers["location"])
    refused = browser.get("/auth/callback", params=asked_of(back) | {"state": "forged"})
    assert refused.json()["errors"][0]["extensions"]["code"] == "SIGN_IN_FAILED"
    assert sessions(module_database) == []
