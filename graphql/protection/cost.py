"""What an operation costs, before it is executed: how many objects it may give, with its variables' real values.

What a selection costs does not depend on where it stands, but for lists whose length the field around it says: those
are kept apart, to be multiplied there. So the cost of a fragment is worked out once, however often it is spread, and
what does not depend on variables once for all requests. What is skipped, what is selected twice, and each of several
types that an object may have, all count: this is the most that the operation can cost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
)

from creditdesk.graphql.protection.sizes import Size, Slicing

CAP = 2**31 - 1
"""The largest Int of GraphQL: what costs more costs as much."""
Variables = Mapping[str, Any]
Count = int | Callable[[Variables], int]


class Cost(NamedTuple):
    """What a selection costs: by itself, and for each item of the lists whose length the field around it says."""

    plain: int
    each: int


class _Term(NamedTuple):
    """`times` what a field costs (its `weight` and the selection at `below`, whose lists have `inner` items)."""

    times: Count
    weight: int
    below: int | None
    inner: Count
    by_parent: bool


@dataclass(slots=True)
class _Step:
    """A selection: what is known of its cost, and the terms that are added for each request."""

    plain: int = 0
    each: int = 0
    terms: list[_Term] = field(default_factory=list)
    spreads: list[int] = field(default_factory=list)


class CostPlan:
    """How to tell what an operation costs, once its variables are known: a list of steps, each after those it needs."""

    def __init__(self, steps: Sequence[_Step]) -> None:
        self._steps = steps

    @property
    def terms(self) -> int:
        """How much is added up for each request."""
        return sum(len(step.terms) + len(step.spreads) for step in self._steps)

    def cost(self, variables: Variables) -> int:
        """Return what the operation costs with these variables; at least 1."""
        done: list[Cost] = []
        for step in self._steps:
            plain, each = step.plain, step.each
            for index in step.spreads:
                plain, each = plain + done[index].plain, each + done[index].each
            for times, weight, below, inner, by_parent in step.terms:
                cost = weight
                if below is not None:
                    cost += done[below].plain + done[below].each * _known(inner, variables)
                cost *= _known(times, variables)
                plain, each = (plain, each + cost) if by_parent else (plain + cost, each)
            # Numbers grow by powers in nested fragments: they are cut off, so that no step takes longer than another.
            done.append(Cost(min(plain, CAP), min(each, CAP)))
        return max(1, done[-1].plain)


def cost_plan(
    schema: GraphQLSchema,
    sizes: Mapping[tuple[str, str], Size],
    document: DocumentNode,
    operation: OperationDefinitionNode,
) -> CostPlan:
    """Return the plan of an operation of a valid document."""
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    planner = _Planner(schema, sizes, fragments)
    root = schema.get_root_type(operation.operation)
    assert root is not None  # noqa: S101 - the document is valid
    planner.plan(operation.selection_set, root)
    return CostPlan(planner.steps)


@dataclass(slots=True)
class _Planner:
    schema: GraphQLSchema
    sizes: Mapping[tuple[str, str], Size]
    fragments: Mapping[str, FragmentDefinitionNode]
    steps: list[_Step] = field(default_factory=list)
    of_fragments: dict[str, int] = field(default_factory=dict)

    def plan(self, selections: SelectionSetNode, parent: GraphQLNamedType) -> int:
        """Add the steps of a selection, and return the number of the last, which is its own."""
        step = _Step()
        self._add(step, selections, parent)
        self.steps.append(step)
        return len(self.steps) - 1

    def _add(self, step: _Step, selections: SelectionSetNode, parent: GraphQLNamedType) -> None:
        for node in selections.selections:
            if isinstance(node, FieldNode):
                self._add_field(step, node, parent)
            elif isinstance(node, FragmentSpreadNode):
                index = self._fragment(node.name.value)
                self._settle_spread(step, index)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                type_ = self.schema.type_map[condition.name.value] if condition else parent
                self._add(step, node.selection_set, type_)

    def _settle_spread(self, step: _Step, index: int) -> None:
        spread = self.steps[index]
        if spread.terms or spread.spreads:
            step.spreads.append(index)
        else:
            step.plain, step.each = min(CAP, step.plain + spread.plain), min(CAP, step.each + spread.each)

    def _fragment(self, name: str) -> int:
        if name not in self.of_fragments:
            fragment = self.fragments[name]
            type_ = self.schema.type_map[fragment.type_condition.name.value]
            self.of_fragments[name] = self.plan(fragment.selection_set, type_)
        return self.of_fragments[name]

    def _add_field(self, step: _Step, node: FieldNode, parent: GraphQLNamedType) -> None:
        definition = self.schema.get_field(parent, node.name.value)  # type: ignore[arg-type]
        assert definition is not None  # noqa: S101 - the document is valid
        size = self.sizes.get((parent.name, node.name.value), Size(weight=int(node.selection_set is not None)))
        if node.selection_set is None and not size.weight:
            return
        below = self.plan(node.selection_set, get_named_type(definition.type)) if node.selection_set else None
        count = _count(node, size)
        times: Count = 1
        if size.is_list and not size.by_parent:
            times, count = count, 1
        extra = count if size.batch and not size.is_list else None
        if extra is not None:
            # The items of a batch are work of their own.
            self._settle(step, _Term(extra, 1, None, 0, by_parent=False))
        self._settle(step, _Term(times, size.weight, below, count, size.by_parent))

    def _settle(self, step: _Step, term: _Term) -> None:
        """Add a term, or what it comes to where that is known already."""
        times, weight, below, inner, by_parent = term
        known = Cost(0, 0)
        if below is not None:
            last = self.steps[below]
            if last.terms or last.spreads:
                step.terms.append(term)
                return
            known = Cost(last.plain, last.each)
        if callable(times) or (callable(inner) and known.each):
            step.terms.append(term)
            return
        cost = min(CAP, times * (weight + known.plain + known.each * (0 if callable(inner) else inner)))
        if by_parent:
            step.each = min(CAP, step.each + cost)
        else:
            step.plain = min(CAP, step.plain + cost)


def _known(count: Count, variables: Variables) -> int:
    return count(variables) if callable(count) else count


def _count(node: FieldNode, size: Size) -> Count:
    """Return how many items a field gives, or how to tell from the variables."""
    arguments = {argument.name.value: argument.value for argument in node.arguments or ()}
    if size.slicing is not None:
        return _sliced(size.slicing, arguments)
    if size.batch is not None:
        return _batched(arguments.get(size.batch))
    return size.assumed or 1


def _sliced(slicing: Slicing, arguments: Mapping[str, ValueNode]) -> Count:
    given = [arguments[name] for name in slicing.arguments if name in arguments]

    def size(variables: Variables) -> int:
        for node in given:
            value = variables.get(node.name.value) if isinstance(node, VariableNode) else _literal(node)
            if isinstance(value, int):
                return max(1, min(value, slicing.largest))
        return slicing.default

    return size if any(isinstance(node, VariableNode) for node in given) else size({})


def _literal(node: ValueNode) -> int | None:
    return int(node.value) if isinstance(node, IntValueNode) else None


def _batched(value: ValueNode | None) -> Count:
    """Return how many items a batch has: of a list, or of the lists in an object."""
    if isinstance(value, VariableNode):
        name = value.name.value
        return lambda variables: max(1, _items(variables.get(name)))
    if isinstance(value, ListValueNode):
        return max(1, len(value.values))
    parts = [one.value for one in value.fields] if isinstance(value, ObjectValueNode) else []
    known = sum(len(part.values) for part in parts if isinstance(part, ListValueNode))
    names = [part.name.value for part in parts if isinstance(part, VariableNode)]
    if not names:
        return max(1, known)
    return lambda variables: max(1, known + sum(_length(variables.get(name)) for name in names))


def _items(value: object) -> int:
    return sum(_length(one) for one in value.values()) if isinstance(value, dict) else _length(value)


def _length(value: object) -> int:
    return len(value) if isinstance(value, list) else 0
