"""Requests over the API: what is asked and decided, what is answered, and what is refused and changes nothing."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from creditdesk.credits.amounts import MICRO
from creditdesk.db.connections import Database
from support.databases import FreshDatabase
from support.world import (
    ACME,
    CALLERS,
    PLACES,
    World,
    group_id,
    id_of,
    put_place,
    shown_id,
    user_id,
    workspace_id,
    world_of,
)

REQUEST = """id state amount reason automatic decisionNote grantedAmount grantedUntil product model cadence usedThen
  createdAt expiresAt decidedAt duration { kind until } limitThen { ... on LimitedTo { amount } } user { id }
  decidedBy { id } limit { id value { ... on LimitedTo { amount } } expiresAt }"""
ERRORS = "... on InvalidInput { code path message }"
ASK = f"""
mutation($input: RequestCreditsInput!) {{ requestCredits(input: $input) {{ __typename
  ... on RequestCreditsSuccess {{ request {{ {REQUEST} }} }}
  ... on RequestPending {{ code path request {{ id state }} }}
  ... on CoolingDown {{ code path until }} {ERRORS} }} }}"""
DECIDED = f"""{{ __typename ... on DecideCreditRequestSuccess {{ request {{ {REQUEST} }} }}
  ... on RequestEnded {{ code path request {{ id state grantedAmount }} }} {ERRORS} }}"""
APPROVE = f"mutation($input: ApproveCreditRequestInput!) {{ approveCreditRequest(input: $input) {DECIDED} }}"
DENY = f"mutation($input: DenyCreditRequestInput!) {{ denyCreditRequest(input: $input) {DECIDED} }}"
CANCEL = f"""
mutation($input: CancelCreditRequestInput!) {{ cancelCreditRequest(input: $input) {{ __typename
  ... on CancelCreditRequestSuccess {{ request {{ {REQUEST} }} }}
  ... on RequestEnded {{ code path request {{ id state grantedAmount }} }} {ERRORS} }} }}"""
PAGE = "totalCount nodes { id } edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage endCursor }"
QUEUE = f"""
query($first: Int, $after: String, $filter: CreditRequestFilter) {{ viewer {{ workspace {{
  requests(first: $first, after: $after, filter: $filter) {{ {PAGE} }} }} }} }}"""
NODE = "query($id: ID!) { node(id: $id) { __typename id } }"
ASKERS = ("OWNER", "ADMIN", "BILLING", "ANALYST", "GROUP_MANAGER", "MEMBER")
DECIDERS = ("OWNER", "ADMIN", "GROUP_MANAGER", "OTHER_OWNER")


async def put_people(database: Database) -> None:
    """Put both workspaces' people in place, and leave everything else to the tests."""
    for place in PLACES:
        await put_place(database, place, moved=True)


@pytest.fixture(scope="module")
def shared_world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database, put_people) as filled:
        yield filled


@pytest.fixture
def world(shared_world: World) -> World:
    """Return a world in which nobody has asked for anything, and everybody's limit is 100 credits."""
    for query in (
        "DELETE FROM credit_request RETURNING 1",
        "DELETE FROM credit_limit RETURNING 1",
        "UPDATE user_group SET manager_ceiling = NULL RETURNING 1",
        "UPDATE workspace_settings SET manager_ceiling = NULL, cooldown_hours = 0 RETURNING 1",
        "UPDATE workspace_settings SET auto_approval_per_period = NULL RETURNING 1",
    ):
        shared_world.sql(query)
    for place in PLACES:
        shared_world.sql(
            "INSERT INTO credit_limit (workspace_id, id, scope, scope_id, kind, cadence, product, model, temporary,"
            " unlimited, amount, enforcement, starts_at, set_at, version) VALUES (%s, gen_random_uuid(), 'WORKSPACE',"
            " %s, 'EACH_USER', 'MONTH', '', '', false, false, 100000000, 'HARD', '2026-01-01Z', '2026-01-01Z', 1)"
            " RETURNING 1",
            workspace_id(place.name),
            workspace_id(place.name),
        )
    return shared_world


