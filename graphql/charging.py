"""What each operation costs its caller: told from the document before it is executed, and taken from their bucket."""

import time
from collections.abc import Callable
from functools import cache

from graphql import GraphQLSchema

from creditdesk.auth.principal import Principal
from creditdesk.graphql.admission import Admission, Extensions
from creditdesk.graphql.enums import ErrorCode
from creditdesk.graphql.incoming import RefusedError
from creditdesk.graphql.known_operations import Operation
from creditdesk.graphql.protection.allowance import Allowance
from creditdesk.graphql.protection.bucket import Buckets, Charge
from creditdesk.graphql.protection.cost import CostPlan, cost_plan
from creditdesk.graphql.protection.limits import STANDARD, DocumentLimits, QueryTooComplexError
from creditdesk.graphql.protection.sizes import Size, sizes_of

MOST_COST = 500_000
CAPACITY = 1_000_000
PER_SECOND = 20_000
REFUSED_COST = 500
"""What a document costs that is refused: finding out takes up to some 30 ms."""

_PrincipalKey = tuple[object, str, str]


class Charging:
    """Tells what operations cost, and keeps a bucket for each caller: an identity in a workspace."""

    def __init__(
        self,
        schema: GraphQLSchema,
        limits: DocumentLimits = STANDARD,
        *,
        most_cost: int = MOST_COST,
        capacity: int = CAPACITY,
        per_second: int = PER_SECOND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._schema = schema
        self._limits = limits
        self.most_cost = most_cost
        self._buckets: Buckets[_PrincipalKey] = Buckets(capacity=capacity, per_second=per_second)
        self._clock = clock

    @property
    def capacity(self) -> int:
        """What a caller may spend at once."""
        return self._buckets.capacity

    @property
    def per_second(self) -> int:
        """What comes back in a second."""
        return self._buckets.per_second

    def look_in(self, principal: Principal) -> None:
        """Raise RefusedError for a caller whose bucket is full: nothing is looked at for them."""
        key, at = _key(principal), self._clock()
        if self._buckets.is_full(key, at=at):
            raise _rate_limited(self._buckets.charge(key, 0, at=at), cost=1, retry_after=1)

    def charge_refused(self, principal: Principal) -> None:
        """Charge for a request that was refused before it could cost anything else."""
        self._buckets.spend(_key(principal), REFUSED_COST, at=self._clock())

    async def charge(self, admission: Admission) -> Extensions:
        """Charge for an operation, and say so in its answer; raise RefusedError where that is too much."""
        cost = self._cost(admission.operation)
        if cost > self.most_cost:
            message = f"The operation would cost {cost}: {self.most_cost} at most. Ask for fewer items at once."
            raise QueryTooComplexError(message, {"cost": {"requested": cost, "maximum": self.most_cost}})
        charge = self._buckets.charge(_key(admission.context.principal), cost, at=self._clock())
        if not charge.is_granted:
            raise _rate_limited(charge, cost=cost, retry_after=charge.retry_after_seconds)
        context = admission.context
        context.allowance = Allowance(self._limits, self.most_cost, self.per_second, charge)
        told = {"requested": cost, "maximum": self.most_cost, "remaining": charge.remaining, "limit": charge.capacity}
        return {"cost": told}

    def _cost(self, operation: Operation) -> int:
        cost = operation.found.get(Charging)
        if cost is None:
            cost = operation.found[Charging] = self._plan(operation).cost(operation.variables.coerced)
        return int(cost)

    def _plan(self, operation: Operation) -> CostPlan:
        found, node = operation.prepared.found, operation.node
        plan = found.get((CostPlan, id(node)))
        if not isinstance(plan, CostPlan):
            assert operation.prepared.document is not None  # noqa: S101 - it is about to be executed
            sizes = _sizes(self._schema)
            plan = found[CostPlan, id(node)] = cost_plan(self._schema, sizes, operation.prepared.document, node)
        return plan


@cache
def _sizes(schema: GraphQLSchema) -> dict[tuple[str, str], Size]:
    return sizes_of(schema)


def _key(principal: Principal) -> _PrincipalKey:
    return principal.workspace.id, principal.issuer, principal.subject


def _rate_limited(charge: Charge, *, cost: int, retry_after: int) -> RefusedError:
    told = {"limit": charge.capacity, "remaining": charge.remaining, "cost": cost, "retryAfterSeconds": retry_after}
    return RefusedError(
        429, ErrorCode.RATE_LIMITED, headers={"retry-after": str(retry_after)}, extensions={"rateLimit": told}
    )
