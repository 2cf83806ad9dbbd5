"""Operations with their variables: read once, for all requests that ask the same with the same."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from graphql import GraphQLError, OperationDefinitionNode, OperationType
from graphql.execution.values import VariableValues

from creditdesk.graphql.prepared import PreparedDocument
from creditdesk.graphql.schema import core_schema
from creditdesk.graphql.variables import read_variables

MOST_REMEMBERED = 512
LONGEST_REMEMBERED = 2_048
"""Bytes of variables as JSON; what is made of them takes several times as much."""

_Key = tuple[int, bytes]


class InvalidVariables(Exception):  # noqa: N818 - several of them
    """The variables do not fit the operation."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__(str(errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of a valid document, with its variables as resolvers will get them. It is shared by requests.

    `found` is for what others find out about it once and use for each request, under keys of their own.
    """

    prepared: PreparedDocument
    node: OperationDefinitionNode
    variables: VariableValues
    found: dict[object, Any] = field(default_factory=dict)

    @property
    def is_query(self) -> bool:
        """Tell whether it only reads."""
        return self.node.operation is OperationType.QUERY


class Operations:
    """Reads the variables of operations, and remembers those of queries that came last: people ask the same again."""

    def __init__(self) -> None:
        self._remembered: OrderedDict[_Key, Operation] = OrderedDict()

    def remembered(
        self, node: OperationDefinitionNode, variables: Mapping[str, Any] | None
    ) -> tuple[_Key | None, Operation | None]:
        """Return what was made of the same operation and variables, and the key that it may be remembered under."""
        if node.operation is not OperationType.QUERY:
            return None, None
        try:
            written = orjson.dumps(variables or None)
        except TypeError:  # a number beyond 64 bits
            return None, None
        if len(written) > LONGEST_REMEMBERED:
            return None, None
        # What is remembered keeps its node, so that no other one has this id.
        key = (id(node), written)
        found = self._remembered.get(key)
        if found is not None:
            self._remembered.move_to_end(key)
        return key, found

    def read(
        self,
        prepared: PreparedDocument,
        node: OperationDefinitionNode,
        variables: Mapping[str, Any] | None,
        *,
        key: _Key | None,
    ) -> Operation:
        """Return an operation with its variables, to be remembered under this key; raise InvalidVariables."""
        try:
            values = read_variables(prepared.variables(core_schema(), node), variables or {})
        except RecursionError as error:
            raise InvalidVariables(
                [GraphQLError("The variables are nested too deeply.", original_error=error)]
            ) from error
        if isinstance(values, list):
            raise InvalidVariables(values)
        operation = Operation(prepared, node, values)
        if key is not None:
            self._remembered[key] = operation
            if len(self._remembered) > MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return operation
