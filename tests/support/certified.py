"""A client of the certified provider that runs in Node: as a page with a person before it, and as a program."""

import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from creditdesk.app.demo.grants import s256

CALLBACK = "http://127.0.0.1:5173/callback"
GATEWAY = ("gateway", "gateway-secret-of-the-tests-0123456789")
MOST_REDIRECTS = 10


@dataclass
class CertifiedProvider:
    """The provider at its address; a fresh client each time, as each browser has its own cookies."""

    url: str
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    def order(self, order: str) -> Any:
        """Have the tests' own orders done: rotate, retire, algorithm/NAME."""
        return _done(httpx.post(f"{self.url}/-/{order}", trust_env=False))

    def code(self, person: str, scope: str = "openid offline_access email") -> str:
        """Sign a person in and return the code that the page gets."""
        asked = {
            "response_type": "code",
            "client_id": "console",
            "redirect_uri": CALLBACK,
            "scope": scope,
            "prompt": "consent",
            "state": "a-state",
            "code_challenge": s256(self.verifier),
            "code_challenge_method": "S256",
            "login_hint": person,
        }
        place = self.consent(f"{self.url}/auth?{urlencode(asked)}", leads_to=CALLBACK)
        answered = dict(parse_qsl(urlsplit(place).query))
        assert (answered["state"], answered["iss"]) == ("a-state", self.url), answered
        return answered["code"]

    def consent(self, address: str, *, leads_to: str) -> str:
        """Go where a sign-in leads as a browser does, and return the address at which it leads back."""
        with httpx.Client(base_url=self.url, trust_env=False) as browser:
            for _ in range(MOST_REDIRECTS):
                answer = browser.get(address)
                assert answer.is_redirect, answer.text
                address = answer.headers["location"]
                if address.startswith(leads_to):
                    return address
        message = f"it leads in circles: {address}"
        raise AssertionError(message)

    def redeem(self, code: str, verifier: str | None = None) -> httpx.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "client_id": "console"}
        return self._ask({**form, "code_verifier": verifier or self.verifier})

    def refresh(self, refresh_token: str) -> httpx.Response:
        return self._ask({"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": "console"})

    def tokens_of(self, person: str) -> dict[str, str]:
        """Return what a person's page gets for a code."""
        tokens: dict[str, str] = _done(self.redeem(self.code(person)))
        return tokens

    def token_of_program(self, scope: str) -> str:
        form = {"grant_type": "client_credentials", "scope": scope}
        token: str = _done(self._ask(form, auth=GATEWAY))["access_token"]
        return token

    def _ask(self, form: dict[str, str], **more: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/token", data=form, trust_env=False, timeout=30, **more)


def _done(answer: httpx.Response) -> Any:
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.json()
