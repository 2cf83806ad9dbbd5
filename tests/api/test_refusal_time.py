"""How long it takes to refuse a document: a search for the one that takes the most CPU time, of at most 256 KiB."""

import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, Phase, given, settings, target

from creditdesk.auth.principal import Principal, PrincipalKind
from creditdesk.credits.directory import Workspace
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.db.connections import Database
from creditdesk.graphql.answering import READ_OR_CHANGE, Answering, RequestErrors, refusal
from creditdesk.graphql.charging import Charging
from creditdesk.graphql.context import Context
from creditdesk.graphql.incoming import RefusedError, request_of_json
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.schema import core_schema
from support.hostile import MOST_CHARACTERS, any_hostile_request, doubling
from support.issuers import run
from support.world import BOUNDLESS, workspace_id

MOST_MILLISECONDS = 50
EXAMPLES = 4000
TRIES = 8
"""The machine's other work shows in CPU time as well: what takes longer than it may is tried again."""
EVENT = {"source": "a", "id": "1", "at": "2026-06-01T12:00:00Z", "user": {"email": "a"}, "product": "c", "model": "l"}


def answering() -> Answering:
    """Return what answers with the standard limits, and with a share that nothing exhausts."""
    return Answering(
        Documents(core_schema()), charging=Charging(core_schema(), capacity=BOUNDLESS, per_second=BOUNDLESS)
    )


ANSWERING = answering()
WORKSPACE = Workspace(workspace_id("acme"), "acme", "Acme", "UTC", datetime(2026, 1, 1, tzinfo=UTC))
CALLER = Principal(PrincipalKind.PERSON, "i", "s", frozenset(), frozenset(), WORKSPACE, None, frozenset())


def spent(body: bytes) -> float | None:
    """Return how many milliseconds of CPU time it takes from a body to its refusal; None where it is not refused."""

    async def refused() -> float | None:
        database = Database("")
        context = Context(
            database=database,
            desk=HoldDesk(database, lambda: datetime.now(UTC)),
            principal=CALLER,
            now=datetime.now(UTC),
        )
        begun = time.thread_time()
        try:
            await ANSWERING.admitted(request_of_json(body), context, READ_OR_CHANGE)
        except RequestErrors as errors:
            json.dumps(errors.answer.shown)
        except RefusedError as error:
            json.dumps(refusal(error).shown)
        else:
            return None
        return (time.thread_time() - begun) * 1000

    return run(refused())


def spent_on_answer(body: bytes) -> float:
    """Return how many milliseconds of CPU time it takes from a body to an answer without the database."""

    async def answered() -> float:
        database, now = Database(""), datetime.now(UTC)
        desk = HoldDesk(database, lambda: now)
        context = Context(database=database, desk=desk, principal=CALLER, now=now)
        begun = time.thread_time()
        answer = await ANSWERING.answer(request_of_json(body), context)
        assert b"FORBIDDEN" in json.dumps(answer.shown).encode()
        return (time.thread_time() - begun) * 1000

    return run(answered())


def least(body: bytes) -> float:
    """Return the shortest of some tries, if the first is too long; 0 for what is executed."""
    taken = spent(body) or 0.0
    for _ in range(TRIES):
        if taken > MOST_MILLISECONDS / 2:
            taken = min(taken, spent(body) or 0.0)
    return taken


def body_of(query: str, **variables: object) -> bytes:
    return json.dumps({"query": query, "variables": variables}).encode()


RECORD = "mutation($input: RecordUsageInput!) { recordUsage(input: $input) { __typename } }"
WORST = {
    "doubling": body_of(doubling(90)),
    "tokens": body_of("{" + "a " * 130_000 + "}"),
    "comments": body_of("#\n" * 80_000 + "{x}"),
    "escapes": body_of('{nothing(id:"' + "\\n" * 16_000 + '"){id}}'),
    "unknown-fields": body_of("{viewer{" + " ".join(f"u{number}" for number in range(990)) + "}}"),
    "same-field": body_of("{viewer{" + "subject " * 990 + "}}"),
    "lines-and-errors": body_of("{viewer{" + "\n" * 4900 + " ".join(f"u{number}" for number in range(900)) + "}}"),
    "ids": body_of("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=["a"] * 50_000),
    "empty-events": body_of(RECORD, input={"events": [{}] * 2000}),
    "bad-last-event": body_of(RECORD, input={"events": [*([EVENT] * 1999), EVENT | {"credits": "x"}]}),
    "bad-events": body_of(RECORD, input={"events": [EVENT | {"credits": "x"}] * 1900}),
    "unknown-field-beside-events": body_of(RECORD, input={"nothing": 1, "events": [EVENT] * 1999}),
    "lists": b'{"query": "{x}", "variables": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
}  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize("name", WORST)
def test_known_attacks_are_refused_in_time(name: str) -> None:
    assert len(WORST[name]) <= MOST_CHARACTERS
    assert spent(WORST[name]) is not None
    assert least(WORST[name]) <= MOST_MILLISECONDS


@pytest.mark.soak
def test_a_batch_of_somebody_who_may_not_record_is_refused_in_time() -> None:
    body = body_of(RECORD, input={"events": [EVENT] * 2000})
    assert min(spent_on_answer(body) for _ in range(TRIES)) <= MOST_MILLISECONDS


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.target],
)
@given(any_hostile_request())
def test_no_document_that_can_be_found_takes_long_to_refuse(body: bytes) -> None:
    assert len(body) <= MOST_CHARACTERS
    taken = least(body)
    target(taken)
    assert taken <= MOST_MILLISECONDS
