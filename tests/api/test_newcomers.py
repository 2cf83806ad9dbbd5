"""First sign-ins by the workspace's policy, and groups that follow the token."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from creditdesk.credits.directory import FirstSignIn
from creditdesk.credits.newcomers import Newcomer, join
from creditdesk.graphql.ids import decode_id
from support.people import change, new_user, token_of, trail, unchanged
from support.world import World, group_slug, workspace_id

_subjects = count(1)
WHO = "{ viewer { user { id displayName email kind active homeGroup { slug } groups { slug } } } }"
RESEARCH, DESIGN = group_slug("research"), group_slug("design")


@contextmanager
def policy(world: World, **settings: str) -> Iterator[None]:
    """Have a workspace's settings for a while."""

    def put(**values: str) -> None:
        for column, value in values.items():
            query = f"UPDATE workspace_settings SET {column} = %s WHERE workspace_id = %s RETURNING 1"  # noqa: S608
            world.sql(query, value, workspace_id("acme"))

    put(**settings)
    yield
    put(first_sign_in="ADMIT", group_claims="OFF")


def subject() -> str:
    return f"newcomer-{next(_subjects)}"


def sent(world: World, token: str) -> Any:
    headers = {"authorization": f"Bearer {token}"}
    return world.run(world.http.post("/", json={"query": WHO}, headers=headers))


def signed_in(world: World, name: str, /, *roles: str, **claims: Any) -> Any:
    response = sent(world, token_of(world, name, *roles, issued=int(world.site.clock()), **claims))
    assert response.status_code == 200, response.text
    return response.json()["data"]["viewer"]["user"]


def refused(world: World, name: str, /, *roles: str, **claims: Any) -> bool:
    response = sent(world, token_of(world, name, *roles, issued=int(world.site.clock()), **claims))
    return int(response.status_code) == 401


def verified(email: str) -> dict[str, object]:
    return {"email": email, "email_verified": True}


def address(world: World, id_: str) -> str:
    return str(world.sql("SELECT email FROM app_user WHERE id = %s", decode_id(id_)[1])[0][0])


def test_who_is_linked_to_nobody_is_refused_unless_the_workspace_says_otherwise(world: World) -> None:
    id_ = new_user(world)
    with policy(world, first_sign_in="REFUSE"), unchanged(world):
        assert refused(world, subject(), **verified(address(world, id_)))
    assert world.sql("SELECT column_default FROM information_schema.columns WHERE column_name = 'first_sign_in'") == [
        ("'REFUSE'::text",)
    ]
    assert signed_in(world, subject()) is None  # the world admits whoever comes


def test_a_newcomer_is_linked_by_an_address_that_is_verified(world: World) -> None:
    id_, name = new_user(world), subject()
    with policy(world, first_sign_in="LINK"):
        assert signed_in(world, name, **verified(address(world, id_).upper()))["id"] == id_
    # From then on the subject is the user, whatever the address says.
    assert signed_in(world, name)["id"] == id_
    assert trail(world, decode_id(id_)[1]) == [("USER_CREATED", "adam"), ("IDENTITY_LINKED", name)]


@pytest.mark.parametrize("said", [False, None, "true", 1, "yes", ["true"]])
def test_nobody_is_linked_by_an_address_that_is_not_verified(world: World, said: object) -> None:
    id_ = new_user(world)
    with policy(world, first_sign_in="LINK"), unchanged(world):
        assert refused(world, subject(), email=address(world, id_), email_verified=said)


def test_nobody_is_linked_to_whom_they_cannot_be(world: World) -> None:
    inactive, linked = new_user(world), new_user(world)
    robot = new_user(world, kind="SERVICE_ACCOUNT")
    change(world, "deactivateUser", user={"id": inactive})
    change(world, "linkIdentity", user={"id": linked}, issuer=world.site.issuer.url, subject=subject())
    for first_sign_in in ("LINK", "LINK_OR_CREATE"):
        with policy(world, first_sign_in=first_sign_in), unchanged(world):
            for id_ in (inactive, linked, robot):
                assert refused(world, subject(), **verified(address(world, id_)))
    with policy(world, first_sign_in="LINK"), unchanged(world):
        assert refused(world, subject(), **verified("stranger@new.example"))


