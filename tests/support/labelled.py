"""Documents whose answers say of everything what it is: every object its type and id, every alias its field."""

import re

from graphql import (
    FieldNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    NameNode,
    SelectionSetNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    parse,
    print_ast,
    visit,
)

_SCOPE = "{scope {__typename ... on User {id} ... on Group {id} ... on Workspace {id}}}"
_NOTHING: tuple[object, ...] = (None, [])
_LABEL = re.compile(r"__\d+$")


class _Labels(Visitor):
    """Adds what tells, and turns aliases into `field__7`."""

    def __init__(self, info: TypeInfo) -> None:
        super().__init__()
        self._info = info
        self._number = 0

    def leave_field(self, node: FieldNode, *_: object) -> FieldNode:
        if node.alias is None or node.name.value.startswith("__"):
            return node
        self._number += 1
        return FieldNode(
            alias=NameNode(value=f"{node.name.value}__{self._number}"),
            name=node.name,
            arguments=node.arguments,
            directives=node.directives,
            selection_set=node.selection_set,
        )

    def leave_selection_set(self, node: SelectionSetNode, *_: object) -> SelectionSetNode:
        type_ = self._info.get_parent_type()
        added = "{__typename}"
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and "id" in type_.fields:
            added = "{__typename id}"
        selections = [*node.selections, *_selections(added)]
        if type_ is not None and type_.name == "Budget":
            selections += _selections(_SCOPE)
        return SelectionSetNode(selections=tuple(selections))


def _selections(text: str) -> list[FieldNode]:
    [operation] = parse(text).definitions
    return list(operation.selection_set.selections)  # type: ignore[attr-defined]  # it is a query, in short


def labelled(schema: GraphQLSchema, text: str) -> str:
    """Return the same document with labels."""
    info = TypeInfo(schema)
    return print_ast(visit(parse(text), TypeInfoVisitor(info, _Labels(info))))


def unlabelled(value: object) -> object:
    """Return an answer with the fields' own names; of a field that was asked twice, one answer for each."""
    if isinstance(value, list):
        return [unlabelled(one) for one in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, object] = {}
    for key, inner in value.items():
        name = _LABEL.sub("", key) if not key.startswith("__") else key
        shown = unlabelled(inner)
        before = found.get(name)
        if name not in {"id", "__typename"} and before not in _NOTHING and shown not in _NOTHING:
            shown = [before, shown]
        found[name] = before if shown in _NOTHING and before is not None else shown
    return found
