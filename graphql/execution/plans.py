"""What a plan is: a document that was compiled for one operation, one set of permissions, and one choice of fields.

A plan is made of two things. *Writers* are generated functions: each takes an object of one type and returns what the
answer says of it, as far as that needs no waiting. *Branches* are the fields that do need waiting: a writer leaves a
gap in what it returns and notes the object under the branch; each level of branches is then read at once, for all the
objects that were noted, and what was read is written into the gaps by the next writers.

A plan only knows the way on which nothing goes wrong. Where a value is not what its type says, or anything is raised,
the whole run is dropped, and the stock executor, which knows how errors are told, starts again. Only queries are
planned, so nothing happens twice.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphql import FieldNode, GraphQLField, GraphQLObjectType, OperationDefinitionNode

Writer: TypeAlias = Callable[[Any, Any], Any]
"""From an object, and the run, to what the answer says of it."""

Written: TypeAlias = dict[str, Any]


class DeclinedError(Exception):
    """A plan cannot be made of this document, or cannot be followed to its end: the stock executor takes over."""


@dataclass(frozen=True, slots=True)
class Call:
    """A field that a resolver answers: which function, with what of the document."""

    parent: GraphQLObjectType
    field: GraphQLField
    nodes: tuple[FieldNode, ...]
    resolver: Callable[..., Any]
    takes_source: bool
    info_name: str | None
    definition: Any
    """Strawberry's own description of the field."""
    constant: Mapping[str, Any] | None
    """Its arguments, where no variable is among them."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the fields of a type are read from something leaner than the type's own objects, such as a row.

    `reads` has a Python expression of `s`, the lean object, for each field that it knows, by the field's name; a field
    of an object or a list of them has the shape of those too. `names` is what the expressions refer to.
    """

    reads: Mapping[str, "str | tuple[str, Shape]"]
    names: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Batch:
    """A field that is read for many objects at once: the same answer as its resolver gives for each, in fewer steps.

    `read` is given the objects, a `Question` and the arguments. Where `shape` covers what is selected of the answers
    they stay lean; elsewhere `show` makes the type's own objects of them.
    """

    read: Callable[..., Awaitable[Sequence[Any]]]
    shape: Shape | None = None
    show: Callable[[Any], Any] | None = None


Batches: TypeAlias = Mapping[tuple[str, str], Batch]
"""By the names of a type and of its field."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A field that needs waiting; `write` completes its values, and `key` is where they belong."""

    number: int
    key: str
    call: Call
    batch: Batch | None
    lean: bool
    write: Writer


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled operation. `calls` are all fields with a resolver: a run works out their arguments once each."""

    operation: OperationDefinitionNode
    write: Writer
    branches: tuple[Branch, ...]
    calls: tuple[Call, ...]
    source: str
    """The generated code, for people."""
