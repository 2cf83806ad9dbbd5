"""Schema and documents compile with the tools of frontends, and what these persist is what the server executes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from creditdesk.app.documents import stored_documents
from creditdesk.app.settings import load_settings
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.schema import core_schema
from creditdesk.graphql.stored_documents import console_documents
from support.node import run_node
from support.repository import ROOT

OPERATIONS = ROOT / "graphql" / "operations"
SCHEMA = ROOT / "schema.graphql"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What client-preset makes of the documents, and what TypeScript says of programs that use it."""
    made: dict[str, Any] = run_node(
        "codegen.mjs", str(SCHEMA), str(OPERATIONS), str(tmp_path_factory.mktemp("codegen"))
    )
    return made


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What relay-compiler makes of the documents."""
    made: dict[str, Any] = run_node("relay.mjs", str(SCHEMA), str(OPERATIONS), str(tmp_path_factory.mktemp("relay")))
    return made


def trusted(tmp_path: Path, entries: dict[str, str]) -> dict[str, str]:
    """Return the documents of a file, as a server finds them that trusts no others."""
    file = tmp_path / "documents.json"
    file.write_text(json.dumps(entries), encoding="utf-8")
    settings = load_settings({"CREDITDESK_DOCUMENTS": "trusted", "CREDITDESK_DOCUMENTS_FILE": str(file)})
    return dict(stored_documents(settings, Documents(core_schema())).named)


def test_client_preset_types_the_documents_of_the_console(generated: dict[str, Any]) -> None:
    assert generated["right"] == []
    [misspelt] = generated["misspelt"]
    assert misspelt.startswith("Property 'credit' does not exist on type")
    [not_a_number] = generated["float"]
    assert "Type 'string' is not assignable to type 'number'" in not_a_number


def test_what_client_preset_persists_is_trusted_under_its_ids(generated: dict[str, Any], tmp_path: Path) -> None:
    entries = generated["persisted"]
    assert len(entries) == len(console_documents())
    assert all(id_ == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" for id_, text in entries.items())
    assert trusted(tmp_path, entries) == entries


def test_relay_compiles_the_documents_of_the_console(compiled: dict[str, Any]) -> None:
    assert compiled["code"] == 0, compiled["said"]
    assert {f"{name}Query" for name in ("Dashboard", "OwnBalance", "RequestQueue")} <= set(compiled["generated"])
    assert len(compiled["persisted"]) == len(console_documents())


def test_what_relay_persists_is_trusted_under_its_ids(compiled: dict[str, Any], tmp_path: Path) -> None:
    assert trusted(tmp_path, compiled["persisted"]) == compiled["persisted"]
