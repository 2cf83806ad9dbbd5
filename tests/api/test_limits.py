"""Limits over the API: who sets which, who sees which, and what is refused and changes nothing."""

from typing import Any

import pytest

from support.world import World, email_of, group_id, group_slug, shown_id, user_id, workspace_slug

SET = """
mutation($input: SetLimitInput!) { setLimit(input: $input) { __typename
  ... on SetLimitSuccess { limit { id version appliesTo kind product model cadence enforcement temporary startsAt
    expiresAt reason setBy { id } target { id } value { ... on LimitedTo { amount } ... on Unlimited { _ } } } }
  ... on VersionConflict { code path currentVersion current { id version } }
  ... on InvalidInput { code path } } }"""
SET_MANY = """
mutation($input: SetLimitsInput!) { setLimits(input: $input) { __typename
  ... on SetLimitsSuccess { limits { version target { id } } } ... on InvalidInput { code path } } }"""
REMOVE = """
mutation($input: RemoveLimitInput!) { removeLimit(input: $input) { __typename
  ... on RemoveLimitSuccess { removedId } ... on VersionConflict { currentVersion } ... on InvalidInput { code path }
} }"""
CEILING = """
mutation($input: SetManagerCeilingInput!) { setManagerCeiling(input: $input) { __typename
  ... on SetManagerCeilingSuccess { group { managerCeiling } } ... on InvalidInput { code path } } }"""
LISTED = """
query($filter: LimitFilter, $first: Int, $after: String) { viewer { workspace {
  limits(filter: $filter, first: $first, after: $after) {
  totalCount nodes { id } edges { cursor } pageInfo { hasNextPage endCursor } } } } }"""
WORKSPACE = {"workspace": True}


def uid(name: str) -> str:
    return shown_id("User", user_id(name))


def gid(name: str) -> str:
    return shown_id("Group", group_id(name))


def user(name: str) -> dict[str, Any]:
    return {"user": {"id": uid(name)}}


def group(name: str) -> dict[str, Any]:
    return {"group": {"id": gid(name)}}


def change(world: World, query: str, *parameters: object) -> None:
    world.sql(f"{query} RETURNING 1", *parameters)


@pytest.fixture(autouse=True)
def no_limits(world: World) -> None:
    """Every test starts without limits and ceilings."""
    change(world, "DELETE FROM credit_limit")
    change(world, "UPDATE user_group SET manager_ceiling = NULL")
    change(world, "UPDATE workspace_settings SET manager_ceiling = NULL")


def put(world: World, caller: str, target: dict[str, Any], amount: str | None, **more: Any) -> dict[str, Any]:
    """Set a limit and return the outcome; without an amount it is unlimited."""
    value = {"unlimited": True} if amount is None else {"amount": amount}
    answer = world.ask(caller, SET, input={"target": target, "value": value, **more})
    return dict(answer["setLimit"])


def put_id(world: World, caller: str, target: dict[str, Any], amount: str | None, **more: Any) -> str:
    return str(put(world, caller, target, amount, **more)["limit"]["id"])


def code(outcome: dict[str, Any]) -> str:
    return str(outcome.get("code", outcome["__typename"]))


def remove(world: World, caller: str, id_: str, version: int = 1) -> dict[str, Any]:
    return dict(world.ask(caller, REMOVE, input={"id": id_, "expectedVersion": version})["removeLimit"])


def ceiling(world: World, name: str, amount: str | None) -> None:
    answer = world.ask("ADMIN", CEILING, input={"group": {"slug": group_slug(name)}, "ceiling": amount})
    assert answer["setManagerCeiling"] == {
        "__typename": "SetManagerCeilingSuccess",
        "group": {"managerCeiling": amount},
    }


def stored(world: World) -> list[tuple[Any, ...]]:
    """Return everything that a denied call must leave as it is, but for the count of its tries."""
    return world.sql("SELECT * FROM credit_limit ORDER BY id") + world.sql("SELECT count(*) FROM audit_entry")


