"""Which operation of a document is executed."""

from collections.abc import Iterator

from graphql import GraphQLError, OperationDefinitionNode
from strawberry.extensions import SchemaExtension


class OneOperation(SchemaExtension):
    """Refuse a document with several operations unless the request names one: GraphQL says so, the library runs one."""

    def on_validate(self) -> Iterator[None]:
        """Look at the document after `ValidationCache`, which stands before this one, found it valid."""
        asked = self.execution_context
        document, named = asked.graphql_document, asked._provided_operation_name is not None  # noqa: SLF001 - there is no other way to know
        if document is not None and not named and not asked.pre_execution_errors:
            operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
            if len(operations) > 1:
                error = GraphQLError("The document has several operations: `operationName` says which.", operations)
                asked.pre_execution_errors = [error]
        yield
