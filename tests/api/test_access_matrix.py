"""The matrix of access: every role, every field, every row, against docs/access.toml.

Every caller asks for everything of every object there is, of both workspaces, by its id, in every way that a field can
be asked. What the owners are answered shows that all of it was asked for; what others are answered must be what the
manifest says, neither more nor less. Objects that are reached through others are in test_access.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from support.databases import FreshDatabase
from support.everything import documents_of_rows, furnish
from support.manifest import Field, manifest
from support.rows import BOTH, FOREIGN_OWNER, SEATS, Cell, Rows, Seat, held_cells, row_word, sit_down, words_of
from support.world import World, without_plans, world_of

SEE_ALL = ("OWNER", "ADMIN", "BILLING", "ANALYST", "usage:read")
OWNERS = {"acme": "OWNER", "himal": "owner of himal"}
"""Who is answered everything of each workspace."""
ALL_SEATS = {**SEATS, OWNERS["himal"]: FOREIGN_OWNER}


@dataclass(frozen=True, slots=True)
class Answered:
    """What a caller was answered: fields that held something, errors, and lists whose total is not their length."""

    cells: frozenset[Cell]
    errors: frozenset[str]
    wrong_totals: tuple[dict[str, Any], ...]

    def words(self, seat: Seat) -> dict[str, set[str]]:
        """Return, for each field, what the rows that it held something in are to somebody at this seat."""
        words: dict[str, set[str]] = {}
        for name, owner in self.cells:
            words.setdefault(name, set()).add(row_word(seat, owner))
        return words


def lists_of(value: object) -> Iterator[dict[str, Any]]:
    """Yield every list of an answer that is a page of its own, whole."""
    if isinstance(value, list):
        for one in value:
            yield from lists_of(one)
    if isinstance(value, dict):
        match value:
            case {"totalCount": _, "pageInfo": {"hasNextPage": False, "hasPreviousPage": False}}:
                yield value
        yield from lists_of(list(value.values()))


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    with world_of(module_database) as filled:
        furnish(filled)
        sit_down(filled, {**ALL_SEATS, **{name: seat for name, (seat, _) in BOTH.items()}})
        yield filled


@pytest.fixture(scope="module")
def answered(world: World) -> dict[str, Answered]:
    rows = Rows.of(world)
    documents = list(documents_of_rows(rows.owners))
    with without_plans(world) as stock:
        # Those who see a part are asked by both executors: each has ways to rows of its own.
        return {
            caller: ask_all(
                (world,) if caller in {*SEE_ALL, *OWNERS.values()} else (world, stock), rows, caller, documents
            )
            for caller in ALL_SEATS
        }


def ask_all(
    worlds: Sequence[World], rows: Rows, caller: str, documents: Sequence[tuple[str, dict[str, Any]]]
) -> Answered:
    place = ALL_SEATS[caller].place if caller in ALL_SEATS else "acme"
    cells: set[Cell] = set()
    errors: set[str] = set()
    wrong: list[dict[str, Any]] = []
    for world, start in product(worlds, range(0, len(documents), 2)):
        for answer in world.ask_together([(caller, *document) for document in documents[start : start + 2]]):
            cells.update(held_cells(rows, answer["data"], ("workspace", place)))
            errors.update(error["extensions"]["code"] for error in answer.get("errors", ()))
            wrong += [one for one in lists_of(answer["data"]) if one["totalCount"] != len(one["edges"])]
    return Answered(frozenset(cells), frozenset(errors), tuple(wrong))


def there(caller: str, field: Field) -> set[str]:
    """Return what rows of a field can be to a caller: not everybody manages somebody, or is in a group."""
    return {word for kind in field.kinds for word in words_of(ALL_SEATS[caller], kind)}


def listed(words: set[str]) -> str:
    return ", ".join(sorted(words)) or "nothing"


@pytest.mark.parametrize("caller", SEATS)
def test_a_caller_sees_every_field_in_exactly_the_rows_that_the_manifest_says(
    answered: dict[str, Answered], caller: str
) -> None:
    words = answered[caller].words(SEATS[caller])
    wrong = []
    for name, field in manifest().fields.items():
        seen, expected = words.get(name, set()), set(manifest().expected(caller, field)) & there(caller, field)
        if seen != expected:
            wrong.append(f"{name}: {caller} sees {listed(seen)}; by docs/access.toml it is {listed(expected)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("caller", SEATS)
def test_whatever_a_caller_does_not_see_was_asked_for(answered: dict[str, Answered], caller: str) -> None:
    reached = answered[OWNERS["acme"]].words(SEATS[caller])
    missing = []
    for name, field in manifest().fields.items():
        gap = there(caller, field) - reached.get(name, set())
        if gap and field.audience != "nobody":
            missing.append(
                f"{name}: nothing is in it for {listed(gap)}; tests/support/everything.py asks and furnishes"
            )
    assert not missing, "\n".join(missing)


def test_whatever_there_is_of_another_workspace_was_asked_for(answered: dict[str, Answered]) -> None:
    kinds: dict[str, set[str]] = {}
    for name, (kind, _) in answered[OWNERS["himal"]].cells:
        kinds.setdefault(name, set()).add(kind)
    fields = manifest().fields
    missing = [
        name
        for name, field in fields.items()
        if field.audience != "nobody" and set(field.kinds) - kinds.get(name, set())
    ]
    assert missing == []


@pytest.mark.parametrize("caller", ALL_SEATS)
def test_a_total_is_of_what_is_shown_and_of_no_more(answered: dict[str, Answered], caller: str) -> None:
    assert answered[caller].wrong_totals == ()


@pytest.mark.parametrize("caller", ALL_SEATS)
def test_no_error_tells_what_is_there(answered: dict[str, Answered], caller: str) -> None:
    assert answered[caller].errors == ({"FORBIDDEN"} if caller == "no role" else set())


@pytest.mark.parametrize("who", BOTH)
def test_who_is_several_sees_no_more_than_each_of_them_does(world: World, who: str) -> None:
    seat, callers = BOTH[who]
    rows = Rows.of(world)
    words = ask_all([world], rows, who, list(documents_of_rows(rows.owners, turns=1))).words(seat)
    wrong = []
    for name, field in manifest().fields.items():
        more = words.get(name, set()).difference(*(manifest().expected(caller, field) for caller in callers))
        if more:
            wrong.append(f"{name}: {who} sees {listed(more)}, which {' and '.join(callers)} do not")
    assert not wrong, "\n".join(wrong)
    assert {"Viewer.kind", "Workspace.name"} <= words.keys()
