"""Which fields are selected of an object, once `@skip` and `@include` are decided (GraphQL, section 6.3.2)."""

from collections.abc import Iterable, Mapping

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    NamedTypeNode,
    SelectionSetNode,
    VariableNode,
    Visitor,
    is_abstract_type,
    visit,
)

from creditdesk.graphql.execution.plans import DeclinedError

CHOICES = frozenset({"skip", "include"})


def fragments_of(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    """Return the document's fragments by name."""
    return {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}


def choosing_variables(document: DocumentNode) -> tuple[str, ...]:
    """Return the variables that `@skip` and `@include` read: a plan is made for each choice of them."""
    found: dict[str, None] = {}

    class Choices(Visitor):
        def enter_directive(self, node: DirectiveNode, *_: object) -> None:
            for argument in node.arguments or ():
                if node.name.value in CHOICES and isinstance(argument.value, VariableNode):
                    found[argument.value.name.value] = None

    visit(document, Choices())
    return tuple(found)


class Collector:
    """Collects fields under one choice of the variables."""

    def __init__(
        self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode], chosen: Mapping[str, object]
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._chosen = chosen

    def fields(
        self, parent: GraphQLObjectType, selections: Iterable[SelectionSetNode | None]
    ) -> dict[str, list[FieldNode]]:
        """Return the fields that are selected of an object of this type, by their keys, in the answer's order."""
        found: dict[str, list[FieldNode]] = {}
        seen: set[str] = set()
        for selection in selections:
            if selection is not None:
                self._collect(parent, selection, found, seen)
        return found

    def _collect(
        self, parent: GraphQLObjectType, selection: SelectionSetNode, found: dict[str, list[FieldNode]], seen: set[str]
    ) -> None:
        for node in selection.selections:
            if not self._included(node.directives):
                continue
            if isinstance(node, FieldNode):
                found.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                if self._applies(node.type_condition, parent):
                    self._collect(parent, node.selection_set, found, seen)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                seen.add(node.name.value)
                fragment = self._fragments[node.name.value]
                if self._applies(fragment.type_condition, parent):
                    self._collect(parent, fragment.selection_set, found, seen)

    def _included(self, directives: Iterable[DirectiveNode] | None) -> bool:
        for directive in directives or ():
            if directive.name.value not in CHOICES:
                raise DeclinedError
            [value] = [argument.value for argument in directive.arguments or ()]
            match value:
                case BooleanValueNode():
                    given: object = value.value
                case VariableNode():
                    given = self._chosen.get(value.name.value)
                case _:
                    raise DeclinedError
            if not isinstance(given, bool):
                raise DeclinedError
            if given is (directive.name.value == "skip"):
                return False
        return True

    def _applies(self, condition: NamedTypeNode | None, parent: GraphQLObjectType) -> bool:
        if condition is None or condition.name.value == parent.name:
            return True
        named = self._schema.get_type(condition.name.value)
        return named is not None and is_abstract_type(named) and self._schema.is_sub_type(named, parent)
