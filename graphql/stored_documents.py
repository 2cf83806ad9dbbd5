"""Documents that are sent by their id: trusted ones, known from the start, and those that clients left here before."""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from enum import Enum
from importlib.resources import files

from creditdesk.auth.principal import Principal, PrincipalKind
from creditdesk.graphql.enums import ErrorCode
from creditdesk.graphql.incoming import GraphQLRequest, RefusedError, malformed

MOST_KEPT = 1000
MOST_CHARACTERS_KEPT = 4_194_304
LONGEST_KEPT = 65_536

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PREFIX = "sha256:"
_NOT_FOUND = "PersistedQueryNotFound"
"""The message by which clients know that they have to send the document itself."""


class Accepted(Enum):
    """Whose documents are executed; the value is the setting."""

    ANY = "any"
    INTEGRATIONS = "integrations"
    TRUSTED = "trusted"


def document_hash(text: str) -> str:
    """Return the SHA-256 of a document, as its id is written."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def console_documents() -> dict[str, str]:
    """Return the documents of a console that come along with creditdesk, by the names of their files."""
    folder = files("creditdesk.graphql").joinpath("operations")
    found = {file.name.removesuffix(".graphql"): file.read_text("utf-8") for file in folder.iterdir()}
    return dict(sorted(found.items()))


class StoredDocuments:
    """Finds documents by their ids, and says which may be executed for whom."""

    def __init__(
        self, trusted: Iterable[str] = (), *, named: Mapping[str, str] | None = None, accepted: Accepted = Accepted.ANY
    ) -> None:
        """Trust documents, and others under ids that somebody else gave them."""
        named = named or {}
        self._trusted = {document_hash(text): text for text in (*trusted, *named.values())}
        self.named = dict(named)
        self._accepted = accepted
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._characters = 0

    def text_of(self, request: GraphQLRequest, principal: Principal) -> str:
        """Return the text that a request asks for, or raise RefusedError."""
        if request.document_id is not None:
            return self._trusted_text(request.document_id)
        hash_ = _persisted_hash(request)
        if request.query is None:
            if hash_ is None:
                raise malformed("There is neither a `query` nor a `documentId`.")
            return self._kept_text(hash_, principal)
        if hash_ is not None and hash_ != document_hash(request.query):
            raise malformed("`sha256Hash` is not the SHA-256 of `query`.")
        if not self._takes_any(principal) and document_hash(request.query) not in self._trusted:
            raise RefusedError(200, ErrorCode.UNTRUSTED_DOCUMENT)
        return request.query

    def keep(self, request: GraphQLRequest) -> None:
        """Keep a document that a client wants to send by its hash from now on, once it is known to fit the schema."""
        text, hash_ = request.query, _persisted_hash(request)
        if text is None or hash_ is None or hash_ in self._trusted or len(text) > LONGEST_KEPT:
            return
        self._characters += len(text) - len(self._kept.pop(hash_, ""))
        self._kept[hash_] = text
        while len(self._kept) > MOST_KEPT or self._characters > MOST_CHARACTERS_KEPT:
            self._characters -= len(self._kept.popitem(last=False)[1])

    def _trusted_text(self, id_: str) -> str:
        text = self.named.get(id_) or self._trusted.get(id_.removeprefix(_PREFIX))
        if text is None:
            raise RefusedError(200, ErrorCode.UNKNOWN_DOCUMENT)
        return text

    def _kept_text(self, hash_: str, principal: Principal) -> str:
        if hash_ in self._trusted:
            return self._trusted[hash_]
        if hash_ not in self._kept or not self._takes_any(principal):
            raise RefusedError(200, ErrorCode.PERSISTED_QUERY_NOT_FOUND, _NOT_FOUND)
        self._kept.move_to_end(hash_)
        return self._kept[hash_]

    def _takes_any(self, principal: Principal) -> bool:
        if self._accepted is Accepted.INTEGRATIONS:
            return principal.kind is PrincipalKind.SERVICE
        return self._accepted is Accepted.ANY


def _persisted_hash(request: GraphQLRequest) -> str | None:
    """Return the hash of `extensions.persistedQuery`, as Apollo's clients send it, if there is one."""
    persisted = request.extensions.get("persistedQuery")
    if persisted is None:
        return None
    if not isinstance(persisted, dict) or persisted.get("version") != 1:
        raise malformed("`persistedQuery` must be an object, of `version` 1.")
    hash_ = persisted.get("sha256Hash")
    if not isinstance(hash_, str) or not _HASH.fullmatch(hash_):
        raise malformed("`sha256Hash` must be 64 hexadecimal digits in lower case.")
    return hash_
