"""What need not be: objects where lean ones cover what is selected, and rows where all that is selected is JSON."""

from collections.abc import Sequence

from graphql import GraphQLObjectType, GraphQLOutputType, SelectionSetNode, get_named_type

from creditdesk.graphql.execution.collecting import Collector
from creditdesk.graphql.execution.plans import Batch, Batches, Shape, Written

Selections = Sequence[SelectionSetNode | None]


def is_lean(
    batch: Batch, type_: GraphQLOutputType, selections: Selections, collector: Collector, batches: Batches
) -> bool:
    """Tell whether everything that is selected of a field's answers can be read from lean objects."""
    return batch.shape is not None and _covers(batch.shape, type_, selections, collector, batches)


def template_of(shape: Shape, type_: GraphQLOutputType, selections: Selections, collector: Collector) -> str | None:
    """Return the template of what is selected of a list that can be read as JSON, if that is all that is selected."""
    named = get_named_type(type_)
    if not isinstance(named, GraphQLObjectType):
        return None
    fields = [nodes for nodes in collector.fields(named, selections).values() if nodes[0].name.value != "__typename"]
    read = shape.reads.get(fields[0][0].name.value) if len(fields) == 1 else None
    if not isinstance(read, Written):
        return None
    item = get_named_type(named.fields[fields[0][0].name.value].type)
    if not isinstance(item, GraphQLObjectType):
        return None
    parts = []
    for key, nodes in collector.fields(item, tuple(node.selection_set for node in fields[0])).items():
        name = nodes[0].name.value
        column = f'"{item.name}"' if name == "__typename" else read.columns.get(name)
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
