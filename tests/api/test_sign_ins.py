"""Sign-ins that arrive together: looked up together, and everybody is who they are."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from creditdesk.db.connections import Database
from support.databases import FreshDatabase
from support.world import CALLERS, PLACES, World, put_place, shown_id, user_id, workspace_slug, world_of

VIEWER = "{ viewer { subject user { id } workspace { slug } } }"
PEOPLE = {"OWNER": "olga", "ADMIN": "adam", "GROUP_MANAGER": "gina", "MEMBER": "mo", "OTHER_OWNER": "hari"}


async def put_people(database: Database) -> None:
    """Put both workspaces' people in place."""
    for place in PLACES:
        await put_place(database, place)


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database, put_people) as filled:
        yield filled


def signed_in(world: World, callers: list[str]) -> tuple[list[object], list[str]]:
    """Return who each of these was found to be, and the statements that this took."""
    ran: list[str] = []
    world.database.observers.append(ran.append)
    try:
        answers = world.ask_together([(caller, VIEWER, {}) for caller in callers])
    finally:
        world.database.observers.remove(ran.append)
    return [answer["data"]["viewer"] for answer in answers], [name for name in ran if name == "user_of_identity"]


def test_callers_who_arrive_together_are_each_signed_in_as_themselves(world: World) -> None:
    callers = list(PEOPLE) * 10
    found, lookups = signed_in(world, callers)
    assert found == [
        {
            "subject": CALLERS[caller]["sub"],
            "user": {"id": shown_id("User", user_id(PEOPLE[caller]))},
            "workspace": {"slug": workspace_slug("himal" if caller == "OTHER_OWNER" else "acme")},
        }
        for caller in callers
    ]
    assert len(lookups) < len(callers)


def test_a_caller_s_many_requests_that_arrive_together_are_looked_up_a_few_times(world: World) -> None:
    _, lookups = signed_in(world, ["MEMBER"] * 50)
    assert len(lookups) <= 10


def test_one_who_is_not_let_in_keeps_nobody_out_who_arrives_together_with_them(world: World) -> None:
    world.tokens["NOWHERE"] = world.site.token(sub="mo", roles=["member"], workspace="no-such-workspace")
    world.tokens["INACTIVE"] = world.site.token(sub="ina", roles=["member"], workspace=workspace_slug("acme"))

    async def statuses() -> list[int]:
        asked = [world.posting(caller, VIEWER) for caller in ("MEMBER", "NOWHERE", "OWNER", "INACTIVE") * 5]
        return [response.status_code for response in await asyncio.gather(*asked)]

    assert world.run(statuses()) == [200, 401, 200, 401] * 5


def test_a_workspace_that_is_not_what_it_was_is_found_again(world: World) -> None:
    # As after the database was restored from somewhere else, under a running server.
    world.database.remembered[workspace_slug("acme")] = uuid4()

    async def statuses() -> set[int]:
        asked = [world.posting(caller, VIEWER) for caller in ("MEMBER", "OWNER", "ADMIN")]
        return {response.status_code for response in await asyncio.gather(*asked)}

    assert world.run(statuses()) <= {200, 401}
    assert world.run(statuses()) == {200}
