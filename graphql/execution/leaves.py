"""How leaves are written: values of exactly the right Python type as they are, others are declined."""

import re
from collections.abc import Mapping
from typing import Any

import orjson
from graphql import GraphQLEnumType, GraphQLNonNull, GraphQLOutputType, GraphQLScalarType

_CHECKS: Mapping[str, str] = {
    "String": "type({v}) is not str",
    "ID": "type({v}) is not str",
    "Boolean": "type({v}) is not bool",
    "Int": "type({v}) is not int or not -2147483648 <= {v} <= 2147483647",
    "Float": "type({v}) is not float or not -1.8e308 < {v} < 1.8e308",
}
"""When a value is to be declined: a Python condition on `v`. The stock executor may still know how to convert it."""

_TEXTS: Mapping[str, str] = {"Boolean": "'true' if {v} else 'false'", "Int": "str({v})"}
"""How a value is written, where that is faster than `dumps`."""

_PLAIN = frozenset({"Credits", "Decimal", "BigInt", "DateTime", "Date"})
"""Scalars of ours whose text is digits and signs, with nothing that JSON escapes."""

_INLINE: Mapping[str, str] = {name: f"serialize_{name}({{v}})" for name in _PLAIN} | {"BigInt": "{v}:d"}
"""What is put into an f-string for scalars of ours whose way to write them raises for null, which must not be."""

_READ = re.compile(r"s[.\[][\w.\[\]]*", re.ASCII)
"""What reads an object: it raises where there is none, and holds nothing that an f-string of 3.11 may not."""


def leaf_inline(read: str, type_: GraphQLOutputType, names: dict[str, Any]) -> str | None:
    """Return what an f-string has for a leaf that an expression reads, with no line of its own, if it may be so."""
    if not isinstance(type_, GraphQLNonNull) or not _READ.fullmatch(read):
        return None
    leaf = type_.of_type
    if not isinstance(leaf, GraphQLScalarType) or leaf.name not in _INLINE:
        return None
    names[f"serialize_{leaf.name}"] = leaf.coerce_output_value
    return f'"{{{_INLINE[leaf.name].format(v=read)}}}"'


def leaf_written(value: str, type_: GraphQLScalarType | GraphQLEnumType, names: dict[str, Any]) -> list[str]:
    """Return the lines that turn the leaf in a variable into JSON; what they refer to is added to the names."""
    names["dumps"] = orjson.dumps
    if isinstance(type_, GraphQLEnumType):
        members = getattr(type_, "wrapped_cls", ())
        names[f"enum_{type_.name}"] = {member: f'"{type_.coerce_output_value(member)}"' for member in members}
        return [f"{value} = enum_{type_.name}[{value}]"]
    check = _CHECKS.get(type_.name)
    if check is not None:
        text = _TEXTS.get(type_.name, "dumps({v}).decode()")
        return [f"if {check.format(v=value)}: run.decline()", f"{value} = {text.format(v=value)}"]
    name = f"serialize_{type_.name}"
    names[name] = type_.coerce_output_value
    if type_.name in _PLAIN:
        return [f"{value} = '\"' + {name}({value}) + '\"'"]
    return [f"{value} = dumps({name}({value})).decode()"]
