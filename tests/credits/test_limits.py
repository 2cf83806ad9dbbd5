import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditdesk.credits.amounts import parse_credits
from creditdesk.credits.limits import (
    UNLIMITED,
    EffectiveLimit,
    Enforcement,
    Limit,
    Limited,
    LimitKind,
    LimitScope,
    LimitValue,
    MultiGroup,
    Shape,
    Unlimited,
    effective_limit,
    one_in_force,
)
from creditdesk.credits.periods import Cadence

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "limits.json").read_text(encoding="utf-8"))["cases"]
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
USER, WORKSPACE = UUID(int=1), UUID(int=2)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NUMBERS = count(1)


def group_id(name: str) -> UUID:
    """Return an id for a group's name; ids are in the order of the names."""
    return UUID(bytes=name.encode().ljust(16, b"\0"))


def value_of(text: str) -> LimitValue:
    return UNLIMITED if text == "UNLIMITED" else Limited(parse_credits(text))


def rule(scope: LimitScope, scope_id: UUID, value: LimitValue) -> Limit:
    return Limit(
        id=UUID(int=next(NUMBERS)),
        scope=scope,
        scope_id=scope_id,
        kind=LimitKind.EACH_USER,
        shape=Shape(Cadence.MONTH),
        value=value,
        enforcement=Enforcement.HARD,
        starts_at=LONG_AGO,
        expires_at=None,
        temporary=False,
        set_by=None,
        set_at=LONG_AGO,
        reason=None,
        version=1,
    )


def own_rule(value: str) -> Limit:
    return rule(LimitScope.USER, USER, value_of(value))


def group_rule(name: str, value: str) -> Limit:
    return rule(LimitScope.GROUP, group_id(name), value_of(value))


def default_rule(value: str) -> Limit:
    return rule(LimitScope.WORKSPACE, WORKSPACE, value_of(value))


def temporary(rule: Limit, *, starts_at: datetime = LONG_AGO, expires_at: datetime) -> Limit:
    return replace(rule, temporary=True, starts_at=starts_at, expires_at=expires_at)


@dataclass(frozen=True)
class Rules:
    """Everything that may decide about one user."""

    own: tuple[Limit, ...] = ()
    groups: tuple[Limit, ...] = ()
    default: tuple[Limit, ...] = ()
    multi_group: MultiGroup = MultiGroup.HIGHEST

    @property
    def all(self) -> tuple[Limit, ...]:
        return (*self.own, *self.groups, *self.default)

    def effective(self, now: datetime = NOW) -> EffectiveLimit:
        # Iterators, since an Iterable can be read once only.
        return effective_limit(
            own=iter(self.own),
            groups=iter(self.groups),
            default=iter(self.default),
            multi_group=self.multi_group,
            now=now,
        )


def rules_of(case: dict[str, Any]) -> Rules:
    override, default = case["override"], case["workspace"]
    own: tuple[Limit, ...] = ()
    if override is not None:
        expires_at = override["expiresAt"]
        own = (own_rule(override["value"]),)
        if expires_at is not None:
            own = (temporary(own[0], expires_at=datetime.fromisoformat(expires_at)),)
    return Rules(
        own,
        tuple(group_rule(group["id"], group["value"]) for group in case["groups"] if group["value"] is not None),
        () if default is None else (default_rule(default),),
        MultiGroup[case["policy"]],
    )


def source_of(text: str) -> tuple[LimitScope, UUID] | None:
    scope, _, name = text.partition(":")
    return {
        "user": (LimitScope.USER, USER),
        "group": (LimitScope.GROUP, group_id(name)),
        "workspace": (LimitScope.WORKSPACE, WORKSPACE),
        "none": None,
    }[scope]


@pytest.mark.parametrize("case", VECTORS, ids=[case["name"] for case in VECTORS])
def test_vector(case: dict[str, Any]) -> None:
    rules, now = rules_of(case), datetime.fromisoformat(case["now"])
    answer = rules.effective(now)
    source = None if answer.source is None else (answer.source.scope, answer.source.scope_id)
    assert (answer.value, source) == (value_of(case["expect"]["value"]), source_of(case["expect"]["source"]))
    used = {answer.source, *answer.beaten} - {None}
    assert used == {rule for rule in rules.all if rule.expires_at is None or rule.expires_at > now}


