"""Following a plan: read level by level, each branch for all the objects it is asked of, then written in one go."""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import strawberry
from graphql import FragmentDefinitionNode, GraphQLResolveInfo, GraphQLResolveInfoHelpers
from graphql.execution.values import VariableValues
from graphql.pyutils import Path, is_awaitable

from creditdesk.graphql.execution.arguments import arguments_of
from creditdesk.graphql.execution.plans import Branch, Call, DeclinedError, Plan


async def _gathered(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*awaitables))


_HELPERS = GraphQLResolveInfoHelpers(gather=_gathered, track=lambda _: None)
_UNKNOWN = VariableValues({}, {})
_VARIABLES, _CONTEXT = map(GraphQLResolveInfo._fields.index, ("variable_values", "context"))
_NOTHING: Iterator[Any] = iter(())
_END = object()


class Run:
    """One execution of a plan: what its branches are asked of, what they read, and the arguments of their fields."""

    __slots__ = ("_arguments", "_context", "_fragments", "_infos", "_plan", "_schema", "_variables", "found", "waiting")

    def __init__(
        self,
        schema: strawberry.Schema,
        plan: Plan,
        *,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: VariableValues,
        context: object,
        arguments: MutableMapping[object, Any],
    ) -> None:
        """`arguments` is where those of fields are kept for all runs of these variables."""
        self._schema = schema
        self._plan = plan
        self._fragments = fragments
        self._variables = variables
        self._context = context
        self._arguments = arguments
        self._infos: dict[int, strawberry.Info[Any, Any]] = {}
        self.waiting: list[list[Any]] = [[] for _ in plan.branches]
        self.found: list[Iterator[Any]] = [_NOTHING] * len(plan.branches)

    async def written(self) -> str:
        """Return the answer's data as JSON; raise DeclinedError, or what a resolver raises, where it is not whole."""
        if self._plan.reach is not None:
            self._plan.reach([None], self)
            await self._read(self._plan.first)
        text = self._plan.write(None, self)
        if any(next(found, _END) is not _END for found in self.found):
            raise DeclinedError
        return text

    def decline(self) -> str:
        """Give up: a value is not of the type that it should be of."""
        raise DeclinedError

    def call(self, number: int, source: object) -> Any:
        """Return what a resolver that needs no waiting answers."""
        return self._called(self._plan.calls[number], source)

    async def _read(self, first: Sequence[int]) -> None:
        """Read all branches, level by level: those of a level side by side, so that what they ask for is read together.

        What is at hand makes no level of its own: what is beneath it is read with the branches beside it.
        """
        level = list(first)
        while level:
            asked: list[Branch] = []
            beneath: list[int] = []
            for number in level:  # it grows on the way
                branch = self._plan.branches[number]
                if self.waiting[number]:
                    if branch.is_at_hand:
                        await self._fill(branch)
                        level += branch.beneath
                    else:
                        asked.append(branch)
                        beneath += branch.beneath
            if len(asked) == 1:
                await self._fill(asked[0])
            elif asked:
                # None is left behind running: what fails says so when all have ended.
                for ended in await asyncio.gather(*map(self._fill, asked), return_exceptions=True):
                    if ended is not None:
                        raise ended
            level = beneath

    async def _fill(self, branch: Branch) -> None:
        sources, call = self.waiting[branch.number], branch.call
        if branch.batch is not None:
            given = self._of(call)
            if branch.template is not None:
                given = {**given, "template": branch.template}
            values = await branch.batch.read(sources, self._info(call), **given)
            if branch.batch.show is not None and not branch.lean:
                values = [value if value is None else branch.batch.show(value) for value in values]
        else:
            values = await self._each(call, sources)
        if len(values) != len(sources):
            raise DeclinedError
        self.found[branch.number] = iter(values)
        if branch.reach is not None:
            branch.reach(values, self)

    async def _each(self, call: Call, sources: Sequence[object]) -> Sequence[Any]:
        if not call.definition.is_async:
            return [self._called(call, source) for source in sources]
        if len(sources) == 1:
            return [await self._called(call, sources[0])]
        found = await asyncio.gather(*(self._called(call, source) for source in sources), return_exceptions=True)
        for value in found:
            if isinstance(value, BaseException):
                raise value
        return found

    def _called(self, call: Call, source: object) -> Any:
        arguments = self._of(call)
        if call.info_name is not None:
            arguments = {**arguments, call.info_name: self._info(call)}
        return call.resolver(source, **arguments) if call.takes_source else call.resolver(**arguments)

    def _of(self, call: Call) -> Mapping[str, Any]:
        """Return a field's arguments: the same for all objects that it is asked of."""
        if call.constant is not None:
            return call.constant
        # Plans of one operation for other permissions have the field as well, under another number.
        key = (id(call.nodes[0]), id(call.field))
        found: Mapping[str, Any] | None = self._arguments.get(key)
        if found is None:
            found = self._arguments[key] = arguments_of(
                self._schema, call.field, call.nodes[0], call.definition, self._variables
            )
        return found

    def _info(self, call: Call) -> strawberry.Info[Any, Any]:
        """Return what a resolver is told of the execution. Its path is the field alone: many are asked for at once."""
        found = self._infos.get(call.number)
        if found is None:
            plain = self._plan.infos.get(call.number)
            if plain is None:
                plain = self._plan.infos[call.number] = self._plain_info(call)
            # The same as `_replace`, which takes ten times as long.
            raw: GraphQLResolveInfo[Any] = GraphQLResolveInfo._make(
                (*plain[:_VARIABLES], self._variables, self._context, *plain[_CONTEXT + 1 :])
            )
            found = self._infos[call.number] = self._schema.config.info_class(_raw_info=raw, _field=call.definition)
        return found

    def _plain_info(self, call: Call) -> GraphQLResolveInfo[Any]:
        """Return what is the same for all runs."""
        return GraphQLResolveInfo(
            field_name=call.nodes[0].name.value,
            field_nodes=list(call.nodes),
            return_type=call.field.type,
            parent_type=call.parent,
            path=Path(None, call.nodes[0].name.value, call.parent.name),
            schema=self._schema._schema,  # noqa: SLF001 - Strawberry has no public way to the schema that it executes
            fragments=dict(self._fragments),
            root_value=None,
            operation=self._plan.operation,
            variable_values=_UNKNOWN,
            context=None,
            is_awaitable=is_awaitable,
            abort_signal=None,
            async_helpers=_HELPERS,
        )
