"""The gateways' endpoint: what `POST /v1/holds` and what is below it answer, to whatever comes in."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.types import Message

from creditdesk.app.demo.issuer import DemoIssuer
from creditdesk.app.holds import HoldsEndpoint
from creditdesk.app.logs import JsonFormatter
from creditdesk.app.main import create_app
from creditdesk.app.metrics import Metrics
from creditdesk.app.middleware import Requests
from creditdesk.app.straight import StraightCall, StraightWays
from creditdesk.auth.authenticate import Authenticator
from creditdesk.credits.controls import changing_controls
from creditdesk.credits.errors import ErrorCode
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.credits.hold_rules import hold_id
from creditdesk.db.connections import Database
from creditdesk.db.embedded import EmbeddedServer
from creditdesk.db.scopes import DatabaseRole, RowScope
from creditdesk.graphql.ids import decode_id, decode_id_of
from support.databases import cloned_database
from support.gateways import Answer, Gateway, request_of
from support.issuers import AUDIENCE, Site
from support.people import change, new_subject, new_user, now_seconds, token_of
from support.processes import RunningProcess, running, served, wait_until
from support.wires import listening
from support.world import (
    CALLERS,
    PLACES,
    World,
    email_of,
    external_id_of,
    group_id,
    put_place,
    shown_id,
    user_id,
    workspace_id,
    workspace_slug,
    world_of,
)

HOLDS = "/v1/holds"
MAX_BODY_BYTES = 100_000
SETTLE = "mutation($input: SettleHoldInput!) { settleHold(input: $input) { ... on Hold { id state settledAmount } } }"
PLACE = "mutation($input: PlaceHoldInput!) { placeHold(input: $input) { ... on Hold { id amount placedAt } } }"
SET_LIMIT = "mutation($input: SetLimitInput!) { setLimit(input: $input) { ... on SetLimitSuccess { limit { id } } } }"
OURS = re.compile(r"Traceback|Exception|psycopg|asyncio|orjson|\.py\b|line \d+|NoneType|UUID\(|SELECT |INSERT ")


@dataclass
class Door:
    """The whole app in this process, before a world that is full of people."""

    world: World
    app: Starlette
    http: httpx.AsyncClient
    straight: list[str] = field(default_factory=list)
    """Ids of the requests that went a straight way."""
    is_wired: bool = False
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(10**9)))

    def send(
        self, path: str, content: bytes = b"", *, caller: str = "WRITER", method: str = "POST", **headers: str
    ) -> httpx.Response:
        given = {"content-type": "application/json"} | self.world.headers(caller) | headers
        asked = self.http.request(method, path, content=content, headers={k: v for k, v in given.items() if v})
        response: httpx.Response = self.world.run(asked)
        return response

    def post(self, path: str, body: object, *, caller: str = "WRITER", **headers: str) -> httpx.Response:
        return self.send(path, json.dumps(body).encode(), caller=caller, **headers)

    def place(self, *, caller: str = "WRITER", **changes: Any) -> dict[str, Any]:
        """Place a hold of a new id, and return it."""
        answer = self.post(HOLDS, self.wanted(**changes), caller=caller)
        assert answer.status_code == 201, answer.text
        return dict(answer.json()["hold"])

    def wanted(self, **changes: Any) -> dict[str, Any]:
        """Return a hold of 2.5 credits for mo under a new id, changed where a test says so; None leaves a field out."""
        fields = {
            "source": "gateway", "id": f"use-{next(self.numbers)}", "userId": str(user_id("mo")), "product": "chat",
            "model": "large", "credits": "2.5",
        }  # fmt: skip
        return {name: value for name, value in (fields | changes).items() if value is not None}

    def rows(self) -> list[tuple[Any, ...]]:
        """Return everything that holds could change; a balance of nothing is none."""
        return self.world.sql(
            "SELECT 'hold', h::text FROM hold AS h UNION ALL SELECT 'event', e::text FROM usage_event AS e"
            " UNION ALL SELECT 'balance', b::text FROM balance AS b WHERE b.used <> 0 OR b.held <> '{}' ORDER BY 1, 2"
        )

    def call(self, path: str, messages: Sequence[Message], *headers: tuple[bytes, bytes]) -> list[Message]:
        """Call the app as a server does, with exactly these messages of the client, and return its own."""
        coming, sent = iter(messages), list[Message]()

        async def receive() -> Message:
            return next(coming)

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"",
            "headers": [*headers, (b"authorization", self.world.headers("WRITER")["authorization"].encode())],
        }  # fmt: skip
        self.world.run(self.app(scope, receive, send))
        return sent


async def put_people(database: Database) -> None:
    for place in PLACES:
        await put_place(database, place, moved=True)


@contextmanager
def door_to(
    world: World, database: Database | None = None, site: Site | None = None, *, wired: bool = False
) -> Iterator[Door]:
    """Put the app before a world; with its own way to the database, or to the issuer, where a test cuts that.

    It is called as ASGI says, or `wired` over connections of the server's own protocol, with the straight ways.
    """
    database, site = database or world.database, site or world.site
    authenticator = Authenticator(verifier=site.verifier, database=database)
    desk = HoldDesk(database, lambda: datetime.now(UTC))
    metrics = Metrics()
    endpoint = HoldsEndpoint(desk=desk, authenticator=authenticator, max_body_bytes=MAX_BODY_BYTES)
    app = create_app(
        database=database,
        verifier=site.verifier,
        http=site.http,
        graphql_endpoint=world.endpoint,
        holds_endpoint=endpoint,
        metrics=metrics,
    )
    straight: list[str] = []

    def way(headers: Mapping[bytes, bytes], content: bytes, call: StraightCall) -> bool:
        begun = endpoint.begin(headers, content, call)
        straight.extend([call.id] * begun)
        return begun

    with ExitStack() as stack:
        stack.callback(database.observers.remove, metrics.count_statement)
        if wired:
            ways = StraightWays({HOLDS: way}, Requests(count=metrics.count_request))
            http = httpx.AsyncClient(base_url=stack.enter_context(listening(world.runner, app, ways)), trust_env=False)
        else:
            http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
        stack.callback(lambda: world.run(http.aclose()))
        yield Door(world, app, http, straight, wired)


@pytest.fixture(scope="module", params=[False, True], ids=["called", "wired"])
def is_wired(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def world(postgres: EmbeddedServer, is_wired: bool) -> Iterator[World]:  # noqa: FBT001 - a fixture
    del is_wired  # each has a world of its own: holds are asked for by the same ids
    with cloned_database(postgres) as database, world_of(database, put_people) as filled:
        yield filled


@pytest.fixture(scope="module")
def shared_door(world: World, is_wired: bool) -> Iterator[Door]:  # noqa: FBT001 - a fixture
    with door_to(world, wired=is_wired) as door:
        yield door


@pytest.fixture
def door(shared_door: Door) -> Door:
    """Return a door behind which there are no limits."""
    shared_door.world.sql(
        "WITH limits AS (DELETE FROM credit_limit)"
        " UPDATE workspace_settings SET controls_version = controls_version + 1 RETURNING 1"
    )
    return shared_door


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # as the server's is
    yield stream
    root.setLevel(before)
    logging.getLogger("httpx").setLevel(logging.NOTSET)
    root.removeHandler(handler)


def limit(world: World, target: dict[str, Any], amount: str, **more: Any) -> str:
    asked = {"target": target, "value": {"amount": amount}} | more
    return str(decode_id_of("CreditLimit", world.ask("OWNER", SET_LIMIT, input=asked)["setLimit"]["limit"]["id"]))


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Return what an answer's one error says beside its message, after a look at its form."""
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "private, no-store"
    assert set(response.json()) == {"errors"}
    [error] = response.json()["errors"]
    assert set(error) == {"message", "extensions"}
    assert error["message"].endswith(".")
    assert not OURS.search(error["message"]), error["message"]
    extensions = dict(error["extensions"])
    assert extensions["code"] in ErrorCode.__members__
    assert extensions.pop("requestId") == response.headers["x-request-id"]
    return extensions


