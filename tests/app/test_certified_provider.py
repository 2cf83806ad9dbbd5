"""The server against a certified OpenID provider, npm's `oidc-provider`, each as a process of its own."""

import base64
import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jws

from creditdesk.app.demo.issuer import DemoIssuer
from support.certified import CertifiedProvider
from support.databases import FreshDatabase
from support.issuers import ANA, CONSOLE
from support.node import node_serving
from support.processes import RunningProcess, creditdesk, running, served, wait_until

AUDIENCE = "urn:creditdesk:api"
ASK = "{ viewer { kind subject roles permissions user { displayName } workspace { slug } } }"
PUBLIC_URL = "http://localhost:8000"
"""The server is asked at its own address; this one it only writes down, and the provider knows it by."""
WORKERS = 4


@pytest.fixture(scope="module")
def provider() -> Iterator[CertifiedProvider]:
    with node_serving("oidc_provider.mjs") as listening:
        yield CertifiedProvider(listening["url"])


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoIssuer]:
    """Another issuer of the same server."""
    issuers: list[DemoIssuer] = []

    def app(url: str) -> Any:
        issuers.append(DemoIssuer(url, AUDIENCE, persons=[ANA], clients=[CONSOLE]))
        return issuers[0].app()

    with served(app):
        yield issuers[0]


@pytest.fixture(scope="module")
def server(
    provider: CertifiedProvider,
    demo: DemoIssuer,
    module_database: FreshDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningProcess]:
    folder = tmp_path_factory.mktemp("issuers")
    people = [
        {"displayName": name.title(), "email": f"{name}@example.com", "identities": [{"issuer": url, "subject": name}]}
        for name, url in (("ana", provider.url), ("mo", provider.url))
    ]
    put = {"workspace": {"slug": "acme", "name": "Acme", "zone": "UTC"}, "groups": [], "users": people}
    directory = written(folder / "directory.json", put)
    done = creditdesk("directory", str(directory), DATABASE_URL=module_database.server_dsn)
    assert done.returncode == 0, done.stderr
    issuers = {
        "certified": {"issuer": provider.url, "audience": AUDIENCE, "workspaces": ["acme"]},
        "demo": {"issuer": demo.url, "audience": AUDIENCE, "workspaces": ["elsewhere"]},
    }
    file = written(folder / "issuers.json", issuers)
    browsers = {
        "CREDITDESK_PUBLIC_URL": PUBLIC_URL,
        "CREDITDESK_SESSION_KEYS": base64.b64encode(bytes(32)).decode(),
        "CREDITDESK_SIGN_IN_ISSUER": "certified",
        "CREDITDESK_SIGN_IN_CLIENT_ID": "creditdesk",
        "CREDITDESK_SIGN_IN_CLIENT_SECRET": "creditdesk-secret-of-the-tests-0123456789",
        "CREDITDESK_SIGN_IN_SCOPES": "openid email offline_access",
        "CREDITDESK_SIGN_IN_PARAMETERS": '{"prompt": "consent"}',
    }
    with running("serve", DATABASE_URL=module_database.server_dsn, CREDITDESK_ISSUERS=str(file), **browsers) as process:
        yield process


def written(file: Path, content: object) -> Path:
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def ask(server: RunningProcess, token: str, query: str = ASK) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"}
    return httpx.post(f"{server.url}/graphql", json={"query": query}, headers=headers, trust_env=False, timeout=30)


def viewer(server: RunningProcess, token: str) -> dict[str, Any]:
    answer = ask(server, token)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]["viewer"]
    return found


def is_refused(answer: httpx.Response) -> bool:
    return (answer.status_code, code_of(answer)) == (401, "UNAUTHENTICATED")


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["errors"][0]["extensions"]["code"])


def header_of(token: str) -> dict[str, Any]:
    return dict(jws.extract_compact(token.encode()).headers())


def test_every_issuer_is_reported_ready(server: RunningProcess) -> None:
    answer = httpx.get(f"{server.url}/readyz", trust_env=False, timeout=30)
    assert (answer.status_code, answer.json()) == (
        200,
        {"database": "ok", "migrations": "ok", "issuer certified": "ok", "issuer demo": "ok"},
    )


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_person_signs_in_by_code_and_pkce_and_the_graph_answers(
    server: RunningProcess, provider: CertifiedProvider, algorithm: str
) -> None:
    provider.order(f"algorithm/{algorithm}")
    token = provider.tokens_of("ana")["access_token"]
    assert (header_of(token)["alg"], header_of(token)["typ"]) == (algorithm, "at+jwt")
    found = viewer(server, token)
    assert (found["kind"], found["subject"], found["roles"]) == ("PERSON", "ana", ["ADMIN"])
    assert (found["user"], found["workspace"]) == ({"displayName": "Ana"}, {"slug": "acme"})


