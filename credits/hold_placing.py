"""Placing holds: everybody's that came together, in one call to the database, each with an answer of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from creditdesk.credits.controls import (
    Controls,
    Spender,
    controls_of,
    load_controls,
    load_spenders,
)
from creditdesk.credits.errors import CreditError, ErrorCode
from creditdesk.credits.event_rules import UserBy
from creditdesk.credits.hold_batches import Applied, Placing, balances_of, columns_of
from creditdesk.credits.hold_rows import StoredHold
from creditdesk.credits.hold_rules import (
    Hold,
    HoldError,
    HoldRequest,
    check_request,
    ends_at,
    hold_id,
    request_hash,
)
from creditdesk.credits.pricing import Price, RateCard, price
from creditdesk.credits.rates import load_rate_card
from creditdesk.db.connections import Database, DatabaseRole, RowScope
from creditdesk.db.errors import DatabaseUnavailable

_ATTEMPTS = 20
"""How often the rules may change while a round of holds is being placed."""


@dataclass(slots=True)
class Rules:
    """What decides about spending, as far as it has been read; dropped whole when a newer version is there."""

    controls: Controls
    card: RateCard | None = None
    spenders: dict[object, Spender] = field(default_factory=dict)
    applied: dict[tuple[UUID, str, str], Applied] = field(default_factory=dict)

    def spender(self, user: UserBy) -> Spender | None:
        """Return the user, if they have been read."""
        return self.spenders.get(_name(user))


def _name(user: UserBy) -> object:
    return user.id or (user.email and user.email.lower()) or ("external id", user.external_id)


class HoldPlacer:
    """Places the holds of one workspace. It keeps the rules it has read as long as the database says they are in force.

    `MOST_SPENDERS` bounds what is kept.
    """

    MOST_SPENDERS = 50_000

    def __init__(self, database: Database, workspace_id: UUID) -> None:
        self._database = database
        self._scope = RowScope(DatabaseRole.ADMINISTRATOR, workspace_id)
        self._conn = database.reader(self._scope)
        self._workspace_id = workspace_id
        self._rules: Rules | None = None
        self._balances: set[str] = set()

    async def place(self, requests: Sequence[HoldRequest], *, now: datetime) -> list[Hold | Exception]:
        """Place each of these holds, or say why not: BudgetExceededError, HoldError, EventError."""
        # A request that comes twice in one round has one answer.
        answers: dict[HoldRequest, Hold | Exception] = {}
        asked: list[HoldRequest] = []
        for request in dict.fromkeys(requests):
            try:
                check_request(request)
                asked.append(request)
            except CreditError as error:
                answers[request] = error
        while asked:
            # Another request for the same hold has to wait for what becomes of the first.
            firsts: dict[UUID, HoldRequest] = {}
            again: list[HoldRequest] = []
            for request in asked:
                id_ = hold_id(self._workspace_id, request.source, request.id)
                if firsts.setdefault(id_, request) is not request:
                    again.append(request)
            answers |= dict(zip(firsts.values(), await self._round(firsts, now), strict=True))
            asked = again
        return [answers[request] for request in requests]

    async def _round(self, requests: dict[UUID, HoldRequest], now: datetime) -> list[Hold | Exception]:
        for _ in range(_ATTEMPTS):
            rules = await self.rules([request.user for request in requests.values()])
            answers: dict[UUID, Hold | Exception] = {}
            placing: list[Placing] = []
            for id_, request in requests.items():
                try:
                    placing.append(await self._prepared(rules, id_, request, now))
                except CreditError as error:
                    answers[id_] = error
            unplaced = list(answers)
            if await self._placed(rules, placing, answers, now):
                await self._replay(rules, requests, unplaced, answers, now)
                return [answers[id_] for id_ in requests]
            self._rules = None
        raise DatabaseUnavailable(DatabaseUnavailable.__doc__)

    async def rules(self, users: Sequence[UserBy]) -> Rules:
        """Return the rules, with these users among the spenders where they exist."""
        if self._rules is None or max(len(self._rules.spenders), len(self._rules.applied)) > self.MOST_SPENDERS:
            self._rules = Rules(await load_controls(self._conn, self._workspace_id))
        rules = self._rules
        unknown = {_name(user): user for user in users if rules.spender(user) is None}
        if unknown:
            for spender in await load_spenders(self._conn, self._workspace_id, list(unknown.values())):
                rules.spenders[spender.id] = spender
                if spender.email:
                    rules.spenders[spender.email] = spender
                if spender.external_id:
                    rules.spenders["external id", spender.external_id] = spender
        return rules

    async def refresh(self) -> None:
        """Forget the rules if they are not those in force: for whoever places nothing, which would tell."""
        [(version, *_)] = await self._conn.rows("controls_settings", workspace_id=self._workspace_id)
        if self._rules is not None and self._rules.controls.version != version:
            self._rules = None

    async def card(self, rules: Rules) -> RateCard:
        """Return the rate card of these rules."""
        if rules.card is None:
            rules.card = await load_rate_card(self._conn, self._workspace_id, rules.controls.unknown_model)
        return rules.card

    async def _prepared(self, rules: Rules, id_: UUID, request: HoldRequest, now: datetime) -> Placing:
        spender = rules.spender(request.user)
        if spender is None:
            raise HoldError(ErrorCode.UNKNOWN_USER)
        if not spender.active:
            raise HoldError(ErrorCode.INACTIVE_USER)
        priced = await self.priced(rules, request, now)
        applied = self.applied(rules, spender, request, now)
        until = ends_at(now, request.seconds)
        return Placing(id_, request, request_hash(request, spender.id), spender, priced, applied, until)

    async def priced(self, rules: Rules, request: HoldRequest, now: datetime) -> Price:
        """Return what a request is for: its amount, or its price by the rate card; raise EventError."""
        if request.amount is not None or request.expected is None:
            return Price(request.amount or 0, ())
        card = await self.card(rules)
        return price(card, product=request.product, model=request.model, at=now, measured=request.expected)

    def applied(self, rules: Rules, spender: Spender, request: HoldRequest, now: datetime) -> Applied:
        """Return the controls that a request counts in."""
        key = (spender.id, request.product, request.model)
        known = rules.applied.get(key)
        if known is None or (known.until is not None and known.until <= now):
            usage = (request.product, request.model)
            found = controls_of(rules.controls, spender, self._workspace_id, now=now, usage=usage)
            known = rules.applied[key] = Applied.of(found)
        return known

    async def _replay(
        self,
        rules: Rules,
        requests: dict[UUID, HoldRequest],
        unplaced: Sequence[UUID],
        answers: dict[UUID, Hold | Exception],
        now: datetime,
    ) -> None:
        """Give what was placed before its answer again, also where it could not be placed any more."""
        if not unplaced:
            return
        rows = await self._conn.rows("holds_by_id", workspace_id=self._workspace_id, ids=unplaced)
        for stored in map(StoredHold, rows):
            request = requests[stored.hold.id]
            spender = rules.spender(request.user)
            if spender is not None and request_hash(request, spender.id) == stored.request_hash:
                answers[stored.hold.id] = stored.answer(rules.controls, now)

    async def _placed(
        self, rules: Rules, placing: Sequence[Placing], answers: dict[UUID, Hold | Exception], now: datetime
    ) -> bool:
        """Place what can be placed; return False where the rules are not in force any more, and nothing was placed."""
        if not placing:
            # There is nothing for the database to refuse, so it is asked whether these reasons still hold.
            await self.refresh()
            return self._rules is rules
        balances = balances_of(placing)
        known, self._balances = self._balances, set()  # where the call fails, they have to be looked for again
        # In one message, which is a transaction of its own: balances are not kept locked while an answer travels. Sent
        # again over another connection where this one breaks, it finds what it has placed.
        rows = await self._conn.rows(
            "place_holds",
            workspace_id=self._workspace_id,
            now=now,
            version=rules.controls.version,
            known=balances.keys() <= known,
            **columns_of(placing, balances),
        )
        if rows[0][0] == 0:
            return False
        self._balances = known if len(known) < self.MOST_SPENDERS else set()
        self._balances.update(balances)
        for nth, is_new, *row in rows:
            asked = placing[nth - 1]
            if row[0] is None:
                answers[asked.id] = asked.granted(now)
                continue
            stored = StoredHold(tuple(row))
            if not is_new and stored.request_hash != asked.hash:
                answers[asked.id] = HoldError(ErrorCode.IDEMPOTENCY_CONFLICT)
            else:
                answers[asked.id] = stored.answer(rules.controls, now)
        return True
