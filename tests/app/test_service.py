"""`creditdesk serve` as a process: what it refuses, what it survives, and how it ends."""

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from creditdesk.app.demo.issuer import DemoIssuer
from creditdesk.db import embedded
from creditdesk.db.bootstrap import SERVER
from support.databases import TEMPLATE, FreshDatabase, embedded_server, make_template
from support.issuers import ANA, AUDIENCE, CONSOLE
from support.processes import RunningProcess, creditdesk, running, served, wait_until

READY = {"database": "ok", "migrations": "ok", "issuer": "ok"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[dict[str, str]]:
    """The settings that name a demo issuer, which runs in this process."""
    with served(lambda url: DemoIssuer(url, AUDIENCE, persons=[ANA], clients=[CONSOLE]).app()) as url:
        yield {"CREDITDESK_OIDC_ISSUER": url, "CREDITDESK_OIDC_AUDIENCE": AUDIENCE}


@pytest.fixture
def settings(issuer: dict[str, str], fresh_database: FreshDatabase) -> dict[str, str]:
    return issuer | {"DATABASE_URL": fresh_database.server_dsn}


def lines_of(server: RunningProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.logged().splitlines()]


def readiness(server: RunningProcess) -> httpx.Response:
    return httpx.get(f"{server.url}/readyz", trust_env=False, timeout=30)


def postmaster(place: Path) -> int | None:
    """Return the embedded server's process id, which its file holds while it lives."""
    try:
        (file,) = place.rglob("postmaster.pid")
        return int(file.read_text().partition("\n")[0])
    except ValueError:
        return None


def is_refused(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port))).close()
    except ConnectionRefusedError:
        return True
    return False


def test_it_serves_and_ends_in_peace(settings: dict[str, str]) -> None:
    with running("serve", **settings) as server:
        assert readiness(server).json() == READY
        answer = httpx.get(f"{server.url}/nothing", trust_env=False)
        assert answer.status_code == 404
        assert "server" not in answer.headers
        assert server.end() == 0
        assert "Traceback" not in server.logged()


def test_ctrl_c_ends_it_with_130_and_no_traceback(settings: dict[str, str]) -> None:
    with running("serve", **settings) as server:
        assert server.end(signal.SIGINT) == 130
        assert "Traceback" not in server.logged()


def test_every_line_of_the_log_is_json_and_a_request_s_carries_its_id_and_no_token(settings: dict[str, str]) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl"
    with running("serve", **settings) as server:
        answer = httpx.post(
            f"{server.url}/graphql?access_token={token}",
            headers={"authorization": f"Bearer {token}", "x-request-id": "mine-1"},
            json={"query": "{ __typename }"},
            trust_env=False,
        )
        assert (answer.status_code, answer.headers["x-request-id"]) == (401, "mine-1")
        server.end()
        (line,) = [line for line in lines_of(server) if line.get("request_id") == "mine-1" and "path" in line]
        assert (line["method"], line["path"], line["status"]) == ("POST", "/graphql", 401)
        assert token not in server.logged()


def test_on_sigterm_a_request_under_way_is_still_answered(
    settings: dict[str, str], fresh_database: FreshDatabase
) -> None:
    with (
        running("serve", **settings) as server,
        psycopg.connect(fresh_database.owner_dsn) as owner,
        psycopg.connect(fresh_database.superuser_dsn, autocommit=True) as watcher,
        ThreadPoolExecutor() as pool,
    ):
        owner.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        answer = pool.submit(readiness, server)
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        wait_until(lambda: watcher.execute(waiting).fetchone() == (1,), "held up by the lock")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: is_refused(server.url), "closed to new requests")
        owner.rollback()
        # A whole answer of the app's own: "ok", unless this machine took so long that its patience ran out.
        assert answer.result().json().keys() == READY.keys()
        assert server.process.wait(timeout=60) == 0


def test_without_its_database_it_is_healthy_but_not_ready_and_recovers(issuer: dict[str, str]) -> None:
    with embedded_server() as postgres:
        make_template(postgres)
        dsn = postgres.dsn(user=SERVER, database=TEMPLATE)
        with running("serve", **issuer, DATABASE_URL=dsn) as server:
            assert readiness(server).json() == READY
            postgres.leave()
            down = readiness(server)
            assert down.status_code == 503
            assert down.json()["database"] in ("unreachable", "no answer in time")
            assert down.json()["issuer"] == "ok"
            assert server.answers("/healthz")
            restarted = embedded.start(postgres.directory)
            try:
                wait_until(lambda: readiness(server).status_code == 200, "ready again")
            finally:
                restarted.leave()


