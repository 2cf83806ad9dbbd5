"""Whatever comes in, the answer is JSON with a code that clients can branch on, and nothing of Python or SQL in it."""

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from creditdesk.credits.errors import ErrorCode
from support.world import (
    ACME,
    ALL_DAYS,
    MAX_BODY_BYTES,
    World,
    external_id_of,
    group_id,
    id_of,
    shown_id,
    user_id,
    without_plans,
)

USER = shown_id("User", user_id("mo"))
GROUP = shown_id("Group", group_id("research"))
OURS = re.compile(
    r"Traceback|has no attribute|object is not|NoneType|Error\(|Exception|psycopg|sqlalchemy|strawberry|asyncio|orjson"
    r"|\.py\b|<class|line \d+, in |recursion|unexpected keyword|not supported between|base64|codec can|SELECT |INSERT "
    r"|exceeds the limit|UUID\(|badly formed|isoformat",
    re.IGNORECASE,
)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def checked(response: httpx.Response) -> list[str]:
    """Return the codes of an answer's errors, after a look at all of it."""
    assert response.headers["content-type"] == "application/json"
    assert response.status_code in {200, 400, 401, 405, 413, 415}, response.text
    answer = response.json()
    assert set(answer) <= {"data", "errors", "extensions"}
    assert ("data" in answer) == ("extensions" in answer)
    for error in answer.get("errors", []):
        assert error["extensions"]["code"] in ErrorCode.__members__
        assert error["extensions"]["code"] != "INTERNAL", error
        assert error["message"]
        assert not OURS.search(error["message"]), error["message"]
    if response.status_code != 200:
        assert "data" not in answer
        assert len(answer["errors"]) == 1
    return [error["extensions"]["code"] for error in answer.get("errors", [])]


def sent(world: World, body: bytes, *, caller: str = "OWNER", method: str = "POST", **headers: str) -> httpx.Response:
    given_headers = {"content-type": "application/json"} | world.headers(caller) | headers
    response: httpx.Response = world.run(
        world.http.request(method, "/", content=body, headers={k: v for k, v in given_headers.items() if v})
    )
    return response


def asked(world: World, query: str, variables: Mapping[str, Any] | None = None, caller: str = "OWNER") -> list[str]:
    return checked(sent(world, json.dumps({"query": query, "variables": variables}).encode(), caller=caller))


VIEWER = "{ viewer { subject } }"

# Bodies.

BODIES = {
    "nothing": b"",
    "a number": b"5",
    "null": b"null",
    "true": b"true",
    "a string": b'"{ viewer { subject } }"',
    "a list": b"[]",
    "a batch": json.dumps([{"query": VIEWER}]).encode(),
    "half an object": b'{"query": "{ viewer',
    "text": VIEWER.encode(),
    "no UTF-8": b'{"query": "\xff\xfe"}',
    "a lone surrogate": b'{"query": "\\ud800"}',
    "a NUL": b'{"query": "{ viewer { subject } } \\u0000"}',
    "a NUL among the variables": b'{"query": "{ viewer { subject } }", "variables": {"a": [{"b": "\\u0000"}]}}',
    "a NUL in a variable's name": b'{"query": "{ viewer { subject } }", "variables": {"a\\u0000": 1}}',
    "NaN": b'{"query": "{ viewer { subject } }", "variables": {"a": NaN}}',
    "an empty object": b"{}",
    "a query that is null": b'{"query": null}',
    "a query that is a number": b'{"query": 5}',
    "a query that is a list": b'{"query": ["{ viewer { subject } }"]}',
    "variables that are a list": b'{"query": "{ viewer { subject } }", "variables": []}',
    "variables that are text": b'{"query": "{ viewer { subject } }", "variables": "{}"}',
    "a name that is a number": b'{"query": "{ viewer { subject } }", "operationName": 5}',
    "5000 lists": b"[" * 5000,
    "5000 lists among the variables": b'{"query": "{ viewer { subject } }", "variables": {"a": '
    + b"[" * 5000 + b"]" * 5000 + b"}}",
    "two bodies": b'{"query": "{ viewer { subject } }"}' * 2,
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_no_request_is_refused(world: World, body: str) -> None:
    response = sent(world, BODIES[body])
    assert (checked(response), response.status_code) == (["MALFORMED_REQUEST"], 400)


@pytest.mark.parametrize("depth", [10, 300, 450, 600, 1000])
def test_variables_may_be_nested_as_deeply_as_json_may(world: World, depth: int) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        nested = opening * depth + "1" + closing * depth
        body = f'{{"query": "{{ viewer {{ subject }} }}", "variables": {{"unused": {nested}}}}}'
        assert checked(sent(world, body.encode())) == []
        query = "query($ids: [ID!]!, $id: ID!) { nodes(ids: $ids) { id } node(id: $id) { id } }"
        body = json.dumps({"query": query}).removesuffix("}") + f', "variables": {{"ids": {nested}, "id": {nested}}}}}'
        assert set(checked(sent(world, body.encode()))) == {"INVALID_INPUT"}


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 10_000_000, 40_000_000])
def test_a_body_that_is_too_large_is_refused_whatever_it_holds(world: World, size: int) -> None:
    response = sent(world, b'{"query": "' + b"x" * size)
    assert (checked(response), response.status_code) == (["PAYLOAD_TOO_LARGE"], 413)


