"""Answers GraphQL requests, whichever way they come: the one place where an operation is admitted and executed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias, TypeGuard, cast

import orjson
from graphql import (
    ExecutionResult,
    Executor,
    GraphQLError,
    OperationType,
    default_field_resolver,
    default_type_resolver,
)
from strawberry.execution import optimized_is_awaitable

from creditdesk.auth.principal import Principal
from creditdesk.credits.errors import CreditError, ForbiddenError
from creditdesk.graphql.admission import Admission, Check, Extensions
from creditdesk.graphql.charging import Charging
from creditdesk.graphql.context import Context
from creditdesk.graphql.enums import ErrorCode
from creditdesk.graphql.errors import shown_error
from creditdesk.graphql.execution.executor import Asked, PlannedExecutor
from creditdesk.graphql.guards import permitting
from creditdesk.graphql.incoming import GraphQLRequest, RefusedError, malformed
from creditdesk.graphql.known_operations import InvalidVariables, Operation, Operations
from creditdesk.graphql.levels import Levels
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.protection.deadline import within
from creditdesk.graphql.schema import core_schema, schema
from creditdesk.graphql.stored_documents import StoredDocuments, console_documents

LONGEST_SECONDS = 30.0

IsAwaitable: TypeAlias = Callable[[Any], TypeGuard[Awaitable[Any]]]

READ = frozenset({OperationType.QUERY})
READ_OR_CHANGE = frozenset({OperationType.QUERY, OperationType.MUTATION})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller is shown, whichever way it goes back."""

    shown: dict[str, object]
    """To be written by orjson: `data` may be JSON already."""
    executed: bool = True
    """False if nothing was executed: there are only errors then."""
    status: int = 200
    """What HTTP says of it; 200 also where it is the document or its variables that are wrong."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Admitted:
    """An operation that is executed next."""

    operation: Operation
    extensions: Extensions
    context: Context

    @cached_property
    def executor(self) -> Executor[Any]:
        """The library's own executor of it: for what no plan leads to."""
        return _executor(self.operation, self.context)


class Answering:
    """Answers requests under the permissions of their context."""

    def __init__(
        self,
        documents: Documents,
        checks: Sequence[Check] = (),
        *,
        stored: StoredDocuments | None = None,
        plans: PlannedExecutor | None = None,
        charging: Charging | None = None,
        seconds: float = LONGEST_SECONDS,
        denied: Callable[[Principal, str], None] | None = None,
    ) -> None:
        """`denied` is told of callers who are refused what their role does not include."""
        self._documents = documents
        self._charging = charging or Charging(core_schema(), documents.limits)
        self._stored = stored or StoredDocuments(console_documents().values())
        self._checks = checks
        self._operations = Operations()
        self._plans = plans
        self._seconds = seconds
        self._denied = denied

    async def answer(
        self,
        request: GraphQLRequest,
        context: Context,
        allowed: frozenset[OperationType] = READ_OR_CHANGE,
        *,
        gone: Callable[[], Awaitable[object]] | None = None,
    ) -> Answer:
        """Execute an operation and return the whole answer.

        Raise only what a check fails with, such as no database, `Unauthenticated` where the caller is nobody by now, or
        HungUpError if `gone` returns while a query runs.
        """
        try:
            return await self.executed(await self.admitted(request, context, allowed), context, gone=gone)
        except RefusedError as error:
            refused = refusal(error)
        except RequestErrors as errors:
            refused = errors.answer
        await context.confirm()
        return refused

    async def executed(
        self, admitted: Admitted, context: Context, *, gone: Callable[[], Awaitable[object]] | None = None
    ) -> Answer:
        """Execute a query or a mutation that was admitted, and return the whole answer, in the time that there is."""
        # A mutation is brought to its end also for whoever hung up: they may ask again whether it was made.
        is_query = admitted.operation.is_query
        work = self._result(admitted)
        try:
            result = await within(self._seconds, work, gone=gone if is_query else None)
        except TimeoutError as error:
            late = ExecutionResult(None, [GraphQLError(ErrorCode.TIMEOUT.value, original_error=error)])
            return replace(shown_result(late, admitted.extensions), status=503)
        if self._denied is not None and (fields := _forbidden(result)):
            self._denied(context.principal, " ".join(fields))
        return shown_result(result, admitted.extensions)

    async def _result(self, admitted: Admitted) -> ExecutionResult:
        """Execute an operation for a caller who is who they are known as.

        Of a query that is asked along with what it reads, or afterwards: then what was read for who they were is
        dropped, and read again. It is charged for once.
        """
        context = admitted.context
        if not admitted.operation.is_query:
            await context.confirm()
            context.forget()  # what is known is of before the change
            return await self._made(admitted)
        result = await self._made(admitted)
        return result if await context.confirm() else await self._made(replace(admitted))

    async def _made(self, admitted: Admitted) -> ExecutionResult:
        written = await self._followed(admitted.operation, admitted.context)
        if written is None:
            return await _executed(admitted)
        return ExecutionResult(cast("dict[str, Any]", orjson.Fragment(written)))  # it goes into the answer as it is

    async def _followed(self, operation: Operation, context: Context) -> str | None:
        """Return the data that a plan leads to, as JSON, or None where the stock executor has to make it."""
        if self._plans is None or operation.prepared.document is None:
            return None
        asked = Asked(
            document=operation.prepared.document,
            operation=operation.node,
            variables=operation.variables,
            context=context,
            permissions=context.principal.permissions,
            permits=permitting(context.principal),
            found=operation.prepared.found,
            arguments=operation.found,
            answers=Levels(context),
        )
        return await self._plans.written(asked)

    async def admitted(self, request: GraphQLRequest, context: Context, allowed: frozenset[OperationType]) -> Admitted:
        """Return what executes the operation, and the answer's `extensions`; raise RefusedError or RequestErrors.

        What is refused before execution is refused here: nothing has been resolved yet, and no row was read for it.
        """
        self._charging.look_in(context.principal)
        text = self._stored.text_of(request, context.principal)
        try:
            operation = self._ready(text, request, allowed)
        except (RequestErrors, RefusedError):
            self._charging.charge_refused(context.principal)
            raise
        admission = Admission(request, operation, context)
        extensions = dict(await self._charging.charge(admission))
        for check in self._checks:
            extensions |= await check(admission) or {}
        return Admitted(operation, extensions, context)

    def _ready(self, text: str, request: GraphQLRequest, allowed: frozenset[OperationType]) -> Operation:
        prepared = self._documents.prepare(text)
        if prepared.errors:
            raise RequestErrors(prepared.errors, ErrorCode.GRAPHQL_VALIDATION_FAILED)
        self._stored.keep(request)
        node = prepared.operation(request.operation_name)
        if node.operation not in allowed:
            raise _not_this_way(node.operation, allowed)
        key, operation = self._operations.remembered(node, request.variables)
        if operation is None:
            self._documents.check_variables(request.variables)
            try:
                operation = self._operations.read(prepared, node, request.variables, key=key)
            except InvalidVariables as error:
                raise RequestErrors(error.errors, ErrorCode.INVALID_INPUT) from error
        return operation


