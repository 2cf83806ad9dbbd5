"""`creditdesk directory`: puts a workspace, its groups and its people in place from a JSON file."""

import argparse
import asyncio
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from creditdesk.app.database import running_database
from creditdesk.app.failures import CommandFailed
from creditdesk.app.settings import Settings
from creditdesk.credits.directory import FirstSignIn, GroupClaims, UserKind
from creditdesk.credits.directory_changes import NamedGroup, NamedUser
from creditdesk.credits.directory_plan import DirectoryUser
from creditdesk.credits.permitted import Actor
from creditdesk.credits.provisioning import Directory, NamedWorkspace, Synced, put_directory
from creditdesk.db.connections import Database

_ACTOR = Actor("SERVICE", "creditdesk directory", None)
"""Who does it, as the audit trail says: whoever may run commands where the database's password is."""

# Without control characters, NUL among them: PostgreSQL's text cannot hold that one.
_Text = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Slug = Annotated[str, StringConstraints(max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


class _Workspace(_Part):
    slug: _Slug
    name: _Text
    zone: _Text
    first_sign_in: Literal["REFUSE", "ADMIT", "LINK", "LINK_OR_CREATE"] | None = None
    group_claims: Literal["OFF", "ADD", "MIRROR"] | None = None


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
    active: bool | None = None
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
    parser.add_argument(
        "--deactivate-missing", action="store_true", help="deactivate every active person whom the file does not name"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be changed, and change nothing")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Put the directory in place; running it again with the same file changes nothing."""
    workspace, named = read_directory(arguments.file.read_bytes())
    directory = replace(named, deactivate_missing=arguments.deactivate_missing, dry_run=arguments.dry_run)
    with running_database(settings, today=datetime.now(UTC).date()) as database:
        synced = asyncio.run(_put(database.dsn, workspace, directory))
    sys.stdout.write(f"{workspace.slug}: {_told(directory, synced)}\n")
    return 0


def _told(directory: Directory, synced: Synced) -> str:
    changes = (
        f"{synced.groups_created} groups made and {synced.groups_changed} renamed, {synced.users_created} users made,"
        f" {synced.users_changed} changed and {synced.users_deactivated} deactivated,"
        f" {synced.identities_linked} identities linked"
    )
    if directory.dry_run:
        return f"a dry run: {changes}"
    return f"{len(directory.groups)} groups and {len(directory.users)} users are in place: {changes}"


def read_directory(content: bytes) -> tuple[NamedWorkspace, Directory]:
    """Return the workspace and the directory that a file describes; raise CommandFailed with where it is off."""
    try:
        file = _File.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CommandFailed(f"{where}: {first['msg']}.") from None
    named = file.workspace
    workspace = NamedWorkspace(
        slug=named.slug,
        name=named.name,
        zone=named.zone,
        first_sign_in=FirstSignIn[named.first_sign_in] if named.first_sign_in else None,
        group_claims=GroupClaims[named.group_claims] if named.group_claims else None,
    )
    return workspace, Directory(
        groups=tuple(NamedGroup(group.slug, group.name) for group in file.groups),
        users=tuple(_named(user) for user in file.users),
    )


def _named(user: _User) -> DirectoryUser:
    named = NamedUser(
        display_name=user.display_name,
        email=user.email,
        external_id=user.external_id,
        kind=UserKind[user.kind],
        home_group=user.home_group,
        groups=tuple(dict.fromkeys(user.groups)),
        identities=tuple(dict.fromkeys((one.issuer, one.subject) for one in user.identities)),
    )
    return DirectoryUser(named, user.active)


async def _put(dsn: str, workspace: NamedWorkspace, directory: Directory) -> Synced:
    database = Database(dsn, max_connections=1, statement_timeout_seconds=60)
    await database.open()
    try:
        return await put_directory(database, workspace, directory, actor=_ACTOR, now=datetime.now(UTC))
    finally:
        await database.close()