G7, G8, G3 = group_rule("g1", "7000"), group_rule("g2", "8000"), group_rule("g3", "3000")
OWN, DEFAULT = own_rule("6000"), default_rule("5000")
WORKED_CASES = {
    "override 6000, group 7000, workspace 5000: 6000": (Rules((OWN,), (G7,), (DEFAULT,)), "6000"),
    "groups 7000 and 8000, workspace 5000: 8000": (Rules((), (G7, G8), (DEFAULT,)), "8000"),
    "the same by LOWEST: 7000": (Rules((), (G7, G8), (DEFAULT,), MultiGroup.LOWEST), "7000"),
    "group without a limit, workspace 5000: 5000": (Rules((), (), (DEFAULT,)), "5000"),
    "group 3000, workspace 5000: 3000": (Rules((), (G3,), (DEFAULT,)), "3000"),
    "override UNLIMITED: unlimited": (Rules((own_rule("UNLIMITED"),), (G3,), (DEFAULT,)), "UNLIMITED"),
    "limit 0: nothing": (Rules((own_rule("0"),), (G7,), (DEFAULT,)), "0"),
    "expired override: next level": (Rules((temporary(OWN, expires_at=NOW),), (G7,), (DEFAULT,)), "7000"),
    "a group at UNLIMITED is infinity": (Rules((), (group_rule("g4", "UNLIMITED"), G8), (DEFAULT,)), "UNLIMITED"),
    "a group at UNLIMITED is infinity by LOWEST too": (
        Rules((), (group_rule("g4", "UNLIMITED"), G8), (DEFAULT,), MultiGroup.LOWEST), "8000"
    ),
    "no limit anywhere: unlimited": (Rules(), "UNLIMITED"),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "expected"), WORKED_CASES.values(), ids=WORKED_CASES)
def test_worked_case(rules: Rules, expected: str) -> None:
    assert rules.effective().value == value_of(expected)


def test_the_answer_carries_its_source_and_what_it_beat_best_first() -> None:
    raised = temporary(own_rule("9000"), expires_at=NOW + HOUR)
    rules = Rules((OWN, raised), (G7, G3, G8), (DEFAULT,))
    assert rules.effective() == EffectiveLimit(Limited(9_000_000_000), raised, (OWN, G8, G7, G3, DEFAULT), NOW + HOUR)
    lowest = replace(rules, multi_group=MultiGroup.LOWEST).effective()
    assert lowest.beaten == (OWN, G3, G7, G8, DEFAULT)


def test_nothing_anywhere_has_no_source_and_never_changes() -> None:
    assert Rules().effective() == EffectiveLimit(UNLIMITED, None, (), None)


def test_when_the_temporary_rule_expires_the_lasting_one_of_the_same_level_applies_again() -> None:
    raised = temporary(own_rule("9000"), expires_at=NOW + HOUR)
    rules = Rules((raised, OWN), (), (DEFAULT,))
    assert [rules.effective(now).source for now in (NOW, NOW + HOUR - TICK, NOW + HOUR)] == [raised, raised, OWN]


def test_a_rule_that_has_not_started_is_not_there_yet() -> None:
    later = temporary(own_rule("9000"), starts_at=NOW + HOUR, expires_at=NOW + 2 * HOUR)
    rules = Rules((later,), (), (DEFAULT,))
    answers = [rules.effective(NOW + hours * HOUR) for hours in range(3)]
    assert [answer.source for answer in answers] == [DEFAULT, later, DEFAULT]
    assert [answer.changes_at for answer in answers] == [NOW + HOUR, NOW + 2 * HOUR, None]