def test_a_body_of_just_the_largest_size_is_read(world: World) -> None:
    body = json.dumps({"query": VIEWER}).encode()
    assert checked(sent(world, body + b" " * (MAX_BODY_BYTES - len(body)))) == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "QUERY"])
def test_no_other_method_is_answered(world: World, method: str) -> None:
    response = sent(world, json.dumps({"query": VIEWER}).encode(), method=method)
    assert (checked(response), response.status_code) == (["MALFORMED_REQUEST"], 405)
    assert response.headers["allow"] == "GET, HEAD, POST, OPTIONS"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/graphql",
        "multipart/form-data",
        "json",
        "\xff",
        "application/x-www-form-urlencoded",
    ],
)
def test_only_json_is_read(world: World, content_type: str) -> None:
    headers = {b"content-type": content_type.encode("latin-1")} if content_type else {}
    token = {name.encode(): value.encode() for name, value in world.headers("OWNER").items()}
    response = world.run(
        world.http.post("/", content=json.dumps({"query": VIEWER}).encode(), headers={**headers, **token})
    )
    assert (checked(response), response.status_code) == (["MALFORMED_REQUEST"], 415)


# Documents.

DOCUMENTS: list[tuple[str, set[str]]] = [
    ("", {"MALFORMED_REQUEST"}),
    (" # only a comment", {"GRAPHQL_PARSE_FAILED"}),
    ("{", {"GRAPHQL_PARSE_FAILED"}),
    ("{" * 5000, {"GRAPHQL_PARSE_FAILED"}),
    ("{a" * 5000 + "}" * 5000, {"GRAPHQL_PARSE_FAILED"}),
    ("{a(b:" + "[" * 5000 + "]" * 5000 + ")}", {"GRAPHQL_PARSE_FAILED"}),
    ("{a(b:" + "{c:" * 5000 + "1" + "}" * 5000 + ")}", {"GRAPHQL_PARSE_FAILED"}),
    ("query(" + "$a: " + "[" * 5000 + "Int" + "]" * 5000 + ") { viewer { subject } }", {"GRAPHQL_PARSE_FAILED"}),
    ('{ node(id: "\\ud800") { id } }', {"GRAPHQL_PARSE_FAILED"}),
    ('{ node(id: "\\u{110000}") { id } }', {"GRAPHQL_PARSE_FAILED"}),
    ('{ node(id: "\\u0000") { id } }', {"MALFORMED_REQUEST"}),
    ('{ node(id: "\\u{0}") { id } }', {"MALFORMED_REQUEST"}),
    ("SELECT 1", {"GRAPHQL_PARSE_FAILED"}),
    ("{ nothing }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ viewer }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ viewer { subject { length } } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ viewer { ...missing } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ ...a } fragment a on Query { ...a }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("fragment a on Query { viewer { subject } }", {"GRAPHQL_VALIDATION_FAILED", "MALFORMED_REQUEST"}),
    ("type Query { a: Int }", {"GRAPHQL_VALIDATION_FAILED", "MALFORMED_REQUEST"}),
    ("{ viewer { subject } } { viewer { subject } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("query a { viewer { subject } } query b { viewer { subject } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("subscription { viewer { subject } }", {"GRAPHQL_VALIDATION_FAILED", "MALFORMED_REQUEST"}),
    ("mutation { nothing }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("mutation { recordUsage }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ viewer(unknown: 1) { subject } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ viewer @unknown { subject } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ viewer @include { subject } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("query($a: Nothing) { viewer { subject } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("query($a: Viewer) { viewer { subject } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ node(id: $id) { id } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ node { id } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ node(id: null) { id } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ node(id: {}) { id } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ workspace(by: {}) { id } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ('{ workspace(by: {id: "a", slug: "b"}) { id } }', {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ workspace(by: {slug: null}) { id } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("query($slug: String) { workspace(by: {slug: $slug}) { id } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ viewer { workspace { users(first: 99999999999) { totalCount } } } }", {"GRAPHQL_VALIDATION_FAILED"}),
    (f"{{ viewer {{ workspace {{ users(first: {'9' * 5000}) {{ totalCount }} }} }} }}", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ viewer { workspace { users(first: 1.5) { totalCount } } } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ('{ viewer { workspace { users(filter: {active: "yes"}) { totalCount } } } }', {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ viewer { workspace { users(filter: {kind: NOBODY}) { totalCount } } } }", {"GRAPHQL_VALIDATION_FAILED"}),
    ("{ viewer { workspace { users(filter: {unknown: 1}) { totalCount } } } }", {"GRAPHQL_VALIDATION_FAILED"}),
]


@pytest.mark.parametrize(
    ("document", "codes"), DOCUMENTS, ids=lambda value: value[:50] if isinstance(value, str) else None
)
def test_a_document_that_is_none_or_does_not_fit_is_refused(world: World, document: str, codes: set[str]) -> None:
    found = set(asked(world, document))
    assert found
    assert found <= codes


@pytest.mark.parametrize("depth", [20, 50, 80, 110, 140, 170, 200, 250, 300, 500])
def test_a_document_of_any_depth_is_answered_or_refused(world: World, depth: int) -> None:
    usage = f'usage(range: {{days: {{first: "{ALL_DAYS["days"]["first"]}", last: "2026-03-13"}}}})'
    shapes = [
        "{ viewer { user { " + "homeGroup { members(first: 1) { nodes { " * depth + "id" + " } } }" * depth + " } } }",
        "{ viewer { workspace { " + usage + " { " + "breakdown(by: [MODEL], first: 1) { rows { usage { " * depth
        + "credits" + " } } }" * depth + " } } } }",
        "{ viewer { subject " + "... on Viewer { kind " * depth + " } " * depth + " } }",
        "{ __schema { types { fields { type { " + "ofType { " * depth + "name" + " }" * depth + " } } } } }",
        "{ nodes(ids: " + "[" * depth + '"x"' + "]" * depth + ") { id } }",
    ]  # fmt: skip
    for document in shapes:
        codes = set(asked(world, document))
        assert codes <= {"GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"}, document[:80]


def test_an_operation_that_the_document_does_not_have_is_refused(world: World) -> None:
    body = {"query": "query a { viewer { subject } } query b { viewer { kind } }", "operationName": "c"}
    response = sent(world, json.dumps(body).encode())
    assert checked(response) == ["MALFORMED_REQUEST"]
    response = sent(world, json.dumps(body | {"operationName": "b"}).encode())
    assert (checked(response), response.json()["data"]) == ([], {"viewer": {"kind": "PERSON"}})


# Values.

LIST = "{ viewer { workspace { users%s { totalCount nodes { id } } } } }"
USAGE = "{ viewer { workspace { usage%s { credits } } } }"
BREAKDOWN = "{ viewer { workspace { usage(range: {preset: TODAY}) { breakdown%s { rowCount } } } } }"
SERIES = "{ viewer { workspace { usage(range: %s) { series%s { points { credits } } } } } }"
VALUES: list[tuple[str, str]] = [
    *(
        (f"{{ node(id: {json.dumps(id_)}) {{ id }} }}", "INVALID_ID")
        for id_ in (
            "", "x", "User", "=", "\u00fc", "5", USER + "=", USER[:-1], USER + "A", USER.lower(), " " + USER,
            f"User:{user_id('mo')}", "VXNlcjo", "x" * 10_000,
        )
    ),
    ("{ node(id: 5) { id } }", "INVALID_ID"),
    ('{ nodes(ids: ["x"]) { id } }', "INVALID_ID"),
    (f"{{ nodes(ids: {json.dumps([USER] * 101)}) {{ id }} }}", "INVALID_INPUT"),
    (f'{{ workspace(by: {{id: "{USER}"}}) {{ id }} }}', "INVALID_ID"),
    (f'{{ viewer {{ workspace {{ user(by: {{id: "{GROUP}"}}) {{ id }} }} }} }}', "INVALID_ID"),
    (f'{{ viewer {{ workspace {{ group(by: {{id: "{USER}"}}) {{ id }} }} }} }}', "INVALID_ID"),
    (LIST % f'(filter: {{groups: ["{USER}"]}})', "INVALID_ID"),
    (LIST % f"(filter: {{groups: {json.dumps([GROUP] * 1001)}}})", "INVALID_INPUT"),
    *((LIST % f"({page})", "INVALID_PAGE") for page in (
        "first: 0", "first: 101", "first: -1", "last: 0", "last: 101", "last: -2147483648", "first: 1, last: 1",
        'first: 1, before: "x"', 'after: "x", last: 1', 'after: "x", before: "x"',
    )),
    *((LIST % f'(after: "{cursor}")', "INVALID_CURSOR") for cursor in (
        "", "x", "bnVsbA", "W10", "e30", "WyJOQU1FOkFTQzoiLDAsImEiLCJ4Il0", "WyJOQU1FOkFTQzoiLDAsImEiLDVd",
        "\u00fc", "=" * 9, "x" * 100_000, "WzEsMiwzLDRd", "WW" * 500,
    )),
    *((USAGE % f"(range: {range_})", "INVALID_RANGE") for range_ in (
        '{days: {first: "2026-06-02", last: "2026-06-01"}}',
        '{days: {first: "0001-01-01", last: "0001-01-01"}}',
        '{days: {first: "9999-12-31", last: "9999-12-31"}}',
        '{days: {first: "0001-01-01", last: "9999-12-31"}}',
        '{instants: {start: "2026-06-01T00:00:00Z", end: "2026-06-01T00:00:00Z"}}',
        '{instants: {start: "0001-01-01T00:00:00Z", end: "0001-01-02T00:00:00Z"}}',
        '{instants: {start: "9999-12-31T00:00:00Z", end: "9999-12-31T23:59:59Z"}}',
        '{instants: {start: "0001-01-01T00:00:00Z", end: "9999-12-31T23:59:59Z"}}',
    )),
    *((USAGE % f"(range: {range_})", "INVALID_INPUT") for range_ in (
        '{days: {first: "yesterday", last: "2026-06-01"}}',
        '{days: {first: "2026-02-30", last: "2026-06-01"}}',
        '{days: {first: "2026-6-1", last: "2026-06-01"}}',
        '{days: {first: 20260601, last: "2026-06-01"}}',
        '{days: {first: "10000-01-01", last: "2026-06-01"}}',
        '{instants: {start: "2026-06-01", end: "2026-06-02T00:00:00Z"}}',
        '{instants: {start: "2026-06-01T00:00:00", end: "2026-06-02T00:00:00Z"}}',
        '{instants: {start: "2026-06-01T25:00:00Z", end: "2026-06-02T00:00:00Z"}}',
        '{instants: {start: "2026-06-01T00:00:00+99:00", end: "2026-06-02T00:00:00Z"}}',
        '{instants: {start: "0001-01-01T00:00:00+14:00", end: "2026-06-02T00:00:00Z"}}',
        '{instants: {start: "2026-06-01T00:00:00Z", end: "9999-12-31T23:59:59-14:00"}}',
        "{instants: {start: 1, end: 2}}",
    )),
    (USAGE % f'(range: {{preset: TODAY}}, filter: {{users: ["{GROUP}"]}})', "INVALID_ID"),
    (USAGE % f'(range: {{preset: TODAY}}, filter: {{products: {json.dumps(["x"] * 1001)}}})', "INVALID_INPUT"),
    (BREAKDOWN % "(by: [])", "INVALID_INPUT"),
    (BREAKDOWN % "(by: [MODEL, MODEL])", "INVALID_INPUT"),
    *((BREAKDOWN % f"(by: [MODEL], first: {first})", "INVALID_PAGE") for first in (0, -1, 1001)),
    (SERIES % ("{preset: TODAY}", "(interval: DAY, first: 0)"), "INVALID_PAGE"),
    (SERIES % ('{days: {first: "2026-01-01", last: "2026-03-01"}}', "(interval: HOUR)"), "INVALID_RANGE"),
    (SERIES % ('{days: {first: "2020-01-01", last: "2026-03-01"}}', "(interval: DAY)"), "INVALID_RANGE"),
    (LIST % '(orderBy: {field: CREDITS, range: {days: {first: "2026-06-02", last: "2026-06-01"}}})', "INVALID_RANGE"),
    (
        LIST
        % "(orderBy: {field: CREDITS, range: {instants:"
        ' {start: "2026-06-01T01:02:03Z", end: "2026-06-02T00:00:00Z"}}})',
        "INVALID_RANGE",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("query", "code"), VALUES, ids=lambda value: str(value)[:70])
def test_a_value_that_cannot_be_is_named_by_its_code(world: World, query: str, code: str) -> None:
    assert set(asked(world, query)) == {code}


@pytest.mark.parametrize(
    "text",
    ["%", "_", "'", '"', "\\", "'; DROP TABLE app_user; --", "\u0301", "\U0001f600", "x" * 100_000, "{}", "$1", "%s"],
)
def test_text_is_only_ever_text(world: World, text: str) -> None:
    before = world.row_counts()
    query = """query($text: String!, $filter: UsageFilter!) {
      workspace(by: {slug: $text}) { id }
      viewer { workspace {
        user(by: {email: $text}) { id } other: user(by: {externalId: $text}) { id } group(by: {slug: $text}) { id }
        users(filter: {search: $text}) { totalCount } groups(filter: {search: $text}) { totalCount }
        usage(range: {preset: LAST_90_DAYS}, filter: $filter) { credits }
      } } }"""
    assert asked(world, query, {"text": text, "filter": {"products": [text], "models": [text, text]}}) == []
    assert world.row_counts() == before


# Recording.

RECORD = """
mutation($input: RecordUsageInput!) { recordUsage(input: $input) {
  __typename ... on RecordUsageSuccess { accepted duplicates rejected { index code message } }
  ... on InvalidInput { message code path }
} }"""


def new_event(**changes: object) -> dict[str, object]:
    return {
        "source": "test",
        "id": "bad",
        "at": "2026-06-01T12:00:00Z",
        "user": {"id": USER},
        "product": "chat",
        "model": "large",
        "credits": "1",
    } | changes


# What the schema's types refuse: nothing of the batch is recorded.
UNFIT: dict[str, list[Any]] = {
    "credits": [1, 1.5, -1, 1e30, True, "", "x", "1.0000001", "1e3", "NaN", "9" * 41, [], {}],
    "inputTokens": [1.5, 1e30, True, "", "x", "1.0", "9" * 41, "0x1", "\u0661", None, []],
    "at": ["", "now", "2026-06-01", 5, 1e9, None, "2026-06-01T12:00:00", "2026-13-01T00:00:00Z",
           "0001-01-01T00:00:00+01:00", "10000-01-01T00:00:00Z", "2026-06-01T12:00:00+24:00", []],
    "user": [{}, None, 5, "mo", {"id": USER, "email": "a"}, {"id": None}, {"email": None}, {"unknown": 1}, {"id": []},
             {"email": 5}, []],
    **{name: [None, 5, [], {}, True] for name in ("source", "id", "product", "model")},
    "tags": [5, "x", {"key": "a"}, [{"key": 5, "value": "x"}], [None], [[]]],
    "corrects": [5],
    "messages": [1.5, True, "", "x", "1.0", []],
    "tasks": [1.5, "9" * 41],
    "minutes": [1, 1.5, True, "", "x", "1.0000001", "1e3", "NaN", "9" * 41, []],
    "tier": [5, []],
    "unknown": [1],
}  # fmt: skip
MISFITS: list[dict[str, Any]] = [{name: value} for name, values in UNFIT.items() for value in values]


@pytest.mark.parametrize("change", MISFITS, ids=str)
def test_an_event_that_does_not_fit_its_type_is_refused_with_its_batch(world: World, change: dict[str, object]) -> None:
    before = world.row_counts()
    variables = {"input": {"events": [new_event(id="good"), new_event(**change)]}}
    assert set(asked(world, RECORD, variables, "WRITER")) == {"INVALID_INPUT"}
    assert world.row_counts() == before


# What the business refuses: the others of the batch are recorded.
REJECTED: list[tuple[dict[str, object], str]] = [
    ({"credits": "-1"}, "INVALID_AMOUNT"),
    ({"credits": "1" + "0" * 30}, "INVALID_AMOUNT"),
    ({"credits": "1000000000.000001"}, "INVALID_AMOUNT"),
    ({"credits": None}, "UNPRICED"),
    ({"credits": None, "corrects": "no such event"}, "INVALID_AMOUNT"),
    ({"messages": "-1"}, "INVALID_AMOUNT"),
    ({"tasks": 10**12 + 1}, "INVALID_AMOUNT"),
    ({"minutes": "-0.000001"}, "INVALID_AMOUNT"),
    ({"minutes": "1000000000.000001"}, "INVALID_AMOUNT"),
    ({"tier": "x" * 101}, "INVALID_EVENT"),
    ({"tier": "a\nb"}, "INVALID_EVENT"),
    ({"inputTokens": "-1"}, "INVALID_AMOUNT"),
    ({"outputTokens": 10**12 + 1}, "INVALID_AMOUNT"),
    ({"cachedInputTokens": "9" * 40}, "INVALID_AMOUNT"),
    ({"at": "0001-01-01T00:00:00Z"}, "INVALID_TIME"),
    ({"at": "9999-12-31T23:59:59Z"}, "INVALID_TIME"),
    ({"at": "1999-12-31T23:59:59Z"}, "INVALID_TIME"),
    ({"user": {"id": shown_id("User", id_of("nobody"))}}, "UNKNOWN_USER"),
    ({"user": {"email": "nobody@example.com"}}, "UNKNOWN_USER"),
    ({"user": {"externalId": ""}}, "UNKNOWN_USER"),
    ({"user": {"email": ""}}, "UNKNOWN_USER"),
    ({"user": {"id": "x"}}, "INVALID_ID"),
    ({"user": {"id": ""}}, "INVALID_ID"),
    ({"user": {"id": GROUP}}, "INVALID_ID"),
    ({"source": ""}, "INVALID_EVENT"),
    ({"id": "x" * 201}, "INVALID_EVENT"),
    ({"product": "a\nb"}, "INVALID_EVENT"),
    ({"model": "\u200b"}, "INVALID_EVENT"),
    ({"tags": [{"key": "", "value": ""}]}, "INVALID_EVENT"),
    ({"tags": [{"key": str(number), "value": ""} for number in range(21)]}, "INVALID_EVENT"),
    ({"corrects": ""}, "INVALID_EVENT"),
    ({"corrects": "no such event"}, "UNKNOWN_EVENT"),
]


def test_events_that_cannot_be_recorded_are_named_in_order_and_the_others_recorded(world: World) -> None:
    bad = [new_event(**{"id": f"bad-{number}", **change}) for number, (change, _) in enumerate(REJECTED)]
    good = [new_event(id=f"good-{number}", user={"externalId": external_id_of("mo")}) for number in range(len(bad))]
    batch = [event for pair in zip(bad, good, strict=True) for event in pair]
    result = world.ask("WRITER", RECORD, input={"events": batch})["recordUsage"]
    assert (result["accepted"], result["duplicates"]) == (len(good), 0)
    expected = [(2 * number, code) for number, (_, code) in enumerate(REJECTED)]
    assert [(one["index"], one["code"]) for one in result["rejected"]] == expected
    assert not OURS.search(json.dumps(result))


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_of_no_or_too_many_events_is_an_answer_of_the_mutation(world: World, count: int) -> None:
    before = world.row_counts()
    result = world.ask("WRITER", RECORD, input={"events": [new_event(id=str(number)) for number in range(count)]})
    assert result == {
        "recordUsage": {
            "__typename": "InvalidInput",
            "message": "A batch takes 1 to 1000 items.",
            "code": "BATCH_SIZE",
            "path": ["input", "events"],
        }
    }
    assert world.row_counts() == before


def test_sums_past_64_bits_are_refused_and_leave_everything_as_it_was(world: World) -> None:
    def batch(number: int) -> dict[str, Any]:
        many = [new_event(id=f"huge-{number}-{nth}", credits="1000000000", product="huge") for nth in range(1000)]
        return world.answer("WRITER", RECORD, input={"events": many})

    for number in range(9):
        assert batch(number)["data"]["recordUsage"]["accepted"] == 1000
    before = world.row_counts()
    answer = batch(9)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["INVALID_AMOUNT"]
    assert world.row_counts() == before
    world.sql("DELETE FROM usage_event WHERE product = 'huge' RETURNING 1")
    for rollup in ("user_detail_day", "group_day", "group_hour", "workspace_day"):
        world.sql(f"DELETE FROM rollup_{rollup} WHERE product = 'huge' RETURNING 1")  # noqa: S608 - names of ours
    for rollup in ("user_day", "user_month"):
        world.sql(f"DELETE FROM rollup_{rollup} WHERE credits > 10^14 RETURNING 1")  # noqa: S608 - names of ours


# Anything at all.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)


@FEW
@given(st.binary(max_size=200))
@example(b"\x00")
def test_any_bytes_are_refused_or_answered(world: World, body: bytes) -> None:
    checked(sent(world, body))


@FEW
@given(JSON, JSON, JSON)
def test_any_json_is_refused_or_answered(world: World, query: object, variables: object, name: object) -> None:
    body = {"query": query, "variables": variables, "operationName": name}
    checked(sent(world, json.dumps(body).encode()))
    checked(sent(world, json.dumps(body | {"query": VIEWER, "operationName": None}).encode()))


NAMES = st.sampled_from(
    [
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ":",
        "!",
        "$",
        "@",
        "...",
        "query",
        "mutation",
        "fragment",
        "on",
        "viewer",
        "workspace",
        "users",
        "usage",
        "node",
        "id",
        "first",
        "after",
        "range",
        "by",
        "filter",
        "credits",
        "breakdown",
        "rows",
        "USER",
        "DAY",
        "0",
        "-1",
        "1e9",
        '"x"',
        '"""y"""',
        "null",
        "true",
        "TODAY",
        "days",
    ]
)


@FEW
@given(st.lists(NAMES, max_size=40))
def test_any_words_of_the_language_are_refused_or_answered(world: World, words: list[str]) -> None:
    asked(world, " ".join(words))


TEXTS = st.text(max_size=12) | st.sampled_from(["", "\x00", "a\nb", "%", "'", USER, GROUP, "1", "-1", "1" * 41])
TIMES = st.datetimes().map(lambda at: at.isoformat() + "Z") | st.sampled_from(
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-06-01T12:00:60Z", "2026-06-01T24:00:00Z"]
)
ANY_EVENT = st.fixed_dictionaries(
    {
        "source": TEXTS,
        "id": TEXTS,
        "at": TIMES,
        "user": st.fixed_dictionaries({"id": TEXTS}) | st.fixed_dictionaries({"email": TEXTS}) | JSON,
        "product": TEXTS,
        "model": TEXTS,
    },
    optional={
        "credits": TEXTS | st.decimals(-(10**30), 10**30, places=6).map(str) | JSON,
        "inputTokens": TEXTS | st.integers(-(10**45), 10**45) | JSON,
        "outputTokens": st.integers(-(10**13), 10**13).map(str),
        "corrects": TEXTS,
        "messages": TEXTS | JSON,
        "tasks": st.integers(-(10**13), 10**13).map(str),
        "minutes": TEXTS | st.decimals(-(10**10), 10**10, places=6).map(str) | JSON,
        "tier": TEXTS,
        "tags": st.lists(st.fixed_dictionaries({"key": TEXTS, "value": TEXTS}), max_size=3) | JSON,
    },
)


@FEW
@given(st.lists(ANY_EVENT, max_size=3))
def test_any_events_are_recorded_or_refused(world: World, events: list[dict[str, object]]) -> None:
    body = json.dumps({"query": RECORD, "variables": {"input": {"events": events}}}).encode()
    response = sent(world, body, caller="WRITER")
    codes = checked(response)
    result = (response.json().get("data") or {}).get("recordUsage")
    assert codes or result
    for one in (result or {}).get("rejected", []):
        assert one["code"] in ErrorCode.__members__
        assert not OURS.search(one["message"])


@FEW
@given(JSON, JSON, JSON)
def test_any_variables_are_refused_or_answered(world: World, first: object, second: object, third: object) -> None:
    query = """
    query($a: WorkspaceBy!, $b: UserBy!, $c: RangeInput!, $d: UsageFilter, $e: Int, $f: String, $g: [ID!]!, $h: ID!) {
      workspace(by: $a) { user(by: $b) { id } usage(range: $c, filter: $d) { credits }
        users(first: $e, after: $f) { totalCount } }
      nodes(ids: $g) { id } node(id: $h) { id }
    }"""
    values = [first, second, third]
    good: list[Any] = [{"slug": "x"}, {"email": "x"}, ALL_DAYS, None, 5, None, [USER], USER]
    for place in range(len(good)):
        variables = dict(zip("abcdefgh", good, strict=True)) | {"abcdefgh"[place]: values[place % 3]}
        asked(world, query, variables)


def test_the_world_is_still_what_it_was(world: World) -> None:
    names = world.ask("OWNER", "{ viewer { workspace { users(first: 100) { totalCount } } } }")
    assert names["viewer"]["workspace"]["users"]["totalCount"] == len(ACME.people)


def test_what_is_wrong_with_one_field_is_told_of_it_alone(world: World) -> None:
    usage = 'usage(range: {days: {first: "2026-04-01", last: "2026-05-31"}})'
    weeks, hours = (f"{usage} {{ series(interval: {one}) {{ points {{ credits }} }} }}" for one in ("WEEK", "HOUR"))
    with without_plans(world) as stock:
        for one in (world, stock):
            answer = one.answer("MEMBER", f"{{ viewer {{ user {{ weeks: {weeks} hours: {hours} }} }} }}")
            assert [error["path"] for error in answer["errors"]] == [["viewer", "user", "hours", "series"]]
            assert answer["data"]["viewer"]["user"]["hours"] is None
            assert len(answer["data"]["viewer"]["user"]["weeks"]["series"][0]["points"]) == 9
