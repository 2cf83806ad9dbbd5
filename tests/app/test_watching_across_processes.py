"""Subscriptions across server processes: what one of them changes, those who watch at the other are told."""

import asyncio
import signal
from collections.abc import Iterator

import httpx
import pytest

from creditdesk.app.demo.issuer import DemoIssuer
from creditdesk.db import embedded
from creditdesk.db.bootstrap import SERVER
from support.databases import TEMPLATE, FreshDatabase, embedded_server, make_template
from support.issuers import ANA, AUDIENCE, CONSOLE
from support.processes import RunningProcess, running, served
from support.watchers import OWN_BUDGET, USAGE, Town, watcher


@pytest.fixture(scope="module")
def issuer() -> Iterator[DemoIssuer]:
    issuers: list[DemoIssuer] = []

    def app_at(url: str) -> object:
        issuers.append(DemoIssuer(url, AUDIENCE, persons=[ANA], clients=[CONSOLE]))
        return issuers[0].app()

    with served(app_at):
        yield issuers[0]


def settings_of(issuer: DemoIssuer, dsn: str) -> dict[str, str]:
    return {
        "CREDITDESK_OIDC_ISSUER": issuer.url,
        "CREDITDESK_OIDC_AUDIENCE": AUDIENCE,
        "DATABASE_URL": dsn,
    }


async def tell_across(town: Town, here: RunningProcess, there: RunningProcess) -> None:
    """Let three watch here what is recorded there, and assert that each is told what is theirs."""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=30) as http,
        watcher(here.url, town.token("ada", "member"), OWN_BUDGET) as ada,
        watcher(here.url, town.token("bob", "member"), OWN_BUDGET) as bob,
        watcher(here.url, town.token("olga", "owner"), USAGE) as owner,
        watcher(there.url, town.token("ada", "member"), USAGE) as ada_there,
    ):
        assert (await ada.until(1))[0] == {"used": "0"}
        await bob.until(1)
        await town.record(http, there.url, [town.event("ada", "1.5"), town.event("ada", "0.25")])
        assert (await ada.until(2))[1] == {"used": "1.75"}
        assert await owner.until(1) == await ada_there.until(1) == [{"credits": "1.75"}]
        assert bob.told == [{"used": "0"}]


def test_a_change_made_through_one_server_is_told_at_the_other(
    issuer: DemoIssuer, fresh_database: FreshDatabase
) -> None:
    town = Town(issuer)
    settings = settings_of(issuer, fresh_database.server_dsn)

    async def told(here: RunningProcess, there: RunningProcess) -> None:
        await town.build(fresh_database.server_dsn, ["olga", "ada", "bob"], ["red"])
        await tell_across(town, here, there)

    with running("serve", **settings) as here, running("serve", **settings) as there:
        asyncio.run(told(here, there))
        for server in (here, there):
            assert server.end() == 0
            assert "Traceback" not in server.logged()


def test_who_watches_stays_connected_while_the_database_restarts_and_is_told_what_comes_after(
    issuer: DemoIssuer,
) -> None:
    with embedded_server() as postgres:
        make_template(postgres)
        dsn = postgres.dsn(user=SERVER, database=TEMPLATE)
        settings = settings_of(issuer, dsn)
        town = Town(issuer)

        async def told(here: RunningProcess, there: RunningProcess) -> None:
            await town.build(dsn, ["olga", "ada"], ["red"])
            async with (
                httpx.AsyncClient(trust_env=False, timeout=30) as http,
                watcher(here.url, town.token("ada", "member"), OWN_BUDGET) as budget,
                watcher(here.url, town.token("ada", "member"), USAGE) as usage,
            ):
                await budget.until(1)
                await town.record(http, there.url, [town.event("ada", "1")])
                await usage.until(1)
                assert (await budget.until(2))[-1] == {"used": "1"}
                postgres.leave()
                restarted = await asyncio.to_thread(embedded.start, postgres.directory)
                try:
                    event = [town.event("ada", "2")]
                    for _ in range(100):
                        try:
                            await town.record(http, there.url, event)  # the same event: recorded once
                        except AssertionError:
                            await asyncio.sleep(0.1)
                        else:
                            break
                    assert (await budget.until(3))[-1] == {"used": "3"}
                    assert await usage.until(2) == [{"credits": "1"}, {"credits": "2"}]
                finally:
                    restarted.leave()

        with running("serve", **settings) as here, running("serve", **settings) as there:
            asyncio.run(told(here, there))
        embedded.start(postgres.directory)


def test_when_the_server_ends_connections_are_closed_so_that_clients_come_back(
    issuer: DemoIssuer, fresh_database: FreshDatabase
) -> None:
    town = Town(issuer)

    async def told(server: RunningProcess) -> int | None:
        await town.build(fresh_database.server_dsn, ["ada"], ["red"])
        secret = "/graphql?access_token=secret-of-ada"  # where no token belongs
        async with watcher(server.url, town.token("ada", "member"), OWN_BUDGET, path=secret) as ada:
            await ada.until(1)
            async with httpx.AsyncClient(trust_env=False) as http:
                page = (await http.get(f"{server.url}/metrics")).text
            assert 'creditdesk_open{what="connections"} 1.0' in page
            assert 'creditdesk_open{what="subscriptions"} 1.0' in page
            assert "creditdesk_slow_consumers_total 0.0" in page
            server.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(60):
                while ada.code is None:
                    ada.more.clear()
                    await ada.more.wait()
            return ada.code

    with running("serve", **settings_of(issuer, fresh_database.server_dsn)) as server:
        assert asyncio.run(told(server)) == 1012
        assert server.end() == 0
        assert "a connection has ended" in server.logged()
        assert "Traceback" not in server.logged()
        assert "secret-of-ada" not in server.logged()