def test_somebody_who_signs_in_elsewhere_is_linked_to_another_identity_provider_too(world: World) -> None:
    id_, name = new_user(world), subject()
    change(world, "linkIdentity", user={"id": id_}, issuer="https://another.example", subject=name)
    with policy(world, first_sign_in="LINK"):
        assert signed_in(world, name, **verified(address(world, id_)))["id"] == id_


def test_a_newcomer_whom_nobody_knows_is_made_a_user(world: World) -> None:
    name, other = subject(), subject()
    with policy(world, first_sign_in="LINK_OR_CREATE"):
        made = signed_in(world, name, name="Nia Newcomer", **verified("Nia@new.example"))
        assert made | {"id": None} == {
            "id": None, "displayName": "Nia Newcomer", "email": "nia@new.example", "kind": "PERSON", "active": True,
            "homeGroup": None, "groups": [],
        }  # fmt: skip
        # An address that is not verified is not kept: it may be somebody else's.
        unverified = signed_in(world, other, email="boss@new.example")
        assert (unverified["displayName"], unverified["email"]) == (other, None)
        assert signed_in(world, name)["id"] == made["id"]
    assert trail(world, decode_id(made["id"])[1]) == [("USER_CREATED", name), ("IDENTITY_LINKED", name)]


def test_programs_and_people_without_a_role_are_never_made_users(world: World) -> None:
    with policy(world, first_sign_in="LINK_OR_CREATE"), unchanged(world):
        assert signed_in(world, subject(), "service", scope="usage:read", **verified("bot@new.example")) is None
        answer = sent(world, token_of(world, subject(), "intern", issued=0, **verified("intern@new.example"))).json()
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]


def test_many_first_sign_ins_at_once_make_one_user(world: World) -> None:
    name, email = subject(), "raced@new.example"
    tokens = [token_of(world, name, issued=int(world.site.clock()) - nth, **verified(email)) for nth in range(12)]

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(
            *(
                world.http.post("/", json={"query": WHO}, headers={"authorization": f"Bearer {token}"})
                for token in tokens
            )
        )

    with policy(world, first_sign_in="LINK_OR_CREATE"):
        answers = world.run(all_at_once())
    ids = {answer.json()["data"]["viewer"]["user"]["id"] for answer in answers}
    assert len(ids) == 1
    assert world.sql("SELECT count(*) FROM app_user WHERE email = %s", email) == [(1,)]
    assert len(trail(world, decode_id(ids.pop())[1])) == 2


def test_who_was_made_a_user_by_a_request_that_was_faster_is_let_in_as_that_user(world: World) -> None:
    email = "overtaken@new.example"

    def is_let_in(name: str) -> bool:
        newcomer = Newcomer(world.site.issuer.url, name, email, None)
        # As a request of theirs does that was looked up before there was such a user.
        joining = join(
            world.database, workspace_id("acme"), newcomer, FirstSignIn.LINK_OR_CREATE, now=datetime.now(UTC)
        )
        return bool(world.run(joining))

    name = subject()
    assert is_let_in(name)
    assert is_let_in(name)
    assert not is_let_in(subject()), "somebody else with this address"
    assert world.sql("SELECT count(*) FROM app_user WHERE email = %s", email) == [(1,)]


def test_whoever_is_refused_again_and_again_keeps_nobody_from_spending(world: World) -> None:
    token = token_of(world, subject(), issued=int(world.site.clock()), **verified("nobody@new.example"))
    with policy(world, first_sign_in="LINK"), world.statements() as ran:
        for _ in range(3):
            assert sent(world, token).status_code == 401
    assert "change_controls" not in ran


