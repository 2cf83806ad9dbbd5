"""Whoever is known is presumed to be who they were, and told nothing until it is certain that they still are."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from creditdesk.auth.principal import Principal
from creditdesk.db.messages import Reading
from creditdesk.db.rounds import Found
from creditdesk.graphql.answering import Answering
from creditdesk.graphql.batched_reads import BATCHES
from creditdesk.graphql.charging import Charging
from creditdesk.graphql.execution.executor import PlannedExecutor
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.schema import core_schema, schema
from support.databases import FreshDatabase
from support.people import change, new_subject, new_user, now_seconds, token_of
from support.world import World, world_of

DENIED: list[tuple[str, str]] = []
OWN = "{ viewer { user { displayName budget { used held } } } }"
SERIES = """{ viewer { workspace { usage(range: {preset: LAST_30_DAYS}) {
  series(interval: DAY) { points { credits } } } } } }"""
REFUSED = """{ authorize(input: {
  source: "s", id: "1", user: {email: "mo@example.com"}, product: "chat", model: "large", amount: "1"
}) { __typename } }"""
RENAME = """mutation { updateUser(input: {user: {id: "%s"}, displayName: "Eve"}) {
  ... on UserError { message } } }"""


def note_denied(principal: Principal, fields: str) -> None:
    DENIED.append((principal.subject, fields))


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    answering = Answering(
        Documents(core_schema()),
        plans=PlannedExecutor(schema, BATCHES, compile_at=1),
        charging=Charging(core_schema(), clock=lambda: 0.0),  # nothing leaks out of a bucket
        denied=note_denied,
    )
    with world_of(module_database, answering=answering) as filled:
        yield filled


def sent(world: World, token: str, **body: Any) -> tuple[int, dict[str, Any]]:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    response = world.run(world.http.post("/", headers=headers, **body))
    return response.status_code, response.json()


def asked(world: World, token: str, query: str) -> dict[str, Any]:
    status, answer = sent(world, token, json={"query": query})
    assert status == 200, answer
    return answer


def known(world: World) -> tuple[str, str]:
    """Return the id of somebody who has asked for their own balance, and their token."""
    id_ = new_user(world)
    token = token_of(world, new_subject(world, id_), issued=now_seconds() - 5)
    assert "errors" not in asked(world, token, OWN)
    return id_, token


def test_a_known_caller_is_asked_about_in_the_message_that_reads_for_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = known(world)
    rounds = world.database._rounds  # noqa: SLF001 - what `Database.read` sends by
    send, messages = rounds._send, []  # noqa: SLF001 - as above

    async def noted(readings: Sequence[Reading]) -> list[Found]:
        messages.append([statement.name for reading in readings for statement, _ in reading.calls])
        return await send(readings)

    monkeypatch.setattr(rounds, "_send", noted)
    asked(world, token, OWN)
    assert messages == [["controls_version", "balances"]]


def test_they_are_asked_about_in_the_same_message_where_that_is_a_long_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = token_of(world, new_subject(world, new_user(world)), "owner", issued=now_seconds() - 5)
    asked(world, token, SERIES)
    send, messages = world.database._sent, []  # noqa: SLF001 - what long messages are sent by, past the rounds

    async def noted(readings: Sequence[Reading]) -> list[Found]:
        messages.append([statement.name for reading in readings for statement, _ in reading.calls])
        return await send(readings)

    monkeypatch.setattr(world.database, "_sent", noted)
    asked(world, token, SERIES)
    assert messages == [["controls_version", "usage_series_of_credits"]]


@pytest.mark.parametrize(
    "body",
    [
        {"json": {"query": OWN}},
        {"json": {"query": "{ viewer { subject } }"}},
        {"json": {"query": "{ viewer { subject workspace { users(first: 3) { nodes { id } } } } }"}},
        {"json": {"query": REFUSED}},
        {"json": {"query": "{ viewer { nothing } }"}},
        {"json": {"query": "{"}},
        {"json": {"query": OWN, "variables": []}},
        {"content": b"{"},
    ],
    ids=str,
)
def test_whoever_is_nobody_by_now_is_told_nothing_else(world: World, body: dict[str, Any]) -> None:
    id_, token = known(world)
    before, _ = sent(world, token, **body)
    assert before != 401
    DENIED.clear()
    change(world, "deactivateUser", user={"id": id_})
    status, answer = sent(world, token, **body)
    assert status == 401
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAUTHENTICATED"]
    assert "data" not in answer
    assert DENIED == []


def test_whoever_is_nobody_by_now_changes_nothing(world: World) -> None:
    id_ = new_user(world)
    token = token_of(world, new_subject(world, id_), "owner", issued=now_seconds() - 5)
    other = new_user(world, displayName="Adam")
    assert asked(world, token, RENAME % id_)["data"] == {"updateUser": {}}
    change(world, "deactivateUser", user={"id": id_})
    assert sent(world, token, json={"query": RENAME % other})[0] == 401
    shown = world.ask("OWNER", "query($id: ID!) { node(id: $id) { ... on User { displayName } } }", id=other)
    assert shown == {"node": {"displayName": "Adam"}}


def test_what_was_read_for_whom_somebody_was_is_read_again_and_charged_for_once(world: World) -> None:
    id_, token = known(world)
    first = asked(world, token, OWN)["extensions"]["cost"]
    change(world, "updateUser", user={"id": id_}, displayName="Another")
    again = asked(world, token, OWN)
    assert again["data"]["viewer"]["user"]["displayName"] == "Another"
    assert first["remaining"] - again["extensions"]["cost"]["remaining"] == first["requested"]


def test_who_is_refused_a_field_after_a_change_is_noted_once(world: World) -> None:
    id_, token = known(world)
    change(world, "updateUser", user={"id": id_}, displayName="Another")
    DENIED.clear()
    assert asked(world, token, REFUSED)["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert [fields for _, fields in DENIED] == ["authorize"]
