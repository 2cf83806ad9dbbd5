"""A workspace in which credits are asked for, and somebody decides."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from creditdesk.credits import requests
from creditdesk.credits.amounts import MICRO
from creditdesk.credits.controls import changing_controls, each_user_limit, load_controls, load_spenders
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.limit_rules import NewLimit, write_limit
from creditdesk.credits.limits import UNLIMITED, EffectiveLimit, Limit, Limited, LimitKind, LimitScope, Shape
from creditdesk.credits.periods import Cadence
from creditdesk.credits.permitted import Actor, Authority
from creditdesk.credits.request_rows import find_request
from creditdesk.credits.request_rules import Approval, Ask, CreditRequest
from support.ledgers import NOW, Ledger

MONTH = Shape(Cadence.MONTH)
OWNER = Actor("PERSON", "olga", None)
_TABLES = ("credit_limit", "credit_request", "audit_entry", "balance_kind")


@dataclass
class Asking:
    """A ledger whose users ask for more. Amounts are whole credits."""

    ledger: Ledger

    @property
    def owner(self) -> Authority:
        """The authority of somebody who decides everything, and is no user here."""
        return Authority(self.ledger.workspace_id, OWNER, everywhere=True, managed_groups=frozenset())

    def person(self, name: str, *, everywhere: bool = False, manages: Sequence[str] = ()) -> Authority:
        """Return the authority of a user: to ask, or, with a reach, to decide."""
        actor = Actor("PERSON", name, self.ledger.users[name])
        groups = frozenset(self.ledger.groups[group] for group in manages)
        return Authority(self.ledger.workspace_id, actor, everywhere=everywhere, managed_groups=groups)

    def set(self, **settings: object) -> None:
        """Change the workspace's settings."""
        for column, value in settings.items():
            query = f"UPDATE workspace_settings SET {column} = %s WHERE workspace_id = %s"  # noqa: S608 - from a test
            self.ledger.desk.sql(query, value, self.ledger.workspace_id)

    def limit(
        self, on: str | None, amount: int | None, *, shape: Shape = MONTH, now: datetime = NOW, **options: Any
    ) -> Limit:
        """Set an each-user limit on a user, a group, or for None the workspace; an amount of None is unlimited."""
        return cast("Limit", self.ledger.desk.run(self.limiting(on, amount, shape=shape, now=now, **options)))

    async def limiting(
        self,
        on: str | None,
        amount: int | None,
        *,
        shape: Shape = MONTH,
        now: datetime = NOW,
        actor: Actor = OWNER,
        covering: bool = False,
        **options: Any,
    ) -> Limit:
        ledger = self.ledger
        scope, scope_id = LimitScope.WORKSPACE, ledger.workspace_id
        if on in ledger.users:
            scope, scope_id = LimitScope.USER, ledger.users[on]
        elif on in ledger.groups:
            scope, scope_id = LimitScope.GROUP, ledger.groups[on]
        value = UNLIMITED if amount is None else Limited(amount * MICRO)
        rule = NewLimit(scope, scope_id, LimitKind.EACH_USER, shape, value, **options)
        async with ledger.desk.database.transaction(ledger.scope) as conn:
            await changing_controls(conn, ledger.workspace_id)
            controls = await load_controls(conn, ledger.workspace_id)
            written = await write_limit(
                conn, controls, workspace_id=ledger.workspace_id, actor=actor, rule=rule, now=now
            )
            if covering:
                users = [scope_id] if scope is LimitScope.USER else None
                await requests.approve_covered(
                    conn, controls, workspace_id=ledger.workspace_id, users=users, actor=actor, now=now
                )
        return written

    def limit_now(self, name: str = "ada", *, shape: Shape = MONTH, now: datetime = NOW) -> EffectiveLimit:
        """Return the each-user limit that applies to a user at a moment."""

        async def applying() -> EffectiveLimit:
            workspace_id = self.ledger.workspace_id
            controls = await load_controls(self.ledger.reader, workspace_id)
            [user] = await load_spenders(self.ledger.reader, workspace_id, [UserBy(id=self.ledger.users[name])])
            return each_user_limit(controls, user, workspace_id, shape, now)

        return cast("EffectiveLimit", self.ledger.desk.run(applying()))

    def amount_now(self, name: str = "ada", *, shape: Shape = MONTH, now: datetime = NOW) -> float | None:
        """Return how many credits a user's limit is at a moment; None where there is no limit."""
        value = self.limit_now(name, shape=shape, now=now).value
        return value.amount / MICRO if isinstance(value, Limited) else None

    async def asking(
        self,
        name: str = "ada",
        amount: int = 50,
        *,
        micro: int | None = None,
        shape: Shape = MONTH,
        now: datetime = NOW,
        **changes: Any,
    ) -> CreditRequest:
        asked = amount * MICRO if micro is None else micro
        fields: dict[str, Any] = {"amount": asked, "reason": "A launch.", "shape": shape}
        ask = Ask(**fields | changes)
        async with self.ledger.desk.database.transaction(self.ledger.scope) as conn:
            return await requests.request_credits(conn, self.person(name), ask, now=now)

    def ask(self, name: str = "ada", amount: int = 50, **options: Any) -> CreditRequest:
        """Ask for so many credits more."""
        return cast("CreditRequest", self.ledger.desk.run(self.asking(name, amount, **options)))

    async def approving(
        self,
        by: Authority,
        request: CreditRequest,
        *,
        amount: int | None = None,
        now: datetime = NOW,
        **options: Any,
    ) -> CreditRequest:
        approval = Approval(request.id, amount=None if amount is None else amount * MICRO, **options)
        async with self.ledger.desk.database.transaction(self.ledger.scope) as conn:
            return await requests.approve_request(conn, by, approval, now=now)

    def approve(self, by: Authority, request: CreditRequest, **options: Any) -> CreditRequest:
        return cast("CreditRequest", self.ledger.desk.run(self.approving(by, request, **options)))

    async def denying(
        self, by: Authority, request: CreditRequest, *, note: str | None = None, now: datetime = NOW
    ) -> CreditRequest:
        async with self.ledger.desk.database.transaction(self.ledger.scope) as conn:
            return await requests.deny_request(conn, by, request.id, note=note, now=now)

    def deny(self, by: Authority, request: CreditRequest, **options: Any) -> CreditRequest:
        return cast("CreditRequest", self.ledger.desk.run(self.denying(by, request, **options)))

    async def cancelling(self, by: Authority, request: CreditRequest, *, now: datetime = NOW) -> CreditRequest:
        async with self.ledger.desk.database.transaction(self.ledger.scope) as conn:
            return await requests.cancel_request(conn, by, request.id, now=now)

    def cancel(self, by: Authority, request: CreditRequest, **options: Any) -> CreditRequest:
        return cast("CreditRequest", self.ledger.desk.run(self.cancelling(by, request, **options)))

    def stored(self, request_id: UUID) -> CreditRequest:
        """Return a request as it is stored now."""
        workspace_id = self.ledger.workspace_id
        finding = find_request(self.ledger.reader, workspace_id, request_id, everyone=True, own_user=None)
        return cast("CreditRequest", self.ledger.desk.run(finding))

    def rows(self) -> dict[str, list[str]]:
        """Return everything that asking and deciding could change, row by row."""
        return {
            table: [
                row
                for (row,) in self.ledger.desk.sql(
                    f"SELECT t::text FROM {table} AS t WHERE workspace_id = %s ORDER BY 1",  # noqa: S608 - of _TABLES
                    self.ledger.workspace_id,
                )
            ]
            for table in _TABLES
        }

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Assert that nothing was changed."""
        before = self.rows()
        yield
        assert self.rows() == before

    def trail(self) -> list[tuple[str, str, str | None]]:
        """Return what the audit trail says: the action, who did it, and the state or value it led to."""
        return [
            (action, subject, (after or {}).get("state") or (after or {}).get("value"))
            for action, subject, after in self.ledger.desk.sql(
                "SELECT action, actor_subject, after FROM audit_entry WHERE workspace_id = %s ORDER BY id",
                self.ledger.workspace_id,
            )
        ]
