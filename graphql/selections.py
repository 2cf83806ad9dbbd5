"""What a document asks for beneath a field: so that totals nobody reads are not computed."""

from collections.abc import Iterable
from typing import Any

from graphql import FieldNode, FragmentSpreadNode, GraphQLResolveInfo, InlineFragmentNode, SelectionSetNode


def selects_any(info: GraphQLResolveInfo[Any], names: frozenset[str]) -> bool:
    """Tell whether any of these fields is selected directly beneath the field that is being resolved.

    Skipped fields count as selected: that costs a statement at worst.
    """
    seen: set[str] = set()
    return any(_selects(node.selection_set, names, info, seen) for node in info.field_nodes)


def selects_any_of(info: GraphQLResolveInfo[Any], parent: str, names: frozenset[str]) -> bool:
    """Tell whether any of these fields is selected directly beneath a field, or fields, of this name one step down."""
    found: list[FieldNode] = []
    seen: set[str] = set()
    for node in info.field_nodes:
        _collect(node.selection_set, parent, info, seen, found)
    beneath: set[str] = set()
    return any(_selects(node.selection_set, names, info, beneath) for node in found)


def _collect(
    selections: SelectionSetNode | None,
    name: str,
    info: GraphQLResolveInfo[Any],
    seen: set[str],
    found: list[FieldNode],
) -> None:
    nodes: Iterable[object] = selections.selections if selections else ()
    for node in nodes:
        if isinstance(node, FieldNode):
            if node.name.value == name:
                found.append(node)
        elif isinstance(node, InlineFragmentNode):
            _collect(node.selection_set, name, info, seen, found)
        elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
            seen.add(node.name.value)
            _collect(info.fragments[node.name.value].selection_set, name, info, seen, found)


def _selects(
    selections: SelectionSetNode | None, names: frozenset[str], info: GraphQLResolveInfo[Any], seen: set[str]
) -> bool:
    nodes: Iterable[object] = selections.selections if selections else ()
    for node in nodes:
        if isinstance(node, FieldNode):
            if node.name.value in names:
                return True
        elif isinstance(node, InlineFragmentNode):
            if _selects(node.selection_set, names, info, seen):
                return True
        elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
            seen.add(node.name.value)
            if _selects(info.fragments[node.name.value].selection_set, names, info, seen):
                return True
    return False
