"""Which sites' pages may call: our own and those on a list. Never by the Host header, which anybody can send."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

CSRF_HEADER = "x-creditdesk-csrf"
"""A page elsewhere cannot send it without asking first (a preflight), and is told no."""
CSRF_VALUE = "1"
_OWN_SITE = frozenset({"same-origin", "none"})  # "none" is a person who typed an address


@dataclass(frozen=True, slots=True)
class Origins:
    """Our own origin, unless nobody has told us, and the foreign ones that are allowed."""

    own: str | None = None
    allowed: frozenset[str] = frozenset()

    def knows(self, origin: str) -> bool:
        """Tell whether this is an origin of ours or an allowed one; `null`, of sandboxes and files, never is."""
        return origin != "null" and (origin == self.own or origin in self.allowed)

    def takes_cookies_of(self, *, origin: str | None, fetch_site: str | None, csrf: str | None) -> bool:
        """Tell whether a request that carries a cookie was made by a page that may make it.

        The header is always needed: old browsers leave the others out. What they do say must not speak against it.
        """
        if csrf != CSRF_VALUE:
            return False
        if origin is not None:
            return self.knows(origin)
        return fetch_site is None or fetch_site in _OWN_SITE


def origin_of(url: str) -> str:
    """Return the origin of an address as browsers write it: without a default port, in lower case."""
    parts = urlsplit(url)
    port = parts.port
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    is_default = port is None or (parts.scheme, port) in {("https", 443), ("http", 80)}
    return f"{parts.scheme}://{shown}" if is_default else f"{parts.scheme}://{shown}:{port}"


def origins(*, public_url: str | None, allowed: Iterable[str]) -> Origins:
    """Return what may call, from the address that browsers know us by and the allow-list."""
    return Origins(None if public_url is None else origin_of(public_url), frozenset(map(origin_of, allowed)))
