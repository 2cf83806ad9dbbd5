"""What random documents are given: everybody's ids, names and cursors, and values at and past every edge."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import orjson
from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema

from support.world import (
    FIRST_DAY,
    LAST_DAY,
    PLACES,
    World,
    canary,
    email_of,
    external_id_of,
    group_slug,
    id_of,
    own_product,
    shown_id,
    workspace_slug,
)

_PEOPLE = [person.name for place in PLACES for person in place.people]
_GROUPS = [group for place in PLACES for group in place.groups]
_TEXTS = ["", "ö", "chat", "large", "a" * 2000, "'; DROP TABLE app_user; --", "%_\\", "\u202e\U0001f4a9", " ", "null"]
_RANGES: list[Any] = [
    *[{"days": {"first": FIRST_DAY, "last": LAST_DAY}}] * 6,
    *[{"instants": {"start": "2026-03-12T05:17:00Z", "end": "2026-06-20T09:01:00Z"}}] * 2,
    {"days": {"first": "2026-05-01", "last": "2026-05-31"}},
    {"preset": "THIS_MONTH"},
    {"days": {"first": LAST_DAY, "last": FIRST_DAY}},
    {"days": {"first": "0001-01-01", "last": "9999-12-31"}},
    {"instants": {"start": "2026-03-29T01:59:59.999999Z", "end": "2026-03-29T02:00:00+14:00"}},
]
_CURSORS_OF = """{ viewer { workspace {
  users(first: 3) { edges { cursor } } byCredits: users(first: 3, orderBy: {field: CREDITS}) { edges { cursor } }
  groups(first: 2) { edges { cursor } } requests(first: 3) { edges { cursor } } limits(first: 3) { edges { cursor } }
  audit(first: 3) { edges { cursor } } } } }"""


def cursors_of(world: World, callers: Sequence[str]) -> list[str]:
    """Return cursors that others were given."""
    lists = [one for caller in callers for one in world.ask(caller, _CURSORS_OF)["viewer"]["workspace"].values()]
    return [edge["cursor"] for found in lists for edge in found["edges"]]


def tampered(cursors: Sequence[str]) -> list[str]:
    """Return cursors that nobody was given: other numbers, other names, other ids, other forms."""
    found = ["", "x", "ö", "bm9uZQ", "a" * 3000, base64.urlsafe_b64encode(b"[1,2,3,4]").decode()]
    for cursor in cursors:
        tag, number, name, id_ = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        contents = (
            [tag, 2**63 - 1, name, id_],
            [tag, -(2**63), "", id_],
            [tag, 2**64, name, id_],
            [tag, number, "\U0001f4a9" * 9, str(id_of("nowhere"))],
            [tag, str(number), None, id_],
            ["ANOTHER", number, name, id_],
        )
        found += [base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in contents]
    return found


def random_values(schema: GraphQLSchema, ids: Sequence[str], cursors: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values to choose from."""
    nowhere = [shown_id(kind, id_of("nowhere")) for kind in ("User", "Group", "Workspace", "Rate", "Nothing")]
    products = [own_product("zoe", "sales"), own_product("maya", "bookings"), "video", "image"]
    values: dict[str, list[Any]] = {
        "ID": [*ids, *nowhere, "", "no-id"],
        "String": [*_TEXTS, *products, canary("user", "zoe"), canary("group", "guides"), email_of("maya")],
        "Int": [1, 2, 3, 5, 9, 20, 50, 100, 1, 2, 5, 9, 20, 50, 0, 101, -1, 2**31 - 1],
        "Float": [0, -1.5, 1e300],
        "Boolean": [True, False],
        "Decimal": ["1", "2", "1.5", "0.000001", "-1", "999999999999999999999", "1e3", "NaN"],
        "Credits": [
            "1",
            "0.5",
            "0",
            "0.000001",
            "2",
            "3",
            "12.5",
            "100",
            "1000000000",
            "1000000001",
            "-1",
            "9223372036854.775808",
            "1e3",
            "",
        ],
        "BigInt": ["1", "0", "12", "1000", "7", "-1", "9223372036854775807", "9223372036854775808", "1" * 40],
        "Date": [
            FIRST_DAY,
            LAST_DAY,
            "2026-05-01",
            "2026-06-01",
            "2027-01-01",
            "0001-01-01",
            "9999-12-31",
            "2026-02-30",
        ],
        "DateTime": [
            "2026-05-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "2026-06-20T00:00:00+14:00",
        ],
        "WorkspaceBy.slug": [workspace_slug(place.name) for place in PLACES],
        "UserBy.email": [*map(email_of, _PEOPLE), "nobody@example.com"],
        "UserBy.externalId": [*map(external_id_of, _PEOPLE), "nobody"],
        "GroupBy.slug": [*map(group_slug, _GROUPS), "nothing"],
        "CreditUsage.breakdown.by": [
            ["PRODUCT"],
            ["PRODUCT", "MODEL"],
            ["USER"],
            ["GROUP", "USER"],
            ["USER", "USER"],
            [],
        ],
    }
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not type_.name.startswith("__"):
            for name, field in type_.fields.items():
                for argument in {"after", "before"} & field.args.keys():
                    # Most cursors fit no list but their own: most lists are asked without one.
                    some = [*cursors, *cursors, *tampered(cursors)]
                    values[f"{type_.name}.{name}.{argument}"] = [*some, *[None] * 3 * len(some)]
                if "range" in field.args:
                    values[f"{type_.name}.{name}.range"] = _RANGES
    return values
