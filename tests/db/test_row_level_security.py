"""The second wall: what the database itself lets each role see and do, without the application's predicates."""

# ruff: noqa: S608 - statements are put together from the names of our own tables

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest
from psycopg import errors, sql

from creditdesk.credits.newcomers import note_sign_in
from creditdesk.credits.permitted import Actor
from support.databases import FreshDatabase
from support.world import NOW, World, group_id, user_id, workspace_id, workspace_slug, world_of

ADMINISTRATOR, MEMBER, SERVER, OWNER = (f"creditdesk_{name}" for name in ("administrator", "member", "server", "owner"))
ACME, HIMAL, MO = workspace_id("acme"), workspace_id("himal"), user_id("mo")
BY_WORKSPACE = (
    "user_group", "app_user", "user_identity", "group_member", "usage_event", "usage_event_key",
    "rollup_user_detail_day", "rollup_user_day", "rollup_user_month", "rollup_group_day", "rollup_group_hour",
    "rollup_workspace_day",
    "workspace_settings", "credit_limit", "balance_kind", "balance", "hold", "credit_request", "rate",
    "rate_multiplier", "audit_entry", "audit_head", "sign_in", "outbox", "browser_session",
)  # fmt: skip
TABLES = ("workspace", *BY_WORKSPACE)
APPEND_ONLY = (
    "usage_event",
    "usage_event_key",
    "balance_kind",
    "rate",
    "rate_multiplier",
    "audit_entry",
    "audit_head",
    "outbox",
)
"""What nobody ever changes. A rate that has not come into effect may be taken back."""
DELETED = ("user_identity", "group_member", "credit_limit", "rate", "rate_multiplier", "browser_session")
NOT_OF_MEMBERS = (
    "usage_event_key",
    "rate",
    "rate_multiplier",
    "audit_entry",
    "audit_head",
    "sign_in",
    "outbox",
    "browser_session",
)
"""What members have no privilege on."""
COMMON = ("user_group", "workspace_settings", "balance_kind")
"""What is nobody's own, and every member may read."""


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database) as filled:
        for place in (ACME, HIMAL):
            actor = Actor("SERVICE", "gateway", None)
            signed_in = note_sign_in(
                filled.database, place, actor, issuer="https://id.example", roles=["SERVICE"], began_at=NOW, now=NOW
            )
            filled.run(signed_in)
        yield filled


@contextmanager
def connection_as(
    world: World, role: str | None, *, workspace: UUID | None = None, user: UUID | None = None, slug: str | None = None
) -> Iterator[psycopg.Connection]:
    """Return a raw connection of the server, in a transaction with this role and context, which is rolled back."""
    with psycopg.connect(world.fresh.server_dsn) as connection:
        if role:
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        for name, value in (("workspace_id", workspace), ("user_id", user), ("workspace_slug", slug)):
            if value is not None:
                setting = sql.SQL("SET LOCAL {} = {}").format(sql.SQL(f"app.{name}"), sql.Literal(str(value)))
                connection.execute(setting)
        yield connection
        connection.rollback()


def rows_of(connection: psycopg.Connection, table: str) -> list[dict[str, Any]]:
    cursor = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
    assert cursor.description
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def denied(connection: psycopg.Connection, statement: str) -> bool:
    """Tell whether a statement is refused for want of a privilege, or by a policy."""
    try:
        with connection.transaction():
            connection.execute(cast("Any", statement))
    except errors.InsufficientPrivilege:
        return True
    return False


def is_shared(row: dict[str, Any]) -> bool:
    """Tell a limit or a balance of a group or of the workspace."""
    return bool(row.get("shared")) or row.get("scope") in ("GROUP", "WORKSPACE")


def partitions(world: World) -> list[str]:
    rows = world.sql("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'usage_event'::regclass")
    return sorted(name for (name,) in rows)


# Members.


