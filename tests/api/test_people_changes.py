"""Changing users, groups and who is in them: who may, what it does, and what it leaves alone."""

from typing import Any

import pytest

from creditdesk.graphql.ids import decode_id
from support.people import ISSUER, MUTATIONS, change, document, new_user, shown_user, trail, unchanged
from support.world import CALLERS, World, email_of, external_id_of, group_id, group_slug, shown_id, workspace_slug

RESEARCH = {"slug": group_slug("research")}
DESIGN = {"slug": group_slug("design")}
INPUTS: dict[str, dict[str, Any]] = {
    "createUser": {"displayName": "Eve", "email": "eve@example.com"},
    "updateUser": {"user": {"id": shown_user("mo")}, "displayName": "Eve"},
    "deactivateUser": {"user": {"id": shown_user("mo")}},
    "reactivateUser": {"user": {"id": shown_user("ina")}},
    "endSessions": {"user": {"id": shown_user("mo")}},
    "setHomeGroup": {"user": {"id": shown_user("mia")}, "group": RESEARCH},
    "linkIdentity": {"user": {"id": shown_user("mo")}, "issuer": ISSUER, "subject": "eve"},
    "unlinkIdentity": {"issuer": "http://127.0.0.1:9400", "subject": "mo"},
    "createGroup": {"slug": "eves", "name": "Eve's"},
    "updateGroup": {"group": RESEARCH, "name": "Eve's"},
    "addGroupMembers": {"group": RESEARCH, "users": [{"id": shown_user("zoe")}]},
    "removeGroupMembers": {"group": RESEARCH, "users": [{"id": shown_user("mo")}]},
    "syncDirectory": {"groups": [{"slug": "eves", "name": "Eve's"}], "deactivateMissing": True},
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_people_are_changed_by_those_only_who_may_and_a_denied_change_changes_nothing(
    world: World, mutation: str
) -> None:
    assert set(INPUTS) == set(MUTATIONS)
    with unchanged(world):
        for caller in CALLERS:
            if caller not in {"OWNER", "ADMIN", "OTHER_OWNER"}:
                answer = world.answer(caller, document(mutation), input=INPUTS[mutation])
                assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"], caller


@pytest.mark.parametrize("mutation", [one for one in MUTATIONS if not one.startswith(("create", "sync"))])
def test_what_another_workspace_has_is_as_if_it_were_not_there(world: World, mutation: str) -> None:
    with unchanged(world):
        answer = change(world, mutation, "OTHER_OWNER", **INPUTS[mutation])
        expected = {"linkIdentity": "UNKNOWN_USER", "unlinkIdentity": "UNKNOWN_IDENTITY"}.get(
            mutation, "UNKNOWN_GROUP" if "roup" in mutation else "UNKNOWN_USER"
        )
        assert (answer["__typename"], answer["code"]) == ("InvalidInput", expected)


def test_a_user_is_made_with_groups_and_a_home_group(world: World) -> None:
    made = change(
        world,
        "createUser",
        displayName="Ana Ávila",
        email="Ana@New.Example",
        externalId="new-ana",
        groups=[{"id": shown_id("Group", group_id("design"))}],
        homeGroup=RESEARCH,
    )
    assert made["user"] | {"id": None} == {
        "id": None,
        "displayName": "Ana Ávila",
        "email": "ana@new.example",
        "kind": "PERSON",
        "active": True,
        "version": 1,
        "homeGroup": RESEARCH,
        "groups": [DESIGN, RESEARCH],
    }
    assert trail(world, decode_id(made["userId"])[1]) == [("USER_CREATED", "adam")]


@pytest.mark.parametrize(
    ("input_", "code", "path"),
    [
        ({"displayName": "Eve"}, "INVALID_INPUT", ["input"]),
        ({"displayName": "  ", "email": "eve@example.com"}, "INVALID_INPUT", ["input"]),
        ({"displayName": "Eve", "email": "e\nve@example.com"}, "INVALID_INPUT", ["input"]),
        ({"displayName": "Eve", "email": "e" * 256}, "INVALID_INPUT", ["input"]),
        ({"displayName": "Eve", "email": email_of("mo").upper()}, "TAKEN", ["input", "email"]),
        ({"displayName": "Eve", "externalId": external_id_of("mo")}, "TAKEN", ["input", "externalId"]),
        ({"displayName": "Eve", "email": "e@x", "groups": [{"slug": "none"}]}, "UNKNOWN_GROUP", ["input", "group"]),
    ],
)
def test_what_no_user_can_be_is_not_made(world: World, input_: dict[str, Any], code: str, path: list[str]) -> None:
    with unchanged(world):
        answer = change(world, "createUser", **input_)
        assert (answer["__typename"], answer["code"], answer["path"]) == ("InvalidInput", code, path)


def test_a_user_is_changed_where_nobody_else_changed_them_meanwhile(world: World) -> None:
    id_ = new_user(world, externalId="to-be-changed")
    user = change(world, "updateUser", user={"id": id_}, displayName="Another", externalId=None)["user"]
    assert (user["displayName"], user["version"]) == ("Another", 2)
    with unchanged(world):
        late = change(world, "updateUser", user={"id": id_}, displayName="Late", expectedVersion=1)
        assert late == {
            "__typename": "VersionConflict",
            "code": "VERSION_CONFLICT",
            "path": ["input", "expectedVersion"],
            "currentVersion": 2,
        }
        nameless = change(world, "updateUser", user={"id": id_}, email=None)
        assert nameless["code"] == "INVALID_INPUT"
    again = change(world, "updateUser", user={"id": id_}, displayName="Another", expectedVersion=2)
    assert again["user"]["version"] == 2
    assert trail(world, decode_id(id_)[1]) == [("USER_CREATED", "adam"), ("USER_CHANGED", "adam")]


def test_the_home_group_is_one_that_the_user_is_in(world: World) -> None:
    id_ = new_user(world, groups=[RESEARCH])
    with unchanged(world):
        assert change(world, "setHomeGroup", user={"id": id_}, group=DESIGN)["code"] == "INVALID_INPUT"
    assert change(world, "setHomeGroup", user={"id": id_}, group=RESEARCH)["user"]["homeGroup"] == RESEARCH
    # Out of the group, the user is charged to none.
    change(world, "removeGroupMembers", group=RESEARCH, users=[{"id": id_}])
    user = change(world, "reactivateUser", user={"id": id_})["user"]
    assert (user["homeGroup"], user["groups"]) == (None, [])
    assert change(world, "setHomeGroup", user={"id": id_}, group=None)["user"]["homeGroup"] is None


def test_a_group_is_made_renamed_and_filled(world: World) -> None:
    made = change(world, "createGroup", slug="new-team", name="New team")
    id_ = made["groupId"]
    assert made["group"] == {
        "id": id_, "slug": "new-team", "name": "New team", "version": 1, "members": {"nodes": []}
    }  # fmt: skip
    named = {"slug": "new-team"}
    one, other = new_user(world), new_user(world)
    filled = change(world, "addGroupMembers", group=named, users=[{"id": one}, {"id": other}, {"id": one}])
    assert {node["id"] for node in filled["group"]["members"]["nodes"]} == {one, other}
    with unchanged(world):  # to put them there again changes nothing, and one who is unknown keeps all out
        change(world, "addGroupMembers", group=named, users=[{"id": one}])
        bad = change(world, "removeGroupMembers", group=named, users=[{"id": one}, {"email": "nobody@example.com"}])
        assert (bad["code"], bad["path"]) == ("UNKNOWN_USER", ["input", "users", "1"])
        assert change(world, "addGroupMembers", group=named, users=[])["code"] == "BATCH_SIZE"
        assert change(world, "createGroup", slug="new-team", name="Other")["code"] == "TAKEN"
        for slug in ("New", "-a", "a-", "", "a" * 64, "a b"):
            assert change(world, "createGroup", slug=slug, name="Other")["code"] == "INVALID_INPUT"
        late = change(world, "updateGroup", group=named, name="Late", expectedVersion=7)
        assert (late["__typename"], late["currentVersion"]) == ("VersionConflict", 1)
    left = change(world, "removeGroupMembers", group=named, users=[{"id": one}])
    assert [node["id"] for node in left["group"]["members"]["nodes"]] == [other]
    renamed = change(world, "updateGroup", group={"id": id_}, name="Newer team", expectedVersion=1)["group"]
    assert (renamed["name"], renamed["version"]) == ("Newer team", 2)
    assert trail(world, decode_id(id_)[1]) == [("GROUP_CREATED", "adam"), ("GROUP_CHANGED", "adam")]


def test_an_identity_is_one_user_s_until_it_is_unlinked(world: World) -> None:
    one, other = new_user(world), new_user(world)
    identity = {"issuer": ISSUER, "subject": "one of two"}
    assert change(world, "linkIdentity", user={"id": one}, **identity)["userId"] == one
    with unchanged(world):
        assert change(world, "linkIdentity", user={"id": one}, **identity)["userId"] == one
        taken = change(world, "linkIdentity", user={"id": other}, **identity)
        assert (taken["code"], taken["path"]) == ("TAKEN", ["input", "subject"])
    assert change(world, "unlinkIdentity", **identity)["userId"] == one
    with unchanged(world):
        assert change(world, "unlinkIdentity", **identity)["code"] == "UNKNOWN_IDENTITY"
    assert change(world, "linkIdentity", user={"id": other}, **identity)["userId"] == other
    assert [action for action, _ in trail(world, decode_id(one)[1])] == [
        "USER_CREATED", "IDENTITY_LINKED", "IDENTITY_UNLINKED"
    ]  # fmt: skip


def test_of_two_who_link_one_subject_at_once_one_is_told(world: World) -> None:
    users = [new_user(world) for _ in range(6)]
    asked = [
        ("ADMIN", document("linkIdentity"), {"input": {"user": {"id": id_}, "issuer": ISSUER, "subject": "raced"}})
        for id_ in users
    ]
    answers = [answer["data"]["linkIdentity"]["__typename"] for answer in world.ask_together(asked)]
    assert sorted(answers) == ["ChangeUserSuccess"] + ["InvalidInput"] * 5


def test_a_program_changes_people_without_seeing_them(world: World) -> None:
    token = world.site.token(sub="hr", roles=["service"], scope="members:write", workspace=workspace_slug("acme"))
    body = {
        "query": document("createUser"),
        "variables": {"input": {"displayName": "By HR", "email": "by.hr@new.example"}},
    }
    response = world.run(world.http.post("/", json=body, headers={"authorization": f"Bearer {token}"}))
    made = response.json()["data"]["createUser"]
    assert made["user"] is None
    assert trail(world, decode_id(made["userId"])[1]) == [("USER_CREATED", "hr")]
