"""Who is calling: from a request's or a handshake's headers to a principal, in one place for every way in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from creditdesk.auth.authenticate import Authenticator, Found
from creditdesk.auth.errors import CrossSite, NoToken
from creditdesk.auth.origins import CSRF_HEADER, Origins
from creditdesk.auth.principal import Principal
from creditdesk.auth.sessions import Sessions
from creditdesk.credits.sessions import SessionKey


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal, what they showed, and the headers that the answer to them carries.

    From `expires_at` on they may be nobody: on a connection that stays open, `again` tells.
    """

    principal: Principal
    expires_at: datetime | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    authorization: str | None = field(default=None, repr=False)
    session: SessionKey | None = None
    as_of: int | None = None
    """The version of the workspace's controls that was in force when they came, if it was looked at."""
    kept: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)
    """What is kept of them as of that version: the same for all requests of a token."""
    is_presumed: bool = False
    """Whether it is still to be asked if that version is in force: until then they are told nothing."""


class Callers:
    """Finds out who sent an ASGI scope, whatever its type: by a token, else by the cookie of a signed-in browser."""

    def __init__(
        self, authenticator: Authenticator, *, origins: Origins | None = None, sessions: Sessions | None = None
    ) -> None:
        self._authenticator = authenticator
        self._origins = origins or Origins()
        self._sessions = sessions

    async def caller_of(self, scope: Mapping[str, Any]) -> Caller:
        """Return who sent this, or raise `Unauthenticated`, `IssuerUnavailable`, or `CrossSite`.

        Who shows a token is nobody but its bearer: then a cookie, which goes along by itself, is not looked at.
        """
        is_request = scope["type"] == "http"
        if not is_request:
            self.check_origin(scope)
        authorization = header(scope, b"authorization")
        if authorization is not None or self._sessions is None:
            return await self.caller_with(authorization)
        shown = self._sessions.shown(cookies(scope))
        if shown is None:
            raise NoToken
        self.check_page(scope)
        entered = await self._sessions.enter(shown, renews=is_request)
        return Caller(entered.principal, entered.expires_at, entered.headers, session=entered.key)

    def presumed_of(self, scope: Mapping[str, Any]) -> Caller | None:
        """Return who sent a request with a token, as they were known before; None where that has to be found out."""
        return self.presumed_with(header(scope, b"authorization"))

    def presumed_with(self, authorization: str | None) -> Caller | None:
        """Return who shows these credentials, likewise."""
        found = self._authenticator.presumed(authorization) if authorization is not None else None
        return _caller(found, authorization, is_presumed=True) if found is not None else None

    async def confirmed(self, caller: Caller) -> Caller:
        """Return who a presumed caller is by now, or raise as `caller_of` does."""
        return await self.caller_with(caller.authorization) if caller.is_presumed else caller

    async def caller_with(self, authorization: str | None) -> Caller:
        """Return who shows these credentials, which came some other way than in the headers."""
        return _caller(await self._authenticator.caller_of(authorization), authorization, is_presumed=False)

    async def again(self, caller: Caller) -> Caller:
        """Return who the caller is by now, on a connection that stays open, or raise as `caller_of` does."""
        if caller.session is None or self._sessions is None:
            return await self.caller_with(caller.authorization)
        entered = await self._sessions.again(caller.session)
        return Caller(entered.principal, entered.expires_at, session=entered.key)

    def check_origin(self, scope: Mapping[str, Any]) -> None:
        """Raise `CrossSite` where a page of a site that is not known here opens a connection."""
        origin = header(scope, b"origin")
        if origin is not None and not self._origins.knows(origin):
            raise CrossSite

    def check_page(self, scope: Mapping[str, Any]) -> None:
        """Raise `CrossSite` unless a page that may use the cookie sent this: a request, or a handshake."""
        origin = header(scope, b"origin")
        if scope["type"] == "http":
            is_known = self._origins.takes_cookies_of(
                origin=origin,
                fetch_site=header(scope, b"sec-fetch-site"),
                csrf=header(scope, CSRF_HEADER.encode()),
            )
        else:  # a page cannot add headers to a handshake, but every browser names the page's origin
            is_known = origin is not None and self._origins.knows(origin)
        if not is_known:
            raise CrossSite


def _caller(found: Found, authorization: str | None, *, is_presumed: bool) -> Caller:
    return Caller(
        found.principal,
        found.expires_at,
        authorization=authorization,
        as_of=found.as_of,
        kept=found.kept,
        is_presumed=is_presumed,
    )


def header(scope: Mapping[str, Any], name: bytes) -> str | None:
    """Return a header's value; several are one list (RFC 9110, section 5.3), and a list of tokens is not one token."""
    values = [value for key, value in scope["headers"] if key == name]
    return b", ".join(values).decode("latin-1") if values else None


def cookies(scope: Mapping[str, Any]) -> list[str]:
    """Return the Cookie headers: HTTP/2 may split them."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == b"cookie"]
