"""Putting people in place, and finding who signs in."""

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from creditdesk.credits.directory import (
    Identity,
    NewUser,
    UserKind,
    put_identities,
    put_users,
    put_workspace,
    sign_in,
    sort_name,
    workspace_by_slug,
)
from creditdesk.credits.errors import InvalidInputError
from support.ledgers import NOW, Desk, Ledger, new_ledger

ISSUER = "https://issuer.example"


def link(ledger: Ledger, subject: str, user: str, issuer: str = ISSUER) -> None:
    async def put() -> None:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            identity = Identity(issuer, subject, ledger.users[user])
            await put_identities(conn, workspace_id=ledger.workspace_id, identities=[identity])

    ledger.desk.run(put())


def signed_in(ledger: Ledger, subject: str, issuer: str = ISSUER, groups: tuple[str, ...] = ()) -> tuple[object, ...]:
    found = ledger.desk.run(
        sign_in(
            ledger.desk.database,
            workspace_slug=ledger.workspace_id.hex,
            issuer=issuer,
            subject=subject,
            managed_group_slugs=groups,
        )
    )
    assert found.workspace.id == ledger.workspace_id
    return found.user_id, found.active, found.managed_groups


def put(ledger: Ledger, *, zone: str = "UTC", slug: str | None = None, name: str = "A ledger") -> None:
    async def putting() -> None:
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            await put_workspace(
                conn,
                workspace_id=ledger.workspace_id,
                slug=slug or ledger.workspace_id.hex,
                name=name,
                zone=zone,
                now=NOW,
            )

    ledger.desk.run(putting())


def test_an_identity_is_an_issuer_and_a_subject_together(ledger: Ledger) -> None:
    link(ledger, "s1", "ada")
    assert signed_in(ledger, "s1") == (ledger.users["ada"], True, frozenset())
    assert signed_in(ledger, "s1", issuer="https://elsewhere.example") == (None, True, frozenset())
    assert signed_in(ledger, "ada@example.com") == (None, True, frozenset())
    link(ledger, "s1", "bob")
    assert signed_in(ledger, "s1")[0] == ledger.users["bob"]


def test_a_manager_s_groups_are_those_of_their_own_workspace(desk: Desk, ledger: Ledger) -> None:
    other = new_ledger(desk)
    other.put_groups("theirs")
    groups = frozenset({ledger.groups["red"]})
    assert signed_in(ledger, "s1", groups=("red", "theirs", "no such")) == (None, True, groups)


def test_nobody_signs_in_to_a_workspace_that_is_not_there(desk: Desk) -> None:
    for slug in ("no such", "", "'; DROP TABLE workspace; --"):
        found = sign_in(desk.database, workspace_slug=slug, issuer=ISSUER, subject="s", managed_group_slugs=())
        assert desk.run(found) is None
        assert desk.run(workspace_by_slug(desk.database, slug)) is None


def test_a_deactivated_user_is_told_apart(ledger: Ledger) -> None:
    link(ledger, "s1", "ada")

    async def deactivate() -> None:
        user = NewUser(ledger.users["ada"], "Ada", None, None, UserKind.PERSON, None, (), active=False)
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            await put_users(conn, workspace_id=ledger.workspace_id, users=[user], now=NOW)

    ledger.desk.run(deactivate())
    assert signed_in(ledger, "s1")[1] is False


def test_a_workspace_is_renamed_but_keeps_its_slug_and_its_zone(ledger: Ledger) -> None:
    put(ledger, name="Another name")
    changes = [{"zone": "Europe/Berlin"}, {"slug": "another"}]
    for change in changes:
        with pytest.raises(InvalidInputError):
            put(ledger, name="Not this one", **change)
    rows = ledger.desk.sql("SELECT slug, name, zone FROM workspace WHERE id = %s", ledger.workspace_id)
    assert rows == [(ledger.workspace_id.hex, "Another name", "UTC")]


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "UTC+3", "../etc/passwd", "europe/berlin"])
def test_a_workspace_needs_a_zone_that_there_is(desk: Desk, zone: str) -> None:
    ledger = Ledger(desk)
    with pytest.raises(InvalidInputError):
        put(ledger, zone=zone)
    assert desk.sql("SELECT count(*) FROM workspace WHERE id = %s", ledger.workspace_id) == [(0,)]


def test_memberships_are_what_was_put_last(ledger: Ledger) -> None:
    def groups() -> list[tuple[UUID]]:
        return ledger.desk.sql(
            "SELECT group_id FROM group_member WHERE workspace_id = %s AND user_id = %s ORDER BY 1",
            ledger.workspace_id,
            ledger.users["ada"],
        )

    red, blue = ledger.groups["red"], ledger.groups["blue"]
    ledger.put_user("ada", home="red", groups=["red", "blue"])
    assert groups() == sorted([(red,), (blue,)])
    ledger.put_user("ada", home="red", groups=["blue"])
    assert groups() == [(blue,)]
    ledger.put_user("ada")
    assert groups() == []


def test_a_workspace_cannot_take_another_one_s_users_or_groups(desk: Desk, ledger: Ledger) -> None:
    other = new_ledger(desk)
    before = desk.sql("SELECT * FROM app_user WHERE workspace_id = %s ORDER BY id", other.workspace_id)
    stolen = replace(ledger, users={"twin": other.users["ada"]}, groups=dict(ledger.groups))
    stolen.put_user("twin", home="red", groups=["red"])  # the same UUID in another workspace is another user
    assert desk.sql("SELECT * FROM app_user WHERE workspace_id = %s ORDER BY id", other.workspace_id) == before
    foreign = replace(ledger, users={"eve": uuid4()}, groups=dict(other.groups))
    with pytest.raises(Exception, match="foreign key"):
        foreign.put_user("eve", home="red")
    assert ledger.rows("app_user") == 3


@pytest.mark.parametrize(
    ("name", "sorted_as"),
    [("Zoë Müller", "zoe muller"), ("ÅLAND", "aland"), ("Straße", "strasse"), ("\ufb01ne", "fine"), ("İ", "i")],
)
def test_names_are_ordered_without_case_and_accents(name: str, sorted_as: str) -> None:
    assert sort_name(name) == sorted_as
