"""What the README, the decisions and the locks say is so."""

import json
import re
import stat
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from creditdesk.app.cli import COMMANDS
from creditdesk.app.import_lines import Conventions, csv_fields, csv_header, event_of, json_fields
from creditdesk.app.issuer_settings import IssuerEntry, read_issuers
from creditdesk.app.settings import SETTINGS, Setting
from creditdesk.auth.presets import PRESETS
from creditdesk.credits.errors import ErrorCode
from support.repository import FLOORS, ROOT, make_targets, texts

README = (ROOT / "README.md").read_text(encoding="utf-8")
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
SECURITY = ROOT / "docs" / "security.md"
PROVIDERS = ROOT / "docs" / "identity-providers.md"
LOCKS = ("requirements.lock", "requirements-dev.lock")
LONGEST_DECISION = 60
LONGEST_DEFAULT = 60
# Where packages and images come from is the configuration of whoever builds. Written so that it does not find itself.
REGISTRY = re.compile(
    r"pypi[.]org|pythonhosted[.]org|npmjs[.](org|com)|yarnpkg[.]com|docker[.]io|ghcr[.]io|gcr[.]io|quay[.]io|"
    r"public[.]ecr[.]aws|crates[.]io|rubygems[.]org|proxy[.]golang[.]org|conda[.]anaconda[.]org|artifactor[y]|--index-ur[l]"
)
TOP = "|".join(re.escape(name) for name in (*FLOORS, "tests", "docs", "bench", ".src", ".ci"))
PLACE = re.compile(rf"`((?:{TOP})/[\w./-]*|[\w-]+\.(?:md|toml|lock)|schema\.graphql)`|\]\(([^)#:]+)\)")


def in_table(text: str) -> str:
    return text.replace("|", "\\|")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: str(setting.variable))
def test_every_setting_is_in_the_readme(setting: Setting) -> None:
    default = "unset" if setting.default is None else f"`{in_table(setting.default)}`"
    if len(default) > LONGEST_DEFAULT:
        default = "each role under its own name in lower case"
    assert f"| `{setting.variable}` | {default} | {in_table(setting.description)} |" in README


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_is_in_the_readme(code: ErrorCode) -> None:
    assert f"| `{code.name}` | {in_table(code.value)} |" in README


def test_the_readme_names_no_setting_and_no_code_that_is_not_there() -> None:
    assert set(re.findall(r"CREDITDESK_[A-Z_]+[A-Z]", README)) <= {setting.variable for setting in SETTINGS}
    [table] = re.findall(r"^## Error codes$(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"^\| `([A-Z_]+)` ", table, re.MULTILINE)) == set(ErrorCode.__members__)


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "docs/security.md",
        "docs/identity-providers.md",
        *(f"docs/decisions/{decision.name}" for decision in DECISIONS),
    ],
)
def test_every_place_that_a_document_names_is_there(path: str) -> None:
    named = [code or link for code, link in PLACE.findall((ROOT / path).read_text(encoding="utf-8"))]
    places = (ROOT, (ROOT / path).parent)
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_every_test_that_a_document_names_is_there() -> None:
    tests = {
        name
        for path, text in texts().items()
        if path.parts[0] == "tests"
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", text, re.MULTILINE)
    }
    modules = {path.stem for path in texts() if path.parts[0] == "tests"}
    named = {
        name
        for path in [ROOT / "README.md", SECURITY, *DECISIONS]
        for name in re.findall(r"\btest_\w+", path.read_text())
    }
    assert named - tests - modules == set()