@pytest.mark.parametrize(("multi_group", "best"), [(MultiGroup.HIGHEST, "a"), (MultiGroup.LOWEST, "b")])
def test_a_group_counts_with_its_winning_rule_only(multi_group: MultiGroup, best: str) -> None:
    # Group a is raised for a while; its lasting rule would make it the lower one.
    lasting = group_rule("a", "1000")
    raised = temporary(group_rule("a", "9000"), expires_at=NOW + HOUR)
    other = group_rule("b", "5000")
    answer = Rules((), (lasting, other, raised), (), multi_group).effective()
    ranked = {"a": (raised, lasting, other), "b": (other, raised, lasting)}[best]
    assert (answer.source, *answer.beaten) == ranked


@pytest.mark.parametrize("multi_group", MultiGroup)
@pytest.mark.parametrize("value", ["7000", "0", "UNLIMITED"])
def test_a_tie_goes_to_the_smallest_group_id_by_either_policy(multi_group: MultiGroup, value: str) -> None:
    first, second, third = (group_rule(name, value) for name in "abc")
    answer = Rules((), (second, third, first), (), multi_group).effective()
    assert (answer.source, *answer.beaten) == (first, second, third)


def test_a_rule_that_expires_before_it_starts_changes_nothing() -> None:
    never = temporary(own_rule("9000"), starts_at=NOW + 2 * HOUR, expires_at=NOW + HOUR)
    assert Rules((never,)).effective() == EffectiveLimit(UNLIMITED, None, (), None)


def test_a_shared_limit_is_the_temporary_one_while_it_is_in_force() -> None:
    lasting = replace(default_rule("5000"), kind=LimitKind.SHARED)
    raised = temporary(replace(default_rule("4000"), kind=LimitKind.SHARED), expires_at=NOW + HOUR)
    assert one_in_force(iter([lasting, raised]), NOW) == raised
    assert one_in_force(iter([lasting, raised]), NOW + HOUR) == lasting
    assert one_in_force([raised], NOW + HOUR) is None
    assert one_in_force([], NOW) is None


@pytest.mark.parametrize(
    ("since", "until", "holds"),
    [
        (NOW, None, True),
        (NOW + TICK, None, False),
        (NOW - HOUR, NOW + TICK, True),
        (NOW - HOUR, NOW, False),
        (NOW, NOW, False),
    ],
)
def test_a_rule_holds_from_its_start_until_just_before_its_expiry(
    since: datetime, until: datetime | None, holds: bool  # noqa: FBT001 - the expected answer
) -> None:  # fmt: skip
    assert replace(OWN, starts_at=since, expires_at=until).in_force(NOW) is holds


def test_a_rule_that_holds_at_once_has_begun_for_a_clock_that_is_behind_and_one_that_starts_later_has_not() -> None:
    at_once = replace(OWN, starts_at=NOW, set_at=NOW)
    assert (at_once.in_force(NOW - HOUR), at_once.in_force(NOW)) == (True, True)
    later = replace(OWN, starts_at=NOW + TICK, set_at=NOW)
    assert (later.in_force(NOW), later.in_force(NOW + TICK)) == (False, True)


@pytest.mark.parametrize(
    ("shape", "covered"),
    [
        (Shape(Cadence.MONTH), ["chat large", "chat small", "agent large"]),
        (Shape(Cadence.MONTH, "chat"), ["chat large", "chat small"]),
        (Shape(Cadence.MONTH, "chat", "large"), ["chat large"]),
        (Shape(Cadence.MONTH, "search"), []),
        (Shape(Cadence.MONTH, "agent", "small"), []),
    ],
)
def test_a_shape_covers_its_product_and_model_or_any(shape: Shape, covered: list[str]) -> None:
    uses = ["chat large", "chat small", "agent large"]
    assert [use for use in uses if shape.covers(*use.split())] == covered


def test_scopes_go_from_narrow_to_wide() -> None:
    assert list(LimitScope) == [LimitScope.USER, LimitScope.GROUP, LimitScope.WORKSPACE]


def test_unlimited_is_one_value() -> None:
    assert Unlimited() == UNLIMITED
    assert len({Unlimited(), UNLIMITED, Limited(0)}) == 2


# The oracle: says of any two rules in force which one goes first, and sorts all of them by that.
INFINITY = 10**30


