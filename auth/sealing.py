"""Sealing what must not be read where it lies: encrypted and authenticated, by JSON Web Encryption (RFC 7516)."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

KEY_BYTES = 32
_HEADER = {"alg": "dir", "enc": "A256GCM"}
_NAME_CHARACTERS = 16
_UNREADABLE = (JoseError, ValueError, TypeError, LookupError, RecursionError)


class Sealer:
    """Seals with the first of its keys, and opens what any of them sealed: keys are changed by putting one in front.

    What is sealed says what it is for, so that a browser's own cookie is not taken for what lies in the database, and
    one session's tokens are not taken for another's.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"At least one key is needed, and each has {KEY_BYTES} bytes.")
        self._keys = {_name_of(key): OctKey.import_key(key) for key in keys}
        self._first = next(iter(self._keys))

    def seal(self, content: Mapping[str, Any], *, purpose: str) -> str:
        """Return the content as text that only we can read or make."""
        header = {**_HEADER, "kid": self._first}
        plaintext = json.dumps({"for": purpose, "content": content}).encode()
        return jwe.encrypt_compact(header, plaintext, self._keys[self._first])

    def open(self, sealed: str, *, purpose: str) -> dict[str, Any] | None:
        """Return what was sealed for this purpose; None for anything that was not, or with a key that is gone."""
        try:
            opened = jwe.decrypt_compact(sealed, self._key_of(sealed), algorithms=list(_HEADER.values()))
            found = json.loads(opened.plaintext or b"")
        except _UNREADABLE:
            return None
        if not isinstance(found, dict) or found.get("for") != purpose or not isinstance(found.get("content"), dict):
            return None
        content: dict[str, Any] = found["content"]
        return content

    def _key_of(self, sealed: str) -> OctKey:
        header = json.loads(_decoded(sealed.partition(".")[0]))
        return self._keys[header["kid"]]


def key_from(text: str) -> bytes:
    """Return a key that is written in base64 or base64url; raise ValueError unless it has 32 bytes."""
    try:
        key = _decoded(text.strip().rstrip("=").replace("+", "-").replace("/", "_"))
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"each key is {KEY_BYTES} random bytes in base64")
    return key


def _name_of(key: bytes) -> str:
    return hashlib.sha256(b"creditdesk" + key).hexdigest()[:_NAME_CHARACTERS]


def _decoded(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
