"""syncDirectory: a whole directory in one call, item by item, and again without a change."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.people import ISSUER, change, unchanged
from support.world import World, workspace_id

NOTHING = {
    "groupsCreated": 0,
    "groupsChanged": 0,
    "usersCreated": 0,
    "usersChanged": 0,
    "usersUnchanged": 0,
    "usersDeactivated": 0,
    "identitiesLinked": 0,
    "errors": [],
}
GROUPS = [{"slug": "web", "name": "Web"}, {"slug": "ml", "name": "Machine learning"}]
ANA = {
    "displayName": "Ana",
    "email": "Ana@hr.example",
    "externalId": "hr-1",
    "homeGroup": "web",
    "groups": ["ml"],
    "identities": [{"issuer": ISSUER, "subject": "hr|ana"}],
}
BEN = {"displayName": "Ben", "email": "ben@hr.example"}
BOT = {"displayName": "Bot", "externalId": "hr-bot", "kind": "SERVICE_ACCOUNT"}


@pytest.fixture(autouse=True)
def alone(world: World) -> Iterator[None]:
    """Give every test of the module a workspace of its own, by moving what it made out of the way."""
    yield
    world.sql("UPDATE app_user SET email = NULL, external_id = id::text WHERE email LIKE '%%hr.example' RETURNING 1")
    world.sql("UPDATE app_user SET external_id = id::text WHERE external_id LIKE 'hr-%%' RETURNING 1")
    world.sql("UPDATE user_group SET slug = 'g' || id WHERE slug IN ('web', 'ml') RETURNING 1")
    world.sql("DELETE FROM user_identity WHERE issuer = %s RETURNING 1", ISSUER)


def sync(world: World, **input_: Any) -> dict[str, Any]:
    answer = change(world, "syncDirectory", **input_)
    assert answer.pop("__typename") == "SyncDirectorySuccess", answer
    return answer


def stored(world: World) -> dict[str, tuple[Any, ...]]:
    rows = world.sql(
        "SELECT u.display_name, u.email, u.external_id, u.kind, u.active, h.slug, u.version,"
        " ARRAY(SELECT g.slug FROM group_member m JOIN user_group g ON g.id = m.group_id WHERE m.user_id = u.id"
        " ORDER BY 1), ARRAY(SELECT i.subject FROM user_identity i WHERE i.user_id = u.id ORDER BY 1)"
        " FROM app_user u LEFT JOIN user_group h ON h.id = u.home_group_id"
        " WHERE u.workspace_id = %s AND (u.email LIKE '%%hr.example' OR u.external_id LIKE 'hr-%%')",
        workspace_id("acme"),
    )
    return {row[0]: row[1:] for row in rows}


def active_people(world: World) -> int:
    query = "SELECT count(*) FROM app_user WHERE active AND kind = 'PERSON' AND workspace_id = %s"
    return int(world.sql(query, workspace_id("acme"))[0][0])


def test_a_directory_is_put_in_place_and_again_changes_nothing(world: World) -> None:
    directory = {"groups": GROUPS, "users": [ANA, BEN, BOT]}
    assert sync(world, **directory) == NOTHING | {"groupsCreated": 2, "usersCreated": 3, "identitiesLinked": 1}
    assert stored(world) == {
        "Ana": ("ana@hr.example", "hr-1", "PERSON", True, "web", 1, ["ml", "web"], ["hr|ana"]),
        "Ben": ("ben@hr.example", None, "PERSON", True, None, 1, [], []),
        "Bot": (None, "hr-bot", "SERVICE_ACCOUNT", True, None, 1, [], []),
    }
    with unchanged(world):
        assert sync(world, **directory) == NOTHING | {"usersUnchanged": 3}


def test_users_and_groups_are_changed_to_what_is_said_now(world: World) -> None:
    sync(world, groups=GROUPS, users=[ANA, BEN])
    moved: dict[str, Any] = ANA | {
        "displayName": "Ana Maria",
        "email": "ana.maria@hr.example",
        "homeGroup": None,
        "identities": [],
    }
    answer = sync(world, groups=[{"slug": "ml", "name": "ML"}], users=[moved, BEN | {"externalId": "hr-2"}])
    assert answer == NOTHING | {"groupsChanged": 1, "usersChanged": 2}
    # Identities that are not named stay, groups do not.
    assert stored(world) == {
        "Ana Maria": ("ana.maria@hr.example", "hr-1", "PERSON", True, None, 2, ["ml"], ["hr|ana"]),
        "Ben": ("ben@hr.example", "hr-2", "PERSON", True, None, 2, [], []),
    }


def test_items_with_errors_keep_no_others_out(world: World) -> None:
    sync(world, groups=GROUPS, users=[ANA])
    users = [
        {"displayName": "Nobody"},
        BEN | {"groups": ["nowhere"]},
        {"displayName": "Thief", "email": "ana@hr.example", "externalId": "hr-9"},
        {"displayName": "Thief", "externalId": "hr-8", "identities": ANA["identities"]},
        {"displayName": "Cleo", "email": "cleo@hr.example"},
        {"displayName": "Cleo again", "email": "CLEO@hr.example"},
        {"displayName": "Ana again", "externalId": "hr-1", "email": "other@hr.example"},
        ANA,
    ]
    answer = sync(world, groups=[{"slug": "UP", "name": "Up"}], users=users, deactivateMissing=True)
    assert answer == NOTHING | {
        "usersCreated": 1,
        "usersChanged": 1,
        "errors": [
            {"path": ["groups", "0"], "code": "INVALID_INPUT"},
            {"path": ["users", "0"], "code": "INVALID_INPUT"},
            {"path": ["users", "1", "groups"], "code": "UNKNOWN_GROUP"},
            {"path": ["users", "2", "email"], "code": "TAKEN"},
            {"path": ["users", "3", "identities"], "code": "TAKEN"},
            {"path": ["users", "5", "email"], "code": "TAKEN"},
            {"path": ["users", "7", "externalId"], "code": "TAKEN"},
        ],
    }
    # Who is missing is not known where an item has an error: nobody was deactivated.
    assert set(stored(world)) == {"Ana again", "Cleo"}
    assert all(row[3] for row in stored(world).values())


def test_people_who_are_missing_are_deactivated_but_for_programs_and_the_caller(world: World) -> None:
    sync(world, users=[ANA | {"homeGroup": None, "groups": []}, BEN, BOT])
    others = active_people(world) - 3  # all but Ana and Ben, and the caller
    with unchanged(world):
        preview = sync(world, users=[BEN], deactivateMissing=True, dryRun=True)
    assert preview == NOTHING | {"usersUnchanged": 1, "usersDeactivated": others + 1}
    before = world.sql("SELECT id FROM app_user WHERE active AND workspace_id = %s", workspace_id("acme"))
    assert sync(world, users=[BEN], deactivateMissing=True) == preview
    assert {name: row[3] for name, row in stored(world).items()} == {"Ana": False, "Ben": True, "Bot": True}
    assert active_people(world) == 2
    # What a directory does not say of a user stays: who was deactivated by hand does not come back by night.
    assert sync(world, users=[ANA | {"homeGroup": None, "groups": []}]) == NOTHING | {"usersUnchanged": 1}
    back = sync(world, users=[ANA | {"homeGroup": None, "groups": [], "active": True}])
    assert back == NOTHING | {"usersChanged": 1}
    for (id_,) in before:
        world.sql("UPDATE app_user SET active = true WHERE id = %s RETURNING 1", id_)
    other = world.sql("SELECT bool_and(active) FROM app_user WHERE workspace_id = %s", workspace_id("himal"))
    assert other == [(True,)]


def test_a_dry_run_says_what_would_be_and_changes_nothing(world: World) -> None:
    with unchanged(world):
        answer = sync(world, groups=GROUPS, users=[ANA, BEN, {"displayName": "Nobody"}], dryRun=True)
    assert answer == NOTHING | {
        "groupsCreated": 2,
        "usersCreated": 2,
        "identitiesLinked": 1,
        "errors": [{"path": ["users", "2"], "code": "INVALID_INPUT"}],
    }


def test_a_directory_of_five_thousand_is_one_call_and_of_one_more_is_none(world: World) -> None:
    users = [{"displayName": f"N{number}", "externalId": f"hr-n{number}"} for number in range(5001)]
    with unchanged(world):
        refused = change(world, "syncDirectory", users=users)
        assert (refused["__typename"], refused["code"]) == ("InvalidInput", "DIRECTORY_SIZE")
    with world.statements() as ran:
        assert sync(world, users=users[:5000]) == NOTHING | {"usersCreated": 5000}
    assert len(ran) < 20
    assert sync(world, users=users[:5000]) == NOTHING | {"usersUnchanged": 5000}
