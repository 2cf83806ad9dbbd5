"""Reading people and usage over the API: look-ups, lists, figures, filters, series, ranges."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from creditdesk.credits.amounts import format_credits, parse_credits
from creditdesk.credits.directory import UserKind, sort_name
from creditdesk.credits.event_rules import UsageEvent, UserBy
from support.world import (
    ACME,
    ALL_DAYS,
    FIRST_DAY,
    LAST_DAY,
    USES,
    Use,
    World,
    canary,
    email_of,
    external_id_of,
    group_id,
    group_slug,
    own_product,
    record,
    shown_id,
    user_id,
    uses_of,
    workspace_id,
    workspace_slug,
)

BERLIN = ZoneInfo("Europe/Berlin")
ACME_USES = uses_of("acme")
PEOPLE = {person.name: person for person in ACME.people}


def uid(person: str) -> str:
    return shown_id("User", user_id(person))


def gid(group: str) -> str:
    return shown_id("Group", group_id(group))


def members_of(group: str) -> set[str]:
    """Return who is in a group now, after those who move have moved."""
    return {one.name for one in ACME.people if group in ((one.moves_to,) if one.moves_to else one.groups)}


def spent(uses: list[Use]) -> str:
    return format_credits(sum(use.figures[0] for use in uses))


def figures(uses: list[Use]) -> dict[str, str]:
    sums = [sum(use.figures[column] for use in uses) for column in range(5)]
    names = ("requests", "inputTokens", "cachedInputTokens", "outputTokens")
    return {
        "credits": format_credits(sums[0]),
        **{name: str(value) for name, value in zip(names, sums[1:], strict=True)},
    }


SHOWN = "credits requests inputTokens cachedInputTokens outputTokens"


# The caller, and objects by their names.


def test_the_viewer_is_the_token_s_subject_with_its_roles_and_permissions(world: World) -> None:
    query = "{ viewer { kind subject roles permissions workspace { slug name zone createdAt } user { id email } } }"
    assert world.ask("GROUP_MANAGER", query)["viewer"] == {
        "kind": "PERSON",
        "subject": "gina",
        "roles": ["GROUP_MANAGER"],
        "permissions": [
            "WORKSPACE_READ",
            "OWN_READ",
            "USAGE_READ",
            "CREDITS_REQUEST",
            "REQUESTS_DECIDE",
            "LIMITS_WRITE",
        ],
        "workspace": {
            "slug": workspace_slug("acme"),
            "name": f"The acme {canary('workspace', 'acme')}",
            "zone": "Europe/Berlin",
            "createdAt": "2026-06-20T10:00:00Z",
        },
        "user": {"id": uid("gina"), "email": email_of("gina")},
    }
    service = world.ask("READER", query)["viewer"]
    assert (service["kind"], service["roles"], service["user"]) == ("SERVICE", ["SERVICE"], None)
    assert service["permissions"] == ["WORKSPACE_READ", "USAGE_READ"]


def test_every_object_is_found_again_by_its_id(world: World) -> None:
    ids = [uid("zoe"), gid("sales"), shown_id("Workspace", workspace_id("acme")), uid("zoe")]
    query = """query($ids: [ID!]!, $id: ID!) { node(id: $id) { id __typename } nodes(ids: $ids) { id __typename
      ... on User { displayName email kind active homeGroup { slug } groups { slug } } ... on Group { slug name } } }"""
    zoe = {
        "id": ids[0],
        "__typename": "User",
        "displayName": f"Zoë Müller {canary('user', 'zoe')}",
        "email": email_of("zoe"),
        "kind": "PERSON",
        "active": True,
        "homeGroup": {"slug": group_slug("sales")},
        "groups": [{"slug": group_slug("sales")}],
    }
    sales = {"slug": group_slug("sales"), "name": f"Sales {canary('group', 'sales')}"}
    answer = world.ask("OWNER", query, ids=ids, id=ids[1])
    assert answer["node"] == {"id": ids[1], "__typename": "Group"}
    assert answer["nodes"] == [
        zoe,
        {"id": ids[1], "__typename": "Group", **sales},
        {"id": ids[2], "__typename": "Workspace"},
        zoe,
    ]


@pytest.mark.parametrize(
    "by",
    [
        {"id": uid("zoe")},
        {"email": email_of("zoe")},
        {"email": email_of("zoe").upper()},
        {"externalId": external_id_of("zoe")},
    ],
)
def test_a_user_is_found_in_each_way(world: World, by: dict[str, str]) -> None:
    query = "query($by: UserBy!) { viewer { workspace { user(by: $by) { id } } } }"
    assert world.ask("OWNER", query, by=by)["viewer"]["workspace"]["user"] == {"id": uid("zoe")}


def test_groups_and_the_workspace_are_found_in_each_way_and_nothing_else_is(world: World) -> None:
    group = "query($by: GroupBy!) { viewer { workspace { group(by: $by) { id } } } }"
    for by, found in (
        ({"id": gid("sales")}, True),
        ({"slug": group_slug("sales")}, True),
        ({"slug": "sales"}, False),
        ({"slug": ""}, False),
    ):
        expected = {"id": gid("sales")} if found else None
        assert world.ask("OWNER", group, by=by)["viewer"]["workspace"]["group"] == expected
    query = "query($by: WorkspaceBy!) { workspace(by: $by) { slug } }"
    ours = {"slug": workspace_slug("acme")}
    for by, expected in (
        (ours, ours),
        ({"id": shown_id("Workspace", workspace_id("acme"))}, ours),
        ({"slug": "acme"}, None),
    ):
        assert world.ask("OWNER", query, by=by)["workspace"] == expected
    user = "query($by: UserBy!) { viewer { workspace { user(by: $by) { id } } } }"
    for nobody in ({"email": "nobody@example.com"}, {"externalId": external_id_of("zoe").lower()}, {"email": ""}):
        assert world.ask("OWNER", user, by=nobody)["viewer"]["workspace"]["user"] is None


def test_people_are_shown_as_they_are_now(world: World) -> None:
    query = """query($ids: [ID!]!) { nodes(ids: $ids) { ... on User {
      kind active homeGroup { id } groups { id } } } }"""
    names = ["nora", "robo", "ina", "lee", "mia"]
    nora, robo, ina, lee, mia = world.ask("OWNER", query, ids=[uid(name) for name in names])["nodes"]
    assert nora == {"kind": "PERSON", "active": True, "homeGroup": None, "groups": []}
    assert (robo["kind"], ina["active"]) == ("SERVICE_ACCOUNT", False)
    assert lee["homeGroup"] == {"id": gid("sales")}
    assert lee["groups"] == [{"id": gid("sales")}]
    assert mia["groups"] == [{"id": gid("design")}, {"id": gid("research")}]


# Lists.

PAGE = """query($first: Int, $after: String, $last: Int, $before: String, $order: %sOrder) { viewer { workspace {
  %s(first: $first, after: $after, last: $last, before: $before, orderBy: $order) {
    totalCount nodes { id } edges { cursor node { id } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  } } } }"""
LISTS = {"users": PAGE % ("User", "users"), "groups": PAGE % ("Group", "groups")}
# In these days some have used nothing, so that many are equal by credits.
FEW_DAYS = {"days": {"first": "2026-03-14", "last": "2026-03-14"}}


def expected_order(what: str, order: dict[str, Any]) -> list[str]:
    names = {
        "users": [(sort_name(f"{one.title} {canary('user', one.name)}"), user_id(one.name)) for one in ACME.people],
        "groups": [
            (sort_name(f"{name} {canary('group', slug)}"), group_id(slug)) for slug, name in ACME.groups.items()
        ],
    }[what]
    down = order.get("direction") == "DESC"
    kind = "User" if what == "users" else "Group"
    ranked = sorted(names, key=lambda one: (one[0].encode(), one[1]), reverse=down and order.get("field") != "CREDITS")
    if order.get("field") == "CREDITS":
        days = order["range"]["days"]
        credits: Counter[Any] = Counter()  # noqa: A001 - the product's word
        for use in ACME_USES:
            day = use.event.at.astimezone(BERLIN).date()
            if date.fromisoformat(days["first"]) <= day <= date.fromisoformat(days["last"]):
                whose = user_id(use.person) if what == "users" else group_id(use.group or "-")
                credits[whose] += use.figures[0]
        ranked.sort(key=lambda one: -credits[one[1]] if down else credits[one[1]])
    return [shown_id(kind, id_) for _, id_ in ranked]


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize("range_", [ALL_DAYS, FEW_DAYS], ids=["all days", "few days"])
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("field", ["NAME", "CREDITS"])
@pytest.mark.parametrize("what", LISTS)
def test_pages_forward_and_backward_are_the_list_once_and_in_order(
    world: World, *, what: str, field: str, direction: str, range_: dict[str, Any], size: int
) -> None:
    order = {"field": field, "direction": direction} | ({"range": range_} if field == "CREDITS" else {})
    whole = expected_order(what, order)
    for size_name, cursor_name, end, more in (
        ("first", "after", "endCursor", "hasNextPage"),
        ("last", "before", "startCursor", "hasPreviousPage"),
    ):
        found: list[str] = []
        variables: dict[str, Any] = {size_name: size, "order": order}
        while True:
            page = world.ask("OWNER", LISTS[what], **variables)["viewer"]["workspace"][what]
            ids = [node["id"] for node in page["nodes"]]
            assert ids == [edge["node"]["id"] for edge in page["edges"]]
            assert page["totalCount"] == len(whole)
            assert (page["pageInfo"]["startCursor"], page["pageInfo"]["endCursor"]) == (
                page["edges"][0]["cursor"],
                page["edges"][-1]["cursor"],
            )
            found = found + ids if size_name == "first" else ids + found
            if not page["pageInfo"][more]:
                break
            variables[cursor_name] = page["pageInfo"][end]
            assert len(found) < len(whole)
        assert found == whole


def test_a_page_says_what_is_before_and_behind_it(world: World) -> None:
    info = "pageInfo { hasNextPage hasPreviousPage }"
    query = f"""query($after: String, $before: String) {{ viewer {{ workspace {{
      all: users(first: 100) {{ edges {{ cursor }} {info} }} none: users(filter: {{search: "nobody"}}) {{
        nodes {{ id }} {info} totalCount }}
      forward: users(first: 3, after: $after) {{ {info} }} backward: users(last: 3, before: $before) {{ {info} }}
    }} }} }}"""
    lists = world.ask("OWNER", query)["viewer"]["workspace"]
    cursors = [edge["cursor"] for edge in lists["all"]["edges"]]
    assert lists["none"] == {
        "nodes": [],
        "pageInfo": {"hasNextPage": False, "hasPreviousPage": False},
        "totalCount": 0,
    }
    assert lists["forward"]["pageInfo"] == {"hasNextPage": True, "hasPreviousPage": False}
    assert lists["backward"]["pageInfo"] == {"hasNextPage": False, "hasPreviousPage": True}
    middle = world.ask("OWNER", query, after=cursors[3], before=cursors[8])["viewer"]["workspace"]
    for page in (middle["forward"], middle["backward"]):
        assert page["pageInfo"] == {"hasNextPage": True, "hasPreviousPage": True}


def test_a_cursor_is_of_one_order_only(world: World) -> None:
    orders: list[dict[str, Any]] = [
        {},
        {"direction": "DESC"},
        {"field": "CREDITS", "range": ALL_DAYS},
        {"field": "CREDITS", "range": FEW_DAYS},
        {"field": "CREDITS", "direction": "DESC", "range": ALL_DAYS},
    ]
    for given in orders:
        page = world.ask("OWNER", LISTS["users"], first=2, order=given)["viewer"]["workspace"]["users"]
        cursor = page["pageInfo"]["endCursor"]
        for other in orders:
            expected = [] if other == given else ["INVALID_CURSOR"]
            assert world.errors("OWNER", LISTS["users"], after=cursor, order=other) == expected
            assert world.errors("OWNER", LISTS["users"], before=cursor, order=other) == expected


def test_credits_of_this_month_order_a_list_that_names_no_range(world: World) -> None:
    now = datetime.now(UTC)
    event = UsageEvent("now", "order", now, UserBy(id=user_id("nora")), "chat", "large", 10**13)
    world.run(record(world.database, "acme", [event], now=now))
    page = world.ask("OWNER", LISTS["users"], first=1, order={"field": "CREDITS", "direction": "DESC"})
    assert page["viewer"]["workspace"]["users"]["nodes"] == [{"id": uid("nora")}]


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ({}, set(PEOPLE)),
        ({"search": "MULLER"}, {"zoe"}),
        ({"search": "müller"}, {"zoe"}),
        ({"search": "Zoë m"}, {"zoe"}),
        ({"search": "owner"}, {"olga"}),
        ({"search": email_of("mo").upper()}, {"mo"}),
        ({"search": "@EXAMPLE.com"}, set(PEOPLE) - {"robo"}),
        ({"search": "%"}, set()),
        ({"search": "_"}, set()),
        ({"search": ""}, set(PEOPLE)),
        ({"kind": "SERVICE_ACCOUNT"}, {one.name for one in ACME.people if one.kind is UserKind.SERVICE_ACCOUNT}),
        ({"active": False}, {"ina"}),
        ({"active": True, "kind": "PERSON"}, set(PEOPLE) - {"ina", "robo"}),
        ({"groups": [gid("research")]}, {"mo", "mia", "ina"}),
        ({"groups": [gid("research"), gid("design")]}, {"mo", "mia", "ina", "gina"}),
        ({"groups": []}, set()),
        ({"groups": [gid("guides")]}, set()),
        ({"groups": [gid("research")], "active": True, "search": "member"}, {"mo"}),
    ],
)
def test_users_are_narrowed_by_every_part_of_a_filter(world: World, filter_: dict[str, Any], found: set[str]) -> None:
    query = """query($filter: UserFilter) { viewer { workspace {
      users(filter: $filter, first: 100) { totalCount nodes { id } } } } }"""
    users = world.ask("OWNER", query, filter=filter_)["viewer"]["workspace"]["users"]
    assert {node["id"] for node in users["nodes"]} == {uid(name) for name in found}
    assert users["totalCount"] == len(found)


@pytest.mark.parametrize(
    ("search", "found"), [("RESEARCH", {"research"}), ("åland", {"platform"}), ("s", {"research", "design", "sales"})]
)
def test_groups_are_searched_without_case_and_accents(world: World, search: str, found: set[str]) -> None:
    query = """query($search: String) { viewer { workspace {
      groups(filter: {search: $search}) { totalCount nodes { id } } } } }"""
    groups = world.ask("OWNER", query, search=search)["viewer"]["workspace"]["groups"]
    assert {node["id"] for node in groups["nodes"]} == {gid(name) for name in found}
    assert groups["totalCount"] == len(found)


def test_members_are_paged_for_each_group_by_itself(world: World) -> None:
    query = """{ viewer { workspace { groups { nodes { id
      members(first: 2) { totalCount nodes { id } pageInfo { hasNextPage } }
      all: members(last: 100, orderBy: {direction: DESC}) { nodes { id } } } } } } }"""
    for group in world.ask("OWNER", query)["viewer"]["workspace"]["groups"]["nodes"]:
        [slug] = [slug for slug in ACME.groups if gid(slug) == group["id"]]
        everybody = [uid(name) for name in PEOPLE if name in members_of(slug)]
        in_order = [id_ for id_ in expected_order("users", {}) if id_ in everybody]
        assert group["members"] == {
            "totalCount": len(in_order),
            "nodes": [{"id": id_} for id_ in in_order[:2]],
            "pageInfo": {"hasNextPage": len(in_order) > 2},
        }
        assert [node["id"] for node in group["all"]["nodes"]] == in_order[::-1]


# Usage.


def test_every_scope_s_figures_are_the_sums_of_its_events(world: World) -> None:
    query = f"""query($range: RangeInput!) {{ viewer {{ workspace {{ usage(range: $range) {{ {SHOWN} }}
      groups {{ nodes {{ id usage(range: $range) {{ {SHOWN} }}
        members: usage(range: $range, attribution: MEMBERS) {{ {SHOWN} }} }} }}
      users(first: 100) {{ nodes {{ id usage(range: $range) {{ {SHOWN} }} }} }} }} }} }}"""
    workspace = world.ask("OWNER", query, range=ALL_DAYS)["viewer"]["workspace"]
    assert workspace["usage"] == figures(ACME_USES)
    for group in workspace["groups"]["nodes"]:
        [slug] = [slug for slug in ACME.groups if gid(slug) == group["id"]]
        # Lee's use stays charged to research, and goes along to sales as a member's.
        assert group["usage"] == figures([use for use in ACME_USES if use.group == slug])
        assert group["members"] == figures([use for use in ACME_USES if use.person in members_of(slug)])
    for user in workspace["users"]["nodes"]:
        [name] = [name for name in PEOPLE if uid(name) == user["id"]]
        assert user["usage"] == figures([use for use in ACME_USES if use.person == name])


@pytest.mark.parametrize(
    ("filter_", "fits"),
    [
        ({"products": ["chat"]}, lambda use: use.event.product == "chat"),
        ({"products": ["chat", "api"], "models": ["tiny", "small"]},
         lambda use: use.event.product in ("chat", "api") and use.event.model in ("tiny", "small")),
        ({"products": [own_product("lee", "research")]},
         lambda use: use.event.product == own_product("lee", "research")),
        ({"groups": [gid("research"), gid("sales")]}, lambda use: use.group in ("research", "sales")),
        ({"users": [uid("lee"), uid("nora")], "groups": [gid("research")]}, lambda use: use.person == "lee"),
        ({"users": [uid("maya")]}, lambda _: False),
        ({"products": []}, lambda _: False),
        ({"models": ["LARGE"]}, lambda _: False),
        ({}, lambda _: True),
    ],
)  # fmt: skip
def test_usage_is_narrowed_by_every_part_of_a_filter(world: World, filter_: dict[str, Any], fits: Any) -> None:
    query = f"""query($range: RangeInput!, $filter: UsageFilter) {{ viewer {{ workspace {{
      usage(range: $range, filter: $filter) {{ {SHOWN}
        breakdown(by: [USER], first: 100) {{ rows {{ user {{ id }} {SHOWN} }} }} }} }} }} }}"""
    usage = world.ask("OWNER", query, range=ALL_DAYS, filter=filter_)["viewer"]["workspace"]["usage"]
    fitting = [use for use in ACME_USES if fits(use)]
    rows = {row.pop("user")["id"]: row for row in usage.pop("breakdown")["rows"]}
    assert usage == figures(fitting)
    assert rows == {
        uid(name): figures([use for use in fitting if use.person == name]) for name in {use.person for use in fitting}
    }


@pytest.mark.parametrize(
    ("order", "rank"),
    [("CREDITS_DESC", lambda f: -f[0]), ("CREDITS_ASC", lambda f: f[0]), ("REQUESTS_DESC", lambda f: -f[1]),
     ("TOKENS_DESC", lambda f: -sum(f[2:]))],
)  # fmt: skip
def test_rows_are_in_order_with_their_shares(world: World, order: str, rank: Any) -> None:
    query = """query($range: RangeInput!, $order: UsageOrder!) { viewer { workspace { usage(range: $range) {
      breakdown(by: [MODEL, PRODUCT], first: 4, orderBy: $order) {
        rowCount rows { product model credits share } other { rowCount credits } } } } } }"""
    usage = world.ask("OWNER", query, range=ALL_DAYS, order=order)["viewer"]["workspace"]["usage"]
    sums: dict[tuple[str, str], list[int]] = {}
    for use in ACME_USES:
        key = (use.event.product, use.event.model)
        sums[key] = [sum(pair) for pair in zip(sums.get(key, [0] * 5), use.figures, strict=True)]
    ranked = sorted(sums, key=lambda key: (rank(sums[key]), key))
    total = sum(one[0] for one in sums.values())
    assert usage["breakdown"]["rows"] == [
        {"product": key[0], "model": key[1], "credits": format_credits(sums[key][0]), "share": sums[key][0] / total}
        for key in ranked[:4]
    ]
    rest = format_credits(sum(sums[key][0] for key in ranked[4:]))
    assert usage["breakdown"]["other"] == {"rowCount": len(ranked) - 4, "credits": rest}
    assert usage["breakdown"]["rowCount"] == len(ranked)


def test_usage_charged_to_no_group_is_a_row_without_one(world: World) -> None:
    query = """query($range: RangeInput!) { viewer { workspace { usage(range: $range) {
      breakdown(by: [GROUP]) { rows { credits group { id } usage { breakdown(by: [USER]) { rows { user { id } } } } } }
      series(interval: MONTH, by: GROUP) { key { other group { id } } } } } } }"""
    usage = world.ask("OWNER", query, range=ALL_DAYS)["viewer"]["workspace"]["usage"]
    [row] = [row for row in usage["breakdown"]["rows"] if row["group"] is None]
    assert row["credits"] == spent([use for use in ACME_USES if use.group is None])
    assert row["usage"]["breakdown"]["rows"] == [{"user": {"id": uid("nora")}}]
    assert {"other": False, "group": None} in [series["key"] for series in usage["series"]]


def test_a_series_has_a_point_for_every_interval_with_zeros_where_nothing_was_used(world: World) -> None:
    query = """query($range: RangeInput!) { viewer { user { usage(range: $range) { series(interval: DAY) {
      key { other } points { start credits } } } } } }"""
    days = {"days": {"first": "2026-03-01", "last": "2026-04-01"}}
    [series] = world.ask("MEMBER", query, range=days)["viewer"]["user"]["usage"]["series"]
    by_day: Counter[date] = Counter()
    for use in ACME_USES:
        if use.person == "mo":
            by_day[use.event.at.astimezone(BERLIN).date()] += use.figures[0]
    expected = []
    for offset in range(32):
        day = date(2026, 3, 1) + timedelta(days=offset)
        start = datetime(day.year, day.month, day.day, tzinfo=BERLIN).astimezone(UTC)
        expected.append({"start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "credits": format_credits(by_day[day])})
    assert series == {"key": None, "points": expected}
    assert expected[0]["credits"] == "0"


@pytest.mark.parametrize(("interval", "points"), [("HOUR", 23), ("DAY", 1), ("WEEK", 1), ("MONTH", 1)])
def test_the_day_that_clocks_spring_forward_has_23_hours_and_they_add_up(
    world: World, interval: str, points: int
) -> None:
    query = """query($range: RangeInput!, $interval: Interval!) { viewer { workspace { usage(range: $range) {
      credits series(interval: $interval) { points { start credits } }
      users: series(interval: $interval, by: USER, first: 2) { key { other } points { credits } } } } } }"""
    day = {"days": {"first": "2026-03-29", "last": "2026-03-29"}}
    usage = world.ask("OWNER", query, range=day, interval=interval)["viewer"]["workspace"]["usage"]
    on_it = [use for use in ACME_USES if use.event.at.astimezone(BERLIN).date() == date(2026, 3, 29)]
    assert len(on_it) > 20
    assert usage["credits"] == spent(on_it)
    [series] = usage["series"]
    assert len(series["points"]) == points
    assert sum(parse_credits(point["credits"]) for point in series["points"]) == parse_credits(usage["credits"])
    assert [one["key"]["other"] for one in usage["users"]] == [False, False, True]
    parts = [parse_credits(point["credits"]) for one in usage["users"] for point in one["points"]]
    assert sum(parts) == parse_credits(usage["credits"])


def test_instants_are_half_open_and_meet_without_gap_or_overlap(world: World) -> None:
    query = (
        "query($range: RangeInput!) { viewer { workspace { usage(range: $range) { credits range { start end } } } } }"
    )
    moments = ["2026-03-10T00:00:00Z", "2026-03-29T00:30:00.5Z", "2026-04-11T23:59:59+05:45", "2026-06-21T00:00:00Z"]
    total = 0
    for start, end in pairwise(moments):
        asked = {"instants": {"start": start, "end": end}}
        usage = world.ask("OWNER", query, range=asked)["viewer"]["workspace"]["usage"]
        first, last = (datetime.fromisoformat(moment) for moment in (start, end))
        assert usage["credits"] == spent([use for use in ACME_USES if first <= use.event.at < last])
        assert datetime.fromisoformat(usage["range"]["start"]) == first
        assert usage["range"]["end"].endswith("Z")
        total += parse_credits(usage["credits"])
    assert format_credits(total) == spent(ACME_USES)


def test_presets_are_days_of_the_workspace_s_zone_and_reports_say_how_fresh_they_are(world: World) -> None:
    now = datetime.now(UTC)
    events = [
        UsageEvent("preset", f"{days}", now - timedelta(days=days), UserBy(id=user_id("robo")), "preset", "m", 10**days)
        for days in range(6)
    ]
    world.run(record(world.database, "acme", events, now=now))
    query = """query($preset: RangePreset!) { viewer { workspace { usage(
      range: {preset: $preset}, filter: {products: ["preset"]}) { credits dataThrough range { start end } } } } }"""
    for preset, expected in (
        ("TODAY", 1),
        ("LAST_7_DAYS", 111_111),
        ("LAST_30_DAYS", 111_111),
        ("LAST_90_DAYS", 111_111),
    ):
        usage = world.ask("OWNER", query, preset=preset)["viewer"]["workspace"]["usage"]
        assert usage["credits"] == format_credits(expected)
        assert now <= datetime.fromisoformat(usage["dataThrough"]) <= datetime.now(UTC)
        assert datetime.fromisoformat(usage["range"]["start"]).astimezone(BERLIN).hour == 0
    this, last = (
        world.ask("OWNER", query, preset=preset)["viewer"]["workspace"]["usage"]["range"]
        for preset in ("THIS_MONTH", "LAST_MONTH")
    )
    assert last["end"] == this["start"]


def test_what_was_just_recorded_is_in_the_next_report(world: World) -> None:
    query = """{ viewer { workspace { usage(range: {preset: TODAY}, filter: {products: ["fresh"]}) { credits } } } }"""
    for number in range(1, 4):
        now = datetime.now(UTC)
        event = UsageEvent("fresh", f"{number}", now, UserBy(id=user_id("robo")), "fresh", "m", 1_000_000)
        world.run(record(world.database, "acme", [event], now=now))
        assert world.ask("OWNER", query)["viewer"]["workspace"]["usage"] == {"credits": str(number)}


def test_the_world_s_events_are_all_in_its_days() -> None:
    zone = {"acme": BERLIN, "himal": ZoneInfo("Asia/Kathmandu")}
    days = [use.event.at.astimezone(zone[use.place]).date().isoformat() for use in USES]
    assert FIRST_DAY <= min(days) <= max(days) <= LAST_DAY