def refused(response: httpx.Response) -> tuple[int, str]:
    """Return an answer's status, and the code of its one error that says nothing else."""
    extensions = error_of(response)
    assert set(extensions) == {"code"}
    return response.status_code, str(extensions["code"])


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


# What is answered.


def test_a_hold_is_answered_as_it_was_placed(door: Door) -> None:
    before = datetime.now(UTC)
    answer = door.post(HOLDS, door.wanted(id="whole", seconds=60))
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "private, no-store"
    hold = answer.json()["hold"]
    assert before <= at(hold["placedAt"]) <= datetime.now(UTC)
    assert timedelta(seconds=60) <= at(hold["expiresAt"]) - at(hold["placedAt"]) <= timedelta(seconds=66)
    assert answer.json() == {
        "hold": {
            "id": str(hold_id(workspace_id("acme"), "gateway", "whole")),
            "source": "gateway",
            "externalId": "whole",
            "userId": str(user_id("mo")),
            "product": "chat",
            "model": "large",
            "credits": "2.5",
            "state": "HELD",
            "placedAt": hold["placedAt"],
            "expiresAt": hold["expiresAt"],
            "settledCredits": None,
            "overageCredits": "0",
            "passedSoftLimits": [],
        }
    }
    assert hold["placedAt"].endswith("Z")
    assert hold["expiresAt"].endswith("Z")


def test_the_same_hold_again_is_the_same_hold_and_another_one_under_its_id_is_a_conflict(door: Door) -> None:
    asked = door.wanted()
    first = door.post(HOLDS, asked)
    named = {name: value for name, value in asked.items() if name != "userId"}
    assert door.post(HOLDS, asked).json() == first.json()
    assert door.post(HOLDS, named | {"email": email_of("mo").upper()}).json() == first.json()
    assert door.post(HOLDS, named | {"externalId": external_id_of("mo")}).json() == first.json()
    before = door.rows()
    for changes in ({"credits": "2.500001"}, {"product": "agent"}, {"seconds": 60}, {"userId": str(user_id("mia"))}):
        assert refused(door.post(HOLDS, asked | changes)) == (409, "IDEMPOTENCY_CONFLICT")
    assert [row for row in door.rows() if row[0] != "balance"] == [row for row in before if row[0] != "balance"]


def test_a_refusal_is_a_402_with_the_budget_that_binds(door: Door) -> None:
    limit(door.world, {"group": {"id": shown_id("Group", group_id("design"))}}, "10", kind="SHARED", product="video")
    gina = {"userId": str(user_id("gina")), "product": "video"}
    door.place(credits="7", **gina)
    response = door.post(HOLDS, door.wanted(credits="3.000001", **gina))
    assert response.status_code == 402
    budget = error_of(response)["budget"]
    assert at(budget.pop("resetsAt")) > datetime.now(UTC)
    assert budget == {
        "scope": "GROUP",
        "scopeId": str(group_id("design")),
        "product": "video",
        "model": None,
        "cadence": "MONTH",
        "limit": "10",
        "remaining": "3",
    }
    assert error_of(response)["code"] == "BUDGET_EXCEEDED"
    assert response.json()["errors"][0]["message"] == "A budget has not enough left."
    door.place(credits="3", **gina)


def test_a_hold_is_settled_once_and_asking_again_is_answered_the_same(door: Door) -> None:
    hold = door.place()
    path = f"{HOLDS}/{hold['id']}/settle"
    settlement = {"credits": "3", "inputTokens": 10, "cachedInputTokens": 4, "outputTokens": 7}
    answer = door.post(path, settlement)
    assert answer.status_code == 200
    assert answer.json() == {
        "hold": hold | {"state": "SETTLED", "settledCredits": "3", "overageCredits": "0.5"},
    }
    assert door.post(path, settlement).json() == answer.json()
    # The id is one whatever case it is written in.
    assert door.post(f"{HOLDS}/{hold['id'].upper()}/settle", settlement).json() == answer.json()
    before = door.rows()
    assert refused(door.post(path, {"credits": "3"})) == (409, "HOLD_ENDED")
    assert refused(door.send(f"{HOLDS}/{hold['id']}/release")) == (409, "HOLD_ENDED")
    assert door.rows() == before
    events = door.world.sql(
        "SELECT credits, input_tokens, cached_input_tokens, output_tokens FROM usage_event WHERE external_id = %s",
        hold["externalId"],
    )
    assert events == [(3_000_000, 10, 4, 7)]


def test_a_hold_is_released_once_without_a_body_or_with_any(door: Door) -> None:
    hold = door.place()
    path = f"{HOLDS}/{hold['id']}/release"
    answer = door.send(path, b"", **{"content-type": ""})
    assert (answer.status_code, answer.json()) == (200, {"hold": hold | {"state": "RELEASED"}})
    assert door.post(path, {}).json() == door.send(path, b"not JSON").json() == answer.json()
    assert refused(door.post(f"{HOLDS}/{hold['id']}/settle", {"credits": "1"})) == (409, "HOLD_ENDED")


