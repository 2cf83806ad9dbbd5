"""Pages of other origins (CORS): what browsers are told."""

from collections.abc import Iterator

import httpx
import pytest

from support.browsers import CONSOLE, CSRF, PUBLIC_URL, VIEWER, House, house_of
from support.databases import FreshDatabase

PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type,x-creditdesk-csrf",
}
FOREIGN = [
    "https://evil.example",
    "https://console.example.com.evil.example",
    "https://evilconsole.example.com",
    "http://console.example.com",
    "https://console.example.com:8443",
    "https://CONSOLE.example.com",
    "null",
]


@pytest.fixture(scope="module")
def house(module_database: FreshDatabase) -> Iterator[House]:
    with house_of(module_database) as opened:
        yield opened


def cors_of(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


def preflight(house: House, origin: str, path: str = "/graphql", **headers: str) -> httpx.Response:
    response: httpx.Response = house.run(
        house.browser().client.options(path, headers={"origin": origin, **PREFLIGHT, **headers})
    )
    return response


@pytest.mark.parametrize("path", ["/graphql", "/auth/logout", "/auth/session", "/v1/holds"])
def test_a_listed_origin_may_ask_with_credentials_and_may_remember_that_for_a_while(house: House, path: str) -> None:
    response = preflight(house, CONSOLE, path)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == CONSOLE
    assert response.headers["access-control-allow-credentials"] == "true"
    assert response.headers["access-control-max-age"] == "600"
    assert response.headers["access-control-allow-methods"] == "GET, POST"
    assert {"authorization", "content-type", "x-creditdesk-csrf"} <= {
        name.lower() for name in response.headers["access-control-allow-headers"].split(", ")
    }
    assert "origin" in response.headers["vary"].lower()


@pytest.mark.parametrize("origin", FOREIGN)
def test_any_other_origin_is_told_nothing(house: House, origin: str) -> None:
    assert cors_of(preflight(house, origin)) == {}
    browser = house.signed_in("olga")
    response = house.run(browser.client.get("/auth/session", headers={"origin": origin}))
    assert cors_of(response) == {}
    assert "olga" not in response.text
    bearer = {"authorization": f"Bearer {house.issuer.issue_access_token('olga')}", "origin": origin}
    response = house.run(browser.client.post("/graphql", json={"query": VIEWER}, headers=bearer))
    assert (response.status_code, cors_of(response)) == (200, {})
    assert "Origin" in response.headers["vary"]


def test_an_answer_to_a_listed_origin_is_for_that_origin(house: House) -> None:
    browser = house.signed_in("olga")
    response = house.run(browser.ask(origin=CONSOLE))
    assert response.json()["data"]["viewer"]["subject"] == "olga"
    assert cors_of(response) == {
        "access-control-allow-origin": CONSOLE,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "x-request-id, retry-after",
    }
    assert "Origin" in response.headers["vary"]


def test_a_refusal_can_be_read_by_a_listed_origin_too(house: House) -> None:
    response = house.run(house.browser().ask(origin=CONSOLE))
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (401, CONSOLE)


@pytest.mark.parametrize("asked", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_not_allowed(house: House, asked: str) -> None:
    assert preflight(house, CONSOLE, **{"access-control-request-method": asked}).status_code == 400


def test_two_origins_are_none(house: House) -> None:
    browser = house.signed_in("olga")
    headers = [("origin", CONSOLE), ("origin", CONSOLE), *CSRF.items()]
    response = house.run(browser.client.post("/graphql", json={"query": VIEWER}, headers=headers))
    assert (response.status_code, cors_of(response)) == (403, {})


def test_without_a_list_no_origin_is_told_anything(fresh_database: FreshDatabase) -> None:
    with house_of(fresh_database, CREDITDESK_CORS_ORIGINS="") as house:
        for origin in (CONSOLE, PUBLIC_URL, "*"):
            response = preflight(house, origin)
            assert cors_of(response) == {}
        assert cors_of(house.run(house.browser().ask(origin=CONSOLE))) == {}
