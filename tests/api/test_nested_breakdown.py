"""Nested breakdowns: exact at every level, in a number of statements that depends on the depth and on nothing else."""

from typing import Any

import pytest

from creditdesk.credits.amounts import format_credits, parse_credits
from creditdesk.credits.directory import NewGroup, NewUser, UserKind, put_groups, put_users
from creditdesk.credits.event_rules import UsageEvent, UserBy
from creditdesk.db.scopes import DatabaseRole, RowScope
from support.databases import FreshDatabase
from support.world import ACME, ALL_DAYS, NOW, USES, World, id_of, record, shown_id, user_id, workspace_id, world_of

FIGURES = ("credits", "requests", "inputTokens", "cachedInputTokens", "outputTokens")
SHOWN = " ".join(FIGURES)
COLUMNS = (
    "sum(credits)::bigint, sum(requests)::bigint, sum(input_tokens)::bigint, sum(cached_input_tokens)::bigint,"
    " sum(output_tokens)::bigint"
)
THIRTY_DAYS = {"days": {"first": "2026-05-22", "last": "2026-06-20"}}
IN_THIRTY_DAYS = (
    "workspace_id = %s AND (at AT TIME ZONE 'Europe/Berlin')::date BETWEEN DATE '2026-05-22' AND DATE '2026-06-20'"
)

NESTED = f"""
query($range: RangeInput!) {{
  viewer {{ workspace {{
    groups(first: 100) {{ nodes {{ id name
      usage(range: $range) {{ {SHOWN} }}
      members(first: 50) {{ nodes {{ id displayName
        usage(range: $range) {{ {SHOWN}
          breakdown(by: [PRODUCT, MODEL], first: 1000) {{
            rowCount rows {{ product model {SHOWN} }} other {{ rowCount {SHOWN} }}
          }}
        }}
      }} }}
    }} }}
  }} }}
}}"""


def numbers(shown: dict[str, Any]) -> tuple[int, ...]:
    credits, *counts = (shown[name] for name in FIGURES)  # noqa: A001 - the product's word
    return (parse_credits(credits), *map(int, counts))