@pytest.mark.parametrize("table", TABLES)
def test_a_member_without_any_predicate_sees_only_their_own_rows(world: World, table: str) -> None:
    with connection_as(world, MEMBER, workspace=ACME, user=MO) as connection:
        if table in NOT_OF_MEMBERS:
            assert denied(connection, f"SELECT * FROM {table}")
            return
        rows = rows_of(connection, table)
    match table:
        case "workspace":
            assert [row["id"] for row in rows] == [ACME]
        case "user_group" | "workspace_settings" | "balance_kind":
            assert {row["workspace_id"] for row in rows} == {ACME}
        case "credit_limit" | "balance":  # their own, and those that groups and the workspace share
            others = "scope <> 'USER'" if table == "credit_limit" else "shared"
            own = f"SELECT count(*) FROM {table} WHERE workspace_id = %s AND (scope_id = %s OR {others})"
            assert world.sql(own, ACME, MO) == [(len(rows),)]
            assert any(row["scope_id"] == MO for row in rows)
        case "app_user":
            assert [row["id"] for row in rows] == [MO]
        case "rollup_group_day" | "rollup_group_hour" | "rollup_workspace_day":
            assert rows == []
        case _:
            assert {(row["workspace_id"], row["user_id"]) for row in rows} == {(ACME, MO)}
            own = f"SELECT count(*) FROM {table} WHERE workspace_id = %s AND user_id = %s"
            assert world.sql(own, ACME, MO) == [(len(rows),)]


def test_a_member_who_asks_for_another_one_s_rows_by_name_is_shown_none(world: World) -> None:
    with connection_as(world, MEMBER, workspace=ACME, user=MO) as connection:
        for table in ("usage_event", "rollup_user_detail_day", "rollup_user_day", "rollup_user_month", "group_member"):
            query = sql.SQL("SELECT count(*) FROM {} WHERE workspace_id = %s AND user_id = %s")
            for place, person in ((ACME, "zoe"), (HIMAL, "maya"), (HIMAL, "mo")):
                cursor = connection.execute(query.format(sql.Identifier(table)), (place, user_id(person)))
                assert cursor.fetchone() == (0,)


def test_a_member_of_one_workspace_is_nobody_in_another(world: World) -> None:
    with connection_as(world, MEMBER, workspace=HIMAL, user=MO) as connection:
        assert {row["id"] for row in rows_of(connection, "workspace")} == {HIMAL}
        for table in BY_WORKSPACE:
            if table not in (*COMMON, *NOT_OF_MEMBERS):
                assert [row for row in rows_of(connection, table) if not is_shared(row)] == []


def test_a_member_changes_nothing_at_all(world: World) -> None:
    before = world.row_counts()
    with connection_as(world, MEMBER, workspace=ACME, user=MO) as connection:
        for table in (*TABLES, *partitions(world), "alembic_version"):
            assert denied(connection, f"INSERT INTO {table} SELECT * FROM {table}"), table
            assert denied(connection, f"DELETE FROM {table}"), table
            assert denied(connection, f"TRUNCATE {table} CASCADE"), table
        for table in TABLES:
            column = "name" if table == "workspace" else "workspace_id"
            assert denied(connection, f"UPDATE {table} SET {column} = {column}"), table
    assert world.row_counts() == before


# Administrators.


@pytest.mark.parametrize("table", TABLES)
def test_an_administrator_sees_every_row_of_the_workspace_in_context_and_no_other(world: World, table: str) -> None:
    column = "id" if table == "workspace" else "workspace_id"
    for place in (ACME, HIMAL):
        with connection_as(world, ADMINISTRATOR, workspace=place) as connection:
            rows = rows_of(connection, table)
        assert {row[column] for row in rows} == {place}
        counted = f"SELECT count(*) FROM {table} WHERE {column} = %s"
        assert world.sql(counted, place) == [(len(rows),)]


def test_usage_and_the_audit_trail_are_append_only_and_little_is_ever_deleted(world: World) -> None:
    before = world.row_counts()
    with connection_as(world, ADMINISTRATOR, workspace=ACME) as connection:
        for table in TABLES:
            assert denied(connection, f"DELETE FROM {table}") is (table not in DELETED), table
            assert denied(connection, f"TRUNCATE {table} CASCADE"), table
        for table in (*APPEND_ONLY, "group_member"):
            assert denied(connection, f"UPDATE {table} SET workspace_id = workspace_id"), table
        for column in ("credits", "group_id", "at", "product"):
            assert denied(connection, f"UPDATE usage_event SET {column} = {column}"), column
    assert world.row_counts() == before


