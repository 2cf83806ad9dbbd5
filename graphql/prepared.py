"""Documents, made ready once: looked over, parsed, validated, and remembered by their text."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    parse,
)
from graphql.execution.collect_fields import FragmentDetails

from creditdesk.graphql.enums import ErrorCode
from creditdesk.graphql.incoming import RefusedError, malformed
from creditdesk.graphql.protection.limits import STANDARD, TRUSTED, DocumentLimits, QueryTooComplexError
from creditdesk.graphql.protection.rules import rules_of, validated
from creditdesk.graphql.protection.shape import look
from creditdesk.graphql.protection.text import check_text, check_variables
from creditdesk.graphql.variables import Variable, variables_of

MOST_REMEMBERED = 512
MOST_CHARACTERS_REMEMBERED = 262_144
"""A document takes up to 280 bytes of memory for each of its characters."""
LONGEST_REMEMBERED = 65_536


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A document with what is wrong with it. It is shared by requests: nobody changes it."""

    document: DocumentNode | None
    errors: Sequence[GraphQLError]
    operations: tuple[OperationDefinitionNode, ...] = ()
    fragments: dict[str, FragmentDetails] = field(default_factory=dict)
    """As the executor takes them, by their names."""
    found: dict[object, Any] = field(default_factory=dict)
    """What others find out about the document once and use for each request, under keys of their own."""

    def operation(self, name: str | None) -> OperationDefinitionNode:
        """Return the operation of that name, or the only one; raise RefusedError if it is not clear which."""
        if name is None:
            if len(self.operations) == 1:
                return self.operations[0]
            if self.operations:
                message = "The document has several operations: `operationName` says which."
                raise RefusedError(200, ErrorCode.GRAPHQL_VALIDATION_FAILED, message)
            raise RefusedError(200, ErrorCode.GRAPHQL_VALIDATION_FAILED, "The document has no operation.")
        for operation in self.operations:
            if operation.name is not None and operation.name.value == name:
                return operation
        raise malformed("The document has no operation of that name.", 200)

    def variables(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> tuple[Variable, ...]:
        """Return the variables that one of the operations declares."""
        key = (Variable, id(operation))
        if key not in self.found:
            self.found[key] = variables_of(schema, operation)
        found: tuple[Variable, ...] = self.found[key]
        return found


class Documents:
    """Prepares documents, and remembers those that came last: so many, of so many characters altogether."""

    def __init__(self, schema: GraphQLSchema, limits: DocumentLimits = STANDARD) -> None:
        self.limits = limits
        self._schema = schema
        self._rules = rules_of(limits)
        self._trusted: dict[str, PreparedDocument] = {}
        self._remembered: OrderedDict[str, PreparedDocument] = OrderedDict()
        self._characters = 0

    def prepare(self, text: str) -> PreparedDocument:
        """Return a document, with its errors if it is none, does not fit the schema, or is beyond the limits."""
        known = self._trusted.get(text) or self._remembered.get(text)
        if known is not None:
            if text in self._remembered:
                self._remembered.move_to_end(text)
            return known
        try:
            prepared = self._prepared(text, self.limits, self._rules)
        except QueryTooComplexError as error:
            return PreparedDocument(None, (GraphQLError(error.message, original_error=error),))
        except (RecursionError, ValueError) as error:
            # How deep is too deep depends on the caller's own stack, so it is found out each time. ValueError: a number
            # of thousands of digits, which Python will not read.
            return PreparedDocument(None, (GraphQLError(str(error), original_error=error),))
        if not prepared.errors:
            # What is refused does not drive out what is used.
            self._remember(text, prepared)
        return prepared

    def trust(self, text: str) -> PreparedDocument:
        """Prepare a document from the start, which is held to no limits but that of its cost."""
        prepared = self._prepared(text, TRUSTED, rules_of(TRUSTED))
        if not prepared.errors:
            self._trusted[text] = prepared
        return prepared

    def check_variables(self, variables: Mapping[str, object] | None) -> None:
        """Raise QueryTooComplexError for variables that would take long to read."""
        check_variables(variables, self.limits)

    def _prepared(
        self, text: str, limits: DocumentLimits, rules: Sequence[type[ASTValidationRule]]
    ) -> PreparedDocument:
        # In this order: each step's work is bounded by what the steps before it have let pass.
        check_text(text, limits)
        try:
            document = parse(text)
        except GraphQLError as error:
            return PreparedDocument(None, (error,))
        errors = look(document, limits) or validated(self._schema, document, rules, limits.errors)
        operations = tuple(node for node in document.definitions if isinstance(node, OperationDefinitionNode))
        fragments = {
            node.name.value: FragmentDetails(node)
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        return PreparedDocument(document, tuple(errors), operations, fragments)

    def _remember(self, text: str, prepared: PreparedDocument) -> None:
        if len(text) > LONGEST_REMEMBERED:
            return
        self._remembered[text] = prepared
        self._characters += len(text)
        while len(self._remembered) > MOST_REMEMBERED or self._characters > MOST_CHARACTERS_REMEMBERED:
            forgotten, _ = self._remembered.popitem(last=False)
            self._characters -= len(forgotten)
