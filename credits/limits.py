"""Limits: which rule says how much a user may use, and which rules it beat.

Each-user limits resolve to one number for each user; shared ones cap a sum and are never merged with them.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from creditdesk.credits.periods import Cadence


class LimitScope(Enum):
    """Whom a limit is set for, from narrow to wide: balances are locked in this order."""

    USER = "One user."
    GROUP = "The members of a group."
    WORKSPACE = "Everybody in the workspace."


class LimitKind(Enum):
    """Whether a limit is everybody's own, or one for all of them together."""

    EACH_USER = "Each user in the scope may use this much by themselves."
    SHARED = "All users in the scope together may use this much."


class Enforcement(Enum):
    """What happens where a limit is reached."""

    HARD = "Spending stops at the limit."
    SOFT = "Spending past the limit is recorded and alerts, and does not stop."


class MultiGroup(Enum):
    """Which group's limit applies to a user of several groups; groups without a limit are ignored."""

    HIGHEST = "The highest of the groups' limits applies."
    LOWEST = "The lowest of the groups' limits applies."


@dataclass(frozen=True, slots=True)
class Limited:
    """This much and no more, in micro-credits: 0 or above, and 0 blocks everything."""

    amount: int


@dataclass(frozen=True, slots=True)
class Unlimited:
    """As much as anyone likes: not the absence of a rule, but a rule that says so."""


LimitValue = Limited | Unlimited
UNLIMITED = Unlimited()


@dataclass(frozen=True, slots=True)
class Shape:
    """What usage a limit counts, and per what period: limits of different shapes resolve by themselves.

    An empty product or model is any; a model needs a product.
    """

    cadence: Cadence
    product: str = ""
    model: str = ""

    def covers(self, product: str, model: str) -> bool:
        """Tell whether use of a product's model counts."""
        return self.product in ("", product) and self.model in ("", model)


@dataclass(frozen=True, slots=True)
class Limit:
    """A rule: how much may be used per period, by whom, of what, and from when until when it is so.

    Of each kind and shape a scope has up to two: a lasting one, and a temporary one that goes before it.
    """

    id: UUID
    scope: LimitScope
    scope_id: UUID
    kind: LimitKind
    shape: Shape
    value: LimitValue
    enforcement: Enforcement
    starts_at: datetime
    expires_at: datetime | None
    temporary: bool
    set_by: UUID | None
    set_at: datetime
    reason: str | None
    version: int

    def has_begun(self, now: datetime) -> bool:
        """Tell whether the rule's start is past. One that was to hold at once has begun for whoever knows of it.

        Otherwise a server whose clock is behind the one that set it, or that has waited for it to be set, would know
        the rule and none that went before it, and let everything through.
        """
        return self.starts_at <= max(self.set_at, now)

    def in_force(self, now: datetime) -> bool:
        """Tell whether the rule holds at this moment: from its start on, and no more at its very expiry."""
        return self.has_begun(now) and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class EffectiveLimit:
    """The limit that applies to a user, the rule it comes from (none where nothing is set), and the rules it beat.

    `beaten` are in force and go from best to worst: the user's own, the groups' from the preferred one on, the
    workspace's; a scope's temporary rule stands right before its lasting one. `changes_at` is the next start or
    expiry of any rule that was looked at: until then the answer stays as it is.
    """

    value: LimitValue
    source: Limit | None
    beaten: tuple[Limit, ...]
    changes_at: datetime | None


def effective_limit(
    *, own: Iterable[Limit], groups: Iterable[Limit], default: Iterable[Limit], multi_group: MultiGroup, now: datetime
) -> EffectiveLimit:
    """Return the user's own limit, else the groups' by policy, else the workspace's default, else no limit at all.

    All rules are for each user and of one shape, started or not, expired or not. The narrower rule replaces the wider
    one, also where it is lower.
    """
    own, groups, default = tuple(own), tuple(groups), tuple(default)
    ranked = (*_in_force(own, now), *_groups_in_force(groups, multi_group, now), *_in_force(default, now))
    source = ranked[0] if ranked else None
    value = UNLIMITED if source is None else source.value
    return EffectiveLimit(value, source, ranked[1:], _next_change((*own, *groups, *default), now))


def one_in_force(rules: Iterable[Limit], now: datetime) -> Limit | None:
    """Return the rule of one scope that applies, the temporary one first, or None where none is in force."""
    return next(iter(_in_force(rules, now)), None)


def _in_force(rules: Iterable[Limit], now: datetime) -> list[Limit]:
    """Return the rules of one scope that are in force, the temporary one first."""
    return sorted((rule for rule in rules if rule.in_force(now)), key=lambda rule: (not rule.temporary, rule.id))


def _groups_in_force(rules: Iterable[Limit], multi_group: MultiGroup, now: datetime) -> list[Limit]:
    """Return the groups' rules in force, the preferred group first: it is preferred for its winning rule only."""
    of_group: defaultdict[UUID, list[Limit]] = defaultdict(list)
    for rule in rules:
        of_group[rule.scope_id].append(rule)
    in_force = [ranked for _, group in sorted(of_group.items()) if (ranked := _in_force(group, now))]
    # Sorting keeps the order of equals, also when it is reversed: a tie stays with the smallest group id.
    in_force.sort(key=lambda ranked: _height(ranked[0].value), reverse=multi_group is MultiGroup.HIGHEST)
    return [rule for ranked in in_force for rule in ranked]


def _height(value: LimitValue) -> tuple[bool, int]:
    """Return what orders values from low to high: unlimited is above every amount."""
    match value:
        case Limited(amount):
            return (False, amount)
        case Unlimited():
            return (True, 0)


def _next_change(rules: Iterable[Limit], now: datetime) -> datetime | None:
    """Return the next moment at which a rule comes into force or goes out of it."""
    changes: list[datetime] = []
    for rule in rules:
        if rule.expires_at is not None and rule.expires_at <= max(rule.starts_at, now):
            continue  # It is over, or it ends before it starts.
        if not rule.has_begun(now):
            changes.append(rule.starts_at)
        elif rule.expires_at is not None:
            changes.append(rule.expires_at)
    return min(changes, default=None)
