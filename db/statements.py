"""The named SQL statements of `db/sql/`: read once, parameters by name in the text and by number on the wire."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

_DIRECTORY = Path(__file__).resolve().parent / "sql"
_HEADER = re.compile(r"^-- (?P<kind>name|fragment): (?P<name>[a-z_]+)\n", re.MULTILINE)
_INCLUDE = re.compile(r"^ *-- include (\w+)$", re.MULTILINE)
_CUSTOM_PLAN = "plan: custom"
_PARAMETER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class Statement:
    """One named statement: `text` has `$1`, `$2`, ... in the order of `parameters`.

    `custom_plan` says that it is planned for its values each time: `-- plan: custom` above it, where one plan for all
    values would be a bad one.
    """

    name: str
    purpose: str
    text: str
    parameters: tuple[str, ...]
    custom_plan: bool


@dataclass(frozen=True, slots=True)
class _Section:
    kind: str
    name: str
    comments: tuple[str, ...]
    body: str


def _sections_in(source: str) -> Iterator[_Section]:
    headers = list(_HEADER.finditer(source))
    ends = [header.start() for header in headers[1:]] + [len(source)]
    for header, end in zip(headers, ends, strict=True):
        lines = source[header.end() : end].strip().splitlines()
        comments = tuple(line.removeprefix("-- ") for line in takewhile(lambda line: line.startswith("--"), lines))
        body = "\n".join(lines[len(comments) :]).removesuffix(";").rstrip()
        yield _Section(header["kind"], header["name"], comments, body)


def _expanded(body: str, fragments: Mapping[str, str]) -> str:
    """Put fragments where a statement, or another fragment, includes them: a rule that many share is written once."""
    while _INCLUDE.search(body):
        body = _INCLUDE.sub(lambda match: fragments[match[1]], body)
    return body


def _statement(section: _Section, fragments: Mapping[str, str]) -> Statement:
    body = _expanded(section.body, fragments)
    names = tuple(dict.fromkeys(_PARAMETER.findall(body)))
    text = _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", body)
    purpose = " ".join(line for line in section.comments if line != _CUSTOM_PLAN)
    return Statement(section.name, purpose, text, names, custom_plan=_CUSTOM_PLAN in section.comments)


@cache
def all_statements() -> Mapping[str, Statement]:
    """Return every named statement; raise ValueError where two share a name."""
    found: dict[str, Statement] = {}
    for path in sorted(_DIRECTORY.glob("*.sql")):
        sections = list(_sections_in(path.read_text(encoding="utf-8")))
        fragments = {one.name: one.body for one in sections if one.kind == "fragment"}
        for section in sections:
            if section.kind == "fragment":
                continue
            if section.name in found:
                message = f"two statements are named {section.name}"
                raise ValueError(message)
            found[section.name] = _statement(section, fragments)
    return found
