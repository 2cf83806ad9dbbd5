"""The world of the API's tests."""

from collections.abc import Iterator

import pytest

from support.databases import FreshDatabase
from support.world import World, world_of


@pytest.fixture(scope="module")
def world(module_database: FreshDatabase) -> Iterator[World]:
    """Two filled workspaces that the tests of a module share; those that add to them add only after their own."""
    with world_of(module_database) as filled:
        yield filled