def test_groups_of_a_token_are_added_or_mirrored_and_those_by_hand_stay(world: World) -> None:
    id_ = new_user(world, groups=[{"slug": RESEARCH}])
    name = subject()
    change(world, "linkIdentity", user={"id": id_}, issuer=world.site.issuer.url, subject=name)
    change(world, "createGroup", slug="claimed", name="Claimed")

    def groups(*named: str) -> list[str]:
        user = signed_in(world, name, groups=list(named))
        return [group["slug"] for group in sorted(user["groups"], key=lambda group: group["slug"])]

    assert groups("claimed") == [RESEARCH]  # nothing, unless the workspace says so
    with policy(world, group_claims="ADD"):
        assert groups("claimed", "no such group") == ["claimed", RESEARCH]
        assert groups() == ["claimed", RESEARCH]
    with policy(world, group_claims="MIRROR"):
        assert groups("claimed", RESEARCH, DESIGN) == ["claimed", DESIGN, RESEARCH]
        assert groups("claimed") == ["claimed", RESEARCH]
        assert groups() == [RESEARCH]
        # A token that says nothing of groups takes nobody out of any.
        assert groups("claimed") == ["claimed", RESEARCH]
        assert len(signed_in(world, name)["groups"]) == 2
    actions = [action for action, by in trail(world, decode_id(id_)[1]) if by == name]
    assert actions == ["USER_CHANGED"] * 5


def test_whoever_leaves_the_home_group_by_their_token_is_charged_to_none(world: World) -> None:
    id_, name = new_user(world), subject()
    change(world, "linkIdentity", user={"id": id_}, issuer=world.site.issuer.url, subject=name)
    with policy(world, group_claims="MIRROR"):
        signed_in(world, name, groups=[DESIGN])
        change(world, "setHomeGroup", user={"id": id_}, group={"slug": DESIGN})
        assert signed_in(world, name, groups=[DESIGN])["homeGroup"] == {"slug": DESIGN}
        assert signed_in(world, name, groups=[])["homeGroup"] is None


def test_groups_are_looked_at_when_the_claim_changes_and_cost_one_statement_else(world: World) -> None:
    id_, name = new_user(world), subject()
    change(world, "linkIdentity", user={"id": id_}, issuer=world.site.issuer.url, subject=name)

    def ran(*named: str) -> list[str]:
        token = token_of(world, name, issued=int(world.site.clock()), groups=list(named))
        statements: list[str] = []
        world.database.observers.append(statements.append)
        sent(world, token)
        world.database.observers.remove(statements.append)
        return statements

    with policy(world, group_claims="MIRROR"):
        assert "keep_claimed_groups" in ran("later", DESIGN)
        unchanged_claim = ran("later", DESIGN)
        # A token is looked up when it is new here; then one only looks whether anything has changed.
        assert len([name for name in unchanged_claim if name in {"user_of_identity", "controls_version"}]) == 1
        assert "change_controls" not in unchanged_claim
        # A group that a token names and that was not there is looked for again when there is a new one.
        change(world, "createGroup", slug="later", name="Later")
        assert "keep_claimed_groups" in ran("later", DESIGN)
        assert len(signed_in(world, name, groups=["later", DESIGN])["groups"]) == 2


def test_a_new_user_is_in_the_groups_of_their_token_from_the_first_request_on(world: World) -> None:
    with policy(world, first_sign_in="LINK_OR_CREATE", group_claims="ADD"):
        made = signed_in(world, subject(), groups=[DESIGN], **verified("grouped@new.example"))
    assert [group["slug"] for group in made["groups"]] == [DESIGN]


def test_the_policy_is_a_setting_of_owners_and_is_audited(world: World) -> None:
    query = "query { viewer { workspace { settings { version firstSignIn groupClaims } } } }"
    settings = world.ask("OWNER", query)["viewer"]["workspace"]["settings"]
    assert (settings["firstSignIn"], settings["groupClaims"]) == ("ADMIT", "OFF")
    document = """
    mutation($input: ChangeSettingsInput!) { changeSettings(input: $input) {
      ... on ChangeSettingsSuccess { settings { firstSignIn groupClaims } } } }"""
    version = settings["version"]
    changed = world.ask(
        "OWNER", document, input={"expectedVersion": version, "firstSignIn": "LINK", "groupClaims": "MIRROR"}
    )["changeSettings"]["settings"]
    assert changed == {"firstSignIn": "LINK", "groupClaims": "MIRROR"}
    after = world.sql("SELECT after FROM audit_entry WHERE action = 'SETTINGS_CHANGED' ORDER BY id DESC LIMIT 1")[0][0]
    assert (after["firstSignIn"], after["groupClaims"]) == ("LINK", "MIRROR")
    world.ask("OWNER", document, input={"expectedVersion": version + 1, "firstSignIn": "ADMIT", "groupClaims": "OFF"})
