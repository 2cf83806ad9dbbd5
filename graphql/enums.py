"""The business's enumerations, as the schema shows them: each value's sentence is written once, where it is defined.

Types take their enumerations from here, so that none is published without its descriptions.
"""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

import strawberry

from creditdesk.auth.principal import PrincipalKind
from creditdesk.auth.roles import Permission, Role
from creditdesk.credits.audit import AuditAction
from creditdesk.credits.budget_rules import BudgetStatus
from creditdesk.credits.directory import FirstSignIn, GroupClaims, UserKind
from creditdesk.credits.errors import ErrorCode
from creditdesk.credits.hold_rules import HoldState
from creditdesk.credits.limits import Enforcement, LimitKind, LimitScope, MultiGroup
from creditdesk.credits.people import OrderedBy
from creditdesk.credits.periods import Cadence
from creditdesk.credits.pricing import Meter, UnknownModel
from creditdesk.credits.ranges import RangePreset
from creditdesk.credits.request_rules import DurationKind as RequestDurationKind
from creditdesk.credits.request_rules import RequestState
from creditdesk.credits.series import Interval
from creditdesk.credits.usage import Dimension, Ordering

__all__ = [
    "Attribution",
    "AuditAction",
    "BudgetStatus",
    "Cadence",
    "Dimension",
    "Enforcement",
    "ErrorCode",
    "FirstSignIn",
    "ForecastMethod",
    "GroupClaims",
    "HoldState",
    "Interval",
    "LimitKind",
    "LimitScope",
    "Meter",
    "MultiGroup",
    "OrderDirection",
    "OrderedBy",
    "Ordering",
    "Permission",
    "PrincipalKind",
    "RangePreset",
    "RequestDurationKind",
    "RequestState",
    "Role",
    "UnknownModel",
    "UserKind",
]

EnumType = TypeVar("EnumType", bound=type[Enum])


class OrderDirection(Enum):
    """Which way a list runs."""

    ASC = "From the smallest, or from A."
    DESC = "From the largest, or from Z."


class Attribution(Enum):
    """Which usage counts as a group's."""

    CHARGED = "What was charged to the group: its members' usage while it was their home group. This adds up."
    MEMBERS = "What everybody who is in the group now has used, whichever group it was charged to."


class ForecastMethod(Enum):
    """How a budget's period is projected; credits/forecasts.py is the formula."""

    WEEKDAY_MEANS = (
        "Each day to come is expected to use the mean of its weekday over the four weeks before today, and today what"
        " is left of that mean. Holds do not count."
    )


def _described(
    enum: EnumType, description: str, *, name: str | None = None, values: Mapping[str, str] | None = None
) -> EnumType:
    """Publish an enumeration; a value's description is the value itself unless another is given."""
    strawberry.enum(enum, name=name, description=description)
    for value in enum.__strawberry_definition__.values:  # type: ignore[attr-defined]
        value.description = (values or {}).get(value.name, str(value.value))
    return enum


_described(ErrorCode, "What went wrong, for machines. Codes are stable; messages are for people and may change.")
_described(Permission, "What a caller may do. Each root field names the one it requires.")
_described(
    Role,
    "A role held in a workspace. It comes from the identity provider's token.",
    values={
        "OWNER": "Sees everything and sets everything.",
        "ADMIN": "Sees everyone's spend, decides requests, sets limits, manages people.",
        "BILLING": "Sees everyone's spend, and prices and costs.",
        "ANALYST": "Sees everyone's spend.",
        "GROUP_MANAGER": "Sees and decides for the groups that the token names.",
        "MEMBER": "Sees their own spend and budget.",
        "SERVICE": "A program; its token's scopes say what it may do.",
    },
)
_described(
    PrincipalKind,
    "What kind of caller a token stands for.",
    values={
        "PERSON": "A person who signed in.",
        "SERVICE": "A program with credentials of its own.",
        "NOBODY": "Whoever shows a token that nobody signed: in the audit trail only.",
    },
)
_described(UserKind, "What a user of a workspace is.")
_described(FirstSignIn, "What becomes of a person with a valid token whom the workspace does not know.")
_described(GroupClaims, "What it means that a token names groups. Those that there are not count for nothing.")
_described(OrderedBy, "What a list of people or groups is ordered by.", name="OrderField")
_described(RangePreset, "Ranges that are named. Days, weeks and months are cut in the workspace's zone.")
_described(Interval, "The length of a point of a series, in the workspace's zone.")
_described(Dimension, "What usage can be broken down by.", name="UsageDimension")
_described(
    Ordering,
    "How the rows of a breakdown are ordered. Equal ones are ordered by product, model and id.",
    name="UsageOrder",
)
_described(OrderDirection, "Which way a list runs.")
_described(Attribution, "Which usage counts as a group's.")
_described(Cadence, "How long a limit's period is, and where it starts, in the workspace's zone.")
_described(LimitScope, "Whom a limit is set for.")
_described(LimitKind, "Whether a limit is everybody's own, or one for all of them together.")
_described(Enforcement, "What happens where a limit is reached.")
_described(MultiGroup, "Which group's limit applies to a user of several groups; groups without a limit are ignored.")
_described(UnknownModel, "What becomes of a use of a product or model that no rate in force names.")
_described(AuditAction, "What was done, as the audit trail says.")
_described(Meter, "What a rate counts.")
_described(BudgetStatus, "How a budget stands, by what is used and held of it.")
_described(ForecastMethod, "How the use of a period is projected.")
_described(RequestState, "What has become of a request for more credits.", name="CreditRequestState")
_described(RequestDurationKind, "How long more may be used.", name="RequestDurationKind")
_described(HoldState, "What has become of a hold.")
