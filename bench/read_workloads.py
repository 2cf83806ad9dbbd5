"""What is asked of each candidate in each workload, and what its answer means: the same for all, or no timing."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from read_dataset import Company

from creditdesk.credits.amounts import MICRO
from creditdesk.credits.ranges import RangePreset, months_of, range_of_preset

Canonical = Any


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests of one workload for one candidate: a random one is sent each time, and the first one is compared."""

    path: str
    bodies: Sequence[Any]
    headers: Sequence[Mapping[str, str]]
    meaning: Callable[[Any], Canonical]


@dataclass(frozen=True, slots=True)
class Scene:
    """What workloads are about. `tokens` are of the owner, and of the members who ask for their own balance."""

    company: Company
    today: date
    members: Sequence[UUID]
    owner_token: str
    member_tokens: Sequence[str]
    cursor: str

    def days(self, count: int) -> tuple[str, str]:
        """Return the first and the last of so many days up to today."""
        return str(self.today - timedelta(days=count - 1)), str(self.today)

    @property
    def months(self) -> list[object]:
        """Return 90 days as months, and the days that are added to them or taken away, as a statement takes them."""
        found = months_of(range_of_preset(RangePreset.LAST_90_DAYS, zone="UTC", now=datetime.now(UTC)))
        days = found.days
        firsts, lasts = [str(span.first) for span in days], [str(span.last) for span in days]
        return [str(found.start), str(found.end), firsts, lasts, [span.sign for span in days]]


WORKLOADS = {
    "R1": "nested: every group with its budget, 50 people each with theirs, and their usage over 30 days",
    "R1s": "nested, small: the same of 2 groups and 10 people each",
    "R2": "own balance: a random member's budget, and usage over 30 days",
    "R3": "trend: daily credits by product over 90 days, and the top 20 people",
    "R4": "ledger page: people by credits this month, second page of 50, with the total count",
}
_SIZES = {"R1": (50, 50), "R1s": (2, 10)}


def _micro(text: str | None) -> int:
    return int(Decimal(text or 0) * MICRO)


