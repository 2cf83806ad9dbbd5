"""The documents that a server trusts: those that come along, and those of a file."""

import json
from collections.abc import Mapping
from pathlib import Path

from creditdesk.app.settings import Settings, SettingsError
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.stored_documents import Accepted, StoredDocuments, console_documents

_VARIABLE = "CREDITDESK_DOCUMENTS_FILE"


def stored_documents(settings: Settings, documents: Documents) -> StoredDocuments:
    """Return the documents that are known from the start, or raise SettingsError if one of the file does not fit."""
    named = {} if settings.documents_file is None else _read(settings.documents_file)
    for id_, text in named.items():
        if errors := documents.trust(text).errors:
            raise SettingsError(f"{_VARIABLE}: the document {id_!r} does not fit the schema: {errors[0].message}")
    for text in console_documents().values():
        documents.trust(text)
    return StoredDocuments(console_documents().values(), named=named, accepted=Accepted(settings.documents))


def _read(path: Path) -> Mapping[str, str]:
    try:
        entries = json.loads(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{_VARIABLE}: {path}: {error.strerror}.") from None
    except ValueError:
        entries = None
    if not isinstance(entries, dict) or not all(isinstance(text, str) for text in entries.values()):
        raise SettingsError(f"{_VARIABLE}: {path} must be a JSON object from ids to documents.")
    return entries
