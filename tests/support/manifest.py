"""The manifest of access, docs/access.toml: who sees which field of whose rows, and who may do what to whom."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from support.repository import ROOT

PLACE = ROOT / "docs" / "access.toml"
KINDS: Mapping[str, tuple[str, ...]] = {
    "user": ("own", "managed", "others"),
    "group": ("own groups", "managed groups", "other groups"),
    "workspace": ("workspace",),
}
"""What a row can be of, and the words that it comes under, seen from a caller."""
ROWS = tuple(word for words in KINDS.values() for word in words)
KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}
FOREIGN = "foreign"
"""Of another workspace: nobody sees such a row, and the manifest has no word for it."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a type: its audience, and what the rows that it can hold something in are of."""

    type_name: str
    name: str
    audience: str
    kinds: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Every word that its rows can come under."""
        return tuple(word for kind in self.kinds for word in KINDS[kind])


@dataclass(frozen=True, slots=True)
class Operation:
    """A root field, and whose rows each caller may use it on; `what` tells several ways of using it apart."""

    name: str
    what: str
    needs: str
    kinds: tuple[str, ...]
    unknown: Mapping[str, str]
    refused: Mapping[str, str]
    callers: Mapping[str, tuple[str, ...] | str]

    def refusal(self, caller: str, word: str | None) -> str | None:
        """Return the code that a caller is refused with on such a row, or on nobody's; None where they may."""
        allowed = self.callers.get(caller)
        if allowed is None:
            return "FORBIDDEN"
        if isinstance(allowed, str):
            return allowed
        if word is None or word in allowed:
            return None
        return self.refused[word] if word in self.refused else self.unknown[KIND_OF[word]]

    def refusal_of_strangers(self, caller: str, kind: str) -> str:
        """Return the code for a row of another workspace, and for one that is not there."""
        allowed = self.callers.get(caller)
        return "FORBIDDEN" if allowed is None else allowed if isinstance(allowed, str) else self.unknown[kind]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole of it."""

    callers: Mapping[str, str]
    audiences: Mapping[str, Mapping[str, tuple[str, ...]]]
    about: Mapping[str, str]
    fields: Mapping[str, Field]
    answers: Mapping[str, tuple[str, ...]]
    subscriptions: Mapping[str, str]
    operations: tuple[Operation, ...]

    @property
    def answer_fields(self) -> frozenset[str]:
        """Every field that only the answer of an operation has."""
        return frozenset(f"{type_name}.{name}" for type_name, names in self.answers.items() for name in names)

    def expected(self, caller: str, field: Field) -> frozenset[str]:
        """Return the words of the rows in which a caller sees this field."""
        return frozenset(self.audiences[field.audience].get(caller, ())) & frozenset(field.words)


@cache
def manifest() -> Manifest:
    """Return the manifest; raise AssertionError where it contradicts itself."""
    data = tomllib.loads(PLACE.read_text(encoding="utf-8"))
    audiences = {
        name: {caller: _words(words) for caller, words in audience.items() if caller != "about"}
        for name, audience in data["audiences"].items()
    }
    fields = [field for type_name, entry in data["types"].items() for field in _fields(type_name, entry)]
    operations = tuple(_operation(name, entry, set(data["callers"])) for name, entry in data["operations"].items())
    names = [f"{field.type_name}.{field.name}" for field in fields]
    assert len(names) == len(set(names)), "a field is listed twice in docs/access.toml"
    assert {field.audience for field in fields} == set(audiences), "an audience that no field has, or the other way"
    assert set(data["subscriptions"].values()) <= set(audiences), "a subscription of no audience"
    assert all(set(audience) <= set(data["callers"]) for audience in audiences.values()), "an audience of no caller"
    return Manifest(
        callers=data["callers"],
        audiences=audiences,
        about={name: audience["about"] for name, audience in data["audiences"].items()},
        fields=dict(zip(names, fields, strict=True)),
        answers={type_name: tuple(names) for type_name, names in data["answers"].items()},
        subscriptions=data["subscriptions"],
        operations=operations,
    )


def field_named(name: str) -> Field:
    """Return a `Type.field` of the manifest."""
    assert name in manifest().fields, f"{name} is not in docs/access.toml: say there who sees it, and in whose rows"
    return manifest().fields[name]


def _words(words: Sequence[str]) -> tuple[str, ...]:
    assert set(words) <= {"all", *ROWS}, f"words that docs/access.toml does not explain: {words}"
    return ROWS if "all" in words else tuple(words)


def _fields(type_name: str, entry: Mapping[str, Any]) -> list[Field]:
    only = entry.get("only", {})
    fields = [
        Field(type_name, name, audience, tuple(only.get(name, entry["rows"])))
        for audience, names in entry.items()
        if audience not in {"rows", "only"}
        for name in names
    ]
    assert set(only) <= {field.name for field in fields}, f"`only` of {type_name} names a field that is not there"
    return fields


def _operation(name: str, entry: Mapping[str, Any], callers: set[str]) -> Operation:
    field, _, what = name.partition(", ")
    who = {caller: words for caller, words in entry.items() if caller not in {"needs", "on", "unknown", "refused"}}
    assert set(who) <= callers, f"{name} names a caller that docs/access.toml does not explain"
    return Operation(
        name=field,
        what=what,
        needs=entry["needs"],
        kinds=tuple(entry.get("on", ())),
        unknown=entry.get("unknown", {}),
        refused=entry.get("refused", {}),
        callers={caller: words if isinstance(words, str) else _words(words) for caller, words in who.items()},
    )