def uid(name: str) -> str:
    return shown_id("User", user_id(name))


def ask(world: World, caller: str = "MEMBER", **changes: Any) -> dict[str, Any]:
    asked = {"amount": "50", "reason": "A launch."} | changes
    return dict(world.ask(caller, ASK, input=asked)["requestCredits"])


def asked_id(world: World, caller: str = "MEMBER", **changes: Any) -> str:
    return str(ask(world, caller, **changes)["request"]["id"])


def approve(world: World, caller: str, id_: str, **changes: Any) -> dict[str, Any]:
    return dict(world.ask(caller, APPROVE, input={"id": id_} | changes)["approveCreditRequest"])


def deny(world: World, caller: str, id_: str, **changes: Any) -> dict[str, Any]:
    return dict(world.ask(caller, DENY, input={"id": id_} | changes)["denyCreditRequest"])


def cancel(world: World, caller: str, id_: str) -> dict[str, Any]:
    return dict(world.ask(caller, CANCEL, input={"id": id_})["cancelCreditRequest"])


def rows(world: World) -> list[list[tuple[Any, ...]]]:
    """Return everything that asking and deciding could change."""
    tables = ("credit_request", "credit_limit", "audit_entry", "workspace_settings", "balance_kind")
    return [world.sql(f"SELECT t::text FROM {table} AS t ORDER BY 1") for table in tables]  # noqa: S608 - of above


def ceiling(world: World, amount: int) -> None:
    world.sql("UPDATE workspace_settings SET manager_ceiling = %s RETURNING 1", amount * MICRO)


# Asking.


@pytest.mark.parametrize("caller", ASKERS)
def test_every_person_asks_for_themselves(world: World, caller: str) -> None:
    request = ask(world, caller)["request"]
    assert request["user"] == {"id": uid(str(CALLERS[caller]["sub"]))}
    assert (request["state"], request["amount"], request["limitThen"]) == ("PENDING", "50", {"amount": "100"})
    assert (request["duration"], request["cadence"]) == ({"kind": "THIS_PERIOD", "until": None}, "MONTH")
    assert [request[name] for name in ("decidedAt", "decidedBy", "grantedAmount", "limit", "product")] == [None] * 5
    assert world.ask(caller, NODE, id=request["id"]) == {"node": {"__typename": "CreditRequest", "id": request["id"]}}


@pytest.mark.parametrize("caller", ["READER", "WRITER", "UNMAPPED"])
def test_whoever_is_no_person_with_a_role_asks_for_nothing_and_nothing_is_changed(world: World, caller: str) -> None:
    id_ = asked_id(world)
    before = rows(world)
    assert world.errors(caller, ASK, input={"amount": "1", "reason": "Why not?"}) == ["FORBIDDEN"]
    assert world.errors(caller, CANCEL, input={"id": id_}) == ["FORBIDDEN"]
    assert rows(world) == before


def test_a_person_who_is_no_user_here_is_told_so(world: World) -> None:
    id_ = asked_id(world)
    before = rows(world)
    assert (ask(world, "UNLINKED")["code"], cancel(world, "UNLINKED", id_)["code"]) == ("UNKNOWN_USER", "UNKNOWN_USER")
    assert rows(world) == before


def test_a_day_is_the_last_one_that_is_asked_for(world: World) -> None:
    day = (datetime.now(UTC) + timedelta(days=3)).date()
    duration = ask(world, duration={"until": day.isoformat()})["request"]["duration"]
    assert duration == {"kind": "UNTIL", "until": day.isoformat()}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": "0"}, "INVALID_INPUT"),
        ({"amount": "-5"}, "INVALID_INPUT"),
        ({"amount": "1000000000.000001"}, "INVALID_INPUT"),
        ({"reason": " \n "}, "INVALID_INPUT"),
        ({"reason": "\t"}, "INVALID_INPUT"),
        ({"reason": "a\u0007b"}, "INVALID_INPUT"),
        ({"duration": {"thisPeriod": False}}, "INVALID_INPUT"),
        ({"duration": {"permanent": False}}, "INVALID_INPUT"),
        ({"duration": {"until": "2020-02-02"}}, "INVALID_INPUT"),
        ({"duration": {"until": "9999-12-31"}}, "INVALID_INPUT"),
        ({"model": "large"}, "INVALID_INPUT"),
        ({"product": "video"}, "NOTHING_TO_RAISE"),
        ({"cadence": "DAY"}, "NOTHING_TO_RAISE"),
    ],
)
def test_what_cannot_be_asked_is_answered_with_a_code_and_changes_nothing(
    world: World, change: dict[str, Any], code: str
) -> None:
    before = rows(world)
    refused = ask(world, **change)
    assert (refused["__typename"], refused["code"], refused["path"]) == ("InvalidInput", code, ["input"])
    assert rows(world) == before


