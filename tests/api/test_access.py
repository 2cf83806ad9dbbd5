"""Who sees what: everything that the schema offers, asked by everybody."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from creditdesk.credits.amounts import format_credits
from creditdesk.credits.event_rules import UsageEvent, UserBy
from creditdesk.graphql.schema import schema_text
from support.canaries import seen_by
from support.databases import FreshDatabase
from support.everything import DOCUMENTS, IDS, NOWHERE, furnish, gid, uid
from support.manifest import field_named, manifest
from support.rows import FOREIGN_OWNER, SEATS, Rows, held_cells, row_word
from support.world import (
    ALL_DAYS,
    CALLERS,
    EVERYONE,
    NOW,
    USES,
    World,
    all_canaries,
    canary,
    email_of,
    external_id_of,
    group_id,
    group_slug,
    id_of,
    record,
    shown_id,
    user_id,
    workspace_id,
    workspace_slug,
    world_of,
)


def answers(world: World, caller: str, documents: Sequence[tuple[str, dict[str, str]]]) -> list[dict[str, Any]]:
    # A few at once, as a client would: all of them would wait for connections longer than the server lets them.
    asked = [(caller, query, variables) for query, variables in documents]
    return [answer for start in range(0, len(asked), 4) for answer in world.ask_together(asked[start : start + 4])]


class Answered(dict[str, list[dict[str, Any]]]):
    """What each caller is told, asked when a test first needs it: all of them together take minutes."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        # Those who see everyone are told a lot: the owner is told all of it, each of the others a part.
        several = [caller for caller in EVERYONE if caller != "OWNER"]
        self._parts = {caller: DOCUMENTS[place :: len(several)] for place, caller in enumerate(several)}

    def __missing__(self, caller: str) -> list[dict[str, Any]]:
        self[caller] = answers(self._world, caller, self._parts.get(caller, DOCUMENTS))
        return self[caller]


@pytest.fixture(scope="module")
def answered(world: World) -> Answered:
    furnish(world)
    return Answered(world)


@pytest.mark.parametrize("caller", CALLERS)
def test_whatever_is_asked_nothing_is_told_of_anybody_the_caller_may_not_see(answered: Answered, caller: str) -> None:
    text = json.dumps(answered[caller], ensure_ascii=False)
    canaries = all_canaries()
    told = {canaries[found] for found in re.findall(r"cy[0-9a-f]{14}", text)}
    assert told <= seen_by(caller)
    # Nor is it for want of asking.
    assert told == seen_by(caller) or caller in EVERYONE[1:]


@pytest.mark.parametrize("caller", CALLERS)
def test_whatever_is_asked_no_id_is_given_out_of_anybody_the_caller_may_not_see(
    answered: Answered, caller: str
) -> None:
    text = json.dumps(answered[caller])
    told = {owner for owner, id_ in IDS.items() if f'"{id_}"' in text}
    assert told <= seen_by(caller)
    with_ids = {owner for owner in seen_by(caller) if not owner.startswith(("product", "reason", "note"))}
    assert told == with_ids or caller in EVERYONE[1:]


@pytest.mark.parametrize("caller", [caller for caller in CALLERS if caller != "UNMAPPED"])
def test_everything_may_be_asked_without_an_error(answered: Answered, caller: str) -> None:
    assert [answer["errors"] for answer in answered[caller] if "errors" in answer] == []


def test_roles_that_are_not_mapped_are_forbidden_everything(answered: Answered) -> None:
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


# What each of these answers holds is what the manifest says; test_access_matrix.py asks for all of it, row by row.

OF_THE_MANIFEST = {"READER": "usage:read", "WRITER": "usage:write", "UNMAPPED": "no role", "UNLINKED": "no user"}


@pytest.mark.parametrize("caller", CALLERS)
def test_whatever_is_asked_a_field_holds_something_only_in_rows_that_the_manifest_says(
    world: World, answered: Answered, caller: str
) -> None:
    seat = SEATS[OF_THE_MANIFEST.get(caller, caller)] if caller != "OTHER_OWNER" else FOREIGN_OWNER
    rows, above = Rows.of(world), ("workspace", seat.place)
    who = "OWNER" if caller == "OTHER_OWNER" else OF_THE_MANIFEST.get(caller, caller)
    wrong = {
        f"{name} of {owner}"
        for answer in answered[caller]
        for name, owner in set(held_cells(rows, answer.get("data"), above))
        if not name.startswith("Query.") and row_word(seat, owner) not in manifest().expected(who, field_named(name))
    }
    assert wrong == set()


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
