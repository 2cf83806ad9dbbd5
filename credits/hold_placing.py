"""Placing holds: everybody's that came together, in one call to the database, each with an answer of its own."""

from collections.abc import Collection, Sequence
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
from creditdesk.credits.hold_batches import (
    Applied,
    Placing,
    balances_of,
    choosing_columns,
    granting_columns,
    hold_columns,
)
from creditdesk.credits.hold_rows import StoredHold
from creditdesk.credits.hold_rules import (
    Hold,
    HoldError,
    HoldRequest,
    check_request,
    ends_at,
    hold_id,
    named_use,
    request_hash,
)
from creditdesk.credits.pricing import Price, RateCard, price
from creditdesk.credits.rates import load_rate_card
from creditdesk.db.connections import Database, Row
from creditdesk.db.scopes import DatabaseRole, RowScope

_NOBODY = UUID(int=0)


class RulesChanged(Exception):  # noqa: N818 - an event, that whoever places has to look again
    """The rules are not those that were known, or that a caller was let in by; they will be read anew."""


@dataclass(slots=True)
class Rules:
    """What decides about spending, as far as it has been read; dropped whole when a newer version is there."""

    controls: Controls
    card: RateCard | None = None
    spenders: dict[object, Spender] = field(default_factory=dict)
    applied: dict[tuple[int, str, str], Applied] = field(default_factory=dict)
    read_to: UUID | None = _NOBODY
    """Up to whom, in the order of ids, users have been read ahead; None where all have."""

    def spender(self, user: UserBy) -> Spender | None:
        """Return the user, if they have been read."""
        return self.spenders.get(_name(user))


def _name(user: UserBy) -> object:
    if user.id is not None:
        return user.id.int  # a UUID's own hash is made in Python, by each look-up
    return (user.email and user.email.lower()) or ("external id", user.external_id)


