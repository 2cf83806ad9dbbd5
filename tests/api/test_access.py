"""Who sees what: everything that the schema offers, asked by everybody."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from graphql import GraphQLObjectType

from creditdesk.credits.amounts import format_credits
from creditdesk.credits.event_rules import UsageEvent, UserBy
from creditdesk.credits.hold_rules import hold_id
from creditdesk.graphql.schema import schema, schema_text
from support.databases import FreshDatabase
from support.documents import MaximalDocument, composite_types, every_field
from support.world import (
    ACME,
    ALL_DAYS,
    CALLERS,
    EVERYONE,
    FIRST_DAY,
    LAST_DAY,
    NOW,
    PLACES,
    USES,
    World,
    all_canaries,
    canary,
    email_of,
    external_id_of,
    group_id,
    group_slug,
    id_of,
    own_product,
    place_of,
    record,
    shown_id,
    user_id,
    workspace_id,
    workspace_slug,
    world_of,
)

DAYS = f'range: {{days: {{first: "{FIRST_DAY}", last: "{LAST_DAY}"}}}}'
PART_OF_DAYS = 'range: {instants: {start: "2026-03-12T05:17:00Z", end: "2026-06-20T09:01:00Z"}}'
BY_CREDITS = f"orderBy: {{field: CREDITS, direction: DESC, {DAYS}}}"


def gid(group: str) -> str:
    return shown_id("Group", group_id(group))


def uid(user: str) -> str:
    return shown_id("User", user_id(user))


HOLDS = {
    f"hold/{person.name}": shown_id("Hold", hold_id(workspace_id(place.name), canary("hold", person.name), "1"))
    for place in PLACES
    for person in place.people
    if person.active
}
IDS = {
    **{f"user/{person.name}": uid(person.name) for place in PLACES for person in place.people},
    **{f"group/{group}": gid(group) for place in PLACES for group in place.groups},
    **{f"workspace/{place.name}": shown_id("Workspace", workspace_id(place.name)) for place in PLACES},
    **HOLDS,
}
_USERS = ("zoe", "mo", "maya", "mia", "nora", "gina", "lee", "robo")
_GROUPS = ("sales", "research", "guides", "design")
_USAGE = [
    f"({DAYS})",
    f"({PART_OF_DAYS})",
    f'({DAYS}, filter: {{users: ["{uid("zoe")}", "{uid("maya")}", "{uid("mo")}"]}})',
    f'({DAYS}, filter: {{groups: ["{gid("sales")}", "{gid("guides")}", "{gid("research")}"]}})',
    f'({DAYS}, filter: {{products: ["{own_product("zoe", "sales")}", "chat", "{own_product("maya", "bookings")}"]}})',
]
_USERS_PAGE = [
    "(first: 100)",
    f"(first: 100, {BY_CREDITS})",
    "(last: 50, orderBy: {direction: DESC})",
    f'(filter: {{search: "{canary("user", "zoe")}"}})',
    f'(filter: {{groups: ["{gid("sales")}", "{gid("guides")}"]}}, {BY_CREDITS})',
    "(filter: {active: false})",
    "(filter: {kind: SERVICE_ACCOUNT})",
]
_REQUESTS = [
    "(first: 100)",
    "(first: 2, filter: {states: [APPROVED, CANCELLED]})",
    '(first: 100, filter: {product: "video", createdFrom: "2026-06-20T00:00:00Z", createdTo: "2026-06-20T10:30:00Z"})',
    f'(first: 100, filter: {{users: ["{uid("zoe")}", "{uid("maya")}", "{uid("mo")}", "{uid("mia")}"]}})',
    f'(filter: {{groups: ["{gid("sales")}", "{gid("guides")}"]}})',
]
_DIMENSIONS = ("USER", "GROUP", "PRODUCT", "MODEL")
ARGUMENTS = {
    "Query.node": ["(id: $id)"],
    "Query.nodes": [f"(ids: {json.dumps(list(IDS.values()))})"],
    "Query.workspace": [
        f'(by: {{slug: "{workspace_slug("acme")}"}})',
        f'(by: {{id: "{shown_id("Workspace", workspace_id("himal"))}"}})',
        f'(by: {{id: "{shown_id("Workspace", workspace_id("acme"))}"}})',
        f'(by: {{slug: "{workspace_slug("himal")}"}})',
    ],
    "Workspace.usage": _USAGE,
    "Workspace.users": _USERS_PAGE,
    "Workspace.user": [f'(by: {{id: "{uid(user)}"}})' for user in _USERS]
    + [f'(by: {{email: "{email_of(user)}"}})' for user in _USERS]
    + [f'(by: {{externalId: "{external_id_of(user)}"}})' for user in _USERS],
    "Workspace.groups": ["", f"(first: 100, {BY_CREDITS})", f'(filter: {{search: "{canary("group", "sales")}"}})'],
    "Workspace.group": [f'(by: {{id: "{gid(group)}"}})' for group in _GROUPS]
    + [f'(by: {{slug: "{group_slug(group)}"}})' for group in _GROUPS],
    "Workspace.rates": ["", '(at: "2026-06-19T00:00:00Z")', '(model: "pro")'],
    "Workspace.requests": _REQUESTS,
    "Workspace.limits": ["(first: 100)", f'(filter: {{group: "{gid("sales")}"}})', "(filter: {appliesTo: USER})"],
    "Workspace.audit": ["(first: 100)", f'(filter: {{user: "{uid("zoe")}"}})', "(filter: {action: REQUEST_MADE})"],
    "Group.requests": _REQUESTS,
    "User.requests": _REQUESTS,
    "Group.members": ["", f"(first: 100, {BY_CREDITS})", "(last: 3)"],
    "Group.usage": [*_USAGE, f"({DAYS}, attribution: MEMBERS)", f"({PART_OF_DAYS}, attribution: MEMBERS)"],
    "User.usage": _USAGE,
    "CreditUsage.series": ["(interval: WEEK)"]
    + [f"(interval: MONTH, by: {by}, first: 40)" for by in _DIMENSIONS]
    + ["(interval: DAY, by: USER, first: 1)"],
    "CreditUsage.breakdown": [f"(by: [{by}], first: 40)" for by in _DIMENSIONS]
    + [
        "(by: [PRODUCT, USER], first: 50)",
        "(by: [USER, GROUP, PRODUCT, MODEL], first: 9)",
        "(by: [MODEL, PRODUCT], first: 3, orderBy: TOKENS_DESC)",
    ],
}
ROUNDS = 4
NODES = (
    "user/mo", "user/zoe", "user/mia", "user/maya", "group/research", "group/sales", "group/guides", "workspace/acme",
    "workspace/himal",
)  # fmt: skip
NOWHERE = [shown_id(kind, id_of("nowhere")) for kind in ("User", "Group", "Workspace", "Hold", "Budget", "")]


# What leads to the same objects as another field beside it.
SHALLOW = frozenset(
    {
        "UserEdge.node", "GroupEdge.node", "UsageKey.user", "UsageKey.group", "Budget.scope", "Budget.candidates",
        "CreditLimit.setBy", "User.budget",
        "CreditLimitEdge.node", "AuditEntryEdge.node", "AuditEntry.actor", "AuditEntry.user", "AuditEntry.group",
        "CreditRequestEdge.node", "CreditRequest.user", "CreditRequest.decidedBy", "CreditRequest.limit",
        "Hold.user", "Hold.passedSoftLimits",
    }
)  # fmt: skip


def maximal_documents() -> Iterator[tuple[str, dict[str, str]]]:
    """Return documents, each with its variables, that select everything in every way."""
    for round_ in range(ROUNDS):
        writer = MaximalDocument(schema, ARGUMENTS, round_, SHALLOW, {"CreditUsage": 2 if round_ == 0 else 1})
        for root in ("viewer", "workspace", "nodes"):
            yield f"query {writer.root(root)}", {}
        for owner in [*NODES, *HOLDS][round_::ROUNDS]:
            yield f"query($id: ID!) {writer.node(owner.split('/')[0].title())}", {"id": IDS[owner]}


DOCUMENTS = list(maximal_documents())


# Whose canaries a caller may meet; sources and tags are shown to nobody.

SEEN_BY_MANAGER = {
    "workspace/acme", "group/research", "group/design",
    "user/gina", "user/mo", "user/mia", "user/ina",
    "product/gina/design", "product/mo/research", "product/mia/design", "product/ina/research",
    # Lee has moved on; what was charged to the managed group stays there to be seen, though not who it was.
    "product/lee/research",
    "reason/gina", "reason/mo", "reason/mia", "reason/ina", "note/gina", "note/mo", "note/mia", "note/ina",
    "hold/gina", "hold/mo", "hold/mia",
}  # fmt: skip
SEEN_BY_MEMBER = {
    "workspace/acme",
    "group/research",
    "user/mo",
    "product/mo/research",
    "reason/mo",
    "note/mo",
    "hold/mo",
}
# Who places holds sees any, and what it is for, but not whose it is.
SEEN_BY_WRITER = {"workspace/acme"} | {
    owner
    for person in ACME.people
    if person.active
    for owner in (f"hold/{person.name}", f"product/{person.name}/{person.home or '-'}")
}


def seen_by(caller: str) -> set[str]:
    shown = {owner for owner in all_canaries().values() if not owner.startswith(("source", "tag"))}
    if caller in EVERYONE:
        return {owner for owner in shown if place_of(owner) == "acme"}
    return {
        "OTHER_OWNER": {owner for owner in shown if place_of(owner) == "himal"},
        "GROUP_MANAGER": SEEN_BY_MANAGER,
        "MEMBER": SEEN_BY_MEMBER,
        "WRITER": SEEN_BY_WRITER,
        "UNLINKED": {"workspace/acme"},
        "UNMAPPED": set(),
    }[caller]


def answers(world: World, caller: str, documents: Sequence[tuple[str, dict[str, str]]]) -> list[dict[str, Any]]:
    # A few at once, as a client would: all of them would wait for connections longer than the server lets them.
    asked = [(caller, query, variables) for query, variables in documents]
    return [answer for start in range(0, len(asked), 4) for answer in world.ask_together(asked[start : start + 4])]


def choose_everything(world: World) -> None:
    """Have something in every setting, where nothing is also an answer."""
    world.sql(
        "UPDATE workspace_settings SET manager_ceiling = 0, auto_approval_per_period = 0,"
        " anchor_since = '{1970-01-01,2099-01-01}', anchor_days = '{1,15}' RETURNING 1"
    )


@pytest.fixture(scope="module")
def answered(world: World) -> dict[str, list[dict[str, Any]]]:
    choose_everything(world)
    # Those who see everyone are told a lot: the owner is told all of it, each of the others a part.
    several = [caller for caller in EVERYONE if caller != "OWNER"]
    parts = {caller: DOCUMENTS[place :: len(several)] for place, caller in enumerate(several)}
    return {caller: answers(world, caller, parts.get(caller, DOCUMENTS)) for caller in CALLERS}


@pytest.mark.parametrize("caller", CALLERS)
def test_whatever_is_asked_nothing_is_told_of_anybody_the_caller_may_not_see(
    answered: dict[str, list[dict[str, Any]]], caller: str
) -> None:
    text = json.dumps(answered[caller], ensure_ascii=False)
    canaries = all_canaries()
    told = {canaries[found] for found in re.findall(r"cy[0-9a-f]{14}", text)}
    assert told <= seen_by(caller)
    # Nor is it for want of asking.
    assert told == seen_by(caller) or caller in EVERYONE[1:]


@pytest.mark.parametrize("caller", CALLERS)
def test_whatever_is_asked_no_id_is_given_out_of_anybody_the_caller_may_not_see(
    answered: dict[str, list[dict[str, Any]]], caller: str
) -> None:
    text = json.dumps(answered[caller])
    told = {owner for owner, id_ in IDS.items() if f'"{id_}"' in text}
    assert told <= seen_by(caller)
    with_ids = {owner for owner in seen_by(caller) if not owner.startswith(("product", "reason", "note"))}
    assert told == with_ids or caller in EVERYONE[1:]


@pytest.mark.parametrize("caller", [caller for caller in CALLERS if caller != "UNMAPPED"])
def test_everything_may_be_asked_without_an_error(answered: dict[str, list[dict[str, Any]]], caller: str) -> None:
    assert [answer["errors"] for answer in answered[caller] if "errors" in answer] == []


def test_roles_that_are_not_mapped_are_forbidden_everything(answered: dict[str, list[dict[str, Any]]]) -> None:
    for answer in answered["UNMAPPED"]:
        assert answer["data"] is None or set(answer["data"].values()) == {None}, answer
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}


# What others do changes nothing of what one sees: this covers every figure, count, share, order and cursor.


def seen(world: World, caller: str) -> list[str]:
    """Return all answers without the moments they were given at."""
    documents = DOCUMENTS[::4] if caller == "OWNER" else DOCUMENTS[::2]
    return [re.sub(r'"dataThrough": "[^"]+"', "", json.dumps(answer)) for answer in answers(world, caller, documents)]


def more_uses(*people: str) -> list[UsageEvent]:
    return [
        UsageEvent(
            "later",
            f"{person}-{day}",
            NOW - timedelta(days=day),
            UserBy(id=user_id(person)),
            product,
            "large",
            5 * 10**9,
        )
        for person in people
        for day, product in ((1, "chat"), (40, f"tool-of-{person}"))
    ]


def test_what_others_use_changes_nothing_that_a_caller_sees(fresh_database: FreshDatabase) -> None:
    with world_of(fresh_database) as world:
        before = {caller: seen(world, caller) for caller in ("OWNER", "GROUP_MANAGER", "MEMBER")}
        world.run(record(world.database, "himal", more_uses("hari", "maya", "yeti")))
        after = {caller: seen(world, caller) for caller in before}
        assert after == before
        outsiders = ("olga", "adam", "bill", "anna", "nora", "robo", "lee", "zoe")
        world.run(record(world.database, "acme", more_uses(*outsiders)))
        assert seen(world, "OWNER") != before["OWNER"]
        for caller in ("GROUP_MANAGER", "MEMBER"):
            assert seen(world, caller) == before[caller]
        world.run(record(world.database, "acme", more_uses("gina", "mia", "ina")))
        assert seen(world, "GROUP_MANAGER") != before["GROUP_MANAGER"]
        assert seen(world, "MEMBER") == before["MEMBER"]
        world.run(record(world.database, "acme", more_uses("mo")))
        assert seen(world, "MEMBER") != before["MEMBER"]


def test_a_member_s_figures_are_the_sum_of_their_own_events(world: World) -> None:
    mine = [use for use in USES if use.person == "mo"]
    total = format_credits(sum(use.figures[0] for use in mine))
    for place in ("viewer { user", f'node(id: "{uid("mo")}") {{ ... on User'):
        query = f"""
        query($range: RangeInput!) {{ {place} {{ usage(range: $range) {{
          credits requests breakdown(by: [USER, GROUP]) {{ rowCount rows {{ credits user {{ id }} group {{ id }} }} }}
          series(interval: MONTH, by: USER) {{ key {{ other user {{ id }} }} points {{ requests }} }}
        }} }} }} }}"""
        data = world.ask("MEMBER", query, range=ALL_DAYS)
        usage = next(iter(data.values()))
        usage = usage.get("user", usage)["usage"]
        assert (usage["credits"], usage["requests"]) == (total, str(sum(use.requests for use in mine)))
        row = {"credits": total, "user": {"id": uid("mo")}, "group": {"id": gid("research")}}
        assert usage["breakdown"] == {"rowCount": 1, "rows": [row]}
        [series] = usage["series"]
        assert series["key"] == {"other": False, "user": {"id": uid("mo")}}
        assert sum(int(point["requests"]) for point in series["points"]) == sum(use.requests for use in mine)


def test_a_group_manager_s_figures_are_those_of_their_group_and_of_its_people(world: World) -> None:
    query = """
    query($range: RangeInput!, $group: ID!) {
      viewer { workspace { usage(range: $range) { credits } users { totalCount nodes { id } } } }
      node(id: $group) { ... on Group {
        charged: usage(range: $range) { credits } members: usage(range: $range, attribution: MEMBERS) { credits } } }
    }"""
    data = world.ask("GROUP_MANAGER", query, range=ALL_DAYS, group=gid("research"))
    charged = sum(use.figures[0] for use in USES if use.group == "research")
    members = sum(use.figures[0] for use in USES if use.person in {"mo", "mia", "ina"})
    assert data["node"]["charged"] == {"credits": format_credits(charged)}
    assert data["node"]["members"] == {"credits": format_credits(members)}
    assert data["viewer"]["workspace"]["usage"] is None
    users = data["viewer"]["workspace"]["users"]
    assert users["totalCount"] == 4
    assert {node["id"] for node in users["nodes"]} == {uid(name) for name in ("gina", "mo", "mia", "ina")}
    for group in ("design", "sales"):
        answer = world.ask("GROUP_MANAGER", query, range=ALL_DAYS, group=gid(group))["node"]
        # Their own group they may see, but not what it uses; others they may not see at all.
        assert answer == ({"charged": None, "members": None} if group == "design" else None)


# Ids: what may not be seen is answered as what is not there.


@pytest.mark.parametrize("caller", [caller for caller in CALLERS if caller != "UNMAPPED"])
def test_an_id_that_the_caller_may_not_see_is_answered_as_one_that_there_is_not(world: World, caller: str) -> None:
    query = "query($id: ID!, $ids: [ID!]!) { node(id: $id) { id __typename } nodes(ids: $ids) { id } }"
    asked = [(caller, query, {"id": id_, "ids": [id_]}) for id_ in [*IDS.values(), *NOWHERE]]
    found = dict(zip([*IDS, *range(len(NOWHERE))], world.ask_together(asked), strict=True))
    for name, id_ in IDS.items():
        if name in seen_by(caller):
            node = {"id": id_, "__typename": name.split("/")[0].title()}
            assert found[name] == {"data": {"node": node, "nodes": [{"id": id_}]}}
        else:
            assert found[name] == found[0] == {"data": {"node": None, "nodes": [None]}}
    assert [found[number] for number in range(len(NOWHERE))] == [found[0]] * len(NOWHERE)


@pytest.mark.parametrize("caller", ["MEMBER", "GROUP_MANAGER", "UNLINKED", "WRITER"])
def test_names_filters_and_searches_of_others_are_answered_as_those_of_nobody(world: World, caller: str) -> None:
    query = """
    query($by: UserBy!, $group: GroupBy!, $users: UserFilter!, $groups: GroupFilter!, $workspace: WorkspaceBy!) {
      workspace(by: $workspace) { id }
      viewer { workspace {
        user(by: $by) { id } group(by: $group) { id }
        users(filter: $users) { totalCount nodes { id } edges { cursor } pageInfo { hasNextPage startCursor } }
        groups(filter: $groups) { totalCount nodes { id } }
      } }
    }"""

    def asked(user: str, group: str, place: str) -> list[Mapping[str, Any]]:
        searches = [f"{canary('user', user)}", email_of(user)]
        filters = [{"search": text} for text in searches] + [{"groups": [gid(group)]}] * 3
        names = [{"id": uid(user)}, {"email": email_of(user)}, {"externalId": external_id_of(user)}]
        groups = [{"id": gid(group)}, {"slug": group_slug(group)}]
        places = [{"id": shown_id("Workspace", workspace_id(place))}, {"slug": workspace_slug(place)}]
        return [
            {
                "by": names[number % 3],
                "group": groups[number % 2],
                "users": filters[number],
                "groups": {"search": canary("group", group)},
                "workspace": places[number % 2],
            }
            for number in range(5)
        ]

    nobody = [world.answer(caller, query, **variables) for variables in asked("nobody", "nothing", "nowhere")]
    assert "errors" not in nobody[0]
    for user, group in (("zoe", "sales"), ("maya", "guides"), ("lee", "platform")):
        assert [world.answer(caller, query, **variables) for variables in asked(user, group, "himal")] == nobody


@pytest.mark.parametrize("caller", ["MEMBER", "GROUP_MANAGER"])
def test_filters_by_ids_of_others_find_nothing_and_say_nothing(world: World, caller: str) -> None:
    query = """
    query($range: RangeInput!, $filter: UsageFilter!) { viewer { user { usage(range: $range, filter: $filter) {
      credits requests breakdown(by: [USER]) { rowCount other { rowCount credits } rows { credits } } } } } }"""

    def found(filter_: dict[str, list[str]]) -> Any:
        return world.ask(caller, query, range=ALL_DAYS, filter=filter_)["viewer"]["user"]["usage"]

    nothing = {
        "credits": "0",
        "requests": "0",
        "breakdown": {"rowCount": 0, "other": {"rowCount": 0, "credits": "0"}, "rows": []},
    }
    nowhere = [shown_id("User", id_of("nowhere"))]
    assert found({"users": nowhere}) == nothing
    for ids in ([uid("zoe")], [uid("maya")], [uid("olga"), uid("hari")]):
        assert found({"users": ids}) == nothing
    for group in ("sales", "guides"):
        assert found({"groups": [gid(group)]}) == nothing


def test_cursors_that_another_caller_was_given_lead_only_to_one_s_own(world: World) -> None:
    query = """
    query($after: String, $order: UserOrder) { viewer { workspace {
      users(first: 3, after: $after, orderBy: $order) { nodes { id } edges { cursor } pageInfo { hasNextPage } }
    } } }"""
    for order in (
        {},
        {"field": "CREDITS", "range": ALL_DAYS},
        {"field": "CREDITS", "direction": "DESC", "range": ALL_DAYS},
    ):
        for owner in ("OWNER", "OTHER_OWNER"):
            page = world.ask(owner, query, order=order)["viewer"]["workspace"]["users"]
            for edge in page["edges"]:
                users = world.ask("MEMBER", query, after=edge["cursor"], order=order)["viewer"]["workspace"]["users"]
                assert {node["id"] for node in users["nodes"]} <= {uid("mo")}
                assert users["pageInfo"] == {"hasNextPage": False}


# Every field of every type, and who is ever answered anything else than null or an empty list there.

ANYBODY = frozenset(CALLERS) - {"UNMAPPED"}
SEE_ALL = frozenset(EVERYONE) | {"OTHER_OWNER"}
SEE_GROUPS = SEE_ALL | {"GROUP_MANAGER"}
SEE_SOMEBODY = SEE_GROUPS | {"MEMBER"}
LINKED = SEE_SOMEBODY - {"READER"}
SETTLE = frozenset({"OWNER", "OTHER_OWNER"})
SEE_AUDIT = SETTLE | {"ADMIN"}
SEE_PRICES = frozenset({"OWNER", "BILLING", "OTHER_OWNER"})
ONLY_BY_RECORDING = frozenset[str]()
"""What a mutation answers: nobody meets it by reading."""
ONLY_BY_HOLDING = frozenset[str]()
"""What those are answered who place, settle and release holds: exactly what is in test_holds.py."""
ONLY_BY_SIMULATING = frozenset[str]()
"""What a dry run answers: who may ask for one is in test_settings.py."""
FIGURES = "credits requests inputTokens cachedInputTokens outputTokens"
MANIFEST: dict[str, dict[str, frozenset[str]]] = {
    "Query": {
        "viewer node nodes workspace": ANYBODY,
        "simulateLimits": ONLY_BY_SIMULATING,
        "authorize": ONLY_BY_HOLDING,
    },
    "Viewer": {"kind subject roles permissions workspace": ANYBODY, "user": LINKED},
    "Workspace": {
        "id slug name zone createdAt users groups": ANYBODY,
        "usage": SEE_ALL,
        "user": SEE_SOMEBODY,
        "group": SEE_SOMEBODY,
        "budget": SEE_SOMEBODY,
        "requests": SEE_GROUPS,
        "limits": SEE_GROUPS,
        "settings": SETTLE,
        "audit": SEE_AUDIT,
        "rates tierMultipliers": SEE_PRICES,
    },
    "CreditLimit": {
        "id appliesTo kind value product model cadence enforcement startsAt expiresAt temporary setAt version target"
        " reason": SEE_SOMEBODY,
        "setBy": SEE_ALL,
    },
    "CreditLimitConnection": {"edges nodes pageInfo totalCount": SEE_GROUPS},
    "CreditLimitEdge": {"node cursor": SEE_GROUPS},
    "LimitedTo": {"amount": SEE_SOMEBODY},
    "Unlimited": {"_": frozenset()},
    "WorkspaceSettings": {
        "multiGroup unknownModel nearPercent managerCeiling autoApprovalPerPeriod cooldownHours requestOpenDays"
        " billingAnchorDay nextBillingAnchorDay nextBillingAnchorFrom version": SETTLE
    },
    "AuditEntry": {"at action actorKind actorSubject actor objectType object user group before after": SEE_AUDIT},
    "AuditValue": {"field value": SEE_AUDIT},
    "AuditEntryConnection": {"edges nodes pageInfo totalCount": SEE_AUDIT},
    "AuditEntryEdge": {"node cursor": SEE_AUDIT},
    "LimitSimulation": {"stops stopCount overBy": ONLY_BY_SIMULATING},
    "SimulatedStop": {
        "target appliesTo limit simulated cadence product model period": ONLY_BY_SIMULATING,
        "stoppedAt used overBy stoppedRequests": ONLY_BY_SIMULATING,
    },
    "SetLimitSuccess": {"limit": ONLY_BY_RECORDING},
    "SetLimitsSuccess": {"limits": ONLY_BY_RECORDING},
    "RemoveLimitSuccess": {"removedId": ONLY_BY_RECORDING},
    "VersionConflict": {"message code path currentVersion current": ONLY_BY_RECORDING},
    "ChangeSettingsSuccess": {"settings": ONLY_BY_RECORDING},
    "SetManagerCeilingSuccess": {"group": ONLY_BY_RECORDING},
    "Rate": {"id product model meter price effectiveFrom effectiveUntil": SEE_PRICES},
    "TierMultiplier": {"id product tier factor effectiveFrom effectiveUntil": SEE_PRICES},
    "User": {"id displayName email kind active version homeGroup groups usage budget budgets requests": SEE_SOMEBODY},
    "Group": {
        "id slug name version members budget memberLimit": SEE_SOMEBODY,
        "usage requests managerCeiling": SEE_GROUPS,
    },
    "Budget": {
        "scope limit source candidates product model used held remaining overBy period resetsAt enforcement status"
        " binding forecast": SEE_SOMEBODY
    },
    "CreditRequest": {
        "id user amount reason duration product model cadence state limitThen usedThen createdAt expiresAt decidedAt"
        " decidedBy automatic decisionNote grantedAmount grantedUntil limit": SEE_SOMEBODY
    },
    "RequestDuration": {"kind until": SEE_SOMEBODY},
    "CreditRequestConnection": {"edges nodes pageInfo totalCount": SEE_SOMEBODY},
    "CreditRequestEdge": {"node cursor": SEE_SOMEBODY},
    "RequestCreditsSuccess": {"request": ONLY_BY_RECORDING},
    "DecideCreditRequestSuccess": {"request": ONLY_BY_RECORDING},
    "CancelCreditRequestSuccess": {"request": ONLY_BY_RECORDING},
    "RequestPending": {"message code path request": ONLY_BY_RECORDING},
    "RequestEnded": {"message code path request": ONLY_BY_RECORDING},
    "CoolingDown": {"message code path until": ONLY_BY_RECORDING},
    "Period": {"cadence start end": SEE_SOMEBODY},
    "Forecast": {"projected runsOutOn method": SEE_SOMEBODY},
    "UserConnection": {"pageInfo totalCount": ANYBODY, "edges nodes": SEE_SOMEBODY},
    "UserEdge": {"node cursor": SEE_SOMEBODY},
    "GroupConnection": {"pageInfo totalCount": ANYBODY, "edges nodes": SEE_SOMEBODY},
    "GroupEdge": {"node cursor": SEE_SOMEBODY},
    "PageInfo": {"hasNextPage hasPreviousPage": ANYBODY, "startCursor endCursor": SEE_SOMEBODY},
    "CreditUsage": {f"{FIGURES} range dataThrough series breakdown": SEE_SOMEBODY},
    "Range": {"start end": SEE_SOMEBODY},
    "UsageSeries": {"key points": SEE_SOMEBODY},
    "UsageKey": {"other user group product model": SEE_SOMEBODY},
    "UsagePoint": {f"{FIGURES} start": SEE_SOMEBODY},
    "UsageBreakdown": {"rows other rowCount": SEE_SOMEBODY},
    "UsageRow": {f"{FIGURES} product model share user group usage": SEE_SOMEBODY},
    "UsageRest": {f"{FIGURES} rowCount": SEE_SOMEBODY},
    "Mutation": {
        "recordUsage setRates removeRate": ONLY_BY_RECORDING,
        "placeHold settleHold releaseHold placeHolds settleHolds releaseHolds": ONLY_BY_HOLDING,
        "setLimit setLimits removeLimit changeSettings setManagerCeiling": ONLY_BY_RECORDING,
        "requestCredits approveCreditRequest denyCreditRequest cancelCreditRequest": ONLY_BY_RECORDING,
        "createUser updateUser deactivateUser reactivateUser endSessions setHomeGroup linkIdentity unlinkIdentity"
        " createGroup updateGroup addGroupMembers removeGroupMembers syncDirectory": ONLY_BY_RECORDING,
    },
    "ChangeUserSuccess": {"userId user": ONLY_BY_RECORDING},
    "ChangeGroupSuccess": {"groupId group": ONLY_BY_RECORDING},
    "SyncDirectorySuccess": {
        "groupsCreated groupsChanged usersCreated usersChanged usersUnchanged usersDeactivated identitiesLinked"
        " errors": ONLY_BY_RECORDING
    },
    "DirectoryItemError": {"path code message": ONLY_BY_RECORDING},
    "Hold": {
        "id source externalId product model amount state placedAt expiresAt overage": SEE_SOMEBODY | {"WRITER"},
        "user": SEE_SOMEBODY,
        "endedAt settledAmount passedSoftLimits": ONLY_BY_HOLDING,
    },
    "BindingBudget": {"appliesTo product model cadence limit remaining resetsAt target": ONLY_BY_HOLDING},
    "BudgetExceeded": {"message code path budget": ONLY_BY_HOLDING},
    "HoldRefused": {"message code path": ONLY_BY_HOLDING},
    "AuthorizationAnswer": {"allowed amount budget": ONLY_BY_HOLDING},
    "PlaceHoldsSuccess": {"results": ONLY_BY_HOLDING},
    "EndHoldsSuccess": {"results": ONLY_BY_HOLDING},
    "RecordUsageSuccess": {"accepted duplicates rejected unpriced": ONLY_BY_RECORDING},
    "SetRatesSuccess": {"rates multipliers": ONLY_BY_RECORDING},
    "RemoveRateSuccess": {"removedId": ONLY_BY_RECORDING},
    "UnknownRate": {"message code path": ONLY_BY_RECORDING},
    "RateInUse": {"message code path": ONLY_BY_RECORDING},
    "RejectedEvent": {"index code message": ONLY_BY_RECORDING},
    "InvalidInput": {"message code path": ONLY_BY_RECORDING},
}
WHO_SEES = {
    f"{type_name}.{field}": who
    for type_name, fields in MANIFEST.items()
    for names, who in fields.items()
    for field in names.split()
}


def answered_fields(value: object) -> Iterator[str]:
    """Return every `Type.field` that holds something."""
    if isinstance(value, list):
        for one in value:
            yield from answered_fields(one)
    if isinstance(value, dict):
        for name, inner in value.items():
            held = [one for one in inner if one is not None] if isinstance(inner, list) else inner
            if held not in (None, []) and name != "__typename":
                yield f"{value.get('__typename', 'Query')}.{name}"
                yield from answered_fields(inner)


def test_every_field_of_every_type_has_said_who_sees_it() -> None:
    types = composite_types(schema)
    objects = {name for name, type_ in types.items() if isinstance(type_, GraphQLObjectType)}
    fields = {f"{type_name}.{field}" for type_name, field, _ in every_field(schema) if type_name in objects}
    assert fields == set(WHO_SEES)


@pytest.mark.parametrize("caller", CALLERS)
def test_a_field_holds_something_for_exactly_those_who_see_it(
    answered: dict[str, list[dict[str, Any]]], caller: str
) -> None:
    found = set(answered_fields([answer.get("data") for answer in answered[caller]]))
    expected = {field for field, who in WHO_SEES.items() if caller in who}
    assert found <= expected
    assert found == expected or caller in EVERYONE[1:]


# Changing.

RECORD = """
mutation($events: [UsageEventInput!]!) { recordUsage(input: {events: $events}) {
  __typename ... on RecordUsageSuccess { accepted duplicates rejected { index code message } }
  ... on InvalidInput { message code path }
} }"""


def new_event(id_: str, **changes: object) -> dict[str, object]:
    return {
        "source": "test",
        "id": id_,
        "at": "2026-06-01T12:00:00+02:00",
        "user": {"id": uid("mo")},
        "product": "chat",
        "model": "large",
        "credits": "12.5",
    } | changes


@pytest.mark.parametrize("caller", [caller for caller in CALLERS if caller != "WRITER"])
def test_nobody_but_a_service_that_may_write_records_usage_and_nothing_is_changed(world: World, caller: str) -> None:
    before = world.row_counts()
    answer = world.answer(caller, RECORD, events=[new_event("denied")])
    assert answer["data"] is None
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    assert world.row_counts() == before


def test_a_service_that_may_write_records_usage_and_cannot_read_it(world: World) -> None:
    events = [new_event("1"), new_event("2", user={"email": email_of("zoe").upper()}), new_event("1")]
    success = {"__typename": "RecordUsageSuccess", "accepted": 2, "duplicates": 1, "rejected": []}
    assert world.ask("WRITER", RECORD, events=events) == {"recordUsage": success}
    own = "viewer { workspace { usage(range: {preset: LAST_90_DAYS}) { credits } users { totalCount } } }"
    assert world.ask("WRITER", f"{{ {own} }}") == {"viewer": {"workspace": {"usage": None, "users": {"totalCount": 0}}}}
    stored = world.sql("SELECT credits, group_id FROM usage_event WHERE source = 'test' ORDER BY external_id")
    assert stored == [(12_500_000, group_id("research")), (12_500_000, group_id("sales"))]


def test_a_service_records_for_users_of_its_own_workspace_only(world: World) -> None:
    before = world.row_counts()
    names = [{"id": uid("maya")}, {"email": email_of("maya")}, {"externalId": external_id_of("maya")}]
    nobody = [{"id": uid("nobody")}, {"email": email_of("nobody")}, {"externalId": external_id_of("nobody")}]

    def outcome(users: list[dict[str, str]]) -> Any:
        events = [new_event(f"foreign-{number}", user=user) for number, user in enumerate(users)]
        return world.ask("WRITER", RECORD, events=events)["recordUsage"]

    assert outcome(names) == outcome(nobody)
    assert [one["code"] for one in outcome(names)["rejected"]] == ["UNKNOWN_USER"] * 3
    assert world.row_counts() == before


def test_whatever_spends_asks_for_a_permission_that_no_person_has(world: World) -> None:
    spends = set(re.findall(r"(\w+)\([^()]*\): \w+! @requires\(permission: USAGE_WRITE\)", schema_text()))
    ends = {"settleHold", "settleHolds", "releaseHold", "releaseHolds"}
    assert spends == {"recordUsage", "placeHold", "placeHolds", "authorize"} | ends
    for caller in CALLERS:
        permissions = world.answer(caller, "{ viewer { permissions } }")["data"]
        if caller != "UNMAPPED":
            assert ("USAGE_WRITE" in permissions["viewer"]["permissions"]) is (caller == "WRITER")


# Tokens.


def test_no_token_is_answered_with_a_challenge_that_names_no_error(world: World) -> None:
    response = world.run(world.http.post("/", json={"query": "{ viewer { subject } }"}))
    assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Bearer realm="creditdesk"')
    assert response.headers["content-type"] == "application/json"
    assert [error["extensions"]["code"] for error in response.json()["errors"]] == ["UNAUTHENTICATED"]
    assert "data" not in response.json()


REFUSED_TOKENS: dict[str, dict[str, Any]] = {
    "an unknown workspace": {"workspace": "no-such-workspace"},
    "no workspace": {"workspace": None},
    "an expired token": {"exp": 1_700_000_000},
    "another audience": {"aud": "urn:another"},
    "another issuer": {"iss": "https://issuer.example"},
    "a deactivated user": {"sub": "ina"},
    "a slug that is no text": {"workspace": ["acme"]},
}


@pytest.mark.parametrize("why", REFUSED_TOKENS)
def test_a_token_that_is_not_valid_here_is_refused_without_a_reason_for_guessing(world: World, why: str) -> None:
    claims = {"sub": "mo", "workspace": workspace_slug("acme"), "roles": ["owner"]} | REFUSED_TOKENS[why]
    headers = {"authorization": f"Bearer {world.site.token(**claims)}"}
    before = world.row_counts()
    for query in ("{ viewer { subject } }", RECORD):
        body = {"query": query, "variables": {"events": [new_event("refused")]}}
        response = world.run(world.http.post("/", json=body, headers=headers))
        assert response.status_code == 401
        assert 'error="invalid_token"' in response.headers["www-authenticate"]
        expired = {"message": "The access token has expired. Get a new one."} if "expired" in why else {}
        assert response.json() == {"errors": [UNAUTHENTICATED | expired]}
    assert world.row_counts() == before


UNAUTHENTICATED = {
    "message": "There is no token, or it is not valid here. Sign in again.",
    "extensions": {"code": "UNAUTHENTICATED"},
}


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5", "bearer \xff", "Bearer a b", ""]
)
def test_what_is_no_token_is_refused(world: World, header: str) -> None:
    body = {"query": "{ viewer { subject } }"}
    response = world.run(world.http.post("/", json=body, headers={b"authorization": header.encode("latin-1")}))
    assert (response.status_code, response.json()) == (401, {"errors": [UNAUTHENTICATED]})
    assert response.headers["www-authenticate"].startswith('Bearer realm="creditdesk"')


def test_nobody_reads_an_answer_out_of_a_shared_cache(world: World) -> None:
    response = world.run(world.posting("OWNER", "{ viewer { subject } }"))
    assert response.headers["cache-control"] == "private, no-store"
