"""How the values of settings are written: the parts that pydantic does not know by itself."""

import json
from collections.abc import Mapping

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from creditdesk.auth.issuers import ASYMMETRIC, is_issuer_url
from creditdesk.auth.roles import Role


def postgresql_url(value: SecretStr) -> SecretStr:
    """Return the value if it is a URL of PostgreSQL."""
    url = value.get_secret_value()
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        url = ""
    if not url.startswith(("postgresql://", "postgres://")):
        # Nothing of the value, and no `from`: libpq's own message quotes it.
        raise ValueError("must be a URL such as postgresql://user:password@host:5432/database") from None
    return value


def issuer_url(value: str) -> str:
    """Return the value if it can be an issuer."""
    if not is_issuer_url(value):
        raise ValueError("must be an https address, or http on this machine, exactly as the tokens' `iss`")
    return value


def listed(value: object) -> object:
    """Return the parts of a text that commas separate."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def lower(value: object) -> object:
    """Return a text in lower case."""
    return value.lower() if isinstance(value, str) else value


def asymmetric(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the value if all of it are signatures that a public key verifies."""
    if not value or not ASYMMETRIC.issuperset(value):
        raise ValueError(f"must be among {', '.join(sorted(ASYMMETRIC))}")
    return value


def json_role_map(value: object) -> object:
    """Return the role map that a JSON object holds."""
    if not isinstance(value, str):
        return value
    try:
        entries = json.loads(value)
    except ValueError:
        entries = None
    return role_map(entries)


def role_map(entries: object) -> Mapping[str, Role]:
    """Return the role map of an object from the identity provider's roles to the names of ours."""
    if not isinstance(entries, dict) or not all(str(name) in Role.__members__ for name in entries.values()):
        raise ValueError(f"must be a JSON object from the identity provider's roles to {', '.join(Role.__members__)}")
    return {theirs: Role[name] for theirs, name in entries.items()}
