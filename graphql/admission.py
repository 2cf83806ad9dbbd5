"""What is known of an operation that is about to be executed, and who may still refuse it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from creditdesk.graphql.context import Context
from creditdesk.graphql.incoming import GraphQLRequest
from creditdesk.graphql.known_operations import Operation

Extensions: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Admission:
    """An operation whose document fits the schema and whose variables fit the operation, about to be executed."""

    request: GraphQLRequest
    operation: Operation
    context: Context


Check: TypeAlias = Callable[[Admission], Awaitable[Extensions | None]]
"""Raises RefusedError, and nothing is executed; or returns what the answer's `extensions` say of it."""
