"""Making a plan: from a valid document to branches, and functions that reach for them and write the answer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from inspect import iscoroutinefunction
from typing import Any

import strawberry
from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)
from strawberry.types.field import StrawberryField

from creditdesk.graphql.execution.arguments import STRAWBERRY, call_of
from creditdesk.graphql.execution.collecting import Collector, fragments_of
from creditdesk.graphql.execution.covering import is_lean, template_of
from creditdesk.graphql.execution.generated import Lines, Made, flattened
from creditdesk.graphql.execution.leaves import leaf_inline, leaf_written
from creditdesk.graphql.execution.plans import Batch, Batches, Branch, Call, DeclinedError, Plan, Shape, Written

_Selections = tuple[SelectionSetNode | None, ...]


def compile_plan(
    schema: strawberry.Schema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    chosen: Mapping[str, object],
    *,
    batches: Batches,
    permits: Callable[[object], bool],
    most_functions: int,
) -> Plan:
    """Return the plan of a query; raise DeclinedError where it holds anything that plans do not know.

    What reads is compiled wherever a fragment is spread, so a document may come to more functions than it is worth.
    `chosen` has the values of the variables in `@skip` and `@include`, and `permits` says of a field's extension
    whether it lets the caller pass.
    """
    core: GraphQLSchema = schema._schema  # noqa: SLF001 - Strawberry has no public way to the schema that it executes
    if operation.operation is not OperationType.QUERY or core.query_type is None or operation.directives:
        raise DeclinedError
    compiler = _Compiler(
        schema, core, Collector(core, fragments_of(document), chosen), batches, permits, most_functions
    )
    return compiler.plan(operation, core.query_type)


class _Compiler:
    def __init__(
        self,
        schema: strawberry.Schema,
        core: GraphQLSchema,
        collector: Collector,
        batches: Batches,
        permits: Callable[[object], bool],
        most_functions: int,
    ) -> None:
        self._schema = schema
        self._core = core
        self._collector = collector
        self._batches = batches
        self._permits = permits
        self._most_functions = most_functions
        self._source: list[str] = []
        self._functions = 0
        self._names: dict[str, Any] = {}
        self._made: dict[tuple[object, ...], Made] = {}
        self._dispatched: dict[str, dict[type, str]] = {}
        self._branches: list[Branch | None] = []
        self._reaches: dict[int, str] = {}
        self._beneath: list[int] = []
        self._calls: list[Call] = []

    def plan(self, operation: OperationDefinitionNode, root: GraphQLObjectType) -> Plan:
        made = self._object(root, (operation.selection_set,), None)
        source = "\n".join(self._source)
        names = self._names
        exec(compile(source, "<plan>", "exec"), names)  # noqa: S102 - the text holds names and numbers of ours only
        for name, functions in self._dispatched.items():
            names[name].update({type_: names[function] for type_, function in functions.items()})
        branches = tuple(
            replace(branch, reach=names[self._reaches[branch.number]]) if branch.number in self._reaches else branch
            for branch in self._branches
            if branch is not None
        )
        reach = names[made.reach] if made.reach else None
        return Plan(operation, reach, names[made.write], tuple(self._beneath), branches, tuple(self._calls), source)

    def _object(self, type_: GraphQLObjectType, selections: _Selections, shape: Shape | None) -> Made:
        """Generate the functions for objects of a type."""
        key = (type_.name, id(shape), *map(id, selections))
        if key in self._made:
            return self._made[key]
        body: list[str] = []
        reaching: list[str] = []
        parts: list[str] = []
        for number, (answer_key, nodes) in enumerate(self._collector.fields(type_, selections).items()):
            if nodes[0].name.value == "__typename":
                parts.append(f'"{answer_key}":"{type_.name}"')
                continue
            value = f"v{number}"
            lines = self._field(type_, nodes, value, shape)
            body += lines.write
            reaching += lines.reach
            parts.append(f'"{answer_key}":{lines.text}')
        text = f"f'{{{{{','.join(parts)}}}}}'"
        write = self._function("w", "s", [*body, f"return {text}"])
        reach = self._function("r", "ss", reaching) if reaching else None
        reads_inline = not body and any("{" in part for part in parts)
        made = Made(write, reach, text if reads_inline else None)
        if made.reach is None:
            # What branches read comes back in order, so those of one place are not those of another.
            self._made[key] = made
        return made

    def _function(self, kind: str, argument: str, body: Iterable[str]) -> str:
        """Generate a function, and return its name."""
        if self._functions == self._most_functions:
            raise DeclinedError
        self._functions += 1
        name = f"{kind}{self._functions}"
        self._source += [f"def {name}({argument}, run):", *(f"    {line}" for line in body)]
        return name

    def _field(self, parent: GraphQLObjectType, nodes: Sequence[FieldNode], value: str, shape: Shape | None) -> Lines:
        name = nodes[0].name.value
        if name.startswith("__") or name not in parent.fields:
            raise DeclinedError
        field = parent.fields[name]
        selections = tuple(node.selection_set for node in nodes)
        if shape is not None and name in shape.reads:
            self._names.update(shape.names)
            return self._lean_attribute(value, shape.reads[name], field.type, selections)
        definition = field.extensions.get(STRAWBERRY)
        if not isinstance(definition, StrawberryField) or not all(map(self._permits, definition.extensions)):
            raise DeclinedError
        if definition.base_resolver is None:
            if definition.extensions:
                raise DeclinedError
            return self._attribute(value, f"s.{definition.python_name}", field.type, selections, None)
        call = call_of(self._schema, parent, field, nodes, number=len(self._calls))
        self._calls.append(call)
        batch = self._batches.get((parent.name, name))
        if batch is None and not definition.is_async and is_leaf_type(get_named_type(field.type)):
            return self._attribute(value, f"run.call({call.number}, s)", field.type, selections, None)
        return self._branch(value, call, batch, selections, shape)

    def _attribute(
        self, value: str, expression: str, type_: GraphQLOutputType, selections: _Selections, shape: Shape | None
    ) -> Lines:
        """Return the lines for what an object has at hand."""
        inline = leaf_inline(expression, type_, self._names)
        if inline is not None:
            return Lines([], [], inline)
        lines, reach = self._completed(value, type_, selections, shape)
        reaching = [f"{reach}({flattened(type_, f'[{expression} for s in ss]')}, run)"] if reach else []
        return Lines([f"{value} = {expression}", *lines], reaching, f"{{{value}}}")

    def _lean_attribute(
        self,
        value: str,
        read: str | tuple[str, Shape] | Written,
        type_: GraphQLOutputType,
        selections: _Selections,
    ) -> Lines:
        """Return the lines for what a lean object has at hand, which may be JSON already."""
        if isinstance(read, Written):
            lines = self._lean_attribute(value, read.objects, type_, selections)
            unless = [f"if {value} is None:", *(f"    {line}" for line in lines.write)]
            return Lines([f"{value} = {read.text}", *unless], lines.reach, lines.text)
        expression, inner = read if isinstance(read, tuple) else (read, None)
        return self._attribute(value, expression, type_, selections, inner)

    def _branch(
        self, value: str, call: Call, batch: Batch | None, selections: _Selections, shape: Shape | None
    ) -> Lines:
        """Return the lines for what has to be read."""
        number = len(self._branches)
        self._branches.append(None)
        self._beneath.append(number)
        outer, self._beneath = self._beneath, []
        type_ = call.field.type
        if (
            batch is not None
            and batch.leaner is not None
            and is_lean(batch.leaner, type_, selections, self._collector, self._batches)
        ):
            batch = batch.leaner
        lean = batch is not None and is_lean(batch, type_, selections, self._collector, self._batches)
        lines, reach = self._completed(value, type_, selections, batch.shape if batch and lean else None)
        if reach:
            self._reaches[number] = self._function("b", "found", [f"{reach}({flattened(type_, 'found')}, run)"])
        waits = call.definition.is_async if batch is None else iscoroutinefunction(batch.read)
        template = None
        if batch is not None and lean and batch.shape is not None:
            template = template_of(batch.shape, type_, selections, self._collector)
        self._branches[number] = Branch(number, call, batch, lean, waits, tuple(self._beneath), template=template)
        self._beneath = outer
        sources = "ss"
        if batch is not None and batch.of is not None:
            of = shape.reads[batch.of] if shape is not None else f"s.{batch.of}"
            sources = f"[{of} for s in ss]"
        waiting = [f"run.waiting[{number}] += {sources}"]
        return Lines([f"{value} = next(run.found[{number}])", *lines], waiting, f"{{{value}}}")

    def _completed(
        self, value: str, type_: GraphQLOutputType, selections: _Selections, shape: Shape | None
    ) -> tuple[list[str], str | None]:
        """Return the lines that turn the value in a variable into JSON, and the reach for what is beneath it."""
        if isinstance(type_, GraphQLNonNull):
            lines, reach = self._completed_value(value, type_.of_type, selections, shape)
            return [f"if {value} is None: run.decline()", *lines], reach
        lines, reach = self._completed_value(value, type_, selections, shape)
        return [f"if {value} is None: {value} = 'null'", "else:", *(f"    {line}" for line in lines)], reach

    def _completed_value(
        self, value: str, type_: GraphQLOutputType, selections: _Selections, shape: Shape | None
    ) -> tuple[list[str], str | None]:
        match type_:
            case GraphQLScalarType() | GraphQLEnumType():
                return leaf_written(value, type_, self._names), None
            case GraphQLList():
                return self._list(value, type_.of_type, selections, shape)
            case GraphQLObjectType():
                made = self._object(type_, selections, shape)
                return [f"{value} = {made.write}({value}, run)"], made.reach
            case _ if is_abstract_type(type_) and shape is None:
                made = self._abstract(type_, selections)
                return [f"{value} = {made.write}[type({value})]({value}, run)"], made.reach
            case _:
                raise DeclinedError

    def _list(
        self, value: str, item: GraphQLOutputType, selections: _Selections, shape: Shape | None
    ) -> tuple[list[str], str | None]:
        if isinstance(item, GraphQLNonNull) and isinstance(item.of_type, GraphQLObjectType):
            made = self._object(item.of_type, selections, shape)
            if made.inline is not None:
                return [f"{value} = '[' + ','.join([{made.inline} for s in {value}]) + ']'"], made.reach
            each, reach = f"{made.write}(x, run) if x is not None else run.decline()", made.reach
        else:
            lines, reach = self._completed("v", item, selections, shape)
            each = f"{self._function('c', 'v', [*lines, 'return v'])}(x, run)"
        return [f"{value} = '[' + ','.join([{each} for x in {value}]) + ']'"], reach

    def _abstract(self, type_: Any, selections: _Selections) -> Made:
        """Generate the functions of all types that a value may have, and return the names of where they are found."""
        writers: dict[type, str] = {}
        reaches: dict[type, str] = {}
        for possible in self._core.get_possible_types(type_):
            origin = possible.extensions[STRAWBERRY].origin
            made = self._object(possible, selections, None)
            writers[origin] = made.write
            if made.reach:
                reaches[origin] = made.reach
        if not reaches:
            return Made(self._table(writers), None)
        each = f"for type_, reach in {self._table(reaches)}.items(): reach([s for s in ss if type(s) is type_], run)"
        return Made(self._table(writers), self._function("r", "ss", [each]))

    def _table(self, functions: dict[type, str]) -> str:
        name = f"types{len(self._dispatched)}"
        self._dispatched[name] = functions
        self._names[name] = {}
        return name
