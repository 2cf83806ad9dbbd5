"""Limits and shares as the settings say."""

import pytest

from creditdesk.app.protection import charging, document_limits
from creditdesk.app.settings import load_settings
from creditdesk.graphql.charging import CAPACITY, MOST_COST, PER_SECOND
from creditdesk.graphql.protection.limits import STANDARD


def test_without_any_setting_the_limits_are_the_standard_ones() -> None:
    settings = load_settings({})
    assert document_limits(settings) == STANDARD
    shared = charging(settings)
    assert (shared.most_cost, shared.capacity, shared.per_second) == (MOST_COST, CAPACITY, PER_SECOND)


def test_settings_change_the_limits_of_documents() -> None:
    settings = load_settings(
        {"CREDITDESK_MAX_TOKENS": "2000", "CREDITDESK_MAX_DEPTH": "12", "CREDITDESK_MAX_ALIASES": "7"}
    )
    limits = document_limits(settings)
    assert (limits.tokens, limits.depth, limits.aliases) == (2000, 12, 7)


@pytest.mark.parametrize(
    ("workers", "capacity", "per_second"), [("1", 900, 100), ("2", 450, 50), ("3", 400, 33), ("128", 400, 1)]
)
def test_each_worker_has_an_equal_part_of_a_caller_s_share_and_room_for_one_operation(
    workers: str, capacity: int, per_second: int
) -> None:
    shared = charging(
        load_settings(
            {
                "CREDITDESK_WORKERS": workers,
                "CREDITDESK_MAX_COST": "400",
                "CREDITDESK_COST_CAPACITY": "900",
                "CREDITDESK_COST_PER_SECOND": "100",
            }
        )
    )
    assert (shared.capacity, shared.per_second) == (capacity, per_second)