class RequestErrors(Exception):  # noqa: N818 - several of them
    """What is wrong with a document or its variables."""

    def __init__(self, errors: Sequence[GraphQLError], code: ErrorCode) -> None:
        self.answer = Answer({"errors": [shown_error(error, unless=code) for error in errors]}, executed=False)
        super().__init__(code.value)


def refusal(error: CreditError) -> Answer:
    """Return the answer to a request that is refused as a whole."""
    status, headers, more = 400, {}, {}
    if isinstance(error, RefusedError):
        status, headers, more = error.status, error.headers, error.extensions
    extensions = {"code": error.code.name, **more}
    shown: dict[str, object] = {"errors": [{"message": error.message, "extensions": extensions}]}
    return Answer(shown, executed=False, status=status, headers=headers)


def shown_result(result: ExecutionResult, extensions: Extensions) -> Answer:
    """Return the answer of an operation that was executed."""
    shown: dict[str, object] = {"data": result.data}
    if result.errors:
        shown["errors"] = [shown_error(error) for error in result.errors]
    if extensions:
        shown["extensions"] = dict(extensions)
    return Answer(shown)


def _not_this_way(kind: OperationType, allowed: frozenset[OperationType]) -> RefusedError:
    if kind is OperationType.MUTATION and kind not in allowed:
        message = "Nothing is changed by GET: send a mutation with POST."
        return RefusedError(405, ErrorCode.MALFORMED_REQUEST, message, headers={"allow": "POST"})
    return malformed(f"A {kind.value} is not answered this way.")


def _executor(operation: Operation, context: Context) -> Executor[Any]:
    fragments = operation.prepared.fragments
    return schema.execution_context_class(
        schema=core_schema(),
        fragment_definitions={name: fragment.definition for name, fragment in fragments.items()},
        fragments=fragments,
        root_value=None,
        context_value=context,
        operation=operation.node,
        variable_values=operation.variables,
        field_resolver=default_field_resolver,
        type_resolver=default_type_resolver,
        subscribe_field_resolver=default_field_resolver,
        is_awaitable=cast("IsAwaitable", optimized_is_awaitable),
        hide_suggestions=True,
    )


def _forbidden(result: ExecutionResult) -> list[str]:
    """Return the root fields that the caller was refused."""
    return sorted(
        {
            str(error.path[0])
            for error in result.errors or ()
            if isinstance(error.original_error, ForbiddenError) and error.path
        }
    )


async def _executed(admitted: Admitted) -> ExecutionResult:
    try:
        result = admitted.executor.execute_operation()
        if optimized_is_awaitable(result):
            result = await cast("Awaitable[ExecutionResult]", result)
    except Exception as error:  # noqa: BLE001 - shown_error tells what is expected, and masks and logs what is not
        return ExecutionResult(None, [GraphQLError(str(error), original_error=error)])
    return cast("ExecutionResult", result)
