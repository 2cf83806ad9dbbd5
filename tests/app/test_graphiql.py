"""The page at /graphiql: of files that come along, asking no other host, and with tokens in the demo alone."""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette

from creditdesk.app.demo.offered_tokens import OfferedTokens
from creditdesk.app.graphiql import graphiql_routes
from creditdesk.graphql.stored_documents import console_documents
from support.asgi import with_client
from support.chromium import chromium
from support.demos import SMALL, demo
from support.issuers import run
from support.node import run_node
from support.processes import running
from support.repository import ROOT

SOURCES = ("build.mjs", "no_styles.js", "package-lock.json", "page.css", "page.html", "page.jsx")
TABS = {"BreakdownQuery": "Breakdown", "OwnBalanceQuery": "OwnBalance", "RequestQueueQuery": "RequestQueue"}
LIVE = "BudgetChangedSubscription"
LARGEST = 3_000_000


def asset(name: str) -> str:
    return files("creditdesk.app").joinpath("graphiql_page").joinpath(name).read_text("utf-8")


def test_the_page_is_bundled_of_what_is_here() -> None:
    of = hashlib.sha256(b"".join((ROOT / "graphiql" / name).read_bytes() for name in SOURCES))
    assert of.hexdigest() in asset("page.js").splitlines()[0], "`make graphiql` bundles it anew"
    assert asset("page.html") == (ROOT / "graphiql" / "page.html").read_text(encoding="utf-8")


def test_the_page_is_small_and_brings_the_licences_of_all_that_is_in_it() -> None:
    names = ("page.html", "page.css", "page.js", "LICENSES.txt")
    assert sum(len(asset(name)) for name in names) < LARGEST
    lock = json.loads((ROOT / "graphiql" / "package-lock.json").read_bytes())["packages"]
    licensed = re.findall(r"^((?:@[\w-]+/)?[\w.-]+) (\d\S*) \((.+)\)$", asset("LICENSES.txt"), re.MULTILINE)
    assert {"graphiql", "codemirror", "graphql", "react", "react-dom"} <= {name for name, _, _ in licensed}
    assert {licence for _, _, licence in licensed} <= {"MIT", "Apache-2.0", "BSD-2-Clause", "0BSD", "Python-2.0", "ISC"}
    locked = {(path.rpartition("node_modules/")[2], one["version"]) for path, one in lock.items() if path}
    assert {(name, version) for name, version, _ in licensed} <= locked


def test_nothing_of_the_page_is_loaded_from_elsewhere() -> None:
    assert re.findall(r"(?:src|href)=\"(?!/graphiql/|data:)", asset("page.html")) == []
    assert "url(http" not in asset("page.css")
    assert "sourceMappingURL" not in asset("page.js") + asset("page.css")


def got(path: str, **headers: str) -> httpx.Response:
    async def ask(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get(path, headers=headers)

    return with_client(Starlette(routes=graphiql_routes()), ask)


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("/graphiql", "text/html; charset=utf-8"),
        ("/graphiql/page.js", "text/javascript; charset=utf-8"),
        ("/graphiql/page.css", "text/css; charset=utf-8"),
        ("/graphiql/LICENSES.txt", "text/plain; charset=utf-8"),
        ("/graphiql/documents.json", "application/json"),
        ("/graphiql/tokens.json", "application/json"),
    ],
)
def test_its_policy_lets_it_run_and_ask_only_what_is_here(path: str, type_: str) -> None:
    response = got(path)
    assert (response.status_code, response.headers["content-type"]) == (200, type_)
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert (policy["script-src"], policy["style-src"], policy["connect-src"]) == ("'self'",) * 3
    assert (policy["frame-ancestors"], policy["base-uri"], policy["form-action"]) == ("'none'",) * 3
    assert response.headers["x-content-type-options"] == "nosniff"


def test_what_a_browser_has_already_is_not_sent_again() -> None:
    etag = got("/graphiql/page.js").headers["etag"]
    assert got("/graphiql/page.js", **{"if-none-match": etag}).status_code == 304


def test_its_documents_are_those_of_the_console_and_it_has_no_tokens_of_its_own() -> None:
    assert got("/graphiql/documents.json").json() == console_documents()
    assert got("/graphiql/tokens.json").json() == {}


@pytest.mark.parametrize(
    ("url", "client", "headers", "offered"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1", {}, True),
        ("http://localhost:8000", "127.0.0.1", {"sec-fetch-site": "same-origin"}, True),
        ("http://[::1]:8000", "::1", {}, True),
        ("http://localhost:8000", "127.0.0.1", {"sec-fetch-site": "cross-site"}, False),
        ("http://rebound.example:8000", "127.0.0.1", {}, False),
        ("http://127.0.0.1.example:8000", "127.0.0.1", {}, False),
        ("http://localhost:8000", "192.0.2.7", {}, False),
    ],
)
def test_the_demo_s_tokens_are_for_pages_of_this_machine_alone(
    url: str, client: str, headers: Mapping[str, str], *, offered: bool
) -> None:
    app = OfferedTokens(Starlette(routes=graphiql_routes()), {"OWNER": "secret"})

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url=url) as http:
            return await http.get("/graphiql/tokens.json", headers=dict(headers))

    assert run(asked()).json() == ({"OWNER": "secret"} if offered else {})


