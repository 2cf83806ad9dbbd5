"""Whatever a genuine token puts where its roles should be, the running server gives exactly what the role map says."""

from collections.abc import Iterator
from typing import Any

import pytest

from creditdesk.auth.roles import GRANTED_BY_ROLE, Role
from creditdesk.db.connections import Database
from creditdesk.graphql.ids import encode_id
from support.databases import FreshDatabase
from support.world import PLACES, World, put_place, user_id, workspace_slug, world_of

VIEWER = "{ viewer { roles permissions } }"
CHANGE = """
mutation ($user: ID!) {
  deactivateUser(input: {user: {id: $user}}) { __typename }
}
"""


async def put_people(database: Database) -> None:
    for place in PLACES:
        await put_place(database, place)


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database, put_people) as filled:
        yield filled


def permitted(*roles: Role) -> list[str]:
    return sorted({permission.name for role in roles for permission in GRANTED_BY_ROLE[role]})


@pytest.mark.parametrize(
    ("claim", "roles"),
    [
        ("member", (Role.MEMBER,)),
        (["member", "analyst"], (Role.ANALYST, Role.MEMBER)),
        (
            ["member", "OWNER", " owner", "owner ", "own\u0435r", "owner\u200b", ["owner"], {"owner": True}],
            (Role.MEMBER,),
        ),
        ("member owner", ()),
        ("member,owner", ()),
        ({"owner": {"org": "acme"}}, ()),
        ([["owner"]], ()),
        (None, ()),
        (True, ()),
        (1, ()),
        ([], ()),
        ("", ()),
        (["x"] * 2_000 + ["member"], (Role.MEMBER,)),
    ],
)
def test_a_role_claim_gives_exactly_what_the_map_says(world: World, claim: Any, roles: tuple[Role, ...]) -> None:
    before = world.row_counts()
    world.tokens["CLAIMING"] = world.site.token(sub="zoe", workspace=workspace_slug("acme"), roles=claim)
    answer = world.answer("CLAIMING", VIEWER)
    if not roles:
        assert answer["data"] is None
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    else:
        viewer = answer["data"]["viewer"]
        assert sorted(viewer["roles"]) == sorted(role.name for role in roles)
        assert sorted(viewer["permissions"]) == permitted(*roles)
    [error] = world.answer("CLAIMING", CHANGE, user=encode_id("User", user_id("mo")))["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN"
    assert world.row_counts() == before


def test_a_role_claim_of_ten_thousand_entries_is_refused_with_its_token(world: World) -> None:
    before = world.row_counts()
    entries = [*(f"r{number}" for number in range(9_999)), "owner"]
    world.tokens["CLAIMING"] = world.site.token(sub="zoe", workspace=workspace_slug("acme"), roles=entries)
    response = world.run(world.posting("CLAIMING", VIEWER))
    assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")
    assert world.row_counts() == before
