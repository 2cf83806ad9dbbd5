"""What a document has of everything that is limited, in time that grows with its nodes and nothing else.

What a definition has by itself is counted in one walk; what it has with its fragments is added up from theirs, which
are worked out once each. So a fragment that is spread a thousand times, also by fragments that are spread as often,
is looked at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from graphql import (
    DefinitionNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    ListValueNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
)

from creditdesk.graphql.protection.limits import DocumentLimits, exceeded

_IN_CIRCLES = frozenset({"fields", "inputFields", "interfaces", "possibleTypes"})
"""The lists of introspection that lead from a type to others."""
CAP = 2**31 - 1
"""Numbers grow by powers in nested fragments; beyond this one they are all the same."""


@dataclass(slots=True)
class Figures:
    """What a definition has. Depths are of its deepest place, everything else is a sum."""

    depth: int = 0
    introspection_depth: int = 0
    root_fields: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    directives_at_one_place: int = 0
    list_items: int = 0

    def add(self, other: "Figures", *, below: int, introspection_below: int, at_root: bool) -> None:
        """Add what a fragment has where it is spread."""
        self.depth = max(self.depth, below + other.depth)
        self.introspection_depth = max(self.introspection_depth, introspection_below + other.introspection_depth)
        self.root_fields = min(CAP, self.root_fields + (other.root_fields if at_root else 0))
        self.fields = min(CAP, self.fields + other.fields)
        self.aliases = min(CAP, self.aliases + other.aliases)
        self.directives = min(CAP, self.directives + other.directives)
        self.directives_at_one_place = max(self.directives_at_one_place, other.directives_at_one_place)
        self.list_items = max(self.list_items, other.list_items)


@dataclass(slots=True)
class _Definition:
    """A definition by itself, and where it spreads fragments: name, depth, introspection's, whether at its root."""

    figures: Figures = field(default_factory=Figures)
    spreads: list[tuple[str, int, int, bool]] = field(default_factory=list)


@dataclass(slots=True)
class Shape:
    """A document's figures: for each operation, and how many nodes and spreads were looked at to find them."""

    operations: list[Figures]
    fragments: int
    visited: int


def shape_of(document: DocumentNode) -> Shape:
    """Return what a document has of everything. It need not be valid: fragments may be missing, or go in circles."""
    counter = _Counter()
    definitions = {
        definition.name.value: counter.counted(definition)
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    fragments = _with_their_fragments(definitions, counter)
    operations = []
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            operation = counter.counted(definition)
            _add_fragments(operation, fragments, counter)
            operations.append(operation.figures)
    return Shape(operations, len(definitions), counter.visited)


def look(document: DocumentNode, limits: DocumentLimits) -> list[GraphQLError]:
    """Return an error if a document has more of something than it may."""
    shape = shape_of(document)
    figures = [{"fragments": shape.fragments}]
    figures += [{name: getattr(one, name) for name in Figures.__slots__} for one in shape.operations]
    for one in figures:
        for name, found in one.items():
            most = getattr(limits, name)
            if found > most:
                refusal = exceeded(_WORDS[name], most)
                return [GraphQLError(refusal.message, original_error=refusal)]
    return []


_WORDS: Mapping[str, str] = {
    "fragments": "fragments",
    "depth": "levels of fields",
    "introspection_depth": "levels of introspection",
    "root_fields": "fields at its root",
    "fields": "fields",
    "aliases": "aliases",
    "directives": "directives",
    "directives_at_one_place": "directives at one place",
    "list_items": "items in one list or object",
}


@dataclass(slots=True)
class _Counter:
    """Counts what definitions have, and itself: how many nodes it looked at."""

    visited: int = 0

    def counted(self, definition: DefinitionNode) -> _Definition:
        """Return what a definition has without its fragments."""
        found = _Definition()
        self._count_directives(definition, found.figures)
        for variable in getattr(definition, "variable_definitions", None) or ():
            self._count_directives(variable, found.figures)
            self._count_values([variable.default_value] if variable.default_value else [], found.figures)
        top: SelectionSetNode = definition.selection_set  # type: ignore[attr-defined]
        # Depth below, depth of introspection below, whether these fields are at the root of the definition.
        waiting: list[tuple[SelectionNode, int, int, bool]] = [(node, 0, 0, True) for node in top.selections]
        while waiting:
            node, depth, introspection, at_root = waiting.pop()
            self._count_directives(node, found.figures)
            if isinstance(node, FragmentSpreadNode):
                found.spreads.append((node.name.value, depth, introspection, at_root))
                continue
            if isinstance(node, FieldNode):
                depth, introspection = self._count_field(node, found.figures, depth, introspection, at_root=at_root)
                at_root = False
            below = node.selection_set  # type: ignore[attr-defined]
            waiting += [(one, depth, introspection, at_root) for one in (below.selections if below else ())]
        return found

    def _count_field(
        self, node: FieldNode, figures: Figures, depth: int, introspection: int, *, at_root: bool
    ) -> tuple[int, int]:
        depth, introspection = depth + 1, introspection + (node.name.value in _IN_CIRCLES)
        figures.depth = max(figures.depth, depth)
        figures.introspection_depth = max(figures.introspection_depth, introspection)
        figures.fields += 1
        figures.root_fields += at_root
        figures.aliases += node.alias is not None
        self._count_values([argument.value for argument in node.arguments or ()], figures)
        return depth, introspection

    def _count_directives(self, node: Node, figures: Figures) -> None:
        self.visited += 1
        directives = getattr(node, "directives", None) or ()
        figures.directives += len(directives)
        figures.directives_at_one_place = max(figures.directives_at_one_place, len(directives))
        for directive in directives:
            self.visited += 1
            self._count_values([argument.value for argument in directive.arguments or ()], figures)

    def _count_values(self, values: Iterable[Node], figures: Figures) -> None:
        waiting = list(values)
        while waiting:
            self.visited += 1
            node = waiting.pop()
            if isinstance(node, ListValueNode):
                inner: list[Node] = list(node.values)
            elif isinstance(node, ObjectValueNode):
                inner = [one.value for one in node.fields]
            else:
                continue
            figures.list_items = max(figures.list_items, len(inner))
            waiting += inner


def _with_their_fragments(definitions: Mapping[str, _Definition], counter: _Counter) -> dict[str, Figures]:
    """Return the figures of fragments with those that they spread: each after those, and none twice."""
    done: dict[str, Figures] = {}
    for root in definitions:
        path: list[tuple[str, Iterator[tuple[str, int, int, bool]]]] = []
        on_path: set[str] = set()
        name: str | None = root
        while name is not None or path:
            if name is not None and name in definitions and name not in done and name not in on_path:
                path.append((name, iter(definitions[name].spreads)))
                on_path.add(name)
            name = next((spread for spread, *_ in path[-1][1]), None) if path else None
            if name is None and path:
                finished, _ = path.pop()
                on_path.discard(finished)
                _add_fragments(definitions[finished], done, counter)
                done[finished] = definitions[finished].figures
    return done


def _add_fragments(definition: _Definition, fragments: Mapping[str, Figures], counter: _Counter) -> None:
    for name, depth, introspection, at_root in definition.spreads:
        counter.visited += 1
        # One that is missing, or leads back to itself, is for validation to name.
        if name in fragments:
            definition.figures.add(fragments[name], below=depth, introspection_below=introspection, at_root=at_root)
