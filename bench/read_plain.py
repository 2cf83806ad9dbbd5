"""The plain peer: Strawberry with a DataLoader for each relation and SQLModel, as their documentation teaches.

On the same tables, without tokens, limits on documents or row-level security. The caller is named by a header.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import strawberry
from sqlalchemy import ColumnElement, func, union_all
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlmodel import col
from sqlmodel import select as typed_select
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, ValidationCache

from creditdesk.db import spend_tables as spend
from creditdesk.db import tables

select: Any = typed_select
"""Its types know up to four columns."""
_session: async_sessionmaker[AsyncSession]
_workspace: UUID


async def _rows(statement: Any) -> Sequence[Any]:
    async with _session() as session:
        return (await session.execute(statement)).all()


@strawberry.type
class Budget:
    """A budget."""

    limit: str
    used: str
    held: str


@strawberry.type
class Usage:
    """What was used of a model."""

    product: str
    model: str
    credits: str
    requests: str


@strawberry.type
class User:
    """A user."""

    id: strawberry.ID
    name: str

    @strawberry.field
    async def budget(self, info: strawberry.Info) -> Budget | None:
        """Load the budget."""
        found: Budget | None = await info.context["user_budgets"].load(UUID(self.id))
        return found

    @strawberry.field
    async def usage(self, info: strawberry.Info, first_day: date, last_day: date) -> list[Usage]:
        """Load the usage."""
        found: list[Usage] = await info.context["usage"].load((UUID(self.id), first_day, last_day))
        return found


@strawberry.type
class Group:
    """A group."""

    id: strawberry.ID
    name: str

    @strawberry.field
    async def budget(self, info: strawberry.Info) -> Budget | None:
        """Load the budget."""
        found: Budget | None = await info.context["group_budgets"].load(UUID(self.id))
        return found

    @strawberry.field
    async def members(self, info: strawberry.Info, first: int = 50) -> list[User]:
        """Load the members."""
        found: list[User] = await info.context["members"].load((UUID(self.id), first))
        return found


@strawberry.type
class Trend:
    """A product's day."""

    day: date
    product: str
    credits: str


@strawberry.type
class Top:
    """A user, and what they used."""

    user: User
    credits: str


@strawberry.type
class People:
    """A page of users."""

    total: int
    people: list[User]


@strawberry.type
class Query:
    """What can be asked."""

    @strawberry.field
    async def groups(self, first: int = 50) -> list[Group]:
        """Load groups."""
        table = tables.UserGroup
        statement = select(table.id, table.name).where(table.workspace_id == _workspace)
        found = await _rows(statement.order_by(col(table.sort_name), col(table.id)).limit(first))
        return [Group(id=strawberry.ID(str(id_)), name=name) for id_, name in found]

    @strawberry.field
    async def me(self, info: strawberry.Info) -> User | None:
        """Load the caller."""
        found: User | None = await info.context["users"].load(UUID(info.context["caller"]))
        return found

    @strawberry.field
    async def trend(self, first_day: date, last_day: date) -> list[Trend]:
        """Load each product's days."""
        table = tables.RollupWorkspaceDay
        statement = (
            select(table.day, table.product, func.sum(col(table.credits)))
            .where(table.workspace_id == _workspace, col(table.day).between(first_day, last_day))
            .group_by(col(table.day), col(table.product))
            .order_by(col(table.day), col(table.product))
        )
        return [Trend(day=day, product=product, credits=str(amount)) for day, product, amount in await _rows(statement)]

    @strawberry.field
    async def top(self, info: strawberry.Info, first_day: date, last_day: date, first: int = 20) -> list[Top]:
        """Load those who used most."""
        days, months = tables.RollupUserDay, tables.RollupUserMonth
        month = (first_day.replace(day=1) + timedelta(days=32)).replace(day=1) if first_day.day > 1 else first_day
        beyond = (last_day.replace(day=1) + timedelta(days=32)).replace(day=1)
        used = union_all(
            select(months.user_id, months.credits).where(
                months.workspace_id == _workspace, months.month >= month, months.month < beyond
            ),
            select(days.user_id, days.credits).where(
                days.workspace_id == _workspace, days.day >= first_day, days.day < month
            ),
            select(days.user_id, -col(days.credits)).where(
                days.workspace_id == _workspace, days.day > last_day, days.day < beyond
            ),
        ).subquery()
        amount: ColumnElement[Any] = func.sum(used.c.credits)
        statement = (
            select(used.c.user_id, amount).group_by(used.c.user_id).order_by(amount.desc(), used.c.user_id).limit(first)
        )
        found = await _rows(statement)
        users = await info.context["users"].load_many([id_ for id_, _ in found])
        return [Top(user=user, credits=str(credits_)) for user, (_, credits_) in zip(users, found, strict=True)]

    @strawberry.field
    async def people(self, month: date, skip: int) -> People:
        """Load a page of people by what they used in a month."""
        user, table = tables.AppUser, tables.RollupUserMonth
        used = (
            select(table.user_id, func.sum(col(table.credits)).label("credits"))
            .where(table.workspace_id == _workspace, table.month == month)
            .group_by(col(table.user_id))
            .subquery()
        )
        statement = (
            select(user.id, user.display_name)
            .outerjoin(used, used.c.user_id == user.id)
            .where(user.workspace_id == _workspace)
            .order_by(func.coalesce(used.c.credits, 0).desc(), col(user.sort_name), col(user.id))
        )
        found = await _rows(statement.offset(skip).limit(50))
        [(total,)] = await _rows(select(func.count()).where(user.workspace_id == _workspace))
        return People(total=total, people=[User(id=strawberry.ID(str(id_)), name=name) for id_, name in found])