def test_what_is_expected_and_what_was_measured_is_priced_by_the_rate_card(door: Door) -> None:
    set_rates = "mutation($input: SetRatesInput!) { setRates(input: $input) { __typename } }"
    line = {"product": "voice", "effectiveFrom": "2026-01-01T00:00:00Z"}
    rates = [line | {"meter": "MESSAGE", "price": "2"}, line | {"meter": "MINUTE", "price": "0.1"}]
    door.world.ask("OWNER", set_rates, input={"rates": rates, "multipliers": []})
    hold = door.place(credits=None, product="voice", messages=1, minutes="2.5", tasks=0)
    assert hold["credits"] == "2.25"
    tried = door.post(f"{HOLDS}/authorize", door.wanted(credits=None, product="voice", messages=3))
    assert tried.json() == {"allowed": True, "credits": "6", "budget": None}
    settled = door.post(f"{HOLDS}/{hold['id']}/settle", {"messages": 2, "minutes": "0"}).json()["hold"]
    assert (settled["settledCredits"], settled["overageCredits"]) == ("4", "1.75")
    unpriced = door.wanted(credits=None, product="unheard-of", messages=1)
    for path in (HOLDS, f"{HOLDS}/authorize"):
        assert refused(door.post(path, unpriced)) == (422, "UNPRICED")
    # What is null is not given: neither is a price of a plain message.
    nothing = {"messages": None, "minutes": None, "tier": None}
    for path in (HOLDS, f"{HOLDS}/authorize"):
        asked = door.wanted(credits=None, product="voice") | nothing
        assert refused(door.post(path, asked)) == (422, "INVALID_AMOUNT")
    assert refused(door.post(f"{HOLDS}/{door.place()['id']}/settle", nothing)) == (422, "INVALID_AMOUNT")


def test_trying_says_what_would_come_of_it_and_changes_nothing(door: Door) -> None:
    path = f"{HOLDS}/authorize"
    adam = {"userId": str(user_id("adam")), "product": "image"}
    assert door.post(path, door.wanted(**adam)).json() == {"allowed": True, "credits": "2.5", "budget": None}
    limit(door.world, {"user": {"id": shown_id("User", user_id("adam"))}}, "10", product="image", cadence="DAY")
    before = door.rows()
    answers = [door.post(path, door.wanted(credits=amount, **adam)) for amount in ("10", "10.000001")]
    assert door.rows() == before
    assert [answer.status_code for answer in answers] == [200, 200]
    budget = answers[0].json()["budget"]
    assert at(budget["resetsAt"]) > datetime.now(UTC)
    assert budget | {"resetsAt": None} == {
        "scope": "USER", "scopeId": str(user_id("adam")), "product": "image", "model": None, "cadence": "DAY",
        "limit": "10", "remaining": "10", "resetsAt": None,
    }  # fmt: skip
    assert answers[0].json() == {"allowed": True, "credits": "10", "budget": budget}
    assert answers[1].json() == {"allowed": False, "credits": "10.000001", "budget": budget}


def test_of_several_holds_each_has_an_answer_of_its_own_and_a_bad_one_keeps_no_other_out(door: Door) -> None:
    limit(door.world, {"user": {"id": shown_id("User", user_id("bill"))}}, "1")
    good, last = door.wanted(), door.wanted()
    asked: list[object] = [
        good,
        door.wanted(credits="-1"),
        door.wanted(userId=str(user_id("bill"))),
        "no object",
        door.wanted(product="a\0b"),
        good | {"credits": "3"},
        door.wanted(userId=str(user_id("nobody"))),
        good,
        last,
    ]
    response = door.post(HOLDS, asked)
    assert response.status_code == 200
    results = response.json()["results"]
    [refusal] = results[2]["errors"]
    assert refusal["extensions"].pop("budget")["scopeId"] == str(user_id("bill"))
    codes = [
        result["errors"][0]["extensions"] if "errors" in result else result["hold"]["externalId"] for result in results
    ]
    assert codes == [
        good["id"],
        {"code": "INVALID_AMOUNT"},
        {"code": "BUDGET_EXCEEDED"},
        {"code": "INVALID_INPUT"},
        {"code": "INVALID_EVENT"},
        {"code": "IDEMPOTENCY_CONFLICT"},
        {"code": "UNKNOWN_USER"},
        good["id"],
        last["id"],
    ]
    assert results[0] == results[7] == door.post(HOLDS, good).json()
    for number in (0, 1001):
        assert refused(door.post(HOLDS, [{}] * number)) == (422, "BATCH_SIZE")


def test_the_same_hold_is_the_same_over_graphql(door: Door) -> None:
    hold = door.place(id="both-ways")
    named = {"source": "gateway", "id": "both-ways", "user": {"email": email_of("mo")}}
    over_graphql = door.world.ask("WRITER", PLACE, input=named | {"product": "chat", "model": "large", "amount": "2.5"})
    id_ = shown_id("Hold", UUID(hold["id"]))
    assert over_graphql["placeHold"] == {"id": id_, "amount": "2.5", "placedAt": hold["placedAt"]}
    settled = door.world.ask("WRITER", SETTLE, input={"id": id_, "amount": "1", "measured": {"outputTokens": "3"}})
    assert settled["settleHold"] == {"id": id_, "state": "SETTLED", "settledAmount": "1"}
    again = door.post(f"{HOLDS}/{hold['id']}/settle", {"credits": "1", "outputTokens": 3})
    assert again.json() == {"hold": hold | {"state": "SETTLED", "settledCredits": "1"}}


WORDS = (
    "it's", '"quoted"', "back\\slash\\", "\\'; DROP TABLE hold; --", "{a,b}", "{}", "NULL", "a,b", "%s %(ids)s $1 $$",
    "E'x'", "Zoë 猫 \U0001f408", "\\u0000",
)  # fmt: skip


def test_words_of_any_kind_come_back_as_they_were_and_are_recorded_so(door: Door) -> None:
    asked = [door.wanted(source=word, id=word, product=word, model=word) for word in WORDS]
    holds = [result["hold"] for result in door.post(HOLDS, asked).json()["results"]]
    assert [[hold[name] for name in ("source", "externalId", "product", "model")] for hold in holds] == [
        [word] * 4 for word in WORDS
    ]
    assert [door.post(HOLDS, one).json()["hold"] for one in asked] == holds
    for hold in holds:
        assert door.post(f"{HOLDS}/{hold['id']}/settle", {"credits": "1", "tier": hold["model"]}).status_code == 200
    events = door.world.sql(
        "SELECT source, external_id, product, model, measured FROM usage_event WHERE product <> 'chat'"
    )
    assert {row[:4] for row in events if row[0] in WORDS} == {(word,) * 4 for word in WORDS}
    assert all(measured["tier"] == source for source, *_, measured in events if source in WORDS)


