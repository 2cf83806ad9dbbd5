"""Following a plan: level by level, each level of branches read at once."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import strawberry
from graphql import FragmentDefinitionNode, GraphQLResolveInfo, GraphQLResolveInfoHelpers
from graphql.execution.values import VariableValues
from graphql.pyutils import Path, is_awaitable

from creditdesk.graphql.execution.arguments import arguments_of
from creditdesk.graphql.execution.plans import Branch, Call, DeclinedError, Plan, Written


async def _gathered(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*awaitables))


_HELPERS = GraphQLResolveInfoHelpers(gather=_gathered, track=lambda _: None)


class Run:
    """One execution of a plan: what waits to be read, and the arguments of the fields that were met."""

    __slots__ = ("_arguments", "_context", "_fragments", "_infos", "_plan", "_schema", "_variables", "waiting")

    def __init__(
        self,
        schema: strawberry.Schema,
        plan: Plan,
        *,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: VariableValues,
        context: object,
    ) -> None:
        self._schema = schema
        self._plan = plan
        self._fragments = fragments
        self._variables = variables
        self._context = context
        self._arguments: dict[int, Mapping[str, Any]] = {}
        self._infos: dict[int, strawberry.Info[Any, Any]] = {}
        self.waiting: list[list[tuple[Any, Written]]] = [[] for _ in plan.branches]

    async def written(self) -> Written:
        """Return the answer's data; raise DeclinedError, or whatever a resolver raises, where it is not whole."""
        data: Written = self._plan.write(None, self)
        while any(self.waiting):
            level = [(self._plan.branches[number], gaps) for number, gaps in enumerate(self.waiting) if gaps]
            self.waiting = [[] for _ in self._plan.branches]
            # None is left behind running: what fails says so when all of the level has ended.
            for ended in await asyncio.gather(*(self._fill(*one) for one in level), return_exceptions=True):
                if ended is not None:
                    raise ended
        return data

    def decline(self) -> None:
        """Give up: a value is not of the type that it should be of."""
        raise DeclinedError

    def call(self, number: int, source: object) -> Any:
        """Return what a resolver that needs no waiting answers."""
        call = self._plan.calls[number]
        return self._called(call, number, source)

    async def _fill(self, branch: Branch, gaps: Sequence[tuple[Any, Written]]) -> None:
        number = self._plan.calls.index(branch.call)
        sources = [source for source, _ in gaps]
        if branch.batch is not None:
            values = await branch.batch.read(sources, self._info(branch.call, number), **self._of(branch.call, number))
            if branch.batch.show is not None and not branch.lean:
                values = [value if value is None else branch.batch.show(value) for value in values]
        else:
            values = await self._each(branch.call, number, sources)
        write, key = branch.write, branch.key
        for (_, answer), value in zip(gaps, values, strict=True):
            answer[key] = write(value, self)

    async def _each(self, call: Call, number: int, sources: Sequence[object]) -> Sequence[Any]:
        if len(sources) == 1:
            return [await self._called(call, number, sources[0])]
        found = await asyncio.gather(
            *(self._called(call, number, source) for source in sources), return_exceptions=True
        )
        for value in found:
            if isinstance(value, BaseException):
                raise value
        return found

    def _called(self, call: Call, number: int, source: object) -> Any:
        arguments = self._of(call, number)
        if call.info_name is not None:
            arguments = {**arguments, call.info_name: self._info(call, number)}
        return call.resolver(source, **arguments) if call.takes_source else call.resolver(**arguments)

    def _of(self, call: Call, number: int) -> Mapping[str, Any]:
        """Return a field's arguments: the same for all objects that it is asked of."""
        if call.constant is not None:
            return call.constant
        found = self._arguments.get(number)
        if found is None:
            found = self._arguments[number] = arguments_of(
                self._schema, call.field, call.nodes[0], call.definition, self._variables
            )
        return found

    def _info(self, call: Call, number: int) -> strawberry.Info[Any, Any]:
        """Return what a resolver is told of the execution. Its path is the field alone: many are asked for at once."""
        found = self._infos.get(number)
        if found is None:
            raw = GraphQLResolveInfo(
                field_name=call.nodes[0].name.value,
                field_nodes=list(call.nodes),
                return_type=call.field.type,
                parent_type=call.parent,
                path=Path(None, call.nodes[0].name.value, call.parent.name),
                schema=self._schema._schema,  # noqa: SLF001 - Strawberry has no public way to the schema that it executes
                fragments=dict(self._fragments),
                root_value=None,
                operation=self._plan.operation,
                variable_values=self._variables,
                context=self._context,
                is_awaitable=is_awaitable,
                abort_signal=None,
                async_helpers=_HELPERS,
            )
            found = self._infos[number] = self._schema.config.info_class(_raw_info=raw, _field=call.definition)
        return found
