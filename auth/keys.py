"""The keys an issuer signs with: discovery, the key set, and what to do while the issuer cannot be reached."""

import asyncio
import json
import logging
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry

from creditdesk.auth.errors import IssuerUnavailable, Unauthenticated

FETCH_SECONDS = 5.0
PATIENCE_SECONDS = 0.5  # of a caller whose key is known, though due to be looked at again
MOST_BYTES = 1 << 20
SMALLEST_RSA_BITS = 2048  # NIST SP 800-131A
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeyLifetimes:
    """In seconds: when keys are fetched again, how long old ones carry an outage, and the pause between attempts."""

    fresh: float = 600
    stale: float = 24 * 3600
    retry: float = 10


@dataclass(frozen=True, slots=True)
class SignatureKey:
    """A public key of the issuer; the thumbprint (RFC 7638) tells whether it is still the same one."""

    key: Key
    thumbprint: str


# A key by the token's `kid` and `alg`; under no `kid` stands the key of an algorithm that has only one.
_KeyTable = Mapping[tuple[str | None, str], SignatureKey]


class IssuerKeys:
    """The issuer's signature keys, fetched when needed; concurrent requests share one fetch.

    A key id that is not known causes a fetch, so that a rotation fails no request, but at most one per `retry` seconds,
    so that made-up ids cannot flood the issuer. While it cannot be reached, known keys serve for `stale` seconds.
    """

    def __init__(
        self,
        issuer: str,
        http: httpx.AsyncClient,
        *,
        algorithms: Collection[str],
        lifetimes: KeyLifetimes,
        now: Callable[[], float],
    ) -> None:
        self._issuer = issuer
        self._http = http
        self._algorithms = tuple(algorithms)
        self._lifetimes = lifetimes
        self._now = now
        self._keys: _KeyTable = {}
        self._fetched_at: float | None = None
        self._attempted_at: float | None = None
        self._failing = False
        self._fetching: asyncio.Task[None] | None = None

    def known(self, kid: str | None, algorithm: str) -> SignatureKey | None:
        """Return the key that `find` would return at once, if there is one."""
        is_fresh = self._seconds_since(self._fetched_at) < self._lifetimes.fresh
        return self._keys.get((kid, algorithm)) if is_fresh else None

    async def find(self, kid: str | None, algorithm: str) -> SignatureKey:
        """Return the key for a token's header, or raise `Unauthenticated`, or `IssuerUnavailable` without any keys."""
        if (key := self.known(kid, algorithm)) is not None:
            return key
        key = self._usable().get((kid, algorithm))
        fetch = self._attempt()
        if fetch is not None and key is None:
            await asyncio.shield(fetch)  # a caller who hangs up must not end the fetch that others wait for
        elif fetch is not None and not self._failing:
            # In an outage nobody who could be served with a known key waits for an attempt to fail.
            await asyncio.wait({fetch}, timeout=PATIENCE_SECONDS)
            if not fetch.done():
                self._failing = True
        keys = self._usable()
        if not keys:
            raise IssuerUnavailable
        found = keys.get((kid, algorithm))
        if found is None:
            raise Unauthenticated("signed with a key that the issuer does not publish")
        return found

    async def check(self) -> None:
        """Raise `IssuerUnavailable` unless keys are at hand or can be fetched now."""
        if not self._usable() and (fetch := self._attempt()) is not None:
            await asyncio.shield(fetch)
        if not self._usable():
            raise IssuerUnavailable

    def _usable(self) -> _KeyTable:
        return self._keys if self._seconds_since(self._fetched_at) < self._lifetimes.stale else {}

    def _seconds_since(self, moment: float | None) -> float:
        # A clock set back must not stop fetching until it has caught up.
        elapsed = -1 if moment is None else self._now() - moment
        return elapsed if elapsed >= 0 else float("inf")

    def _attempt(self) -> asyncio.Task[None] | None:
        if self._fetching is None or self._fetching.done():
            if self._seconds_since(self._attempted_at) < self._lifetimes.retry:
                return None
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        was_due = self._seconds_since(self._fetched_at) >= self._lifetimes.fresh
        self._attempted_at = self._now()
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                keys = await self._published_keys()
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RecursionError) as error:
            self._failing = True
            _log.warning(
                "The keys of issuer %s could not be fetched: %s: %s", self._issuer, type(error).__name__, error
            )
            return
        self._keys, self._fetched_at, self._failing = keys, self._now(), False
        if was_due:
            # A fetch that was due anyway does not use up the one that an unknown key id may cause.
            self._attempted_at = None

    async def _published_keys(self) -> _KeyTable:
        discovery = await self._json(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        if discovery.get("issuer") != self._issuer:
            raise ValueError("the discovery document is another issuer's")
        jwks_uri = discovery.get("jwks_uri")
        if not isinstance(jwks_uri, str) or not is_safe_url(jwks_uri):
            raise ValueError("jwks_uri is not an https address")
        keys = key_table(await self._json(jwks_uri), self._algorithms)
        if not keys:
            raise ValueError("the key set holds no usable signature key")
        return keys

    async def _json(self, url: str) -> dict[str, Any]:
        body = bytearray()
        async with self._http.stream("GET", url, follow_redirects=False, timeout=FETCH_SECONDS) as response:
            response.raise_for_status()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise ValueError("the answer is too large")
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError("the answer is not a JSON object")  # noqa: TRY004 - of the outside world, not of a caller
        return document


def is_safe_url(url: str) -> bool:
    """Return whether keys fetched from this address can be trusted: https, or plain http on this very machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK))


def key_table(jwks: Mapping[str, Any], algorithms: Collection[str]) -> _KeyTable:
    """Return the public signature keys of a key set; a broken one, or one for something else, is left out."""
    published = jwks.get("keys")
    keys = [key for jwk in published if (key := _signature_key(jwk)) is not None] if isinstance(published, list) else []
    table: dict[tuple[str | None, str], SignatureKey] = {}
    for algorithm in algorithms:
        fitting = [key for key in keys if _fits(key.key, algorithm)]
        for key in fitting:
            table.setdefault((key.key.kid, algorithm), key)
        if len(fitting) == 1:
            table[None, algorithm] = fitting[0]
        else:
            table.pop((None, algorithm), None)
    return table


def _signature_key(jwk: object) -> SignatureKey | None:
    if not isinstance(jwk, dict) or jwk.get("kty") not in ("RSA", "EC", "OKP") or jwk.get("use", "sig") != "sig":
        return None
    if "d" in jwk:  # a private key that everyone can read proves nothing
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of a short RSA key, which is left out below
            key = import_key(jwk)
        if isinstance(key, RSAKey) and key.public_key.key_size < SMALLEST_RSA_BITS:
            return None
        if not isinstance(key, RSAKey | ECKey | OKPKey):
            return None
        key.check_key_op("verify")
        return SignatureKey(key, key.thumbprint())
    except (JoseError, ValueError, TypeError, LookupError):
        return None


def _fits(key: Key, algorithm: str) -> bool:
    try:
        JWSRegistry.algorithms[algorithm].check_key(key)
    except JoseError:
        return False
    return True
