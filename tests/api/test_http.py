"""GraphQL over HTTP beyond the audits: what is taken, how it is answered, and what no page elsewhere can do."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from creditdesk.credits.errors import ErrorCode
from creditdesk.graphql.media_types import GRAPHQL_RESPONSE, JSON, negotiated
from support.world import World

VIEWER = "{ viewer { subject } }"
CHANGE = "mutation { changeSettings(input: {expectedVersion: 1, cooldownHours: 7}) { __typename } }"
PREFLIGHT = {"graphql-require-preflight": "1"}
OLGA = {"viewer": {"subject": "olga"}}


def sent(world: World, method: str = "POST", caller: str = "OWNER", **given: Any) -> httpx.Response:
    headers = world.headers(caller) | given.pop("headers", {})
    response: httpx.Response = world.run(world.http.request(method, "/graphql", headers=headers, **given))
    return response


def code(response: httpx.Response) -> str:
    """Return the code of the one error that an answer consists of."""
    answer = response.json()
    assert set(answer) == {"errors"}
    [error] = answer["errors"]
    found: str = error["extensions"]["code"]
    assert found in ErrorCode.__members__
    return found


# Media types.


@pytest.mark.parametrize(
    ("accept", "type_"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        ("Application/JSON; charset=utf-8", JSON),
        ("application/json, text/plain, */*", JSON),
        (GRAPHQL_RESPONSE, GRAPHQL_RESPONSE),
        (f"{GRAPHQL_RESPONSE}, application/json", GRAPHQL_RESPONSE),
        (f"application/json, {GRAPHQL_RESPONSE}", GRAPHQL_RESPONSE),
        (f"{GRAPHQL_RESPONSE}; charset=utf-8, application/json; charset=utf-8", GRAPHQL_RESPONSE),
        (f"{GRAPHQL_RESPONSE};q=0.9, application/json", JSON),
        (f"{GRAPHQL_RESPONSE};q=0.9, */*", JSON),
        (f"{GRAPHQL_RESPONSE};q=0.9, */*;q=0.1", GRAPHQL_RESPONSE),
        ("application/json;q=0, */*", GRAPHQL_RESPONSE),
        (f"{GRAPHQL_RESPONSE};q=0, application/*", JSON),
        ("application/json;q=0.001", JSON),
        ("application/json;q=2", None),
        ("application/json;q=nan", None),
        ("application/json;q=1e-9", None),
        ("application/json;q=0", None),
        ("*/*;q=0", None),
        ("application/*;q=0, */*", None),
        ("text/html", None),
        ("text/*", None),
        (",;,=;q", None),
    ],
)
def test_the_answer_is_of_the_type_that_the_client_prefers(accept: str | None, type_: str | None) -> None:
    assert negotiated(accept) == type_


def test_a_client_that_takes_none_of_our_types_is_told_so_in_json(world: World) -> None:
    response = sent(world, json={"query": VIEWER}, headers={"accept": "text/html"})
    assert (code(response), response.status_code) == ("MALFORMED_REQUEST", 406)
    assert response.headers["content-type"] == JSON


def test_several_accept_headers_are_one_list(world: World) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in world.headers("OWNER").items()]
    pairs += [(b"accept", b"text/html"), (b"accept", GRAPHQL_RESPONSE.encode())]
    response = world.run(world.http.post("/graphql", json={"query": VIEWER}, headers=pairs))
    assert response.headers["content-type"] == GRAPHQL_RESPONSE


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"query": "{"}, 400),
        ({"query": "{ nothing }"}, 400),
        ({"query": "query($id: ID!) { node(id: $id) { id } }"}, 400),
        ({"query": "query a { __typename } query b { __typename }"}, 400),
        ({"query": "query a { __typename }", "operationName": "b"}, 400),
        ({"query": "fragment a on Query { __typename }"}, 400),
        ({"documentId": "nothing"}, 400),
        ({"query": '{ node(id: "x") { id } }'}, 200),
        ({"query": VIEWER}, 200),
    ],
)
def test_a_request_error_is_a_400_for_clients_that_know_graphql_and_a_200_for_the_others(
    world: World, request_: dict[str, Any], status: int
) -> None:
    knowing = sent(world, json=request_, headers={"accept": GRAPHQL_RESPONSE})
    other = sent(world, json=request_, headers={"accept": JSON})
    assert (knowing.status_code, other.status_code) == (status, 200)
    assert knowing.json() == other.json()
    assert ("data" in other.json()) == (status == 200)
    assert (knowing.headers["content-type"], other.headers["content-type"]) == (GRAPHQL_RESPONSE, JSON)


def test_an_answer_is_kept_by_nobody(world: World) -> None:
    response = sent(world, json={"query": VIEWER})
    assert (response.headers["cache-control"], response.headers["vary"]) == ("private, no-store", "Accept")


@pytest.mark.parametrize(
    "charset", ["", "; charset=utf-8", "; charset=UTF-8", '; charset="utf-8"', ";charset=utf8; a=b"]
)
def test_a_body_in_utf_8_is_read(world: World, charset: str) -> None:
    response = sent(world, content=json.dumps({"query": VIEWER}), headers={"content-type": JSON + charset})
    assert response.json()["data"] == OLGA


@pytest.mark.parametrize(
    "content_type", [f"{JSON}; charset=utf-16", f"{JSON}; charset=latin-1", f"{JSON}, {JSON}", f"{JSON}; charset="]
)
def test_a_body_in_anything_else_is_not(world: World, content_type: str) -> None:
    response = sent(world, content=json.dumps({"query": VIEWER}), headers={"content-type": content_type})
    assert (code(response), response.status_code) == ("MALFORMED_REQUEST", 415)


def test_a_compressed_body_is_not_read(world: World) -> None:
    headers = {"content-type": JSON, "content-encoding": "gzip"}
    response = sent(world, content=b"\x1f\x8b", headers=headers)
    assert (code(response), response.status_code) == ("MALFORMED_REQUEST", 415)


def test_a_batch_is_refused_and_said_to_be_one(world: World) -> None:
    response = sent(world, json=[{"query": VIEWER}, {"query": VIEWER}])
    assert (code(response), response.status_code) == ("MALFORMED_REQUEST", 400)
    assert response.json()["errors"][0]["message"] == "Batches are not executed: send one request at a time."


# GET.


@pytest.mark.parametrize(
    "header", ["graphql-require-preflight", "apollo-require-preflight", "x-apollo-operation-name", "x-creditdesk-csrf"]
)
def test_a_query_may_be_sent_by_get_with_a_header_that_no_other_page_can_set(world: World, header: str) -> None:
    response = sent(world, "GET", params={"query": VIEWER}, headers={header: "1"})
    assert (response.status_code, response.json()["data"]) == (200, OLGA)


@pytest.mark.parametrize("headers", [{}, {"content-type": "text/plain"}, {"graphql-require-preflight": ""}])
def test_a_get_without_such_a_header_runs_nothing(world: World, headers: dict[str, str]) -> None:
    with world.statements() as ran:
        response = sent(world, "GET", params={"query": "{ viewer { user { id } } }"}, headers=headers)
    assert (code(response), response.status_code) == ("MALFORMED_REQUEST", 400)
    assert ran == []


def test_a_get_takes_variables_an_operation_s_name_and_extensions(world: World) -> None:
    query = "query a { __typename } query b($slug: String!) { workspace(by: {slug: $slug}) { slug } }"
    slug = world.ask("OWNER", "{ viewer { workspace { slug } } }")["viewer"]["workspace"]["slug"]
    parameters = {"query": query, "operationName": "b", "variables": json.dumps({"slug": slug}), "extensions": "{}"}
    response = sent(world, "GET", params=parameters, headers=PREFLIGHT)
    assert response.json()["data"] == {"workspace": {"slug": slug}}


@pytest.mark.parametrize(
    "parameters",
    [
        [],
        [("query", "")],
        [("query", VIEWER), ("query", VIEWER)],
        [("query", VIEWER), ("variables", "{")],
        [("query", VIEWER), ("variables", "[]")],
        [("query", VIEWER), ("extensions", "1")],
        [("query", VIEWER), ("documentId", "x")],
        [("query", VIEWER + "\0")],
    ],
    ids=str,
)
def test_parameters_that_are_no_request_are_refused(world: World, parameters: list[tuple[str, str]]) -> None:
    response = sent(world, "GET", params=parameters, headers=PREFLIGHT)
    assert (code(response), response.status_code) == ("MALFORMED_REQUEST", 400)


@pytest.mark.parametrize("accept", [JSON, GRAPHQL_RESPONSE])
@pytest.mark.parametrize(
    "query", ["mutation { __typename }", CHANGE, f"query a {VIEWER} {CHANGE.replace('n {', 'n b {')}"]
)
def test_nothing_is_changed_by_get(world: World, query: str, accept: str) -> None:
    before = world.sql("SELECT * FROM workspace_settings")
    parameters = {"query": query} | ({"operationName": "b"} if "n b {" in query else {})
    response = sent(world, "GET", params=parameters, headers=PREFLIGHT | {"accept": accept})
    assert (code(response), response.status_code, response.headers["allow"]) == ("MALFORMED_REQUEST", 405, "POST")
    assert world.sql("SELECT * FROM workspace_settings") == before


def test_head_is_get_without_its_body_and_options_says_what_there_is(world: World) -> None:
    head = sent(world, "HEAD", params={"query": VIEWER}, headers=PREFLIGHT)
    assert (head.status_code, head.headers["content-type"]) == (200, JSON)
    options = sent(world, "OPTIONS")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, POST, OPTIONS")


def test_a_get_is_for_those_who_are_signed_in(world: World) -> None:
    response = world.run(world.http.get("/graphql", params={"query": VIEWER}, headers=PREFLIGHT))
    assert (code(response), response.status_code) == ("UNAUTHENTICATED", 401)


# Whatever comes in.

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(["query", "variables", "operationName", "extensions", "documentId", "persistedQuery"])
_REQUESTS = st.dictionaries(_NAMES | st.text(max_size=5), st.just(VIEWER) | _VALUES, max_size=6)
_HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "accept": _HEADER | st.sampled_from([JSON, GRAPHQL_RESPONSE, "*/*", "a/b;q=1"]),
        "content-type": _HEADER | st.just(JSON) | st.just(f"{JSON};charset=utf-8"),
        "content-encoding": _HEADER,
        "graphql-require-preflight": _HEADER,
        "origin": _HEADER,
    },
)


@given(
    method=st.sampled_from(["POST", "POST", "GET", "HEAD", "PUT"]),
    body=st.binary(max_size=50) | (_REQUESTS | _VALUES).map(lambda value: json.dumps(value).encode()),
    query=st.dictionaries(_NAMES, st.just(VIEWER) | st.just("{}") | st.text(), max_size=4),
    headers=_HEADERS,
)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_whatever_it_holds_is_a_500(
    world: World, method: str, body: bytes, query: dict[str, str], headers: dict[str, str]
) -> None:
    token = [(name.encode(), value.encode()) for name, value in world.headers("OWNER").items()]
    pairs = [*token, *((name.encode(), value.encode("latin-1")) for name, value in headers.items())]
    asked = httpx.Request(method, "http://test/graphql", params=query, headers=pairs, content=body)
    response = world.run(world.http.send(asked))
    assert response.status_code in {200, 400, 405, 406, 415}, response.text
    assert response.headers["content-type"] in {JSON, GRAPHQL_RESPONSE}
    answer = response.json() if method != "HEAD" else {}
    assert all(error["extensions"]["code"] != "INTERNAL" for error in answer.get("errors", []))
