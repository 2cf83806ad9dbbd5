"""Whose row an object of an answer is: of which user, group or workspace, and what they are to a caller."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

from support.manifest import FOREIGN, KINDS, manifest
from support.world import ACME, PLACES, World, group_id, group_slug, shown_id, user_id, workspace_id, workspace_slug

Owner = tuple[str, str]
"""A kind (user, group, workspace) and its name in the world."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A caller: the claims of their token, and who they are as far as rows are concerned."""

    claims: Mapping[str, Any]
    place: str = ACME.name
    user: str | None = None
    manages: frozenset[str] = frozenset()


def _person(name: str, *roles: str, place: str = ACME.name, manages: tuple[str, ...] = ()) -> Seat:
    claims: dict[str, object] = {"sub": name, "roles": [*roles], "workspace": workspace_slug(place)}
    if manages:
        claims["managed_groups"] = [group_slug(group) for group in manages]
    return Seat(claims, place, name, frozenset(manages))


def _program(scope: str, *, place: str = ACME.name) -> Seat:
    name = f"{place}-{scope}"
    return Seat({"sub": name, "roles": ["service"], "scope": scope, "workspace": workspace_slug(place)}, place)


_PEOPLE = {"OWNER": "olga", "ADMIN": "adam", "BILLING": "bill", "ANALYST": "anna", "MEMBER": "mo"}
SEATS: Mapping[str, Seat] = {
    **{role: _person(name, role.lower()) for role, name in _PEOPLE.items()},
    "GROUP_MANAGER": _person("gina", "group_manager", manages=("research",)),
    **{name: _program(name) for name in manifest().callers if ":" in name},
    "no user": Seat({"sub": "stranger", "roles": ["member"], "workspace": workspace_slug(ACME.name)}),
    "no role": Seat({"sub": "zoe", "roles": ["intern"], "workspace": workspace_slug(ACME.name)}, user="zoe"),
}
"""Every caller of the manifest, as somebody in the world."""
BOTH: Mapping[str, tuple[Seat, tuple[str, ...]]] = {
    "an analyst who is a member": (_person("mo", "member", "analyst"), ("MEMBER", "ANALYST")),
    "a manager who is billing": (
        _person("gina", "group_manager", "billing", manages=("research",)),
        ("GROUP_MANAGER", "BILLING"),
    ),
    "a manager of their own group": (_person("gina", "group_manager", manages=("design",)), ("GROUP_MANAGER",)),
    "a manager of no group": (_person("gina", "group_manager"), ("MEMBER",)),
    "a manager of another workspace's group": (
        Seat(_person("gina", "group_manager", manages=("guides",)).claims, user="gina"),
        ("MEMBER",),
    ),
    "a person with scopes": (
        Seat({**_person("mo", "member").claims, "scope": "usage:read usage:write audit:read"}, user="mo"),
        ("MEMBER",),
    ),
    "an owner without a user": (Seat({**_person("mo", "owner").claims, "sub": "stranger"}), ("OWNER",)),
    "a program with every scope": (
        _program(" ".join(name for name in manifest().callers if ":" in name)),
        # Who sees everybody also sees whom the audit trail is about, as an ADMIN does.
        ("ADMIN", *(name for name in manifest().callers if ":" in name)),
    ),
    "a program that says it is an owner": (
        Seat({**_program("usage:write").claims, "roles": ["service", "owner"]}),
        ("usage:write",),
    ),
}
"""Callers of several kinds, and those of the manifest who see together what they may see at most."""
FOREIGN_OWNER = _person("hari", "owner", place="himal")
FOREIGN_WRITER = _program("usage:write", place="himal")


def sit_down(world: World, seats: Mapping[str, Seat] = SEATS) -> None:
    """Give every caller a token, by its name."""
    world.tokens |= {name: world.site.token(**seat.claims) for name, seat in seats.items()}


