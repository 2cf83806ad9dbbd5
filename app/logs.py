"""Structured logs: one line a record, with the request's id, and without tokens or passwords."""

import asyncio
import json
import logging
import logging.config
import re
import time
from contextlib import nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import orjson

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_SECRETS = (
    (re.compile(r"\beyJ[\w-]+(?:\.[\w-]*){1,4}"), "[token]"),  # a JWT: its header is an object in base64url
    (re.compile(r"(?i)\b(bearer)\s+[\w.~+/=-]+"), r"\1 [token]"),
    # To the last @ before whitespace or a quote: a password that is not percent-encoded may hold an @ or a slash.
    (re.compile(r"(?i)\b(postgres(?:ql)?(?:\+\w+)?://[^:@/\s]*):[^\s'\"]*@"), r"\1:[password]@"),
    (re.compile(r"(?i)\b(password=)('(?:[^'\\]|\\.)*'|[^\s&'\"]+)"), r"\1[password]"),
)


# What one of those begins with or holds: most lines hold none, and are looked through once.
_SUSPICIOUS = re.compile(r"eyJ|bearer|postgres|password", re.IGNORECASE)


def redacted(text: str) -> str:
    """Return the text without anything shaped like a token or a database's password."""
    if _SUSPICIOUS.search(text) is None:
        return text
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class _Redacting(logging.Formatter):
    """Redacts where the text is made, since a filter would see no traceback."""

    def message_of(self, record: logging.LogRecord) -> str:
        """Return the record's message, redacted."""
        return redacted(record.getMessage())

    def exception_of(self, record: logging.LogRecord) -> str | None:
        """Return the traceback, redacted, if there is one."""
        return redacted(self.formatException(record.exc_info)) if record.exc_info and record.exc_info[0] else None


class JsonFormatter(_Redacting):
    """A record as one line of JSON; its `fields`, if it has some, stand beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; whatever stands in it, JSON's escapes keep it one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": self.message_of(record),
        }
        for name, value in getattr(record, "fields", {}).items():
            line[name] = redacted(value) if isinstance(value, str) else value
        if (current := request_id.get()) is not None:
            line["request_id"] = current
        if (exception := self.exception_of(record)) is not None:
            line["exception"] = exception
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z).decode()
        except (
            TypeError
        ):  # half a character, or a number beyond 64 bits: Python's own writes anything, in ten times as long
            return json.dumps(line | {"time": f"{line['time'].replace(tzinfo=None).isoformat()}Z"}, default=str)


class TextFormatter(_Redacting):
    """A record for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it."""
        fields = "".join(f" {name}={redacted(str(value))}" for name, value in getattr(record, "fields", {}).items())
        current = request_id.get()
        line = (
            f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {record.levelname:<7} {record.name}:"
            f" {self.message_of(record)}{fields}{f' [{current}]' if current else ''}"
        )
        # A line break in a path or a name must not look like a record of its own.
        line = line.replace("\r", "\\r").replace("\n", "\\n")
        exception = self.exception_of(record)
        return line if exception is None else f"{line}\n{exception}"


class GatheringHandler(logging.StreamHandler[TextIO]):
    """Writes lines together, at most a moment late: each write is a system call. What went wrong is written at once."""

    DELAY_SECONDS = 0.1
    MOST_LINES = 1000

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._is_due = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line, until it is due."""
        try:
            self.take(self.format(record))
            if record.levelno >= logging.WARNING:
                self.flush()
        except Exception:  # noqa: BLE001 - logging's own way to say that it failed
            self.handleError(record)

    def flush(self) -> None:
        """Write what is there; whoever asks, and at the end of the process."""
        with self.lock or nullcontext():
            self._is_due = False
            if self._lines:
                text, self._lines = "\n".join([*self._lines, ""]), []
                self.stream.write(text)
        super().flush()

    def take(self, line: str) -> None:
        """Keep a line that says that all is well."""
        self._lines.append(line)
        if len(self._lines) >= self.MOST_LINES:
            self.flush()
        elif not self._is_due:
            self._make_due()

    def _make_due(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()  # a thread or a command without a loop: nobody would come back to it
        else:
            self._is_due = True
            loop.call_later(self.DELAY_SECONDS, self.flush)


class RequestLog:
    """The log's lines of requests: one for each, so that they are written without a record where they are JSON."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("creditdesk.access")
        handlers = (one for one in logging.getLogger().handlers if isinstance(one, GatheringHandler))
        self._handler = next((one for one in handlers if isinstance(one.formatter, JsonFormatter)), None)
        self._second, self._written = 0, ""

    def note(self, *, method: str, route: str | None, path: str, status: int | None, seconds: float) -> None:
        """Note a request. `route` is what its path is one of, where it is one of ours; then its own path is left out.

        A path may name a hold: its route says what was asked for, and the request's id which it was.
        """
        if not self._logger.isEnabledFor(logging.INFO):
            return
        message = "answered" if status else "not answered"
        milliseconds = round(seconds * 1000, 3)
        if self._handler is not None and route is not None and status and method.isalpha():
            # As a record's: nothing in it comes from outside but the request's id, which has been looked at.
            self._handler.take(
                f'{{"time":"{self._now()}Z","level":"INFO","logger":"creditdesk.access",'
                f'"message":"{message}","method":"{method}","path":"{route}","status":{status},'
                f'"duration_ms":{milliseconds},"request_id":"{request_id.get()}"}}'
            )
            return
        fields = {"method": method, "path": route or path, "status": status, "duration_ms": milliseconds}
        self._logger.info(message, extra={"fields": fields})

    def _now(self) -> str:
        """Return the time as ISO 8601 has it: what stays the same for a second is written once."""
        whole, micros = divmod(time.time_ns() // 1000, 1_000_000)
        if whole != self._second:
            self._second, self._written = whole, datetime.fromtimestamp(whole, UTC).isoformat()[:-6]
        return f"{self._written}.{micros:06}"


def _is_no_handshake(record: logging.LogRecord) -> bool:
    """Tell whether a line of uvicorn's is none of a WebSocket's handshake: those hold the query string."""
    return "WebSocket" not in str(record.msg)


def configure_logs(*, level: str, form: Literal["json", "text"]) -> None:
    """Send every logger, uvicorn's and Python's warnings included, through one handler to stderr."""
    # What no line of ours shows need not be found out for each (Python's Logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - as the HOWTO says
    formatter = JsonFormatter if form == "json" else TextFormatter
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"()": formatter}},
            "filters": {"no_handshakes": {"()": lambda: _is_no_handshake}},
            "handlers": {"stderr": {"()": GatheringHandler, "formatter": "line"}},
            "root": {"level": level, "handlers": ["stderr"]},
            "loggers": {
                "uvicorn": {"handlers": [], "propagate": True},
                "uvicorn.error": {"handlers": [], "propagate": True, "filters": ["no_handshakes"]},
                # Ours says the same with the request's id, and without the query string.
                "uvicorn.access": {"handlers": [], "propagate": False},
                # These would tell PKCE verifiers, addresses with codes in them, and the headers of answers.
                "authlib": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
                "httpx": {"level": "WARNING"},
                # Whatever a client's document has wrong, as an error of ours; what is ours is logged with its id.
                "strawberry.execution": {"level": "CRITICAL"},
            },
        }
    )
    logging.captureWarnings(capture=True)
