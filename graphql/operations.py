"""Which operation of a document is executed."""

from collections.abc import Iterator

from graphql import GraphQLError, OperationDefinitionNode
from strawberry.extensions import SchemaExtension


class OneOperation(SchemaExtension):
    """Refuse a document with several operations unless the request names one: GraphQL says so, the library runs one."""

    def on_validate(self) -> Iterator[None]:
        """Look at the document once it is otherwise valid."""
        yield
        asked = self.execution_context
        if asked.graphql_document is None or asked._provided_operation_name is not None:  # noqa: SLF001 - there is no other way to know
            return
        operations = [node for node in asked.graphql_document.definitions if isinstance(node, OperationDefinitionNode)]
        if len(operations) > 1 and not asked.pre_execution_errors:
            error = GraphQLError("The document has several operations: `operationName` says which.", operations)
            asked.pre_execution_errors = [error]