# What is refused.


@pytest.mark.parametrize("caller", [caller for caller in CALLERS if caller != "WRITER"])
def test_nobody_but_a_service_that_may_write_gets_in_and_nothing_is_changed(door: Door, caller: str) -> None:
    hold = door.place()
    before = door.rows()
    for path in (HOLDS, f"{HOLDS}/authorize", f"{HOLDS}/{hold['id']}/settle", f"{HOLDS}/{hold['id']}/release"):
        assert refused(door.post(path, door.wanted(), caller=caller)) == (403, "FORBIDDEN")
        assert refused(door.send(path, b"not JSON", caller=caller)) == (403, "FORBIDDEN")
    assert door.rows() == before


def test_without_a_token_it_is_a_401_with_a_challenge(door: Door) -> None:
    before = door.rows()
    for path in (HOLDS, f"{HOLDS}/authorize", f"{HOLDS}/{uuid4()}/settle", f"{HOLDS}/x/release"):
        response = door.post(path, door.wanted(), authorization="")
        assert refused(response) == (401, "UNAUTHENTICATED")
        assert response.headers["www-authenticate"] == 'Bearer realm="creditdesk"'
        response = door.post(path, door.wanted(), authorization="Bearer a.b.c")
        assert refused(response) == (401, "UNAUTHENTICATED")
        assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert door.rows() == before


def test_two_tokens_are_no_token_even_if_both_are_good(door: Door) -> None:
    before = door.rows()
    content = json.dumps(door.wanted()).encode()
    whole = {"type": "http.request", "body": content, "more_body": False}
    again = (b"authorization", door.world.headers("WRITER")["authorization"].encode())
    assert door.call(HOLDS, [whole], again)[0]["status"] == 401
    assert door.call(HOLDS, [whole], (b"authorization", b"Basic eDp5"))[0]["status"] == 401
    assert door.rows() == before


def test_a_token_whose_groups_did_not_fit_places_no_hold_and_reads_nothing(door: Door) -> None:
    before = door.rows()
    token = door.world.site.token(
        sub="writer",
        roles=["service"],
        scope="usage:write",
        workspace=workspace_slug("acme"),
        _claim_names={"groups": "src1"},
    )
    response = door.post(HOLDS, door.wanted(), authorization=f"Bearer {token}")
    assert refused(response) == (401, "GROUPS_OVERAGE")
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    door.world.tokens["OVERFLOWING"] = token
    answer = door.world.run(door.world.posting("OVERFLOWING", "{ viewer { subject } }"))
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]) == (401, {"code": "GROUPS_OVERAGE"})
    assert door.rows() == before


def test_a_hold_of_another_workspace_is_as_if_it_were_not_there(door: Door) -> None:
    hold = door.place()
    door.world.tokens["OTHER_WRITER"] = door.world.site.token(
        sub="writer", roles=["service"], scope="usage:write", workspace=workspace_slug("himal")
    )
    before = door.rows()
    nothing = [hold["id"], str(uuid4()), "x", hold["id"][:-1], f"{{{hold['id']}}}", hold["id"].replace("-", "")]
    for id_ in nothing:
        for answer in (
            door.post(f"{HOLDS}/{id_}/settle", {"credits": "1"}, caller="OTHER_WRITER"),
            door.post(f"{HOLDS}/{id_}/release", {}, caller="OTHER_WRITER"),
        ):
            assert refused(answer) == (404, "UNKNOWN_HOLD")
            assert answer.json()["errors"][0]["message"] == "There is no such hold."
    assert refused(door.post(HOLDS, door.wanted(), caller="OTHER_WRITER")) == (422, "UNKNOWN_USER")
    assert door.rows() == before


@pytest.mark.parametrize("path", ["/", "/x", "/authorize/", "/authorize/x", "/x/y", "/x/settle/", "/x/y/settle"])
def test_an_unknown_path_is_a_404(door: Door, path: str) -> None:
    assert refused(door.post(HOLDS + path, door.wanted())) == (404, "MALFORMED_REQUEST")
    assert refused(door.post(HOLDS + path, door.wanted(), authorization="")) == (404, "MALFORMED_REQUEST")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_another_method_is_a_405(door: Door, method: str) -> None:
    before = door.rows()
    content = json.dumps(door.wanted()).encode()
    for path in (HOLDS, f"{HOLDS}/authorize", f"{HOLDS}/{uuid4()}/settle", f"{HOLDS}/x/release"):
        response = door.send(path, content, method=method)
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
        assert refused(response) == (405, "MALFORMED_REQUEST")
    assert door.rows() == before


MALFORMED = {
    "nothing": b"",
    "half": b'{"source": "gateway"',
    "two": b"{}{}",
    "no JSON": b"source=gateway&id=1",
    "a comma": b'{"id": "1",}',
    "a number that is none": b'{"credits": NaN}',
    "an infinite number": b'{"credits": 1e999999}x',
    "no UTF-8": b'{"id": "\xff"}',
    "half a character": b'{"id": "\\ud800"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"id": "1"}'.encode("utf-16"),
    "a NUL": b'{"id": "\0"}',
    "nesting": b"[" * 50_000,
    "nested objects": b'{"a":' * 15_000,
}


@pytest.mark.parametrize("why", MALFORMED)
def test_what_is_no_json_is_a_400(door: Door, why: str) -> None:
    hold = door.place()
    before = door.rows()
    for path in (HOLDS, f"{HOLDS}/authorize", f"{HOLDS}/{hold['id']}/settle"):
        assert refused(door.send(path, MALFORMED[why])) == (400, "MALFORMED_REQUEST")
    assert door.rows() == before


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "application/jsonx", "x"])
def test_what_is_said_to_be_something_else_is_a_415(door: Door, content_type: str) -> None:
    hold = door.place()
    before = door.rows()
    for path in (HOLDS, f"{HOLDS}/authorize", f"{HOLDS}/{hold['id']}/settle"):
        response = door.post(path, door.wanted(), **{"content-type": content_type})
        assert refused(response) == (415, "MALFORMED_REQUEST")
    assert door.rows() == before
    for said in ("Application/JSON; charset=utf-8", ""):
        assert door.post(HOLDS, door.wanted(), **{"content-type": said}).status_code == 201


