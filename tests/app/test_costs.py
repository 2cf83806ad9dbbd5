"""`GET /v1/costs`: everything that was used, once, page by page, for those only who may export it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from creditdesk.app.costs import PATH, CostsEndpoint
from support.databases import FreshDatabase
from support.world import CALLERS, FIRST_DAY, LAST_DAY, World, email_of, uses_of, workspace_slug, world_of

TOTAL = """query($range: RangeInput!) { viewer { workspace { usage(range: $range) { credits requests inputTokens
  cachedInputTokens outputTokens } } } }"""


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database) as filled:
        yield filled


@pytest.fixture(scope="module")
def http(world: World) -> Iterator[httpx.AsyncClient]:
    costs = CostsEndpoint(database=world.database, authenticator=world.authenticator)
    app = Starlette(routes=[Route(PATH, costs.answer)])
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://costs")
    yield client
    world.run(client.aclose())


def token(world: World, caller: str) -> str:
    if caller != "COSTS":
        return world.token(caller)
    return world.site.token(sub="bi", roles=["service"], scope="costs:read", workspace=workspace_slug("acme"))


def ask(world: World, http: httpx.AsyncClient, caller: str = "BILLING", **asked: Any) -> httpx.Response:
    parameters = {"first": FIRST_DAY, "last": LAST_DAY} | asked
    headers = {"authorization": f"Bearer {token(world, caller)}"}
    answer: httpx.Response = world.run(http.get(PATH, params=parameters, headers=headers))
    return answer


def everything(world: World, http: httpx.AsyncClient, **asked: Any) -> list[dict[str, Any]]:
    """Return the rows of all pages."""
    rows: list[dict[str, Any]] = []
    while True:
        page = ask(world, http, **asked).json()
        rows += page["rows"]
        if page["next"] is None:
            return rows
        asked["after"] = page["next"]


def test_the_rows_of_all_pages_add_up_to_the_usage_exactly_and_each_is_there_once(
    world: World, http: httpx.AsyncClient
) -> None:
    usage = world.ask("OWNER", TOTAL, range={"days": {"first": FIRST_DAY, "last": LAST_DAY}})
    total = usage["viewer"]["workspace"]["usage"]
    for size in (97, 10_000):
        rows = everything(world, http, size=size)
        keys = {(row["day"], row["userId"], row["groupId"], row["product"], row["model"]) for row in rows}
        assert len(keys) == len(rows)
        summed = {name: sum(Decimal(row[name]) for row in rows) for name in total}
        assert summed == {name: Decimal(value) for name, value in total.items()}
    uses = uses_of("acme")
    mo = [use for use in uses if use.person == "mo"]
    rows_of_mo = [row for row in rows if row["email"] == email_of("mo")]
    assert sum(Decimal(row["credits"]) for row in rows_of_mo) == sum(Decimal(use.figures[0]) for use in mo) / 10**6
    assert {row["group"] for row in rows if row["groupId"] is None} == {None}


def test_a_range_has_its_days_only_and_parts_of_it_are_the_whole(world: World, http: httpx.AsyncClient) -> None:
    march = everything(world, http, first="2026-03-12", last="2026-03-31")
    later = everything(world, http, first="2026-04-01", last=LAST_DAY)
    whole = everything(world, http)
    assert {row["day"][:7] for row in march} == {"2026-03"}
    as_keys = [sorted(map(str, rows)) for rows in ([*march, *later], whole)]
    assert as_keys[0] == as_keys[1]
    assert everything(world, http, first="2020-01-01", last="2020-01-01") == []


def test_costs_are_exported_by_those_only_who_may(world: World, http: httpx.AsyncClient) -> None:
    before = world.row_counts()
    for caller in (*CALLERS, "COSTS"):
        answer = ask(world, http, caller, size=1)
        if caller in {"OWNER", "BILLING", "COSTS", "OTHER_OWNER"}:
            assert answer.status_code == 200, caller
            assert len(answer.json()["rows"]) == 1
        else:
            assert answer.status_code == 403, caller
            assert answer.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert world.row_counts() == before
    assert world.run(http.get(PATH)).status_code == 401


def test_no_cursor_leads_into_another_workspace(world: World, http: httpx.AsyncClient) -> None:
    cursor = ask(world, http, "BILLING", size=1).json()["next"]
    own = {row["userId"] for row in everything(world, http)}
    others = ask(world, http, "OTHER_OWNER", after=cursor, size=10_000).json()["rows"]
    assert not {row["userId"] for row in others} & own


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"first": "yesterday"}, "INVALID_INPUT"),
        ({"first": "2026-02-30"}, "INVALID_INPUT"),
        ({"first": "2026-06-21", "last": "2026-06-20"}, "INVALID_RANGE"),
        ({"first": "2020-01-01", "last": "2026-06-20"}, "INVALID_RANGE"),
        ({"size": "0"}, "INVALID_PAGE"),
        ({"size": "10001"}, "INVALID_PAGE"),
        ({"size": "-1"}, "INVALID_INPUT"),
        ({"size": "9" * 400}, "INVALID_INPUT"),
        ({"after": "x"}, "INVALID_CURSOR"),
        ({"after": "W10"}, "INVALID_CURSOR"),
        ({"after": "bnVsbA"}, "INVALID_CURSOR"),
        ({"after": "x" * 5000}, "INVALID_CURSOR"),
    ],
)
def test_what_is_off_about_a_request_is_said(
    world: World, http: httpx.AsyncClient, asked: dict[str, str], code: str
) -> None:
    answer = ask(world, http, **asked)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (422, code)
