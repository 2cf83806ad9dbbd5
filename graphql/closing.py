"""How a WebSocket ends: the codes of graphql-transport-ws, those of WebSocket itself, and one of ours."""

from enum import IntEnum

_LONGEST_REASON = 120
"""In bytes: a close frame takes 123."""


class Close(IntEnum):
    """Why the server closes a connection. `docs/subscriptions.md` says what a client does then."""

    TRY_AGAIN_LATER = 1013
    BAD_REQUEST = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    SUBPROTOCOL_NOT_ACCEPTABLE = 4406
    INITIALISATION_TIMEOUT = 4408
    SUBSCRIBER_EXISTS = 4409
    TOO_MANY_INITIALISATIONS = 4429
    SLOW_CONSUMER = 4508


class Closed(Exception):  # noqa: N818 - what happens to a connection
    """The connection ends here, with this code."""

    def __init__(self, code: Close, reason: str) -> None:
        self.code = code
        self.reason = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
        super().__init__(self.reason)
