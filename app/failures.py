"""What a command can be expected to fail with: a sentence for stderr and an exit code, never a traceback."""

from creditdesk.app.logs import redacted
from creditdesk.credits.errors import CreditError
from creditdesk.db.embedded import EmbeddedServerError
from creditdesk.db.errors import DatabaseError


class CommandFailed(Exception):  # noqa: N818 - an event
    """A command could not do what was asked; the sentence says what to do."""

    exit_code = 1


def failure_of(error: Exception) -> tuple[str, int] | None:
    """Return the sentence and the exit code of an expected failure, or None for a fault of ours."""
    match error:
        case CommandFailed():
            sentence, exit_code = str(error), error.exit_code
        case CreditError() | DatabaseError() | EmbeddedServerError():
            sentence, exit_code = str(error), 1
        case OSError() if error.filename is not None:
            sentence, exit_code = f"{error.filename}: {error.strerror}.", 1
        case _:
            return None
    return redacted(sentence), exit_code