def refused(world: World, call: Any, *expected: str) -> None:
    """Assert the outcome's code, and that nothing was changed."""
    before = stored(world)
    assert code(call()) in expected
    assert stored(world) == before


def forbidden(world: World, caller: str, query: str, **input_: Any) -> None:
    before = stored(world)
    assert world.errors(caller, query, input=input_) == ["FORBIDDEN"]
    assert stored(world) == before


def test_a_limit_is_set_at_every_level_and_shown_as_it_was_set(world: World) -> None:
    own = put(world, "ADMIN", {"user": {"email": email_of("mo")}}, "12.5", reason="A trial.", product="chat")["limit"]
    assert own | {"id": "", "startsAt": ""} == {
        "id": "",
        "version": 1,
        "appliesTo": "USER",
        "kind": "EACH_USER",
        "product": "chat",
        "model": None,
        "cadence": "MONTH",
        "enforcement": "HARD",
        "temporary": False,
        "startsAt": "",
        "expiresAt": None,
        "reason": "A trial.",
        "setBy": {"id": uid("adam")},
        "target": {"id": uid("mo")},
        "value": {"amount": "12.5"},
    }
    shared = put(world, "ADMIN", {"group": {"slug": group_slug("sales")}}, "0", kind="SHARED", cadence="WEEK")["limit"]
    assert (shared["target"], shared["kind"], shared["value"]) == ({"id": gid("sales")}, "SHARED", {"amount": "0"})
    default = put(world, "OWNER", WORKSPACE, None, enforcement="SOFT")["limit"]
    assert (default["appliesTo"], default["value"], default["enforcement"]) == ("WORKSPACE", {"_": None}, "SOFT")


def test_the_same_limit_again_changes_it_and_counts_its_version(world: World) -> None:
    first = put(world, "ADMIN", user("mo"), "5")["limit"]
    again = put(world, "OWNER", user("mo"), "6", expectedVersion=1)["limit"]
    assert (again["id"], again["version"], again["setBy"]) == (first["id"], 2, {"id": uid("olga")})
    assert put(world, "OWNER", user("mo"), "7", product="chat")["limit"]["id"] != first["id"]


def test_an_expected_version_that_is_not_there_is_a_conflict_with_the_limit_as_it_is(world: World) -> None:
    id_ = put_id(world, "ADMIN", user("mo"), "5")
    conflict = {
        "__typename": "VersionConflict",
        "code": "VERSION_CONFLICT",
        "path": ["input", "expectedVersion"],
        "currentVersion": 1,
        "current": {"id": id_, "version": 1},
    }
    before = stored(world)
    assert put(world, "OWNER", user("mo"), "6", expectedVersion=0) == conflict
    assert put(world, "OWNER", user("mo"), "6", expectedVersion=2) == conflict
    nothing = put(world, "OWNER", user("zoe"), "6", expectedVersion=3)
    assert (nothing["currentVersion"], nothing["current"]) == (0, None)
    assert remove(world, "OWNER", id_, 2) == {"__typename": "VersionConflict", "currentVersion": 1}
    assert stored(world) == before


def test_a_removed_limit_is_no_more(world: World) -> None:
    id_ = put_id(world, "ADMIN", user("mo"), "5")
    assert remove(world, "OWNER", id_) == {"__typename": "RemoveLimitSuccess", "removedId": id_}
    assert world.ask("OWNER", "query($id: ID!) { node(id: $id) { id } }", id=id_) == {"node": None}
    refused(world, lambda: remove(world, "OWNER", id_), "UNKNOWN_LIMIT")


