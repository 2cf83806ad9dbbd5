"""What plans ask for at one level of a document: each question once, of all its subjects, and all questions at once."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import chain
from typing import Any

from creditdesk.credits.controls import version_in_force
from creditdesk.db.lookups import along
from creditdesk.graphql.context import Context
from creditdesk.graphql.execution.plans import Ask

MOST_KEPT = 8
"""Answers that last, of each caller: there may be thousands of them."""


class Levels:
    """Answers what batches ask under a caller's permissions. What lasts is read once for as long as they are known."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        """Answer for the context's caller."""
        self._context = context

    def known(self, ask: Ask) -> Sequence[Any] | None:
        """Return what is kept for each of a question's subjects, or None: so what is beneath it need not wait."""
        kept = self._context.kept
        return kept.get(_key(ask)) if ask.lasts and kept is not None else None

    async def read(self, asks: Sequence[Ask]) -> list[Sequence[Any]]:
        """Return what is found for each one's subjects."""
        kept = self._context.kept  # of who the caller is now: what is read belongs there, whoever they are by then
        found = await _read(self._context, asks)
        if kept is not None:
            for ask in asks:
                if ask.lasts:
                    kept[_key(ask)] = found[ask]
                    if len(kept) > MOST_KEPT:
                        del kept[next(iter(kept))]
        return [found[ask] for ask in asks]


def _key(ask: Ask) -> Hashable:
    return ask.lookup, ask.question, tuple(ask.subjects)


async def _read(context: Context, asks: Sequence[Ask]) -> dict[Ask, Sequence[Any]]:
    """Read what is asked.

    Whether a caller is still who they are known as is asked along, so that it takes no message of its own.
    """
    alike = list(_alike(asks))
    subjects = [_subjects_of(same) for same in alike]
    lookups = [same[0].lookup(context, same[0].question, of_all) for same, of_all in zip(alike, subjects, strict=True)]
    if context.presumed is not None:
        # Also where that one is long, and travels alone: a message costs more than asking for the version.
        asked_first = along(version_in_force(context.permitted.workspace_id), lookups[0])
        (version, found_first), *others = await context.reader.look_up([asked_first, *lookups[1:]])
        context.note_version(version)
        everything = [found_first, *others]
    else:
        everything = await context.reader.look_up(lookups)
    answered: dict[Ask, Sequence[Any]] = {}
    for same, of_all, found in zip(alike, subjects, everything, strict=True):
        if len(same) == 1:
            answered[same[0]] = found
            continue
        by_subject = dict(zip(of_all, found, strict=True))
        answered.update((ask, [by_subject[subject] for subject in ask.subjects]) for ask in same)
    return answered


def _alike(asks: Sequence[Ask]) -> Iterator[Sequence[Ask]]:
    """Return those together that ask the same. Few do, so that most questions, which are long, need not be hashed."""
    of_kinds: dict[object, list[Ask]] = {}
    for ask in asks:
        of_kinds.setdefault(ask.lookup, []).append(ask)
    for of_kind in of_kinds.values():
        if len(of_kind) == 1:
            yield of_kind
            continue
        same: dict[object, list[Ask]] = {}
        for ask in of_kind:
            same.setdefault(ask.question, []).append(ask)
        yield from same.values()


def _subjects_of(same: Sequence[Ask]) -> list[Any]:
    if len(same) == 1:
        return list(same[0].subjects)
    return list(dict.fromkeys(chain.from_iterable(ask.subjects for ask in same)))
