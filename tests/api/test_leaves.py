"""What plans write within f-strings, where no line of its own looks at a value, is what may be written so."""

from typing import Any, cast

import pytest
from graphql import GraphQLNonNull, GraphQLScalarType

from creditdesk.graphql.execution.leaves import leaf_inline
from creditdesk.graphql.schema import core_schema


@pytest.mark.parametrize("scalar", ["BigInt", "Credits", "Date", "DateTime", "Decimal"])
def test_a_null_that_must_not_be_is_not_written(scalar: str) -> None:
    leaf, names = cast("GraphQLScalarType", core_schema().type_map[scalar]), dict[str, Any]()
    text = leaf_inline("s[0]", GraphQLNonNull(leaf), names)
    for nothing in (None, [None]):
        with pytest.raises((AttributeError, TypeError)):
            eval(f"f'{text}'", names | {"s": nothing})  # noqa: S307 - as a plan's functions are made
