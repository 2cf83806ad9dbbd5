"""The address that the server listens at: with one socket, or one for each of several workers.

Where workers share a socket, whichever is awake first accepts: of 64 connections one worker had 50, and was busy while
the other idled. On Linux each has a socket of its own at the same address, and the kernel spreads connections over
those of the workers that are ready (docs/decisions/0025-a-listener-for-each-worker.md).
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from creditdesk.app.failures import CommandFailed
from creditdesk.app.settings import Settings

BACKLOG = 2048


class OwnListener(socket.socket):
    """A bound socket that does not listen; the worker that it is handed to opens one of its own at its address."""

    @classmethod
    def at(cls, family: int, address: tuple[Any, ...]) -> Self:
        """Open one beside others of the same user at this address. Raises OSError."""
        opened = cls(family)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.bind(address)
        except OSError:
            opened.close()
            raise
        return opened

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnListener.at, (self.family, self.getsockname())


@contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """Bind here, and not in uvicorn: the port may be chosen by the system, and a refusal names the setting."""
    try:
        listener = _opened(settings)
    except OSError as error:
        place = f"{settings.host}:{settings.port}"
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror  # a host name's errors are negative
        raise CommandFailed(f"CREDITDESK_HOST, CREDITDESK_PORT: cannot listen on {place}: {reason}.") from None
    with listener:
        yield listener


def _opened(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    if settings.workers == 1 or sys.platform != "linux":
        return listener
    # Nobody else listens there, which sockets that share an address would not notice of each other.
    address = listener.getsockname()
    listener.close()
    return OwnListener.at(family, address)


def url_of(listener: socket.socket) -> str:
    """Return where a client finds the server."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
