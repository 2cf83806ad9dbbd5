"""Settings, ceilings and dry runs over the API: who may, and what is refused and changes nothing."""

from typing import Any

import pytest

from support.world import CALLERS, USES, World, group_id, group_slug, shown_id, user_id

SHOWN = """{ viewer { workspace { settings { multiGroup unknownModel nearPercent managerCeiling autoApprovalPerPeriod
  cooldownHours requestOpenDays billingAnchorDay nextBillingAnchorDay nextBillingAnchorFrom version } } } }"""
CHANGE = """
mutation($input: ChangeSettingsInput!) { changeSettings(input: $input) { __typename
  ... on ChangeSettingsSuccess { settings { multiGroup managerCeiling nearPercent version } }
  ... on VersionConflict { code path currentVersion current { id } } ... on InvalidInput { code path } } }"""
CEILING = """
mutation($input: SetManagerCeilingInput!) { setManagerCeiling(input: $input) { __typename
  ... on SetManagerCeilingSuccess { group { managerCeiling } } ... on InvalidInput { code path } } }"""
SIMULATE = """
query($input: SimulateLimitsInput!) { simulateLimits(input: $input) { stopCount overBy stops {
  target { id } appliesTo limit simulated cadence product model stoppedAt used overBy stoppedRequests
  period { start end } } } }"""


def stored(world: World) -> list[tuple[Any, ...]]:
    return world.sql("SELECT * FROM workspace_settings ORDER BY 1") + world.sql(
        "SELECT id, manager_ceiling FROM user_group ORDER BY 1"
    )


def settings(world: World, caller: str) -> Any:
    return world.ask(caller, SHOWN)["viewer"]["workspace"]["settings"]


def change(world: World, caller: str, **input_: Any) -> Any:
    return world.ask(caller, CHANGE, input=input_)["changeSettings"]


def test_settings_are_for_owners_alone(world: World) -> None:
    assert settings(world, "OWNER") == {
        "multiGroup": "HIGHEST",
        "unknownModel": settings(world, "OTHER_OWNER")["unknownModel"],
        "nearPercent": 80,
        "managerCeiling": None,
        "autoApprovalPerPeriod": None,
        "cooldownHours": 0,
        "requestOpenDays": 30,
        "billingAnchorDay": 1,
        "nextBillingAnchorDay": None,
        "nextBillingAnchorFrom": None,
        "version": 1,
    }
    before = stored(world)
    for caller in CALLERS:
        if caller not in {"OWNER", "OTHER_OWNER", "UNMAPPED"}:
            assert settings(world, caller) is None
            assert world.errors(caller, CHANGE, input={"expectedVersion": 1, "nearPercent": 1}) == ["FORBIDDEN"]
    assert stored(world) == before


def test_settings_are_changed_from_the_version_that_was_read(world: World) -> None:
    version = settings(world, "OWNER")["version"]
    success = change(world, "OWNER", expectedVersion=version, multiGroup="LOWEST", managerCeiling="7.5")
    assert success["settings"] == {
        "multiGroup": "LOWEST", "managerCeiling": "7.5", "nearPercent": 80, "version": version + 1
    }  # fmt: skip
    before = stored(world)
    conflict = {
        "__typename": "VersionConflict",
        "code": "VERSION_CONFLICT",
        "path": ["input", "expectedVersion"],
        "currentVersion": version + 1,
        "current": None,
    }
    assert change(world, "OWNER", expectedVersion=version, nearPercent=50) == conflict
    refused = change(world, "OWNER", expectedVersion=version + 1, nearPercent=101)
    assert refused == {"__typename": "InvalidInput", "code": "INVALID_INPUT", "path": ["input"]}
    assert stored(world) == before
    # What is null is chosen to be nothing, and what is not given stays.
    success = change(world, "OWNER", expectedVersion=version + 1, managerCeiling=None, multiGroup="HIGHEST")
    assert (success["settings"]["managerCeiling"], settings(world, "OTHER_OWNER")["version"]) == (None, 1)


