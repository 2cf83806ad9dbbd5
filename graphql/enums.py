"""The business's enumerations, as the schema shows them: each value's sentence is written once, where it is defined.

Types take their enumerations from here, so that none is published without its descriptions.
"""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

import strawberry

from creditdesk.auth.principal import PrincipalKind
from creditdesk.auth.roles import Permission, Role
from creditdesk.credits.directory import UserKind
from creditdesk.credits.errors import ErrorCode
from creditdesk.credits.people import OrderedBy
from creditdesk.credits.ranges import RangePreset
from creditdesk.credits.series import Interval
from creditdesk.credits.usage import Dimension, Ordering

__all__ = [
    "Attribution",
    "Dimension",
    "ErrorCode",
    "Interval",
    "OrderDirection",
    "OrderedBy",
    "Ordering",
    "Permission",
    "PrincipalKind",
    "RangePreset",
    "Role",
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
    values={"PERSON": "A person who signed in.", "SERVICE": "A program with credentials of its own."},
)
_described(UserKind, "What a user of a workspace is.")
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