def test_a_partition_is_reached_through_its_table_only(world: World) -> None:
    names = partitions(world)
    assert "usage_event_default" in names
    assert len(names) > 12
    for role, user in ((ADMINISTRATOR, None), (MEMBER, MO)):
        with connection_as(world, role, workspace=ACME, user=user) as connection:
            for name in names:
                for statement in ("SELECT * FROM {}", "INSERT INTO {} SELECT * FROM {}", "UPDATE {} SET credits = 0"):
                    assert denied(connection, statement.replace("{}", name)), (role, name, statement)


COLUMNS = {
    "workspace": "(id, slug, name, zone, created_at) VALUES ('{other}', 'x', 'x', 'UTC', now())",
    "user_group": "(workspace_id, id, slug, name, sort_name, created_at)"
    " VALUES ('{other}', gen_random_uuid(), 'x', 'x', 'x', now())",
    "app_user": "(workspace_id, id, display_name, sort_name, kind, active, created_at)"
    " VALUES ('{other}', gen_random_uuid(), 'x', 'x', 'PERSON', true, now())",
    "user_identity": "(workspace_id, issuer, subject, user_id) VALUES ('{other}', 'x', 'x', '{user}')",
    "group_member": "(workspace_id, group_id, user_id) VALUES ('{other}', '{group}', '{user}')",
    "usage_event": "(workspace_id, user_id, at, recorded_at, credits, requests, input_tokens, cached_input_tokens,"
    " output_tokens, source, external_id, product, model)"
    " VALUES ('{other}', '{user}', now(), now(), 1, 1, 1, 1, 1, 'x', 'x', 'x', 'x')",
    "usage_event_key": "(workspace_id, source, external_id, user_id, at) VALUES ('{other}', 'x', 'x', '{user}', now())",
    "rollup_user_detail_day": "VALUES (1, 1, 1, 1, 1, '{other}', '{user}', now(), '{group}', 'x', 'x')",
    "rollup_user_day": "VALUES (1, 1, 1, 1, 1, '{other}', now(), '{user}', '{group}')",
    "rollup_user_month": "VALUES (1, 1, 1, 1, 1, '{other}', now(), '{user}', '{group}')",
    "rollup_group_day": "VALUES (1, 1, 1, 1, 1, '{other}', now(), '{group}', 'x', 'x')",
    "rollup_group_hour": "VALUES (1, 1, 1, 1, 1, '{other}', now(), '{group}', 'x', 'x')",
    "rollup_workspace_day": "VALUES (1, 1, 1, 1, 1, '{other}', now(), 'x', 'x', 0)",
    "workspace_settings": "(workspace_id) VALUES ('{other}')",
    "credit_limit": "(workspace_id, id, scope, scope_id, kind, cadence, product, model, temporary, unlimited, amount,"
    " enforcement, starts_at, set_at, version)"
    " VALUES ('{other}', '{user}', 'USER', '{user}', 'EACH_USER', 'DAY', 'x', '', false, false, 1, 'HARD', now(),"
    " now(), 1)",
    "balance_kind": "(workspace_id, id, scope, cadence, product, model, since)"
    " VALUES ('{other}', 99, 'USER', 'DAY', 'x', 'x', now())",
    "balance": "(workspace_id, kind_id, scope_id, first_day, shared, used)"
    " VALUES ('{other}', 9, '{user}', now(), false, 0)",
    "hold": "(workspace_id, id, request_hash, user_id, amount, placed_at, expires_at, state, source, external_id,"
    " product, model) VALUES ('{other}', '{user}', '{user}', '{user}', 1, now(), now(), 'HELD', 'x', 'x', 'x', 'x')",
    "credit_request": "(workspace_id, id, user_id, cadence, product, model, amount, reason, duration, state,"
    " limit_then, used_then, created_at, expires_at, automatic) VALUES ('{other}', '{group}', '{user}', 'DAY', 'x',"
    " 'x', 1, 'x', 'PERMANENT', 'PENDING', 0, 0, now(), now(), false)",
    "rate": "(workspace_id, id, product, model, meter, price, effective_from, set_at)"
    " VALUES ('{other}', '{user}', 'x', 'x', 'TASK', 1, now(), now())",
    "rate_multiplier": "(workspace_id, id, product, tier, millionths, effective_from, set_at)"
    " VALUES ('{other}', '{user}', 'x', 'x', 1, now(), now())",
    "browser_session": "(workspace_id, id, issuer, subject, secret_hash, created_at, renewed_at, seen_at, expires_at,"
    " tokens, tokens_version, tokens_expire_at)"
    " VALUES ('{other}', '{user}', 'x', 'x', '', now(), now(), now(), now(), 'x', 1, now())",
    "outbox": "(workspace_id, written_at, kind) VALUES ('{other}', now(), 'USES')",
    "sign_in": "(workspace_id, issuer, subject) VALUES ('{other}', 'x', 'x')",
    "audit_head": "(workspace_id, entries, hash) VALUES ('{other}', 1, '')",
    "audit_entry": "(workspace_id, at, actor_kind, actor_subject, action, object_type, object_id)"
    " VALUES ('{other}', now(), 'x', 'x', 'x', 'x', '{user}')",
}


