"""What a request's resolvers are given: who is calling, what they may see, when it is, and ways to the database."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import strawberry

from creditdesk.auth.callers import Caller, Callers
from creditdesk.auth.policy import permitted_limits, permitted_scopes
from creditdesk.auth.principal import Principal
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.credits.kept_usage import KeptUsage
from creditdesk.credits.known_budgets import KnownBudgets
from creditdesk.credits.own_accounts import OwnAccount
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Connection, Database
from creditdesk.graphql.live import Live
from creditdesk.graphql.loaders import Loaders
from creditdesk.graphql.protection.allowance import Allowance


@dataclass(frozen=True, slots=True)
class View:
    """What a caller may read, and the connections for it: the same for all requests of a known caller."""

    permitted: PermittedScopes
    reader: Connection
    """A connection for reads, under the caller's database role."""
    limits_permitted: PermittedScopes
    """Which limits the caller may read: a program may set everybody's without seeing anybody's spend."""
    limits_reader: Connection
    """A connection for reads of limits."""
    own: OwnAccount | None = None
    """What is known of the caller's own user, where anything may be remembered."""
    known: KnownBudgets | None = None
    """What is known of those whom the caller looks at, where anything may be remembered."""
    kept: dict[Hashable, Sequence[Any]] | None = None
    """What was found for the caller and stays the same until the version moves, by what was asked; likewise."""

    @classmethod
    def of(cls, database: Database, principal: Principal) -> "View":
        """Return what a principal may read."""
        permitted, limits_permitted = permitted_scopes(principal), permitted_limits(principal)
        reader = database.reader(permitted.row_scope)
        are_the_same = limits_permitted == permitted
        limits_reader = reader if are_the_same else database.reader(limits_permitted.row_scope)
        return cls(permitted, reader, limits_permitted, limits_reader)

    @classmethod
    def kept_of(cls, database: Database, caller: Caller) -> "View":
        """Return what is kept of a caller, with an account of their own user, where they are known as of a version."""
        view: View | None = caller.kept.get(View)
        if view is None:
            view = cls.of(database, caller.principal)
            if caller.as_of is not None:
                id_ = view.permitted.user_id
                own = OwnAccount(view.permitted, id_) if id_ is not None else None
                view = replace(view, own=own, known=KnownBudgets(view.permitted), kept={})
            caller.kept[View] = view
        return view


@dataclass(slots=True)
class Context:
    """One request. It holds a database to take connections from, never a connection."""

    database: Database
    desk: HoldDesk
    principal: Principal
    now: datetime
    live: Live | None = None
    """What subscriptions share; other operations are executed without."""
    view: View | None = None
    """What is kept of the caller; made anew where nothing is."""
    presumed: Caller | None = None
    """Who the caller is as of a version of which it is not known yet whether it is in force."""
    callers: Callers | None = None
    """What finds out who a presumed caller is by now."""
    kept_usage: KeptUsage | None = None
    """What users used as it was read last, for whoever it was, with what tells whether it still is so."""
    permitted: PermittedScopes = field(init=False)
    reader: Connection = field(init=False)
    limits_permitted: PermittedScopes = field(init=False)
    limits_reader: Connection = field(init=False)
    own: OwnAccount | None = field(init=False)
    known: KnownBudgets | None = field(init=False)
    kept: dict[Hashable, Sequence[Any]] | None = field(init=False)
    allowance: Allowance | None = None
    """What the caller may still ask for, once this request is charged for."""
    loaders: Loaders = field(init=False)
    """What is asked for at one level of the document is read at once."""

    def __post_init__(self) -> None:
        view = self.view or View.of(self.database, self.principal)
        self.permitted, self.reader = view.permitted, view.reader
        self.limits_permitted, self.limits_reader = view.limits_permitted, view.limits_reader
        self._load(view.own)
        self.known, self.kept = view.known, view.kept

    def note_version(self, version: int | None) -> None:
        """Take note of the version of the workspace's controls that is in force."""
        if self.presumed is not None and self.presumed.as_of == version:
            self.presumed = None

    async def confirm(self) -> bool:
        """Make sure that the caller is who they are known as, and return whether what was read so far may be told.

        It may not where they had to be looked up anew: from here on the context is theirs as they are now. Raise
        `Unauthenticated` if they are nobody by now.
        """
        presumed = self.presumed
        if presumed is None or self.callers is None:
            return True
        caller = await self.callers.confirmed(presumed)
        self.presumed = None
        if caller.as_of == presumed.as_of:
            return True
        self.principal, self.view = caller.principal, View.kept_of(self.database, caller)
        self.__post_init__()
        return False

    def forget(self) -> None:
        """Read again what was read before: for whoever has changed something."""
        self._load(None)
        self.known = self.kept = None

    def _load(self, own: OwnAccount | None) -> None:
        self.own = own
        limits = (self.limits_reader, self.limits_permitted)
        self.loaders = Loaders(self.reader, self.permitted, limits, self.now, own=own)

    def own_account(self, users: Sequence[UUID | str]) -> OwnAccount | None:
        """Return what is known of the caller, where nobody else is asked for."""
        own = self.permitted.user_id
        return self.own if len(users) == 1 and users[0] in (own, str(own)) else None

    def renew(self, now: datetime) -> None:
        """Be at a later moment: each event of a subscription is read anew."""
        self.now = now
        self.forget()

    @property
    def zone(self) -> str:
        """The zone that days and months of this caller's workspace are cut in."""
        return self.principal.workspace.zone


Info: TypeAlias = strawberry.Info[Context, None]