def test_what_cannot_be_a_limit_is_refused_and_changes_nothing(world: World) -> None:
    for target, amount, more in (
        (user("mo"), "5", {"kind": "SHARED"}),
        (user("mo"), "-1", {}),
        (user("mo"), "1000000001", {}),
        (user("mo"), "5", {"model": "large"}),
        (user("mo"), "5", {"product": "p" * 101}),
        (user("mo"), "5", {"expiresAt": "2026-01-01T00:00:00Z"}),
        (user("mo"), "5", {"expiresAt": "2101-01-01T00:00:00Z"}),
        (user("mo"), "5", {"reason": "\x07"}),
        (user("mo"), "5", {"insteadOf": "MONTH"}),
    ):
        refused(world, lambda t=target, a=amount, m=more: put(world, "ADMIN", t, a, **m), "INVALID_LIMIT")
    refused(world, lambda: put(world, "ADMIN", user("nobody"), "5"), "UNKNOWN_USER")
    refused(world, lambda: put(world, "ADMIN", user("maya"), "5"), "UNKNOWN_USER")
    refused(world, lambda: put(world, "ADMIN", group("guides"), "5"), "UNKNOWN_GROUP")
    refused(world, lambda: put(world, "ADMIN", {"workspace": False}, "5"), "INVALID_INPUT")
    refused(world, lambda: put(world, "ADMIN", {"user": {"id": gid("sales")}}, "5"), "INVALID_ID")
    refused(world, lambda: put(world, "ADMIN", user("mo"), "5", insteadOf="DAY"), "UNKNOWN_LIMIT")


def test_one_limit_is_set_for_many_users_or_for_none_of_them(world: World) -> None:
    names = ["mo", "zoe", "mo"]
    done = world.ask("ADMIN", SET_MANY, input={"users": [{"id": uid(n)} for n in names], "value": {"amount": "3"}})
    assert [one["target"]["id"] for one in done["setLimits"]["limits"]] == [uid(name) for name in names]
    before = stored(world)
    bad = [{"id": uid("mo")}, {"email": email_of("zoe").upper()}, {"id": uid("maya")}, {"id": uid("nobody")}]
    answer = world.ask("ADMIN", SET_MANY, input={"users": bad, "value": {"amount": "4"}})["setLimits"]
    assert answer == {"__typename": "InvalidInput", "code": "UNKNOWN_USER", "path": ["input", "users", "2"]}
    for users in ([], [{"id": uid("mo")}] * 1001):
        assert code(world.ask("ADMIN", SET_MANY, input={"users": users, "value": {"amount": "4"}})["setLimits"]) == (
            "BATCH_SIZE"
        )
    assert stored(world) == before


def test_setting_many_limits_takes_no_more_statements_than_setting_two(world: World) -> None:
    counts = []
    for names in (["mo", "zoe"], ["mo", "zoe", "mia", "nora", "lee", "olga", "adam", "bill"]):
        with world.statements() as ran:
            users = [{"id": uid(name)} for name in names]
            query = "mutation($input: SetLimitsInput!) { setLimits(input: $input) { __typename } }"
            world.ask("ADMIN", query, input={"users": users, "value": {"amount": "3"}})
        counts.append(len(ran))
    assert counts[0] == counts[1] <= 12


def test_a_new_cadence_takes_the_place_of_the_old_one_at_the_next_boundary(world: World) -> None:
    old = put(world, "ADMIN", user("mo"), "5", cadence="DAY")["limit"]
    new = put(world, "ADMIN", user("mo"), "50", cadence="WEEK", insteadOf="DAY", expectedVersion=1)["limit"]
    [(ends, version)] = world.sql(
        "SELECT expires_at, version FROM credit_limit WHERE cadence = 'DAY' AND NOT temporary AND scope = 'USER'"
    )
    [(starts,)] = world.sql("SELECT starts_at FROM credit_limit WHERE cadence = 'WEEK' AND scope = 'USER'")
    [(midnight,)] = world.sql("SELECT (date_trunc('day', now() AT TIME ZONE 'Europe/Berlin') + interval '1 day')"
                              " AT TIME ZONE 'Europe/Berlin'")  # fmt: skip
    assert (ends, version) == (starts, 2) == (midnight, 2)
    assert (old["expiresAt"], new["expiresAt"]) == (None, None)
    refused(world, lambda: put(world, "ADMIN", user("mo"), "9", cadence="WEEK", insteadOf="DAY"), "INVALID_LIMIT")


# Group managers. Gina manages research: Mo, Mia and Ina are in it.


