"""The demo's two workspaces: their groups and people, the same on every machine and at every start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from types import MappingProxyType
from uuid import UUID, uuid5

from creditdesk.credits.directory import NewGroup, NewUser, UserKind

_NAMESPACE = UUID("6f1c1d0e-3c52-5b1f-9a67-0d9b5a0c7e11")
FEWEST_USERS = 20
"""The demo's roles, and a few to look at."""

_FIRST_NAMES = (  # noqa: SIM905 - as a list literal it is three times as long
    "Ada Amara Anders Beatriz Bjarne Camille Chidi Clara Daniela Dmitri Elif Emil Farah Felix Greta Hana Hugo Ines"
    " Ivan Jana Jonas Kaito Katja Lars Leila Lin Lucia Marek Mira Nadia Nils Noor Olga Oskar Paula Priya Rafael Rosa"
    " Samir Selma Sofia Stefan Tariq Theo Uma Vera Viktor Wanda Yara Zoe"
).split()
_LAST_NAMES = (  # noqa: SIM905 - as above
    "Abara Andersen Aydin Bauer Becker Bianchi Brandt Costa Diallo Duarte Eriksen Faber Fischer Fuchs Garcia Haas"
    " Hartmann Ivanova Jansen Kaya Keller Klein Kowalski Krause Lange Lindqvist Maier Marino Mbeki Moreau Nakamura"
    " Novak Okafor Olsen Peters Petrov Quist Rahman Richter Rossi Sato Schulz Silva Sommer Tanaka Vogel Weber Winter"
    " Yilmaz Ziegler"
).split()
_HIMAL_FIRST_NAMES = (  # noqa: SIM905 - as above
    "Anil Bina Deepa Dolma Gita Hari Kiran Laxmi Maya Milan Nabin Nima Pasang Pemba Rina Sanjay Sunil Tara Umesh"
    " Yangchen"
).split()
_HIMAL_LAST_NAMES = "Adhikari Gurung Karki Lama Magar Rai Shrestha Sherpa Tamang Thapa".split()  # noqa: SIM905 - as above

_ACME_GROUPS = (
    ("engineering", "Engineering", 26),
    ("research", "Research", 8),
    ("platform", "Platform", 8),
    ("data", "Data & Analytics", 7),
    ("product", "Product", 6),
    ("design", "Design", 4),
    ("sales", "Sales", 11),
    ("marketing", "Marketing", 6),
    ("support", "Customer Support", 9),
    ("finance", "Finance", 4),
    ("legal", "Legal", 3),
    ("people", "People & Culture", 3),
    ("security", "Security", 2),
    ("operations", "Operations", 3),
)
_HIMAL_GROUPS = (("guides", "Guides", 5), ("bookings", "Bookings", 3), ("engineering", "Engineering", 2))
_ACME_SERVICES = (
    ("ci-reviewer", "engineering"),
    ("support-triage", "support"),
    ("report-writer", "data"),
    ("contract-search", "legal"),
    ("paper-digest", "research"),
    ("lead-scoring", "sales"),
)
_HIMAL_SERVICES = (("booking-assistant", "bookings"),)

RUNAWAY = "support-triage"
"""The service account whose agents ran in a loop for a month."""


@dataclass(frozen=True, slots=True)
class DemoUser:
    """A user, and how the dataset lets them behave: `weight` is the share of the workspace's use."""

    new: NewUser
    group_slug: str | None
    weight: float


@dataclass(frozen=True, slots=True)
class DemoWorkspace:
    """A workspace with everyone in it."""

    id: UUID
    slug: str
    name: str
    zone: str
    groups: Sequence[NewGroup]
    users: Sequence[DemoUser]
    leading_group: str
    """Where its owner and its other persons to sign in as are at home."""


@dataclass(frozen=True, slots=True)
class _Plan:
    slug: str
    name: str
    zone: str
    groups: Sequence[tuple[str, str, int]]
    services: Sequence[tuple[str, str]]
    first_names: Sequence[str]
    last_names: Sequence[str]
    leading_group: str


_ACME = _Plan("acme", "Acme", "Europe/Berlin", _ACME_GROUPS, _ACME_SERVICES, _FIRST_NAMES, _LAST_NAMES, "engineering")
_HIMAL = _Plan(
    "himal", "Himal Treks", "Asia/Kathmandu", _HIMAL_GROUPS, _HIMAL_SERVICES, _HIMAL_FIRST_NAMES, _HIMAL_LAST_NAMES,
    "guides",
)  # fmt: skip

