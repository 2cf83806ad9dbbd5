"""The audit trail over the API: who reads it, and what it says."""

from typing import Any

import pytest

from support.world import CALLERS, World, group_id, group_slug, shown_id, user_id, workspace_id, workspace_slug

CALLERS_WITH_AUDIT = ("OWNER", "ADMIN")
TRAIL = """
query($filter: AuditFilter, $first: Int, $after: String) { viewer { workspace {
  audit(filter: $filter, first: $first, after: $after) { totalCount edges { cursor }
    pageInfo { hasNextPage endCursor } nodes { at action actorKind actorSubject actor { id } objectType object { id }
      user { id } group { id } before { field value } after { field value } } } } } }"""
SET = """
mutation($input: SetLimitInput!) { setLimit(input: $input) { ... on SetLimitSuccess { limit { id version } } } }"""
REMOVE = "mutation($input: RemoveLimitInput!) { removeLimit(input: $input) { __typename } }"
CEILING = "mutation($input: SetManagerCeilingInput!) { setManagerCeiling(input: $input) { __typename } }"
CHANGE = "mutation($input: ChangeSettingsInput!) { changeSettings(input: $input) { __typename } }"


def uid(name: str) -> str:
    return shown_id("User", user_id(name))


def gid(name: str) -> str:
    return shown_id("Group", group_id(name))


def set_limit(world: World, caller: str, target: dict[str, Any], amount: str) -> str:
    limit = world.ask(caller, SET, input={"target": target, "value": {"amount": amount}})["setLimit"]["limit"]
    return str(limit["id"])


@pytest.fixture(scope="module")
def limits(world: World) -> dict[str, str]:
    """Change something of everything, in a workspace where nothing was yet, and return the ids of the limits."""
    world.sql("DELETE FROM audit_entry RETURNING 1")
    world.sql("DELETE FROM credit_limit RETURNING 1")
    mo = set_limit(world, "ADMIN", {"user": {"id": uid("mo")}}, "5")
    set_limit(world, "OWNER", {"user": {"id": uid("mo")}}, "6")
    sales = set_limit(world, "ADMIN", {"group": {"id": gid("sales")}}, "7")
    world.ask("ADMIN", REMOVE, input={"id": sales, "expectedVersion": 1})
    world.ask("ADMIN", CEILING, input={"group": {"slug": group_slug("research")}, "ceiling": "100"})
    world.ask("OWNER", CHANGE, input={"expectedVersion": 1, "nearPercent": 70})
    return {"mo": mo, "sales": sales}


def audit(world: World, caller: str = "ADMIN", **arguments: Any) -> Any:
    return world.ask(caller, TRAIL, **arguments)["viewer"]["workspace"]["audit"]


def test_the_trail_says_who_did_what_to_what_from_the_newest_on(world: World, limits: dict[str, str]) -> None:
    found = audit(world)
    assert [(one["action"], one["actorSubject"]) for one in found["nodes"]] == [
        ("SETTINGS_CHANGED", "olga"),
        ("CEILING_SET", "adam"),
        ("LIMIT_REMOVED", "adam"),
        ("LIMIT_SET", "adam"),
        ("LIMIT_SET", "olga"),
        ("LIMIT_SET", "adam"),
    ]
    assert found["totalCount"] == 6
    settings, ceiling, removed, _, changed, new = found["nodes"]
    assert (changed["objectType"], changed["object"], changed["user"]) == (
        "CreditLimit", {"id": limits["mo"]}, {"id": uid("mo")}
    )  # fmt: skip
    assert (changed["actorKind"], changed["actor"]) == ("PERSON", {"id": uid("olga")})
    assert (new["before"], removed["after"]) == (None, None)
    values = [{one["field"]: one["value"] for one in changed[state]} for state in ("before", "after")]
    assert [one["value"] for one in values] == ["5", "6"]
    assert values[1] == values[0] | {"value": "6", "startsAt": values[1]["startsAt"]}
    # What is there no more is known by its type only.
    assert (removed["objectType"], removed["object"], removed["group"]) == ("CreditLimit", None, {"id": gid("sales")})
    assert ceiling["object"] == ceiling["group"] == {"id": gid("research")}
    assert settings["object"] == {"id": shown_id("Workspace", workspace_id("acme"))}
    assert {"field": "nearPercent", "value": "70"} in settings["after"]


def test_the_trail_is_narrowed_by_action_user_object_and_range(world: World, limits: dict[str, str]) -> None:
    def actions(**filter_: Any) -> list[str]:
        found = audit(world, filter=filter_)
        assert found["totalCount"] == len(found["nodes"])
        return [one["action"] for one in found["nodes"]]

    assert actions(action="CEILING_SET") == ["CEILING_SET"]
    assert actions(user=uid("mo")) == actions(object=limits["mo"]) == ["LIMIT_SET", "LIMIT_SET"]
    assert actions(object=limits["sales"]) == ["LIMIT_REMOVED", "LIMIT_SET"]
    assert actions(user=uid("zoe")) == actions(object=uid("mo")) == []
    assert len(actions(range={"preset": "LAST_7_DAYS"})) == 6
    assert actions(range={"days": {"first": "2020-01-01", "last": "2020-12-31"}}) == []
    assert actions(action="LIMIT_SET", user=uid("mo"), range={"preset": "LAST_7_DAYS"}) == ["LIMIT_SET"] * 2


def test_the_trail_is_read_in_pages(world: World, limits: dict[str, str]) -> None:
    assert limits
    pages, after, more = [], None, True
    while more:
        page = audit(world, first=4, after=after)
        pages.append([one["action"] for one in page["nodes"]])
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert [len(page) for page in pages] == [4, 2]
    assert [action for page in pages for action in page] == [one["action"] for one in audit(world)["nodes"]]


def test_the_trail_is_for_those_only_who_may_read_it(world: World, limits: dict[str, str]) -> None:
    assert limits
    for caller in CALLERS:
        if caller in CALLERS_WITH_AUDIT:
            assert len(audit(world, caller)["nodes"]) == 6
        elif caller not in {"OTHER_OWNER", "UNMAPPED"}:
            assert audit(world, caller) is None
    assert audit(world, "OTHER_OWNER")["nodes"] == []


def test_a_program_reads_the_trail_and_not_who_it_is_about(world: World, limits: dict[str, str]) -> None:
    assert limits
    token = world.site.token(sub="siem", roles=["service"], scope="audit:read", workspace=workspace_slug("acme"))
    headers = {"authorization": f"Bearer {token}"}
    response = world.run(world.http.post("/", json={"query": TRAIL, "variables": {}}, headers=headers))
    nodes = response.json()["data"]["viewer"]["workspace"]["audit"]["nodes"]
    assert [one["action"] for one in nodes][-1] == "LIMIT_SET"
    assert {(one["actor"], one["user"]) for one in nodes} == {(None, None)}