@pytest.mark.parametrize("table", TABLES)
def test_an_administrator_writes_no_row_of_another_workspace(world: World, table: str) -> None:
    values = COLUMNS[table].format(other=HIMAL, user=user_id("maya"), group=group_id("guides"))
    before = world.row_counts()
    for context in (ACME, None):
        with connection_as(world, ADMINISTRATOR, workspace=context) as connection:
            assert denied(connection, f"INSERT INTO {table} {values}")
    # Were it their own workspace, the very same row would be taken.
    # Entries of the audit trail are added by the function that chains them, and by nothing else.
    if table not in {"workspace", "audit_entry", "audit_head"}:
        with connection_as(world, ADMINISTRATOR, workspace=HIMAL) as connection:
            assert not denied(connection, f"INSERT INTO {table} {values} ON CONFLICT DO NOTHING")
    assert world.row_counts() == before


def test_an_administrator_moves_no_row_to_or_from_another_workspace(world: World) -> None:
    with connection_as(world, ADMINISTRATOR, workspace=ACME) as connection:
        for table in set(BY_WORKSPACE) - {*APPEND_ONLY, "group_member"}:
            assert denied(connection, f"UPDATE {table} SET workspace_id = '{HIMAL}'"), table
        for table in ("app_user", "user_group", "rollup_user_day"):
            cursor = connection.execute(cast("Any", f"UPDATE {table} SET workspace_id = workspace_id"))
            counted = f"SELECT count(*) FROM {table} WHERE workspace_id = %s"
            assert world.sql(counted, ACME) == [(cursor.rowcount,)]


# Without a context, and as the server itself.


@pytest.mark.parametrize("role", [ADMINISTRATOR, MEMBER])
def test_without_a_context_no_row_of_any_table_is_seen(world: World, role: str) -> None:
    for user in (None, MO):
        with connection_as(world, role, user=user) as connection:
            for table in TABLES:
                if role != MEMBER or table not in NOT_OF_MEMBERS:
                    assert rows_of(connection, table) == []


def test_a_context_that_is_empty_shows_nothing(world: World) -> None:
    for role in (ADMINISTRATOR, MEMBER):
        with connection_as(world, role) as connection:
            for setting in ("workspace_id", "user_id", "workspace_slug"):
                connection.execute(cast("Any", f"SET LOCAL app.{setting} = ''"))
            assert rows_of(connection, "workspace") == []
            assert rows_of(connection, "usage_event") == []


def test_a_slug_opens_its_workspace_for_signing_in_and_nothing_in_it(world: World) -> None:
    with connection_as(world, ADMINISTRATOR, slug=workspace_slug("himal")) as connection:
        assert [row["id"] for row in rows_of(connection, "workspace")] == [HIMAL]
        assert all(rows_of(connection, table) == [] for table in BY_WORKSPACE)
        assert denied(connection, "UPDATE workspace SET name = 'x'")
    with connection_as(world, MEMBER, slug=workspace_slug("himal")) as connection:
        assert rows_of(connection, "workspace") == []


