"""Values written into a message: PostgreSQL reads each as what it was, whatever is in it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from creditdesk.db.literals import literal
from support.databases import FreshDatabase

MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
WORD = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "NULL", "null", "{}", "{a,b}", '"', "\\", "\\\\", "'", "''", "\\'", '\\"', " a ", "\n", "\r\n\t", "E'x'", "$1"]
)  # fmt: skip
WHOLE = st.integers(-(2**63), 2**63 - 1)


@pytest.fixture(scope="module")
def server(module_database: FreshDatabase) -> Iterator[psycopg.Connection]:
    with psycopg.connect(module_database.server_dsn, autocommit=True) as connection:
        yield connection


def read(server: psycopg.Connection, value: object, type_: str) -> Any:
    """Return what PostgreSQL takes a value for that is written into a statement."""
    found = server.execute(f"SELECT {literal(value)}::{type_}".encode()).fetchone()
    assert found is not None
    return found[0]


@MANY
@example(["a'b", 'a"b', "a\\b", "\\'", "{", ",", " ", "", "NULL", None])
@given(st.lists(WORD | st.none(), max_size=6))
def test_words_in_an_array_are_what_they_were(server: psycopg.Connection, words: list[str | None]) -> None:
    assert read(server, words, "text[]") == words


@MANY
@given(st.data())
def test_ids_days_numbers_and_truths_in_an_array_are_what_they_were(
    server: psycopg.Connection, data: st.DataObject
) -> None:
    for kind, type_ in (
        (st.uuids(), "uuid"),
        (st.dates(date(1, 1, 1)), "date"),
        (WHOLE, "bigint"),
        (st.booleans(), "boolean"),
    ):
        values = data.draw(st.lists(kind | st.none(), max_size=4))
        assert read(server, values, f"{type_}[]") == values


@MANY
@given(WORD)
def test_a_word_by_itself_is_what_it_was(server: psycopg.Connection, word: str) -> None:
    assert read(server, word, "text") == word


@MANY
@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.timezones()))  # noqa: DTZ001 - bounds
def test_a_moment_is_the_same_moment_whatever_its_zone(server: psycopg.Connection, moment: datetime) -> None:
    assert read(server, moment, "timestamptz") == moment.astimezone(UTC)


def test_what_postgresql_has_no_text_for_is_refused_and_never_cut_short(server: psycopg.Connection) -> None:
    with pytest.raises((psycopg.DataError, ValueError)):
        read(server, ["a\0b"], "text[]")
    with pytest.raises(UnicodeEncodeError):
        read(server, ["\ud800"], "text[]")


def test_a_number_that_is_too_large_is_refused_by_postgresql(server: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.NumericValueOutOfRange):
        read(server, [2**70], "bigint[]")


def test_an_id_is_written_as_one(server: psycopg.Connection) -> None:
    assert read(server, UUID(int=5), "uuid") == UUID(int=5)