def test_a_body_that_is_too_large_is_a_413_also_in_parts(door: Door) -> None:
    before = door.rows()
    padding = b" " * (MAX_BODY_BYTES - len(json.dumps(door.wanted(id="large")).encode()) + 1)
    large = json.dumps(door.wanted(id="large")).encode() + padding
    assert refused(door.send(HOLDS, large)) == (413, "PAYLOAD_TOO_LARGE")
    parts = [{"type": "http.request", "body": large[n : n + 999], "more_body": True} for n in range(0, len(large), 999)]
    last: Message = {"type": "http.request", "body": b"", "more_body": False}
    assert door.call(HOLDS, [*parts, last])[0]["status"] == 413
    # A sender that never ends is not listened to for ever.
    endless: Message = {"type": "http.request", "body": b" " * MAX_BODY_BYTES, "more_body": True}
    assert door.call(HOLDS, [endless] * 9)[0]["status"] == 413
    assert door.rows() == before
    assert door.send(HOLDS, large[:-1]).status_code == 201


NO_HOLDS: dict[str, tuple[object, str]] = {
    "null": (None, "INVALID_INPUT"),
    "a number": (1, "INVALID_INPUT"),
    "text": ("hold", "INVALID_INPUT"),
    "an empty object": ({}, "INVALID_INPUT"),
    "an unknown field": ({"amount": "1"}, "INVALID_INPUT"),
    "a field of GraphQL": ({"user": {"id": "1"}}, "INVALID_INPUT"),
    "a float": ({"credits": 2.5}, "INVALID_INPUT"),
    "a number of credits": ({"credits": 2}, "INVALID_INPUT"),
    "seven decimals": ({"credits": "0.0000001"}, "INVALID_INPUT"),
    "an exponent": ({"credits": "1e3"}, "INVALID_INPUT"),
    "other digits": ({"credits": "\u0661"}, "INVALID_INPUT"),
    "a line end": ({"credits": "1\n"}, "INVALID_INPUT"),
    "nothing held": ({"credits": "0"}, "INVALID_AMOUNT"),
    "less than nothing": ({"credits": "-0.000001"}, "INVALID_AMOUNT"),
    "more than a billion": ({"credits": "1000000000.000001"}, "INVALID_AMOUNT"),
    "neither credits nor what is expected": ({"credits": None}, "INVALID_AMOUNT"),
    "two users": ({"email": "mo@example.com"}, "INVALID_INPUT"),
    "no user": ({"userId": None}, "INVALID_INPUT"),
    "a user that is no id": ({"userId": "mo"}, "UNKNOWN_USER"),
    "an id of the API": ({"userId": shown_id("User", user_id("mo"))}, "UNKNOWN_USER"),
    "a user that is a number": ({"userId": 1}, "INVALID_INPUT"),
    "somebody elsewhere": ({"userId": str(user_id("maya"))}, "UNKNOWN_USER"),
    "somebody inactive": ({"userId": str(user_id("ina"))}, "INACTIVE_USER"),
    "no address": ({"userId": None, "email": ""}, "UNKNOWN_USER"),
    "an address with a NUL": ({"userId": None, "email": "a\0b"}, "UNKNOWN_USER"),
    "an external id with a NUL": ({"userId": None, "externalId": "\0"}, "UNKNOWN_USER"),
    "no source": ({"source": None}, "INVALID_INPUT"),
    "a source that is a list": ({"source": ["gateway"]}, "INVALID_INPUT"),
    "an empty source": ({"source": ""}, "INVALID_EVENT"),
    "a long source": ({"source": "x" * 101}, "INVALID_EVENT"),
    "a long id": ({"id": "x" * 201}, "INVALID_EVENT"),
    "an id with a NUL": ({"id": "a\0b"}, "INVALID_EVENT"),
    "a product of two lines": ({"product": "a\nb"}, "INVALID_EVENT"),
    "a model that turns the text": ({"model": "a\u202eb"}, "INVALID_EVENT"),
    "no second": ({"seconds": 0}, "INVALID_INPUT"),
    "more than a day": ({"seconds": 86_401}, "INVALID_INPUT"),
    "half a second": ({"seconds": 0.5}, "INVALID_INPUT"),
    "true seconds": ({"seconds": True}, "INVALID_INPUT"),
    "seconds of text": ({"seconds": "300"}, "INVALID_INPUT"),
    "a float of messages": ({"credits": None, "messages": 1.0}, "INVALID_INPUT"),
    "fewer messages than none": ({"credits": None, "messages": -1}, "INVALID_INPUT"),
    "tokens past 64 bits": ({"credits": None, "outputTokens": 2**70}, "INVALID_INPUT"),
    "a float of minutes": ({"credits": None, "minutes": 1.5}, "INVALID_INPUT"),
    "minutes below 0": ({"credits": None, "minutes": "-1"}, "INVALID_INPUT"),
    "more minutes than 10^9": ({"credits": None, "minutes": "1000000000.1"}, "INVALID_AMOUNT"),
    "a tier of two lines": ({"credits": None, "tier": "a\nb"}, "INVALID_INPUT"),
}


@pytest.mark.parametrize("why", NO_HOLDS)
def test_what_is_no_hold_is_a_422_and_nothing_is_changed(door: Door, why: str) -> None:
    changes, code = NO_HOLDS[why]
    asked = changes if not changes or not isinstance(changes, dict) else door.wanted() | changes
    before = door.rows()
    assert refused(door.post(HOLDS, asked)) == (422, code)
    assert refused(door.post(f"{HOLDS}/authorize", asked)) == (422, code)
    [result] = door.post(HOLDS, [asked]).json()["results"]
    assert [error["extensions"] for error in result["errors"]] == [{"code": code}]
    assert door.rows() == before


@pytest.mark.parametrize(
    ("settlement", "code"),
    [
        ([], "INVALID_INPUT"),
        (None, "INVALID_INPUT"),
        ({}, "INVALID_AMOUNT"),
        ({"credits": 1}, "INVALID_INPUT"),
        ({"credits": "-1"}, "INVALID_AMOUNT"),
        ({"credits": "1000000000.000001"}, "INVALID_AMOUNT"),
        ({"credits": "1", "outputTokens": -1}, "INVALID_INPUT"),
        ({"credits": "1", "tier": "x" * 101}, "INVALID_INPUT"),
        ({"credits": "1", "userId": "x"}, "INVALID_INPUT"),
        ({"credits": "1", "id": "x"}, "INVALID_INPUT"),
    ],
    ids=str,
)
def test_what_settles_nothing_is_a_422_and_nothing_is_changed(door: Door, settlement: object, code: str) -> None:
    hold = door.place()
    before = door.rows()
    assert refused(door.post(f"{HOLDS}/{hold['id']}/settle", settlement)) == (422, code)
    assert door.rows() == before


