"""What a request's resolvers are given: who is calling, what they may see, when it is, and ways to the database."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import strawberry

from creditdesk.auth.policy import permitted_scopes
from creditdesk.auth.principal import Principal
from creditdesk.credits.permitted import PermittedScopes
from creditdesk.db.connections import Connection, Database
from creditdesk.graphql.loaders import Loaders


@dataclass(slots=True)
class Context:
    """One request. It holds a database to take connections from, never a connection."""

    database: Database
    principal: Principal
    now: datetime
    permitted: PermittedScopes = field(init=False)
    reader: Connection = field(init=False)
    """A connection for reads, under the caller's database role."""
    loaders: Loaders = field(init=False)
    """What is asked for at one level of the document is read at once."""

    def __post_init__(self) -> None:
        self.permitted = permitted_scopes(self.principal)
        self.reader = self.database.reader(self.permitted.row_scope)
        self.loaders = Loaders(self.reader, self.permitted)

    @property
    def zone(self) -> str:
        """The zone that days and months of this caller's workspace are cut in."""
        return self.principal.workspace.zone


Info: TypeAlias = strawberry.Info[Context, None]
