"""`creditdesk directory`: puts a workspace, its groups and its people in place from a JSON file."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from creditdesk.app.database import running_database
from creditdesk.app.failures import CommandFailed
from creditdesk.app.settings import Settings
from creditdesk.credits.directory import UserKind
from creditdesk.credits.provisioning import Directory, NamedGroup, NamedUser, put_directory
from creditdesk.db.connections import Database

# Without control characters, NUL among them: PostgreSQL's text cannot hold that one.
_Text = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Slug = Annotated[str, StringConstraints(max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


class _Workspace(_Part):
    slug: _Slug
    name: _Text
    zone: _Text


class _Group(_Part):
    slug: _Slug
    name: _Text


class _Identity(_Part):
    issuer: _Text
    subject: _Text


class _User(_Part):
    display_name: _Text
    email: _Text | None = None
    external_id: _Text | None = None
    kind: Literal["PERSON", "SERVICE_ACCOUNT"] = "PERSON"
    active: bool = True
    home_group: _Slug | None = None
    groups: list[_Slug] = []
    identities: list[_Identity] = []


class _File(_Part):
    workspace: _Workspace
    groups: list[_Group] = []
    users: list[_User] = []


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the file."""
    parser.add_argument("file", metavar="FILE", type=Path, help="JSON: a workspace, its groups and its users")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Put the directory in place; running it again with the same file changes nothing."""
    directory = read_directory(arguments.file.read_bytes())
    with running_database(settings, today=datetime.now(UTC).date()) as database:
        asyncio.run(_put(database.dsn, directory))
    sys.stdout.write(
        f"{directory.slug}: {len(directory.groups)} groups and {len(directory.users)} users are in place\n"
    )
    return 0


def read_directory(content: bytes) -> Directory:
    """Return the directory that a file describes; raise CommandFailed with where it is off."""
    try:
        file = _File.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CommandFailed(f"{where}: {first['msg']}.") from None
    return Directory(
        slug=file.workspace.slug,
        name=file.workspace.name,
        zone=file.workspace.zone,
        groups=tuple(NamedGroup(group.slug, group.name) for group in file.groups),
        users=tuple(_named(user) for user in file.users),
    )


def _named(user: _User) -> NamedUser:
    return NamedUser(
        display_name=user.display_name,
        email=user.email,
        external_id=user.external_id,
        kind=UserKind[user.kind],
        active=user.active,
        home_group=user.home_group,
        groups=tuple(dict.fromkeys(user.groups)),
        identities=tuple((one.issuer, one.subject) for one in user.identities),
    )


async def _put(dsn: str, directory: Directory) -> None:
    database = Database(dsn, max_connections=1, statement_timeout_seconds=60)
    await database.open()
    try:
        await put_directory(database, directory, now=datetime.now(UTC))
    finally:
        await database.close()
