"""GraphQL's own scalars: values of exactly the right Python type are the answer as they are, others are declined."""

from collections.abc import Mapping

LEAF_CHECKS: Mapping[str, str] = {
    "String": "type({v}) is not str",
    "ID": "type({v}) is not str",
    "Boolean": "type({v}) is not bool",
    "Int": "type({v}) is not int or not -2147483648 <= {v} <= 2147483647",
    "Float": "type({v}) is not float or not -1.8e308 < {v} < 1.8e308",
}
"""When a value is to be declined: a Python condition on `v`. The stock executor may still know how to convert it."""
