"""Errors: typed ones that clients branch on, and the shape of all others. Nothing unexpected is told to a client."""

import logging
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


def shown_error(error: GraphQLError, *, executed: bool) -> dict[str, object]:
    """Return an error as the client sees it: always with a code, and masked where it was not expected."""
    code, message = _code_and_message(error, executed=executed)
    extensions: dict[str, object] = {"code": code.name}
    if code is ErrorCode.INTERNAL:
        extensions["id"] = str(uuid4())
        logger.error("unexpected error %s", extensions["id"], exc_info=error.original_error or error)
    shown: dict[str, object] = {"message": message, "extensions": extensions}
    if error.locations:
        shown["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    if error.path is not None:
        shown["path"] = error.path
    return shown


def _code_and_message(error: GraphQLError, *, executed: bool) -> tuple[ErrorCode, str]:
    original: BaseException | None = error.original_error
    while isinstance(original, GraphQLError):
        original = original.original_error
    match original:
        case CreditError():
            return original.code, original.message
        case RecursionError() if not executed:
            return ErrorCode.GRAPHQL_PARSE_FAILED, "The document is nested too deeply."
        case ValueError() if not executed:
            # A number of thousands of digits, which Python will not read.
            code = ErrorCode.GRAPHQL_VALIDATION_FAILED
        case DatabaseUnavailable():
            code = ErrorCode.DATABASE_UNAVAILABLE
        case AmountOverflow():
            code = ErrorCode.INVALID_AMOUNT
        case StatementTimeout() | TimeoutError():
            code = ErrorCode.TIMEOUT
        case None if (known := _code_of_document(error, executed=executed)) is not None:
            return known, error.message
        case _:
            code = ErrorCode.INTERNAL
    return code, code.value


def _code_of_document(error: GraphQLError, *, executed: bool) -> ErrorCode | None:
    """Name what GraphQL itself found wrong, before any field was resolved."""
    if isinstance(error, GraphQLSyntaxError):
        return ErrorCode.GRAPHQL_PARSE_FAILED
    if not executed:
        return ErrorCode.GRAPHQL_VALIDATION_FAILED
    # Variables that do not fit are found before the first field, so there is no path yet.
    return ErrorCode.INVALID_INPUT if error.path is None else None
