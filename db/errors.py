"""What the database could not do, without a driver's exception leaving this floor."""


class DatabaseError(Exception):
    """A statement failed for a reason that is not the caller's."""


class DatabaseUnavailable(DatabaseError):  # noqa: N818 - a state, and the word that /readyz and the error code use
    """The database cannot be reached or is restarting. Try again."""


class StatementTimeout(DatabaseError):  # noqa: N818 - as above
    """The statement took longer than the server allows."""


class AmountOverflow(DatabaseError):  # noqa: N818 - as above
    """A sum does not fit into 64 bits."""
