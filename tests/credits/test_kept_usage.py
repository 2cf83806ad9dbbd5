"""What users used as it was read last is told again only as long as it is what would be read."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, cast

import psycopg
import pytest

from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.kept_usage import ENTRY_BYTES, KeptRows, KeptUsage
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.credits.ranges import range_of_days
from creditdesk.credits.usage import BreakdownRows, Dimension, Ordering, UsageQuery
from creditdesk.credits.written_usage import usage_written_of_users
from creditdesk.db.lookups import Lookup
from support.ledgers import Ledger

NAMES = ("ada", "bob", "cyd")
NOON = datetime(2026, 6, 3, 12, tzinfo=UTC)
TEMPLATE = '{"of":[%1$s,%2$s],"figures":["%3$s",%4$s,%5$s,%6$s,%7$s]}'
PLENTY = 1_000_000


@pytest.fixture
def people(ledger: Ledger) -> Ledger:
    """Return a ledger with three users in two groups, and something used by the first two."""
    ledger.put_user("ada", home="red", groups=["red"])
    ledger.put_user("bob", home="blue", groups=["blue"])
    ledger.put_user("cyd", home="blue", groups=["red", "blue"])
    use(ledger, "1", "ada", credits=5)
    use(ledger, "2", "bob", credits=7, product="q")
    return ledger


def use(ledger: Ledger, id_: str, name: str, **changes: Any) -> None:
    recorded = ledger.record(ledger.event(id_, **({"at": NOON, "user": UserBy(id=ledger.users[name])} | changes)))
    assert recorded.accepted == 1, recorded


def query_of(since: date = date(2026, 6, 1), last: date = date(2026, 6, 30), **changes: Any) -> UsageQuery:
    asked: dict[str, Any] = {"by": (Dimension.PRODUCT, Dimension.MODEL), "first": 9} | changes
    return UsageQuery(range_of_days(since, last, zone="UTC"), **asked)


def ask(
    ledger: Ledger,
    kept: KeptUsage | None,
    query: UsageQuery | None = None,
    *,
    names: Sequence[str] = NAMES,
    caller: PermittedScopes | None = None,
) -> tuple[dict[str, Any], set[str]]:
    """Return each user's rows, and of whom rows came from the database."""
    caller = caller or ledger.everyone
    ids = {str(ledger.users[name]): name for name in names}
    asked = usage_written_of_users(caller, list(ids), query or query_of(), TEMPLATE, kept)
    told: set[str] = set()

    def seen(rows: Sequence[list[Any]]) -> Any:
        named, _, written = rows[0][0]
        if named:
            told.update(ids[id_] for id_, text in zip(named.split(","), written.split("\n"), strict=True) if text)
        return asked.found(rows)

    watched: Lookup[Any] = replace(cast("Any", asked), found=seen)
    [found] = ledger.desk.run(ledger.desk.database.reader(caller.row_scope).look_up([watched]))
    return {name: json.loads(one.written) for name, one in zip(names, found, strict=True)}, told


def manager_of(ledger: Ledger, group: str) -> PermittedScopes:
    managed = frozenset({ledger.groups[group]})
    return PermittedScopes(ledger.workspace_id, everyone=False, user_id=ledger.users["cyd"], managed_groups=managed)


def test_those_alone_are_read_who_used_something_since(people: Ledger) -> None:
    kept = KeptUsage(PLENTY)
    first, read = ask(people, kept)
    assert read == set(NAMES)
    assert [first[name][0]["figures"][:2] for name in ("ada", "bob")] == [["0.000005", 1], ["0.000007", 1]]
    assert ask(people, kept) == (first, {"cyd"})  # of whom there is nothing in these months, and so no version
    use(people, "3", "bob", credits=1, product="q")
    second, read = ask(people, kept)
    assert (read, second["ada"]) == ({"bob", "cyd"}, first["ada"])
    assert second["bob"][0]["figures"][:2] == ["0.000008", 2]
    use(people, "4", "cyd")
    assert ask(people, kept)[1] == {"cyd"}
    assert ask(people, kept) == (ask(people, None)[0], set())


