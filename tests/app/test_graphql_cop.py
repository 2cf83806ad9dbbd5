"""The checks of graphql-cop, each carried out on an endpoint with the settings that nobody has changed.

What a check sends is what it sends; what it takes for a weakness must not be there, with a token and without one.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from creditdesk.app.main import app_from_settings
from creditdesk.app.protection import charging, document_limits
from creditdesk.app.settings import load_settings
from creditdesk.db.connections import Database
from creditdesk.graphql.answering import Answering
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.schema import core_schema
from support.asgi import with_client
from support.databases import FreshDatabase
from support.world import PLACES, World, put_place, world_of

PRODUCTION = load_settings({})
TYPENAME = "query cop { __typename }"
ALIASES = "query cop { " + " ".join(f"alias{number}:__typename" for number in range(101)) + " }"
DIRECTIVES = "query cop { __typename " + "@aa" * 10 + " }"
DUPLICATES = "query cop { " + "__typename \n" * 500 + " }"
CIRCULAR = "query cop { __schema { types { " + "fields { type { " * 4 + "name" + " } }" * 4 + " } } }"
INTROSPECTION = "query cop { __schema { types { name fields { name } } } }"
SUGGESTED = (
    "query cop { __schema { directive } }",
    "query cop { viewr { subject } }",
    "query cop { viewer { subjet } }",
)
MALFORMED = ("qwerty cop { abc }", "query cop { viewer { subject }", "query cop { node(id: 1.5) { id } }")


def answering(**variables: str) -> Answering:
    settings = load_settings(variables)
    documents = Documents(core_schema(), document_limits(settings))
    return Answering(documents, charging=charging(settings), seconds=settings.request_timeout_seconds)


async def put_people(database: Database) -> None:
    for place in PLACES:
        await put_place(database, place)


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database, put_people, answering()) as filled:
        yield filled


def sent(world: World, method: str = "POST", *, token: bool = True, **given: Any) -> httpx.Response:
    headers = (world.headers("OWNER") if token else {}) | given.pop("headers", {})
    response: httpx.Response = world.run(world.http.request(method, "/graphql", headers=headers, **given))
    return response


def asked(world: World, query: str, *, token: bool = True) -> dict[str, Any]:
    answer: dict[str, Any] = sent(world, json={"query": query}, token=token).json()
    return answer


def codes(answer: dict[str, Any]) -> list[str]:
    return [error["extensions"]["code"] for error in answer["errors"]]


@pytest.mark.parametrize(
    "query", [ALIASES, DIRECTIVES, DUPLICATES, CIRCULAR, INTROSPECTION, TYPENAME, *SUGGESTED, *MALFORMED]
)
def test_without_a_token_no_document_is_even_read(world: World, query: str) -> None:
    response = sent(world, json={"query": query}, token=False)
    assert (response.status_code, codes(response.json())) == (401, ["UNAUTHENTICATED"])
    assert "data" not in response.json()


def test_alias_overloading(world: World) -> None:
    answer = asked(world, ALIASES)
    assert ("data" in answer, codes(answer)) == (False, ["QUERY_TOO_COMPLEX"])


def test_array_based_query_batching(world: World) -> None:
    response = sent(world, json=[{"query": TYPENAME}] * 10)
    assert response.status_code == 400
    assert codes(response.json()) == ["MALFORMED_REQUEST"]


def test_directive_overloading(world: World) -> None:
    answer = asked(world, DIRECTIVES)
    # The check counts an error for each of the ten directives.
    assert ("data" in answer, codes(answer)) == (False, ["QUERY_TOO_COMPLEX"])


def test_field_duplication(world: World) -> None:
    answer = asked(world, DUPLICATES)
    assert ("data" in answer, codes(answer)) == (False, ["QUERY_TOO_COMPLEX"])


def test_circular_introspection(world: World) -> None:
    answer = asked(world, CIRCULAR)
    assert ("data" in answer, codes(answer)) == (False, ["QUERY_TOO_COMPLEX"])


def test_introspection_is_for_callers_with_a_token(world: World) -> None:
    assert "data" not in asked(world, INTROSPECTION, token=False)
    names = [one["name"] for one in asked(world, INTROSPECTION)["data"]["__schema"]["types"]]
    assert {"Workspace", "Credits"} <= set(names)
    given = {"params": {"query": INTROSPECTION}, "headers": {"graphql-require-preflight": "1"}}
    assert sent(world, "GET", token=False, **given).status_code == 401


def test_get_based_queries(world: World) -> None:
    for token in (True, False):
        response = sent(world, "GET", params={"query": TYPENAME}, token=token)
        assert (response.status_code, codes(response.json())) == (400, ["MALFORMED_REQUEST"])


def test_get_based_mutations(world: World) -> None:
    for headers in ({}, {"graphql-require-preflight": "1"}):
        response = sent(world, "GET", params={"query": "mutation cop { __typename }"}, headers=headers)
        assert response.status_code == (405 if headers else 400)
        assert "data" not in response.json()


def test_url_encoded_queries_and_mutations(world: World) -> None:
    for query in (TYPENAME, "mutation cop { __typename }"):
        response = sent(world, data={"query": query})
        assert (response.status_code, codes(response.json())) == (415, ["MALFORMED_REQUEST"])


def test_tracing(world: World) -> None:
    answer = asked(world, TYPENAME)
    assert set(answer["extensions"]) == {"cost"}
    for header in ({"apollo-tracing": "1"}, {"x-apollo-tracing": "1"}):
        assert set(sent(world, json={"query": TYPENAME}, headers=header).json()["extensions"]) == {"cost"}


@pytest.mark.parametrize("query", SUGGESTED)
def test_field_suggestions(world: World, query: str) -> None:
    [error] = asked(world, query)["errors"]
    assert error["message"].startswith("Cannot query field ")
    assert "Did you mean" not in error["message"]


@pytest.mark.parametrize("query", MALFORMED)
def test_unhandled_errors(world: World, query: str) -> None:
    response = sent(world, json={"query": query})
    assert response.status_code < 500
    for error in response.json()["errors"]:
        assert set(error["extensions"]) == {"code"}
        assert error["extensions"]["code"] != "INTERNAL"
        for told in ("exception", "stacktrace", "Traceback", ".py"):
            assert told not in response.text


PAGES = (
    "/graphiql", "/graphiql.css", "/playground", "/console", "/graphql/console", "/graphql-console", "/altair",
    "/voyager", "/subscriptions", "/explorer", "/graph", "/graphql/graphiql", "/v1/graphql",
    "/v1/graphiql", "/api/graphiql",
)  # fmt: skip


def test_graphiql_and_its_like(fresh_database: FreshDatabase) -> None:
    app = app_from_settings(
        load_settings(
            {
                "DATABASE_URL": fresh_database.server_dsn,
                "CREDITDESK_OIDC_ISSUER": "https://issuer.example",
                "CREDITDESK_OIDC_AUDIENCE": "urn:creditdesk:api",
            }
        )
    )

    async def pages(client: httpx.AsyncClient) -> dict[str, httpx.Response]:
        return {path: await client.get(path, headers={"accept": "text/html"}) for path in (*PAGES, "/graphql")}

    for path, response in with_client(app, pages).items():
        assert response.status_code == (406 if path == "/graphql" else 404), path
        assert "html" not in response.headers["content-type"]
        assert "graphiql" not in response.text.lower().replace(path, "")


def test_introspection_can_be_turned_off(fresh_database: FreshDatabase) -> None:
    with world_of(fresh_database, put_people, answering(CREDITDESK_INTROSPECTION="off")) as world:
        for query in (INTROSPECTION, 'query cop { __type(name: "Query") { name } }'):
            answer = asked(world, query)
            assert ("data" in answer, set(codes(answer))) == (False, {"GRAPHQL_VALIDATION_FAILED"})
        assert asked(world, TYPENAME)["data"] == {"__typename": "Query"}
