"""What a request's resolvers are given: who is calling, what they may see, when it is, and ways to the database."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import strawberry

from creditdesk.auth.policy import permitted_limits, permitted_scopes
from creditdesk.auth.principal import Principal
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.credits.own_accounts import OwnAccount, OwnAccounts
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Connection, Database
from creditdesk.graphql.live import Live
from creditdesk.graphql.loaders import Loaders
from creditdesk.graphql.protection.allowance import Allowance


@dataclass(slots=True)
class Context:
    """One request. It holds a database to take connections from, never a connection."""

    database: Database
    desk: HoldDesk
    principal: Principal
    now: datetime
    live: Live | None = None
    """What subscriptions share; other operations are executed without."""
    permitted: PermittedScopes = field(init=False)
    reader: Connection = field(init=False)
    """A connection for reads, under the caller's database role."""
    limits_permitted: PermittedScopes = field(init=False)
    """Which limits the caller may read: a program may set everybody's without seeing anybody's spend."""
    limits_reader: Connection = field(init=False)
    """A connection for reads of limits."""
    accounts: OwnAccounts | None = None
    as_of: int | None = None
    """The version of the workspace's controls that is in force, as long as what is known of the caller may be told."""
    own: OwnAccount | None = field(init=False)
    """What is known of the caller's own user."""
    allowance: Allowance | None = None
    """What the caller may still ask for, once this request is charged for."""
    loaders: Loaders = field(init=False)
    """What is asked for at one level of the document is read at once."""

    def __post_init__(self) -> None:
        self.permitted = permitted_scopes(self.principal)
        self.reader = self.database.reader(self.permitted.row_scope)
        self.limits_permitted = permitted_limits(self.principal)
        are_the_same = self.limits_permitted == self.permitted
        self.limits_reader = self.reader if are_the_same else self.database.reader(self.limits_permitted.row_scope)
        self._load(self.accounts, self.as_of)

    def forget(self) -> None:
        """Read again what was read before: for whoever has changed something."""
        self._load()

    def _load(self, accounts: OwnAccounts | None = None, as_of: int | None = None) -> None:
        self.own = None
        if accounts is not None and as_of is not None and self.permitted.user_id is not None:
            self.own = accounts.of(self.reader, self.permitted, as_of=as_of)
        limits = (self.limits_reader, self.limits_permitted)
        self.loaders = Loaders(self.reader, self.permitted, limits, self.now, own=self.own)

    def renew(self, now: datetime) -> None:
        """Be at a later moment: each event of a subscription is read anew."""
        self.now = now
        self.forget()

    @property
    def zone(self) -> str:
        """The zone that days and months of this caller's workspace are cut in."""
        return self.principal.workspace.zone


Info: TypeAlias = strawberry.Info[Context, None]
