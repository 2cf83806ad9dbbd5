"""A desk for the tests of a module: each test keeps a ledger, a workspace of its own, on it."""

from collections.abc import Iterator

import pytest

from support.databases import FreshDatabase
from support.ledgers import Desk, Ledger, desk_of, new_ledger


@pytest.fixture(scope="module")
def desk(module_database: FreshDatabase) -> Iterator[Desk]:
    with desk_of(module_database) as opened:
        yield opened


@pytest.fixture
def ledger(desk: Desk) -> Ledger:
    return new_ledger(desk)
