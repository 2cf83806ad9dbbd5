"""Where things are, and what may stand where. Imports between folders are contracts in pyproject.toml."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.repository import FLOORS, ROOT, calls, files, modules, texts

LONGEST_MODULE = 300
LONGER_MODULES = {
    Path("graphql/usage.py"): "users, groups and usage lead to each other in a circle, and Strawberry wants to see it",
}
VAGUE = {"base", "common", "core", "helper", "helpers", "manager", "managers", "misc", "shared", "util", "utils"}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}
SQL = re.compile(r"\b(SELECT|INSERT INTO|DELETE FROM|UPDATE|WHERE|JOIN|GROUP BY|ORDER BY)\b")


def test_there_is_no_init_file() -> None:
    assert [path for path in texts() if path.name == "__init__.py"] == []


@pytest.mark.parametrize("module", ["graphql", "graphql.type"])
def test_graphql_is_graphql_core_also_for_a_program_started_in_the_root(module: str) -> None:
    program = f"import {module}; print({module}.__file__, {module}.GraphQLSchema.__name__)"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not found.stdout.startswith(str(ROOT / "graphql"))
    assert found.stdout.split()[-1] == "GraphQLSchema"


def test_each_folder_is_mapped_by_a_relative_link_and_nothing_else_is() -> None:
    links = {path.name: str(path.readlink()) for path in (ROOT / ".src" / "creditdesk").iterdir()}
    assert links == {floor: f"../../{floor}" for floor in FLOORS}
    assert all((ROOT / floor).is_dir() for floor in FLOORS)


def test_every_module_has_a_place_in_the_house() -> None:
    homes = {path.parts[0] for path in texts() if path.suffix == ".py"}
    assert homes <= {*FLOORS, "tests", "bench"}


def test_a_module_is_named_for_what_is_in_it() -> None:
    named = [path for path in files() if path.suffix == ".py"]
    assert [path for path in named if VAGUE.intersection(path.stem.split("_"))] == []


def test_a_module_is_at_most_three_hundred_lines_long() -> None:
    long = {path for path in modules(*FLOORS) if len(texts()[path].splitlines()) > LONGEST_MODULE}
    assert long == set(LONGER_MODULES), "split it, or say here why not; and take out what is short again"


def test_only_db_commits() -> None:
    committing = {path for path, call in calls(*FLOORS) if _method(call) == "commit"}
    assert {path.parts[0] for path in committing} == {"db"}


def test_only_db_speaks_sql() -> None:
    spoken = [
        f"{path}:{node.lineno}"
        for path, tree in modules("graphql", "auth", "credits").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    ]
    assert spoken == []


def test_nothing_is_turned_into_a_float() -> None:
    floats = [
        f"{path}:{call.lineno}"
        for path, call in calls("credits", "graphql")
        if isinstance(call.func, ast.Name) and call.func.id == "float"
    ]
    assert floats == []


def test_only_the_settings_read_the_environment() -> None:
    reading = {path for path, tree in modules(*FLOORS).items() for node in ast.walk(tree) if _names_environment(node)}
    assert reading == {Path("app/settings.py")}


def _names_environment(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr=name):
            return name in ENVIRONMENT
        case ast.ImportFrom(module="os"):
            return any(one.name in ENVIRONMENT for one in node.names)
        case _:
            return False


def _method(call: ast.Call) -> str | None:
    return call.func.attr if isinstance(call.func, ast.Attribute) else None
