"""Ways to rows that one may not see: cursors, ids, batches, filters, keys and names that others have taken."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from creditdesk.graphql.ids import encode_id
from support.databases import FreshDatabase
from support.everything import furnish, gid, uid
from support.issuers import URL
from support.manifest import field_named, manifest
from support.random_values import cursors_of, tampered
from support.rows import FOREIGN_OWNER, FOREIGN_WRITER, SEATS, Rows, held_cells, row_word, sit_down
from support.world import (
    World,
    canary,
    email_of,
    external_id_of,
    group_id,
    group_slug,
    id_of,
    shown_id,
    user_id,
    world_of,
)

pytestmark = [
    # The stock executor leaves coroutines that it has made, and not yet awaited, where a field beside them fails.
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*<coroutine object:pytest.PytestUnraisableExceptionWarning"),
]
WITHIN_LIMITS = ("GROUP_MANAGER", "MEMBER", "usage:write", "limits:write", "members:write", "audit:read", "no user")
"""Those who do not see everyone's."""
LISTS = {
    "users(first: 9, after: $after, orderBy: {field: %s, direction: %s})": ["NAME ASC", "NAME DESC", "CREDITS DESC"],
    "users(last: 9, before: $after, orderBy: {field: %s, direction: %s})": ["NAME ASC", "CREDITS ASC"],
    "groups(first: 9, after: $after, orderBy: {field: %s, direction: %s})": ["NAME ASC", "CREDITS DESC"],
    "requests(first: 9, after: $after)": [""],
    "limits(first: 9, after: $after)": [""],
    "audit(first: 9, after: $after)": [""],
}
BELOW = "{ totalCount pageInfo { hasNextPage hasPreviousPage } nodes { __typename %s } edges { cursor } __typename }"


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database) as filled:
        furnish(filled)
        foreign = {"foreign owner": FOREIGN_OWNER, "foreign writer": FOREIGN_WRITER}
        sit_down(filled, {**SEATS, **foreign})
        yield filled


def check(rows: Rows, caller: str, data: object) -> None:
    for name, owner in held_cells(rows, data, ("workspace", "acme")):
        if name in manifest().fields:
            word = row_word(SEATS[caller], owner)
            assert word in manifest().expected(caller, field_named(name)), f"{caller} sees {name} of {' '.join(owner)}"


def lists() -> Iterator[tuple[str, str]]:
    """Yield a query of each list in each order, with its name."""
    for text, orders in LISTS.items():
        for order in orders:
            name = text.partition("(")[0]
            below = BELOW % ("actorSubject" if name == "audit" else "id")
            asked = text % tuple(order.split()) if order else text
            yield (
                name,
                f"query($after: String) {{ viewer {{ __typename workspace {{ __typename {asked} {below} }} }} }}",
            )


@pytest.mark.parametrize("caller", WITHIN_LIMITS)
def test_cursors_that_others_were_given_or_that_are_made_up_lead_only_to_one_s_own(world: World, caller: str) -> None:
    rows = Rows.of(world)
    given = cursors_of(world, ["OWNER", "foreign owner"])
    cursors = [*given, *tampered(given)[::7]]
    for name, query in lists():
        whole = world.answer(caller, query, after=None)["data"]["viewer"]["workspace"][name]
        total = whole["totalCount"] if whole else None
        for answer in world.ask_together([(caller, query, {"after": cursor}) for cursor in cursors]):
            if "errors" in answer:
                assert {error["extensions"]["code"] for error in answer["errors"]} == {"INVALID_CURSOR"}
                continue
            check(rows, caller, answer["data"])
            found = answer["data"]["viewer"]["workspace"][name]
            # Wherever a cursor points, the list is one's own, and so is its length.
            assert (found and found["totalCount"]) == total


@pytest.mark.parametrize("caller", WITHIN_LIMITS)
def test_the_uuid_of_one_thing_is_no_id_of_another(world: World, caller: str) -> None:
    rows = Rows.of(world)
    uuids = {id_: owner for name in ("mo", "zoe", "maya") for id_, owner in ((user_id(name), name),)}
    uuids |= {group_id(name): name for name in ("research", "sales", "guides")}
    types = ("User", "Group", "Workspace", "CreditLimit", "CreditRequest", "Hold", "Rate", "AuditEntry", "Query", "")
    ids = [encode_id(type_name, uuid) for uuid in uuids for type_name in types]
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
    found = world.ask(caller, query, ids=ids)["nodes"]
    check(rows, caller, found)
    assert [one["id"] for one in found if one] == [id_ for id_, one in zip(ids, found, strict=True) if one]


def test_ids_that_are_asked_for_together_are_each_answered_by_themselves(world: World) -> None:
    mine, hers = uid("mo"), uid("zoe")
    ids = [hers, mine, uid("maya"), mine, gid("sales"), shown_id("User", id_of("nowhere")), gid("research"), hers]
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    own = [None, {"id": mine}, None, {"id": mine}, None, None, {"id": gid("research")}, None]
    assert world.answer("MEMBER", query, ids=ids) == {"data": {"nodes": own}}
    assert world.errors("MEMBER", query, ids=[mine] * 101) == ["INVALID_INPUT"]
    assert world.errors("MEMBER", query, ids=[mine, "no-id"]) == world.errors("MEMBER", query, ids=["no-id", hers])


USERS = """query($filter: UserFilter!) { viewer { workspace {
  users(filter: $filter, first: 100) { totalCount nodes { id } } } } }"""