DEMO_PERSONS: Mapping[str, int] = MappingProxyType(
    {"OWNER": 0, "ADMIN": 1, "BILLING": 2, "ANALYST": 3, "GROUP_MANAGER": 4, "MEMBER": 5}
)
"""The people to sign in as, by their place among the users; the owner of `himal` is its first user."""

MANAGED_GROUPS = ("engineering", "research")
"""What the demo's group manager manages."""

# Log-normal weights: with this spread the first tenth of the users have half of the use, since the share of the
# first p of a log-normal is Phi(sigma - z(1 - p)), and z(0.9) is 1.28. A little less, for models add their own.
_SPREAD = 1.2
_MEMBER_WEIGHT = 3.0
_HOMELESS, _STILL_ACTIVE, _IN_SEVERAL = 0.015, 0.975, 0.15


@lru_cache(maxsize=4)
def acme(users: int) -> DemoWorkspace:
    """Return the large workspace with this many users."""
    return _workspace(_ACME, max(users, FEWEST_USERS))


@lru_cache(maxsize=4)
def himal(users: int) -> DemoWorkspace:
    """Return the small workspace that belongs with a large one of this many users."""
    return _workspace(_HIMAL, max(users // 16, 5))


def _workspace(plan: _Plan, count: int) -> DemoWorkspace:
    workspace_id = uuid5(_NAMESPACE, plan.slug)
    groups = [NewGroup(id=_group_id(plan, slug), slug=slug, name=name) for slug, name, _ in plan.groups]
    services = [_service(plan, *service) for service in plan.services]
    people = [_person(plan, index) for index in range(count - len(services))]
    return DemoWorkspace(
        workspace_id, plan.slug, plan.name, plan.zone, groups, [*people, *services], plan.leading_group
    )


def _group_id(plan: _Plan, slug: str) -> UUID:
    return uuid5(_NAMESPACE, f"{plan.slug}/group/{slug}")


def _person(plan: _Plan, index: int) -> DemoUser:
    # Each by a seed of its own: with more users the first ones stay who they are.
    rng = Random(f"{plan.slug}/person/{index}")  # noqa: S311 - a demo's dice, not a secret
    name, address = _name(plan, index)
    is_demo_person = index in DEMO_PERSONS.values()
    slugs = [slug for slug, _, _ in plan.groups]
    chosen = rng.choices(slugs, [share for _, _, share in plan.groups], k=1)
    first = plan.leading_group if is_demo_person else chosen[0]
    others = rng.sample(slugs, k=rng.choice((1, 1, 2))) if rng.random() < _IN_SEVERAL else []
    member_of = list(dict.fromkeys([first, *others]))
    fate = rng.random()
    home = None if fate < _HOMELESS and not is_demo_person else first
    weight = _MEMBER_WEIGHT if index == DEMO_PERSONS["MEMBER"] else rng.lognormvariate(0, _SPREAD)
    new = NewUser(
        id=uuid5(_NAMESPACE, f"{plan.slug}/person/{index}"),
        display_name=name,
        email=f"{address}@{plan.slug}.example",
        external_id=f"E{1000 + index}",
        kind=UserKind.PERSON,
        home_group_id=None if home is None else _group_id(plan, home),
        group_ids=tuple(_group_id(plan, slug) for slug in member_of),
        active=fate < _STILL_ACTIVE or is_demo_person,
    )
    return DemoUser(new, home, weight)


def _name(plan: _Plan, index: int) -> tuple[str, str]:
    firsts, lasts = plan.first_names, plan.last_names
    pairs = len(firsts) * len(lasts)
    # 1_009 is a prime above both lists' lengths: the walk meets every pair once before it comes round.
    pair = index * 1_009 % pairs
    first, last = firsts[pair % len(firsts)], lasts[pair // len(firsts)]
    number = str(index // pairs + 1) if index >= pairs else ""
    return f"{first} {last} {number}".rstrip(), f"{first}.{last}{number}".lower()


def _service(plan: _Plan, slug: str, home: str) -> DemoUser:
    rng = Random(f"{plan.slug}/service/{slug}")  # noqa: S311 - a demo's dice, not a secret
    new = NewUser(
        id=uuid5(_NAMESPACE, f"{plan.slug}/service/{slug}"),
        display_name=slug,
        email=None,
        external_id=f"svc-{slug}",
        kind=UserKind.SERVICE_ACCOUNT,
        home_group_id=_group_id(plan, home),
        group_ids=(_group_id(plan, home),),
    )
    return DemoUser(new, home, rng.uniform(2, 5))
