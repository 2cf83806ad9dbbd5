"""An issuer to verify against: the demo's own, behind a network that can be cut and is counted."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from joserfc import jws
from joserfc.jwk import RSAKey

from creditdesk.app.demo.issuer import DemoClient, DemoIssuer, DemoPerson
from creditdesk.auth.issuers import Issuer
from creditdesk.auth.tokens import TokenVerifier

T = TypeVar("T")

URL = "http://127.0.0.1:9400"
AUDIENCE = "urn:creditdesk:api"
CALLBACK = "http://127.0.0.1:5173/callback"
SERVICE_SECRET = "gateway-secret-of-the-tests"
START = 1_800_000_000.0

ANA = DemoPerson("ana", "Ana <Admin>", "ana@example.com", {"workspace": "acme", "roles": ["admin"]})
MO = DemoPerson("mo", 'Mo "M" Member', "mo@example.com", {"workspace": "acme", "roles": ["member"]})
CONSOLE = DemoClient("console", redirect_uris=(CALLBACK, "http://127.0.0.1:5173/deep?tab=1"))
GATEWAY = DemoClient(
    "gateway",
    secret=SERVICE_SECRET,
    grants=frozenset({"client_credentials"}),
    scopes=frozenset({"usage:read", "usage:write"}),
    claims={"workspace": "acme", "roles": ["service"]},
)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


@dataclass
class Clock:
    moment: float = START

    def __call__(self) -> float:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += seconds


@dataclass
class Network(httpx.AsyncBaseTransport):
    """Leads to one ASGI app; counts what passes, and can be cut."""

    app: Any
    is_cut: bool = False
    delay: float = 0
    requests: Counter[str] = field(default_factory=Counter)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests[request.url.path] += 1
        await asyncio.sleep(self.delay)
        if self.is_cut:
            raise httpx.ConnectError("the network is cut", request=request)
        return await httpx.ASGITransport(self.app).handle_async_request(request)


class Site:
    """The demo issuer, the network to it, a clock that both sides share, and a verifier."""

    def __init__(self, persons: Sequence[DemoPerson] = (ANA, MO)) -> None:
        self.clock = Clock()
        self.issuer = DemoIssuer(URL, AUDIENCE, persons=persons, clients=[CONSOLE, GATEWAY], now=self.clock)
        self.network = Network(self.issuer.app())
        self.http = httpx.AsyncClient(transport=self.network)
        self.verifier = self.new_verifier()

    def new_verifier(self, **changes: Any) -> TokenVerifier:
        settings = {"url": URL, "audiences": frozenset({AUDIENCE})} | changes
        return TokenVerifier([Issuer(**settings)], self.http, now=self.clock)

    def claims(self, **changes: object) -> dict[str, object]:
        now = int(self.clock())
        claims = {"iss": URL, "sub": "ana", "aud": AUDIENCE, "iat": now, "exp": now + 300} | changes
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *, typ: str = "at+jwt", algorithm: str = "RS256", **changes: object) -> str:
        return self.issuer.sign(self.claims(**changes), typ=typ, algorithm=algorithm)

    @property
    def fetches(self) -> int:
        return self.network.requests["/.well-known/openid-configuration"]


def signed_raw(site: Site, header: dict[str, Any], payload: bytes) -> str:
    """Sign anything at all with the issuer's current RSA key, past every check of the signing library."""
    key = signing_key(site)
    return jws.serialize_compact(header, payload, key, registry=jws.JWSRegistry(strict_check_header=False))


def signing_key(site: Site) -> RSAKey:
    key = site.issuer._keys.signing_key("RS256")  # noqa: SLF001 - an attacker's token needs a genuine signature
    assert isinstance(key, RSAKey)
    return key