def test_a_manager_sets_each_user_s_limit_in_their_groups_up_to_the_ceiling(world: World) -> None:
    refused(world, lambda: put(world, "GROUP_MANAGER", user("mo"), "1"), "ABOVE_CEILING")
    ceiling(world, "research", "100")
    assert put(world, "GROUP_MANAGER", user("mo"), "100")["limit"]["setBy"] == {"id": uid("gina")}
    assert put(world, "GROUP_MANAGER", group("research"), "99.5")["limit"]["target"] == {"id": gid("research")}
    for target in (user("mo"), group("research")):
        refused(world, lambda t=target: put(world, "GROUP_MANAGER", t, "100.000001"), "ABOVE_CEILING")
        refused(world, lambda t=target: put(world, "GROUP_MANAGER", t, None), "ABOVE_CEILING")
        # What is soft stops nobody.
        refused(world, lambda t=target: put(world, "GROUP_MANAGER", t, "5", enforcement="SOFT"), "ABOVE_CEILING")
    many = {"users": [{"id": uid("mo")}, {"id": uid("mia")}], "value": {"amount": "101"}}
    refused(world, lambda: world.ask("GROUP_MANAGER", SET_MANY, input=many)["setLimits"], "ABOVE_CEILING")


def test_a_manager_s_other_groups_and_users_are_as_if_they_did_not_exist(world: World) -> None:
    ceiling(world, "research", "100")
    ceiling(world, "design", "100")
    theirs = put_id(world, "ADMIN", user("zoe"), "5")
    of_group = put_id(world, "ADMIN", group("sales"), "5")
    for name in ("zoe", "lee", "maya", "nobody"):
        refused(world, lambda n=name: put(world, "GROUP_MANAGER", user(n), "1"), "UNKNOWN_USER")
    for name in ("design", "sales", "guides", "nowhere"):
        refused(world, lambda n=name: put(world, "GROUP_MANAGER", group(n), "1"), "UNKNOWN_GROUP")
    nowhere = shown_id("CreditLimit", user_id("nobody"))
    for id_ in (theirs, of_group, nowhere):
        refused(world, lambda i=id_: remove(world, "GROUP_MANAGER", i), "UNKNOWN_LIMIT")


def test_a_manager_sets_neither_shared_limits_nor_the_workspace_s_nor_their_own(world: World) -> None:
    ceiling(world, "research", "100")
    insert = "INSERT INTO group_member (workspace_id, group_id, user_id) SELECT workspace_id, id, %s FROM user_group"
    change(world, f"{insert} WHERE id = %s", user_id("gina"), group_id("research"))
    try:
        value = {"amount": "1"}
        forbidden(world, "GROUP_MANAGER", SET, target=WORKSPACE, value=value)
        forbidden(world, "GROUP_MANAGER", SET, target=group("research"), value=value, kind="SHARED")
        forbidden(world, "GROUP_MANAGER", SET, target=user("gina"), value=value)
        forbidden(world, "GROUP_MANAGER", SET_MANY, users=[{"id": uid("mo")}, {"id": uid("gina")}], value=value)
        forbidden(world, "GROUP_MANAGER", CEILING, group={"id": gid("research")}, ceiling="1000")
    finally:
        delete = "DELETE FROM group_member WHERE user_id = %s AND group_id = %s"
        change(world, delete, user_id("gina"), group_id("research"))


def test_a_manager_removes_what_leaves_nobody_above_the_ceiling(world: World) -> None:
    ceiling(world, "research", "100")
    put(world, "ADMIN", WORKSPACE, "500")
    low = put_id(world, "ADMIN", user("mo"), "10")
    refused(world, lambda: remove(world, "GROUP_MANAGER", low), "ABOVE_CEILING")
    of_group = put_id(world, "ADMIN", group("research"), "90")
    assert code(remove(world, "GROUP_MANAGER", low)) == "RemoveLimitSuccess"
    # Now the group's is all that keeps its members from the workspace's 500.
    refused(world, lambda: remove(world, "GROUP_MANAGER", of_group), "ABOVE_CEILING")
    # What is high may go, also where what it gives way to is above the ceiling: it is lower than before.
    high = put_id(world, "ADMIN", user("mia"), "9000")
    put(world, "ADMIN", group("design"), "400")
    assert code(remove(world, "GROUP_MANAGER", high)) == "RemoveLimitSuccess"