def test_a_browser_signs_in_at_the_certified_provider_and_out_again(
    server: RunningProcess, provider: CertifiedProvider
) -> None:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as page:
        leaving = page.get("/auth/login", params={"return_to": "/budgets"})
        assert leaving.status_code == 303, leaving.text
        back = provider.consent(f"{leaving.headers['location']}&login_hint=mo", leads_to=f"{PUBLIC_URL}/auth/callback")
        arrived = page.get(back.removeprefix(PUBLIC_URL))
        assert (arrived.status_code, arrived.headers["location"]) == (303, f"{PUBLIC_URL}/budgets")
        own = {"x-creditdesk-csrf": "1", "origin": PUBLIC_URL}
        answer = page.post("/graphql", json={"query": ASK}, headers=own)
        assert answer.status_code == 200, answer.text
        found = answer.json()["data"]["viewer"]
        assert (found["subject"], found["roles"], found["user"]) == ("mo", ["MEMBER"], {"displayName": "Mo"})
        assert page.post("/graphql", json={"query": ASK}).status_code == 403
        replayed = page.get(back.removeprefix(PUBLIC_URL))
        assert (replayed.status_code, code_of(replayed)) == (400, "SIGN_IN_FAILED")
        goodbye = page.post("/auth/logout", headers=own)
        assert goodbye.json()["location"].startswith(f"{provider.url}/session/end?")
        assert is_refused(page.post("/graphql", json={"query": ASK}, headers=own))


def test_a_code_is_worth_nothing_without_its_verifier(provider: CertifiedProvider) -> None:
    answer = provider.redeem(provider.code("ana"), verifier="another-verifier-of-at-least-forty-three-chars")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_an_id_token_of_the_certified_provider_is_no_access_token(
    server: RunningProcess, provider: CertifiedProvider
) -> None:
    tokens = provider.tokens_of("ana")
    assert is_refused(ask(server, tokens["id_token"]))
    assert is_refused(ask(server, tokens["refresh_token"]))


def test_a_refresh_gives_new_tokens_and_one_used_again_ends_them_all(
    server: RunningProcess, provider: CertifiedProvider
) -> None:
    first = provider.tokens_of("mo")
    second = provider.refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert viewer(server, second["access_token"])["roles"] == ["MEMBER"]
    stolen = provider.refresh(first["refresh_token"])
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
    ended = provider.refresh(second["refresh_token"])
    assert (ended.status_code, ended.json()["error"]) == (400, "invalid_grant")


def test_a_code_replayed_gets_nothing_and_ends_what_the_first_use_got(
    server: RunningProcess, provider: CertifiedProvider
) -> None:
    code = provider.code("mo")
    tokens = provider.redeem(code).json()
    assert viewer(server, tokens["access_token"])["subject"] == "mo"
    replayed = provider.redeem(code)
    assert (replayed.status_code, replayed.json()["error"]) == (400, "invalid_grant")
    ended = provider.refresh(tokens["refresh_token"])
    assert (ended.status_code, ended.json()["error"]) == (400, "invalid_grant")


def test_a_program_has_the_permissions_of_the_scopes_it_was_granted(
    server: RunningProcess, provider: CertifiedProvider
) -> None:
    found = viewer(server, provider.token_of_program("usage:read"))
    assert (found["kind"], found["subject"], found["user"]) == ("SERVICE", "gateway", None)
    assert (found["roles"], found["permissions"]) == (["SERVICE"], ["WORKSPACE_READ", "USAGE_READ"])
    both = viewer(server, provider.token_of_program("usage:read usage:write"))
    assert both["permissions"] == ["WORKSPACE_READ", "USAGE_READ", "USAGE_WRITE"]


def test_an_issuer_gets_nothing_in_a_workspace_that_is_not_among_its_own(
    server: RunningProcess, demo: DemoIssuer
) -> None:
    # Genuine, for our audience, in time, and for the workspace that the other issuer may speak for.
    assert is_refused(ask(server, demo.issue_access_token("ana")))


def test_a_rotation_of_keys_fails_no_request_that_is_under_way(
    server: RunningProcess, provider: CertifiedProvider
) -> None:
    provider.order("algorithm/RS256")
    held = provider.token_of_program("usage:read")
    ending, outcomes, seen = threading.Event(), Counter[int](), Counter[str]()

    def keep_asking() -> None:
        while not ending.is_set():
            token = provider.token_of_program("usage:read")
            seen[header_of(token)["kid"]] += 1
            outcomes[ask(server, token).status_code] += 1
            outcomes[ask(server, held).status_code] += 1

    with ThreadPoolExecutor(WORKERS) as pool:
        asking = [pool.submit(keep_asking) for _ in range(WORKERS)]
        try:
            wait_until(lambda: sum(seen.values()) >= 20, "twenty tokens of the old key")
            published = provider.order("rotate")
            wait_until(lambda: seen[published[0]] >= 20, "twenty tokens of the new key")
        finally:
            ending.set()
        for one in asking:
            one.result()
    assert set(outcomes) == {200}
    assert header_of(held)["kid"] not in published[:2]
