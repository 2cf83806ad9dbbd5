"""The named statements of db/sql/: each can be planned as the roles that run it, is used, and gets what it asks for."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from creditdesk.credits.reconcile import ROLLUPS
from creditdesk.db.scopes import DatabaseRole
from creditdesk.db.statements import AS_IT_SEES_FIT, Statement, all_statements
from support.databases import FreshDatabase
from support.repository import FLOORS, calls, texts

STATEMENTS = all_statements()
OF_CALLERS = sorted(name for name, one in STATEMENTS.items() if "own_user" in one.parameters)
"""What is asked on behalf of a caller, who may be a member: these take whom the caller is."""

BUILT = {f"reconcile_{rollup}" for rollup in ROLLUPS}
"""Named by an f-string in credits/reconcile.py."""


@pytest.fixture(scope="module")
def server(module_database: FreshDatabase) -> Iterator[psycopg.Connection]:
    with psycopg.connect(module_database.server_dsn, autocommit=True) as connection:
        yield connection


def plan(server: psycopg.Connection, statement: Statement, role: DatabaseRole) -> str:
    server.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role.value)))
    return "\n".join(
        line for (line,) in server.execute(f"EXPLAIN (GENERIC_PLAN) {statement.text}".encode(), prepare=False)
    )


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_a_statement_can_be_planned_as_the_administrator(server: psycopg.Connection, name: str) -> None:
    assert plan(server, STATEMENTS[name], DatabaseRole.ADMINISTRATOR)


@pytest.mark.parametrize("name", OF_CALLERS)
def test_a_statement_of_callers_can_be_planned_as_a_member(server: psycopg.Connection, name: str) -> None:
    assert plan(server, STATEMENTS[name], DatabaseRole.MEMBER)


HASHED = [name for name, one in STATEMENTS.items() if not one.plan.sorts]


@pytest.mark.parametrize("name", HASHED)
def test_a_statement_that_is_to_be_hashed_is(server: psycopg.Connection, name: str) -> None:
    assert "HashAggregate" not in plan(server, STATEMENTS[name], DatabaseRole.ADMINISTRATOR)
    with server.transaction():
        for change in STATEMENTS[name].plan.instead_of(AS_IT_SEES_FIT):
            server.execute(change.encode())
        assert "HashAggregate" in plan(server, STATEMENTS[name], DatabaseRole.ADMINISTRATOR)


SCATTERED = [name for name, one in STATEMENTS.items() if not one.plan.follows_indexes]


@pytest.mark.parametrize("name", SCATTERED)
def test_what_is_scattered_is_read_page_by_page(server: psycopg.Connection, name: str) -> None:
    with server.transaction():
        for change in STATEMENTS[name].plan.instead_of(AS_IT_SEES_FIT):
            server.execute(change.encode())
        found = plan(server, STATEMENTS[name], DatabaseRole.ADMINISTRATOR)
        assert "Bitmap Heap Scan on rollup_user_month" in found
        assert "Index Scan using rollup_user_month" not in found


@pytest.mark.parametrize(
    ("name", "likes"), [(HASHED[0], ["enable_sort", "enable_incremental_sort"]), (SCATTERED[0], ["enable_indexscan"])]
)
def test_a_way_of_planning_leaves_nothing_behind_for_the_next_statement_of_its_message(
    name: str, likes: list[str]
) -> None:
    way = STATEMENTS[name].plan
    there, back = way.instead_of(AS_IT_SEES_FIT), AS_IT_SEES_FIT.instead_of(way)
    assert [change.split(" = ")[0] for change in there] == [change.split(" = ")[0] for change in back]
    assert back == ["SET LOCAL plan_cache_mode = auto", *(f"SET LOCAL {like} = on" for like in likes)]


def test_the_usage_and_people_of_a_workspace_are_asked_for_on_behalf_of_callers() -> None:
    assert {"usage_breakdown", "usage_series", "usage_hours", "users_page", "groups_page"} <= set(OF_CALLERS)


def test_a_statement_says_what_it_is_for() -> None:
    assert [one.name for one in STATEMENTS.values() if not one.purpose.endswith((".", ":"))] == []


def test_a_statement_that_reads_a_workspace_says_which() -> None:
    # Row-level security would be enough for the answer, but does not lead a query to its shard.
    without = {name for name, one in STATEMENTS.items() if "workspace_id" not in one.parameters}
    assert without <= {
        "workspace_by_slug", "ensure_usage_partitions", "tell_of_changes", "trim_outbox", "remove_expired_sessions"
    }  # fmt: skip


def test_a_statement_that_puts_something_into_the_outbox_says_so() -> None:
    silent = [one.name for one in STATEMENTS.values() if "INSERT INTO outbox" in one.text and not one.is_told]
    assert silent == []


def test_every_statement_is_used() -> None:
    named = {name for _, call in runs() for name in statements_of(call)}
    assert named | BUILT == set(STATEMENTS)


def test_every_parameter_is_given_and_nothing_else() -> None:
    wrong = []
    for path, call in runs():
        if not (names := statements_of(call)):
            continue
        takes = {parameter for name in names for parameter in STATEMENTS[name].parameters}
        given = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
        is_whole = all(keyword.arg is not None for keyword in call.keywords)
        if not given <= takes or (is_whole and given != takes):
            wrong.append(f"{path}:{call.lineno} gives {sorted(given)} where {sorted(takes)} are taken")
    assert wrong == []


def test_a_parameter_has_one_type_in_a_statement() -> None:
    for path, text in sql_files():
        for statement in text.split("-- name: "):
            types = set(re.findall(r"%\((\w+)\)s(::\w+(?:\[\])?)?", statement))
            assert "" not in {type_ for _, type_ in types}, f"{path}: a parameter without a type"
            assert len(types) == len({name for name, _ in types}), f"{path}: {statement.splitlines()[0]}"


def test_every_fragment_is_included() -> None:
    whole = "\n".join(text for _, text in sql_files())
    fragments = set(re.findall(r"^-- fragment: (\w+)$", whole, re.MULTILINE))
    assert fragments == set(re.findall(r"^ *-- include (\w+)$", whole, re.MULTILINE))


def runs() -> Iterator[tuple[Path, ast.Call]]:
    """Yield the calls that run named statements, `conn.rows("name", ...)`, `conn.several("name", "another", ...)`.

    Those that state what is to be run as well: `lookup(found, "name", ...)`.
    """
    for path, call in calls(*FLOORS):
        is_run = isinstance(call.func, ast.Attribute) and call.func.attr in {"rows", "several"}
        if (is_run or (isinstance(call.func, ast.Name) and call.func.id == "lookup")) and call.args:
            yield path, call


def statements_of(call: ast.Call) -> list[str]:
    """Return the statements that a call names; none where it is handed on what another names."""
    parts = [argument for argument in call.args if not isinstance(argument, ast.JoinedStr)]
    written = [node for argument in parts for node in ast.walk(argument) if isinstance(node, ast.Constant)]
    return [node.value for node in written if isinstance(node.value, str)]


def sql_files() -> Iterator[tuple[Path, str]]:
    for path, text in texts().items():
        if path.suffix == ".sql":
            yield path, text
