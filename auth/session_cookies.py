"""The cookie that a signed-in browser carries: which session it is, and the secret that proves it."""

import base64
import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from creditdesk.credits.sessions import SessionKey

SECRET_BYTES = 32
_UUID_BYTES = 16
_CHARACTERS = 86  # two ids and a secret in base64url
_LONGEST_HEADER = 32 * 1024


@dataclass(frozen=True, slots=True)
class ShownSession:
    """What a cookie says: a session, and a secret of it, which only its SHA-256 is stored of."""

    key: SessionKey
    secret: bytes = field(repr=False)

    @property
    def secret_hash(self) -> bytes:
        """What is stored of the secret. It is random and as long as the hash, so a plain one does."""
        return hashlib.sha256(self.secret).digest()

    def text(self) -> str:
        """Return the cookie's value."""
        whole = self.key.workspace_id.bytes + self.key.id.bytes + self.secret
        return base64.urlsafe_b64encode(whole).rstrip(b"=").decode()


def new_secret(key: SessionKey) -> ShownSession:
    """Return a session with a secret that nobody has seen."""
    return ShownSession(key, secrets.token_bytes(SECRET_BYTES))


def shown_session(text: str) -> ShownSession | None:
    """Return what a cookie's value says, or None if it is none of ours."""
    if len(text) != _CHARACTERS or not text.isascii():
        return None
    try:
        whole = base64.b64decode(text.encode() + b"==", altchars=b"-_", validate=True)
    except ValueError:
        return None
    ids = (UUID(bytes=whole[start : start + _UUID_BYTES]) for start in (0, _UUID_BYTES))
    return ShownSession(SessionKey(*ids), whole[2 * _UUID_BYTES :])


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie of ours. Where browsers reach us over https, its name keeps others of our domain from setting it."""

    name: str
    secure: bool

    @classmethod
    def named(cls, name: str, *, secure: bool) -> "Cookie":
        """Return the cookie of this name; over plain http, on one's own machine, browsers refuse the prefix."""
        return cls(f"__Host-{name}" if secure else name, secure)

    def read(self, headers: Iterable[str]) -> str | None:
        """Return the value that a request's Cookie headers hold; None for none, and for several that differ."""
        values = {value for header in headers for value in _values(self.name, header)}
        return values.pop() if len(values) == 1 else None

    def set(self, value: str, *, seconds: int | None = None) -> tuple[bytes, bytes]:
        """Return the header that has the browser keep this: so long, or until it is closed."""
        parts = [f"{self.name}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
        parts += ["Secure"] if self.secure else []
        parts += [f"Max-Age={seconds}"] if seconds is not None else []
        return b"set-cookie", "; ".join(parts).encode("latin-1")

    def delete(self) -> tuple[bytes, bytes]:
        """Return the header that has the browser forget it."""
        return self.set("", seconds=0)


def _values(name: str, header: str) -> list[str]:
    # By hand: http.cookies gives up on the whole header for one strange cookie of somebody else's.
    pairs = (part.partition("=") for part in header[:_LONGEST_HEADER].split(";"))
    return [value.strip().strip('"') for key, equals, value in pairs if equals and key.strip() == name]
