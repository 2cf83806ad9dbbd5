"""What a directory that is handed in would change: planned item by item, before anything is written."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

from creditdesk.credits.directory import Identity, UserKind
from creditdesk.credits.directory_changes import (
    GroupChange,
    KnownGroup,
    KnownUser,
    NamedGroup,
    NamedUser,
    UserChange,
    check_group,
    check_user,
)
from creditdesk.credits.errors import CreditError, ErrorCode, InvalidInputError


@dataclass(frozen=True, slots=True)
class DirectoryUser:
    """A user as a directory names them; `active` None leaves that as it is, and makes a new user active."""

    named: NamedUser
    active: bool | None = None


@dataclass(frozen=True, slots=True)
class ItemError:
    """Why one group or user of a directory was left as it is: `path` leads to it, such as `users`, `3`, `email`."""

    path: tuple[str, ...]
    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is there of the groups, users and identities that a directory names."""

    groups: Mapping[str, KnownGroup]
    by_external_id: Mapping[str, KnownUser]
    by_email: Mapping[str, KnownUser]
    identities: Mapping[tuple[str, str], UUID]


@dataclass(slots=True)
class Plan:
    """What is to be written, and which items cannot be."""

    groups: list[GroupChange] = field(default_factory=list)
    users: list[UserChange] = field(default_factory=list)
    identities: list[Identity] = field(default_factory=list)
    unchanged: set[UUID] = field(default_factory=set)
    missing: list[UserChange] = field(default_factory=list)
    errors: list[ItemError] = field(default_factory=list)


class _TakenError(CreditError):
    """Another user or group here, or in the same directory, goes by that name."""

    code = ErrorCode.TAKEN

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class _NoGroupError(CreditError):
    """A group that is neither there nor in the directory."""

    code = ErrorCode.UNKNOWN_GROUP


def planned(groups: Sequence[NamedGroup], users: Sequence[DirectoryUser], known: Known) -> Plan:
    """Return what makes the groups and users as they are named; items that cannot be keep no others out."""
    plan = Plan()
    slugs = _plan_groups(plan, groups, known)
    seen: set[tuple[str, object]] = set()
    for index, user in enumerate(users):
        try:
            change = _user_change(user, known, slugs)
            _claim(seen, user.named, change)
        except CreditError as error:
            plan.errors.append(ItemError(("users", str(index), *_where(error)), error.code, error.message))
            continue
        new = [one for one in user.named.identities if one not in known.identities]
        plan.identities += [Identity(issuer, subject, change.id) for issuer, subject in new]
        if change.before is not None and change.before.named == change.after:
            plan.unchanged.add(change.id)
        else:
            plan.users.append(change)
    return plan


def _where(error: CreditError) -> tuple[str, ...]:
    match error:
        case _TakenError():
            return (error.field,)
        case _NoGroupError():
            return ("groups",)
        case _:
            return ()


def missing(users: Sequence[KnownUser], named: Collection[UUID], *, keeping: UUID | None) -> Iterator[UserChange]:
    """Yield the deactivation of every active person who is not named, but for the one who asks for it."""
    for user in users:
        is_kept = user.id in named or user.id == keeping or user.named.kind is not UserKind.PERSON
        if user.named.active and not is_kept:
            yield UserChange(user.id, user, replace(user.named, active=False))


def _plan_groups(plan: Plan, groups: Sequence[NamedGroup], known: Known) -> set[str]:
    """Plan the groups, and return the slugs of all that users may be in then."""
    seen: set[str] = set()
    for index, group in enumerate(groups):
        try:
            check_group(group)
            if group.slug in seen:
                raise InvalidInputError("Two share one slug.")
        except CreditError as error:
            plan.errors.append(ItemError(("groups", str(index)), error.code, error.message))
            continue
        seen.add(group.slug)
        before = known.groups.get(group.slug)
        if before is None or before.name != group.name:
            plan.groups.append(GroupChange(before.id if before else uuid4(), before, group))
    return seen | set(known.groups)


def _user_change(user: DirectoryUser, known: Known, slugs: Collection[str]) -> UserChange:
    named = user.named
    check_user(named)
    email = named.email.lower() if named.email else None
    groups = {*named.groups, *([named.home_group] if named.home_group else [])}
    if unknown := groups - set(slugs):
        raise _NoGroupError(f"There is no group {min(unknown)}.")
    before = _known_user(known, email, named.external_id)
    id_ = before.id if before else uuid4()
    for identity in named.identities:
        if known.identities.get(identity, id_) != id_:
            raise _TakenError("identities", f"{identity[1]} signs in as somebody else here.")
    active = user.active if user.active is not None else before.named.active if before else True
    after = replace(named, email=email, groups=tuple(sorted(groups)), active=active, identities=())
    return UserChange(id_, before, after)


def _known_user(known: Known, email: str | None, external_id: str | None) -> KnownUser | None:
    """Return whom the external id names, else whom the address does, unless that one has another external id."""
    by_id = known.by_external_id.get(external_id) if external_id else None
    by_email = known.by_email.get(email) if email else None
    if by_email is None or by_email is by_id:
        return by_id
    if by_id is not None or (external_id and by_email.named.external_id):
        raise _TakenError("email", f"{email} is the address of somebody else here.")
    return by_email


def _claim(seen: set[tuple[str, object]], user: NamedUser, change: UserChange) -> None:
    """Keep the names that a user goes by to them: a directory names each once."""
    names: dict[tuple[str, object], tuple[str, str]] = {
        ("externalId", user.external_id): ("externalId", "Two share one external id."),
        ("email", change.after.email): ("email", "Two share one e-mail address."),
        ("id", change.id): (
            "email",
            "Two are one user here: by the external id of one, by the e-mail of the other.",
        ),
    } | {("identity", one): ("identities", "Two share one identity.") for one in user.identities}
    for name, (field_, message) in names.items():
        if name[1] is not None and name in seen:
            raise _TakenError(field_, message)
    seen.update(names)
