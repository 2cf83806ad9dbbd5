"""Groups that did not fit into a token, asked for where the configuration says."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from creditdesk.auth.claims import MOST_ENTRIES
from creditdesk.auth.errors import GroupsOverage, IssuerUnavailable
from creditdesk.auth.issuers import GroupLookup

ASK_SECONDS = 5.0
MOST_BYTES = 1 << 20  # 11,000 ids, the most that Microsoft Graph returns, are half of it
MOST_AT_ONCE = 10
PAUSE_SECONDS = 10.0
EARLY_SECONDS = 60.0  # before our own token expires another one is fetched

_log = logging.getLogger(__name__)


def are_groups_elsewhere(claims: Mapping[str, Any]) -> bool:
    """Return whether the token says that its groups did not fit (OpenID Connect Core 1.0, section 5.6.2; Entra ID)."""
    names = claims.get("_claim_names")
    if isinstance(names, dict) and not {"groups", "roles"}.isdisjoint(names):
        return True
    # Entra's id tokens of the implicit flow.
    return claims.get("hasgroups") in (True, "true", "True") or any(name.startswith("groups:src") for name in claims)


class GroupDirectory:
    """Asks for the groups of a person as Microsoft Graph's getMemberObjects answers it; one question at a time each.

    A directory that cannot be reached is left alone for a while, so that its outage costs nobody's time.
    """

    def __init__(self, lookup: GroupLookup, http: httpx.AsyncClient, now: Callable[[], float]) -> None:
        self._lookup = lookup
        self._http = http
        self._now = now
        self._token: tuple[str, float] | None = None
        self._failed_at: float | None = None
        self._asking: dict[str, asyncio.Task[list[str]]] = {}
        # The connections are everybody's: a slow directory must not keep other issuers' keys from being fetched.
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
        self._fetching_token = asyncio.Lock()

    async def groups_of(self, subject: str) -> list[str]:
        """Return the ids of the person's groups, or raise `IssuerUnavailable`, or `GroupsOverage` if refused."""
        asking = self._asking.get(subject)
        if asking is None:
            if self._failed_at is not None and 0 <= self._now() - self._failed_at < PAUSE_SECONDS:
                raise IssuerUnavailable
            asking = self._asking[subject] = asyncio.create_task(self._asked(subject))
            asking.add_done_callback(lambda _: self._asking.pop(subject, None))
        return await asyncio.shield(asking)  # a caller who hangs up must not end what others wait for

    async def _asked(self, subject: str) -> list[str]:
        try:
            async with asyncio.timeout(ASK_SECONDS), self._turns:
                found = await self._groups(subject)
        except httpx.HTTPStatusError as error:
            if error.response.status_code in (400, 403, 404):  # this person's, and not the directory's
                _log.warning("The directory refused to say somebody's groups: %s", error.response.status_code)
                raise GroupsOverage from None
            self._fail(error)
            raise IssuerUnavailable from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RecursionError) as error:
            self._fail(error)
            raise IssuerUnavailable from None
        self._failed_at = None
        return found

    def _fail(self, error: Exception) -> None:
        self._failed_at, self._token = self._now(), None
        _log.warning("Groups could not be asked for at %s: %s", self._lookup.endpoint, type(error).__name__)

    async def _groups(self, subject: str) -> list[str]:
        url = self._lookup.endpoint.replace("{subject}", quote(subject, safe=""))
        headers = {"authorization": f"Bearer {await self._own_token()}"}
        answer = await self._json(url, headers=headers, json={"securityEnabledOnly": False})
        found = answer.get("value")
        if not isinstance(found, list) or "@odata.nextLink" in answer:
            raise ValueError("the answer is not the whole list of groups")
        if len(found) > MOST_ENTRIES:
            raise GroupsOverage
        return [entry for entry in found if isinstance(entry, str)]

    async def _own_token(self) -> str:
        async with self._fetching_token:
            if self._token is None or self._now() >= self._token[1]:
                self._token = await self._fetched_token()
            return self._token[0]

    async def _fetched_token(self) -> tuple[str, float]:
        form = {"grant_type": "client_credentials", "client_id": self._lookup.client_id, "scope": self._lookup.scope}
        try:
            answer = await self._json(
                self._lookup.token_endpoint, data={**form, "client_secret": self._lookup.client_secret}
            )
        except httpx.HTTPStatusError as error:
            raise ValueError(f"our own credentials were refused: {error.response.status_code}") from None
        token, seconds = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not isinstance(seconds, int) or not token.isascii():
            raise ValueError("the answer holds no access token")
        return token, self._now() + seconds - EARLY_SECONDS

    async def _json(self, url: str, **request: Any) -> dict[str, Any]:
        body = bytearray()
        async with self._http.stream("POST", url, follow_redirects=False, timeout=ASK_SECONDS, **request) as response:
            response.raise_for_status()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise ValueError("the answer is too large")
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError("the answer is not a JSON object")  # noqa: TRY004 - of the outside world
        return document
