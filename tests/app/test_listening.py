"""Where the server listens: one socket, or on Linux one for each of several workers."""

import pickle
import select
import socket
import sys

import pytest

from creditdesk.app.failures import CommandFailed
from creditdesk.app.listening import OwnListener, listening, url_of
from creditdesk.app.settings import load_settings

CONNECTIONS = 64


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


HOSTS = ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here"))]

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers share one socket")


def accepted(listeners: list[socket.socket]) -> list[int]:
    """Accept what waits at each, and return how many they were."""
    counts = []
    for one in listeners:
        count = 0
        while select.select([one], [], [], 0)[0]:
            one.accept()[0].close()
            count += 1
        counts.append(count)
    return counts


@linux
@pytest.mark.parametrize("host", HOSTS)
def test_each_worker_has_a_listener_of_its_own_and_all_get_their_share(host: str) -> None:
    with listening(
        load_settings({"CREDITDESK_WORKERS": "2", "CREDITDESK_HOST": host, "CREDITDESK_PORT": "0"})
    ) as given:
        address = given.getsockname()
        # As uvicorn hands it over to a worker that it spawns.
        with pickle.loads(pickle.dumps(given)) as one, pickle.loads(pickle.dumps(given)) as other:  # noqa: S301
            for worker in (one, other):
                assert worker.getsockname() == address
                assert worker.fileno() != given.fileno()
                worker.listen(CONNECTIONS)
            clients = [socket.create_connection(address[:2]) for _ in range(CONNECTIONS)]
            shares = accepted([one, other])
            assert sum(shares) == CONNECTIONS
            assert min(shares) >= CONNECTIONS // 8  # it would be fewer once in a hundred million runs
            for client in clients:
                client.close()
            # One that ends leaves nothing behind: what comes then goes to those who are there.
            other.close()
            with socket.create_connection(address[:2]):
                assert accepted([one]) == [1]


@linux
def test_nobody_is_connected_before_a_worker_is_ready() -> None:
    with listening(load_settings({"CREDITDESK_WORKERS": "2", "CREDITDESK_PORT": "0"})) as given:
        assert isinstance(given, OwnListener)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(given.getsockname())


@pytest.mark.parametrize("host", HOSTS)
def test_a_single_worker_listens_by_itself(host: str) -> None:
    with listening(load_settings({"CREDITDESK_HOST": host, "CREDITDESK_PORT": "0"})) as given:
        with socket.create_connection(given.getsockname()[:2]):
            assert accepted([given]) == [1]
        port = given.getsockname()[1]
        assert url_of(given) == (f"http://[::1]:{port}" if host == "::1" else f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_at_which_somebody_listens_is_refused_even_where_they_would_share_it(workers: str) -> None:
    with socket.socket() as taken:
        if sys.platform == "linux":
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        settings = load_settings({"CREDITDESK_WORKERS": workers, "CREDITDESK_PORT": port})
        refused = pytest.raises(CommandFailed, match=f"cannot listen on 127.0.0.1:{port}: Address already in use")
        with refused, listening(settings):
            pytest.fail("it listens beside somebody else")