@dataclass(slots=True)
class Rows:
    """The owners of everything in a world that has an id: `shown_id` -> owner."""

    owners: dict[str, Owner] = field(default_factory=dict)

    @classmethod
    def of(cls, world: World) -> "Rows":
        """Read whose every row is."""
        names: dict[UUID, Owner] = {}
        for place in PLACES:
            names[workspace_id(place.name)] = ("workspace", place.name)
            names |= {group_id(group): ("group", group) for group in place.groups}
            names |= {user_id(person.name): ("user", person.name) for person in place.people}
        types = {"workspace": "Workspace", "group": "Group", "user": "User"}
        for kind, query in _MADE.items():
            names |= {id_: (kind, NEWCOMER) for (id_,) in world.sql(query) if id_ not in names}
        rows = cls({shown_id(types[owner[0]], id_): owner for id_, owner in names.items()})
        for type_name, query in _OF_ROWS.items():
            rows.owners |= {shown_id(type_name, id_): names[owner] for id_, owner in world.sql(query)}
        return rows


NEWCOMER = "newcomer"
"""The name of every user and group that was made after the world was filled: of acme, and in no group."""
_MADE = {"user": "SELECT id FROM app_user", "group": "SELECT id FROM user_group"}
_OF_ROWS = {
    "Hold": "SELECT id, user_id FROM hold",
    "CreditRequest": "SELECT id, user_id FROM credit_request",
    "CreditLimit": "SELECT id, scope_id FROM credit_limit",
}
"""Types of rows with an id of their own, and the user, group or workspace that each is of."""


@cache
def _people() -> Mapping[str, tuple[str, frozenset[str]]]:
    """Return the place and the present groups of every user."""
    return {
        person.name: (place.name, frozenset([person.moves_to] if person.moves_to else person.groups))
        for place in PLACES
        for person in place.people
    }


def row_word(seat: Seat, owner: Owner) -> str:
    """Return the word for a row of this owner, as the manifest has it."""
    kind, name = owner
    if name == NEWCOMER:
        return KINDS[kind][2] if seat.place == ACME.name else FOREIGN
    people = _people()
    if kind == "workspace":
        return KINDS[kind][0] if name == seat.place else FOREIGN
    mine = people[seat.user][1] if seat.user else frozenset()
    if kind == "user":
        place, groups = people[name]
        nth = 0 if name == seat.user else 1 if groups & seat.manages else 2
    else:
        place = next(one.name for one in PLACES if name in one.groups)
        nth = 1 if name in seat.manages else 0 if name in mine else 2
    return KINDS[kind][nth] if place == seat.place else FOREIGN


def words_of(seat: Seat, kind: str) -> set[str]:
    """Return the words that rows of a kind come under for a caller: not everybody manages a group, or is in one."""
    place = next(one for one in PLACES if one.name == seat.place)
    names = {"user": [one.name for one in place.people], "group": list(place.groups), "workspace": [place.name]}
    return {row_word(seat, (kind, name)) for name in names[kind]}


Cell = tuple[str, Owner]
"""A `Type.field` that held something, and whose row it was in."""


def held_cells(rows: Rows, value: object, owner: Owner) -> Iterator[Cell]:
    """Yield every field of an answer that holds something; what has no id is of the row that it is part of."""
    if isinstance(value, list):
        for one in value:
            yield from held_cells(rows, one, owner)
    if isinstance(value, dict):
        type_name = value.get("__typename", "Query")
        owner = _owner_of(rows, value, owner)
        for name, inner in value.items():
            held = [one for one in inner if one is not None] if isinstance(inner, list) else inner
            if held not in (None, []) and name != "__typename":
                yield f"{type_name}.{name}", owner
                yield from held_cells(rows, inner, owner)


def _owner_of(rows: Rows, value: dict[str, Any], above: Owner) -> Owner:
    match value:
        case {"__typename": "Budget", "scope": {"id": id_}}:
            return rows.owners[id_]
        case {"__typename": "Rate" | "TierMultiplier"}:
            return above
        case {"__typename": type_name, "id": id_}:
            assert id_ in rows.owners, f"whose is this {type_name}? Say so in tests/support/rows.py"
            return rows.owners[id_]
    return above
