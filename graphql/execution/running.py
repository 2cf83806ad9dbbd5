"""Following a plan: read level by level, each branch for all the objects it is asked of, then written in one go."""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import strawberry
from graphql import FragmentDefinitionNode, GraphQLResolveInfo, GraphQLResolveInfoHelpers
from graphql.execution.values import VariableValues
from graphql.pyutils import Path, is_awaitable

from creditdesk.graphql.execution.arguments import arguments_of
from creditdesk.graphql.execution.plans import Answers, Ask, Branch, Call, DeclinedError, Plan


async def _gathered(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*awaitables))


async def _all_of(reads: Sequence[Awaitable[None]]) -> None:
    """Await reads side by side. None is left behind running: what fails says so when all have ended."""
    if len(reads) == 1:
        await reads[0]
    elif reads:
        for ended in await asyncio.gather(*reads, return_exceptions=True):
            if ended is not None:
                raise ended


async def _each(answers: Sequence[Awaitable[Any]]) -> Sequence[Any]:
    """Return what a resolver answers for each object."""
    if len(answers) == 1:
        return [await answers[0]]
    found = await asyncio.gather(*answers, return_exceptions=True)
    for value in found:
        if isinstance(value, BaseException):
            raise value
    return found


def _made(ask: Ask, found: Sequence[Any]) -> Sequence[Any]:
    """Return the answers of the batch that asked."""
    return found if ask.then is None else ask.then(found)


_HELPERS = GraphQLResolveInfoHelpers(gather=_gathered, track=lambda _: None)
_UNKNOWN = VariableValues({}, {})
_VARIABLES, _CONTEXT = map(GraphQLResolveInfo._fields.index, ("variable_values", "context"))
_NOTHING: Iterator[Any] = iter(())
_END = object()


class Run:
    """One execution of a plan: what its branches are asked of, what they read, and the arguments of their fields."""

    __slots__ = (
        "_answers",
        "_arguments",
        "_context",
        "_fragments",
        "_infos",
        "_plan",
        "_schema",
        "_variables",
        "found",
        "waiting",
    )

    def __init__(
        self,
        schema: strawberry.Schema,
        plan: Plan,
        *,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: VariableValues,
        context: object,
        arguments: MutableMapping[object, Any],
        answers: Answers,
    ) -> None:
        """`arguments` is where those of fields are kept for all runs of these variables."""
        self._answers = answers
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
        """Read all branches, level by level: those of a level at once.

        What is at hand makes no level of its own: what is beneath it is read with the branches beside it.
        """
        level = list(first)
        while level:
            asks: list[tuple[Branch, Ask]] = []
            waits: list[Branch] = []
            beneath: list[int] = []
            for number in level:  # it grows on the way
                branch = self._plan.branches[number]
                if not self.waiting[number]:
                    continue
                if branch.waits:
                    waits.append(branch)
                elif isinstance(found := self._at_hand(branch), Ask):
                    asks.append((branch, found))
                else:
                    self._fill(branch, found)
                    level += branch.beneath
                    continue
                beneath += branch.beneath
            reads = [self._wait(branch) for branch in waits]
            if asks:
                reads.append(self._ask(asks))
            await _all_of(reads)
            level = beneath

    def _at_hand(self, branch: Branch) -> Any:
        """Return what is found for a branch, or what it asks where that has to be read."""
        found = self._begun(branch)
        if isinstance(found, Ask) and (known := self._answers.known(found)) is not None:
            return _made(found, known)
        return found

    def _begun(self, branch: Branch) -> Any:
        """Return what a branch's batch, or resolver, returns for all that it is asked of."""
        sources, call = self.waiting[branch.number], branch.call
        if branch.batch is None:
            return [self._called(call, source) for source in sources]
        given = self._of(call)
        if branch.template is not None:
            given = {**given, "template": branch.template}
        return branch.batch.read(sources, self._info(call), **given)

    async def _ask(self, asks: Sequence[tuple[Branch, Ask]]) -> None:
        """Have what batches ask read at once."""
        answers = await self._answers.read([ask for _, ask in asks])
        for (branch, ask), found in zip(asks, answers, strict=True):
            self._fill(branch, _made(ask, found))

    async def _wait(self, branch: Branch) -> None:
        """Await what an async function, or resolver, returns."""
        begun = self._begun(branch)
        self._fill(branch, await (begun if branch.batch is not None else _each(begun)))

    def _fill(self, branch: Branch, values: Sequence[Any]) -> None:
        """Note what was found for a branch, and what is asked of it by those beneath."""
        if branch.batch is not None and branch.batch.show is not None and not branch.lean:
            values = [value if value is None else branch.batch.show(value) for value in values]
        if len(values) != len(self.waiting[branch.number]):
            raise DeclinedError
        self.found[branch.number] = iter(values)
        if branch.reach is not None:
            branch.reach(values, self)

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
