"""Callers who come again and again with one token: known from before, and looked up anew where that may be old."""

from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID
from weakref import WeakKeyDictionary

from creditdesk.auth.authenticate import Authenticator, Found, moment_of
from creditdesk.auth.errors import Unauthenticated
from creditdesk.auth.roles import Permission
from creditdesk.auth.tokens import VerifiedToken


class KnownCaller:
    """Whoever shows a token that holds: what the token permits, and where. One object for all requests of the token.

    They were in the directory as of a version of the workspace's controls. Whoever does something for them makes sure,
    in the same transaction, that this version is still in force, or lets them `confirm` first.
    """

    def __init__(self, found: Found, look_up: Callable[[], Awaitable[Found]]) -> None:
        self.principal = found.principal
        self.workspace_id: UUID = found.principal.workspace.id
        self.permissions: frozenset[Permission] = found.principal.permissions
        self.as_of = found.as_of
        self._look_up = look_up

    async def confirm(self) -> None:
        """Look them up anew, and raise `Unauthenticated` if they are nobody by now."""
        found = await self._look_up()
        before, self.workspace_id, self.as_of = self.workspace_id, found.principal.workspace.id, found.as_of
        if before != self.workspace_id:  # the database was restored from elsewhere: what was asked is not asked there
            raise Unauthenticated("the workspace is another one by now")


class KnownCallers:
    """Remembers callers as long as their tokens are remembered."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._known: WeakKeyDictionary[VerifiedToken, KnownCaller] = WeakKeyDictionary()

    def recall(self, authorization: str | None) -> KnownCaller | None:
        """Return who has sent this header before, with a token that still holds; None where that has to be found out.

        Raises `Unauthenticated` where the header holds no token.
        """
        token = self._authenticator.recalled(authorization)
        return None if token is None else self._known.get(token)

    async def caller_of(self, authorization: str | None) -> KnownCaller:
        """Return who sent this header; raise `Unauthenticated` for a token that does not hold, `IssuerUnavailable`."""
        token = await self._authenticator.verified(authorization)
        known = self._known.get(token)
        if known is None:
            # Of the token only what it says is kept: what kept the token itself would keep it for ever.
            claims, since = self._authenticator.claims_of(token), moment_of(token.claims, "iat")
            look_up = partial(self._authenticator.look_up, claims, token.issuer, issued_at=since)
            known = self._known[token] = KnownCaller(await self._authenticator.enter(token), look_up)
        return known
