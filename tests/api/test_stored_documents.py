"""Documents that are sent by their id: those of the console, those of others, and those that clients left here."""

import hashlib
import json
from typing import Any

import httpx
import pytest

from creditdesk.auth.principal import PrincipalKind
from creditdesk.credits.errors import ErrorCode
from creditdesk.graphql import stored_documents
from creditdesk.graphql.endpoint import GraphQLEndpoint
from creditdesk.graphql.incoming import GraphQLRequest, RefusedError
from creditdesk.graphql.stored_documents import Accepted, StoredDocuments, console_documents
from support.world import MAX_BODY_BYTES, World, boundless

OWN = "query Own { viewer { subject } }"
OTHER = "query Other { viewer { kind } }"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def persisted(text: str, **changes: Any) -> dict[str, Any]:
    return {"persistedQuery": {"version": 1, "sha256Hash": sha256(text)} | changes}


def posted(world: World, caller: str = "OWNER", endpoint: GraphQLEndpoint | None = None, **body: Any) -> httpx.Response:
    async def posting() -> httpx.Response:
        transport = httpx.ASGITransport(endpoint or world.endpoint)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.post("/graphql", json=body, headers=world.headers(caller))

    response: httpx.Response = world.run(posting())
    return response


def code(response: httpx.Response) -> str:
    [error] = response.json()["errors"]
    return str(error["extensions"]["code"])


def endpoint_of(world: World, stored: StoredDocuments) -> GraphQLEndpoint:
    return GraphQLEndpoint(
        database=world.database,
        desk=world.endpoint._desk,  # noqa: SLF001 - the same desk as the world's own endpoint
        callers=world.callers,
        answering=boundless(stored),
        max_body_bytes=MAX_BODY_BYTES,
    )


# Trusted documents.


@pytest.mark.parametrize("prefix", ["sha256:", ""])
def test_a_document_of_the_console_is_executed_by_its_id(world: World, prefix: str) -> None:
    id_ = prefix + sha256(console_documents()["Viewer"])
    by_id = posted(world, documentId=id_).json()
    assert by_id == posted(world, query=console_documents()["Viewer"]).json()
    assert by_id["data"]["viewer"]["subject"] == "olga"


def test_it_is_executed_by_get_too(world: World) -> None:
    headers = world.headers("MEMBER") | {"graphql-require-preflight": "1"}
    parameters = {"documentId": f"sha256:{sha256(console_documents()['Viewer'])}", "operationName": "ViewerQuery"}
    response = world.run(world.http.get("/graphql", params=parameters, headers=headers))
    assert response.json()["data"]["viewer"]["subject"] == "mo"


@pytest.mark.parametrize(
    "id_", ["", "x", "Viewer", "sha256:", "md5:" + "0" * 32, "sha256:" + "0" * 64, sha256(OWN), f"sha256:{sha256(OWN)}"]
)
def test_an_id_that_stands_for_nothing_is_one_error(world: World, id_: str) -> None:
    response = posted(world, documentId=id_)
    assert (code(response), response.status_code) == ("UNKNOWN_DOCUMENT", 200)


def test_a_document_comes_by_its_text_or_by_its_id(world: World) -> None:
    response = posted(world, documentId=f"sha256:{sha256(OWN)}", query=OWN)
    assert (code(response), response.status_code) == ("MALFORMED_REQUEST", 400)


def test_others_documents_are_executed_by_the_ids_that_others_gave_them(world: World) -> None:
    endpoint = endpoint_of(world, StoredDocuments(named={"console-7": OWN}, accepted=Accepted.TRUSTED))
    for id_ in ("console-7", sha256(OWN), f"sha256:{sha256(OWN)}"):
        assert posted(world, endpoint=endpoint, documentId=id_).json()["data"] == {"viewer": {"subject": "olga"}}
    assert posted(world, endpoint=endpoint, query=OWN).json()["data"] == {"viewer": {"subject": "olga"}}


@pytest.mark.parametrize(
    ("accepted", "caller", "executed"),
    [
        (Accepted.ANY, "OWNER", True),
        (Accepted.ANY, "READER", True),
        (Accepted.INTEGRATIONS, "OWNER", False),
        (Accepted.INTEGRATIONS, "MEMBER", False),
        (Accepted.INTEGRATIONS, "READER", True),
        (Accepted.TRUSTED, "OWNER", False),
        (Accepted.TRUSTED, "READER", False),
    ],
)
def test_whose_own_documents_are_executed_is_a_setting(
    world: World, accepted: Accepted, caller: str, *, executed: bool
) -> None:
    endpoint = endpoint_of(world, StoredDocuments([OWN], accepted=accepted))
    assert "data" in posted(world, caller, endpoint, query=OWN).json()
    assert "data" in posted(world, caller, endpoint, documentId=sha256(OWN)).json()
    answers = [
        posted(world, caller, endpoint, query=OTHER),
        posted(world, caller, endpoint, query=OTHER, extensions=persisted(OTHER)),
    ]
    assert [answer.json().keys() for answer in answers] == [{"data", "extensions"} if executed else {"errors"}] * 2
    if not executed:
        assert [code(answer) for answer in answers] == ["UNTRUSTED_DOCUMENT"] * 2
        assert code(posted(world, caller, endpoint, extensions=persisted(OTHER))) == "PERSISTED_QUERY_NOT_FOUND"