def ranked(rules: Rules, now: datetime) -> list[Limit]:
    in_force = [rule for rule in rules.all if rule.starts_at <= now and (rule.expires_at or now + HOUR) > now]

    def amount_of_group(scope_id: UUID) -> int:
        its = [rule for rule in in_force if rule.scope_id == scope_id]
        [value] = [rule.value for rule in its if rule.temporary] or [rule.value for rule in its]
        return value.amount if isinstance(value, Limited) else INFINITY

    def order(one: Limit, other: Limit) -> int:
        if one.scope is not other.scope:
            scopes = [LimitScope.USER, LimitScope.GROUP, LimitScope.WORKSPACE]
            return scopes.index(one.scope) - scopes.index(other.scope)
        if one.scope_id == other.scope_id:
            return -1 if one.temporary else 1
        difference = amount_of_group(one.scope_id) - amount_of_group(other.scope_id)
        if difference == 0:
            return -1 if one.scope_id < other.scope_id else 1
        return -difference if rules.multi_group is MultiGroup.HIGHEST else difference

    return sorted(in_force, key=cmp_to_key(order))


HOURS = st.integers(-3, 3).map(lambda hours: NOW + hours * HOUR)
VALUES = st.one_of(st.just(UNLIMITED), st.sampled_from([0, 1, 5_000_000, 10**15]).map(Limited))


@st.composite
def levels(draw: st.DrawFn, scope: LimitScope, scope_id: UUID) -> list[Limit]:
    """Up to two rules of one scope: one that lasts and one that does not, in any order."""
    found: list[Limit] = []
    for is_temporary in draw(st.sampled_from([(), (True,), (False,), (True, False), (False, True)])):
        starts_at = draw(st.one_of(st.just(LONG_AGO), HOURS))
        expires_at = draw(HOURS if is_temporary else st.one_of(st.none(), HOURS))
        lasting = rule(scope, scope_id, draw(VALUES))
        found.append(replace(lasting, starts_at=starts_at, expires_at=expires_at, temporary=is_temporary))
    return found


@st.composite
def rule_sets(draw: st.DrawFn) -> Rules:
    names = draw(st.permutations("abcde"))[: draw(st.integers(0, 5))]
    groups = [found for name in names for found in draw(levels(LimitScope.GROUP, group_id(name)))]
    return Rules(
        tuple(draw(levels(LimitScope.USER, USER))),
        tuple(draw(st.permutations(groups))),
        tuple(draw(levels(LimitScope.WORKSPACE, WORKSPACE))),
        draw(st.sampled_from(MultiGroup)),
    )


def instants(rules: Iterable[Limit]) -> Iterator[datetime]:
    for one in rules:
        for turn in (one.starts_at, one.expires_at):
            if turn is not None:
                yield from (turn - TICK, turn, turn + TICK)


@given(rule_sets(), st.one_of(HOURS, st.sampled_from([NOW - TICK, NOW + TICK])))
def test_the_answer_is_the_first_of_all_rules_sorted(rules: Rules, now: datetime) -> None:
    answer = rules.effective(now)
    expected = ranked(rules, now)
    assert [*([] if answer.source is None else [answer.source]), *answer.beaten] == expected
    assert answer.value == (expected[0].value if expected else UNLIMITED)


@given(rule_sets(), HOURS)
def test_the_answer_is_the_same_until_it_says_it_changes_and_then_it_does(rules: Rules, now: datetime) -> None:
    changes_at = rules.effective(now).changes_at
    later = [instant for instant in instants(rules.all) if now <= instant]
    before = [instant for instant in later if changes_at is None or instant < changes_at]
    assert [ranked(rules, instant) for instant in before] == [ranked(rules, now)] * len(before)
    assert changes_at is None or (changes_at > now and ranked(rules, changes_at) != ranked(rules, now))


@given(rule_sets(), HOURS)
def test_one_rule_of_a_scope_is_in_force_as_if_it_were_alone(rules: Rules, now: datetime) -> None:
    expected = ranked(Rules(default=rules.default), now)
    assert one_in_force(rules.default, now) == (expected[0] if expected else None)