def test_without_its_database_it_is_a_503(door: Door) -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/nothing", max_connections=1, acquire_timeout_seconds=0.1)
    door.world.run(nowhere.open())
    try:
        with door_to(door.world, database=nowhere, wired=door.is_wired) as shut:
            for path in (HOLDS, f"{HOLDS}/authorize", f"{HOLDS}/{uuid4()}/settle", f"{HOLDS}/{uuid4()}/release"):
                assert refused(shut.post(path, door.wanted())) == (503, "DATABASE_UNAVAILABLE")
    finally:
        door.world.run(nowhere.close())


def test_without_its_identity_provider_it_is_a_503(door: Door) -> None:
    site = Site()
    site.network.is_cut = True
    with door_to(door.world, site=site, wired=door.is_wired) as shut:
        assert refused(shut.post(HOLDS, door.wanted())) == (503, "ISSUER_UNAVAILABLE")


def test_what_takes_too_long_is_a_503_and_can_be_asked_for_again(door: Door) -> None:
    slow = Database(door.world.fresh.server_dsn, max_connections=2, statement_timeout_seconds=1)
    door.world.run(slow.open())
    asked = door.wanted()
    try:
        with door_to(door.world, database=slow, wired=door.is_wired) as waiting:
            with psycopg.connect(door.world.fresh.superuser_dsn) as other:
                other.execute("SELECT pg_advisory_xact_lock(controls_key(%s))", [workspace_id("acme")])
                assert refused(waiting.post(HOLDS, asked)) == (503, "TIMEOUT")
            assert waiting.post(HOLDS, asked).status_code == 201
    finally:
        door.world.run(slow.close())


# Clients that hang up.


def test_what_has_come_of_a_body_when_the_client_hangs_up_is_no_request(door: Door, log: io.StringIO) -> None:
    hold = door.place()
    before = door.rows()
    whole: Message = {"type": "http.request", "body": json.dumps(door.wanted()).encode(), "more_body": True}
    gone: Message = {"type": "http.disconnect"}
    for path in (HOLDS, f"{HOLDS}/authorize", f"{HOLDS}/{hold['id']}/settle", f"{HOLDS}/{hold['id']}/release"):
        for messages in ([whole, gone], [gone]):
            assert door.call(path, messages) == []
    assert door.rows() == before
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert {line["level"] for line in lines} == {"INFO"}
    assert [line["status"] for line in lines if line["logger"] == "creditdesk.access"] == [201] + [None] * 8


# Who asks again and again with one token.


def gateway(door: Door) -> str:
    """Return a caller of a service account's own, who has placed a hold and is known by it."""
    account = new_user(door.world, kind="SERVICE_ACCOUNT")
    subject = new_subject(door.world, account)
    door.world.tokens[account] = token_of(door.world, subject, "service", issued=now_seconds() - 5, scope="usage:write")
    assert door.post(HOLDS, door.wanted(), caller=account).status_code == 201
    return account


def lookups(door: Door, ask: Callable[[], object]) -> list[str]:
    """Return the statements that something took, but for those of holds themselves."""
    ran: list[str] = []
    door.world.database.observers.append(ran.append)
    try:
        ask()
    finally:
        door.world.database.observers.remove(ran.append)
    return [name for name in ran if name not in {"grant_holds", "place_holds"}]


def test_a_gateway_that_is_known_is_not_looked_up_for_each_of_its_holds(door: Door) -> None:
    account = gateway(door)
    assert lookups(door, lambda: [door.post(HOLDS, door.wanted(), caller=account) for _ in range(5)]) == []


def test_only_a_plain_hold_of_a_gateway_that_is_known_goes_a_straight_way(door: Door) -> None:
    account = gateway(door)
    asked = door.wanted()
    door.straight.clear()
    whole = [
        door.post(HOLDS, [asked], caller=account),
        door.post(f"{HOLDS}?x=1", asked, caller=account),
        door.post(HOLDS, asked | {"credits": 2.5}, caller=account),
        door.post(HOLDS, asked, caller=account, **{"content-type": "application/json; charset=utf-8"}),
        door.post(HOLDS, asked, caller=account, origin="https://console.test"),
        door.post(HOLDS, asked, caller="OWNER"),
        door.send(HOLDS, b"{", caller=account),
    ]
    assert [answer.status_code for answer in whole] == [200, 201, 422, 201, 201, 403, 400]
    assert door.straight == []
    straight = [
        door.post(HOLDS, asked, caller=account),
        door.post(HOLDS, door.wanted(userId=str(uuid4())), caller=account),
        door.post(HOLDS, asked | {"credits": "3"}, caller=account),
    ]
    assert [answer.status_code for answer in straight] == [201, 422, 409]
    if door.is_wired:
        assert door.straight == [answer.headers["x-request-id"] for answer in straight]
    # Neither the hold nor how it is answered is another one for that.
    assert straight[0].json() == whole[1].json() == whole[3].json()
    assert [name for name, _ in straight[0].headers.multi_items()] == [
        name for name, _ in whole[1].headers.multi_items()
    ]


def test_a_request_keeps_the_id_that_its_client_gave_it_on_each_way(door: Door) -> None:
    account = gateway(door)
    for path in (HOLDS, f"{HOLDS}?x=1"):
        answer = door.post(path, door.wanted(), caller=account, **{"x-request-id": "from-the-client"})
        assert answer.headers.get_list("x-request-id") == ["from-the-client"]
        refusal = door.post(path, door.wanted(id=""), caller=account, **{"x-request-id": "not one of ours!"})
        assert refused(refusal) == (422, "INVALID_EVENT")
        assert refusal.headers["x-request-id"] != "not one of ours!"


def test_whatever_changes_in_the_workspace_the_gateway_is_looked_up_anew_once(door: Door) -> None:
    account = gateway(door)
    new_user(door.world)
    found = lookups(door, lambda: [door.post(HOLDS, door.wanted(), caller=account) for _ in range(5)])
    assert found.count("user_of_identity") == 1
    assert found.count("controls_settings") == 1


