"""Which documents are followed by plans: those that come again. Plans are kept as long as they are in use."""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import strawberry
from graphql import DocumentNode, FragmentDefinitionNode, GraphQLError, OperationDefinitionNode
from graphql.execution.values import VariableValues, get_variable_values

from creditdesk.graphql.execution.collecting import choosing_variables, fragments_of, operation_of
from creditdesk.graphql.execution.compiling import compile_plan
from creditdesk.graphql.execution.plans import Batches, DeclinedError, Plan, Written
from creditdesk.graphql.execution.running import Run

_log = logging.getLogger(__name__)

MOST_DOCUMENTS = 500
MOST_PLANS = 16
"""Plans of one document: for each set of permissions and each choice of its `@skip` and `@include` variables."""


class Outcome(Enum):
    """What came of a document."""

    FOLLOWED = "A plan was followed to its end."
    DROPPED = "A plan was dropped on the way, since something went wrong."
    UNPLANNED = "There is no plan: the document is new, or holds what plans do not know."


@dataclass(slots=True)
class _Known:
    """A document that was seen; `plans` has None where it was declined."""

    document: DocumentNode
    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    choosing: tuple[str, ...]
    seen: int = 0
    plans: dict[Hashable, Plan | None] = field(default_factory=dict)


class PlannedExecutor:
    """Executes valid documents by plans, as far as it knows how to.

    A document is compiled when it is seen for the `compile_at`-th time: compiling costs as much as executing it a few
    times, which is lost on documents that never come again.
    """

    def __init__(self, schema: strawberry.Schema, batches: Batches, *, compile_at: int = 2) -> None:
        self._schema = schema
        self._batches = batches
        self._compile_at = compile_at
        self._known: OrderedDict[tuple[str, str | None], _Known | None] = OrderedDict()
        self.outcomes: Counter[Outcome] = Counter()
        """How often documents were followed to their end, and how often not."""

    async def written(
        self,
        query: str,
        document: DocumentNode,
        *,
        operation_name: str | None,
        variables: Mapping[str, Any] | None,
        context: object,
        permissions: Hashable,
        permits: Callable[[object], bool],
    ) -> Written | None:
        """Return the data of the whole answer, or None where the stock executor has to make it.

        `document` is the valid document that `query` says; `permits` tells whether a field's extension lets the caller
        pass, which depends on `permissions` alone.
        """
        known = self._looked_up(query, document, operation_name)
        written, outcome = None, Outcome.UNPLANNED
        if known is not None:
            known.seen += 1
            try:
                values = self._variables(known, variables)
                plan = self._plan(known, values, permissions, permits)
                if plan is not None:
                    run = Run(self._schema, plan, fragments=known.fragments, variables=values, context=context)
                    written, outcome = await run.written(), Outcome.FOLLOWED
            except Exception:  # noqa: BLE001 - whatever it is, the stock executor meets it as well, and tells it
                _log.debug("a plan was dropped", exc_info=True)
                outcome = Outcome.DROPPED
        self.outcomes[outcome] += 1
        return written

    def _looked_up(self, query: str, document: DocumentNode, operation_name: str | None) -> _Known | None:
        key = (query, operation_name)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        try:
            operation = operation_of(document, operation_name)
            known = _Known(document, operation, fragments_of(document), choosing_variables(document))
        except DeclinedError:
            known = None
        self._known[key] = known
        if len(self._known) > MOST_DOCUMENTS:
            self._known.popitem(last=False)
        return known

    def _variables(self, known: _Known, given: Mapping[str, Any] | None) -> VariableValues:
        core = self._schema._schema  # noqa: SLF001 - Strawberry has no public way to the schema that it executes
        values = get_variable_values(core, known.operation.variable_definitions or (), dict(given or {}), max_errors=1)
        if isinstance(values, list):
            raise DeclinedError from GraphQLError("Variables do not fit.")
        return values

    def _plan(
        self, known: _Known, values: VariableValues, permissions: Hashable, permits: Callable[[object], bool]
    ) -> Plan | None:
        chosen = {name: values.coerced.get(name) for name in known.choosing}
        key = (permissions, tuple(chosen.values()))
        if key in known.plans:
            return known.plans[key]
        if known.seen < self._compile_at or len(known.plans) >= MOST_PLANS:
            return None
        try:
            plan = compile_plan(
                self._schema, known.document, known.operation, chosen, batches=self._batches, permits=permits
            )
        except DeclinedError:
            plan = None
        known.plans[key] = plan
        return plan
