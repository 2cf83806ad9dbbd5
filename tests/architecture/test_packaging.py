"""The wheel holds all that runs; the image is made by the commands that are tried without it."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from support.repository import FLOORS, copy_of_what_is_built, make_targets, texts

OTHER_RUNS: dict[str, str] = {}
"""Commands of the Dockerfile that are not a target of the Makefile, and why each is needed."""


def test_the_wheel_holds_every_module_statement_and_migration(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", *build, str(copy_of_what_is_built(copy))], check=True)
    [wheel] = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = {f"creditdesk/{path}" for path in texts() if path.parts[0] in FLOORS}
    assert held == ours
    assert {"creditdesk/db/sql/usage.sql", "creditdesk/db/migrations/script.py.mako"} <= held


def instructions() -> Iterator[tuple[str, str]]:
    """Yield the Dockerfile's instructions, each on one line."""
    lines = [line for line in texts()[Path("Dockerfile")].splitlines() if line and not line.startswith("#")]
    for line in re.sub(r" \\\n\s*", " ", "\n".join(lines)).splitlines():
        name, _, rest = line.partition(" ")
        yield name, rest


def test_the_image_is_built_by_commands_that_make_has_too() -> None:
    runs = [rest for name, rest in instructions() if name == "RUN"]
    assert runs
    for run in runs:
        made = re.fullmatch(r"make ([a-z-]+)( [A-Z]+=[\w./-]*)*", run)
        assert (made and made[1] in make_targets()) or run in OTHER_RUNS, run


def test_the_image_serves_as_nobody_in_particular_and_says_how_it_is() -> None:
    every = list(instructions())
    last_stage = dict(every[max(at for at, (name, _) in enumerate(every) if name == "FROM") :])
    assert last_stage["CMD"] == '["creditdesk", "serve"]'
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last_stage["USER"])
    assert '"python"' in last_stage["HEALTHCHECK"]
    assert "/healthz" in last_stage["HEALTHCHECK"]


def test_both_stages_have_the_same_python() -> None:
    images = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert len({image.removesuffix("-slim") for image in images}) == 1


def test_the_image_is_built_of_what_the_package_is_built_of() -> None:
    lines = texts()[Path(".dockerignore")].splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert sent == {*FLOORS, ".src", "Makefile", "pyproject.toml", "requirements.lock", "README.md", "LICENSE"}
    assert any(fnmatch("README.md", line) for line in lines)
