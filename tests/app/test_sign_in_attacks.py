"""Attacks on browsers' sign-in, each carried out."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import OctKey, RSAKey

from creditdesk.app.demo.grants import base64url
from creditdesk.auth.session_cookies import new_secret, shown_session
from support.browsers import CONSOLE, COOKIE, CSRF, PUBLIC_URL, VIEWER, Browser, House, asked_of, house_of
from support.databases import FreshDatabase
from support.issuers import URL

FOREIGN = ("https://evil.example", "https://credits.example.com.evil.example", "http://credits.example.com", "null", "")


@pytest.fixture(scope="module")
def house(module_database: FreshDatabase) -> Iterator[House]:
    with house_of(module_database) as opened:
        yield opened


@pytest.fixture
def own_house(house: House) -> Iterator[House]:
    """The house, in which nobody has signed in yet; its clock is put right afterwards."""
    house.reset()
    yield house
    house.reset()


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Return the status of a refusal, and its code."""
    return response.status_code, response.json()["errors"][0]["extensions"]["code"]


def came_back(house: House, browser: Browser, address: str) -> tuple[int, str]:
    """Return how a way back is refused; nothing comes of it."""
    before = house.sessions()
    response = house.run(browser.come_back(address))
    assert browser.cookie is None
    assert COOKIE not in {header.split("=")[0] for header in response.headers.get_list("set-cookie")}
    assert house.sessions() == before
    return refusal(response)


FAILED = (400, "SIGN_IN_FAILED")


# The authorization code and the state.


def test_an_authorization_code_that_is_used_again_is_worth_nothing(own_house: House) -> None:
    house = own_house
    browser = house.browser()
    address = house.run(browser.consent(house.run(browser.leave()), "olga"))
    under_way = dict(browser.client.cookies)
    house.run(browser.come_back(address))
    thief = house.browser()
    thief.client.cookies.update(under_way)  # even with all that the browser had
    assert came_back(house, thief, address) == FAILED
    assert house.sessions() == 1


def test_a_stolen_authorization_code_is_worth_nothing_in_another_browser(house: House) -> None:
    victim, thief = house.browser(), house.browser()
    stolen = asked_of(house.run(victim.consent(house.run(victim.leave()), "olga")))
    assert came_back(house, thief, f"/auth/callback?code={stolen['code']}&state={stolen['state']}&iss={URL}") == FAILED
    own = asked_of(house.run(thief.leave()))
    # In a sign-in of the thief's own it meets another PKCE verifier.
    assert came_back(house, thief, f"/auth/callback?code={stolen['code']}&state={own['state']}&iss={URL}") == FAILED


@pytest.mark.parametrize("state", ["", "x", "A" * 30, None])
def test_a_forged_state_ends_nowhere(house: House, state: str | None) -> None:
    browser = house.browser()
    answer = asked_of(house.run(browser.consent(house.run(browser.leave()), "olga")))
    shown = f"&state={state}" if state is not None else ""
    assert came_back(house, browser, f"/auth/callback?code={answer['code']}&iss={URL}{shown}") == FAILED


def test_nobody_is_signed_in_as_somebody_else_by_a_link_to_the_way_back(house: House) -> None:
    attacker, victim = house.browser(), house.browser()
    link = house.run(attacker.consent(house.run(attacker.leave()), "mo"))
    assert came_back(house, victim, link) == FAILED
    house.run(victim.leave())  # nor while a sign-in of their own is under way
    assert came_back(house, victim, link) == FAILED


def test_a_sign_in_that_took_too_long_has_to_start_again(own_house: House) -> None:
    browser = own_house.browser()
    address = own_house.run(browser.consent(own_house.run(browser.leave()), "olga"))
    own_house.clock.advance(600)
    assert came_back(own_house, browser, address) == FAILED


@pytest.mark.parametrize("issuer", [None, "https://id.evil.example", URL + "/"])
def test_an_answer_of_another_issuer_is_none(house: House, issuer: str | None) -> None:
    browser = house.browser()
    answer = asked_of(house.run(browser.consent(house.run(browser.leave()), "olga")))
    said = f"&iss={issuer}" if issuer is not None else ""
    assert came_back(house, browser, f"/auth/callback?code={answer['code']}&state={answer['state']}{said}") == FAILED


