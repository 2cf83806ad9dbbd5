"""Browsers sign in: to the identity provider and back, who they are then, and out again."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from creditdesk.auth.session_cookies import shown_session
from support.browsers import COOKIE, CSRF, PUBLIC_URL, Browser, House, asked_of, house_of, key
from support.databases import FreshDatabase
from support.issuers import URL
from support.world import canary, group_slug, shown_id, user_id, workspace_id, workspace_slug

NOBODY = {"signedIn": False, "csrf": {"header": "x-creditdesk-csrf", "value": "1"}} | {
    "login": "/auth/login",
    "logout": "/auth/logout",
}


@pytest.fixture(scope="module")
def house(module_database: FreshDatabase) -> Iterator[House]:
    with house_of(module_database) as opened:
        yield opened


def code(response_of: object) -> tuple[int, str]:
    """Return the status of a refusal, and its code."""
    status, body = getattr(response_of, "status_code"), getattr(response_of, "json")()  # noqa: B009
    return status, body["errors"][0]["extensions"]["code"]


# The way there and back.


def test_a_browser_signs_in_and_the_graph_knows_who_it_is(house: House) -> None:
    browser = house.browser()
    response = house.run(browser.sign_in("gina", "/budgets?month=6#top"))
    assert response.headers["location"] == f"{PUBLIC_URL}/budgets?month=6#top"
    answer = house.run(browser.ask()).json()
    assert "errors" not in answer
    assert answer["data"] == {
        "viewer": {"subject": "gina", "roles": ["GROUP_MANAGER"], "workspace": {"slug": workspace_slug("acme")}}
    }


def test_it_is_sent_with_pkce_a_state_a_nonce_and_the_configured_address_whatever_the_host_header_says(
    house: House,
) -> None:
    browser = house.browser()
    responses = [
        house.run(browser.client.get("/auth/login", headers={"host": host, "x-forwarded-host": host}))
        for host in ("credits.example.com", "evil.example")
    ]
    asked = [asked_of(response.headers["location"]) for response in responses]
    for response, one in zip(responses, asked, strict=True):
        assert response.headers["location"].startswith(f"{URL}/authorize?")
        assert one["redirect_uri"] == f"{PUBLIC_URL}/auth/callback"
        assert (one["response_type"], one["code_challenge_method"]) == ("code", "S256")
        assert one["scope"] == "openid profile email offline_access"
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[0][name]) >= 20
        assert asked[0][name] != asked[1][name]


def test_what_is_under_way_is_sealed_in_a_cookie_that_pages_cannot_read(house: House) -> None:
    browser = house.browser()
    address = house.run(browser.leave("/x"))
    [(name, value)] = browser.client.cookies.items()
    assert name == "__Host-creditdesk-sign-in"
    assert asked_of(address)["state"] not in value
    response = house.run(browser.client.get("/auth/login"))
    attributes = response.headers["set-cookie"].split("; ")[1:]
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Lax", "Secure", "Max-Age=600"]
    assert (response.headers["cache-control"], response.headers["referrer-policy"]) == ("no-store", "no-referrer")


def test_the_session_s_cookie_is_out_of_reach_of_pages_other_sites_and_other_hosts(house: House) -> None:
    response = house.run(house.browser().sign_in("mo"))
    session, under_way = response.headers.get_list("set-cookie")
    assert session.split("=")[0] == COOKIE
    assert session.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Lax", "Secure"]
    assert under_way == "__Host-creditdesk-sign-in=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0"


@pytest.mark.parametrize("path", ["/", "/a/b?c=d&e=%2F%2Fevil.example", "/@evil.example", "/.//evil.example"])
def test_it_returns_to_a_path_of_this_site(house: House, path: str) -> None:
    location = house.run(house.browser().sign_in("mo", path)).headers["location"]
    assert location == PUBLIC_URL + path
    assert urlsplit(location).hostname == "credits.example.com"


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        " //evil.example",
        "javascript:alert(1)",
        "evil.example",
        "@evil.example",
        "",
        "/" + "x" * 1000,
        "/ü",
    ],
)
def test_it_returns_nowhere_else(house: House, path: str) -> None:
    response = house.run(house.browser().client.get("/auth/login", params={"return_to": path}))
    assert code(response) == (400, "INVALID_INPUT")
    assert "set-cookie" not in response.headers
    twice = house.run(house.browser().client.get("/auth/login?return_to=/a&return_to=/b"))
    assert code(twice) == (400, "INVALID_INPUT")


def test_who_has_no_user_in_the_workspace_that_the_token_names_is_not_signed_in(house: House) -> None:
    house.issuer._persons["mo"].claims["workspace"] = "nowhere"  # type: ignore[index]  # noqa: SLF001
    browser = house.browser()
    try:
        response = house.run(browser.come_back(house.run(browser.consent(house.run(browser.leave()), "mo"))))
    finally:
        house.issuer._persons["mo"].claims["workspace"] = workspace_slug("acme")  # type: ignore[index]  # noqa: SLF001
    assert code(response) == (401, "UNAUTHENTICATED")
    assert browser.cookie is None


def test_a_deactivated_user_is_not_signed_in(house: House) -> None:
    house.issuer._persons["ina"] = type(house.issuer._persons["mo"])(  # noqa: SLF001
        "ina", "Ina", "ina@example.com", {"workspace": workspace_slug("acme"), "roles": ["member"]}
    )
    browser = house.browser()
    before = house.sessions()
    response = house.run(browser.come_back(house.run(browser.consent(house.run(browser.leave()), "ina"))))
    assert code(response) == (401, "UNAUTHENTICATED")
    assert (browser.cookie, house.sessions()) == (None, before)


def test_a_program_does_not_sign_in_by_a_browser(house: House) -> None:
    browser = house.browser()
    before = house.sessions()
    response = house.run(browser.come_back(house.run(browser.consent(house.run(browser.leave()), "writer"))))
    assert code(response) == (401, "UNAUTHENTICATED")
    assert (browser.cookie, house.sessions()) == (None, before)


def test_who_says_no_at_the_identity_provider_is_not_signed_in(house: House) -> None:
    browser = house.browser()
    state = asked_of(house.run(browser.leave()))["state"]
    address = f"/auth/callback?error=access_denied&error_description=<b>no</b>&state={state}&iss={URL}"
    response = house.run(browser.client.get(address))
    assert code(response) == (400, "SIGN_IN_FAILED")
    assert "<b>" not in response.text
    assert browser.cookie is None


# Who is signed in.


def test_a_page_is_told_who_is_signed_in_and_how_to_ask_and_nothing_that_is_secret(house: House) -> None:
    browser = house.browser()
    assert house.run(browser.client.get("/auth/session")).json() == NOBODY
    house.run(browser.sign_in("gina"))
    response = house.run(browser.client.get("/auth/session"))
    described = response.json()
    until = datetime.fromisoformat(described.pop("expiresAt"))
    assert abs((until - datetime.fromtimestamp(house.clock(), UTC)).total_seconds() - 12 * 3600) < 5
    assert described == NOBODY | {
        "signedIn": True,
        "subject": "gina",
        "user": shown_id("User", user_id("gina")),
        "roles": ["GROUP_MANAGER"],
        "workspace": {"slug": workspace_slug("acme"), "name": f"The acme {canary('workspace', 'acme')}"},
    }
    assert response.headers["cache-control"] == "no-store"
    assert "eyJ" not in response.text


def test_a_role_change_takes_effect_with_the_next_token_without_another_sign_in(house: House) -> None:
    browser = house.browser()
    house.run(browser.sign_in("anna"))
    claims = house.issuer._persons["anna"].claims  # noqa: SLF001
    claims["roles"] = ["admin"]  # type: ignore[index]
    assert house.run(browser.ask()).json()["data"]["viewer"]["roles"] == ["ANALYST"]
    house.clock.advance(3600 - 1)
    assert house.run(browser.ask()).json()["data"]["viewer"]["roles"] == ["ADMIN"]
    house.clock.advance(1 - 3600)  # Authlib has a clock of its own, by which others sign in
    claims["roles"] = ["analyst"]  # type: ignore[index]


def test_managed_groups_come_from_the_token_as_they_do_without_a_cookie(house: House) -> None:
    browser = house.browser()
    house.run(browser.sign_in("gina"))
    found = house.run(browser.ask("{ viewer { workspace { groups(first: 20) { nodes { slug } } } } }"))
    bearer = house.issuer.issue_access_token("gina")
    asked = {"query": "{ viewer { workspace { groups(first: 20) { nodes { slug } } } } }"}
    by_token = house.run(
        house.browser().client.post("/graphql", json=asked, headers={"authorization": f"Bearer {bearer}"})
    )
    assert found.json() == by_token.json()
    assert group_slug("research") in found.text


# A token and a cookie.


def test_a_token_goes_before_the_cookie_which_is_not_looked_at(house: House) -> None:
    browser = house.browser()
    house.run(browser.sign_in("olga"))
    bearer = {"authorization": f"Bearer {house.issuer.issue_access_token('mo')}"}
    ran: list[str] = []
    house.database.observers.append(ran.append)
    response = house.run(browser.ask(**bearer))
    without_header = house.run(browser.client.post("/graphql", json={"query": "{ __typename }"}, headers=bearer))
    house.database.observers.remove(ran.append)
    assert response.json()["data"]["viewer"]["subject"] == "mo"
    assert without_header.status_code == 200
    assert "session_by_id" not in ran


def test_a_token_that_is_not_valid_is_not_made_up_for_by_a_cookie(house: House) -> None:
    browser = house.browser()
    house.run(browser.sign_in("olga"))
    for shown in ("Bearer nonsense", "Basic b2xnYTpvbGdh", "Bearer", ""):
        assert code(house.run(browser.ask(authorization=shown))) == (401, "UNAUTHENTICATED")


def test_gateways_paths_take_no_cookie(house: House) -> None:
    browser = house.browser()
    house.run(browser.sign_in("olga"))
    for path in ("/v1/holds", "/v1/holds/authorize"):
        response = house.run(browser.client.post(path, json={}, headers=CSRF))
        assert code(response) == (401, "UNAUTHENTICATED")


# What is stored.


def test_neither_the_cookie_nor_a_token_is_stored_in_clear(house: House) -> None:
    browser = house.browser()
    house.run(browser.sign_in("zoe"))
    shown = shown_session(browser.cookie or "")
    assert shown is not None
    assert shown.key.workspace_id == workspace_id("acme")
    [row] = house.sql("SELECT to_jsonb(s)::text, secret_hash FROM browser_session AS s WHERE id = %s", shown.key.id)
    assert bytes(row[1]) == shown.secret_hash
    assert shown.secret.hex() not in row[0]
    [header, *_] = json.loads(row[0])["tokens"].split(".")
    assert header == "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoi" + header[48:]  # dir, A256GCM
    family = next(iter(house.issuer._grants._families))  # noqa: SLF001
    assert family not in row[0]


def test_a_session_s_tokens_are_of_no_use_in_another_session_s_row(house: House) -> None:
    ours, theirs = house.browser(), house.browser()
    house.run(ours.sign_in("mo"))
    house.run(theirs.sign_in("olga"))
    shown = [shown_session(browser.cookie or "") for browser in (ours, theirs)]
    assert shown[0] is not None
    assert shown[1] is not None
    house.sql(
        "UPDATE browser_session SET tokens = (SELECT tokens FROM browser_session WHERE id = %s) WHERE id = %s",
        shown[1].key.id,
        shown[0].key.id,
    )
    assert code(house.run(ours.ask())) == (401, "UNAUTHENTICATED")
    assert house.run(theirs.subject()) == "olga"


def test_keys_are_changed_by_putting_a_new_one_in_front(house: House) -> None:
    browser = house.browser()
    house.run(browser.sign_in("olga"))
    shown = shown_session(browser.cookie or "")
    assert shown is not None

    async def statuses(keys: str) -> list[int]:
        _, app = await house.opened_app(CREDITDESK_SESSION_KEYS=keys)
        other = house.browser(app=app)
        other.cookie = browser.cookie or ""
        return [(await other.ask()).status_code, (await other.sign_in("mo")).status_code]

    assert house.run(statuses(f"{key(2)},{key(1)}")) == [200, 303]
    assert house.run(browser.ask()).status_code == 200 or house.sessions()
    assert house.run(statuses(key(2))) == [401, 303]


# Out again.


async def signed_out(browser: Browser) -> str:
    response = await browser.client.post("/auth/logout", headers=CSRF)
    assert response.status_code == 200, response.text
    assert f"{COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0" in response.headers.get_list("set-cookie")
    return str(response.json()["location"])


def test_signing_out_ends_the_session_here_and_at_the_identity_provider(house: House) -> None:
    browser = house.browser()
    house.run(browser.sign_in("bill"))
    cookie, before = browser.cookie, house.sessions()
    location = house.run(signed_out(browser))
    asked = asked_of(location)
    assert location.startswith(f"{URL}/end-session?")
    assert (asked["post_logout_redirect_uri"], asked["client_id"]) == (f"{PUBLIC_URL}/", "console")
    assert house.sessions() == before - 1
    families = house.issuer._grants._families.values()  # noqa: SLF001
    assert [one for one in families if one.consent.subject == "bill"] == []  # its refresh token is taken back
    browser.cookie = cookie or ""
    assert code(house.run(browser.ask())) == (401, "UNAUTHENTICATED")
    ended = house.run(browser.issuer.get(location))
    assert (ended.status_code, ended.headers["location"].partition("?")[0]) == (303, f"{PUBLIC_URL}/")


def test_signing_out_twice_or_without_a_session_is_no_error(house: House) -> None:
    browser = house.browser()
    assert house.run(signed_out(browser)) == f"{PUBLIC_URL}/"


def test_one_s_own_session_ends_also_while_the_identity_provider_is_out(house: House) -> None:
    browser = house.browser()
    house.run(browser.sign_in("bill"))
    before = house.sessions()
    house.network.is_cut = True
    try:
        location = house.run(signed_out(browser))
    finally:
        house.network.is_cut = False
    assert location.startswith(f"{URL}/end-session?")
    assert house.sessions() == before - 1


def test_a_page_of_another_site_signs_nobody_out(house: House) -> None:
    browser = house.browser()
    house.run(browser.sign_in("bill"))
    before = house.sessions()
    for headers in ({}, CSRF | {"origin": "https://evil.example"}, CSRF | {"sec-fetch-site": "cross-site"}):
        assert code(house.run(browser.client.post("/auth/logout", headers=headers))) == (403, "CROSS_SITE")
    assert house.run(browser.client.get("/auth/logout", headers=CSRF)).status_code == 405
    assert house.sessions() == before
    assert house.run(browser.subject()) == "bill"


# While the identity provider is out.


def test_while_the_identity_provider_is_out_nobody_signs_in_and_is_told_so(fresh_database: FreshDatabase) -> None:
    with house_of(fresh_database) as house:
        browser = house.browser()
        house.network.is_cut = True
        assert code(house.run(browser.client.get("/auth/login"))) == (503, "ISSUER_UNAVAILABLE")
        house.network.is_cut = False
        address = house.run(browser.consent(house.run(browser.leave()), "mo"))
        house.network.is_cut = True
        assert code(house.run(browser.come_back(address))) == (503, "ISSUER_UNAVAILABLE")
        house.network.is_cut = False
        assert house.run(browser.come_back(address)).status_code == 303
        assert house.run(browser.subject()) == "mo"


def test_many_browsers_sign_in_at_once_and_each_is_its_own_person(house: House) -> None:
    people = ["olga", "adam", "bill", "anna", "gina", "mo", "hari"] * 3

    async def subjects() -> list[str]:
        browsers = [house.browser() for _ in people]
        await asyncio.gather(*(browser.sign_in(one) for browser, one in zip(browsers, people, strict=True)))
        return list(await asyncio.gather(*(browser.subject() for browser in browsers)))

    assert house.run(subjects()) == people
