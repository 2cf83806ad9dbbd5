"""Which documents are followed by plans: those that come again. Plans are kept with the document that they are of."""

import logging
from collections.abc import Callable, Hashable, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import strawberry
from graphql import DocumentNode, FragmentDefinitionNode, OperationDefinitionNode
from graphql.execution.values import VariableValues

from creditdesk.graphql.execution.collecting import choosing_variables, fragments_of
from creditdesk.graphql.execution.compiling import compile_plan
from creditdesk.graphql.execution.plans import Answers, Batches, DeclinedError, Plan
from creditdesk.graphql.execution.running import Run

_log = logging.getLogger(__name__)

MOST_PLANS = 16
"""Plans of one operation: for each set of permissions and each choice of its `@skip` and `@include` variables."""


MOST_FUNCTIONS = 400
"""Functions that a plan is made of: compiling more of them would keep everybody else waiting."""


class Outcome(Enum):
    """What came of an operation."""

    FOLLOWED = "A plan was followed to its end."
    DROPPED = "A plan was dropped on the way, since something went wrong."
    UNPLANNED = "There is no plan: the document is new, or holds what plans do not know."


@dataclass(frozen=True, slots=True)
class Asked:
    """An operation of a valid document, with its variables, for one caller.

    `found` is where plans are kept: it lives as long as the document. `arguments` is where the arguments of its fields
    are kept, for all who ask with the same variables. `permits` tells whether a field's extension lets the caller pass,
    which depends on `permissions` alone. `answers` reads what batches ask.
    """

    document: DocumentNode
    operation: OperationDefinitionNode
    variables: VariableValues
    context: object
    permissions: Hashable
    permits: Callable[[object], bool]
    found: MutableMapping[object, object]
    answers: Answers
    arguments: MutableMapping[object, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Plans:
    """The plans of one operation; None where it was declined."""

    fragments: Mapping[str, FragmentDefinitionNode]
    choosing: tuple[str, ...]
    seen: int = 0
    plans: dict[Hashable, Plan | None] = field(default_factory=dict)


class PlannedExecutor:
    """Executes operations by plans, as far as it knows how to.

    An operation is compiled when it is seen for the `compile_at`-th time: compiling costs as much as executing it a few
    times, which is lost on documents that never come again.
    """

    def __init__(
        self,
        schema: strawberry.Schema,
        batches: Batches,
        *,
        compile_at: int = 2,
        most_functions: int = MOST_FUNCTIONS,
        note: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        self._schema = schema
        self._batches = batches
        self._compile_at = compile_at
        self._most_functions = most_functions
        self._note = note

    async def written(self, asked: Asked) -> str | None:
        """Return the data of the whole answer as JSON, or None where the stock executor has to make it."""
        written, outcome = None, Outcome.UNPLANNED
        try:
            plans = self._plans_of(asked)
            plan = self._plan(plans, asked)
            if plan is not None:
                run = Run(
                    self._schema,
                    plan,
                    fragments=plans.fragments,
                    variables=asked.variables,
                    context=asked.context,
                    arguments=asked.arguments,
                    answers=asked.answers,
                )
                written, outcome = await run.written(), Outcome.FOLLOWED
        except Exception:  # noqa: BLE001 - whatever it is, the stock executor meets it as well, and tells it
            _log.debug("a plan was dropped", exc_info=True)
            outcome = Outcome.DROPPED
        self._note(outcome)
        return written

    def _plans_of(self, asked: Asked) -> _Plans:
        key = (PlannedExecutor, id(asked.operation))
        plans = asked.found.get(key)
        if not isinstance(plans, _Plans):
            plans = asked.found[key] = _Plans(fragments_of(asked.document), choosing_variables(asked.document))
        plans.seen += 1
        return plans

    def _plan(self, plans: _Plans, asked: Asked) -> Plan | None:
        chosen = {name: asked.variables.coerced.get(name) for name in plans.choosing}
        key = (asked.permissions, *chosen.values())
        if key in plans.plans:
            return plans.plans[key]
        if plans.seen < self._compile_at or len(plans.plans) >= MOST_PLANS:
            return None
        try:
            plan = compile_plan(
                self._schema,
                asked.document,
                asked.operation,
                chosen,
                batches=self._batches,
                permits=asked.permits,
                most_functions=self._most_functions,
            )
        except DeclinedError:
            plan = None
        plans.plans[key] = plan
        return plan
