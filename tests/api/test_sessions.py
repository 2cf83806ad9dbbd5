"""Access ends at once: deactivated users, and sessions that are cut."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from creditdesk.db.connections import Database
from creditdesk.graphql.ids import decode_id
from support.people import change, new_subject, new_user, now_seconds, token_of, trail
from support.world import World, another_endpoint

WHO = "{ viewer { subject user { id } } }"
PLACE = """
mutation($input: PlaceHoldInput!) { placeHold(input: $input) { __typename ... on HoldRefused { code } } }"""
USED = """
query($by: UserBy!, $range: RangeInput!) {
  viewer { workspace { user(by: $by) { usage(range: $range) { credits } } } } }"""
RECORD = """
mutation($input: RecordUsageInput!) { recordUsage(input: $input) { ... on RecordUsageSuccess { accepted } } }"""


def status(world: World, token: str, http: httpx.AsyncClient | None = None) -> int:
    headers = {"authorization": f"Bearer {token}"}
    return int(world.run((http or world.http).post("/", json={"query": WHO}, headers=headers)).status_code)


@pytest.fixture(scope="module")
def second(world: World) -> Iterator[httpx.AsyncClient]:
    """Another server on the same database, with a pool and a memory of tokens of its own."""
    database = Database(world.fresh.server_dsn)
    world.run(database.open())
    http = httpx.AsyncClient(
        transport=httpx.ASGITransport(another_endpoint(database, world.site)), base_url="http://second"
    )
    yield http
    world.run(http.aclose())
    world.run(database.close())


def test_ended_sessions_are_refused_at_the_next_request_in_every_process(
    world: World, second: httpx.AsyncClient
) -> None:
    id_ = new_user(world)
    subject = new_subject(world, id_)
    old = token_of(world, subject, issued=now_seconds() - 5)
    assert (status(world, old), status(world, old, second)) == (200, 200)
    assert change(world, "endSessions", user={"id": id_})["userId"] == id_
    assert (status(world, old), status(world, old, second)) == (401, 401)
    fresh = token_of(world, subject, issued=now_seconds() + 2)
    assert (status(world, fresh), status(world, fresh, second)) == (200, 200)
    assert trail(world, decode_id(id_)[1]) == [
        ("USER_CREATED", "adam"), ("IDENTITY_LINKED", "adam"), ("SESSIONS_ENDED", "adam")
    ]  # fmt: skip


def test_nobody_else_s_sessions_are_ended(world: World) -> None:
    one, other = new_user(world), new_user(world)
    kept = token_of(world, new_subject(world, other), issued=now_seconds() - 5)
    change(world, "endSessions", user={"id": one})
    assert status(world, kept) == 200


@pytest.mark.parametrize("issued", [None, True, "2026-01-01", [1], 1e300])
def test_a_token_that_does_not_say_when_it_was_issued_is_older_than_any_cut(world: World, issued: Any) -> None:
    id_ = new_user(world)
    token = token_of(world, new_subject(world, id_), issued=None, iat=issued)
    before = status(world, token)
    assert before in ({200} if issued is None else {200, 401})  # what is no number is no genuine token at all
    change(world, "endSessions", user={"id": id_})
    assert status(world, token) == 401


def test_a_cut_costs_one_look_up_and_after_that_no_statement(world: World) -> None:
    id_ = new_user(world)
    token = token_of(world, new_subject(world, id_), issued=now_seconds() + 2)

    def ran() -> list[str]:
        statements: list[str] = []
        world.database.observers.append(statements.append)
        assert status(world, token) == 200
        world.database.observers.remove(statements.append)
        return statements

    for cut in (False, True):
        if cut:
            change(world, "endSessions", user={"id": id_})
        assert ran().count("user_of_identity") == 1
        # From then on it is enough that nothing has changed.
        assert ran() == ["controls_version"]


def test_a_deactivated_user_loses_access_at_once_and_nothing_is_held_for_them(
    world: World, second: httpx.AsyncClient
) -> None:
    id_ = new_user(world)
    subject = new_subject(world, id_)
    token = token_of(world, subject, issued=now_seconds() - 5)
    asked = {"source": "gate", "user": {"id": id_}, "product": "chat", "model": "small", "amount": "1"}

    def placed(key: str) -> Any:
        return world.ask("WRITER", PLACE, input=asked | {"id": key})["placeHold"]

    assert placed(f"{id_}-1") == {"__typename": "Hold"}
    assert (status(world, token), status(world, token, second)) == (200, 200)
    assert change(world, "deactivateUser", user={"id": id_})["user"]["active"] is False
    assert (status(world, token), status(world, token, second)) == (401, 401)
    assert placed(f"{id_}-2") == {"__typename": "HoldRefused", "code": "INACTIVE_USER"}
    # Whoever comes back signs in anew: what was issued before stays refused.
    assert change(world, "reactivateUser", user={"id": id_})["user"]["active"] is True
    assert status(world, token) == 401
    assert status(world, token_of(world, subject, issued=now_seconds() + 2)) == 200
    assert placed(f"{id_}-3") == {"__typename": "Hold"}


def test_what_a_deactivated_user_used_stays_and_what_comes_late_is_charged_as_before(world: World) -> None:
    id_ = new_user(world, homeGroup={"slug": _slug(world, "sales")})
    today = datetime.now(UTC).date()
    days = {"days": {"first": str(today - timedelta(days=3)), "last": str(today + timedelta(days=1))}}

    def record(event: str) -> None:
        one = {
            "source": "gate", "id": f"{id_}-{event}", "at": datetime.now(UTC).isoformat(), "user": {"id": id_},
            "product": "chat", "model": "small", "credits": "1.5",
        }  # fmt: skip
        assert world.ask("WRITER", RECORD, input={"events": [one]})["recordUsage"] == {"accepted": 1}

    def used() -> Any:
        return world.ask("ADMIN", USED, by={"id": id_}, range=days)["viewer"]["workspace"]["user"]["usage"]["credits"]

    record("before")
    change(world, "deactivateUser", user={"id": id_})
    assert used() == "1.5"
    record("late")
    assert used() == "3"
    groups = world.sql("SELECT DISTINCT group_id FROM usage_event WHERE user_id = %s", decode_id(id_)[1])
    assert groups == world.sql("SELECT home_group_id FROM app_user WHERE id = %s", decode_id(id_)[1])


def test_nobody_deactivates_themselves(world: World) -> None:
    answer = change(world, "deactivateUser", "OWNER", user={"id": _own(world, "OWNER")})
    assert (answer["__typename"], answer["code"]) == ("InvalidInput", "INVALID_INPUT")


def test_a_role_takes_effect_with_the_next_token(world: World) -> None:
    id_ = new_user(world)
    subject, roles = new_subject(world, id_), "{ viewer { roles } }"
    for role in ("member", "analyst", "member"):
        headers = {"authorization": f"Bearer {token_of(world, subject, role, issued=now_seconds())}"}
        answer = world.run(world.http.post("/", json={"query": roles}, headers=headers)).json()
        assert answer["data"]["viewer"]["roles"] == [role.upper()]


def _slug(world: World, group: str) -> str:
    [(slug,)] = world.sql("SELECT slug FROM user_group WHERE slug LIKE %s", f"{group}-%")
    return str(slug)


def _own(world: World, caller: str) -> str:
    return str(world.ask(caller, WHO)["viewer"]["user"]["id"])