def _bearer(token: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {token}"}


_BUDGET = "budget { limit { ... on LimitedTo { amount } } used held }"
_USAGE = (
    "usage(range: $range) { breakdown(by: [PRODUCT, MODEL], first: 50) { rows { product model credits requests } } }"
)
_CREDITDESK = {
    "nested": f"""query Nested($groups: Int!, $people: Int!, $range: RangeInput!) {{ viewer {{ workspace {{
      groups(first: $groups) {{ nodes {{ id name {_BUDGET} members(first: $people) {{ nodes {{
        id displayName {_BUDGET} {_USAGE} }} }} }} }} }} }} }}""",
    "own": f"query Own($range: RangeInput!) {{ viewer {{ user {{ id displayName {_BUDGET} {_USAGE} }} }} }}",
    "trend": """query Trend($range: RangeInput!) { viewer { workspace { usage(range: $range) {
      series(interval: DAY, by: PRODUCT) { key { product } points { start credits } }
      breakdown(by: [USER], first: 20) { rows { credits user { id displayName } } } } } } }""",
    "people": """query People($after: String!) { viewer { workspace {
      users(first: 50, after: $after, orderBy: {field: CREDITS, direction: DESC}) {
        totalCount nodes { id displayName } } } } }""",
}


def of_creditdesk(workload: str, scene: Scene) -> Asked:
    """Return what creditdesk is asked: with a token, under every protection."""
    first, last = scene.days(90 if workload == "R3" else 30)
    range_ = {"days": {"first": first, "last": last}}

    def budget(found: Any) -> Canonical:
        return (_micro(found["limit"]["amount"]), _micro(found["used"]), _micro(found["held"]))

    def person(found: Any) -> Canonical:
        rows = found["usage"]["breakdown"]["rows"]
        used = [(one["product"], one["model"], _micro(one["credits"]), int(one["requests"])) for one in rows]
        return (found["displayName"], budget(found["budget"]), used)

    def groups(found: Any) -> Canonical:
        nodes = found["data"]["viewer"]["workspace"]["groups"]["nodes"]
        return [(one["name"], budget(one["budget"]), [*map(person, one["members"]["nodes"])]) for one in nodes]

    def trend(found: Any) -> Canonical:
        usage = found["data"]["viewer"]["workspace"]["usage"]
        points = sorted(
            (point["start"][:10], series["key"]["product"], _micro(point["credits"]))
            for series in usage["series"]
            if not series["key"].get("other")
            for point in series["points"]
            if point["credits"] != "0"
        )
        return points, [(one["user"]["displayName"], _micro(one["credits"])) for one in usage["breakdown"]["rows"]]

    def people(found: Any) -> Canonical:
        users = found["data"]["viewer"]["workspace"]["users"]
        return users["totalCount"], [one["displayName"] for one in users["nodes"]]

    owner = [_bearer(scene.owner_token)]
    match workload:
        case "R1" | "R1s":
            size = _SIZES[workload]
            variables: dict[str, Any] = {"groups": size[0], "people": size[1], "range": range_}
            return _graphql(_CREDITDESK["nested"], variables, owner, groups)
        case "R2":
            members = [_bearer(token) for token in scene.member_tokens]
            return _graphql(
                _CREDITDESK["own"], {"range": range_}, members, lambda found: person(found["data"]["viewer"]["user"])
            )
        case "R3":
            return _graphql(_CREDITDESK["trend"], {"range": range_}, owner, trend)
        case _:
            return _graphql(_CREDITDESK["people"], {"after": scene.cursor}, owner, people)


def _graphql(
    query: str, variables: Any, headers: Sequence[Mapping[str, str]], meaning: Callable[[Any], Canonical]
) -> Asked:
    return Asked("/graphql", [{"query": query, "variables": variables}] * len(headers), headers, meaning)


_PERSON = (
    "{ name budget { limit used held } usage(firstDay: $first, lastDay: $last) { product model credits requests } }"
)
_PLAIN = {
    "nested": f"""query($groups: Int!, $people: Int!, $first: Date!, $last: Date!) {{
      groups(first: $groups) {{ id name budget {{ limit used held }} members(first: $people) {_PERSON} }} }}""",
    "own": f"query($first: Date!, $last: Date!) {{ me {_PERSON} }}",
    "trend": """query($first: Date!, $last: Date!) { trend(firstDay: $first, lastDay: $last) { day product credits }
      top(firstDay: $first, lastDay: $last, first: 20) { user { id name } credits } }""",
    "people": "query($month: Date!) { people(month: $month, skip: 50) { total people { id name } } }",
}


def _peer_person(found: Any, usage: str) -> Canonical:
    used = [(one["product"], one["model"], int(one["credits"]), int(one["requests"])) for one in found[usage]]
    return (found["name"], _peer_budget(found["budget"]), used)


def _peer_budget(found: Any) -> Canonical:
    return (int(found["limit"]), int(found["used"]), int(found["held"]))


def of_plain(workload: str, scene: Scene) -> Asked:
    """Return what the plain peer is asked."""
    first, last = scene.days(90 if workload == "R3" else 30)
    days = {"first": first, "last": last}
    nobody: list[Mapping[str, str]] = [{}]

    def groups(found: Any) -> Canonical:
        return [
            (one["name"], _peer_budget(one["budget"]), [_peer_person(member, "usage") for member in one["members"]])
            for one in found["data"]["groups"]
        ]

    def trend(found: Any) -> Canonical:
        points = sorted((one["day"], one["product"], int(one["credits"])) for one in found["data"]["trend"])
        return points, [(one["user"]["name"], int(one["credits"])) for one in found["data"]["top"]]

    def people(found: Any) -> Canonical:
        return found["data"]["people"]["total"], [one["name"] for one in found["data"]["people"]["people"]]

    match workload:
        case "R1" | "R1s":
            size = _SIZES[workload]
            asked = _graphql(_PLAIN["nested"], {"groups": size[0], "people": size[1], **days}, nobody, groups)
        case "R2":
            callers = [{"x-user-id": str(member)} for member in scene.members]
            asked = _graphql(_PLAIN["own"], days, callers, lambda found: _peer_person(found["data"]["me"], "usage"))
        case "R3":
            asked = _graphql(_PLAIN["trend"], days, nobody, trend)
        case _:
            asked = _graphql(_PLAIN["people"], {"month": str(scene.today.replace(day=1))}, nobody, people)
    return asked


_LISTED = (
    "{ rowId name budget { limit used held }"
    " usageList(firstDay: $first, lastDay: $last) { product model credits requests } }"
)
_POSTGRAPHILE = {
    "nested": f"""query($workspace: UUID!, $groups: Int!, $people: Int!, $first: Date!, $last: Date!) {{
      firstGroupsList(workspace: $workspace, size: $groups) {{ rowId name budget {{ limit used held }}
        membersList(size: $people) {_LISTED} }} }}""",
    "me": f"query($first: Date!, $last: Date!) {{ me {_LISTED} }}",
    "one": f"""query($workspace: UUID!, $member: UUID!, $first: Date!, $last: Date!) {{
      one(workspace: $workspace, member: $member) {_LISTED} }}""",
    "trend": """query($workspace: UUID!, $first: Date!, $last: Date!) {
      trendList(workspace: $workspace, firstDay: $first, lastDay: $last) { day product credits }
      topList(workspace: $workspace, firstDay: $first, lastDay: $last, size: 20) { userId name credits } }""",
    "people": """query($workspace: UUID!, $month: Date!) { peopleCount(workspace: $workspace)
      peopleList(workspace: $workspace, month: $month, skip: 50) { rowId name } }""",
}


def of_postgraphile(workload: str, scene: Scene, *, by_settings: bool) -> Asked:
    """Return what PostGraphile is asked: with the caller in PostgreSQL's settings, or as a variable."""
    first, last = scene.days(90 if workload == "R3" else 30)
    workspace = str(scene.company.id)
    days = {"workspace": workspace, "first": first, "last": last}
    nobody: list[Mapping[str, str]] = [{}]

    def groups(found: Any) -> Canonical:
        return [
            (
                one["name"],
                _peer_budget(one["budget"]),
                [_peer_person(member, "usageList") for member in one["membersList"]],
            )
            for one in found["data"]["firstGroupsList"]
        ]

    def trend(found: Any) -> Canonical:
        points = sorted((one["day"], one["product"], int(one["credits"])) for one in found["data"]["trendList"])
        return points, [(one["name"], int(one["credits"])) for one in found["data"]["topList"]]

    def people(found: Any) -> Canonical:
        return int(found["data"]["peopleCount"]), [one["name"] for one in found["data"]["peopleList"]]

    match workload:
        case "R1" | "R1s":
            size = _SIZES[workload]
            asked = _graphql(_POSTGRAPHILE["nested"], {"groups": size[0], "people": size[1], **days}, nobody, groups)
        case "R2" if by_settings:
            callers = [{"x-user-id": str(member), "x-workspace-id": workspace} for member in scene.members]
            asked = _graphql(
                _POSTGRAPHILE["me"],
                {"first": first, "last": last},
                callers,
                lambda found: _peer_person(found["data"]["me"], "usageList"),
            )
        case "R2":
            bodies = [
                {"query": _POSTGRAPHILE["one"], "variables": {**days, "member": str(member)}}
                for member in scene.members
            ]
            asked = Asked(
                "/graphql", bodies, nobody * len(bodies), lambda found: _peer_person(found["data"]["one"], "usageList")
            )
        case "R3":
            asked = _graphql(_POSTGRAPHILE["trend"], days, nobody, trend)
        case _:
            month = str(scene.today.replace(day=1))
            asked = _graphql(_POSTGRAPHILE["people"], {"workspace": workspace, "month": month}, nobody, people)
    return asked


def of_floor(workload: str, scene: Scene) -> Asked:
    """Return what the floor is asked: parameters alone."""
    days = scene.days(90 if workload == "R3" else 30)
    workspace = str(scene.company.id)
    nobody: list[Mapping[str, str]] = [{}]

    def groups(found: Any) -> Canonical:
        return [
            (one["name"], _peer_budget(one["budget"]), [_peer_person(member, "usage") for member in one["members"]])
            for one in found
        ]

    def trend(found: Any) -> Canonical:
        points = sorted((one["day"], one["product"], one["credits"]) for one in found["series"])
        return points, [(one["name"], one["credits"]) for one in found["top"]]

    match workload:
        case "R1" | "R1s":
            return Asked("/nested", [[workspace, *days, *_SIZES[workload]]], nobody, groups)
        case "R2":
            bodies = [[workspace, *days, str(member)] for member in scene.members]
            return Asked("/own", bodies, nobody * len(bodies), lambda found: _peer_person(found, "usage"))
        case "R3":
            return Asked("/trend", [[workspace, *days, 20, *scene.months]], nobody, trend)
        case _:
            return Asked(
                "/people",
                [[workspace, days[1], 50]],
                nobody,
                lambda found: (found["total"], [one["name"] for one in found["people"]]),
            )


def of_days(workload: str, scene: Scene) -> Asked:
    """Return what the floor is asked where there is only a daily rollup by user, for R3."""
    asked = of_floor(workload, scene)
    return replace(asked, path="/trend-of-days", bodies=[body[:4] for body in asked.bodies])


def wire(asked: Asked, host: str) -> list[str]:
    """Return the requests as they go over the wire."""
    requests = []
    for body, headers in zip(asked.bodies, asked.headers, strict=True):
        text = json.dumps(body)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = [f"POST {asked.path} HTTP/1.1", f"host: {host}", "content-type: application/json", *lines]
        requests.append("\r\n".join([*head, f"content-length: {len(text.encode())}", "", text]))
    return requests


def owner_of(company: Company) -> UUID:
    """Return who owns the workspace, and is none of those members."""
    return company.users[-1]


def some_members(company: Company, count: int) -> list[UUID]:
    """Return members who ask for their own balance."""
    return random.Random(2).sample(company.users[:-1], count)  # noqa: S311 - the same in every run