def test_every_attack_names_a_test() -> None:
    rows = [line for line in SECURITY.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    attacks = [row.strip("| ").split(" | ") for row in rows if not row.startswith(("| attack |", "| --- |"))]
    assert attacks
    assert [row for row in attacks if len(row) != 3 or not re.fullmatch(r"`test_\w+`(, `test_\w+`)*", row[2])] == []
    assert len({attack for attack, _, _ in attacks}) == len(attacks)


def test_every_preset_and_its_options_are_described_and_the_examples_are_accepted() -> None:
    text = PROVIDERS.read_text(encoding="utf-8")
    examples = [read_issuers(example) for example in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    assert len(examples) == len(PRESETS) + 1  # two for Entra ID, whose groups may have to be asked for
    for name, preset in PRESETS.items():
        assert f'"preset": "{name}"' in text
        assert [option for option in preset.options if f"`{option}`" not in text] == []


def test_every_member_of_an_issuer_s_entry_is_described() -> None:
    table = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", PROVIDERS.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for row in table for name in re.findall(r"\w+", row)} == set(IssuerEntry.model_fields)


def test_the_readme_s_lines_to_import_are_events() -> None:
    [json_line] = re.findall(r"```json\n(.*)\n```", README)
    [(header, csv_line)] = re.findall(r"```csv\n(.*)\n(.*)\n```", README)
    for fields in (json_fields(json_line.encode()), csv_fields(csv_header(header.encode()))(csv_line.encode())):
        event = event_of(fields, Conventions())
        assert (event.source, event.credits, event.tags) == ("gateway", 1_250_000, {"team": "web"})


def test_every_command_that_the_readme_names_is_there() -> None:
    assert set(re.findall(r"`make ([a-z-]+)", README)) <= make_targets()
    assert set(re.findall(r"\bcreditdesk (\w+)`", README)) <= set(COMMANDS)


def test_decisions_are_numbered_and_fit_a_screen() -> None:
    assert [path.name[:4] for path in DECISIONS] == [f"{number:04d}" for number in range(1, len(DECISIONS) + 1)]
    for path in DECISIONS:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < LONGEST_DECISION, path
        parts = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert parts == ["Context", "Decision", "Rejected", "Enforced by"], path


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_versions_and_hashes_and_no_place_to_get_them(lock: str) -> None:
    pinned = re.compile(r"[a-z0-9-]+(\[[a-z,]+\])?==[\w.!+]+( ; [^\\]+)?( \\)?")
    hashed = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not pinned.fullmatch(line) and not hashed.fullmatch(line)] == []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        assert not pinned.fullmatch(line) or hashed.fullmatch(following), f"{line} has no hash"


def test_the_lock_of_node_holds_versions_and_hashes_and_no_place_to_get_them() -> None:
    text = (ROOT / "tests" / "node" / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in text, "run `npm run lock`"
    packages = json.loads(text)["packages"]
    assert [name for name, one in packages.items() if name and not one["integrity"].startswith("sha512-")] == []


def test_the_locks_hold_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = {
        "requirements.lock": project["project"]["dependencies"] + project["dependency-groups"]["build"],
        "requirements-dev.lock": project["dependency-groups"]["dev"],
    }
    for lock, requirements in asked.items():
        lines = [Requirement(line.rstrip(" \\")) for line in (ROOT / lock).read_text().splitlines() if "==" in line]
        versions = {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in lines}
        for requirement in map(Requirement, requirements):
            version = versions.get(canonicalize_name(requirement.name))
            assert version is not None, f"{requirement} is not in {lock}: run `make lock`"
            assert requirement.specifier.contains(version), f"{lock} has {version}, not {requirement}: run `make lock`"


def test_no_file_says_where_packages_come_from() -> None:
    assert [str(path) for path, text in texts().items() if REGISTRY.search(text)] == []


def test_ci_runs_make_check_and_nothing_else() -> None:
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & stat.S_IXUSR
    assert run.read_text().split("\n") == ["#!/usr/bin/env bash", "set -euo pipefail", "", "make check", ""]


def test_check_ends_with_pytest() -> None:
    [recipe] = re.findall(r"^check:.*\n((?:\t.*\n)+)", texts()[Path("Makefile")], re.MULTILINE)
    assert recipe.splitlines()[-1].split()[0] == "$(BIN)/pytest"
