"""What a caller is told of the limits, and of what is left to them."""

from dataclasses import dataclass

from creditdesk.graphql.protection.bucket import Charge
from creditdesk.graphql.protection.limits import DocumentLimits


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits that a request is held to, and what it has been charged."""

    limits: DocumentLimits
    most_cost: int
    per_second: int
    charge: Charge
