import json
import logging
import sys

import pytest

from creditdesk.app.logs import JsonFormatter, TextFormatter, redacted, request_id

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
