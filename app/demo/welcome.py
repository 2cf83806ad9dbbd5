"""What the demo says once everything is there: to a person, and in the ready file."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from creditdesk.app.demo.issuer import DemoIssuer
from creditdesk.app.demo.people import DEMO_PERSONS
from creditdesk.app.graphiql import PATH as GRAPHIQL
from creditdesk.app.holds import PATH as HOLDS
from creditdesk.app.sign_in import LOGIN, SESSION

_QUERY = (
    "{ viewer { workspace { name groups(first: 3) { nodes { name members(first: 3) { nodes { displayName"
    " usage(range: {preset: LAST_30_DAYS}) { credits breakdown(by: [PRODUCT, MODEL], first: 3)"
    " { rows { product model credits } other { credits } } } } } } } } } }"
)


_WATCH = "subscription { budgetChanged { product used held remaining } }"
_HOLD = {
    "source": "demo",
    "id": "call-1",
    "externalId": f"E{1000 + DEMO_PERSONS['ADMIN']}",
    "product": "chat",
    "model": "atlas-2",
    "inputTokens": 2400,
    "outputTokens": 700,
}


@dataclass(frozen=True, slots=True)
class Demo:
    """What is running once everything is."""

    url: str
    public_url: str
    issuer: DemoIssuer
    dsn: str
    tokens: Mapping[str, str]


def ready(demo: Demo) -> str:
    """Return the ready file's JSON."""
    said = {"graphql": demo.url, "issuer": demo.issuer.url, "database": demo.dsn, "tokens": dict(demo.tokens)}
    said["signIn"] = f"{demo.public_url}{LOGIN}"
    return json.dumps(said, indent=2) + "\n"


def _watching(demo: Demo) -> list[str]:
    token = f"authorization: Bearer {demo.tokens['ADMIN']}"
    headers = ("content-type: application/json", "accept: text/event-stream", token)
    return ["curl", "-sN", demo.url, *(part for header in headers for part in ("-H", header))]


def _holding(demo: Demo) -> list[str]:
    url = f"{demo.url.removesuffix('/graphql')}{HOLDS}"
    headers = ("content-type: application/json", f"authorization: Bearer {demo.tokens['SERVICE']}")
    return ["curl", "-s", url, *(part for header in headers for part in ("-H", header))]


def welcome(demo: Demo) -> str:
    """Return what is printed."""
    page = f"{demo.url.removesuffix('/graphql')}{GRAPHIQL}"
    lines = [
        f"creditdesk demo: {demo.url}",
        f"in a browser: {page}",
        f"identity provider: {demo.issuer.url}",
        "",
        "Tokens, good for 12 hours:",
    ]
    for name, token in demo.tokens.items():
        lines += [f"  {name}", f"  {token}", ""]
    headers = ("content-type: application/json", f"authorization: Bearer {demo.tokens['OWNER']}")
    command = ["curl", "-s", demo.url, *(part for header in headers for part in ("-H", header))]
    lines += [
        "Sign in with a browser, as any of these persons:",
        f"{demo.public_url}{LOGIN}?return_to={SESSION}",
        "",
        "Who used what in the last 30 days, by group, user, product and model:",
        shlex.join([*command, "-d", json.dumps({"query": _QUERY})]),
        "",
        "May this call be made? A gateway sets credits aside before it:",
        shlex.join([*_holding(demo), "-d", json.dumps(_HOLD)]),
        "",
        "Whom that is held for sees it at once, in a budget that is told as it changes; Ctrl-C ends that:",
        shlex.join([*_watching(demo), "-d", json.dumps({"query": _WATCH})]),
        "",
        "Ctrl-C ends it; the data stays.",
    ]
    return "\n".join(lines) + "\n"
