"""The app around the GraphQL endpoint, with a stand-in for the endpoint."""

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from creditdesk.app.logs import JsonFormatter
from creditdesk.app.main import create_app
from creditdesk.app.metrics import CONTENT_TYPE, Metrics
from creditdesk.db.connections import Database
from support.asgi import client_of, with_client
from support.databases import FreshDatabase
from support.issuers import Site, run

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl"


class StandIn:
    """Stands in for the GraphQL endpoint: does what the query string names."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["query_string"]:
            case b"fail":
                raise ZeroDivisionError(f"with Bearer {TOKEN}")
            case b"break":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"half", "more_body": True})
                raise ZeroDivisionError
            case b"hang-up":
                raise ClientDisconnect
            case _:
                await JSONResponse({"id": scope["state"]["request_id"]})(scope, receive, send)


def app_of(dsn: str, site: Site) -> Starlette:
    return create_app(
        database=Database(dsn, max_connections=2),
        verifier=site.verifier,
        http=site.http,
        graphql_endpoint=StandIn(),
        holds_endpoint=StandIn(),
        metrics=Metrics(),
    )


@pytest.fixture
def app(fresh_database: FreshDatabase) -> Starlette:
    return app_of(fresh_database.server_dsn, Site())


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.setLevel(before)
    root.removeHandler(handler)


def lines_of(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def get(app: Starlette, path: str, **headers: str) -> httpx.Response:
    return with_client(app, lambda client: client.get(path, headers=headers))


def test_health_says_that_the_process_is_up_and_asks_nothing_else() -> None:
    response = get(app_of("postgresql://nobody@127.0.0.1:1/nothing", Site()), "/healthz")
    assert (response.status_code, response.json()) == (200, {"process": "ok"})


def test_ready_means_database_migrations_and_issuer(app: Starlette) -> None:
    response = get(app, "/readyz")
    assert response.json() == {"database": "ok", "migrations": "ok", "issuer": "ok"}
    assert response.status_code == 200


def test_without_its_issuer_the_server_is_not_ready(fresh_database: FreshDatabase) -> None:
    site = Site()
    site.network.is_cut = True
    response = get(app_of(fresh_database.server_dsn, site), "/readyz")
    assert response.status_code == 503
    assert response.json() == {"database": "ok", "migrations": "ok", "issuer": "unreachable"}


def test_without_its_database_the_server_is_not_ready_and_names_no_host(log: io.StringIO) -> None:
    response = get(app_of("postgresql://nobody:s3cret@127.0.0.1:1/nothing", Site()), "/readyz")
    assert response.status_code == 503
    assert response.json()["issuer"] == "ok"
    assert response.json()["database"] in ("unreachable", "no answer in time")
    assert "127.0.0.1" not in response.text
    assert "s3cret" not in log.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE alembic_version SET version_num = '0000'",
        "DELETE FROM alembic_version",
        "DROP TABLE alembic_version",
        "REVOKE SELECT ON alembic_version FROM creditdesk_server",
    ],
)
def test_a_schema_behind_this_version_is_not_ready(fresh_database: FreshDatabase, change: str) -> None:
    with psycopg.connect(fresh_database.owner_dsn, autocommit=True) as connection:
        connection.execute(change)
    response = get(app_of(fresh_database.server_dsn, Site()), "/readyz")
    assert response.status_code == 503
    assert response.json()["migrations"] == "behind this version: run creditdesk migrate"


def test_a_newer_version_s_migration_does_not_take_this_one_out_of_service(fresh_database: FreshDatabase) -> None:
    with psycopg.connect(fresh_database.owner_dsn, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert get(app_of(fresh_database.server_dsn, Site()), "/readyz").status_code == 200


def test_a_role_that_owns_tables_is_not_ready(fresh_database: FreshDatabase) -> None:
    assert get(app_of(fresh_database.owner_dsn, Site()), "/readyz").json()["database"] == "refused"


@pytest.mark.parametrize("path", ["/", "/graphql/", "/nothing", "/metrics/"])
def test_an_unknown_path_is_a_404_in_json(app: Starlette, path: str) -> None:
    response = get(app, path)
    assert response.status_code == 404
    (error,) = response.json()["errors"]
    assert error["message"] == "There is nothing at this path: the API is at /graphql, holds are at /v1/holds."
    assert error["extensions"] == {"code": "MALFORMED_REQUEST", "requestId": response.headers["x-request-id"]}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_a_wrong_method_is_a_405_in_json(app: Starlette, path: str) -> None:
    response = with_client(app, lambda client: client.post(path))
    assert response.status_code == 405
    assert "GET" in response.headers["allow"]
    assert response.json()["errors"][0]["extensions"]["code"] == "MALFORMED_REQUEST"


def test_a_sane_request_id_is_kept(app: Starlette) -> None:
    response = get(app, "/graphql", **{"x-request-id": "gateway:7f-1"})
    assert response.headers["x-request-id"] == response.json()["id"] == "gateway:7f-1"


@pytest.mark.parametrize("insane", ["", "a b", "x" * 65, "<script>", 'a"b'])
def test_any_other_request_id_is_replaced(insane: str) -> None:
    app = app_of("postgresql://nobody@127.0.0.1:1/nothing", Site())
    response = get(app, "/graphql", **{"x-request-id": insane})
    assert response.headers["x-request-id"] == response.json()["id"] != insane
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", response.json()["id"])


def test_what_nobody_expected_is_a_500_in_json_and_a_traceback_in_the_log(app: Starlette, log: io.StringIO) -> None:
    response = get(app, "/graphql?fail")
    assert response.status_code == 500
    (error,) = response.json()["errors"]
    assert error["extensions"] == {"code": "INTERNAL", "requestId": response.headers["x-request-id"]}
    assert "ZeroDivisionError" not in response.text
    (failure,) = [line for line in lines_of(log) if line["level"] == "ERROR"]
    assert "ZeroDivisionError" in failure["exception"]
    assert failure["request_id"] == response.headers["x-request-id"]
    assert TOKEN not in log.getvalue()


def test_half_an_answer_is_never_passed_off_as_a_whole_one(app: Starlette) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/graphql", "query_string": b"break", "headers": []}
    with pytest.raises(ZeroDivisionError):
        run(app(scope, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


def test_a_client_that_hangs_up_is_no_error(app: Starlette, log: io.StringIO) -> None:
    with pytest.raises(AssertionError):  # httpx's transport insists on an answer
        get(app, "/graphql?hang-up")
    assert {line["level"] for line in lines_of(log)} == {"INFO"}
    assert lines_of(log)[-1]["status"] is None


def test_a_request_s_line_in_the_log_holds_no_query_no_header_and_no_token(app: Starlette, log: io.StringIO) -> None:
    response = get(app, f"/graphql?access_token={TOKEN}", authorization=f"Bearer {TOKEN}", cookie="session=secret")
    (line,) = [line for line in lines_of(log) if line["logger"] == "creditdesk.access"]
    assert line.pop("time")
    assert line.pop("duration_ms") >= 0
    assert line == {
        "level": "INFO",
        "logger": "creditdesk.access",
        "message": "answered",
        "method": "GET",
        "path": "/graphql",
        "status": 200,
        "request_id": response.headers["x-request-id"],
    }
    assert TOKEN not in log.getvalue()
    assert "secret" not in log.getvalue()


def test_the_metrics_say_how_many_requests_took_how_long() -> None:
    metrics = Metrics()
    for path, status, seconds in [
        ("/a", "200", 0.0005),
        ("/a", "500", 0.0006),
        ("/a", "200", 60.0),
        ("/b", "200", 0.1),
    ]:
        metrics.count_request(path, status, seconds)
    for page in (metrics.page().decode(), metrics.page().decode()):  # what was written out is not written out again
        families = {family.name: family for family in text_string_to_metric_families(page)}
        durations = families["creditdesk_request_duration_seconds"].samples
        of_a = {one.labels.get("le", one.name[-5:]): one.value for one in durations if one.labels["path"] == "/a"}
        assert of_a.pop("0.0005") == 1
        assert of_a.pop("+Inf") == of_a.pop("count") == 3
        assert of_a.pop("s_sum") == pytest.approx(60.0011)
        assert set(of_a.values()) == {2}
        counts = {
            (one.labels["path"], one.labels["status"]): one.value
            for one in families["creditdesk_requests"].samples
            if one.name.endswith("_total")
        }
        assert counts == {("/a", "200"): 2, ("/a", "500"): 1, ("/b", "200"): 1}


def test_the_metrics_count_requests_by_route_and_never_by_what_a_client_made_up(app: Starlette) -> None:
    async def ask() -> httpx.Response:
        async with client_of(app) as client:
            for path in ("/graphql", "/graphql", "/graphql?fail", "/made-up-1", "/made-up-2"):
                await client.get(path)
            await client.get("/readyz")
            return await client.get("/metrics")

    page = run(ask())
    assert page.headers["content-type"] == CONTENT_TYPE
    families = {family.name: family for family in text_string_to_metric_families(page.text)}
    requests = {
        (sample.labels["path"], sample.labels["status"]): sample.value
        for sample in families["creditdesk_requests"].samples
        if sample.name.endswith("_total")
    }
    assert requests == {
        ("/graphql", "200"): 2,
        ("/graphql", "500"): 1,
        ("unmatched", "404"): 2,
        ("/readyz", "200"): 1,
    }
    assert families["creditdesk_request_duration_seconds"].type == "histogram"
    connections = {
        sample.labels["state"]: sample.value for sample in families["creditdesk_database_connections"].samples
    }
    assert connections.keys() == {"in_use", "idle"}
    assert "made-up" not in page.text


def test_statements_are_counted_by_name() -> None:
    metrics = Metrics()
    metrics.count_statement("record_usage")
    metrics.count_statement("record_usage")
    assert b'creditdesk_statements_total{statement="record_usage"} 2.0' in metrics.page()
