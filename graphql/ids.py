"""Ids of the API: opaque to clients, a type and a UUID to us."""

import base64
import binascii
from uuid import UUID

import strawberry

from creditdesk.credits.errors import InvalidIdError


def uuid_of(id_: UUID | str) -> UUID:
    """Return an id that may be text: those of many are read so, which takes less to find and to tell."""
    return id_ if isinstance(id_, UUID) else UUID(id_)


def encode_id(type_name: str, id_: UUID | str) -> strawberry.ID:
    """Return the API's id of an object."""
    # Of letters, digits, colons and dashes base64 makes neither of the two signs that are no part of a URL.
    return strawberry.ID(binascii.b2a_base64(f"{type_name}:{id_}".encode(), newline=False).decode().rstrip("="))


def decode_id(text: str) -> tuple[str, UUID]:
    """Return the type and the UUID of an id; raise InvalidIdError unless it is exactly one that we gave out."""
    try:
        type_name, _, id_ = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii").partition(":")
        found = (type_name, UUID(id_))
    except (binascii.Error, ValueError) as error:
        raise InvalidIdError from error
    if encode_id(*found) != text:
        raise InvalidIdError
    return found


def decode_id_of(type_name: str, text: str) -> UUID:
    """Return the UUID of an id of this type; raise InvalidIdError for any other."""
    found, id_ = decode_id(text)
    if found != type_name:
        raise InvalidIdError
    return id_
