"""What users used, as it was read last: told again where the database says that nothing was recorded since.

People look at the same pages again and again, and few of those on them have used anything meanwhile. Whether they have
is asked each time, by the statement that reads those who have: nothing here is believed for any time at all.
"""

import sys
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import NamedTuple

ENTRY_BYTES = 300
"""What keeping an entry takes besides its text: the user's id, the version, and their places."""

_NONE: Mapping[str, "KeptRows"] = {}


class KeptRows(NamedTuple):
    """A user's rows as text, and the version that their usage was of (see `usage_version` in `db/sql/usage.sql`)."""

    version: int
    written: str


class KeptUsage:
    """Rows of users by what was asked of them, in a bounded number of bytes; what was asked longest ago goes first.

    A question says whose permissions it was asked under, and everything else that an answer depends on.
    """

    def __init__(self, most_bytes: int = 0) -> None:
        """Keep so many bytes at most; with none, nothing is kept."""
        self._most = most_bytes
        self._questions: OrderedDict[Hashable, dict[str, KeptRows]] = OrderedDict()
        self.size = 0
        """The bytes that are kept, about."""

    @property
    def keeps(self) -> bool:
        """Tell whether anything is kept at all."""
        return self._most > 0

    def of(self, question: Hashable) -> Mapping[str, KeptRows]:
        """Return what is kept of a question, by user. It changes when more is kept."""
        found = self._questions.get(question)
        if found is None:
            return _NONE
        self._questions.move_to_end(question)
        return found

    def keep(self, question: Hashable, found: Mapping[str, KeptRows]) -> None:
        """Keep users' rows, instead of those that were kept of them for the same question."""
        kept = self._questions.setdefault(question, {})
        self._questions.move_to_end(question)
        for user, rows in found.items():
            before = kept.get(user)
            self.size += _bytes_of(rows) - (_bytes_of(before) if before else 0)
            kept[user] = rows
        while self.size > self._most:
            _, dropped = self._questions.popitem(last=False)
            self.size -= sum(map(_bytes_of, dropped.values()))


def _bytes_of(rows: KeptRows) -> int:
    return ENTRY_BYTES + sys.getsizeof(rows.written)
