"""How many subscriptions and connections are open: bounded for each caller, and counted for the metrics."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from creditdesk.auth.principal import Principal
from creditdesk.credits.errors import CreditError, ErrorCode

Somebody = tuple[UUID, str, str]


class TooManySubscriptionsError(CreditError):
    """The caller has as many subscriptions open as one may have: end some of them."""

    code = ErrorCode.TOO_MANY_SUBSCRIPTIONS


@dataclass(frozen=True, slots=True)
class Open:
    """What is open in this process, and how many connections were dropped because their client did not read."""

    connections: int
    subscriptions: int
    dropped: int


class Subscribers:
    """One for each process: who has how many subscriptions open. A caller is the same over all connections."""

    def __init__(self, *, most_per_caller: int) -> None:
        self._most = most_per_caller
        self._subscriptions: Counter[Somebody] = Counter()
        self._open = Open(connections=0, subscriptions=0, dropped=0)
        self.observers: list[Callable[[Open], None]] = []
        """Called with what is open whenever that changes."""

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Count a connection while the block lasts."""
        self._tell(connections=1)
        try:
            yield
        finally:
            self._tell(connections=-1)

    @contextmanager
    def subscribed(self, principal: Principal) -> Iterator[None]:
        """Count a subscription while the block lasts; raise TooManySubscriptionsError where there are enough."""
        who = (principal.workspace.id, principal.issuer, principal.subject)
        if self._subscriptions[who] >= self._most:
            raise TooManySubscriptionsError
        self._subscriptions[who] += 1
        self._tell(subscriptions=1)
        try:
            yield
        finally:
            self._subscriptions[who] -= 1
            if not self._subscriptions[who]:
                del self._subscriptions[who]
            self._tell(subscriptions=-1)

    def note_dropped(self) -> None:
        """Count a connection that was dropped because its client did not read."""
        self._tell(dropped=1)

    @property
    def open(self) -> Open:
        """What is open now."""
        return self._open

    def _tell(self, *, connections: int = 0, subscriptions: int = 0, dropped: int = 0) -> None:
        self._open = Open(
            self._open.connections + connections,
            self._open.subscriptions + subscriptions,
            self._open.dropped + dropped,
        )
        for observe in self.observers:
            observe(self._open)
