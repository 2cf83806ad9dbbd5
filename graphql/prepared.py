"""Documents, made ready once: parsed, looked over, validated, and remembered by their text."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    parse,
    specified_rules,
    validate,
)
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from creditdesk.graphql.enums import ErrorCode
from creditdesk.graphql.incoming import RefusedError, malformed

MOST_REMEMBERED = 512
MOST_CHARACTERS_REMEMBERED = 1_048_576
LONGEST_REMEMBERED = 65_536

RULES: tuple[type[ASTValidationRule], ...] = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
"""What GraphQL asks of a document, and Strawberry of its inputs. Classes, made once."""

Look = Callable[[DocumentNode], Collection[GraphQLError]]
"""Looks at a document that is parsed and not yet validated, once for each text; an error that it returns refuses it."""


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A document with what is wrong with it. It is shared by requests: nobody changes it."""

    document: DocumentNode | None
    errors: Sequence[GraphQLError]
    operations: tuple[OperationDefinitionNode, ...] = ()
    found: dict[object, Any] = field(default_factory=dict)
    """What others find out about the document once and use for each request, under keys of their own."""

    def operation(self, name: str | None) -> OperationDefinitionNode:
        """Return the operation of that name, or the only one; raise RefusedError if it is not clear which."""
        if name is None:
            if len(self.operations) == 1:
                return self.operations[0]
            if self.operations:
                message = "The document has several operations: `operationName` says which."
                raise RefusedError(400, ErrorCode.GRAPHQL_VALIDATION_FAILED, message)
            raise malformed("The document has no operation.")
        for operation in self.operations:
            if operation.name is not None and operation.name.value == name:
                return operation
        raise malformed("The document has no operation of that name.")


class Documents:
    """Prepares documents, and remembers those that came last: so many, of so many characters altogether."""

    def __init__(self, schema: GraphQLSchema, *, looks: Sequence[Look] = (), most_tokens: int | None = None) -> None:
        self._schema = schema
        self._looks = looks
        self._most_tokens = most_tokens
        self._remembered: OrderedDict[str, PreparedDocument] = OrderedDict()
        self._characters = 0

    def prepare(self, text: str) -> PreparedDocument:
        """Return a document, with its errors if it is none or does not fit the schema."""
        known = self._remembered.get(text)
        if known is not None:
            self._remembered.move_to_end(text)
            return known
        try:
            prepared = self._prepared(text)
        except (RecursionError, ValueError) as error:
            # How deep is too deep depends on the caller's own stack, so it is found out each time. ValueError: a number
            # of thousands of digits, which Python will not read.
            return PreparedDocument(None, (GraphQLError(str(error), original_error=error),))
        self._remember(text, prepared)
        return prepared

    def _prepared(self, text: str) -> PreparedDocument:
        try:
            document = parse(text, max_tokens=self._most_tokens)
        except GraphQLError as error:
            return PreparedDocument(None, (error,))
        for look in self._looks:
            if errors := look(document):
                return PreparedDocument(document, tuple(errors))
        errors = validate(self._schema, document, RULES, hide_suggestions=True)
        operations = tuple(node for node in document.definitions if isinstance(node, OperationDefinitionNode))
        return PreparedDocument(document, tuple(errors), operations)

    def _remember(self, text: str, prepared: PreparedDocument) -> None:
        if len(text) > LONGEST_REMEMBERED:
            return
        self._remembered[text] = prepared
        self._characters += len(text)
        while len(self._remembered) > MOST_REMEMBERED or self._characters > MOST_CHARACTERS_REMEMBERED:
            forgotten, _ = self._remembered.popitem(last=False)
            self._characters -= len(forgotten)
