"""Apollo Client, urql and Relay, set up as docs/frontend.md says, against a server that runs."""

import asyncio
from typing import Any

import pytest

from creditdesk.graphql.answering import Answering
from creditdesk.graphql.endpoint import GraphQLEndpoint
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.schema import core_schema
from creditdesk.graphql.stored_documents import StoredDocuments
from support.node import run_node
from support.repository import ROOT
from support.serving import serving
from support.world import MAX_BODY_BYTES, World

CLIENTS = ("apollo", "urql", "relay")
OPERATIONS = ROOT / "graphql" / "operations"
PEOPLE = """{ viewer { workspace { users(first: 4, filter: {active: true}) { nodes { displayName } } } } }"""


@pytest.fixture(scope="module")
def found(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each client was answered, and how it sent its documents."""
    folder = tmp_path_factory.mktemp("relay")
    compiled = run_node("relay.mjs", str(ROOT / "schema.graphql"), str(OPERATIONS), str(folder))
    endpoint = GraphQLEndpoint(
        database=world.database,
        desk=world.endpoint._desk,  # noqa: SLF001 - the same desk as the world's own endpoint
        callers=world.callers,
        answering=Answering(Documents(core_schema()), stored=StoredDocuments(named=compiled["persisted"])),
        max_body_bytes=MAX_BODY_BYTES,
    )

    async def asked() -> dict[str, dict[str, Any]]:
        async with serving(endpoint) as url:
            places = (str(OPERATIONS), str(folder / "src" / "__generated__"))
            authorization = world.headers("OWNER")["authorization"]
            answers: dict[str, dict[str, Any]] = await asyncio.to_thread(
                run_node, "clients.mjs", f"{url}/graphql", authorization, *places
            )
            return answers

    return dict(world.run(asked()))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_reads_a_list_page_by_page(client: str, found: dict[str, dict[str, Any]], world: World) -> None:
    nodes = world.ask("OWNER", PEOPLE)["viewer"]["workspace"]["users"]["nodes"]
    names = [node["displayName"] for node in nodes]
    assert (found[client]["first"], found[client]["all"]) == (names[:2], names)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_is_told_the_code_of_an_error(client: str, found: dict[str, dict[str, Any]]) -> None:
    assert found[client]["code"] == "INVALID_ID"


def test_a_document_s_text_is_sent_once_and_relay_s_never(found: dict[str, dict[str, Any]]) -> None:
    assert found["apollo"]["sent"] == ["hash", "text", "hash", "hash", "text"]
    assert found["urql"]["sent"] == ["hash", "hash", "hash", "text"], "the first document is there: Apollo left it"
    assert found["relay"]["sent"] == ["id"] * 3
