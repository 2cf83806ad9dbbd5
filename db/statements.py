"""The named SQL statements of `db/sql/`: read once, parameters by name in the text and by number on the wire."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

_DIRECTORY = Path(__file__).resolve().parent / "sql"
_HEADER = re.compile(r"^-- (?P<kind>name|fragment): (?P<name>[a-z_]+)\n", re.MULTILINE)
_INCLUDE = re.compile(r"^ *-- include (\w+)$", re.MULTILINE)
_TELLS = "tells: outbox"
_SHORT = "message: shared"
_LIGHT = "message: along"
_PARAMETER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class Planning:
    """How PostgreSQL plans a statement: `cache_mode` is its `plan_cache_mode`, the others are what it likes to do."""

    cache_mode: str = "auto"
    sorts: bool = True
    follows_indexes: bool = True

    def instead_of(self, other: "Planning") -> list[str]:
        """Return what has it plan in this way, where it planned in the other one."""
        changes = [f"SET LOCAL plan_cache_mode = {self.cache_mode}"] if self.cache_mode != other.cache_mode else []
        if self.sorts != other.sorts:
            likes = "on" if self.sorts else "off"
            changes += [f"SET LOCAL enable_sort = {likes}", f"SET LOCAL enable_incremental_sort = {likes}"]
        if self.follows_indexes != other.follows_indexes:
            changes.append(f"SET LOCAL enable_indexscan = {'on' if self.follows_indexes else 'off'}")
        return changes


AS_IT_SEES_FIT = Planning()
_PLANS = {
    "plan: custom": Planning("force_custom_plan"),
    "plan: generic": Planning("force_generic_plan"),
    "plan: hashed": Planning("force_generic_plan", sorts=False),
    "plan: scattered": Planning("force_generic_plan", follows_indexes=False),
}


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One named statement: `text` has `$1`, `$2`, ... in the order of `parameters`.

    With `-- plan: custom` above it, it is planned for its values each time, where one plan for all would be a bad one;
    with `-- plan: generic` it is planned once, where that plan is as good as any and planning takes longer than
    reading; with `-- plan: hashed` likewise, and adds up by hashes instead of sorting, where PostgreSQL has no idea how
    many rows it will be; with `-- plan: scattered` likewise, and reads thousands of rows that lie anywhere page by
    page, instead of going to a page for each; otherwise it is planned as PostgreSQL sees fit. `is_told` says that it
    puts what it changes into the outbox: `-- tells: outbox` above it. `is_short` says that it reads a few rows by their
    keys, so that it may share a message with others': `-- message: shared` above it. `is_light` says that it takes
    little beside what it is asked with, and may go along with that: it is short, or has `-- message: along` above it.
    """

    name: str
    purpose: str
    text: str
    parameters: tuple[str, ...]
    plan: Planning
    is_told: bool
    is_short: bool
    is_light: bool


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
    marks = {*_PLANS, _TELLS, _SHORT, _LIGHT}
    purpose = " ".join(line for line in section.comments if line not in marks)
    return Statement(
        section.name,
        purpose,
        text,
        names,
        plan=next((_PLANS[line] for line in section.comments if line in _PLANS), AS_IT_SEES_FIT),
        is_told=_TELLS in section.comments,
        is_short=_SHORT in section.comments,
        is_light=not {_SHORT, _LIGHT}.isdisjoint(section.comments),
    )


@cache
def all_statements() -> Mapping[str, Statement]:
    """Return every named statement; raise ValueError where two statements or fragments share a name."""
    sections = [
        section
        for path in sorted(_DIRECTORY.glob("*.sql"))
        for section in _sections_in(path.read_text(encoding="utf-8"))
    ]
    names = Counter(section.name for section in sections)
    if twice := sorted(name for name, count in names.items() if count > 1):
        message = f"two statements or fragments are named {twice[0]}"
        raise ValueError(message)
    # A rule that statements of several files share, such as who may see whom, is written in one of them.
    fragments = {one.name: one.body for one in sections if one.kind == "fragment"}
    return {one.name: _statement(one, fragments) for one in sections if one.kind == "name"}
