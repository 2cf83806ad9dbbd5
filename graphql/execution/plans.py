"""What a plan is: a document that was compiled for one operation, one set of permissions, and one choice of fields.

A plan is followed in two steps. First it *reads*: *branches* are the fields that have to wait for something, and each
is read at once for all the objects that it is asked of, which generated *reaches* find in what was read before. Then
it *writes*: generated *writers*, one for each type and what is selected of it, put the whole answer down as JSON. What
a branch has read comes to the writers in the order in which it was reached for: both go through lists in their order.

A plan only knows the way on which nothing goes wrong. Where a value is not what its type says, or anything is raised,
the whole run is dropped, and the stock executor, which knows how errors are told, starts again. Only queries are
planned, so nothing happens twice.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from graphql import FieldNode, GraphQLField, GraphQLObjectType, GraphQLResolveInfo, OperationDefinitionNode

Writer: TypeAlias = Callable[[Any, Any], str]
"""From an object, and the run, to what the answer says of it, as JSON."""

Reach: TypeAlias = Callable[[Sequence[Any], Any], None]
"""From values, and the run, to what is noted for the branches beneath them."""


class DeclinedError(Exception):
    """A plan cannot be made of this document, or cannot be followed to its end: the stock executor takes over."""


@dataclass(frozen=True, slots=True)
class Call:
    """A field that a resolver answers: which function, with what of the document."""

    number: int
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


Columns: TypeAlias = Mapping[str, "str | Columns"]
"""How each field of an object is said in a template: as text, or as an object that is always there."""


@dataclass(frozen=True, slots=True)
class Written:
    """A list of objects that may have been read as JSON: `text` is an expression for it, None where `objects` has them.

    It is read so where nothing else is selected than what may be `beside` the list, and of its objects nothing but
    `columns`. The batch is then given a `template` of an object's JSON, where each of them is said as these say it.
    """

    text: str
    columns: "Columns"
    objects: "tuple[str, Shape]"
    beside: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Shape:
    """How the fields of a type are read from something leaner than the type's own objects, such as a row.

    `reads` has a Python expression of `s`, the lean object, for each field that it knows, by the field's name; a field
    of an object or a list of them has the shape of those too, unless they are the type's own objects. What a batch is
    read by (`Batch.of`) is there by that name. `names` is what the expressions refer to.
    """

    reads: Mapping[str, "str | tuple[str, Shape] | Written"]
    names: Mapping[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """What a batch wants to be read, stated instead of read: so all that a level states is read at once.

    `lookup` states the reads that answer a question of its subjects: many batches may ask the same one. `then` makes
    the batch's answers of what was found for each subject. What `lasts` is found again as long as nothing is known to
    have changed, so it may be kept.
    """

    lookup: Callable[..., Any]
    question: Hashable
    subjects: Sequence[Any]
    then: Callable[[Sequence[Any]], Sequence[Any]] | None = None
    lasts: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """A field that is read for many objects at once: the same answer as its resolver gives for each, in fewer steps.

    `read` is given an attribute `of` each object, or the objects, an `Info` and the arguments. It is an async function,
    or one that returns an `Ask`, or answers that are at hand. Where `shape` covers what is selected of the answers they
    stay lean; elsewhere `show` makes the type's own objects of them.
    """

    read: Callable[..., Awaitable[Sequence[Any]] | Ask | Sequence[Any]]
    of: str | None = None
    shape: Shape | None = None
    show: Callable[[Any], Any] | None = None
    leaner: "Batch | None" = None
    """What is read instead where the leaner one's shape covers what is selected."""


Batches: TypeAlias = Mapping[tuple[str, str], Batch]
"""By the names of a type and of its field."""


class Answers(Protocol):
    """What answers batches that ask."""

    def known(self, ask: Ask) -> Sequence[Any] | None:
        """Return what is found for each of its subjects where that is at hand."""

    def read(self, asks: Sequence[Ask]) -> Awaitable[Sequence[Sequence[Any]]]:
        """Read what the batches of a level ask: return for each, in order, what was found for its subjects."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A field that has to be read, or that others beneath it are read by; `reach` notes what those ask of its values.

    Where it `waits` it is read by an async function.
    """

    number: int
    call: Call
    batch: Batch | None
    lean: bool
    waits: bool
    beneath: tuple[int, ...]
    reach: Reach | None = None
    template: str | None = None
    """What the batch is given to have its answers written."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled operation. `first` are the branches that are not beneath others."""

    operation: OperationDefinitionNode
    reach: Reach | None
    write: Writer
    first: tuple[int, ...]
    branches: tuple[Branch, ...]
    calls: tuple[Call, ...]
    """All fields with a resolver: a run works out their arguments once each."""
    source: str
    """The generated code, for people."""
    infos: dict[int, GraphQLResolveInfo[Any]] = field(default_factory=dict)
    """What resolvers of calls are told that is the same in all runs."""