def test_a_manager_cannot_let_a_temporary_limit_end_earlier_than_it_would(world: World) -> None:
    ceiling(world, "research", "100")
    put(world, "ADMIN", user("mo"), "9000")
    put(world, "ADMIN", user("mo"), "10", expiresAt="2090-01-01T00:00:00Z")
    refused(
        world, lambda: put(world, "GROUP_MANAGER", user("mo"), "10", expiresAt="2089-01-01T00:00:00Z"), "ABOVE_CEILING"
    )
    assert put(world, "GROUP_MANAGER", user("mo"), "20", expiresAt="2091-01-01T00:00:00Z")["limit"]["version"] == 2
    # A lasting one within the ceiling takes the place of both.
    assert put(world, "GROUP_MANAGER", user("mo"), "30")["limit"]["temporary"] is False
    assert world.sql("SELECT amount FROM credit_limit WHERE scope = 'USER'") == [(30_000_000,)]


# Who sees what.


def seen(world: World, caller: str, id_: str) -> Any:
    query = """query($id: ID!) { node(id: $id) { ... on CreditLimit {
      value { ... on LimitedTo { amount } } reason setBy { id } target { id } } } }"""
    return world.ask(caller, query, id=id_)["node"]


def test_a_member_sees_the_limits_that_apply_and_not_who_set_them_for_everybody(world: World) -> None:
    own = put_id(world, "ADMIN", user("mo"), "5", reason="For Mo.")
    mine = put_id(world, "ADMIN", group("research"), "6", reason="For research.")
    default = put_id(world, "ADMIN", WORKSPACE, "7", reason="For all.")
    others = [put_id(world, "ADMIN", user("zoe"), "8"), put_id(world, "ADMIN", group("sales"), "9")]
    assert seen(world, "MEMBER", own) == {
        "value": {"amount": "5"}, "reason": "For Mo.", "setBy": None, "target": {"id": uid("mo")}
    }  # fmt: skip
    for id_, amount in ((mine, "6"), (default, "7")):
        shown = seen(world, "MEMBER", id_)
        assert (shown["value"], shown["reason"], shown["setBy"]) == ({"amount": amount}, None, None)
    for caller in ("MEMBER", "GROUP_MANAGER", "UNLINKED", "WRITER", "OTHER_OWNER"):
        assert [seen(world, caller, id_) for id_ in others] == [None, None]
    for caller in ("UNLINKED", "WRITER", "OTHER_OWNER"):
        assert [seen(world, caller, id_) for id_ in (own, mine, default)] == [None] * 3
    assert seen(world, "GROUP_MANAGER", own)["reason"] == "For Mo."
    assert seen(world, "GROUP_MANAGER", mine)["reason"] == "For research."
    assert seen(world, "GROUP_MANAGER", default)["reason"] is None
    assert seen(world, "ANALYST", others[0])["setBy"] == {"id": uid("adam")}


