"""Sessions of browsers: how long they last, how their cookie changes, and how their tokens are refreshed."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from creditdesk.auth.session_cookies import shown_session
from creditdesk.credits.sessions import end_sessions_of, remove_expired_sessions
from creditdesk.db.scopes import DatabaseRole, RowScope
from support.browsers import COOKIE, CSRF, Browser, House, house_of
from support.databases import FreshDatabase
from support.world import shown_id, user_id, workspace_id

UNAUTHENTICATED = (401, "UNAUTHENTICATED")
UNAVAILABLE = (503, "ISSUER_UNAVAILABLE")
HOUR = 3600


@pytest.fixture(scope="module")
def shared_house(module_database: FreshDatabase) -> Iterator[House]:
    with house_of(module_database) as opened:
        yield opened


@pytest.fixture
def house(shared_house: House) -> House:
    """The house, in which nobody has signed in yet."""
    shared_house.reset()
    return shared_house


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["errors"][0]["extensions"]["code"]


def asked(house: House, browser: Browser) -> tuple[int, str] | str:
    """Return who the graph takes a browser for, or how it is refused."""
    response = house.run(browser.ask())
    if response.status_code != 200:
        return refusal(response)
    return str(response.json()["data"]["viewer"]["subject"])


def column(house: House, name: str) -> Any:
    """Return a column of the one session there is."""
    [(value,)] = house.sql(f"SELECT {name} FROM browser_session")  # noqa: S608 - a column's name
    return value


class TokenEndpoint:
    """Counts how often the issuer was shown each refresh token; can fail, be slow, or wait."""

    def __init__(self, house: House) -> None:
        self._app = house.network.app
        self.shown: Counter[str] = Counter()
        self.answer: tuple[int, bytes] | None = None
        self.reached = asyncio.Event()
        self.gate: asyncio.Event | None = None
        house.network.app = self

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/token":
            await self._app(scope, receive, send)
            return
        message: Any = {"type": "http.request", "body": b"", "more_body": True}
        while message["more_body"]:
            part = await receive()
            message |= {"body": message["body"] + part["body"], "more_body": part.get("more_body", False)}
        for token in httpx.QueryParams(message["body"].decode()).get_list("refresh_token"):
            self.shown[token] += 1
            self.reached.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.answer is None:
            await self._app(scope, lambda: _given(message), send)
            return
        status, body = self.answer
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": body})


async def _given(message: Any) -> Any:
    return message


# How long.


def test_a_session_that_is_not_used_is_over_at_its_moment_whether_or_not_it_was_removed(house: House) -> None:
    browser = house.signed_in("olga")
    house.clock.advance(HOUR - 1)
    assert asked(house, browser) == "olga"
    house.clock.advance(HOUR - 1)
    assert asked(house, browser) == "olga"
    house.clock.advance(HOUR)
    assert asked(house, browser) == UNAUTHENTICATED
    assert house.sessions() == 1


def test_a_session_that_is_used_all_the_time_is_over_after_its_longest(house: House) -> None:
    browser = house.signed_in("olga")
    for _ in range(23):
        house.clock.advance(HOUR / 2)
        assert asked(house, browser) == "olga"
    house.clock.advance(HOUR / 2)
    assert asked(house, browser) == UNAUTHENTICATED


def test_what_has_expired_is_removed_in_every_workspace_and_nothing_else(house: House) -> None:
    signed_in = [house.signed_in(subject) for subject in ("olga", "hari")]
    kept = house.signed_in("mo")
    house.clock.advance(HOUR - 60)
    assert asked(house, kept) == "mo"
    now = datetime.fromtimestamp(house.clock(), UTC)

    def removed(later: timedelta) -> int:
        moment = now + later
        return int(
            house.run(remove_expired_sessions(house.database, now=moment, seen_since=moment - timedelta(hours=1)))
        )

    assert removed(timedelta(seconds=59)) == 0
    assert removed(timedelta(seconds=61)) == 2
    assert [asked(house, browser) for browser in (*signed_in, kept)] == [UNAUTHENTICATED, UNAUTHENTICATED, "mo"]
    assert removed(timedelta(hours=12)) == 1


# The cookie changes.


def test_a_cookie_changes_now_and_then_and_the_former_one_serves_a_moment_longer(house: House) -> None:
    browser, slow = house.signed_in("olga"), house.browser()
    first = slow.cookie = browser.cookie or ""
    house.clock.advance(899)
    assert "set-cookie" not in house.run(browser.ask()).headers
    house.clock.advance(1)
    assert house.run(browser.ask()).headers["set-cookie"].startswith(f"{COOKIE}=")
    second = browser.cookie
    assert second != first
    assert asked(house, browser) == "olga"
    house.clock.advance(29.9)
    assert asked(house, slow) == "olga"
    assert (browser.cookie, slow.cookie) == (second, first)
    assert house.sessions() == 1


def test_requests_that_arrive_together_when_the_cookie_changes_are_all_answered_and_one_is_given_the_next(
    house: House,
) -> None:
    browser = house.signed_in("olga")
    house.clock.advance(900)

    async def together() -> list[httpx.Response]:
        shown = {"cookie": f"{COOKIE}={browser.cookie}"}
        others = [house.browser() for _ in range(20)]
        return list(await asyncio.gather(*(one.ask(**shown) for one in others)))

    responses = house.run(together())
    assert {response.status_code for response in responses} == {200}
    assert sum("set-cookie" in response.headers for response in responses) == 1


def test_a_change_that_was_lost_on_its_way_signs_nobody_out(house: House) -> None:
    browser = house.signed_in("olga")
    kept = browser.cookie or ""
    for _ in range(3):
        house.clock.advance(900)
        assert "set-cookie" in house.run(browser.ask()).headers
        browser.cookie = kept  # the answer never arrived
    assert asked(house, browser) == "olga"
    house.clock.advance(60)
    assert asked(house, browser) == "olga"
    assert browser.cookie != kept
    assert asked(house, browser) == "olga"


# Tokens are refreshed.


def test_many_requests_in_two_processes_refresh_once_and_show_no_refresh_token_twice(house: House) -> None:
    endpoint = TokenEndpoint(house)
    browser = house.signed_in("olga")
    _, other = house.run(house.opened_app())
    for _ in range(3):
        house.clock.advance(HOUR - 3)

        async def together() -> list[int]:
            shown = {"cookie": f"{COOKIE}={browser.cookie}"}
            browsers = [house.browser(app=app) for app in (house.app, other) for _ in range(10)]
            return [one.status_code for one in await asyncio.gather(*(one.ask(**shown) for one in browsers))]

        assert house.run(together()) == [200] * 20
        house.run(browser.ask())
    assert sorted(endpoint.shown.values()) == [1, 1, 1]


def test_no_transaction_is_open_while_the_identity_provider_is_asked(house: House) -> None:
    endpoint = TokenEndpoint(house)
    browser = house.signed_in("olga")
    house.clock.advance(HOUR - 3)

    async def waiting() -> tuple[list[tuple[Any, ...]], httpx.Response]:
        endpoint.gate = asyncio.Event()
        asking = asyncio.create_task(browser.ask())
        await endpoint.reached.wait()
        open_ones = house.sql(
            "SELECT state, query FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'creditdesk' AND state <> 'idle'"
        )
        endpoint.gate.set()
        return open_ones, await asking

    open_ones, response = house.run(waiting())
    assert open_ones == []
    assert response.status_code == 200


@pytest.mark.parametrize(
    "answer", [None, (500, b"oops"), (503, b"<html>"), (429, b"slow down"), (200, b"[]"), (200, b"{}")]
)
def test_while_the_identity_provider_is_out_the_session_waits(house: House, answer: tuple[int, bytes] | None) -> None:
    endpoint = TokenEndpoint(house)
    browser = house.signed_in("olga")
    house.clock.advance(HOUR - 3)
    house.network.is_cut, endpoint.answer = answer is None, answer
    assert asked(house, browser) == UNAVAILABLE
    assert house.run(browser.client.get("/auth/session")).status_code == 503
    assert (house.sessions(), column(house, "refresh_id")) == (1, None)
    house.network.is_cut, endpoint.answer = False, None
    assert asked(house, browser) == "olga"


def test_a_client_secret_that_is_wrong_by_now_ends_no_session(house: House) -> None:
    endpoint = TokenEndpoint(house)
    browser = house.signed_in("olga")
    house.clock.advance(HOUR - 3)
    endpoint.answer = (401, b'{"error": "invalid_client"}')
    assert asked(house, browser) == UNAVAILABLE
    assert house.sessions() == 1


def test_a_refresh_token_that_is_no_longer_taken_ends_the_session(house: House) -> None:
    endpoint = TokenEndpoint(house)
    browser = house.signed_in("olga")
    house.clock.advance(HOUR - 3)
    endpoint.answer = (400, b'{"error": "invalid_grant", "error_description": "it was revoked"}')
    assert asked(house, browser) == UNAUTHENTICATED
    assert house.sessions() == 0
    endpoint.answer = None
    assert asked(house, browser) == UNAUTHENTICATED


def test_without_a_refresh_token_the_session_ends_with_its_access_token(fresh_database: FreshDatabase) -> None:
    with house_of(fresh_database, CREDITDESK_SIGN_IN_SCOPES="openid") as house:
        browser = house.signed_in("olga")
        house.clock.advance(HOUR - 6)
        assert asked(house, browser) == "olga"
        house.clock.advance(1)
        assert asked(house, browser) == UNAUTHENTICATED
        assert house.sessions() == 0


def test_an_attempt_that_died_is_taken_over_when_its_time_is_up(house: House) -> None:
    endpoint = TokenEndpoint(house)
    browser = house.signed_in("olga")
    house.clock.advance(HOUR - 3)
    until = datetime.fromtimestamp(house.clock(), UTC) + timedelta(seconds=30)
    house.sql("UPDATE browser_session SET refresh_id = %s, refresh_until = %s", uuid4(), until)

    async def waits_and_takes_over() -> httpx.Response:
        asking = asyncio.create_task(browser.ask())
        await asyncio.sleep(0.3)
        assert not asking.done()
        assert endpoint.shown == {}
        house.clock.advance(30)
        return await asking

    assert house.run(waits_and_takes_over()).status_code == 200
    assert list(endpoint.shown.values()) == [1]


def test_an_attempt_of_another_process_that_brought_nothing_is_taken_over(house: House) -> None:
    endpoint = TokenEndpoint(house)
    browser = house.signed_in("olga")
    house.clock.advance(HOUR - 3)
    until = datetime.fromtimestamp(house.clock(), UTC) + timedelta(seconds=30)
    house.sql("UPDATE browser_session SET refresh_id = %s, refresh_until = %s", uuid4(), until)

    async def waits_and_takes_over() -> httpx.Response:
        asking = asyncio.create_task(browser.ask())
        await asyncio.sleep(0.15)
        assert endpoint.shown == {}
        house.sql("UPDATE browser_session SET refresh_id = NULL, refresh_until = NULL")
        return await asking

    assert house.run(waits_and_takes_over()).status_code == 200
    assert list(endpoint.shown.values()) == [1]


def test_a_session_that_was_ended_while_its_tokens_were_refreshed_stays_ended(house: House) -> None:
    endpoint = TokenEndpoint(house)
    browser = house.signed_in("olga")
    house.clock.advance(HOUR - 3)

    async def ended_meanwhile() -> httpx.Response:
        endpoint.gate = asyncio.Event()
        asking = asyncio.create_task(browser.ask())
        await endpoint.reached.wait()
        house.sql("DELETE FROM browser_session")
        endpoint.gate.set()
        return await asking

    assert refusal(house.run(ended_meanwhile())) == UNAUTHENTICATED
    assert house.sessions() == 0


@pytest.mark.parametrize("change", [{"workspace": "himal"}, {"roles": ["service"], "scope": "usage:write"}])
def test_a_new_token_that_is_not_the_session_s_person_lets_nobody_in(house: House, change: dict[str, object]) -> None:
    browser = house.signed_in("olga")
    house.issuer._persons["olga"].claims.update(change)  # type: ignore[attr-defined]  # noqa: SLF001
    house.clock.advance(HOUR - 3)
    assert asked(house, browser) == UNAUTHENTICATED


# Cut off.


def test_a_user_who_is_deactivated_is_out_at_once_and_stays_out(house: House) -> None:
    browser = house.signed_in("mo")
    house.sql("UPDATE app_user SET active = false WHERE id = %s", user_id("mo"))
    assert asked(house, browser) == UNAUTHENTICATED
    house.sql(
        "UPDATE app_user SET active = true, sessions_ended_at = %s", datetime.fromtimestamp(house.clock() + 1, UTC)
    )
    assert asked(house, browser) == UNAUTHENTICATED


def test_a_session_that_began_before_its_user_s_sessions_were_ended_is_over_also_with_a_newer_token(
    house: House,
) -> None:
    browser = house.signed_in("mo")
    moment = datetime.fromtimestamp(house.clock() + 60, UTC)
    house.clock.advance(120)
    house.sql("UPDATE app_user SET sessions_ended_at = %s WHERE id = %s", moment, user_id("mo"))
    assert asked(house, browser) == UNAUTHENTICATED
    house.clock.advance(HOUR - 180)
    assert asked(house, browser) == UNAUTHENTICATED  # its access token is refreshed by now, and that changes nothing


@pytest.mark.parametrize("mutation", ["endSessions", "deactivateUser"])
def test_an_administrator_ends_a_user_s_sessions_at_once_and_nothing_of_them_stays(house: House, mutation: str) -> None:
    admin, browsers = house.signed_in("adam"), [house.signed_in("mo") for _ in range(2)]
    mo, adam = (shown_id("User", user_id(name)) for name in ("mo", "adam"))
    change = f'mutation {{ {mutation}(input: {{user: {{id: "{mo}"}}}}) {{ __typename }} }}'
    denied = house.run(browsers[0].ask(change.replace(mo, adam)))
    assert denied.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert house.sessions() == 3
    assert "errors" not in house.run(admin.ask(change)).json()
    assert [asked(house, browser) for browser in browsers] == [UNAUTHENTICATED] * 2
    assert house.sql("SELECT subject FROM browser_session") == [("adam",)]
    assert asked(house, admin) == "adam"


def test_all_sessions_of_a_user_can_be_ended_and_only_theirs(house: House) -> None:
    mine = [house.signed_in("mo") for _ in range(3)]
    theirs = house.signed_in("olga")

    async def end() -> None:
        scope = RowScope(DatabaseRole.ADMINISTRATOR, workspace_id("acme"))
        async with house.database.transaction(scope) as conn:
            await end_sessions_of(conn, workspace_id=workspace_id("acme"), user_id=user_id("mo"))

    house.run(end())
    assert [asked(house, browser) for browser in mine] == [UNAUTHENTICATED] * 3
    assert asked(house, theirs) == "olga"


# Connections that stay open.


def test_a_connection_that_stays_open_is_asked_for_again_by_the_session_not_by_the_cookie_of_its_handshake(
    house: House,
) -> None:
    browser = house.signed_in("olga")
    callers = house.callers
    headers = [(b"cookie", f"{COOKIE}={browser.cookie}".encode()), (b"origin", b"https://credits.example.com")]
    caller = house.run(callers.caller_of({"type": "websocket", "headers": headers}))
    assert (caller.principal.subject, caller.headers) == ("olga", ())
    for _ in range(2):  # the cookie changes twice
        house.clock.advance(1000)
        house.run(browser.ask())
        house.run(browser.ask())
    house.clock.advance(1598)  # and the access token expires
    again = house.run(callers.again(caller))
    assert again.principal.subject == "olga"
    assert again.expires_at is not None
    assert caller.expires_at is not None
    assert again.expires_at > caller.expires_at
    shown = shown_session(browser.cookie or "")
    assert shown is not None
    assert caller.session == shown.key
    assert house.run(browser.client.post("/auth/logout", headers=CSRF)).status_code == 200
    with pytest.raises(Exception, match="Sign in again"):
        house.run(callers.again(caller))


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null"])
def test_a_handshake_with_a_cookie_needs_a_known_origin(house: House, origin: str | None) -> None:
    browser = house.signed_in("olga")
    headers = [(b"cookie", f"{COOKIE}={browser.cookie}".encode()), (b"x-creditdesk-csrf", b"1")]
    headers += [(b"origin", origin.encode())] if origin is not None else []
    with pytest.raises(Exception, match="Another site's page may have sent this"):
        house.run(house.callers.caller_of({"type": "websocket", "headers": headers}))
