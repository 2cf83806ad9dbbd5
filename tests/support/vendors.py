"""Issuers anywhere on the web that answer discovery and keys, without a web: one key each, and each can be cut off."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
from joserfc import jws
from joserfc.jwk import RSAKey

from support.issuers import Clock


@dataclass
class Vendor:
    """An issuer's keys; the last one signs."""

    url: str
    keys: list[RSAKey] = field(default_factory=list)
    is_cut: bool = False

    def rotate(self) -> None:
        self.keys.append(RSAKey.generate_key(2048, {"kid": f"key-{len(self.keys)}", "use": "sig", "alg": "RS256"}))

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        key = self.keys[-1]
        return jws.serialize_compact(
            {"alg": "RS256", "typ": "JWT", "kid": key.kid, **header},
            json.dumps(claims),
            key,
            registry=jws.JWSRegistry(strict_check_header=False),
        )


class Web(httpx.AsyncBaseTransport):
    """Leads to vendors by their addresses; counts what is asked of each."""

    def __init__(self, *urls: str) -> None:
        self.clock = Clock()
        self.vendors = {url: Vendor(url) for url in urls}
        for vendor in self.vendors.values():
            vendor.rotate()
        self.asked: Counter[str] = Counter()
        self.http = httpx.AsyncClient(transport=self)

    def __getitem__(self, url: str) -> Vendor:
        return self.vendors[url]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        address = str(request.url)
        for url, vendor in self.vendors.items():
            base = url.rstrip("/")
            if address == f"{base}/.well-known/openid-configuration":
                self.asked[url] += 1
                if vendor.is_cut:
                    break
                return httpx.Response(200, json={"issuer": url, "jwks_uri": f"{base}/keys"})
            if address == f"{base}/keys" and not vendor.is_cut:
                return httpx.Response(200, json={"keys": [key.as_dict(private=False) for key in vendor.keys]})
        raise httpx.ConnectError("nobody is there", request=request)
