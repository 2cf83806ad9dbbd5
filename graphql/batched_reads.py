"""Fields that plans read for many objects at once: what their resolvers answer, without a loader for each object."""

from creditdesk.graphql.batched_budgets import (
    BUDGET,
    MAIN_BUDGET,
    read_budgets,
    read_first_budgets,
    read_group_budgets,
    read_main_budgets,
)
from creditdesk.graphql.batched_people import (
    MEMBER_NAMES,
    OWN_USER,
    USERS,
    read_groups_of_workspaces,
    read_member_names,
    read_members,
    read_own_users,
    read_users,
    read_users_of_workspaces,
    shown_users,
)
from creditdesk.graphql.batched_usage import (
    BREAKDOWN,
    SERIES,
    USAGE,
    USER_OF_ROW,
    read_breakdowns,
    read_series,
    read_usage_of_groups,
    read_usage_of_users,
    shown_all_series,
    shown_breakdown,
    shown_usage,
)
from creditdesk.graphql.budgets import Budget
from creditdesk.graphql.execution.plans import Batch, Batches
from creditdesk.graphql.usage import User

BATCHES: Batches = {
    ("Viewer", "user"): Batch(read_own_users, None, OWN_USER, User.of),
    ("User", "budget"): Batch(
        read_first_budgets, "user_id", BUDGET, Budget.of, leaner=Batch(read_main_budgets, "user_id", MAIN_BUDGET)
    ),
    ("User", "budgets"): Batch(read_budgets, "user_id", BUDGET, lambda found: [Budget.of(one) for one in found]),
    ("Group", "budget"): Batch(read_group_budgets, "group_id", BUDGET, Budget.of),
    ("Group", "members"): Batch(
        read_members,
        "group_id",
        USERS,
        shown_users,
        leaner=Batch(read_member_names, "group_id", MEMBER_NAMES),
    ),
    ("Workspace", "groups"): Batch(read_groups_of_workspaces),
    ("Workspace", "users"): Batch(read_users_of_workspaces, None, USERS, shown_users),
    ("User", "usage"): Batch(read_usage_of_users, "user_id", USAGE, shown_usage),
    ("Group", "usage"): Batch(read_usage_of_groups, "group_id"),
    ("CreditUsage", "breakdown"): Batch(read_breakdowns, None, BREAKDOWN, shown_breakdown),
    ("UsageRow", "user"): Batch(read_users, USER_OF_ROW),
    ("CreditUsage", "series"): Batch(read_series, None, SERIES, shown_all_series),
}
"""By type and field."""
