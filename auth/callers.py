"""Who is calling: from a request's or a handshake's headers to a principal, in one place for every way in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from creditdesk.auth.authenticate import Authenticator
from creditdesk.auth.errors import CrossSite
from creditdesk.auth.origins import Origins
from creditdesk.auth.principal import Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal, what they showed, and the headers that the answer to them carries."""

    principal: Principal
    headers: tuple[tuple[bytes, bytes], ...] = ()
    authorization: str | None = field(default=None, repr=False)


class Callers:
    """Finds out who sent an ASGI scope, whatever its type."""

    def __init__(self, authenticator: Authenticator, *, origins: Origins | None = None) -> None:
        self._authenticator = authenticator
        self._origins = origins or Origins()

    async def caller_of(self, scope: Mapping[str, Any]) -> Caller:
        """Return who sent this, or raise `Unauthenticated`, `IssuerUnavailable`, or `CrossSite`."""
        if scope["type"] == "websocket":
            self.check_origin(scope)
        return await self.caller_with(header(scope, b"authorization"))

    async def caller_with(self, authorization: str | None) -> Caller:
        """Return who shows these credentials, which came some other way than in the headers."""
        principal = await self._authenticator.principal_of(authorization)
        return Caller(principal, authorization=authorization)

    async def again(self, caller: Caller) -> Caller:
        """Return who the caller is by now, on a connection that stays open, or raise as `caller_of` does."""
        return await self.caller_with(caller.authorization)

    def check_origin(self, scope: Mapping[str, Any]) -> None:
        """Raise `CrossSite` where a page of a site that is not known here opens a connection."""
        origin = header(scope, b"origin")
        if origin is not None and not self._origins.knows(origin):
            raise CrossSite


def header(scope: Mapping[str, Any], name: bytes) -> str | None:
    """Return a header's value; several are one list (RFC 9110, section 5.3), and a list of tokens is not one token."""
    values = [value for key, value in scope["headers"] if key == name]
    return b", ".join(values).decode("latin-1") if values else None