def users_found(world: World, caller: str, **filter_: Any) -> list[str]:
    users = world.ask(caller, USERS, filter=filter_)["viewer"]["workspace"]["users"]
    assert users["totalCount"] == len(users["nodes"])
    return sorted(node["id"] for node in users["nodes"])


def test_who_is_in_a_group_that_one_may_not_see_is_not_found_by_it(world: World) -> None:
    # Mia, whom Gina manages, joins a group that Gina neither manages nor is in.
    world.sql(
        "INSERT INTO group_member (workspace_id, group_id, user_id) SELECT workspace_id, %s, id FROM app_user"
        " WHERE id = %s RETURNING 1",
        group_id("sales"),
        user_id("mia"),
    )
    assert uid("mia") in users_found(world, "OWNER", groups=[gid("sales")])
    assert users_found(world, "GROUP_MANAGER", groups=[gid("sales")]) == []
    assert users_found(world, "GROUP_MANAGER", groups=[shown_id("Group", id_of("nowhere"))]) == []
    assert users_found(world, "GROUP_MANAGER", groups=[gid("research")]) == sorted(map(uid, ("mo", "mia", "ina")))
    # Gina's own group she may see, and that Mia is in it.
    assert users_found(world, "GROUP_MANAGER", groups=[gid("design")]) == sorted(map(uid, ("gina", "mia")))
    groups = "query($id: ID!) { node(id: $id) { ... on User { groups { id } } } }"
    shown = world.ask("GROUP_MANAGER", groups, id=uid("mia"))["node"]["groups"]
    assert sorted(one["id"] for one in shown) == sorted(map(gid, ("design", "research")))


HOLD = """mutation($input: PlaceHoldInput!) { placeHold(input: $input) { __typename ... on Hold { id }
  ... on UserError { code } } }"""
RECORD = """mutation($input: RecordUsageInput!) { recordUsage(input: $input) { __typename
  ... on RecordUsageSuccess { accepted duplicates rejected { code } } } }"""


def used(source: str, id_: str, user: str, **more: object) -> dict[str, object]:
    return {"source": source, "id": id_, "user": {"email": email_of(user)}, "product": "a", "model": "b"} | more


def test_a_key_that_another_workspace_has_used_is_free(world: World) -> None:
    """That a source has recorded an event, or placed a hold, is known in its workspace alone."""
    event = {"at": "2026-06-01T00:00:00Z", "credits": "1"}
    world.sql("UPDATE credit_limit SET amount = 10^9 WHERE NOT unlimited RETURNING 1")
    for caller, user in (("usage:write", "zoe"), ("foreign writer", "maya")):
        held = world.ask(caller, HOLD, input=used("the-gateway", "7", user, amount="1"))["placeHold"]
        assert held["__typename"] == "Hold", held
        recorded = world.ask(caller, RECORD, input={"events": [used("the-gateway", "8", user, **event)]})
        assert recorded["recordUsage"] == {
            "__typename": "RecordUsageSuccess", "accepted": 1, "duplicates": 0, "rejected": [],
        }  # fmt: skip
    again = world.ask("usage:write", HOLD, input=used("the-gateway", "7", "zoe", amount="2"))["placeHold"]
    assert again["code"] == "IDEMPOTENCY_CONFLICT"


CHANGES: Sequence[tuple[str, str, dict[str, Any]]] = (
    ("createUser", "CreateUserInput", {"displayName": "X", "email": email_of("maya")}),
    ("createUser", "CreateUserInput", {"displayName": "X", "externalId": external_id_of("maya")}),
    ("createGroup", "CreateGroupInput", {"slug": group_slug("guides"), "name": "X"}),
    ("linkIdentity", "LinkIdentityInput", {"user": {"id": uid("nora")}, "issuer": URL, "subject": "maya"}),
)


@pytest.mark.parametrize(("name", "type_name", "input_"), CHANGES)
def test_a_name_that_another_workspace_has_taken_is_free(
    world: World, name: str, type_name: str, input_: dict[str, Any]
) -> None:
    query = f"mutation($input: {type_name}!) {{ {name}(input: $input) {{ __typename ... on UserError {{ code }} }} }}"
    before = world.fingerprints("himal")
    answer = world.ask("OWNER", query, input=input_)
    assert answer[name]["__typename"].endswith("Success"), answer
    assert world.fingerprints("himal") == before
    # And the same once more is not free any more, since it is there now.
    if name != "linkIdentity":
        assert world.ask("OWNER", query, input=input_)[name]["code"] == "TAKEN"


def test_no_error_text_names_what_the_caller_did_not_name_themselves(world: World) -> None:
    queries = [
        "query($id: ID!) { node(id: $id) { ... on User { usage(range: {preset: TODAY}) { credit } } } }",
        'query($id: ID!) { node(id: $id) { id } nodes(ids: [$id, "bad"]) { id } }',
        "query($id: ID!) { viewer { workspace { user(by: {id: $id}) { groups(first: 1) { id } } } } }",
        "query($id: ID!) { viewer { workspace { users(filter: {groups: [$id]}) { totalCount } } } }",
        "mutation($id: ID!) { cancelCreditRequest(input: {id: $id}) { __typename ... on UserError { message } } }",
    ]
    for query in queries:
        for id_, name in ((uid("zoe"), "zoe"), (uid("maya"), "maya")):
            text = json.dumps(world.answer("MEMBER", query, id=id_))
            assert canary("user", name) not in text
            assert text == json.dumps(world.answer("MEMBER", query, id=shown_id("User", id_of("nowhere"))))
