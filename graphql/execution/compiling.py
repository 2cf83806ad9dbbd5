"""Making a plan: from a valid document to generated writers and the branches between them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import strawberry
from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    Visitor,
    is_abstract_type,
    visit,
)
from strawberry.types.field import StrawberryField

from creditdesk.graphql.execution.arguments import arguments_of
from creditdesk.graphql.execution.collecting import Collector, fragments_of
from creditdesk.graphql.execution.plans import Batch, Batches, Branch, Call, DeclinedError, Plan, Shape, Writer
from creditdesk.graphql.execution.scalars import LEAF_CHECKS

STRAWBERRY = "strawberry-definition"

_Selections = tuple[SelectionSetNode | None, ...]


def compile_plan(
    schema: strawberry.Schema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    chosen: Mapping[str, object],
    *,
    batches: Batches,
    permits: Callable[[object], bool],
) -> Plan:
    """Return the plan of a query; raise DeclinedError where it holds anything that plans do not know.

    `chosen` has the values of the variables in `@skip` and `@include`, and `permits` says of a field's extension
    whether it lets the caller pass.
    """
    core: GraphQLSchema = schema._schema  # noqa: SLF001 - Strawberry has no public way to the schema that it executes
    if operation.operation is not OperationType.QUERY or core.query_type is None or operation.directives:
        raise DeclinedError
    compiler = _Compiler(schema, core, Collector(core, fragments_of(document), chosen), batches, permits)
    return compiler.plan(operation, core.query_type)


class _Compiler:
    def __init__(
        self,
        schema: strawberry.Schema,
        core: GraphQLSchema,
        collector: Collector,
        batches: Batches,
        permits: Callable[[object], bool],
    ) -> None:
        self._schema = schema
        self._core = core
        self._collector = collector
        self._batches = batches
        self._permits = permits
        self._lines: list[str] = []
        self._converters = 0
        self._names: dict[str, Any] = {}
        self._writers: dict[tuple[object, ...], str] = {}
        self._dispatched: dict[str, dict[type, str]] = {}
        self._branches: list[tuple[str, Call, Batch | None, bool, str]] = []
        self._calls: list[Call] = []

    def plan(self, operation: OperationDefinitionNode, root: GraphQLObjectType) -> Plan:
        written = self._object(root, (operation.selection_set,), None)
        source = "\n".join(self._lines)
        exec(compile(source, "<plan>", "exec"), self._names)  # noqa: S102 - the text holds names and numbers of ours only
        for name, writers in self._dispatched.items():
            self._names[name].update({type_: self._names[writer] for type_, writer in writers.items()})
        branches = tuple(
            Branch(number, key, call, batch, lean, self._names[writer])
            for number, (key, call, batch, lean, writer) in enumerate(self._branches)
        )
        write: Writer = self._names[written]
        return Plan(operation, write, branches, tuple(self._calls), source)

    def _object(self, type_: GraphQLObjectType, selections: _Selections, shape: Shape | None) -> str:
        """Write the function for objects of a type, and return its name."""
        key = (type_.name, id(shape), *map(id, selections))
        if key in self._writers:
            return self._writers[key]
        name = self._writers[key] = f"w{len(self._writers)}"
        body: list[str] = []
        parts: list[str] = []
        gaps: list[str] = []
        for number, (answer_key, nodes) in enumerate(self._collector.fields(type_, selections).items()):
            value = f"v{number}"
            if nodes[0].name.value == "__typename":
                parts.append(f"{answer_key!r}: {type_.name!r}")
                continue
            lines, branch = self._field(type_, answer_key, nodes, value, shape)
            if branch is not None:
                parts.append(f"{answer_key!r}: None")
                gaps.append(f"run.waiting[{branch}].append((s, d))")
                continue
            body += lines
            parts.append(f"{answer_key!r}: {value}")
        body += [f"d = {{{', '.join(parts)}}}", *gaps, "return d"]
        self._function(name, "s", body)
        return name

    def _function(self, name: str, argument: str, body: Iterable[str]) -> None:
        self._lines += [f"def {name}({argument}, run):", *(f"    {line}" for line in body)]

    def _field(
        self, parent: GraphQLObjectType, key: str, nodes: Sequence[FieldNode], value: str, shape: Shape | None
    ) -> tuple[list[str], int | None]:
        """Return the lines that leave a field's value in a variable, or the number of its branch."""
        name = nodes[0].name.value
        if name.startswith("__") or name not in parent.fields:
            raise DeclinedError
        field = parent.fields[name]
        selections = tuple(node.selection_set for node in nodes)
        if shape is not None:
            read = shape.reads[name]
            expression, inner = read if isinstance(read, tuple) else (read, None)
            self._names.update(shape.names)
            return [f"{value} = {expression}", *self._completed(value, field.type, selections, inner)], None
        definition = field.extensions.get(STRAWBERRY)
        if not isinstance(definition, StrawberryField) or not all(map(self._permits, definition.extensions)):
            raise DeclinedError
        if definition.base_resolver is None:
            if definition.extensions:
                raise DeclinedError
            return [
                f"{value} = s.{definition.python_name}",
                *self._completed(value, field.type, selections, None),
            ], None
        call = self._call(parent, field, nodes, definition)
        number = len(self._calls)
        self._calls.append(call)
        batch = self._batches.get((parent.name, name))
        if batch is None and not definition.is_async:
            return [f"{value} = run.call({number}, s)", *self._completed(value, field.type, selections, None)], None
        return [], self._branch(key, call, batch, selections)

    def _branch(self, key: str, call: Call, batch: Batch | None, selections: _Selections) -> int:
        shape = batch.shape if batch else None
        lean = shape is not None and self._covers(shape, call.field.type, selections)
        writer = self._converter(call.field.type, selections, shape if lean else None)
        self._branches.append((key, call, batch, lean, writer))
        return len(self._branches) - 1

    def _covers(self, shape: Shape, type_: GraphQLOutputType, selections: _Selections) -> bool:
        """Tell whether everything that is selected can be read from lean objects."""
        while isinstance(type_, GraphQLNonNull | GraphQLList):
            type_ = type_.of_type
        if not isinstance(type_, GraphQLObjectType):
            return False
        for nodes in self._collector.fields(type_, selections).values():
            name = nodes[0].name.value
            read = shape.reads.get(name)
            if name != "__typename" and read is None:
                return False
            inner = tuple(node.selection_set for node in nodes)
            if isinstance(read, tuple) and not self._covers(read[1], type_.fields[name].type, inner):
                return False
        return True

    def _converter(self, type_: GraphQLOutputType, selections: _Selections, shape: Shape | None) -> str:
        """Write the function that completes a value of any type, and return its name."""
        self._converters += 1
        name = f"c{self._converters}"
        self._function(name, "v", [*self._completed("v", type_, selections, shape), "return v"])
        return name

    def _completed(
        self, value: str, type_: GraphQLOutputType, selections: _Selections, shape: Shape | None
    ) -> list[str]:
        """Return the lines that turn the value in a variable into what the answer says of it."""
        if isinstance(type_, GraphQLNonNull):
            lines = self._completed_value(value, type_.of_type, selections, shape)
            return [f"if {value} is None: run.decline()", *lines]
        lines = self._completed_value(value, type_, selections, shape)
        return [f"if {value} is not None:", *(f"    {line}" for line in lines)] if lines else []

    def _completed_value(
        self, value: str, type_: GraphQLOutputType, selections: _Selections, shape: Shape | None
    ) -> list[str]:
        match type_:
            case GraphQLScalarType():
                return self._leaf(value, type_)
            case GraphQLEnumType():
                return [f"{value} = {self._enum(type_)}[{value}]"]
            case GraphQLList():
                return self._list(value, type_.of_type, selections, shape)
            case GraphQLObjectType():
                return [f"{value} = {self._object(type_, selections, shape)}({value}, run)"]
            case _ if is_abstract_type(type_) and shape is None:
                return [f"{value} = {self._abstract(type_, selections)}[type({value})]({value}, run)"]
            case _:
                raise DeclinedError

    def _list(self, value: str, item: GraphQLOutputType, selections: _Selections, shape: Shape | None) -> list[str]:
        if isinstance(item, GraphQLNonNull) and isinstance(item.of_type, GraphQLObjectType):
            # Without a check for None: a writer cannot read anything of it, unless it reads nothing.
            writer = self._object(item.of_type, selections, shape)
            return [f"if None in {value}: run.decline()", f"{value} = [{writer}(x, run) for x in {value}]"]
        converter = self._converter(item, selections, shape)
        return [f"{value} = [{converter}(x, run) for x in {value}]"]

    def _leaf(self, value: str, type_: GraphQLScalarType) -> list[str]:
        check = LEAF_CHECKS.get(type_.name)
        if check is not None:
            return [f"if {check.format(v=value)}: run.decline()"]
        name = f"serialize_{type_.name}"
        self._names[name] = type_.coerce_output_value
        return [f"{value} = {name}({value})"]

    def _enum(self, type_: GraphQLEnumType) -> str:
        name = f"enum_{type_.name}"
        if name not in self._names:
            members = getattr(type_, "wrapped_cls", ())
            self._names[name] = {member: type_.coerce_output_value(member) for member in members}
        return name

    def _abstract(self, type_: Any, selections: _Selections) -> str:
        name = f"types{len(self._dispatched)}"
        self._dispatched[name] = {}
        self._names[name] = {}
        for possible in self._core.get_possible_types(type_):
            origin = possible.extensions[STRAWBERRY].origin
            self._dispatched[name][origin] = self._object(possible, selections, None)
        return name

    def _call(
        self, parent: GraphQLObjectType, field: GraphQLField, nodes: Sequence[FieldNode], definition: StrawberryField
    ) -> Call:
        resolver = definition.base_resolver
        if resolver is None or resolver.parent_parameter or resolver.root_parameter:
            raise DeclinedError
        return Call(
            parent=parent,
            field=field,
            nodes=tuple(nodes),
            resolver=cast("Callable[..., Any]", resolver.wrapped_func),
            takes_source=resolver.self_parameter is not None,
            info_name=resolver.info_parameter.name if resolver.info_parameter else None,
            definition=definition,
            constant=None
            if _reads_variables(nodes[0])
            else arguments_of(self._schema, field, nodes[0], definition, None),
        )


def _reads_variables(node: FieldNode) -> bool:
    found = False

    class Variables(Visitor):
        def enter_variable(self, _: VariableNode, *__: object) -> None:
            nonlocal found
            found = True

    for argument in node.arguments or ():
        visit(argument, Variables())
    return found