def added(parts: list[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip((0,) * 5, *parts, strict=True))


def test_the_nested_query_equals_plain_sql_over_the_events(world: World) -> None:
    by_user: dict[str, dict[tuple[str, str], tuple[int, ...]]] = {}
    rows = world.sql(
        f"SELECT user_id, product, model, {COLUMNS} FROM usage_event WHERE {IN_THIRTY_DAYS} GROUP BY 1, 2, 3",  # noqa: S608 - columns of ours
        workspace_id("acme"),
    )
    for user, product, model, *figures in rows:
        by_user.setdefault(shown_id("User", user), {})[product, model] = tuple(figures)
    charged = {
        shown_id("Group", group): tuple(figures)
        for group, *figures in world.sql(
            f"SELECT group_id, {COLUMNS} FROM usage_event WHERE {IN_THIRTY_DAYS} AND group_id IS NOT NULL GROUP BY 1",  # noqa: S608 - as above
            workspace_id("acme"),
        )
    }
    members: dict[str, set[str]] = {}
    for group, user in world.sql(
        "SELECT group_id, user_id FROM group_member WHERE workspace_id = %s", workspace_id("acme")
    ):
        members.setdefault(shown_id("Group", group), set()).add(shown_id("User", user))

    groups = world.ask("OWNER", NESTED, range=THIRTY_DAYS)["viewer"]["workspace"]["groups"]["nodes"]
    assert {group["id"] for group in groups} == set(members)
    for group in groups:
        assert numbers(group["usage"]) == charged.get(group["id"], (0,) * 5)
        users = group["members"]["nodes"]
        assert {user["id"] for user in users} == members[group["id"]]
        for user in users:
            usage, expected = user["usage"], by_user.get(user["id"], {})
            rows_shown = {(row["product"], row["model"]): numbers(row) for row in usage["breakdown"]["rows"]}
            assert rows_shown == expected
            assert usage["breakdown"]["rowCount"] == len(expected)
            assert numbers(usage) == added(list(expected.values()))
            assert numbers(usage["breakdown"]["other"]) == (0,) * 5


def ten_times_as_many(groups: int, users_each: int) -> tuple[list[NewGroup], list[NewUser]]:
    added_groups = [
        NewGroup(id_of("more", str(number)), f"more-{number}", f"More {number}") for number in range(groups)
    ]
    users = [
        NewUser(
            id_of("more", f"{group.slug}-{number}"), f"User {number} of {group.name}", None, None, UserKind.PERSON,
            group.id, (group.id,),
        )
        for group in added_groups
        for number in range(users_each)
    ]  # fmt: skip
    return added_groups, users


def test_the_number_of_statements_does_not_grow_with_groups_users_or_events(fresh_database: FreshDatabase) -> None:
    with world_of(fresh_database) as world:
        with world.statements() as few:
            small = world.ask("OWNER", NESTED, range=THIRTY_DAYS)
        groups, users = ten_times_as_many(40, 20)

        async def grow() -> None:
            scope = RowScope(DatabaseRole.ADMINISTRATOR, workspace_id("acme"))
            async with world.database.transaction(scope) as conn:
                await put_groups(conn, workspace_id=workspace_id("acme"), groups=groups, now=NOW)
                await put_users(conn, workspace_id=workspace_id("acme"), users=users, now=NOW)

        world.run(grow())
        events = [
            UsageEvent("more", str(number), NOW, UserBy(id=user.id), f"product {number % 7}", "m", number + 1)
            for number, user in enumerate(users)
        ]
        world.run(record(world.database, "acme", events))
        # People have changed, so whoever asks is looked up anew, once.
        world.ask("OWNER", "{ viewer { subject } }")
        with world.statements() as many:
            large = world.ask("OWNER", NESTED, range=THIRTY_DAYS)
    assert len(large["viewer"]["workspace"]["groups"]["nodes"]) == 44
    assert len(small["viewer"]["workspace"]["groups"]["nodes"]) == len(ACME.groups)
    # The page of groups, their usage, the pages of their members, the members' totals, and their breakdowns.
    assert sorted(many) == sorted(few)
    assert len(many) == 5


def nested_rows(levels: tuple[str, ...], first: int) -> str:
    """Return `breakdown { rows { usage { breakdown ... } } }`, a level for each dimension."""
    if not levels:
        return ""
    inner = nested_rows(levels[1:], first)
    below = f"usage {{ {SHOWN} {inner} }}" if inner else ""
    return f"""breakdown(by: [{levels[0]}], first: {first}) {{
      rowCount other {{ rowCount {SHOWN} }}
      rows {{ {SHOWN} share product model user {{ id }} group {{ id }} {below} }}
    }}"""


def assert_parts_add_up(usage: dict[str, Any], depth: int, first: int) -> None:
    breakdown = usage["breakdown"]
    rows, other = breakdown["rows"], breakdown["other"]
    assert added([numbers(row) for row in rows] + [numbers(other)]) == numbers(usage)
    assert breakdown["rowCount"] == len(rows) + other["rowCount"]
    assert len(rows) <= first
    total = parse_credits(usage["credits"])
    for row in rows:
        assert row["share"] == (parse_credits(row["credits"]) / total if total else 0)
        if depth > 1:
            assert numbers(row["usage"]) == numbers(row)
            assert_parts_add_up(row["usage"], depth - 1, first)


LEVELS = [
    ("PRODUCT", "MODEL", "USER"),
    ("USER", "PRODUCT", "MODEL"),
    ("GROUP", "USER", "PRODUCT", "MODEL"),
    ("MODEL", "GROUP"),
]


@pytest.mark.parametrize("first", [1, 3, 1000])
@pytest.mark.parametrize("levels", LEVELS, ids="-".join)
def test_rows_and_other_are_the_whole_at_every_level_and_depth_is_the_number_of_statements(
    world: World, levels: tuple[str, ...], first: int
) -> None:
    query = f"""query($range: RangeInput!) {{ viewer {{ workspace {{
      usage(range: $range) {{ {SHOWN} {nested_rows(levels, first)} }} }} }} }}"""
    for range_ in (ALL_DAYS, {"instants": {"start": "2026-03-20T07:11:00Z", "end": "2026-06-19T01:00:00+02:00"}}):
        # A program sees everyone and is nobody of them: people's own users need not be read.
        with world.statements() as ran:
            usage = world.ask("READER", query, range=range_)["viewer"]["workspace"]["usage"]
        assert_parts_add_up(usage, len(levels), first)
        named = {"USER": "users_by_id", "GROUP": "groups_by_id"}
        figures = [name for name in ran if name not in named.values()]
        # One for the total and one for each level.
        assert len(figures) == 1 + len(levels)
        assert all(name.startswith("usage_breakdown") for name in figures)
        assert sorted(set(ran) - set(figures)) == sorted({named[level] for level in levels if level in named})


@pytest.mark.parametrize("filter_", [{"products": ["chat", "api"]}, {"users": []}, {"models": ["large"]}])
def test_a_filter_goes_down_to_every_level(world: World, filter_: dict[str, list[str]]) -> None:
    query = f"""query($range: RangeInput!, $filter: UsageFilter) {{ viewer {{ workspace {{
      usage(range: $range, filter: $filter) {{ {SHOWN} {nested_rows(("PRODUCT", "MODEL", "USER"), 2)} }} }} }} }}"""
    usage = world.ask("OWNER", query, range=ALL_DAYS, filter=filter_)["viewer"]["workspace"]["usage"]
    assert_parts_add_up(usage, 3, 2)
    events = [use for use in USES if use.place == "acme"]
    expected = added(
        [
            use.figures
            for use in events
            if use.event.product in filter_.get("products", [use.event.product])
            and use.event.model in filter_.get("models", [use.event.model])
            and use.person in filter_.get("users", [use.person])
        ]
    )
    assert numbers(usage) == expected


def test_product_model_user_equals_plain_sql(world: World) -> None:
    query = f"""query($range: RangeInput!) {{ viewer {{ workspace {{
      usage(range: $range) {{ {SHOWN} {nested_rows(("PRODUCT", "MODEL", "USER"), 1000)} }} }} }} }}"""
    usage = world.ask("OWNER", query, range=THIRTY_DAYS)["viewer"]["workspace"]["usage"]
    found = {
        (product["product"], model["model"], user["user"]["id"]): numbers(user)
        for product in usage["breakdown"]["rows"]
        for model in product["usage"]["breakdown"]["rows"]
        for user in model["usage"]["breakdown"]["rows"]
    }
    rows = world.sql(
        f"SELECT product, model, user_id, {COLUMNS} FROM usage_event WHERE {IN_THIRTY_DAYS} GROUP BY 1, 2, 3",  # noqa: S608 - columns of ours
        workspace_id("acme"),
    )
    assert found == {
        (product, model, shown_id("User", user)): tuple(figures) for product, model, user, *figures in rows
    }


def test_totals_are_read_only_where_they_are_selected(world: World) -> None:
    def ran(selection: str) -> list[str]:
        query = f"query($range: RangeInput!) {{ viewer {{ workspace {{ usage(range: $range) {{ {selection} }} }} }} }}"
        with world.statements() as names:
            world.ask("OWNER", query, range=ALL_DAYS)
        return names

    assert ran("range { start } dataThrough") == []
    assert ran("breakdown(by: [MODEL]) { rowCount }") == ["usage_breakdown_of_workspace"]
    assert ran("series(interval: DAY) { points { credits } }") == ["usage_series_of_credits"]
    assert ran("series(interval: DAY) { points { requests } }") == ["usage_series_of_workspace"]
    for selection in ("credits", "renamed: outputTokens", "... on UsageFigures { requests }", "... { inputTokens }"):
        assert ran(selection) == ["usage_breakdown_of_workspace"], selection
    assert ran("credits breakdown(by: [MODEL]) { rows { usage { credits } } }") == ["usage_breakdown_of_workspace"] * 2


def test_who_used_most_is_read_alone_where_nothing_but_names_and_credits_is_selected(world: World) -> None:
    def ran(selection: str) -> tuple[list[str], list[dict[str, Any]]]:
        query = f"""query($range: RangeInput!) {{ viewer {{ workspace {{ usage(range: $range) {{
          breakdown(by: [USER], first: 3) {{ {selection} }} }} }} }} }}
          fragment more on UsageRow {{ tokens: inputTokens }}"""
        query = query if "...more" in query else query.split("fragment", maxsplit=1)[0]
        with world.statements() as names:
            usage = world.ask("OWNER", query, range=ALL_DAYS)["viewer"]["workspace"]["usage"]
        return [name for name in names if name.startswith(("usage", "users"))], usage["breakdown"]["rows"]

    user = "user { id displayName email kind active version homeGroup { id } }"
    names, most = ran(f"rows {{ credits {user} }}")
    assert (names, len(most)) == (["usage_most"], 3), "who they are comes along"
    for more in ("rows { requests }", "rows { share }", "rows { ...more }", "rows { usage { credits } }", "rowCount",
                 "other { credits }", "... { rows { ... on UsageFigures { outputTokens } } }"):  # fmt: skip
        names, rows = ran(f"rows {{ credits {user} }} {more}")
        assert names[:2] == ["usage_breakdown", "users_by_id"], more
        assert [{name: row[name] for name in ("credits", "user")} for row in rows] == most


def test_a_fragment_s_totals_are_read(world: World) -> None:
    query = """
    query($range: RangeInput!) { viewer { user { usage(range: $range) { ...figures } } } }
    fragment figures on CreditUsage { range { start } ...more }
    fragment more on UsageFigures { credits }"""
    total = sum(use.figures[0] for use in USES if use.person == "mo")
    usage = world.ask("MEMBER", query, range=ALL_DAYS)["viewer"]["user"]["usage"]
    assert usage["credits"] == format_credits(total)


def test_the_same_question_at_many_places_is_asked_once(world: World) -> None:
    ids = [shown_id("User", user_id(person.name)) for person in ACME.people]
    aliases = " ".join(
        f'u{number}: node(id: "{id_}") {{ ... on User {{ usage(range: $range) {{ credits }} }} }}'
        for number, id_ in enumerate(ids)
    )
    with world.statements() as ran:
        one_by_one = world.ask("OWNER", f"query($range: RangeInput!) {{ {aliases} }}", range=ALL_DAYS)
    assert len(ran) == 2
    query = """query($ids: [ID!]!, $range: RangeInput!) {
      nodes(ids: $ids) { ... on User { usage(range: $range) { credits } } } }"""
    with world.statements() as ran:
        together = world.ask("OWNER", query, ids=ids, range=ALL_DAYS)
    assert together["nodes"] == list(one_by_one.values())
    assert len(ran) == 2
