"""How every operation is called, on whose row: a case for each operation of docs/access.toml.

A case takes the world and an owner (a kind and a name; `NOBODY` names what is not there), puts in place what the
operation is about, and returns its variable `input`. To add one: a function under the operation's name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from creditdesk.credits.hold_rules import hold_id
from support.issuers import URL
from support.rows import Owner
from support.world import (
    PLACES,
    World,
    canary,
    email_of,
    group_id,
    group_slug,
    id_of,
    shown_id,
    user_id,
    workspace_id,
    workspace_slug,
)

NOBODY = "nobody"
Case = Callable[[World, Owner], Mapping[str, Any]]
_numbers = count(1)
_MARCH = {"first": "2026-03-12", "last": "2026-03-20"}


@dataclass(frozen=True, slots=True)
class Call:
    """How an operation is written: its variables with their types, and its arguments."""

    case: Case
    declared: str
    arguments: str = "(input: $input)"


CALLS: dict[str, Call] = {}
"""By the operation, and what tells several ways of using it apart: `setLimit, shared`."""


def _on(name: str, declared: str, arguments: str = "(input: $input)") -> Callable[[Case], Case]:
    def remember(case: Case) -> Case:
        CALLS[name] = Call(case, declared, arguments)
        return case

    return remember


def _place_of(owner: Owner) -> str:
    kind, name = owner
    for place in PLACES:
        people = {person.name for person in place.people}
        if name in {"user": people, "group": set(place.groups), "workspace": {place.name}}[kind]:
            return place.name
    return "acme"


def _target(owner: Owner) -> dict[str, Any]:
    kind, name = owner
    match kind:
        case "user":
            return {"user": {"id": shown_id("User", user_id(name))}}
        case "group":
            return {"group": {"slug": group_slug(name)}}
        case _:
            return {"workspace": True}


def _pending_request(world: World, owner: Owner) -> str:
    """Have the owner's request for all usage wait for a decision, and return its id."""
    name = owner[1]
    world.sql(
        "UPDATE credit_request SET state = 'PENDING', created_at = now(), expires_at = now() + interval '1 day',"
        " until = NULL, duration = 'THIS_PERIOD', decided_at = NULL, decided_by = NULL, decision_note = NULL,"
        " granted_amount = NULL, granted_until = NULL, limit_id = NULL, automatic = false"
        " WHERE user_id = %s AND product = '' RETURNING 1",
        user_id(name),
    )
    found = world.sql("SELECT id FROM credit_request WHERE user_id = %s AND product = ''", user_id(name))
    return shown_id("CreditRequest", found[0][0] if found else id_of("request", name))


def _held(world: World, owner: Owner) -> str:
    """Have a hold of the owner's not yet ended, and return its id."""
    name = owner[1]
    id_ = hold_id(workspace_id(_place_of(owner)), canary("hold", name), "1")
    world.sql(
        "UPDATE hold SET state = 'HELD', ended_at = NULL, settled_amount = NULL, overage = 0, settlement_hash = NULL,"
        " expires_at = date_trunc('hour', now()) + interval '2 hours', placed_at = now(), passed_soft = '{}'"
        " WHERE id = %s RETURNING 1",
        id_,
    )
    return shown_id("Hold", id_)


def _limit(world: World, owner: Owner) -> tuple[str, int]:
    """Return the id and the version of a limit that is set on the owner for each user, which is there once more."""
    kind, name = owner
    scope_id = {"user": user_id, "group": group_id, "workspace": workspace_id}[kind](name)
    id_ = id_of("limit", kind, name)
    world.sql(
        "INSERT INTO credit_limit (workspace_id, id, scope, scope_id, kind, cadence, product, model, temporary,"
        " unlimited, amount, enforcement, starts_at, set_at, version)"
        " SELECT %s, %s, %s, %s, 'EACH_USER', 'DAY', 'image', '', false, false, 0, 'HARD', now(), now(), 1"
        " WHERE %s ON CONFLICT DO NOTHING RETURNING 1",
        workspace_id(_place_of(owner)),
        id_,
        kind.upper(),
        scope_id,
        name != NOBODY,
    )
    return shown_id("CreditLimit", id_), 1


@_on("approveCreditRequest", "$input: ApproveCreditRequestInput!")
def _approve(world: World, owner: Owner) -> dict[str, Any]:
    return {"id": _pending_request(world, owner), "amount": "1"}


@_on("denyCreditRequest", "$input: DenyCreditRequestInput!")
def _deny(world: World, owner: Owner) -> dict[str, Any]:
    return {"id": _pending_request(world, owner)}