def test_the_list_of_limits_is_for_those_who_answer_for_them(world: World) -> None:
    ids = {
        "own": put_id(world, "ADMIN", user("mo"), "5"),
        "mine": put_id(world, "ADMIN", group("research"), "6"),
        "default": put_id(world, "ADMIN", WORKSPACE, "7"),
        "zoe": put_id(world, "ADMIN", user("zoe"), "8", product="chat"),
        "sales": put_id(world, "ADMIN", group("sales"), "9", cadence="WEEK", kind="SHARED"),
    }
    names = {id_: name for name, id_ in ids.items()}

    def listed(caller: str, **filter_: str) -> list[str] | None:
        found = world.ask(caller, LISTED, filter=filter_)["viewer"]["workspace"]["limits"]
        if found is None:
            return None
        assert found["totalCount"] == len(found["nodes"])
        return [names[node["id"]] for node in found["nodes"]]

    assert listed("ANALYST") == ["sales", "zoe", "default", "mine", "own"]
    assert listed("READER") == listed("OWNER") == listed("ANALYST")
    assert listed("GROUP_MANAGER") == ["mine", "own"]
    for caller in ("MEMBER", "WRITER", "UNLINKED"):
        assert listed(caller) is None
    assert listed("OTHER_OWNER") == []
    assert listed("OWNER", appliesTo="GROUP") == ["sales", "mine"]
    assert listed("OWNER", group=gid("sales")) == ["sales"]
    assert listed("OWNER", user=uid("zoe")) == listed("OWNER", product="chat") == ["zoe"]
    assert listed("OWNER", cadence="WEEK") == ["sales"]
    assert listed("GROUP_MANAGER", user=uid("zoe")) == []
    paged, after = [], None
    while True:
        page = world.ask("OWNER", LISTED, first=2, after=after)["viewer"]["workspace"]["limits"]
        paged += [names[node["id"]] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert paged == ["sales", "zoe", "default", "mine", "own"]


def test_a_group_shows_what_it_allows_each_member(world: World) -> None:
    query = "query($by: GroupBy!) { viewer { workspace { group(by: $by) { memberLimit { id } } } } }"

    def shown(caller: str) -> Any:
        return world.ask(caller, query, by={"id": gid("research")})["viewer"]["workspace"]["group"]["memberLimit"]

    put(world, "ADMIN", group("research"), "1", product="chat")
    put(world, "ADMIN", group("research"), "1", kind="SHARED")
    assert shown("OWNER") is None
    lasting = put_id(world, "ADMIN", group("research"), "1")
    assert shown("OWNER") == shown("MEMBER") == {"id": lasting}
    temporary = put_id(world, "ADMIN", group("research"), "2", expiresAt="2090-01-01T00:00:00Z")
    assert shown("OWNER") == shown("GROUP_MANAGER") == {"id": temporary}


@pytest.mark.parametrize("caller", ["BILLING", "ANALYST", "MEMBER", "READER", "WRITER", "UNLINKED"])
def test_who_may_not_set_limits_is_forbidden_to_and_nothing_is_changed(world: World, caller: str) -> None:
    id_ = put_id(world, "ADMIN", user("mo"), "5")
    value = {"amount": "1"}
    forbidden(world, caller, SET, target=user("mo"), value=value)
    forbidden(world, caller, SET_MANY, users=[{"id": uid("mo")}], value=value)
    forbidden(world, caller, REMOVE, id=id_, expectedVersion=1)
    forbidden(world, caller, CEILING, group={"id": gid("research")}, ceiling="1")


def test_a_program_that_may_set_limits_sets_and_sees_them_and_nobody_s_spend(world: World) -> None:
    token = world.site.token(sub="hr", roles=["service"], scope="limits:write", workspace=workspace_slug("acme"))

    def ask(query: str, **variables: Any) -> Any:
        headers = {"authorization": f"Bearer {token}"}
        response = world.run(world.http.post("/", json={"query": query, "variables": variables}, headers=headers))
        return response.json()

    target = {"user": {"email": email_of("zoe")}}
    limit = ask(SET, input={"target": target, "value": {"amount": "5"}})["data"]["setLimit"]["limit"]
    assert (limit["value"], limit["setBy"], limit["target"]) == ({"amount": "5"}, None, None)
    assert ask(LISTED)["data"]["viewer"]["workspace"]["limits"]["nodes"] == [{"id": limit["id"]}]
    everything = """{ viewer { workspace { usage(range: {preset: TODAY}) { credits } settings { version }
      audit { totalCount } users { totalCount } } } }"""
    nothing = {"usage": None, "settings": None, "audit": None, "users": {"totalCount": 0}}
    assert ask(everything)["data"]["viewer"]["workspace"] == nothing
    dry_run = """{ simulateLimits(input: {limits: [], range: {first: "2026-05-01", last: "2026-05-02"}}) { overBy } }"""
    assert ask(dry_run)["errors"][0]["extensions"]["code"] == "FORBIDDEN"
