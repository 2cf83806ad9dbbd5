"""Whose documents are executed is said by settings, and a file that cannot be meant ends the start."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from creditdesk.app.documents import stored_documents
from creditdesk.app.settings import SettingsError, load_settings
from creditdesk.auth.principal import Principal, PrincipalKind
from creditdesk.credits.directory import Workspace
from creditdesk.graphql.incoming import GraphQLRequest
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.schema import core_schema
from creditdesk.graphql.stored_documents import StoredDocuments
from support.world import workspace_id

OWN = "query Own { viewer { subject } }"


def stored(file: Path) -> StoredDocuments:
    settings = load_settings({"CREDITDESK_DOCUMENTS": "TRUSTED", "CREDITDESK_DOCUMENTS_FILE": str(file)})
    return stored_documents(settings, Documents(core_schema()))


def test_the_documents_of_the_file_are_trusted_under_its_ids(tmp_path: Path) -> None:
    file = tmp_path / "documents.json"
    file.write_text(json.dumps({"own-1": OWN}), encoding="utf-8")
    workspace = Workspace(workspace_id("acme"), "acme", "Acme", "UTC", datetime(2026, 1, 1, tzinfo=UTC))
    nobody = frozenset[object]()
    person = Principal(PrincipalKind.PERSON, "i", "s", nobody, nobody, workspace, None, nobody)  # type: ignore[arg-type]
    assert stored(file).text_of(GraphQLRequest(None, document_id="own-1"), person) == OWN
    assert stored(file).text_of(GraphQLRequest(OWN), person) == OWN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file or directory"),
        ("{", "must be a JSON object from ids to documents"),
        ("[]", "must be a JSON object from ids to documents"),
        ('{"a": 1}', "must be a JSON object from ids to documents"),
        ('{"a": "{ nothing }"}', "the document 'a' does not fit the schema: Cannot query field 'nothing'"),
        ('{"a": "{"}', "the document 'a' does not fit the schema: Syntax Error"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "documents.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"^CREDITDESK_DOCUMENTS_FILE: ") as refused:
        stored(file)
    assert message in str(refused.value)


def test_a_trusted_document_may_be_longer_than_those_of_others(tmp_path: Path) -> None:
    long = "query Long { viewer {" + "".join(f" a{number}: subject" for number in range(500)) + " } }"
    documents = Documents(core_schema())
    assert len(documents.prepare(long).errors) == 1
    file = tmp_path / "documents.json"
    file.write_text(json.dumps({"long": long}), encoding="utf-8")
    stored_documents(load_settings({"CREDITDESK_DOCUMENTS_FILE": str(file)}), documents)
    assert documents.prepare(long).errors == ()
    assert len(documents.prepare(long + " ").errors) == 1
