"""What the database could not do, without a driver's exception leaving this floor."""

import psycopg
from psycopg import errors as pg


class DatabaseError(Exception):
    """A statement failed for a reason that is not the caller's."""


class DatabaseUnavailable(DatabaseError):  # noqa: N818 - a state, and the word that /readyz and the error code use
    """The database cannot be reached or is restarting. Try again."""


class StatementTimeout(DatabaseError):  # noqa: N818 - as above
    """The statement took longer than the server allows."""


class AmountOverflow(DatabaseError):  # noqa: N818 - as above
    """A sum does not fit into 64 bits."""


def translated(error: psycopg.Error) -> Exception:
    """Return what an error of the driver is here."""
    match error:
        case pg.QueryCanceled():
            return StatementTimeout(StatementTimeout.__doc__)
        case pg.NumericValueOutOfRange():
            return AmountOverflow(AmountOverflow.__doc__)
        case psycopg.OperationalError():
            return DatabaseUnavailable(DatabaseUnavailable.__doc__)
        case _:
            return DatabaseError(f"{type(error).__name__}: {error}")