@_on("cancelCreditRequest", "$input: CancelCreditRequestInput!")
def _cancel(world: World, owner: Owner) -> dict[str, Any]:
    return {"id": _pending_request(world, owner)}


@_on("requestCredits", "$input: RequestCreditsInput!")
def _request(world: World, _owner: Owner) -> dict[str, Any]:
    world.sql("UPDATE credit_request SET state = 'EXPIRED' WHERE state = 'PENDING' AND product = 'image' RETURNING 1")
    return {"amount": "1", "reason": "A launch.", "product": "image"}


@_on("setLimit", "$input: SetLimitInput!")
def _set_limit(_world: World, owner: Owner) -> dict[str, Any]:
    return {"target": _target(owner), "value": {"amount": "0"}, "product": "audio"}


@_on("setLimit, shared", "$input: SetLimitInput!")
def _set_shared_limit(_world: World, owner: Owner) -> dict[str, Any]:
    return {"target": _target(owner), "value": {"amount": "0"}, "product": "audio", "kind": "SHARED"}


@_on("setLimits", "$input: SetLimitsInput!")
def _set_limits(_world: World, owner: Owner) -> dict[str, Any]:
    return {"users": [_target(owner)["user"]], "value": {"amount": "0"}, "product": "audio"}


@_on("removeLimit", "$input: RemoveLimitInput!")
def _remove_limit(world: World, owner: Owner) -> dict[str, Any]:
    _limit(world, ("workspace", "acme"))  # what takes its place, so that nobody has more than a manager may give
    id_, version = _limit(world, owner)
    return {"id": id_, "expectedVersion": version}


@_on("simulateLimits", "$input: SimulateLimitsInput!")
def _simulate(_world: World, owner: Owner) -> dict[str, Any]:
    return {"limits": [{"target": _target(owner), "value": {"amount": "0"}}], "range": _MARCH, "first": 1}


@_on("setManagerCeiling", "$input: SetManagerCeilingInput!")
def _set_ceiling(_world: World, owner: Owner) -> dict[str, Any]:
    return {"group": _target(owner)["group"], "ceiling": "5"}


@_on("changeSettings", "$input: ChangeSettingsInput!")
def _change_settings(world: World, _owner: Owner) -> dict[str, Any]:
    [(version,)] = world.sql("SELECT version FROM workspace_settings WHERE workspace_id = %s", workspace_id("acme"))
    return {"expectedVersion": version, "cooldownHours": next(_numbers) % 2}


@_on("setRates", "$input: SetRatesInput!")
def _set_rates(_world: World, _owner: Owner) -> dict[str, Any]:
    product = f"priced-{next(_numbers)}"
    return {"rates": [{"product": product, "meter": "TASK", "price": "1", "effectiveFrom": "2026-01-01T00:00:00Z"}]}


@_on("removeRate", "$input: RemoveRateInput!")
def _remove_rate(world: World, owner: Owner) -> dict[str, Any]:
    id_ = id_of("rate", owner[1])
    world.sql(
        "INSERT INTO rate (workspace_id, id, product, model, meter, price, effective_from, set_at)"
        " SELECT %s, %s, 'to-come', '', 'TASK', 1, now() + interval '1 year', now() WHERE %s"
        " ON CONFLICT DO NOTHING RETURNING 1",
        workspace_id(_place_of(owner)),
        id_,
        owner[1] != NOBODY,
    )
    return {"id": shown_id("Rate", id_)}


def _event(owner: Owner) -> dict[str, Any]:
    return {
        "source": "matrix",
        "id": f"{next(_numbers)}",
        "user": {"email": email_of(owner[1])},
        "product": "api",
        "model": "tiny",
    }


@_on("recordUsage", "$input: RecordUsageInput!")
def _record(_world: World, owner: Owner) -> dict[str, Any]:
    return {"events": [_event(owner) | {"at": "2026-06-01T00:00:00Z", "credits": "1"}]}


@_on("authorize", "$input: PlaceHoldInput!")
def _authorize(_world: World, owner: Owner) -> dict[str, Any]:
    return _event(owner) | {"amount": "0.000001"}


@_on("placeHold", "$input: PlaceHoldInput!")
def _place(_world: World, owner: Owner) -> dict[str, Any]:
    return _event(owner) | {"amount": "0.000001"}


@_on("placeHolds", "$input: PlaceHoldsInput!")
def _place_many(_world: World, owner: Owner) -> dict[str, Any]:
    return {"holds": [_event(owner) | {"amount": "0.000001"}]}


@_on("settleHold", "$input: SettleHoldInput!")
def _settle(world: World, owner: Owner) -> dict[str, Any]:
    world.sql("DELETE FROM usage_event_key WHERE source = %s RETURNING 1", canary("hold", owner[1]))
    return {"id": _held(world, owner), "amount": "0"}


