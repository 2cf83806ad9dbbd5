"""A minute of a thousand idle and a hundred busy subscriptions on one server: `make soak`."""

import asyncio
import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import httpx
import pytest

from creditdesk.app.demo.issuer import DemoIssuer
from creditdesk.credits.amounts import format_credits, parse_credits
from creditdesk.graphql import websocket
from support.databases import FreshDatabase
from support.issuers import ANA, AUDIENCE, CONSOLE
from support.processes import COUNTING_COMMAND, RunningProcess, running, served
from support.watchers import OWN_BUDGET, USAGE, Town, Watcher, watcher

SECONDS, WARM_UP_SECONDS = 60, 20
IDLE, BUSY = 1000, 100
GROUPS = ["red", "blue", "green", "gold"]
FILES = 8192
MOST_GROWTH = 1.05
"""How much of the memory that it had when it was warm the server may have at the end, whatever its allocator keeps."""


@pytest.fixture
def issuer() -> Iterator[DemoIssuer]:
    issuers: list[DemoIssuer] = []

    def app_at(url: str) -> object:
        issuers.append(DemoIssuer(url, AUDIENCE, persons=[ANA], clients=[CONSOLE]))
        return issuers[0].app()

    with served(app_at):
        yield issuers[0]


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process and its children open as many connections as are needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, FILES), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory_of(server: RunningProcess) -> int:
    """Return the server's resident memory, in KiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


class Crowd:
    """Everybody who watches, by what they are told."""

    def __init__(self, town: Town, url: str, stack: AsyncExitStack) -> None:
        self.town = town
        self.url = url
        self.stack = stack
        self.idle: list[Watcher] = []
        self.budgets: dict[str, Watcher] = {}
        self.own: dict[str, Watcher] = {}
        self.owners: list[Watcher] = []
        self.managers: dict[str, Watcher] = {}
        self.slow: Watcher | None = None

    async def come(self, busy: list[str], idle: list[str]) -> None:
        """Let 60 watch their own budgets and 20 their own usage, 12 owners everybody's, 8 managers their groups'."""
        for name in idle:
            self.idle.append(await self._one(self.town.token(name, "member"), OWN_BUDGET))
        for name in busy[:60]:
            self.budgets[name] = await self._one(self.town.token(name, "member"), OWN_BUDGET)
        for name in busy[60:80]:
            self.own[name] = await self._one(self.town.token(name, "member"), USAGE)
        for _ in range(12):
            self.owners.append(await self._one(self.town.token("olga", "owner"), USAGE))
        for nth in range(8):
            group = GROUPS[nth % len(GROUPS)]
            token = self.town.token(f"manager{nth}", "group_manager", managed_groups=[group])
            self.managers[f"{nth} {group}"] = await self._one(token, USAGE)
        self.slow = await self._one(self.town.token(busy[0], "member"), OWN_BUDGET)

    async def _one(self, token: str, query: str) -> Watcher:
        return await self.stack.enter_async_context(watcher(self.url, token, query))


class Load:
    """Reports uses of the busy ones, and keeps what each used."""

    def __init__(self, crowd: Crowd, busy: list[str]) -> None:
        self.crowd = crowd
        self.busy = busy
        self.random = Random(7)  # noqa: S311 - dice, not a secret
        self.used = Counter[str]()
        self.events = 0

    async def report(self, seconds: float) -> None:
        """Report uses for so long."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            while loop.time() < end:
                batch = [(self.random.choice(self.busy), self.random.randrange(1, 9_000_000)) for _ in range(20)]
                events = [self.crowd.town.event(name, format_credits(amount)) for name, amount in batch]
                await self.crowd.town.record(http, self.crowd.url, events)
                self.events += len(batch)
                for name, amount in batch:
                    self.used[name] += amount
                await asyncio.sleep(0.05)

    @property
    def sums(self) -> list[tuple[str, Watcher, int]]:
        """Who is told of uses, with what that is for them altogether."""
        by_group = Counter[str]()
        for name, amount in self.used.items():
            by_group[self.crowd.town.group_of[name]] += amount
        own = [(name, one, self.used[name]) for name, one in self.crowd.own.items()]
        owners = [("olga", one, self.used.total()) for one in self.crowd.owners]
        return own + owners + [(name, one, by_group[name.split()[1]]) for name, one in self.crowd.managers.items()]

    async def told(self) -> None:
        """Wait until everybody was told of all that is theirs."""
        budgets = [(name, one, self.used[name]) for name, one in self.crowd.budgets.items()]
        await settled(budgets, summed=False)
        await settled(self.sums, summed=True)
        await asyncio.sleep(1)


