"""Who can sign in to the demo: a person for each role, a program, and tokens for all of them."""

import base64
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr

from creditdesk.app.demo.issuer import DemoClient, DemoIssuer, DemoPerson
from creditdesk.app.demo.people import DEMO_PERSONS, MANAGED_GROUPS, DemoUser, DemoWorkspace, acme, himal
from creditdesk.app.demo.signing_keys import SigningKeys
from creditdesk.app.sign_in import CALLBACK
from creditdesk.auth.sealing import KEY_BYTES
from creditdesk.credits.directory import Identity, put_identities
from creditdesk.db.connections import Database
from creditdesk.db.scopes import DatabaseRole, RowScope

AUDIENCE = "creditdesk"
TOKEN_LIFETIME = timedelta(hours=12)
"""A working day without signing in again."""

_SERVICE = "gateway"
_SERVER = "creditdesk"
_SERVICE_SCOPES = ("usage:read", "usage:write", "limits:write", "audit:read")
_CONSOLE_URLS = tuple(f"http://localhost:{port}/callback" for port in (3000, 4200, 5173))


@dataclass(frozen=True, slots=True)
class SignIn:
    """A name for the ready file, and the person of a workspace who goes by it."""

    name: str
    workspace: DemoWorkspace
    user: DemoUser
    role: str

    @property
    def subject(self) -> str:
        """What the issuer calls the person."""
        return f"{self.workspace.slug}|{self.user.new.external_id}"

    def person(self) -> DemoPerson:
        """Return the person as the issuer knows them."""
        claims: dict[str, object] = {"workspace": self.workspace.slug, "roles": [self.role]}
        if self.role == "group_manager":
            claims["managed_groups"] = list(MANAGED_GROUPS)
        new = self.user.new
        return DemoPerson(self.subject, f"{new.display_name} ({self.name})", new.email or "", claims)


def sign_ins(users: int) -> Sequence[SignIn]:
    """Return who can sign in to a demo of this many users."""
    large, small = acme(users), himal(users)
    here = [SignIn(name, large, large.users[index], name.lower()) for name, index in DEMO_PERSONS.items()]
    return [*here, SignIn("OTHER_WORKSPACE_OWNER", small, small.users[0], "owner")]


def demo_issuer(url: str, people: Iterable[SignIn], *, keys: SigningKeys, public_url: str) -> DemoIssuer:
    """Return the issuer at this address; browsers sign in for the server that they know by `public_url`."""
    service = DemoClient(
        _SERVICE,
        secret="demo",  # noqa: S106 - the issuer lets anybody on this machine in, and nobody else
        grants=frozenset({"client_credentials"}),
        scopes=frozenset(_SERVICE_SCOPES),
        claims={"workspace": "acme", "roles": ["service"]},
    )
    console = DemoClient("console", redirect_uris=_CONSOLE_URLS)
    server = DemoClient(
        _SERVER,
        secret="demo",  # noqa: S106 - as above
        redirect_uris=(f"{public_url}{CALLBACK}",),
        sign_out_uris=(f"{public_url}/",),
    )
    clients = [service, console, server]
    return DemoIssuer(url, AUDIENCE, persons=[one.person() for one in people], clients=clients, keys=keys)


def _by_name(url: str) -> str:
    """Return the address as people type it who know this machine by its name."""
    return url.replace("127.0.0.1", "localhost")


def browser_settings(public_url: str, *, origins: tuple[str, ...]) -> dict[str, object]:
    """Return the settings that let browsers sign in; pages of consoles under development may ask as well."""
    return {
        "public_url": public_url,
        "sign_in_client_id": _SERVER,
        "sign_in_client_secret": SecretStr("demo"),
        "session_keys": SecretStr(base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()),
        "cors_origins": origins or (*(url.removesuffix("/callback") for url in _CONSOLE_URLS), _by_name(public_url)),
    }


def tokens_of(issuer: DemoIssuer, people: Iterable[SignIn]) -> Mapping[str, str]:
    """Return a token for each name, the program's included."""
    tokens = {one.name: issuer.issue_access_token(one.subject, lifetime=TOKEN_LIFETIME) for one in people}
    service = issuer.issue_access_token(_SERVICE, scopes=_SERVICE_SCOPES, lifetime=TOKEN_LIFETIME)
    return tokens | {"SERVICE": service}


async def link(database: Database, people: Iterable[SignIn], *, issuer_url: str) -> None:
    """Link the issuer's subjects to their users; the issuer may have another port than at the last start."""
    for one in people:
        workspace_id = one.workspace.id
        identity = Identity(issuer_url, one.subject, one.user.new.id)
        async with database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id)) as conn:
            await put_identities(conn, workspace_id=workspace_id, identities=[identity])
