"""Cursors: where an item stands in its list's order. They say nothing that the item itself does not show."""

import base64
import binascii
from functools import lru_cache
from uuid import UUID

import orjson

from creditdesk.credits.errors import InvalidCursorError
from creditdesk.credits.people import Order, Position

_LONGEST = 2000
_INT64 = 2**63


@lru_cache(maxsize=1000)
def _tag(order: Order | str) -> str:
    if isinstance(order, str):
        return order
    span = f"{order.range.start:%Y%m%d}-{order.range.end:%Y%m%d}" if order.range else ""
    return f"{order.by.name}:{'DESC' if order.descending else 'ASC'}:{span}"


def encode_cursor(order: Order | str, position: Position) -> str:
    """Return the cursor of an item in a list of this order; a list that has only one goes by its name."""
    content = [_tag(order), position.number, position.name, str(position.id)]
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def decode_cursor(order: Order | str, cursor: str) -> Position:
    """Return where the cursor points; raise InvalidCursorError unless a list of the same order gave it out."""
    try:
        if len(cursor) > _LONGEST:
            raise InvalidCursorError
        content = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        tag, number, name, id_ = content
        position = Position(number, name, UUID(id_))
    except (binascii.Error, ValueError, TypeError, AttributeError) as error:
        raise InvalidCursorError from error
    fits = type(number) is int and -_INT64 <= number < _INT64 and isinstance(name, str) and "\x00" not in name
    if tag != _tag(order) or not fits:
        raise InvalidCursorError
    return position
