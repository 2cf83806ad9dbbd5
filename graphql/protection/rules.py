"""Validation with an end to it: as many errors as anybody reads, and no more comparing of fields than is needed."""

from collections.abc import Sequence

from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OverlappingFieldsCanBeMergedRule,
    ValidationContext,
    specified_rules,
    validate,
)
from graphql.validation.validate import ValidationAbortedError
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from creditdesk.graphql.protection.limits import DocumentLimits, QueryTooComplexError

_OVERDONE = "The document selects too many fields under the same names, or nests fragments too deeply."


def rules_of(limits: DocumentLimits) -> tuple[type[ASTValidationRule], ...]:
    """Return what GraphQL asks of a document, and Strawberry of its inputs. Classes, made once."""

    class OverlappingFields(OverlappingFieldsCanBeMergedRule):
        """The library's rule compares each field with each of the same name, up to half a million times."""

        def __init__(self, context: ValidationContext) -> None:
            super().__init__(context)
            self.rule_context.remaining_complexity_budget = limits.comparisons

    standard = (OverlappingFields if rule is OverlappingFieldsCanBeMergedRule else rule for rule in specified_rules)
    closed = () if limits.is_introspection_allowed else (NoSchemaIntrospectionCustomRule,)
    return (*standard, MaybeNullValidationRule, OneOfInputValidationRule, *closed)


def validated(
    schema: GraphQLSchema, document: DocumentNode, rules: Sequence[type[ASTValidationRule]], most_errors: int
) -> list[GraphQLError]:
    """Return what is wrong with a document, up to so many errors."""
    errors = validate(schema, document, rules, max_errors=most_errors, hide_suggestions=True)
    if errors and isinstance(errors[-1], ValidationAbortedError):
        # The last one says that there would be more: of errors, or, without any, of comparisons.
        aborted = errors.pop()
        if not errors:
            refusal = QueryTooComplexError(_OVERDONE)
            return [GraphQLError(refusal.message, original_error=refusal)]
        if len(errors) >= most_errors:
            errors.append(GraphQLError(aborted.message))
    return errors
