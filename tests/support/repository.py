"""The repository as text: its files, its modules, its Makefile's targets."""

import ast
import os
import re
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("app", "graphql", "auth", "credits", "db")


@cache
def _ignored() -> tuple[str, ...]:
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    return (".git", *(line.rstrip("/") for line in lines if line and not line.startswith("#")))


def _is_ours(name: str) -> bool:
    return not any(fnmatch(name, pattern) for pattern in _ignored())


def files() -> Iterator[Path]:
    """Yield every file that is not ignored, without asking git: there may be none, or it may distrust the owner."""
    for directory, subdirectories, names in os.walk(ROOT):
        subdirectories[:] = sorted(name for name in subdirectories if _is_ours(name))
        yield from (path for name in sorted(names) if _is_ours(name) and (path := Path(directory, name)).is_file())


@cache
def texts() -> dict[Path, str]:
    """Return every text file by its path from the root."""
    return {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in files()}


@cache
def modules(*floors: str) -> dict[Path, ast.Module]:
    """Return the syntax trees of the modules in these folders."""
    return {
        path: ast.parse(text, str(path))
        for path, text in texts().items()
        if path.suffix == ".py" and path.parts[0] in floors
    }


def calls(*floors: str) -> Iterator[tuple[Path, ast.Call]]:
    for path, tree in modules(*floors).items():
        yield from ((path, node) for node in ast.walk(tree) if isinstance(node, ast.Call))


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", texts()[Path("Makefile")], re.MULTILINE))


def copy_of_what_is_built(place: Path) -> Path:
    """Copy what the package is made of, so that a build leaves nothing in the checkout."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    for name in (".src", *FLOORS):
        shutil.copytree(ROOT / name, place / name, symlinks=True, ignore=shutil.ignore_patterns(*_ignored()))
    return place