class HoldPlacer:
    """Places the holds of one workspace. It keeps the rules it has read as long as the database says they are in force.

    `MOST_SPENDERS` bounds what is kept.
    """

    MOST_SPENDERS = 50_000
    READ_AHEAD = 500

    def __init__(self, database: Database, workspace_id: UUID) -> None:
        self._conn = database.reader(RowScope(DatabaseRole.ADMINISTRATOR, workspace_id))
        self._workspace_id = workspace_id
        self._named = str(workspace_id)
        self._rules: Rules | None = None
        self._balances: set[str] = set()
        self._has_room = True

    @property
    def version(self) -> int | None:
        """The version of the rules that are known, if any are."""
        return None if self._rules is None else self._rules.controls.version

    async def place(
        self, requests: Sequence[HoldRequest], *, now: datetime, as_of: Collection[int] = ()
    ) -> list[Hold | Exception]:
        """Place each of these holds, or say why not: BudgetExceededError, HoldError, EventError.

        Raises RulesChanged where the rules are not in force any more, or not of the version that callers are known
        `as_of`: then nobody of this round has an answer, and it is to be asked again.
        """
        answers: dict[int, Hold | Exception] = {}
        waiting: list[int] = []
        for nth, request in enumerate(requests):
            try:
                check_request(request)
                waiting.append(nth)
            except CreditError as error:
                answers[nth] = error
        while waiting:
            firsts: dict[tuple[str, str], int] = {}
            again = [nth for nth in waiting if firsts.setdefault((requests[nth].source, requests[nth].id), nth) != nth]
            placed = await self._round([requests[nth] for nth in firsts.values()], now, as_of)
            answers.update(zip(firsts.values(), placed, strict=True))
            # The same request has one answer. Another one for the same hold has to wait for what became of the first.
            waiting = []
            for nth in again:
                first = firsts[requests[nth].source, requests[nth].id]
                if requests[nth] == requests[first]:
                    answers[nth] = answers[first]
                else:
                    waiting.append(nth)
        return [answers[nth] for nth in range(len(requests))]

    async def _round(
        self, requests: Sequence[HoldRequest], now: datetime, as_of: Collection[int]
    ) -> list[Hold | Exception]:
        rules = await self.rules([request.user for request in requests])
        if any(version != rules.controls.version for version in as_of):
            if max(as_of) > rules.controls.version:
                self._rules = None
            raise RulesChanged
        if any(request.amount is None for request in requests):
            await self.card(rules)
        answers: dict[int, Hold | Exception] = {}
        placing: list[Placing] = []
        for nth, request in enumerate(requests):
            try:
                placing.append(self._prepared(rules, nth, request, now))
            except CreditError as error:
                answers[nth] = error
        unplaced = {hold_id(self._named, requests[nth].source, requests[nth].id): nth for nth in answers}
        if not await self._placed(rules, placing, answers, now):
            self._rules = None
            raise RulesChanged
        await self._replay(rules, requests, unplaced, answers, now)
        return [answers[nth] for nth in range(len(requests))]

    async def rules(self, users: Sequence[UserBy]) -> Rules:
        """Return the rules, with these users among the spenders where they exist."""
        if self._rules is None or max(len(self._rules.spenders), len(self._rules.applied)) > self.MOST_SPENDERS:
            self._rules = Rules(await load_controls(self._conn, self._workspace_id))
        rules = self._rules
        unknown = {_name(user): user for user in users if rules.spender(user) is None}
        if unknown:
            users = [*unknown.values(), *await self._next_users(rules)]
            for spender in await load_spenders(self._conn, self._workspace_id, users):
                rules.spenders[spender.id.int] = spender
                if spender.email:
                    rules.spenders[spender.email] = spender
                if spender.external_id:
                    rules.spenders["external id", spender.external_id] = spender
        return rules

    async def _next_users(self, rules: Rules) -> list[UserBy]:
        """Return users to read ahead: otherwise round after round would wait for one or two who are not known yet."""
        if rules.read_to is None or len(rules.spenders) > self.MOST_SPENDERS // 2:
            return []
        ids = await self._conn.rows(
            "next_users", workspace_id=self._workspace_id, after=rules.read_to, most=self.READ_AHEAD
        )
        rules.read_to = ids[-1][0] if len(ids) == self.READ_AHEAD else None
        return [UserBy(id=id_) for (id_,) in ids]

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

    def _prepared(self, rules: Rules, nth: int, request: HoldRequest, now: datetime) -> Placing:
        spender = rules.spender(request.user)
        if spender is None:
            raise HoldError(ErrorCode.UNKNOWN_USER)
        if not spender.active:
            raise HoldError(ErrorCode.INACTIVE_USER)
        applied = self.applied(rules, spender, request, now)
        return Placing(
            nth,
            hold_id(self._named, request.source, request.id),
            request,
            request_hash(request, applied.named),
            spender,
            priced(rules, request, now),
            applied,
            ends_at(now, request.seconds),
        )

    def applied(self, rules: Rules, spender: Spender, request: HoldRequest, now: datetime) -> Applied:
        """Return the controls that a request counts in."""
        key = (spender.id.int, request.product, request.model)
        known = rules.applied.get(key)
        if known is None or (known.until is not None and known.until <= now):
            usage = (request.product, request.model)
            found = controls_of(rules.controls, spender, self._workspace_id, now=now, usage=usage)
            known = rules.applied[key] = Applied.of(found, named_use(spender.id, *usage))
        return known

    async def _replay(
        self,
        rules: Rules,
        requests: Sequence[HoldRequest],
        unplaced: dict[UUID, int],
        answers: dict[int, Hold | Exception],
        now: datetime,
    ) -> None:
        """Give what was placed before its answer again, also where it could not be placed any more."""
        if not unplaced:
            return
        rows = await self._conn.rows("holds_by_id", workspace_id=self._workspace_id, ids=list(unplaced))
        for stored in map(StoredHold, rows):
            request = requests[unplaced[stored.hold.id]]
            spender = rules.spender(request.user)
            if spender is None:
                continue
            if request_hash(request, named_use(spender.id, request.product, request.model)) == stored.request_hash:
                answers[unplaced[stored.hold.id]] = stored.answer(rules.controls, now)

    async def _placed(
        self, rules: Rules, placing: Sequence[Placing], answers: dict[int, Hold | Exception], now: datetime
    ) -> bool:
        """Place what can be placed; return False where the rules are not in force any more, and nothing was placed."""
        if not placing:
            # There is nothing for the database to refuse, so it is asked whether these reasons still hold.
            await self.refresh()
            return self._rules is rules
        balances = balances_of(placing)
        known, self._balances = self._balances, set()  # where the call fails, they have to be looked for again
        columns = hold_columns(placing) | {"now": now, "version": rules.controls.version}
        are_known = balances.keys() <= known
        granting = granting_columns(placing, balances) if self._has_room and are_known else None
        rows: Sequence[Row] = ()
        if granting is None or not await self._granted(columns | granting):
            # In one message, like granting, which is a transaction of its own: balances are not kept locked while an
            # answer travels. Sent again over another connection where this one breaks, it finds what it has placed.
            rows = await self._conn.rows(
                "place_holds",
                workspace_id=self._workspace_id,
                known=are_known and granting is None,
                **columns,
                **choosing_columns(placing, balances),
            )
        if rows and rows[0][0] == 0:
            return False
        self._has_room = not rows
        self._balances = known if len(known) < self.MOST_SPENDERS else set()
        self._balances.update(balances)
        # Only what was not simply granted comes back.
        for one in placing:
            answers[one.nth] = one.granted(now)
        for nth, is_new, *row in rows:
            asked = placing[nth - 1]
            stored = StoredHold(tuple(row))
            if not is_new and stored.request_hash != asked.hash:
                answers[asked.nth] = HoldError(ErrorCode.IDEMPOTENCY_CONFLICT)
            else:
                answers[asked.nth] = stored.answer(rules.controls, now)
        return True

    async def _granted(self, columns: dict[str, object]) -> bool:
        """Grant all of these holds; return False where nothing was done, since not all of them can be."""
        [(are_all,)] = await self._conn.rows("grant_holds", workspace_id=self._workspace_id, **columns)
        return bool(are_all)


def priced(rules: Rules, request: HoldRequest, now: datetime) -> Price:
    """Return what a request is for: its amount, or its price by the rate card, known by then; raise EventError."""
    if request.amount is not None or request.expected is None or rules.card is None:
        return Price(request.amount or 0, ())
    return price(rules.card, product=request.product, model=request.model, at=now, measured=request.expected)
