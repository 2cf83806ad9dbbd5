"""Operations over a connection that takes several answers: a subscription's events, or the one answer of another."""

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from typing import Any, cast

from graphql import (
    ExecutionResult,
    Executor,
    GraphQLError,
    OperationType,
    create_source_event_stream,
    execute_subscription_event,
    map_source_to_response_event,
)
from strawberry.execution import optimized_is_awaitable

from creditdesk.auth.principal import Principal
from creditdesk.credits.errors import ErrorCode
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.db.connections import Database
from creditdesk.db.errors import DatabaseUnavailable
from creditdesk.graphql.answering import (
    Admitted,
    Answer,
    Answering,
    RequestErrors,
    refusal,
    shown_result,
)
from creditdesk.graphql.context import Context
from creditdesk.graphql.errors import shown_error
from creditdesk.graphql.incoming import GraphQLRequest, RefusedError
from creditdesk.graphql.live import Live
from creditdesk.graphql.subscribers import Subscribers, TooManySubscriptionsError

ANY = frozenset(OperationType)
READ_AND_WATCH = ANY - {OperationType.MUTATION}


class Streams:
    """Answers requests over whatever takes several answers to one, under the caller's permissions."""

    def __init__(
        self, *, database: Database, desk: HoldDesk, answering: Answering, live: Live, subscribers: Subscribers
    ) -> None:
        self._database = database
        self._desk = desk
        self._answering = answering
        self.live = live
        self.subscribers = subscribers

    async def answers(
        self, request: GraphQLRequest, principal: Principal, allowed: frozenset[OperationType] = ANY
    ) -> AsyncGenerator[Answer | None, None]:
        """Yield the answers to a request; None when a subscription has begun, and nothing was wrong up to then.

        One that was not executed is the last one: it ended the stream.
        """
        context = Context(
            database=self._database, desk=self._desk, principal=principal, now=self.live.clock(), live=self.live
        )
        try:
            admitted = await self._answering.admitted(request, context, allowed)
            if admitted.operation.node.operation is not OperationType.SUBSCRIPTION:
                yield await self._answering.executed(admitted, context)
                return
            with self.subscribers.subscribed(principal):
                async with aclosing(_events(admitted)) as events:
                    async for answer in events:
                        yield answer
        except (RefusedError, TooManySubscriptionsError) as error:
            yield refusal(error)
        except RequestErrors as errors:
            yield errors.answer
        except DatabaseUnavailable:
            yield refusal(RefusedError(503, ErrorCode.DATABASE_UNAVAILABLE))


async def _events(admitted: Admitted) -> AsyncGenerator[Answer | None, None]:
    try:
        source = create_source_event_stream(admitted.executor)
        if optimized_is_awaitable(source):
            source = await cast("Any", source)
        if isinstance(source, ExecutionResult):
            yield _ended(source.errors or [])
            return
        yield None
        responses = map_source_to_response_event(admitted.executor, cast("AsyncIterable[Any]", source), _told)
        async with aclosing(responses) as results:
            async for result in results:
                yield shown_result(result, admitted.extensions)
    except Exception as error:  # noqa: BLE001 - shown_error tells what is expected, and masks and logs what is not
        yield _ended([GraphQLError(str(error), original_error=error)])


def _told(executor: Executor[Any]) -> Any:
    """Execute the document for one event. What is found out about its fields goes with the event.

    The library has the executors of all events share a memory of that. Each event puts in what no later one finds, so
    it would grow for as long as the subscription lasts.
    """
    executor._relevant_sub_fields = {}  # noqa: SLF001 - there is no public way; the test for it counts what is left
    return execute_subscription_event(executor)


def _ended(errors: list[GraphQLError]) -> Answer:
    """Return the answer that ends a stream: what went wrong, where it could not go on."""
    return Answer({"errors": [shown_error(error) for error in errors]}, executed=False)