def test_a_request_beside_a_pending_one_is_answered_with_that_one(world: World) -> None:
    id_ = asked_id(world)
    before = rows(world)
    pending = {"code": "REQUEST_PENDING", "path": ["input"], "request": {"id": id_, "state": "PENDING"}}
    assert ask(world, amount="1") == {"__typename": "RequestPending"} | pending
    assert rows(world) == before


def test_after_a_denial_it_is_said_from_when_on_one_may_ask_again(world: World) -> None:
    world.sql("UPDATE workspace_settings SET cooldown_hours = 48 RETURNING 1")
    denied = deny(world, "ADMIN", asked_id(world), note="Not now.")["request"]
    assert (denied["state"], denied["decisionNote"]) == ("DENIED", "Not now.")
    before = rows(world)
    cooling = ask(world)
    until = datetime.fromisoformat(denied["decidedAt"]) + timedelta(hours=48)
    assert (cooling["code"], datetime.fromisoformat(cooling["until"])) == ("COOLING_DOWN", until)
    assert rows(world) == before


def test_a_small_amount_is_approved_at_once(world: World) -> None:
    world.sql("UPDATE workspace_settings SET auto_approval_per_period = %s RETURNING 1", 60 * MICRO)
    request = ask(world)["request"]
    assert (request["state"], request["automatic"], request["decidedBy"]) == ("APPROVED", True, None)
    assert (request["grantedAmount"], request["limit"]["value"]) == ("50", {"amount": "150"})
    assert ask(world, amount="11")["request"]["state"] == "PENDING"


# Deciding.


def test_an_approval_raises_the_limit_and_says_who_and_until_when(world: World) -> None:
    ceiling(world, 120)
    approved = approve(world, "GROUP_MANAGER", asked_id(world), amount="20", note="For now.")["request"]
    assert (approved["state"], approved["decidedBy"]) == ("APPROVED", {"id": uid("gina")})
    assert (approved["amount"], approved["grantedAmount"], approved["decisionNote"]) == ("50", "20", "For now.")
    assert approved["limit"]["value"] == {"amount": "120"}
    assert approved["limit"]["expiresAt"] == approved["grantedUntil"] is not None
    own = "{ viewer { user { budget { limit { ... on LimitedTo { amount } } } requests { nodes { id state } } } } }"
    assert world.ask("MEMBER", own) == {
        "viewer": {
            "user": {
                "budget": {"limit": {"amount": "120"}},
                "requests": {"nodes": [{"id": approved["id"], "state": "APPROVED"}]},
            }
        }
    }


def test_an_approver_may_change_the_duration(world: World) -> None:
    approved = approve(world, "OWNER", asked_id(world), duration={"permanent": True})["request"]
    assert (approved["duration"]["kind"], approved["grantedUntil"]) == ("THIS_PERIOD", None)
    assert approved["limit"]["expiresAt"] is None


@pytest.mark.parametrize("caller", [caller for caller in CALLERS if caller not in DECIDERS])
def test_whoever_may_not_decide_is_forbidden_to_and_nothing_is_changed(world: World, caller: str) -> None:
    id_ = asked_id(world, "GROUP_MANAGER")
    before = rows(world)
    for query in (APPROVE, DENY):
        assert world.errors(caller, query, input={"id": id_}) == ["FORBIDDEN"]
    assert rows(world) == before


