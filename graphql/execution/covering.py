"""What need not be: objects where lean ones cover what is selected, and rows where all that is selected is JSON."""

from collections.abc import Mapping, Sequence

from graphql import GraphQLObjectType, GraphQLOutputType, SelectionSetNode, get_named_type

from creditdesk.graphql.execution.collecting import Collector
from creditdesk.graphql.execution.plans import Batch, Batches, Columns, Shape, Written

Selections = Sequence[SelectionSetNode | None]


def is_lean(
    batch: Batch, type_: GraphQLOutputType, selections: Selections, collector: Collector, batches: Batches
) -> bool:
    """Tell whether everything that is selected of a field's answers can be read from lean objects."""
    return batch.shape is not None and _covers(batch.shape, type_, selections, collector, batches)


def template_of(shape: Shape, type_: GraphQLOutputType, selections: Selections, collector: Collector) -> str | None:
    """Return the template of what is selected of a list that can be read as JSON, if nothing else has to be read."""
    named = get_named_type(type_)
    if not isinstance(named, GraphQLObjectType):
        return None
    fields = [(nodes[0].name.value, nodes) for nodes in collector.fields(named, selections).values()]
    lists = [(read, name, nodes) for name, nodes in fields if isinstance(read := shape.reads.get(name), Written)]
    if len(lists) != 1:
        return None
    [(read, name, nodes)] = lists
    if not read.beside.issuperset({other for other, _ in fields} - {name, "__typename"}):
        return None
    return _template(read.columns, named.fields[name].type, [node.selection_set for node in nodes], collector)


def _template(columns: Columns, type_: GraphQLOutputType, selections: Selections, collector: Collector) -> str | None:
    named = get_named_type(type_)
    if not isinstance(named, GraphQLObjectType):
        return None
    parts = []
    for key, nodes in collector.fields(named, selections).items():
        name = nodes[0].name.value
        column = f'"{named.name}"' if name == "__typename" else columns.get(name)
        if isinstance(column, Mapping):
            inner = [node.selection_set for node in nodes]
            column = _template(column, named.fields[name].type, inner, collector)
        if column is None:
            return None
        parts.append(f'"{key}":{column}')
    return f"{{{','.join(parts)}}}"


def _covers(
    shape: Shape, type_: GraphQLOutputType, selections: Selections, collector: Collector, batches: Batches
) -> bool:
    named = get_named_type(type_)
    if not isinstance(named, GraphQLObjectType):
        return False
    for nodes in collector.fields(named, selections).values():
        name = nodes[0].name.value
        if name == "__typename":
            continue
        read = shape.reads.get(name)
        if read is None:
            batch = batches.get((named.name, name))
            if batch is None or (batch.of is not None and batch.of not in shape.reads):
                return False
        inner = tuple(node.selection_set for node in nodes)
        if isinstance(read, Written):
            read = read.objects
        if isinstance(read, tuple) and not _covers(read[1], named.fields[name].type, inner, collector, batches):
            return False
    return True
