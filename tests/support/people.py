"""Changing people over the API: the documents, and what is stored of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

from support.world import World, shown_id, user_id, workspace_id, workspace_slug

_numbers = count(1)
ISSUER = "https://id.example"
INVALID = "... on InvalidInput { code path message }"
CONFLICT = "... on VersionConflict { code path currentVersion }"
USER = """
... on ChangeUserSuccess { userId
  user { id displayName email kind active version homeGroup { slug } groups { slug } } }"""
GROUP = "... on ChangeGroupSuccess { groupId group { id slug name version members { nodes { id } } } }"
COUNTS = (
    "groupsCreated groupsChanged usersCreated usersChanged usersUnchanged usersDeactivated identitiesLinked"
    " errors { path code }"
)
_SELECTIONS = {
    **dict.fromkeys(
        ("createUser", "deactivateUser", "reactivateUser", "endSessions", "setHomeGroup", "linkIdentity",
         "unlinkIdentity"),
        f"{USER} {INVALID}",
    ),
    "updateUser": f"{USER} {CONFLICT} {INVALID}",
    **dict.fromkeys(("createGroup", "addGroupMembers", "removeGroupMembers"), f"{GROUP} {INVALID}"),
    "updateGroup": f"{GROUP} {CONFLICT} {INVALID}",
    "syncDirectory": f"... on SyncDirectorySuccess {{ {COUNTS} }} {INVALID}",
}  # fmt: skip
_INPUTS = dict.fromkeys(("deactivateUser", "reactivateUser", "endSessions"), "UserInput") | dict.fromkeys(
    ("addGroupMembers", "removeGroupMembers"), "GroupMembersInput"
)
MUTATIONS = tuple(_SELECTIONS)


def document(mutation: str) -> str:
    """Return the document that asks for a change."""
    input_ = _INPUTS.get(mutation, f"{mutation[0].upper()}{mutation[1:]}Input")
    return f"mutation($input: {input_}!) {{ {mutation}(input: $input) {{ __typename {_SELECTIONS[mutation]} }} }}"


def change(world: World, mutation: str, caller: str = "ADMIN", **input_: Any) -> dict[str, Any]:
    """Make a change of people, and return what it answers."""
    return dict(world.ask(caller, document(mutation), input=input_)[mutation])


def new_user(world: World, **input_: Any) -> str:
    """Make a user whom nobody else in the world is, and return their id."""
    name = f"new-{next(_numbers)}"
    made = change(world, "createUser", **{"displayName": name.title(), "email": f"{name}@new.example"} | input_)
    assert made["__typename"] == "ChangeUserSuccess", made
    return str(made["userId"])


def new_subject(world: World, id_: str) -> str:
    """Link a new subject of the world's issuer to a user, and return it."""
    subject = f"subject-{next(_numbers)}"
    linked = change(world, "linkIdentity", user={"id": id_}, issuer=world.site.issuer.url, subject=subject)
    assert linked["__typename"] == "ChangeUserSuccess", linked
    return subject


def now_seconds() -> int:
    return int(datetime.now(UTC).timestamp())


def token_of(world: World, subject: str, *roles: str, issued: int | None, **claims: Any) -> str:
    """Return a token of a subject that was issued at a moment, or does not say when."""
    given: dict[str, Any] = {"sub": subject, "roles": list(roles or ("member",)), "workspace": workspace_slug("acme")}
    return world.site.token(**given | {"iat": issued} | claims)


def trail(world: World, id_: UUID) -> list[tuple[str, str]]:
    """Return what the audit trail says of a user or group: the actions, and who did them."""
    return world.sql(
        "SELECT action, actor_subject FROM audit_entry WHERE workspace_id = %s AND object_id = %s ORDER BY id",
        workspace_id("acme"),
        id_,
    )


@contextmanager
def unchanged(world: World) -> Iterator[None]:
    """Assert that nothing of people, groups and the audit trail was changed in any workspace."""

    def rows() -> list[tuple[Any, ...]]:
        tables = ("app_user", "user_group", "group_member", "user_identity", "audit_entry")
        return [
            row
            for table in tables
            for row in world.sql(f"SELECT '{table}', t::text FROM {table} AS t ORDER BY 2")  # noqa: S608 - of our list
        ]

    before = rows()
    yield
    assert rows() == before


def shown_user(person: str) -> str:
    return shown_id("User", user_id(person))