@pytest.mark.parametrize("caller", ["OWNER", "ADMIN", "GROUP_MANAGER"])
def test_nobody_decides_their_own_request(world: World, caller: str) -> None:
    ceiling(world, 1000)
    id_ = asked_id(world, caller)
    before = rows(world)
    for refused in (approve(world, caller, id_), deny(world, caller, id_)):
        assert (refused["code"], refused["path"]) == ("OWN_REQUEST", ["input", "id"])
    assert rows(world) == before


def test_what_is_out_of_reach_is_answered_as_what_is_not_there(world: World) -> None:
    ceiling(world, 1000)
    of_billing = asked_id(world, "BILLING")
    of_hari = asked_id(world, "OTHER_OWNER")
    nowhere = shown_id("CreditRequest", id_of("nowhere"))
    before = rows(world)
    cases = {
        "GROUP_MANAGER": (of_billing, of_hari, nowhere),
        "ADMIN": (of_hari, nowhere),
        "OTHER_OWNER": (of_billing, nowhere),
    }
    for caller, ids in cases.items():
        for act in (approve, deny, cancel):
            answers = [act(world, caller, id_) for id_ in ids]
            assert [answer["code"] for answer in answers] == ["UNKNOWN_REQUEST"] * len(ids)
            assert answers == [answers[0]] * len(ids)
    # What one may see but did not ask oneself is not for oneself to take back.
    assert cancel(world, "ADMIN", of_billing)["code"] == "UNKNOWN_REQUEST"
    assert rows(world) == before


@pytest.mark.parametrize("id_", ["", "x", shown_id("User", user_id("mo"))])
def test_an_id_that_is_none_of_a_request_is_said_to_be(world: World, id_: str) -> None:
    before = rows(world)
    for refused in (approve(world, "ADMIN", id_), deny(world, "ADMIN", id_), cancel(world, "MEMBER", id_)):
        assert (refused["code"], refused["path"]) == ("INVALID_ID", ["input", "id"])
    assert rows(world) == before


@pytest.mark.parametrize("amount", [None, 149])
def test_a_manager_beyond_the_ceiling_is_refused(world: World, amount: int | None) -> None:
    if amount is not None:
        ceiling(world, amount)
    id_ = asked_id(world)
    before = rows(world)
    refused = approve(world, "GROUP_MANAGER", id_)
    assert (refused["code"], refused["path"]) == ("ABOVE_CEILING", ["input", "amount"])
    assert rows(world) == before
    assert deny(world, "GROUP_MANAGER", id_)["request"]["state"] == "DENIED"


def test_a_replayed_decision_is_answered_with_the_request_as_it_is(world: World) -> None:
    id_ = asked_id(world)
    approve(world, "ADMIN", id_)
    before = rows(world)
    ended = {"id": id_, "state": "APPROVED", "grantedAmount": "50"}
    for answer in (
        approve(world, "ADMIN", id_),
        approve(world, "OWNER", id_, amount="7"),
        deny(world, "OWNER", id_),
        cancel(world, "MEMBER", id_),
    ):
        assert (answer["__typename"], answer["code"], answer["request"]) == ("RequestEnded", "REQUEST_ENDED", ended)
    assert rows(world) == before


def test_two_approvers_at_once_one_wins_and_the_other_is_told(world: World) -> None:
    for _ in range(10):
        id_ = asked_id(world, duration={"permanent": True}, amount="1")
        found = world.ask_together([(caller, APPROVE, {"input": {"id": id_}}) for caller in ("OWNER", "ADMIN") * 2])
        outcomes = [answer["data"]["approveCreditRequest"]["__typename"] for answer in found]
        assert sorted(outcomes) == ["DecideCreditRequestSuccess", *["RequestEnded"] * 3]


