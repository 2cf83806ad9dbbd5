"""Why a caller is not let in: what the client is told, and what only the log is told."""

from creditdesk.credits.errors import CreditError, ErrorCode


class Unauthenticated(CreditError):  # noqa: N818 - the word of RFC 6750 and of the API's error code
    """There is no token, or it is not valid here; `reason` is for the log and never holds a part of the token."""

    code = ErrorCode.UNAUTHENTICATED

    def __init__(self, reason: str, message: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class NoToken(Unauthenticated):
    """The request carries no bearer token at all, which RFC 6750 answers without an error attribute."""

    def __init__(self) -> None:
        super().__init__("no bearer token")


class GroupsOverage(Unauthenticated):
    """The token says that its groups did not fit into it: to go on without them would take from the bearer unseen."""

    code = ErrorCode.GROUPS_OVERAGE

    def __init__(self) -> None:
        super().__init__("the groups did not fit into the token")


class IssuerUnavailable(CreditError):  # noqa: N818 - the word of the API's error code
    """The identity provider cannot be reached and no keys of it are at hand, so no token can be checked."""

    code = ErrorCode.ISSUER_UNAVAILABLE


class CrossSite(CreditError):  # noqa: N818 - the word of the API's error code
    """A page of another site may have sent this: what it carries of the browser's own accord proves nothing."""

    code = ErrorCode.CROSS_SITE


class SignInFailed(CreditError):  # noqa: N818 - the word of the API's error code
    """A browser came back from the identity provider with nothing that signs it in; `reason` is for the log."""

    code = ErrorCode.SIGN_IN_FAILED

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class RefreshRefused(Unauthenticated):
    """The identity provider has ended what a session lives on, or somebody else has used its refresh token."""
