"""Everything that can be asked of the world, in every way: through fields, connections, ids, filters and orders."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import strawberry

from creditdesk.credits.controls import changing_controls, load_controls
from creditdesk.credits.hold_rules import hold_id
from creditdesk.credits.limit_rules import NewLimit, write_limits
from creditdesk.credits.limits import Limited, LimitKind, LimitScope, Shape
from creditdesk.credits.periods import Cadence
from creditdesk.credits.permitted import Actor
from creditdesk.db.scopes import DatabaseRole, RowScope
from creditdesk.graphql.ids import decode_id
from creditdesk.graphql.schema import schema
from support.documents import MaximalDocument, composite_types, leading_to_nodes
from support.world import (
    FIRST_DAY,
    LAST_DAY,
    NOW,
    PLACES,
    Place,
    World,
    canary,
    email_of,
    external_id_of,
    group_id,
    group_slug,
    id_of,
    own_product,
    shown_id,
    user_id,
    workspace_id,
    workspace_slug,
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
# Without filters, every row has something of everything.
_UNFILTERED = {
    "Workspace.usage": _USAGE[:2],
    "User.usage": _USAGE[:2],
    "Group.usage": [*_USAGE[:2], *ARGUMENTS["Group.usage"][-2:]],
}
ROUNDS = 4
_TURNS = 7
_MOST_IDS = 100
_LATE = datetime(2099, 1, 1, tzinfo=UTC)
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
    """Return documents, each with its variables, that select everything in every way, each object through others."""
    for round_ in range(ROUNDS):
        writer = MaximalDocument(schema, ARGUMENTS, round_, SHALLOW, {"CreditUsage": 2 if round_ == 0 else 1})
        for root in ("viewer", "workspace"):
            yield f"query {writer.root(root)}", {}
        for owner in [*NODES, *HOLDS][round_::ROUNDS]:
            yield f"query($id: ID!) {writer.node(owner.split('/')[0].title())}", {"id": IDS[owner]}


DOCUMENTS = list(maximal_documents())


def documents_of_rows(ids: Iterable[str], turns: int = _TURNS) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Return documents that select everything of these objects in every way, and of others only plain fields."""
    kinds: dict[str, list[str]] = {}
    for id_ in sorted(ids):
        kinds.setdefault(decode_id(strawberry.ID(id_))[0], []).append(id_)
    types, lean = composite_types(schema), leading_to_nodes(schema)
    for type_name, of_type in kinds.items():
        # Each way differs from the others only for types with fields that take arguments.
        texts: dict[str, None] = {}
        for turn in range(turns):
            writer = MaximalDocument(schema, ARGUMENTS | _UNFILTERED, turn, lean, turns=True)
            texts[writer.selection(types[type_name], ("Query",))] = None
        for text in texts:
            for start in range(0, len(of_type), _MOST_IDS):
                query = f"query($ids: [ID!]!) {{nodes(ids: $ids) {{__typename ... on {type_name} {text}}}}}"
                yield query, {"ids": of_type[start : start + _MOST_IDS]}
    for root in ("viewer", "rateLimit"):
        yield f"query {MaximalDocument(schema, ARGUMENTS, 0, lean, turns=True).root(root)}", {}


def furnish(world: World) -> None:
    """Have something in every field of every row, also where nothing is an answer as well."""
    world.sql(
        "UPDATE workspace_settings SET manager_ceiling = 0, auto_approval_per_period = 0,"
        " anchor_since = '{1970-01-01,2099-01-01}', anchor_days = '{1,15}' RETURNING 1"
    )
    for place in PLACES:
        world.run(_limit_everything(world, place))
    # A manager sees who set a limit that they set themselves.
    world.sql(
        "UPDATE credit_limit SET set_by = %s WHERE scope_id = ANY (%s) RETURNING 1",
        user_id("gina"),
        [user_id("mia"), group_id("research")],
    )
    world.sql(
        "UPDATE hold AS h SET state = 'SETTLED', ended_at = placed_at, settled_amount = 1, passed_soft = ARRAY("
        " SELECT l.id FROM credit_limit AS l WHERE l.workspace_id = h.workspace_id AND l.scope = 'WORKSPACE')"
        " RETURNING 1"
    )


async def _limit_everything(world: World, place: Place) -> None:
    """Set limits with a reason and an end on every group and on the workspace, of all usage and of a model."""
    id_, owner = workspace_id(place.name), place.people[0].name
    scopes = [(LimitScope.WORKSPACE, id_), *((LimitScope.GROUP, group_id(slug)) for slug in place.groups)]
    shapes = (Shape(Cadence.MONTH), Shape(Cadence.MONTH, "video", "pro"))
    rules = [
        NewLimit(scope, scope_id, kind, shape, Limited(0), expires_at=_LATE, reason="A trial.")
        for scope, scope_id in scopes
        for kind in LimitKind
        for shape in shapes
    ]
    async with world.database.transaction(RowScope(DatabaseRole.ADMINISTRATOR, id_)) as conn:
        await changing_controls(conn, id_)
        controls = await load_controls(conn, id_)
        actor = Actor("PERSON", owner, user_id(owner))
        await write_limits(conn, controls, workspace_id=id_, actor=actor, rules=rules, now=NOW)