def test_what_is_under_way_cannot_be_made_up(house: House) -> None:
    browser = house.browser()
    address = house.run(browser.consent(house.run(browser.leave()), "olga"))
    for forged in ("x", "a.b.c.d.e", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..x.y.z", "eyJhbGciOiJub25lIn0.e30."):
        browser.client.cookies.set("__Host-creditdesk-sign-in", forged, domain="credits.example.com", path="/")
        assert came_back(house, browser, address) == FAILED


# The id token.


class Forging:
    """Leads to the issuer, and replaces the id token in its answers."""

    def __init__(self, house: House, forged: Any) -> None:
        self._house = house
        self._forged = forged
        self._app = house.network.app

    def __enter__(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] != "/token":
                await self._app(scope, receive, send)
                return
            sent: list[Any] = []
            await self._app(scope, receive, lambda message: _noted(sent, message))
            answer = httpx.Response(200, content=sent[1]["body"]).json()
            response = httpx.Response(200, json=self._forged(answer))
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(response.content)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": response.content})

        self._house.network.app = app

    def __exit__(self, *_: object) -> None:
        self._house.network.app = self._app


async def _noted(sent: list[Any], message: Any) -> None:
    sent.append(message)


def _claims(house: House, **changes: object) -> dict[str, object]:
    now = int(house.clock())
    claims = {"iss": URL, "sub": "olga", "aud": "console", "iat": now, "exp": now + 300, "nonce": "?"} | changes
    return {name: value for name, value in claims.items() if value is not None}


WRONG_ID_TOKENS: dict[str, dict[str, object]] = {
    "another client's": {"aud": "another"},
    "another client's beside ours, and for that one": {"aud": ["console", "another"], "azp": "another"},
    "another issuer's": {"iss": "https://id.evil.example"},
    "without an issuer": {"iss": None},
    "without an audience": {"aud": None},
    "of another sign-in": {"nonce": "another"},
    "without a nonce": {"nonce": None},
    "expired": {"exp": 1},
    "without an expiry": {"exp": None},
    "another access token's": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
}


def signed_in_with(house: House, make: Any) -> tuple[int, str] | None:
    """Sign in, with what `make(answer, nonce)` makes of the token endpoint's answer; return how it is refused."""
    browser = house.browser()
    leaving = house.run(browser.leave())
    address = house.run(browser.consent(leaving, "olga"))
    nonce = asked_of(leaving)["nonce"]
    with Forging(house, lambda answer: make(answer, nonce)):
        response = house.run(browser.come_back(address))
    return None if response.status_code == 303 else refusal(response)


@pytest.mark.parametrize("wrong", WRONG_ID_TOKENS)
def test_an_id_token_that_is_not_for_this_sign_in_signs_nobody_in(house: House, wrong: str) -> None:
    changes = WRONG_ID_TOKENS[wrong]

    def made(answer: dict[str, Any], nonce: str) -> dict[str, Any]:
        claims = _claims(house, **{"nonce": nonce, **changes})
        return answer | {"id_token": house.issuer.sign(claims, typ="JWT")}

    assert signed_in_with(house, made) == FAILED
    right = signed_in_with(
        house, lambda answer, nonce: answer | {"id_token": house.issuer.sign(_claims(house, nonce=nonce), typ="JWT")}
    )
    assert right is None


@pytest.mark.parametrize("forged", ["none", "HS256 with the public key", "a stranger's key", "missing", "no token"])
def test_an_id_token_that_the_issuer_did_not_sign_signs_nobody_in(house: House, forged: str) -> None:
    def made(answer: dict[str, Any], nonce: str) -> dict[str, Any]:
        if forged == "missing":
            return {name: value for name, value in answer.items() if name != "id_token"}
        return answer | {"id_token": forged_token(house, forged, _claims(house, nonce=nonce))}

    assert signed_in_with(house, made) == FAILED


def forged_token(house: House, forged: str, claims: dict[str, object]) -> str:
    """Return an id token with the right claims that the issuer did not sign."""
    published = house.issuer._keys.published()["keys"][0]  # noqa: SLF001 - what anybody can fetch
    payload = json.dumps(claims).encode()
    match forged:
        case "none":
            return ".".join(base64url(part) for part in (b'{"alg":"none","typ":"JWT"}', payload, b""))
        case "HS256 with the public key":
            key = OctKey.import_key(RSAKey.import_key(published).as_pem(private=False))
            return jws.serialize_compact({"alg": "HS256", "kid": published["kid"]}, payload, key)
        case "a stranger's key":
            stranger = RSAKey.generate_key(2048)
            return jws.serialize_compact({"alg": "RS256", "kid": published["kid"]}, payload, stranger)
        case _:
            return "no token"


# Session fixation, and the cookie.


def test_a_session_that_somebody_planted_is_not_the_one_that_is_signed_in(house: House) -> None:
    attacker = house.signed_in("mo")
    planted = attacker.cookie or ""
    made_up = new_secret(shown_session(planted).key).text()  # type: ignore[union-attr]
    for before in (planted, made_up, "x" * 86, "not-a-session"):
        victim = house.browser()
        victim.cookie = before
        house.run(victim.sign_in("olga"))
        assert victim.cookie != before
        assert house.run(victim.subject()) == "olga"
        stranger = house.browser()
        stranger.cookie = before
        assert refusal(house.run(stranger.ask())) == (401, "UNAUTHENTICATED")


def test_each_sign_in_has_an_id_of_its_own_and_ends_the_session_before_it(house: House) -> None:
    browser = house.signed_in("olga")
    first, before = browser.cookie or "", house.sessions()
    house.run(browser.sign_in("olga"))
    assert browser.cookie != first
    assert house.sessions() == before
    browser.cookie = first
    assert refusal(house.run(browser.ask())) == (401, "UNAUTHENTICATED")


def test_a_session_s_name_without_its_secret_is_worth_nothing_and_harms_nobody(house: House) -> None:
    browser = house.signed_in("olga")
    shown = shown_session(browser.cookie or "")
    assert shown is not None
    guessing = house.browser()
    for guess in (new_secret(shown.key).text(), shown.text()[:-4] + "AAAA", shown.text()[:-1], shown.text() + "A"):
        guessing.cookie = guess
        assert refusal(house.run(guessing.ask())) == (401, "UNAUTHENTICATED")
        assert house.run(guessing.client.post("/auth/logout", headers=CSRF)).status_code == 200
    assert house.run(browser.subject()) == "olga"


def test_two_cookies_of_one_name_are_none(house: House) -> None:
    browser, other = house.signed_in("olga"), house.signed_in("mo")
    both = f"{COOKIE}={browser.cookie}; {COOKIE}={other.cookie}"
    response = house.run(
        house.browser().client.post("/graphql", json={"query": VIEWER}, headers=CSRF | {"cookie": both})
    )
    assert refusal(response) == (401, "UNAUTHENTICATED")


def test_a_copied_cookie_is_found_out_when_the_browser_s_has_changed(own_house: House) -> None:
    house = own_house
    browser, thief = house.signed_in("olga"), house.browser()
    thief.cookie = browser.cookie or ""
    house.clock.advance(900)
    house.run(browser.ask())  # is given the next one,
    house.run(browser.ask())  # and shows it
    house.clock.advance(30)
    assert refusal(house.run(thief.ask())) == (401, "UNAUTHENTICATED")
    # Which of the two is the thief cannot be told: the session has ended for both.
    assert refusal(house.run(browser.ask())) == (401, "UNAUTHENTICATED")
    assert house.sessions() == 0


# The refresh token.


def test_a_refresh_token_that_was_stolen_and_used_ends_the_session_and_the_thief_s_tokens_too(
    own_house: House,
) -> None:
    house = own_house
    browser = house.signed_in("olga")
    family = next(iter(house.issuer._grants._families.values()))  # noqa: SLF001 - what a thief would have stolen
    form = {"grant_type": "refresh_token", "refresh_token": family.current}
    form |= {"client_id": "console", "client_secret": "secret-of-the-console"}
    stolen = house.run(browser.issuer.post(f"{URL}/token", data=form)).json()["refresh_token"]
    assert house.run(browser.subject()) == "olga"  # until the access token expires
    house.clock.advance(3598)
    assert refusal(house.run(browser.ask())) == (401, "UNAUTHENTICATED")
    assert house.sessions() == 0
    again = house.run(browser.issuer.post(f"{URL}/token", data=form | {"refresh_token": stolen}))
    assert again.json()["error"] == "invalid_grant"


# Cross-site requests.


def changes_nothing(house: House, send: Any) -> tuple[int, str]:
    """Send a mutation, which must be refused, and check that no resolver and no statement of it ran."""
    ran: list[str] = []
    house.database.observers.append(ran.append)
    try:
        response: httpx.Response = house.run(send)
    finally:
        house.database.observers.remove(ran.append)
    assert ran == []
    assert "access-control-allow-origin" not in response.headers
    return refusal(response)


CROSS_SITE = (403, "CROSS_SITE")
DOCUMENT = "mutation { setWorkspaceSettings(input: {}) { __typename } }"
FORM_HEADERS = [{}, {"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}]


@pytest.mark.parametrize("headers", FORM_HEADERS, ids=str)
def test_a_form_of_another_site_changes_nothing(house: House, headers: dict[str, str]) -> None:
    browser = house.signed_in("olga")
    fields = {"query": DOCUMENT}
    for encoded in (
        browser.client.post("/graphql", data=fields, headers=headers),
        browser.client.post("/graphql", data=fields, files={"map": b"{}"}, headers=headers),
    ):
        assert changes_nothing(house, encoded) == CROSS_SITE


@pytest.mark.parametrize("headers", FORM_HEADERS, ids=str)
def test_json_sent_as_plain_text_by_another_site_changes_nothing(house: House, headers: dict[str, str]) -> None:
    browser = house.signed_in("olga")
    body = json.dumps({"query": DOCUMENT})
    for content_type in ("text/plain", "text/plain; application/json", "application/json", ""):
        sent = browser.client.post("/graphql", content=body, headers={"content-type": content_type, **headers})
        assert changes_nothing(house, sent) == CROSS_SITE


def test_with_the_header_only_json_is_taken(house: House) -> None:
    browser = house.signed_in("olga")
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        headers = CSRF | {"content-type": content_type}
        response = house.run(browser.client.post("/graphql", content='{"query": "{ __typename }"}', headers=headers))
        assert refusal(response) == (415, "MALFORMED_REQUEST")


def test_a_link_or_an_image_of_another_site_asks_nothing(house: House) -> None:
    browser = house.signed_in("olga")
    for headers in ({}, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}):
        response = house.run(browser.client.get("/graphql", params={"query": VIEWER}, headers=headers))
        assert response.status_code in (400, 403, 405)
        assert "olga" not in response.text


@pytest.mark.parametrize("origin", FOREIGN)
def test_the_header_does_not_help_a_foreign_origin(house: House, origin: str) -> None:
    browser = house.signed_in("olga")
    sent = browser.client.post("/graphql", json={"query": DOCUMENT}, headers=CSRF | {"origin": origin})
    assert changes_nothing(house, sent) == CROSS_SITE


@pytest.mark.parametrize("fetch_site", ["cross-site", "same-site", "anything"])
def test_the_header_does_not_help_where_the_browser_says_that_the_page_is_another_site_s(
    house: House, fetch_site: str
) -> None:
    browser = house.signed_in("olga")
    sent = browser.client.post("/graphql", json={"query": DOCUMENT}, headers=CSRF | {"sec-fetch-site": fetch_site})
    assert changes_nothing(house, sent) == CROSS_SITE


@pytest.mark.parametrize("value", ["", "0", "true", "1, 1"])
def test_the_header_has_one_value(house: House, value: str) -> None:
    browser = house.signed_in("olga")
    sent = browser.client.post("/graphql", json={"query": DOCUMENT}, headers={"x-creditdesk-csrf": value})
    assert changes_nothing(house, sent) == CROSS_SITE


def test_pages_of_our_own_and_of_listed_origins_ask_with_the_header(house: House) -> None:
    browser = house.signed_in("olga")
    for headers in (
        {},
        {"origin": PUBLIC_URL, "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"origin": CONSOLE, "sec-fetch-site": "same-site"},
    ):
        response = house.run(browser.ask(**headers))
        assert response.json()["data"]["viewer"]["subject"] == "olga"


def test_who_shows_a_token_needs_neither_the_header_nor_an_origin_of_ours(house: House) -> None:
    bearer = {"authorization": f"Bearer {house.issuer.issue_access_token('olga')}"}
    for headers in ({}, {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}):
        response = house.run(house.browser().client.post("/graphql", json={"query": VIEWER}, headers=bearer | headers))
        assert response.json()["data"]["viewer"]["subject"] == "olga"
