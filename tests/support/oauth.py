"""What a client of the demo issuer sends, and the refusals it gets."""

import httpx

from creditdesk.app.demo.grants import s256
from support.issuers import CALLBACK, SERVICE_SECRET, URL, Site, run

VERIFIER = "a-verifier-of-forty-three-characters-or-more-0123"
ASK = {
    "response_type": "code",
    "client_id": "console",
    "redirect_uri": CALLBACK,
    "scope": "openid offline_access",
    "state": "s&t=<a>",
    "code_challenge": s256(VERIFIER),
    "code_challenge_method": "S256",
}
SERVICE = {"grant_type": "client_credentials", "client_id": "gateway", "client_secret": SERVICE_SECRET}


def post(site: Site, form: dict[str, str | None], **headers: str) -> httpx.Response:
    given = {name: value for name, value in form.items() if value is not None}
    return run(site.http.post(f"{URL}/token", data=given, headers=headers))


def refused(response: httpx.Response, error: str, status: int = 400) -> None:
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert response.headers["cache-control"] == "no-store"
