"""/readyz names every issuer, and one tenant's issuer takes no server away from the others."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from creditdesk.app.health import Readiness
from creditdesk.auth.issuers import Issuer
from creditdesk.auth.tokens import TokenVerifier
from creditdesk.db.errors import DatabaseUnavailable
from support.issuers import run
from support.vendors import Web

ACME, ZEN = "https://id.acme.example", "https://id.zen.example"


async def well() -> None:
    pass


async def ill() -> None:
    raise DatabaseUnavailable


@pytest.fixture
def web() -> Web:
    return Web(ACME, ZEN)


def readyz(web: Web, *urls: str, database: str = "well") -> tuple[int, dict[str, str]]:
    issuers = [Issuer(url, frozenset({"a"}), name=url.removeprefix("https://")) for url in urls]
    checks = TokenVerifier(issuers, web.http, web.clock).checks
    readiness = Readiness({"database": well if database == "well" else ill}, issuers=checks)
    app = Starlette(routes=[Route("/readyz", readiness.readyz)])

    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            return await http.get("/readyz")

    answer = run(asked())
    return answer.status_code, answer.json()


def test_a_server_is_ready_while_one_of_its_issuers_can_be_reached(web: Web) -> None:
    assert readyz(web, ACME, ZEN) == (200, {"database": "ok", "id.acme.example": "ok", "id.zen.example": "ok"})
    web[ACME].is_cut = True
    one = {"database": "ok", "id.acme.example": "unreachable", "id.zen.example": "ok"}
    assert readyz(web, ACME, ZEN) == (200, one)
    web[ZEN].is_cut = True
    assert readyz(web, ACME, ZEN) == (503, one | {"id.zen.example": "unreachable"})


def test_a_server_is_not_ready_without_its_only_issuer_or_without_its_database(web: Web) -> None:
    assert readyz(web, ACME, database="ill") == (503, {"database": "unreachable", "id.acme.example": "ok"})
    web[ACME].is_cut = True
    assert readyz(web, ACME) == (503, {"database": "ok", "id.acme.example": "unreachable"})
    assert readyz(web, ACME, ZEN, database="ill")[0] == 503
