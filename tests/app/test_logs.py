import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from creditdesk.app.logs import GatheringHandler, JsonFormatter, RequestLog, TextFormatter, redacted, request_id

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl-_x"


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("creditdesk.test", logging.INFO, __file__, 1, message, arguments, None)
    made.__dict__.update(extra)
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer [token]"),
        ("bearer opaque-0123/+=", "bearer [token]"),
        (f"/graphql?access_token={TOKEN}&x=1", "/graphql?access_token=[token]&x=1"),
        ("eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn sent", "[token] sent"),
        ("postgresql://ana:s3cret@db:5432/credits", "postgresql://ana:[password]@db:5432/credits"),
        ("postgresql+psycopg://ana:p@ss/w:rd@db/credits", "postgresql+psycopg://ana:[password]@db/credits"),
        ("host=db password='a b' user=ana", "host=db password=[password] user=ana"),
        ("postgresql://ana@db/credits", "postgresql://ana@db/credits"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_tokens_and_passwords_are_redacted(text: str, expected: str) -> None:
    assert redacted(text) == expected


def test_a_record_is_one_line_of_json() -> None:
    line = JsonFormatter().format(record("two\nlines of %s", "text"))
    assert "\n" not in line
    read = json.loads(line)
    assert (read["level"], read["logger"], read["message"]) == ("INFO", "creditdesk.test", "two\nlines of text")
    assert read["time"].endswith("Z")
    assert "request_id" not in read


def test_a_record_carries_its_fields_and_the_request_s_id() -> None:
    token = request_id.set("r-1")
    try:
        read = json.loads(JsonFormatter().format(record("answered", fields={"path": f"/{TOKEN}", "status": 200})))
    finally:
        request_id.reset(token)
    assert (read["request_id"], read["path"], read["status"]) == ("r-1", "/[token]", 200)


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_traceback_is_there_and_redacted(formatter: logging.Formatter) -> None:
    failed = record("failed")
    try:
        int(f"Bearer {TOKEN}")
    except ValueError:
        failed.exc_info = sys.exc_info()
    line = formatter.format(failed)
    assert "ValueError" in line
    assert "Traceback" in line
    assert TOKEN not in line


def test_a_line_break_in_a_text_record_does_not_look_like_another_record() -> None:
    line = TextFormatter().format(record("no such path: %s", "/x\n00:00:00 INFO forged"))
    assert "\n" not in line


def test_what_json_cannot_hold_does_not_lose_the_record() -> None:
    read = json.loads(JsonFormatter().format(record("odd: \ud800", fields={"what": object(), "who": "\ud800"})))
    assert read["message"] == "odd: \ud800"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Have the root logger write JSON, as it does in a server, and yield what was written."""
    handler, root = GatheringHandler(), logging.getLogger()
    handler.setFormatter(JsonFormatter())
    handler.setStream(io.StringIO())
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield handler.stream  # type: ignore[misc]
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def noted(written: io.StringIO, **request: Any) -> dict[str, Any]:
    """Return the line of a request."""
    token = request_id.set("r-1")
    try:
        RequestLog().note(**{"method": "POST", "path": "/v1/holds", "seconds": 0.0012345, **request})
    finally:
        request_id.reset(token)
    [line] = written.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_request_is_noted_by_its_route_in_the_form_of_any_other_record(written: io.StringIO) -> None:
    line = noted(written, route="/v1/holds/{id}/settle", path="/v1/holds/of-ana/settle", status=200)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "creditdesk.access",
        "message": "answered",
        "method": "POST",
        "path": "/v1/holds/{id}/settle",
        "status": 200,
        "duration_ms": 1.234,
        "request_id": "r-1",
    }
    other = json.loads(JsonFormatter().format(record("answered")))
    assert list(other)[:4] == ["time", "level", "logger", "message"]


def test_a_path_of_nobody_s_is_noted_without_secrets_and_on_one_line(written: io.StringIO) -> None:
    line = noted(written, route=None, path=f'/{TOKEN}"\n', status=404)
    assert (line["path"], line["status"], line["message"]) == ('/[token]"\n', 404, "answered")


def test_a_request_whose_client_hung_up_is_noted_as_not_answered(written: io.StringIO) -> None:
    line = noted(written, route="/graphql", status=None)
    assert (line["message"], line["status"]) == ("not answered", None)


def test_a_request_is_not_noted_where_only_warnings_are(written: io.StringIO) -> None:
    logging.getLogger().setLevel(logging.WARNING)
    RequestLog().note(method="GET", route="/graphql", path="/graphql", status=200, seconds=1)
    assert written.getvalue() == ""