def test_the_server_itself_reads_the_schema_s_version_and_nothing_else(world: World) -> None:
    with connection_as(world, None, workspace=ACME, user=MO) as connection:
        for table in (*TABLES, *partitions(world)):
            assert denied(connection, f"SELECT * FROM {table}"), table
            assert denied(connection, f"DELETE FROM {table}"), table
        assert len(rows_of(connection, "alembic_version")) == 1
        assert denied(connection, "UPDATE alembic_version SET version_num = '0'")
        assert denied(connection, "CREATE TABLE mine (id int)")
        assert denied(connection, f"SET ROLE {OWNER}")


def test_the_server_s_roles_own_nothing_and_are_above_nothing(world: World) -> None:
    rows = world.sql(
        "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolinherit FROM pg_roles"
        " WHERE rolname LIKE 'creditdesk_%%' AND rolname <> 'creditdesk_owner' ORDER BY rolname"
    )
    assert rows == [(role, False, False, False, False, False, False) for role in (ADMINISTRATOR, MEMBER, SERVER)]
    owned = world.sql(
        "SELECT relname FROM pg_class JOIN pg_roles AS r ON r.oid = relowner WHERE rolname = ANY (%s)"
        " UNION ALL SELECT proname FROM pg_proc JOIN pg_roles AS r ON r.oid = proowner WHERE rolname = ANY (%s)",
        [ADMINISTRATOR, MEMBER, SERVER],
        [ADMINISTRATOR, MEMBER, SERVER],
    )
    assert owned == []
    granted = world.sql(
        "SELECT roleid::regrole::text, inherit_option, admin_option FROM pg_auth_members"
        " WHERE member = 'creditdesk_server'::regrole ORDER BY 1"
    )
    assert granted == [(ADMINISTRATOR, False, False), (MEMBER, False, False)]
    assert world.sql(
        "SELECT count(*) FROM pg_auth_members WHERE member::regrole::text = ANY (%s)", [ADMINISTRATOR, MEMBER]
    ) == [(0,)]


def test_nothing_is_granted_to_the_public(world: World) -> None:
    assert (
        world.sql(
            "SELECT table_name FROM information_schema.role_table_grants"
            " WHERE grantee = 'PUBLIC' AND table_schema = 'public'"
        )
        == []
    )
    # Only functions that read the context may be called by anybody.
    callable_ = world.sql(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND has_function_privilege('creditdesk_server', oid, 'EXECUTE') ORDER BY 1"
    )
    assert callable_ == [("app_user_id",), ("app_workspace_id",), ("app_workspace_slug",)]


# The rules that keep the database ready to be sharded by workspace (architecture.md, "Ready for Citus").


def test_the_workspace_leads_every_key_and_index(world: World) -> None:
    rows = world.sql(
        "SELECT t.relname, i.relname,"
        " (SELECT attname FROM pg_attribute WHERE attrelid = t.oid AND attnum = x.indkey[0])"
        " FROM pg_index AS x JOIN pg_class AS t ON t.oid = x.indrelid JOIN pg_class AS i ON i.oid = x.indexrelid"
        " WHERE t.relnamespace = 'public'::regnamespace ORDER BY 1, 2"
    )
    others = {table: (index, column) for table, index, column in rows if column != "workspace_id"}
    assert set(others) == {"workspace", "alembic_version"}
    assert {table for table, _, _ in rows} == {*TABLES, *partitions(world), "alembic_version"}


def test_every_table_but_the_workspace_itself_has_a_primary_key_led_by_the_workspace(world: World) -> None:
    rows = world.sql(
        "SELECT conrelid::regclass::text FROM pg_constraint AS c JOIN pg_attribute AS a"
        " ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
        " WHERE contype = 'p' AND attname = 'workspace_id' AND connamespace = 'public'::regnamespace"
    )
    assert {name for (name,) in rows} == {*BY_WORKSPACE, *partitions(world)}


def test_foreign_keys_are_composite_and_never_set_anything_to_null(world: World) -> None:
    rows = world.sql(
        "SELECT conrelid::regclass::text, confrelid::regclass::text, confdeltype, confupdtype,"
        " (SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = conkey[1]), cardinality(conkey)"
        " FROM pg_constraint WHERE contype = 'f'"
    )
    assert len(rows) >= 6
    for table, target, on_delete, on_update, first_column, columns in rows:
        assert (on_delete, on_update, first_column) == (b"a", b"a", "workspace_id") or (
            on_delete, on_update, first_column
        ) == ("a", "a", "workspace_id"), table  # fmt: skip
        assert columns == (1 if target == "workspace" else 2), table


