"""What the demo issuer has granted: authorization codes used once, refresh tokens that rotate."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass

CODE_SECONDS = 60
REFRESH_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Consent:
    """Who let which client in, for what."""

    subject: str
    client_id: str
    scopes: tuple[str, ...]
    nonce: str | None = None


@dataclass(frozen=True, slots=True)
class CodeRequest:
    """What an authorization request asked for and its code is bound to."""

    consent: Consent
    redirect_uri: str
    code_challenge: str


@dataclass(slots=True)
class _Code:
    request: CodeRequest
    until: float
    family: str
    is_used: bool = False


@dataclass(slots=True)
class _Family:
    consent: Consent
    current: str
    until: float


class Grants:
    """Codes and refresh tokens, in memory: a restart of the demo ends them."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._codes: dict[str, _Code] = {}
        self._families: dict[str, _Family] = {}

    def give_code(self, request: CodeRequest) -> str:
        """Return a new authorization code."""
        self._forget_expired()
        code = secrets.token_urlsafe(32)
        self._codes[code] = _Code(request, self._now() + CODE_SECONDS, family=secrets.token_urlsafe(16))
        return code

    def redeem_code(self, code: str, *, client_id: str, redirect_uri: str, verifier: str) -> tuple[Consent, str] | None:
        """Return what the code stands for and its family of refresh tokens; a second use ends that family."""
        self._forget_expired()
        known = self._codes.get(code)
        if known is None:
            return None
        if known.is_used:
            self._families.pop(known.family, None)  # RFC 6749, section 4.1.2: the code has leaked
            return None
        known.is_used = True  # also by a wrong attempt: nobody gets a second guess
        asked = known.request
        is_right = (
            asked.consent.client_id == client_id
            and asked.redirect_uri == redirect_uri
            and hmac.compare_digest(asked.code_challenge.encode(), s256(verifier).encode())
        )
        return (asked.consent, known.family) if is_right else None

    def give_refresh_token(self, consent: Consent, family: str) -> str:
        """Return the next refresh token of a family, which makes the one before it a used one."""
        token = f"{family}.{secrets.token_urlsafe(32)}"
        self._families[family] = _Family(consent, token, self._now() + REFRESH_SECONDS)
        return token

    def redeem_refresh_token(self, token: str, *, client_id: str) -> tuple[Consent, str] | None:
        """Return what the token stands for and its family; one used before ends the family (RFC 9700, 4.14)."""
        self._forget_expired()
        name = token.partition(".")[0]
        family = self._families.get(name)
        if family is None or family.consent.client_id != client_id:
            return None
        if not hmac.compare_digest(family.current.encode(), token.encode()):
            del self._families[name]
            return None
        return family.consent, name

    def end_family(self, token: str, *, client_id: str) -> None:
        """End the family of a refresh token of this client; anybody else's stays."""
        family = self._families.get(token.partition(".")[0])
        if family is not None and family.consent.client_id == client_id:
            del self._families[token.partition(".")[0]]

    def end_all(self, *, subject: str, client_id: str) -> None:
        """End all refresh tokens that somebody has let a client have."""
        self._families = {
            name: family
            for name, family in self._families.items()
            if (family.consent.subject, family.consent.client_id) != (subject, client_id)
        }

    def _forget_expired(self) -> None:
        now = self._now()
        self._codes = {code: known for code, known in self._codes.items() if known.until > now}
        self._families = {name: family for name, family in self._families.items() if family.until > now}


def s256(verifier: str) -> str:
    """Return the code challenge of a verifier (RFC 7636, section 4.2)."""
    return base64url(hashlib.sha256(verifier.encode()).digest())


def base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515, appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
