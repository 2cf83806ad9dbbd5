"""Writes docs/access.md, the manifest of access as tables: `make access`."""

from collections.abc import Iterator, Mapping, Sequence

from support.manifest import KINDS, ROWS, Field, Manifest, Operation, manifest
from support.repository import ROOT

PAGE = ROOT / "docs" / "access.md"
_NOTHING = "-"
_YES = "yes"
_HEAD = """# Who sees what, and who may do what

Made from `docs/access.toml` by `make access`. `tests/api/test_access_matrix.py` and
`tests/api/test_operation_matrix.py` hold the server to it, for every caller, every field and every row;
`tests/architecture/test_access_document.py` fails for a field or an operation that is not in it. The rules themselves
are in `auth/policy.py` and in the statements of `db/sql/`.

## Words

A row is of a user, of a group or of the workspace as a whole. To a caller it is one of these:

| | it is |
| --- | --- |
| own | of the caller's own user |
| managed | of a user who is in a group that the caller manages |
| others | of any other user of the workspace |
| own groups | of a group that the caller is in |
| managed groups | of a group that the caller manages |
| other groups | of any other group of the workspace |
| workspace | of the workspace, and of nobody in it |
| all | any of these |

**A row of another workspace is seen and changed by nobody.** A dash means: not seen. What is not seen is answered as
what is not there: null, an empty list, or an error UNKNOWN_...; it is in no total, no order and no error text.
"""


def access_page() -> str:
    """Return the page as the manifest says it."""
    return "\n".join([*_lines(manifest())]).rstrip() + "\n"


def _lines(found: Manifest) -> Iterator[str]:
    yield _HEAD
    yield from _table(["caller", "is"], [[caller, what] for caller, what in found.callers.items()])
    yield from ("", "Who has several roles sees what any of them sees, and what leads from one to the other.")
    yield from ("", "## Who sees what", "")
    for type_name in sorted({field.type_name for field in found.fields.values()}):
        fields = [field for field in found.fields.values() if field.type_name == type_name]
        yield from _type_table(found, type_name, fields)
    yield from ("## Who may do what", "")
    yield from _operations(found)
    yield from ("## Who is told what as it happens", "")
    yield from _subscriptions(found)
    yield from (
        "## What operations answer",
        "",
        "Told to whoever may call them; objects in an answer are shown as above.",
    )
    yield from (
        "",
        *_table(["type", "fields"], [[f"`{one}`", _names(names)] for one, names in found.answers.items()]),
        "",
    )


def _type_table(found: Manifest, type_name: str, fields: Sequence[Field]) -> Iterator[str]:
    yield f"### {type_name}"
    yield ""
    columns: dict[tuple[str, ...], list[str]] = {}
    for field in fields:
        cells = tuple(_words(found.expected(caller, field), field.words) for caller in found.callers)
        columns.setdefault(cells, []).append(field.name)
    alike: dict[tuple[str, ...], list[str]] = {}
    for place, caller in enumerate(found.callers):
        alike.setdefault(tuple(cells[place] for cells in columns), []).append(caller)
    yield from _table(
        ["caller", *(_names(names) for names in columns.values())],
        [[", ".join(callers), *cells] for cells, callers in alike.items()],
    )
    yield ""


def _subscriptions(found: Manifest) -> Iterator[str]:
    yield "Of the rows that they may see, as they are then; whoever is not named is refused with FORBIDDEN."
    yield ""
    rows = [
        [f"`{name}`", "; ".join(f"{caller}: {', '.join(words)}" for caller, words in found.audiences[audience].items())]
        for name, audience in found.subscriptions.items()
    ]
    yield from _table(["subscription", "told"], rows)
    yield ""


def _operations(found: Manifest) -> Iterator[str]:
    yield "A code is what the caller is refused with; a dash stands for FORBIDDEN. On rows that are not named, and on"
    yield "rows of another workspace, whoever may use an operation is refused with the last column's codes."
    yield ""
    roles = [caller for caller in found.callers if caller.isupper()]
    rows = []
    for one in found.operations:
        name = f"`{one.name}`" + (f", {one.what}" if one.what else "")
        cells = [_allowed(one, one.callers[role]) if role in one.callers else _NOTHING for role in roles]
        others: dict[str, list[str]] = {}
        for caller in one.callers.keys() - set(roles):
            others.setdefault(_allowed(one, one.callers[caller]), []).append(caller)
        rows.append([name, *cells, _others(found, others), _refusals(one)])
    yield from _table(["operation", *roles, "others", "refusals"], rows)
    yield ""


def _others(found: Manifest, others: Mapping[str, list[str]]) -> str:
    order = list(found.callers).index
    return "; ".join(f"{', '.join(sorted(who, key=order))}: {what}" for what, who in others.items()) or _NOTHING


def _allowed(one: Operation, words: tuple[str, ...] | str) -> str:
    if isinstance(words, str):
        return words
    everything = tuple(word for kind in one.kinds for word in KINDS[kind])
    return _words(frozenset(words) & frozenset(everything), everything) if everything else _YES


def _refusals(one: Operation) -> str:
    codes: dict[str, list[str]] = {}
    for word, code in one.refused.items():
        codes.setdefault(code, []).append(word)
    told = [f"{code} ({', '.join(words)})" for code, words in codes.items()]
    return "; ".join([*told, *dict.fromkeys(one.unknown.values())]) or _NOTHING


def _words(seen: frozenset[str], there: Sequence[str]) -> str:
    if not seen:
        return _NOTHING
    if seen == frozenset(there):
        return "all" if len(there) > 1 else _YES
    return ", ".join(word for word in ROWS if word in seen)


def _names(names: Sequence[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    PAGE.write_text(access_page(), encoding="utf-8")