def test_a_direct_raise_over_the_api_approves_what_it_covers(world: World) -> None:
    id_ = asked_id(world)
    query = """
    mutation($input: SetLimitInput!) { setLimit(input: $input) { ... on SetLimitSuccess { limit { id } } } }"""
    value = {"target": {"user": {"id": uid("mo")}}, "value": {"amount": "150"}}
    limit = world.ask("ADMIN", query, input=value)["setLimit"]["limit"]
    state = "query($id: ID!) { node(id: $id) { ... on CreditRequest { state decidedBy { id } limit { id } } } }"
    assert world.ask("ADMIN", state, id=id_) == {
        "node": {"state": "APPROVED", "decidedBy": {"id": uid("adam")}, "limit": limit}
    }


def test_one_who_may_not_see_who_decided_is_not_told(world: World) -> None:
    id_ = asked_id(world)
    approve(world, "ADMIN", id_)
    decided = "query($id: ID!) { node(id: $id) { ... on CreditRequest { state decidedBy { id } } } }"
    assert world.ask("MEMBER", decided, id=id_) == {"node": {"state": "APPROVED", "decidedBy": None}}


# Reading.


def test_the_queue_is_read_page_by_page(world: World) -> None:
    ids = [asked_id(world, caller) for caller in ASKERS][::-1]
    queue = world.ask("ANALYST", QUEUE)["viewer"]["workspace"]["requests"]
    assert [node["id"] for node in queue["nodes"]] == ids
    assert [edge["node"]["id"] for edge in queue["edges"]] == ids
    assert (queue["totalCount"], queue["pageInfo"]["hasNextPage"]) == (6, False)
    walked: list[str] = []
    after = None
    while True:
        page = world.ask("ANALYST", QUEUE, first=4, after=after)["viewer"]["workspace"]["requests"]
        walked += [node["id"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        assert page["pageInfo"]["hasPreviousPage"] is (len(walked) > 4)
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert walked == ids


def test_the_queue_is_narrowed_by_what_requests_are_now(world: World) -> None:
    by_caller = {caller: asked_id(world, caller) for caller in ASKERS}
    approve(world, "OWNER", by_caller["MEMBER"])
    world.sql("UPDATE credit_request SET expires_at = now() WHERE user_id = %s RETURNING 1", user_id("anna"))

    def found(**filter_: Any) -> list[str]:
        queue = world.ask("OWNER", QUEUE, filter=filter_)["viewer"]["workspace"]["requests"]
        assert queue["totalCount"] == len(queue["nodes"])
        ids = {id_: caller for caller, id_ in by_caller.items()}
        return [ids[node["id"]] for node in queue["nodes"]]

    assert found(states=["APPROVED"]) == ["MEMBER"]
    assert found(states=["EXPIRED"]) == ["ANALYST"]
    assert found(states=["PENDING"]) == ["GROUP_MANAGER", "BILLING", "ADMIN", "OWNER"]
    assert found(groups=[shown_id("Group", group_id("sales"))]) == ["ANALYST", "BILLING"]
    assert found(users=[uid("mo"), uid("gina")], states=["PENDING"]) == ["GROUP_MANAGER"]
    assert found(product="chat") == []
    assert found(product="") == list(ASKERS)[::-1]
    now = datetime.now(UTC).isoformat()
    assert (found(createdFrom=now), found(createdTo=now)) == ([], list(ASKERS)[::-1])
    state = "query($id: ID!) { node(id: $id) { ... on CreditRequest { state decidedAt } } }"
    assert world.ask("OWNER", state, id=by_caller["ANALYST"]) == {"node": {"state": "EXPIRED", "decidedAt": None}}


WHOLE = "query($group: ID!, $user: ID!) { viewer { workspace { requests { nodes { id } } } } %s }"
GROUP_AND_USER = """
  group: node(id: $group) { ... on Group { requests { nodes { id } } } }
  user: node(id: $user) { ... on User { requests { nodes { id } } } }"""


def test_each_sees_the_requests_of_those_whose_spend_they_see(world: World) -> None:
    ids = {caller: asked_id(world, caller) for caller in (*ASKERS, "OTHER_OWNER")}
    everybody = [ids[caller] for caller in ASKERS][::-1]
    mine = [ids["MEMBER"]]

    def seen(caller: str) -> tuple[Any, Any, Any]:
        variables = {"group": shown_id("Group", group_id("research")), "user": uid("mo")}
        data = world.ask(caller, WHOLE % GROUP_AND_USER, **variables)
        lists = (data["viewer"]["workspace"]["requests"], data["group"], data["user"])
        return tuple(  # type: ignore[return-value]
            None if one is None else [node["id"] for node in one["nodes"]]
            for one in (lists[0], *(part and part["requests"] for part in lists[1:]))
        )

    for caller in ("OWNER", "ADMIN", "BILLING", "ANALYST", "READER"):
        assert seen(caller) == (everybody, mine, mine)
    assert seen("GROUP_MANAGER") == (mine, mine, mine)
    assert seen("MEMBER") == (None, None, mine)
    assert seen("OTHER_OWNER") == ([ids["OTHER_OWNER"]], None, None)
    for caller in ("WRITER", "UNLINKED"):
        assert seen(caller) == (None, None, None)
    # An own request is with one's own user, and found by its id.
    own = "{ viewer { user { requests { nodes { id } } } } }"
    assert world.ask("GROUP_MANAGER", own)["viewer"]["user"]["requests"]["nodes"] == [{"id": ids["GROUP_MANAGER"]}]


def test_a_request_is_found_by_its_id_by_those_who_see_the_asker(world: World) -> None:
    ids = {"mo": asked_id(world), "bill": asked_id(world, "BILLING"), "gina": asked_id(world, "GROUP_MANAGER")}
    sees = {
        "OWNER": {"mo", "bill", "gina"}, "READER": {"mo", "bill", "gina"}, "GROUP_MANAGER": {"mo", "gina"},
        "MEMBER": {"mo"}, "WRITER": set(), "UNLINKED": set(), "OTHER_OWNER": set(),
    }  # fmt: skip
    for caller, names in sees.items():
        found = {name for name, id_ in ids.items() if world.ask(caller, NODE, id=id_)["node"] is not None}
        assert found == names, caller


def test_a_cursor_of_another_list_is_refused(world: World) -> None:
    asked_id(world)
    cursor = world.ask("OWNER", "{ viewer { workspace { users(first: 1) { edges { cursor } } } } }")
    foreign = cursor["viewer"]["workspace"]["users"]["edges"][0]["cursor"]
    assert world.errors("OWNER", QUEUE, after=foreign) == ["INVALID_CURSOR"]
    assert world.errors("OWNER", QUEUE, first=101) == ["INVALID_PAGE"]


def test_all_users_requests_are_read_in_a_bounded_number_of_statements(world: World) -> None:
    for caller in ASKERS:
        asked_id(world, caller)
    query = """{ viewer { workspace { users(first: 100) { nodes {
      requests(first: 3) { totalCount nodes { state user { id } decidedBy { id } limit { id } } } } } } } }"""
    world.ask("OWNER", query)  # people have changed: who asks is looked up anew, and what was read is read again
    world.forget()
    with world.statements() as ran:
        users = world.ask("OWNER", query)["viewer"]["workspace"]["users"]["nodes"]
    assert len(users) == len(ACME.people)
    assert sum(user["requests"]["totalCount"] for user in users) == len(ASKERS)
    assert sorted(ran) == ["requests_count", "requests_page", "users_by_id", "users_page"]


def test_nobody_counts_what_nobody_asks_the_count_of(world: World) -> None:
    with world.statements() as ran:
        world.ask("OWNER", "{ viewer { workspace { requests { nodes { id } } } } }")
    assert ran == ["requests_page"]


def test_days_are_those_of_the_workspace_s_zone(world: World) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    request = ask(world, "OTHER_OWNER", duration={"until": tomorrow.isoformat()})["request"]
    # Kathmandu is ahead by 5:45.
    end = datetime.combine(tomorrow, datetime.min.time(), UTC) + timedelta(hours=18, minutes=15)
    assert datetime.fromisoformat(request["expiresAt"]) == end
    assert date.fromisoformat(request["duration"]["until"]) == tomorrow