def test_what_a_program_left_here_is_not_executed_for_a_person_who_may_not_send_it(world: World) -> None:
    endpoint = endpoint_of(world, StoredDocuments(accepted=Accepted.INTEGRATIONS))
    assert "data" in posted(world, "READER", endpoint, query=OTHER, extensions=persisted(OTHER)).json()
    assert "data" in posted(world, "READER", endpoint, extensions=persisted(OTHER)).json()
    assert code(posted(world, "OWNER", endpoint, extensions=persisted(OTHER))) == "PERSISTED_QUERY_NOT_FOUND"


# Documents that clients leave here.


def test_a_document_is_sent_once_and_then_by_its_hash(world: World) -> None:
    text = "query Once { viewer { subject kind } }"
    first = posted(world, extensions=persisted(text))
    [error] = first.json()["errors"]
    assert (error["message"], error["extensions"]["code"]) == ("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
    assert first.status_code == 200
    expected = {"viewer": {"subject": "olga", "kind": "PERSON"}}
    assert posted(world, query=text, extensions=persisted(text)).json()["data"] == expected
    assert posted(world, extensions=persisted(text)).json()["data"] == expected


def test_a_document_that_somebody_else_left_is_executed_with_one_s_own_permissions(world: World) -> None:
    text = "query Trail { viewer { workspace { audit(first: 1) { nodes { at } } } } }"
    assert posted(world, "OWNER", query=text, extensions=persisted(text)).json()["data"]["viewer"]["workspace"]["audit"]
    answer = posted(world, "MEMBER", extensions=persisted(text)).json()
    assert answer["data"] == {"viewer": {"workspace": {"audit": None}}}


@pytest.mark.parametrize(
    "extensions",
    [
        persisted("another document"),
        persisted(OWN, version=2),
        persisted(OWN, version="1"),
        persisted(OWN, sha256Hash=sha256(OWN).upper()),
        persisted(OWN, sha256Hash=sha256(OWN)[:-1]),
        persisted(OWN, sha256Hash=5),
        {"persistedQuery": {}},
        {"persistedQuery": "x"},
        {"persistedQuery": []},
    ],
    ids=json.dumps,
)
def test_a_hash_that_is_none_or_another_document_s_is_refused_and_nothing_is_kept(
    world: World, extensions: dict[str, Any]
) -> None:
    response = posted(world, query=OWN, extensions=extensions)
    assert (code(response), response.status_code) == ("MALFORMED_REQUEST", 400)
    for text in (OWN, "another document"):
        assert code(posted(world, extensions=persisted(text))) == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize("text", ["{", "{ nothing }"])
def test_a_document_that_does_not_fit_is_not_kept(world: World, text: str) -> None:
    assert code(posted(world, query=text, extensions=persisted(text))).startswith("GRAPHQL_")
    assert code(posted(world, extensions=persisted(text))) == "PERSISTED_QUERY_NOT_FOUND"


def test_so_many_documents_of_so_many_characters_are_kept_and_the_oldest_goes_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"query Kept{number} {{ viewer {{ subject }} }}" for number in range(4)]
    monkeypatch.setattr(stored_documents, "MOST_KEPT", 3)
    monkeypatch.setattr(stored_documents, "MOST_CHARACTERS_KEPT", 3 * len(texts[0]))
    endpoint = endpoint_of(world, StoredDocuments())

    def kept() -> list[bool]:
        return ["data" in posted(world, endpoint=endpoint, extensions=persisted(text)).json() for text in texts]

    for text in texts[:3]:
        posted(world, endpoint=endpoint, query=text, extensions=persisted(text))
    posted(world, endpoint=endpoint, extensions=persisted(texts[0]))  # asked for again, so the next one is the oldest
    posted(world, endpoint=endpoint, query=texts[3], extensions=persisted(texts[3]))
    assert kept() == [True, False, True, True]
    long = "query Long { viewer { subject } } # " + "x" * 32
    assert len(long) == 2 * len(texts[0])
    posted(world, endpoint=endpoint, query=long, extensions=persisted(long))
    assert kept() == [False, False, False, True]
    monkeypatch.setattr(stored_documents, "LONGEST_KEPT", 20)
    posted(world, endpoint=endpoint, query=texts[0], extensions=persisted(texts[0]))
    assert kept() == [False, False, False, True]


def test_a_document_kept_again_counts_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_documents, "MOST_CHARACTERS_KEPT", len(OWN) + len(OTHER))
    endpoint = endpoint_of(world, StoredDocuments())
    for text in (OTHER, *[OWN] * 5):
        posted(world, endpoint=endpoint, query=text, extensions=persisted(text))
    assert "data" in posted(world, endpoint=endpoint, extensions=persisted(OTHER)).json()


def test_the_kinds_of_callers_are_told_apart(world: World) -> None:
    principal = world.run(world.callers.caller_with(world.headers("READER")["authorization"])).principal
    assert principal.kind is PrincipalKind.SERVICE
    stored = StoredDocuments(accepted=Accepted.TRUSTED)
    with pytest.raises(RefusedError) as refused:
        stored.text_of(GraphQLRequest(OWN), principal)
    assert refused.value.code is ErrorCode.UNTRUSTED_DOCUMENT
