"""Whose canaries a caller may meet."""

import re

from support.world import ACME, EVERYONE, all_canaries, place_of

SEEN_BY_MANAGER = {
    "workspace/acme", "group/research", "group/design",
    "user/gina", "user/mo", "user/mia", "user/ina",
    "product/gina/design", "product/mo/research", "product/mia/design", "product/ina/research",
    # Lee has moved on; what was charged to the managed group stays there to be seen, though not who it was.
    "product/lee/research",
    "reason/gina", "reason/mo", "reason/mia", "reason/ina", "note/gina", "note/mo", "note/mia", "note/ina",
    "hold/gina", "hold/mo", "hold/mia",
}  # fmt: skip
SEEN_BY_MEMBER = {
    "workspace/acme",
    "group/research",
    "user/mo",
    "product/mo/research",
    "reason/mo",
    "note/mo",
    "hold/mo",
}
# Who places holds sees any, and what it is for, but not whose it is.
SEEN_BY_WRITER = {"workspace/acme"} | {
    owner
    for person in ACME.people
    if person.active
    for owner in (f"hold/{person.name}", f"product/{person.name}/{person.home or '-'}")
}


def seen_by(caller: str) -> set[str]:
    shown = {owner for owner in all_canaries().values() if not owner.startswith(("source", "tag"))}
    if caller in EVERYONE:
        return {owner for owner in shown if place_of(owner) == "acme"}
    return {
        "OTHER_OWNER": {owner for owner in shown if place_of(owner) == "himal"},
        "GROUP_MANAGER": SEEN_BY_MANAGER,
        "MEMBER": SEEN_BY_MEMBER,
        "WRITER": SEEN_BY_WRITER,
        "UNLINKED": {"workspace/acme"},
        "UNMAPPED": set(),
    }[caller]


def canaries_in(text: str) -> set[str]:
    """Return the owners of the canaries that a text holds."""
    owners = all_canaries()
    return {owners[found] for found in re.findall(r"cy[0-9a-f]{14}", text)}