@pytest.mark.parametrize("change_", ["deactivateUser", "endSessions"])
@pytest.mark.parametrize("action", ["", "batch", "/authorize", "settle", "release"])
def test_who_may_not_ask_any_more_is_refused_at_once_in_every_process_and_nothing_is_changed(
    door: Door, change_: str, action: str
) -> None:
    account = gateway(door)
    hold = door.place(caller=account)
    with door_to(door.world, wired=door.is_wired) as other:
        assert other.post(HOLDS, door.wanted(), caller=account).status_code == 201
        change(door.world, change_, user={"id": account})
        before = door.rows()
        path = f"{HOLDS}/{hold['id']}/{action}" if action in {"settle", "release"} else HOLDS + action
        body: object = {"credits": "1"} if action == "settle" else door.wanted()
        path, body = (HOLDS, [door.wanted()] * 3) if action == "batch" else (path, body)
        for one in (door, other, door, other):
            response = one.post(path, body, caller=account)
            assert refused(response) == (401, "UNAUTHENTICATED")
            assert 'error="invalid_token"' in response.headers["www-authenticate"]
        assert door.rows() == before
        assert door.post(HOLDS, door.wanted()).status_code == 201


def test_who_may_not_ask_any_more_keeps_nobody_out_who_asks_at_the_same_time(door: Door) -> None:
    accounts = [gateway(door) for _ in range(3)]
    change(door.world, "deactivateUser", user={"id": accounts[1]})

    async def statuses() -> list[int]:
        asked = [
            door.http.post(HOLDS, json=door.wanted(), headers=door.world.headers(account)) for account in accounts * 5
        ]
        return [response.status_code for response in await asyncio.gather(*asked)]

    assert door.world.run(statuses()) == [201, 401, 201] * 5


def test_a_gateway_who_is_let_in_again_places_holds_again(door: Door) -> None:
    account = gateway(door)
    change(door.world, "deactivateUser", user={"id": account})
    assert door.post(HOLDS, door.wanted(), caller=account).status_code == 401
    change(door.world, "reactivateUser", user={"id": account})
    assert door.post(HOLDS, door.wanted(), caller=account).status_code == 401  # of before the cut
    [(subject,)] = door.world.sql("SELECT subject FROM user_identity WHERE user_id = %s", decode_id(account)[1])
    door.world.tokens[account] = token_of(door.world, subject, "service", issued=now_seconds() + 2, scope="usage:write")
    assert door.post(HOLDS, door.wanted(), caller=account).status_code == 201


def test_people_who_change_under_load_are_bound_at_once_and_nobody_gets_no_answer(door: Door) -> None:
    account = gateway(door)

    async def placing() -> list[int]:
        sent = [door.http.post(HOLDS, json=door.wanted(), headers=door.world.headers(account)) for _ in range(40)]
        return [response.status_code for response in await asyncio.gather(*sent)]

    async def changing() -> None:
        for number in range(10):
            async with door.world.database.transaction(
                RowScope(DatabaseRole.ADMINISTRATOR, workspace_id("acme"))
            ) as conn:
                await changing_controls(conn, workspace_id("acme"))
            await asyncio.sleep(0.001 * number)

    async def both() -> list[int]:
        answers, _ = await asyncio.gather(placing(), changing())
        return answers

    assert door.world.run(both()) == [201] * 40


# What is written down.


def test_the_log_and_the_metrics_name_what_was_asked_for_and_never_whose_hold_it_was(
    door: Door, log: io.StringIO
) -> None:
    id_ = door.place()["id"]
    door.post(f"{HOLDS}/authorize", door.wanted())
    door.post(f"{HOLDS}/{id_}/settle", {"credits": "1"})
    door.post(f"{HOLDS}/{id_}/release", {})
    door.send(f"{HOLDS}/{id_}", method="GET")
    door.post(HOLDS, [door.wanted()], authorization="Bearer a.b.c")
    door.post("/v1/holdsx", {})
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    expected = [
        ("POST", "/v1/holds", 201),
        ("POST", "/v1/holds/authorize", 200),
        ("POST", "/v1/holds/{id}/settle", 200),
        ("POST", "/v1/holds/{id}/release", 409),
        ("GET", "/v1/holds", 404),
        ("POST", "/v1/holds", 401),
        ("POST", "/v1/holdsx", 404),
    ]
    written = [line for line in lines if line["logger"] == "creditdesk.access"]
    assert [(line["method"], line["path"], line["status"]) for line in written] == expected
    assert id_ not in log.getvalue()
    page = door.send("/metrics", method="GET").text
    assert id_ not in page
    [requests] = [one for one in text_string_to_metric_families(page) if one.name == "creditdesk_requests"]
    counted = {(sample.labels["path"], sample.labels["status"]) for sample in requests.samples}
    assert {(path if "x" not in path else "unmatched", str(status)) for _, path, status in expected} <= counted
    assert {path for path, _ in counted} <= {path for _, path, _ in expected} | {"unmatched", "/metrics"}


# Whatever comes in.

TEXT = st.text(max_size=30) | st.sampled_from(["gateway", "chat", "2.5", str(user_id("mo")), "\0", "-1", "x" * 300])
SCALARS = (
    TEXT | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([2**63, -(2**63) - 1, 86_400, 10**40])
)  # fmt: skip
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
NAMES = st.sampled_from(
    [
        "source", "id", "userId", "email", "externalId", "product", "model", "credits", "seconds", "messages", "tasks",
        "minutes", "inputTokens", "cachedInputTokens", "outputTokens", "tier",
    ]
)  # fmt: skip
PATHS = st.sampled_from(
    [HOLDS, f"{HOLDS}/authorize", f"{HOLDS}/{uuid4()}/settle", f"{HOLDS}/{uuid4()}/release"]
) | st.text(max_size=30).map(lambda end: f"{HOLDS}/{end}")
FEW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def checked(response: httpx.Response) -> None:
    """Look at an answer that may be any but a failure of ours."""
    assert response.status_code in {200, 201, 400, 402, 404, 405, 409, 413, 415, 422}, response.text
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.content.decode("utf-8")) == response.json()
    if response.status_code >= 400:
        assert error_of(response)["code"] != "INTERNAL"


@FEW
@given(path=PATHS, changes=st.dictionaries(NAMES | TEXT, VALUES, max_size=5))
@example(path=HOLDS, changes={})
def test_no_body_of_fields_is_too_much(shared_door: Door, path: str, changes: dict[str, object]) -> None:
    body = shared_door.wanted() | changes
    whole: Message = {"type": "http.request", "body": json.dumps(body).encode("utf-8", "replace"), "more_body": False}
    start, content = shared_door.call(path, [whole], (b"content-type", b"application/json"))
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    checked(httpx.Response(start["status"], headers=headers, content=content["body"]))