def test_there_are_no_triggers_and_no_rules(world: World) -> None:
    assert world.sql("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal") == []
    assert world.sql("SELECT rulename FROM pg_rules WHERE schemaname = 'public'") == []


def test_row_level_security_is_on_for_every_table_and_partition(world: World) -> None:
    rows = world.sql(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relrowsecurity"
    )
    assert rows == [("alembic_version",)]


def test_every_table_has_policies_for_the_two_roles_and_for_nobody_else(world: World) -> None:
    rows = world.sql("SELECT tablename, policyname, roles::text[], cmd, permissive FROM pg_policies")
    administrators = {table for table, name, *_ in rows if name == "administrator"}
    members = {table for table, name, *_ in rows if name == "member"}
    assert administrators == set(TABLES)
    assert members == set(TABLES) - {*NOT_OF_MEMBERS, "rollup_group_day", "rollup_group_hour", "rollup_workspace_day"}
    for _, name, roles, command, permissive in rows:
        assert (roles, permissive) == ([f"creditdesk_{name}"], "PERMISSIVE")
        assert command == ("SELECT" if name == "member" else "ALL")


def test_policies_are_equalities_of_columns_and_the_context(world: World) -> None:
    allowed = re.compile(
        r"\(*(workspace_id|user_id|id|slug) = app_(workspace_id|user_id|workspace_slug)\(\)\)*"
        r"(( AND | OR )\(*(workspace_id|user_id|id|slug) = app_(workspace_id|user_id|workspace_slug)\(\)\)*)?"
    )
    rows = world.sql("SELECT tablename, policyname, qual, with_check FROM pg_policies")
    # What groups and the workspace share is told from users' own by a column of the row itself.
    shared = re.compile(
        r"\(\(workspace_id = app_workspace_id\(\)\) AND"
        r" \((shared|\(scope <> 'USER'::text\)) OR \(scope_id = app_user_id\(\)\)\)\)"
    )
    for table, policy, condition, check in rows:
        if policy == "member" and table in ("credit_limit", "balance"):
            assert shared.fullmatch(condition), (table, condition)
            continue
        assert allowed.fullmatch(condition), (table, policy, condition)
        if policy == "administrator" and table in ("hold", "balance"):
            # The same as the condition, read once for all rows of a statement.
            assert check == "(workspace_id = ( SELECT app_workspace_id() AS app_workspace_id))", (table, check)
            continue
        assert check is None or allowed.fullmatch(check), (table, policy, check)
        assert ("user_id()" in condition) is (policy == "member" and table not in ("workspace", *COMMON))
        assert " OR " not in condition or table == "workspace"


def test_the_context_is_read_by_stable_plain_functions(world: World) -> None:
    rows = world.sql(
        "SELECT proname, provolatile::text, lanname, prosecdef FROM pg_proc JOIN pg_language AS l ON l.oid = prolang"
        " WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
    )
    context = [("app_user_id", "s", "sql", False), ("app_workspace_id", "s", "sql", False),
               ("app_workspace_slug", "s", "sql", False)]  # fmt: skip
    spending = [
        ("billing_first_day", "i", "plpgsql", False),
        ("controls_key", "i", "sql", False),
        ("grant_holds", "v", "plpgsql", False),
        ("held_merged", "i", "plpgsql", False),
        ("held_now", "i", "plpgsql", False),
        ("period_first_day", "i", "sql", False),
        ("place_holds", "v", "plpgsql", False),
    ]
    adding_up = [("app_total", "i", "internal", False)]
    of_the_owner = [
        ("add_audit_entries", "v", "plpgsql", True),
        ("ensure_usage_partitions", "v", "plpgsql", True),
        ("remove_expired_sessions", "v", "sql", True),
        ("trim_outbox", "v", "plpgsql", True),
    ]
    assert rows == sorted([*context, *adding_up, *spending, *of_the_owner])