def test_a_server_has_no_such_page_unless_a_setting_says_so(open_directory: Path) -> None:
    settings = {
        "CREDITDESK_DATA_DIRECTORY": str(open_directory / "data"),
        "CREDITDESK_OIDC_ISSUER": "https://issuer.example",
        "CREDITDESK_OIDC_AUDIENCE": "urn:creditdesk:api",
    }
    with running("serve", **settings) as server:
        assert httpx.get(f"{server.url}/graphiql", trust_env=False).status_code == 404
    with running("serve", **settings, CREDITDESK_GRAPHIQL="on") as server:
        assert httpx.get(f"{server.url}/graphiql", trust_env=False).status_code == 200
        assert httpx.get(f"{server.url}/graphiql/tokens.json", trust_env=False).json() == {}


# In a browser.


@dataclass(frozen=True)
class Seen:
    ready: dict[str, Any]
    page: dict[str, Any]

    def asked(self, caller: str, document: str) -> dict[str, Any]:
        """Return what the same document is answered without a browser."""
        answer: dict[str, Any] = httpx.post(
            self.ready["graphql"],
            json={"query": console_documents()[document]},
            headers={"authorization": f"Bearer {self.ready['tokens'][caller]}"},
            trust_env=False,
            timeout=30,
        ).json()
        return answer


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """What a browser sees of the demo's page as its owner and as a member, all tabs run."""
    browser = chromium()
    with tempfile.TemporaryDirectory(prefix="cd-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        with demo(Path(directory), *SMALL, "--port", "0") as started:
            ready = started.ready()
            page = ready["graphql"].removesuffix("/graphql") + "/graphiql"
            shots = tmp_path_factory.mktemp("graphiql")
            yield Seen(ready, run_node("graphiql.mjs", browser, page, str(shots)))


def test_the_page_asks_its_own_server_and_complains_of_nothing(seen: Seen) -> None:
    own = urlsplit(seen.ready["graphql"])
    assert {urlsplit(url)[:2] for url in seen.page["requests"]} == {own[:2]}
    assert {urlsplit(url).path for url in seen.page["requests"]} == {
        "/graphiql", "/graphiql/page.css", "/graphiql/page.js", "/graphiql/documents.json", "/graphiql/tokens.json",
        "/graphql",
    }  # fmt: skip
    assert {urlsplit(url)[1:3] for url in seen.page["sockets"]} == {(own.netloc, "/graphql")}
    assert seen.page["complaints"] == []


def test_it_offers_every_caller_of_the_demo_documents_in_tabs_and_the_schema(seen: Seen) -> None:
    assert set(seen.page["callers"]) == set(seen.ready["tokens"])
    assert seen.page["tabs"] == [*TABS, LIVE]
    assert seen.page["documented"] == "Query"


@pytest.mark.parametrize("caller", ["OWNER", "MEMBER"])
@pytest.mark.parametrize("tab", TABS)
def test_what_it_shows_is_what_the_caller_is_answered(seen: Seen, caller: str, tab: str) -> None:
    shown = seen.page["answers"][caller][tab]
    assert "errors" not in shown
    asked = seen.asked(caller, TABS[tab])
    assert (shown["data"], shown["extensions"]["cost"]["requested"]) == (
        asked["data"],
        asked["extensions"]["cost"]["requested"],
    )


@pytest.mark.parametrize("caller", ["OWNER", "MEMBER"])
def test_it_shows_what_changes_as_it_is(seen: Seen, caller: str) -> None:
    shown = seen.page["answers"][caller][LIVE]["data"]["budgetChanged"]
    own = seen.page["answers"][caller]["OwnBalanceQuery"]["data"]["viewer"]["user"]
    assert shown["scope"] == {"__typename": "User", "id": own["id"]}


def test_the_nested_example_shows_an_owner_everybody_and_a_member_themselves(seen: Seen) -> None:
    def people(caller: str) -> list[str]:
        workspace = seen.page["answers"][caller]["BreakdownQuery"]["data"]["viewer"]["workspace"]
        return [
            member["displayName"]
            for group in workspace["groups"]["nodes"]
            for member in group["members"]["nodes"]
            if member["usage"] is not None
        ]

    own = seen.page["answers"]["MEMBER"]["OwnBalanceQuery"]["data"]["viewer"]["user"]["displayName"]
    assert set(people("MEMBER")) == {own}
    assert len(set(people("OWNER"))) > 1
    assert seen.page["answers"]["MEMBER"]["RequestQueueQuery"]["data"]["viewer"]["workspace"]["requests"] is None
