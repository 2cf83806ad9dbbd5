"""Errors: typed ones that clients branch on, and the shape of all others. Nothing unexpected is told to a client."""

import logging
from collections.abc import Mapping
from uuid import uuid4

import strawberry
from graphql import GraphQLError, GraphQLSyntaxError

from creditdesk.credits.errors import CreditError
from creditdesk.db.errors import AmountOverflow, DatabaseUnavailable, StatementTimeout
from creditdesk.graphql.enums import ErrorCode

logger = logging.getLogger(__name__)


@strawberry.interface(description="Something that the caller can put right.")
class UserError:
    """An error that is part of a mutation's result."""

    message: str = strawberry.field(description="One sentence for people. It may change.")
    code: ErrorCode = strawberry.field(description="What went wrong, for machines. It does not change.")
    path: list[str] | None = strawberry.field(default=None, description="Where in the input it went wrong.")


@strawberry.type(description="The input as a whole cannot be used; nothing was changed.")
class InvalidInput(UserError):  # noqa: N818 - a type of the schema, not an exception
    """An input that is not of the right form."""

    @classmethod
    def of(cls, error: CreditError, *path: str) -> "InvalidInput":
        """Show an error of the business."""
        return cls(message=error.message, code=error.code, path=list(path) or None)


def shown_error(error: GraphQLError, *, unless: ErrorCode | None = None) -> dict[str, object]:
    """Return an error as the client sees it: always with a code, and masked where it was not expected.

    `unless` is the code of what GraphQL itself found wrong before anything was executed, unless more is known of it.
    """
    code, message, more = _what_is_said(error, unless)
    extensions: dict[str, object] = {"code": code.name, **more}
    if code is ErrorCode.INTERNAL:
        extensions["id"] = str(uuid4())
        logger.error("unexpected error %s", extensions["id"], exc_info=error.original_error or error)
    shown: dict[str, object] = {"message": message, "extensions": extensions}
    if error.locations:
        shown["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    if error.path is not None:
        shown["path"] = error.path
    return shown


def _what_is_said(error: GraphQLError, unless: ErrorCode | None) -> tuple[ErrorCode, str, Mapping[str, object]]:
    original: BaseException | None = error.original_error
    while isinstance(original, GraphQLError):
        original = original.original_error
    match original:
        case CreditError():
            return original.code, original.message, getattr(original, "extensions", {})
        case RecursionError() if unless is not None:
            of_document = unless is ErrorCode.GRAPHQL_VALIDATION_FAILED
            code = ErrorCode.GRAPHQL_PARSE_FAILED if of_document else unless
            return code, "This is nested too deeply.", {}
        case ValueError() if unless is not None:
            # A number of thousands of digits, which Python will not read.
            code = unless
        case DatabaseUnavailable():
            code = ErrorCode.DATABASE_UNAVAILABLE
        case AmountOverflow():
            code = ErrorCode.INVALID_AMOUNT
        case StatementTimeout() | TimeoutError():
            code = ErrorCode.TIMEOUT
        case None if isinstance(error, GraphQLSyntaxError):
            return ErrorCode.GRAPHQL_PARSE_FAILED, error.message, {}
        case None if unless is not None:
            return unless, error.message, {}
        case _:
            code = ErrorCode.INTERNAL
    return code, code.value, {}