@_on("settleHolds", "$input: SettleHoldsInput!")
def _settle_many(world: World, owner: Owner) -> dict[str, Any]:
    return {"holds": [_settle(world, owner)]}


@_on("releaseHold", "$input: ReleaseHoldInput!")
def _release(world: World, owner: Owner) -> dict[str, Any]:
    return {"id": _held(world, owner)}


@_on("releaseHolds", "$input: ReleaseHoldsInput!")
def _release_many(world: World, owner: Owner) -> dict[str, Any]:
    return {"holds": [_release(world, owner)]}


def _user(owner: Owner) -> dict[str, Any]:
    return {"email": email_of(owner[1])}


@_on("createUser", "$input: CreateUserInput!")
def _create_user(_world: World, _owner: Owner) -> dict[str, Any]:
    return {"displayName": "Somebody New", "externalId": f"new-{next(_numbers)}"}


@_on("createGroup", "$input: CreateGroupInput!")
def _create_group(_world: World, _owner: Owner) -> dict[str, Any]:
    return {"slug": f"new-{next(_numbers)}", "name": "New"}


@_on("syncDirectory", "$input: SyncDirectoryInput!")
def _sync(_world: World, _owner: Owner) -> dict[str, Any]:
    return {"users": [{"displayName": "Somebody Else", "externalId": f"new-{next(_numbers)}"}]}


@_on("updateUser", "$input: UpdateUserInput!")
def _update_user(_world: World, owner: Owner) -> dict[str, Any]:
    return {"user": _user(owner), "displayName": f"Another Name {next(_numbers)}"}


@_on("updateGroup", "$input: UpdateGroupInput!")
def _update_group(_world: World, owner: Owner) -> dict[str, Any]:
    return {**_target(owner), "name": f"Another Name {next(_numbers)}"}


@_on("deactivateUser", "$input: UserInput!")
def _deactivate(_world: World, owner: Owner) -> dict[str, Any]:
    return {"user": _user(owner)}


@_on("reactivateUser", "$input: UserInput!")
def _reactivate(_world: World, owner: Owner) -> dict[str, Any]:
    return {"user": _user(owner)}


@_on("endSessions", "$input: UserInput!")
def _end_sessions(_world: World, owner: Owner) -> dict[str, Any]:
    return {"user": _user(owner)}


def _members(owner: Owner) -> dict[str, Any]:
    group, user = (owner, ("user", "nora")) if owner[0] == "group" else (("group", "platform"), owner)
    return {**_target(group), "users": [_user(user)]}


@_on("addGroupMembers", "$input: GroupMembersInput!")
def _add_members(_world: World, owner: Owner) -> dict[str, Any]:
    return _members(owner)


@_on("removeGroupMembers", "$input: GroupMembersInput!")
def _remove_members(_world: World, owner: Owner) -> dict[str, Any]:
    return _members(owner)


@_on("setHomeGroup", "$input: SetHomeGroupInput!")
def _set_home_group(_world: World, owner: Owner) -> dict[str, Any]:
    if owner[0] == "user":
        return {"user": _user(owner), "group": None}
    # Somebody who is in the group, since a home group is one of their own.
    person = {"research": "mo", "design": "gina", "sales": "zoe"}.get(owner[1], "nora")
    return {"user": _user(("user", person)), **_target(owner)}


@_on("linkIdentity", "$input: LinkIdentityInput!")
def _link(_world: World, owner: Owner) -> dict[str, Any]:
    return {"user": _user(owner), "issuer": URL, "subject": f"another-{next(_numbers)}"}


@_on("unlinkIdentity", "$input: UnlinkIdentityInput!")
def _unlink(_world: World, owner: Owner) -> dict[str, Any]:
    return {"issuer": URL, "subject": owner[1]}


@_on("viewer", "", "")
def _viewer(_world: World, _owner: Owner) -> dict[str, Any]:
    return {}


@_on("rateLimit", "", "")
def _rate_limit(_world: World, _owner: Owner) -> dict[str, Any]:
    return {}


@_on("node", "$input: ID!", "(id: $input)")
def _node(_world: World, _owner: Owner) -> Any:
    return shown_id("Workspace", workspace_id("acme"))


@_on("nodes", "$input: [ID!]!", "(ids: $input)")
def _nodes(_world: World, _owner: Owner) -> Any:
    return [shown_id("Workspace", workspace_id("acme"))]


@_on("workspace", "$input: WorkspaceBy!", "(by: $input)")
def _workspace(_world: World, _owner: Owner) -> dict[str, Any]:
    return {"slug": workspace_slug("acme")}