async def _users(ids: list[UUID]) -> list[User | None]:
    table = tables.AppUser
    statement = select(table.id, table.display_name).where(table.workspace_id == _workspace, col(table.id).in_(ids))
    found = {id_: User(id=strawberry.ID(str(id_)), name=name) for id_, name in await _rows(statement)}
    return [found.get(id_) for id_ in ids]


async def _members(keys: list[tuple[UUID, int]]) -> list[list[User]]:
    user, member = tables.AppUser, tables.GroupMember
    statement = (
        select(member.group_id, user.id, user.display_name)
        .join(user, (col(user.workspace_id) == member.workspace_id) & (col(user.id) == member.user_id))
        .where(member.workspace_id == _workspace, col(member.group_id).in_([group for group, _ in keys]))
        .order_by(col(user.sort_name), col(user.id))
    )
    found: dict[UUID, list[User]] = {}
    for group, id_, name in await _rows(statement):
        found.setdefault(group, []).append(User(id=strawberry.ID(str(id_)), name=name))
    return [found.get(group, [])[:first] for group, first in keys]


async def _usage(keys: list[tuple[UUID, date, date]]) -> list[list[Usage]]:
    table, (_, first_day, last_day) = tables.RollupUserDetailDay, keys[0]
    amount: ColumnElement[Any] = func.sum(col(table.credits))
    statement = (
        select(table.user_id, table.product, table.model, amount, func.sum(col(table.requests)))
        .where(
            table.workspace_id == _workspace,
            col(table.user_id).in_([user for user, *_ in keys]),
            col(table.day).between(first_day, last_day),
        )
        .group_by(col(table.user_id), col(table.product), col(table.model))
        .order_by(amount.desc(), col(table.product), col(table.model))
    )
    found: dict[UUID, list[Usage]] = {}
    for user, product, model, credits_, requests in await _rows(statement):
        row = Usage(product=product, model=model, credits=str(credits_), requests=str(requests))
        found.setdefault(user, []).append(row)
    return [found.get(user, []) for user, *_ in keys]


async def _balances(scope: str, ids: list[UUID]) -> dict[UUID, tuple[int, int]]:
    kind, balance = spend.BalanceKind, spend.Balance
    statement = (
        select(balance.scope_id, balance.used, func.held_now(col(balance.held), int(datetime.now(UTC).timestamp())))
        .join(kind, (col(kind.workspace_id) == balance.workspace_id) & (col(kind.id) == balance.kind_id))
        .where(
            balance.workspace_id == _workspace,
            col(balance.scope_id).in_(ids),
            balance.first_day == datetime.now(UTC).date().replace(day=1),
            kind.scope == scope,
            kind.cadence == "MONTH",
            kind.product == "",
        )
    )
    return {id_: (used, held) for id_, used, held in await _rows(statement)}


async def _limits(kind: str, scope: str, ids: list[UUID]) -> dict[UUID, int]:
    table = spend.CreditLimit
    statement = select(table.scope_id, table.amount).where(
        table.workspace_id == _workspace, table.kind == kind, table.scope == scope, col(table.scope_id).in_(ids)
    )
    return {id_: amount for id_, amount in await _rows(statement) if amount is not None}


async def _user_budgets(ids: list[UUID]) -> list[Budget | None]:
    member = tables.GroupMember
    memberships = await _rows(
        select(member.user_id, member.group_id).where(member.workspace_id == _workspace, col(member.user_id).in_(ids))
    )
    own = await _limits("EACH_USER", "USER", ids)
    groups = await _limits("EACH_USER", "GROUP", list({group for _, group in memberships}))
    everybody = (await _limits("EACH_USER", "WORKSPACE", [_workspace]))[_workspace]
    of_groups: dict[UUID, int] = {}
    for user, group in memberships:
        if group in groups:
            of_groups[user] = max(of_groups.get(user, 0), groups[group])
    balances = await _balances("USER", ids)
    return [_budget(own.get(id_, of_groups.get(id_, everybody)), balances.get(id_)) for id_ in ids]


async def _group_budgets(ids: list[UUID]) -> list[Budget | None]:
    limits, balances = await _limits("SHARED", "GROUP", ids), await _balances("GROUP", ids)
    return [_budget(limits[id_], balances.get(id_)) if id_ in limits else None for id_ in ids]


def _budget(limit: int, balance: tuple[int, int] | None) -> Budget:
    used, held = balance or (0, 0)
    return Budget(limit=str(limit), used=str(used), held=str(held))


_LOADERS: dict[str, Callable[[list[Any]], Awaitable[Sequence[Any]]]] = {
    "users": _users,
    "members": _members,
    "usage": _usage,
    "user_budgets": _user_budgets,
    "group_budgets": _group_budgets,
}


class _View(GraphQL[dict[str, Any], None]):
    async def get_context(self, request: Any, response: Any) -> dict[str, Any]:  # noqa: ARG002 - Strawberry's signature
        loaders = {name: DataLoader(load_fn=load) for name, load in _LOADERS.items()}
        return {"caller": request.headers.get("x-user-id"), **loaders}


def app() -> GraphQL[dict[str, Any], None]:
    """Return the server of the database and the workspace that the environment names."""
    global _session, _workspace  # noqa: PLW0603 - the peer is a script, as its documentation has it
    engine = create_async_engine(os.environ["SQLALCHEMY_URL"], pool_size=10)
    _session = async_sessionmaker(engine, expire_on_commit=False)
    _workspace = UUID(os.environ["WORKSPACE_ID"])
    schema = strawberry.Schema(Query, extensions=[ParserCache, ValidationCache])
    return _View(schema, graphql_ide=None)