@FEW
@given(path=PATHS, content=st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_are_too_much(shared_door: Door, path: str, content: bytes) -> None:
    whole: Message = {"type": "http.request", "body": content, "more_body": False}
    start, body = shared_door.call(path, [whole])
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    checked(httpx.Response(start["status"], headers=headers, content=body["body"]))


# Over a wire, from a process of its own.


@dataclass
class Served:
    """A running server."""

    server: RunningProcess
    token: str

    def gateway(self) -> Gateway:
        return Gateway(self.server.url, self.token)


@pytest.fixture(scope="module")
def site(world: World) -> Iterator[Served]:
    """Serve the world from a process, behind an issuer of its own."""
    issuers: list[DemoIssuer] = []

    def issuer_at(url: str) -> Starlette:
        issuers.append(DemoIssuer(url, AUDIENCE, persons=[], clients=[]))
        return issuers[0].app()

    with served(issuer_at) as url:
        now = int(datetime.now(UTC).timestamp())
        claims = {"iss": url, "sub": "gateway", "aud": AUDIENCE, "iat": now, "exp": now + 3600, "roles": ["service"]}
        token = issuers[0].sign(claims | {"scope": "usage:write", "workspace": workspace_slug("acme")}, typ="at+jwt")
        given_settings = {"CREDITDESK_OIDC_ISSUER": url, "CREDITDESK_OIDC_AUDIENCE": AUDIENCE}
        with running("serve", DATABASE_URL=world.fresh.server_dsn, **given_settings) as server:
            yield Served(server, token)


def placed(world: World, id_: str) -> int:
    return len(world.sql("SELECT FROM hold WHERE external_id = %s", id_))


def test_one_connection_serves_whatever_is_asked_on_it(site: Served, door: Door) -> None:
    async def ask() -> list[Answer]:
        gateway = site.gateway()
        held = await gateway.ask(HOLDS, door.wanted(id="wire"))
        id_ = held.hold["id"]
        answers = [
            await gateway.ask(HOLDS, method="HEAD"),
            await gateway.ask(f"{HOLDS}/x"),
            await gateway.ask(HOLDS, b"{"),
            await gateway.ask(f"{HOLDS}?x=1", door.wanted(id="wire")),
            await gateway.ask(f"{HOLDS}/{id_}/settle", {"credits": "1"}),
            await gateway.ask(f"{HOLDS}/{id_}/release"),
        ]
        # Two requests in one breath are answered one after the other.
        authorization = {"authorization": f"Bearer {site.token}"}
        asked = [request_of(HOLDS, door.wanted(id=name), headers=authorization) for name in ("wire", "wire-2")]
        answers.append(await gateway.exchange(b"".join(asked)))
        answers.append(await gateway.exchange(b""))
        gateway.hang_up()
        return answers

    head, nothing, malformed, again, settled, ended, *two = asyncio.run(ask())
    assert (head.status, head.text, head.headers["allow"]) == (405, "", "POST")
    assert (nothing.status, malformed.status, again.status) == (404, 400, 201)
    assert (settled.status, settled.hold["state"], ended.status, ended.code) == (200, "SETTLED", 409, "HOLD_ENDED")
    assert [(one.status, one.hold["externalId"]) for one in two] == [(201, "wire"), (201, "wire-2")]


def test_a_body_that_is_too_large_is_answered_when_all_of_it_was_sent(site: Served, door: Door) -> None:
    async def ask() -> tuple[Answer, Answer]:
        gateway = site.gateway()
        large = await gateway.ask(HOLDS, json.dumps(door.wanted(id="too-large")).encode() + b" " * 6_000_000)
        fitting = await gateway.ask(HOLDS, door.wanted(id="fitting"))
        gateway.hang_up()
        return large, fitting

    large, fitting = asyncio.run(ask())
    assert (large.status, large.code, fitting.status) == (413, "PAYLOAD_TOO_LARGE", 201)
    assert placed(door.world, "too-large") == 0


def test_a_client_that_hangs_up_leaves_a_hold_or_none_but_no_error(site: Served, door: Door) -> None:
    asked = [door.wanted(id=f"gone-{number}") for number in range(20)]

    async def ask() -> list[Answer]:
        gateway = site.gateway()
        whole = request_of(HOLDS, door.wanted(id="half"), headers={"authorization": f"Bearer {site.token}"})
        for end in (1, 50, len(whole) - 1):
            await gateway.send(whole[:end])
            gateway.hang_up()
        for one in asked:
            await gateway.ask_and_hang_up(HOLDS, one)
        answers = [await gateway.ask(HOLDS, one) for one in asked]
        gateway.hang_up()
        return answers

    answers = asyncio.run(ask())
    assert [answer.hold["externalId"] for answer in answers] == [one["id"] for one in asked]
    assert [placed(door.world, one["id"]) for one in asked] == [1] * 20
    assert placed(door.world, "half") == 0
    assert [line for line in site.server.logged().splitlines() if json.loads(line)["level"] == "ERROR"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/holds/", "/v1/holdsx", "/v1/holds/%2e", "/v1/holds/..", "/v1/holds/../holds", "//v1/holds", "/v1//holds",
        "/V1/holds", "/v1/holds;x", "/v1/holds%00", "/v1/holds/%00/settle", "/v1/holds/%ff/release",
        "/v1/holds//settle", "/v1/holds/settle", "/v1/holds/x/settle/", "/v1/holds/%2e%2e/holds", "/v1/%68olds%20",
    ],
)  # fmt: skip
def test_no_way_of_writing_a_path_leads_anywhere_else(site: Served, door: Door, path: str) -> None:
    before = door.rows()

    async def ask() -> Answer:
        gateway = site.gateway()
        answer = await gateway.ask(path, door.wanted())
        gateway.hang_up()
        return answer

    answer = asyncio.run(ask())
    assert answer.status == 404
    assert answer.code in {"MALFORMED_REQUEST", "UNKNOWN_HOLD", "INVALID_INPUT"}
    assert door.rows() == before


def test_a_process_s_log_and_metrics_hold_no_hold_s_id(site: Served, door: Door) -> None:
    async def ask() -> tuple[str, str]:
        gateway = site.gateway()
        id_ = (await gateway.ask(HOLDS, door.wanted(id="written-down"))).hold["id"]
        await gateway.ask(f"{HOLDS}/{id_}/release")
        page = (await gateway.ask("/metrics", method="GET")).text
        gateway.hang_up()
        return id_, page

    id_, page = asyncio.run(ask())
    assert id_ not in page
    assert '{path="/v1/holds/{id}/release",status="200"}' in page
    wait_until(lambda: '"path":"/v1/holds/{id}/release"' in site.server.logged(), "logged")
    assert id_ not in site.server.logged()
    assert site.token not in site.server.logged()