def test_its_own_postgresql_is_started_brought_back_when_killed_and_stopped(
    issuer: dict[str, str], open_directory: Path
) -> None:
    with running("serve", **issuer, CREDITDESK_DATA_DIRECTORY=str(open_directory)) as server:
        assert readiness(server).json() == READY
        killed = postmaster(open_directory)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: postmaster(open_directory) not in (None, killed), "a new postmaster")
        wait_until(lambda: readiness(server).status_code == 200, "ready again")
        assert server.end() == 0
    assert postmaster(open_directory) is None


def test_several_workers_share_their_metrics_and_leave_nothing_behind(
    settings: dict[str, str], open_directory: Path
) -> None:
    with running("serve", **settings, CREDITDESK_WORKERS="2", TMPDIR=str(open_directory)) as server:
        for _ in range(20):
            assert httpx.get(f"{server.url}/nothing", trust_env=False).status_code == 404
        assert len(list(open_directory.glob("creditdesk-metrics-*"))) == 1

        def answered() -> dict[str, float]:
            page = httpx.get(f"{server.url}/metrics", trust_env=False).text
            samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
            counted = ("creditdesk_requests_total", "creditdesk_request_duration_seconds_count")
            return {one.name: one.value for one in samples if one.name in counted and one.labels["path"] == "unmatched"}

        # A worker writes out what it has counted every second.
        wait_until(lambda: set(answered().values()) == {20}, "what both workers have answered")
        assert len(answered()) == 2
        assert server.end() == 0
        assert "Traceback" not in server.logged()
    assert list(open_directory.glob("creditdesk-metrics-*")) == []


def test_a_connection_that_is_idle_for_a_while_is_kept(settings: dict[str, str]) -> None:
    with running("serve", **settings) as server:
        host, port = server.url.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.auto_open = 0  # one that was closed is not opened again
        connection.connect()
        for pause in (6, 0):  # uvicorn's own limit is 5, which is less than any load balancer's
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
            time.sleep(pause)
        connection.close()


def test_several_workers_end_with_130_after_ctrl_c(settings: dict[str, str]) -> None:
    with running("serve", **settings, CREDITDESK_WORKERS="2") as server:
        assert server.end(signal.SIGINT) == 130


@pytest.mark.parametrize("missing", ["CREDITDESK_OIDC_ISSUER", "CREDITDESK_OIDC_AUDIENCE"])
def test_it_does_not_start_without_an_issuer(settings: dict[str, str], missing: str) -> None:
    ended = creditdesk("serve", **{name: value for name, value in settings.items() if name != missing})
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"creditdesk: {missing}: ")
    assert ended.stderr.count("\n") == 1


def test_it_does_not_start_as_the_owner_of_the_tables(issuer: dict[str, str], fresh_database: FreshDatabase) -> None:
    for dsn in (fresh_database.owner_dsn, fresh_database.superuser_dsn):
        ended = creditdesk("serve", **issuer, DATABASE_URL=dsn)
        assert ended.returncode == 1
        assert "owns tables or bypasses row-level security" in ended.stderr
        assert ended.stderr.count("\n") == 1


def test_it_does_not_start_on_a_schema_of_another_version(
    settings: dict[str, str], fresh_database: FreshDatabase
) -> None:
    with psycopg.connect(fresh_database.owner_dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE alembic_version")
    ended = creditdesk("serve", **settings)
    assert ended.returncode == 1
    assert ended.stderr == (
        "creditdesk: The database's schema is not that of this version. Run `creditdesk migrate`.\n"
    )


def test_it_does_not_start_without_its_database_and_does_not_tell_the_password(issuer: dict[str, str]) -> None:
    ended = creditdesk("serve", **issuer, DATABASE_URL="postgresql://ana:s3cret@127.0.0.1:1/nothing")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == ("creditdesk: The database cannot be reached or is restarting. Try again.")
    assert "s3cret" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_does_not_start_on_a_port_that_is_taken(settings: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = creditdesk("serve", **settings, CREDITDESK_PORT=port)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"creditdesk: CREDITDESK_HOST, CREDITDESK_PORT: cannot listen on 127.0.0.1:{port}: Address already in use.\n"
    )
