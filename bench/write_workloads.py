"""Writing through creditdesk's own doors: what a gateway streams in, and holds that are placed and settled."""

from collections.abc import Mapping
from uuid import uuid4

from loads import Measured, measured_load
from read_dataset import Company, emails_of
from read_processes import Served

from creditdesk.app.demo.issuer import DemoClient

SCOPE = "usage:write"
SIZE = 500
CONNECTIONS: Mapping[str, int] = {"W1": 8, "W2 cold": 16, "W2 hot": 16}
WRITES: Mapping[str, str] = {
    "W1": f"ingest: a batch of {SIZE} events over GraphQL",
    "W2 cold": "a hold of a random user placed, then settled; groups share limits",
    "W2 hot": "the same where all of the workspace share one limit",
}


def client_of(company: Company) -> DemoClient:
    """Return a program that may write in a workspace."""
    return DemoClient(
        company.slug,
        secret="bench",  # noqa: S106 - on this machine, for a few minutes
        grants=frozenset({"client_credentials"}),
        scopes=frozenset({SCOPE}),
        claims={"workspace": company.slug, "roles": ["service"]},
    )


def written(
    workload: str, server: Served, company: Company, token: str, *, seconds: float, postmaster: int
) -> Measured:
    """Let clients write for a while."""
    host, port = server.url.removeprefix("http://").split(":")
    asked = {
        "host": host, "port": int(port), "token": token, "emails": emails_of(company), "tag": str(uuid4()),
        "kind": "events" if workload == "W1" else "holds", "size": SIZE, "seconds": seconds,
        "connections": CONNECTIONS[workload],
    }  # fmt: skip
    return measured_load("write_clients.py", asked, server, postmaster=postmaster)