def test_a_ceiling_is_seen_by_whoever_may_read_the_group(world: World) -> None:
    query = "query($id: ID!) { node(id: $id) { ... on Group { managerCeiling } } }"
    by = {"slug": group_slug("research")}

    def seen(caller: str, group: str) -> Any:
        return world.ask(caller, query, id=shown_id("Group", group_id(group)))["node"]

    done = world.ask("ADMIN", CEILING, input={"group": by, "ceiling": "40"})["setManagerCeiling"]
    assert done == {"__typename": "SetManagerCeilingSuccess", "group": {"managerCeiling": "40"}}
    assert seen("ANALYST", "research") == seen("GROUP_MANAGER", "research") == {"managerCeiling": "40"}
    assert seen("MEMBER", "research") == {"managerCeiling": None}
    assert seen("OWNER", "sales") == {"managerCeiling": None}
    version = settings(world, "OWNER")["version"]
    change(world, "OWNER", expectedVersion=version, managerCeiling="20")
    assert (seen("OWNER", "sales"), seen("OWNER", "research")) == ({"managerCeiling": "20"}, {"managerCeiling": "40"})
    change(world, "OWNER", expectedVersion=version + 1, managerCeiling=None)
    before = stored(world)
    for caller in ("GROUP_MANAGER", "MEMBER", "ANALYST", "READER"):
        assert world.errors(caller, CEILING, input={"group": by, "ceiling": "99"}) == ["FORBIDDEN"]
    for group, amount, code in (("nowhere", "1", "UNKNOWN_GROUP"), ("guides", "1", "UNKNOWN_GROUP"),
                                ("research", "-1", "INVALID_INPUT")):  # fmt: skip
        input_ = {"group": {"id": shown_id("Group", group_id(group))}, "ceiling": amount}
        assert world.ask("ADMIN", CEILING, input=input_)["setManagerCeiling"]["code"] == code
    assert stored(world) == before


# The zone is Berlin's: May is from 22:00 UTC on the 30th of April, until 22:00 on the 31st of May.
MAY = {"first": "2026-05-01", "last": "2026-05-31"}


def simulated(target: dict[str, Any], amount: str, **more: Any) -> dict[str, Any]:
    return {"limits": [{"target": target, "value": {"amount": amount}, **more}], "range": MAY}


def test_a_dry_run_says_who_would_have_been_stopped_and_changes_nothing(world: World) -> None:
    before = world.row_counts()
    found = world.ask("ADMIN", SIMULATE, input=simulated({"user": {"id": shown_id("User", user_id("mo"))}}, "0"))
    uses = sorted(
        use.event.at for use in USES if use.person == "mo" and use.requests
        and "2026-04-30T22:00" <= use.event.at.isoformat() < "2026-05-31T22:00"
    )  # fmt: skip
    [stop] = found["simulateLimits"]["stops"]
    assert stop["target"] == {"id": shown_id("User", user_id("mo"))}
    assert stop["period"] == {"start": "2026-04-30T22:00:00Z", "end": "2026-05-31T22:00:00Z"}
    assert stop["stoppedAt"] == uses[0].isoformat().replace("+00:00", "Z")
    assert (stop["limit"], stop["used"], stop["stoppedRequests"]) == ("0", stop["overBy"], str(len(uses)))
    assert found["simulateLimits"]["stopCount"] == 1
    assert world.row_counts() == before


def test_a_dry_run_for_everybody_takes_as_many_statements_as_for_one(world: World) -> None:
    counts = []
    for target in ({"user": {"id": shown_id("User", user_id("mo"))}}, {"workspace": True}):
        with world.statements() as ran:
            query = "query($input: SimulateLimitsInput!) { simulateLimits(input: $input) { stopCount } }"
            world.ask("ADMIN", query, input=simulated(target, "1", cadence="DAY"))
        kinds = ran.count("simulated_crossings")
        counts.append((kinds, ran.count("simulated_stops")))
        # Who and what there is, the user who is named, a statement for each kind of limit, and the moments.
        assert len(ran) <= 8 + kinds + 1
    assert counts[0] == counts[1]


@pytest.mark.parametrize("caller", ["BILLING", "ANALYST", "GROUP_MANAGER", "MEMBER", "READER", "WRITER", "UNLINKED"])
def test_a_dry_run_is_for_those_who_set_limits_everywhere(world: World, caller: str) -> None:
    assert world.errors(caller, SIMULATE, input=simulated({"workspace": True}, "1")) == ["FORBIDDEN"]


def test_a_dry_run_refuses_what_it_cannot_try(world: World) -> None:
    target = {"user": {"id": shown_id("User", user_id("maya"))}}
    assert world.errors("ADMIN", SIMULATE, input=simulated(target, "1")) == ["UNKNOWN_USER"]
    own = {"user": {"id": shown_id("User", user_id("mo"))}}
    assert world.errors("ADMIN", SIMULATE, input=simulated(own, "1", kind="SHARED")) == ["INVALID_LIMIT"]
    for range_, first, code in (
        ({"first": "2026-05-31", "last": "2026-05-01"}, 1, "INVALID_RANGE"),
        ({"first": "2025-01-01", "last": "2026-05-01"}, 1, "INVALID_RANGE"),
        (MAY, 0, "INVALID_PAGE"),
        (MAY, 1001, "INVALID_PAGE"),
    ):
        assert world.errors("ADMIN", SIMULATE, input={"limits": [], "range": range_, "first": first}) == [code]