def test_what_moved_from_one_product_to_another_is_read_though_the_month_s_sums_are_the_same(people: Ledger) -> None:
    use(people, "3", "ada", credits=5, product="q")
    kept = KeptUsage(PLENTY)
    before, _ = ask(people, kept)
    monthly = "SELECT credits, requests FROM rollup_user_month WHERE user_id = %s"
    sums = people.desk.sql(monthly, people.users["ada"])
    none = {"input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0}
    use(people, "4", "ada", credits=2, corrects="1", **none)
    use(people, "5", "ada", credits=-2, corrects="3", product="q", **none)
    assert people.desk.sql(monthly, people.users["ada"]) == sums
    after, read = ask(people, kept)
    assert "ada" in read
    assert [row["figures"][0] for row in before["ada"]] == ["0.000005", "0.000005"]
    assert [row["figures"][0] for row in after["ada"]] == ["0.000007", "0.000003"]


def test_what_is_not_committed_yet_is_in_no_version_and_then_in_one(people: Ledger) -> None:
    kept = KeptUsage(PLENTY)
    before, _ = ask(people, kept)
    with psycopg.connect(people.desk.fresh.superuser_dsn) as writer:
        for table in ("rollup_user_detail_day", "rollup_user_month"):
            writer.execute(
                cast("Any", f"UPDATE {table} SET credits = credits + 1 WHERE user_id = %s"),  # noqa: S608 - ours
                [people.users["ada"]],
            )
        assert ask(people, kept) == (before, {"cyd"})
        writer.commit()
    after, read = ask(people, kept)
    assert (read, after["ada"][0]["figures"][0]) == ({"ada", "cyd"}, "0.000006")
    assert ask(people, kept) == (after, {"cyd"})


def test_what_one_caller_was_told_is_told_to_nobody_who_may_not_see_it(people: Ledger) -> None:
    kept = KeptUsage(PLENTY)
    everything, _ = ask(people, kept)
    red, blue = manager_of(people, "red"), manager_of(people, "blue")
    member = replace(red, managed_groups=frozenset())
    assert ask(people, kept, caller=red) == ({**everything, "bob": []}, {"ada", "cyd"})
    assert ask(people, kept, caller=red)[0] == {**everything, "bob": []}
    assert ask(people, kept, caller=blue)[0] == {**everything, "ada": []}
    assert ask(people, kept, caller=member)[0] == {"ada": [], "bob": [], "cyd": []}
    elsewhere = replace(people.everyone, workspace_id=Ledger(people.desk).workspace_id)
    assert ask(people, kept, caller=elsewhere)[0] == {"ada": [], "bob": [], "cyd": []}
    people.put_user("ada", home="red", groups=["blue"])  # nothing that was used is changed by that
    assert ask(people, kept, caller=red)[0] == {**everything, "ada": [], "bob": []}
    assert ask(people, kept, caller=blue)[0] == everything


def test_at_any_moment_it_is_what_would_be_read(people: Ledger) -> None:
    random, kept = Random("kept"), KeptUsage(PLENTY)  # noqa: S311 - dice, not a secret
    callers = [people.everyone, people.everyone, manager_of(people, "red"), manager_of(people, "blue")]
    ranges = [(date(2026, 4, 20), 40), (date(2026, 5, 1), 31), (date(2026, 6, 3), 1), (date(2025, 6, 3), 380)]
    spared = 0
    for number in range(120):
        if random.random() < 0.4:
            events = [
                people.event(
                    f"{number}-{nth}",
                    at=NOON - timedelta(days=random.randrange(60)),
                    user=UserBy(id=people.users[random.choice(NAMES)]),
                    product=random.choice("pq"),
                    model=random.choice("mn"),
                    credits=random.choice((0, 1, 10**6)),
                    input_tokens=random.randrange(2),
                )
                for nth in range(random.randint(1, 3))
            ]
            assert people.record(*events).accepted == len(events)
        since, days = random.choice(ranges)
        query = query_of(
            since,
            since + timedelta(days=days - 1),
            by=random.choice(((Dimension.PRODUCT, Dimension.MODEL), (Dimension.PRODUCT,), ())),
            first=random.choice((1, 9)),
            ordering=random.choice(list(Ordering)[:2]),
        )
        names, caller = random.sample(NAMES, random.randint(2, 3)), random.choice(callers)
        found, read = ask(people, kept, query, names=names, caller=caller)
        assert found == ask(people, None, query, names=names, caller=caller)[0], (number, query)
        spared += len(set(names) - read)
    assert spared > 50


def test_whoever_asks_after_a_use_is_told_of_it_though_others_ask_and_record_at_the_same_moment(people: Ledger) -> None:
    kept, names, uses = KeptUsage(PLENTY), ("ada", "bob"), 40
    ids = [str(people.users[name]) for name in names]
    begun, recorded, spared = [0], [0], [0]

    def requests(found: Sequence[BreakdownRows]) -> int:
        return sum(row["figures"][1] for one in found for row in json.loads(one.written or ""))

    def counted(asked: Lookup[Any]) -> Lookup[Any]:
        def seen(rows: Sequence[list[Any]]) -> Any:
            spared[0] += "" in rows[0][0][2].split("\n")
            return asked.found(rows)

        return replace(cast("Any", asked), found=seen)

    async def write() -> None:
        for number in range(uses):
            name = names[number % 2]
            begun[0] += 1
            event = people.event(
                f"at once {number}", at=NOON, user=UserBy(id=people.users[name]), product="pq"[number % 3 % 2]
            )
            assert (await people.recording([event])).accepted == 1
            recorded[0] += 1

    async def read(writing: asyncio.Task[None]) -> None:
        while not writing.done():
            least = recorded[0]
            asked = counted(usage_written_of_users(people.everyone, ids, query_of(), TEMPLATE, kept))
            [found] = await people.reader.look_up([asked])
            assert least <= requests(found) - 2 <= begun[0]

    async def at_once() -> None:
        writing = asyncio.create_task(write())
        await asyncio.gather(writing, *(read(writing) for _ in range(6)))

    people.desk.run(at_once())
    assert spared[0] > uses / 4
    assert sum(row["figures"][1] for rows in ask(people, kept)[0].values() for row in rows) == uses + 2


def test_of_many_months_nothing_is_kept(people: Ledger) -> None:
    kept = KeptUsage(PLENTY)
    query = query_of(date(2025, 6, 1), date(2026, 6, 30))
    assert ask(people, kept, query)[1] == set(NAMES)
    assert ask(people, kept, query)[1] == {"cyd"}
    kept = KeptUsage(PLENTY)
    longer = query_of(date(2025, 5, 31), date(2026, 6, 30))
    assert ask(people, kept, longer)[1] == ask(people, kept, longer)[1] == set(NAMES)
    assert kept.size == 0


def test_nothing_is_kept_where_nothing_is_to_be(people: Ledger) -> None:
    kept = KeptUsage(0)
    assert ask(people, kept)[1] == ask(people, kept)[1] == set(NAMES)
    assert kept.size == 0


def test_so_many_bytes_are_kept_and_what_was_asked_longest_ago_goes_first() -> None:
    rows = [KeptRows(number, "[" + "x" * 100 + "]") for number in range(4)]
    each = ENTRY_BYTES + rows[0].written.__sizeof__()
    kept = KeptUsage(3 * each)
    for question in "abc":
        kept.keep(question, {"ada": rows[0]})
    kept.of("a")
    kept.keep("d", {"ada": rows[1]})
    assert [bool(kept.of(question)) for question in "abcd"] == [True, False, True, True]
    kept.keep("d", {"ada": rows[2]})  # instead of the other
    assert (kept.size, kept.of("d")) == (3 * each, {"ada": rows[2]})
    kept.keep("e", {"ada": rows[0], "bob": rows[1], "cyd": rows[2]})
    assert [bool(kept.of(question)) for question in "acde"] == [False, False, False, True]
    kept.keep("e", {"dan": rows[3]})  # more than there is room for
    assert (kept.size, kept.of("e")) == (0, {})