def total(watching: Watcher) -> int:
    return sum(parse_credits(tick["credits"]) for tick in watching.told)


async def settled(holds: list[tuple[str, Watcher, int]], summed: bool) -> None:  # noqa: FBT001 - of a test's own
    """Wait until each was told of all that is theirs."""
    async with asyncio.timeout(60):
        for name, watching, expected in holds:
            while (total(watching) if summed else parse_credits(watching.told[-1]["used"])) < expected:
                assert watching.code is None, (name, watching.code)
                watching.more.clear()
                await watching.more.wait()


async def soak(town: Town, server: RunningProcess, dsn: str) -> None:
    busy = [f"busy{nth}" for nth in range(BUSY)]
    idle = [f"idle{nth}" for nth in range(IDLE)]
    managers = [f"manager{nth}" for nth in range(8)]
    await town.build(dsn, ["olga", *managers, *busy, *idle], GROUPS)
    async with AsyncExitStack() as stack:
        crowd = Crowd(town, server.url, stack)
        await crowd.come(busy, idle)
        for one in [*crowd.idle, *crowd.budgets.values()]:
            await one.until(1)
        assert crowd.slow is not None
        await crowd.slow.until(1)
        crowd.slow.connection.transport.pause_reading()
        load = Load(crowd, busy)
        await load.report(WARM_UP_SECONDS)
        await load.told()
        memory, blocks, before = memory_of(server), server.blocks_in_use(), load.events
        await load.report(SECONDS - WARM_UP_SECONDS)
        await load.told()
        grown, sent = server.blocks_in_use() - blocks, load.events - before
        # Each event reaches exactly those who may see it, once: sums that are too large are found as well.
        assert [name for name, one, expected in load.sums if total(one) != expected] == []
        wrong = [name for name, one in crowd.budgets.items() if parse_credits(one.told[-1]["used"]) != load.used[name]]
        assert wrong == []
        # Those whom nothing concerns are told nothing.
        assert {len(one.told) for one in crowd.idle} == {1}
        everybody = [*crowd.idle, *crowd.budgets.values(), *crowd.own.values(), *crowd.owners, *crowd.managers.values()]
        assert [(one.code, one.errors) for one in everybody if one.code is not None or one.errors] == []
        # Who stopped reading was dropped, with the code, which is read when reading goes on.
        crowd.slow.connection.transport.resume_reading()
        async with asyncio.timeout(2 * websocket.PING_SECONDS + 30):
            while crowd.slow.code is None:
                crowd.slow.more.clear()
                await crowd.slow.more.wait()
        assert crowd.slow.code in {4508, 1006}
        # Nothing stays of an event: an object of each would be as many blocks.
        assert grown < sent / 2, (grown, sent)
        assert memory_of(server) < MOST_GROWTH * memory
    assert "Traceback" not in server.logged()


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("many_files")
def test_a_minute_of_a_thousand_idle_and_a_hundred_busy_subscriptions(
    issuer: DemoIssuer, fresh_database: FreshDatabase
) -> None:
    settings = {
        "CREDITDESK_OIDC_ISSUER": issuer.url,
        "CREDITDESK_OIDC_AUDIENCE": AUDIENCE,
        "DATABASE_URL": fresh_database.server_dsn,
    }
    with running("serve", command=COUNTING_COMMAND, **settings) as server:
        asyncio.run(soak(Town(issuer), server, fresh_database.server_dsn))
