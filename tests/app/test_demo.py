"""`creditdesk demo`: one command, and there is a server with data, a token for each role, and nothing left behind."""

import html
import json
import re
import shlex
import signal
import socket
import stat
import subprocess
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from creditdesk.app.database import running_database
from creditdesk.app.demo.dataset import days_between, events_of_day, local_day, start_of_day, stream_of
from creditdesk.app.demo.people import acme
from creditdesk.app.settings import load_settings
from creditdesk.db.migrate import MONTHS_BEHIND
from support.demos import SMALL, Demo, demo
from support.processes import creditdesk, wait_until

END_OF_TIME = datetime(2100, 1, 1, tzinfo=UTC)
NAMES = {
    "OWNER", "ADMIN", "BILLING", "ANALYST", "GROUP_MANAGER", "MEMBER", "SERVICE", "OTHER_WORKSPACE_OWNER"
}  # fmt: skip
QUERY = """{ viewer {
  user { displayName usage(range: {preset: LAST_30_DAYS}) { requests } }
  workspace { slug usage(range: {preset: LAST_30_DAYS}) { requests } groups(first: 20) { totalCount } }
} }"""


def asked(ready: dict[str, Any], token: str) -> dict[str, Any]:
    answer = httpx.post(
        ready["graphql"],
        json={"query": QUERY},
        headers={"authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    viewer: dict[str, Any] = answer.json()["data"]["viewer"]
    return viewer


def recorded_before(directory: Path, end: datetime, slug: str = "%") -> int:
    """Return how many events happened before `end`; the demo's PostgreSQL is joined, or started."""
    settings = load_settings({"CREDITDESK_DATA_DIRECTORY": str(directory / "data")})
    today = datetime.now(UTC).date()
    with running_database(settings, today=today) as database, psycopg.connect(database.owner_dsn or "") as connection:
        rows = connection.execute(
            "SELECT count(*) FROM usage_event AS e JOIN workspace AS w ON w.id = e.workspace_id"
            " WHERE w.slug LIKE %s AND e.at < %s",
            (slug, end),
        ).fetchall()
    return int(rows[0][0])


def processes_of(directory: Path) -> list[str]:
    """Return the command lines that name the directory."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if str(directory) in command:
            found.append(command)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


CONTROLS = """{ viewer { workspace {
  limits(first: 100) { nodes { appliesTo kind enforcement cadence product value { __typename } } }
  users(first: 100) { nodes { budget { status } } }
  requests(first: 10) { nodes { state } }
  rates { meter }
  settings { managerCeiling }
} } }"""


def has_spend_controls(running: Demo, ready: dict[str, Any]) -> None:
    """Check that there are limits at every level, somebody near and somebody over the line, and requests."""
    headers = {"authorization": f"Bearer {ready['tokens']['OWNER']}"}
    response = httpx.post(ready["graphql"], json={"query": CONTROLS}, headers=headers, trust_env=False, timeout=30)
    found = response.json()["data"]["viewer"]["workspace"]
    limits = found["limits"]["nodes"]
    assert {limit["appliesTo"] for limit in limits} == {"USER", "GROUP", "WORKSPACE"}
    assert {limit["kind"] for limit in limits} == {"EACH_USER", "SHARED"}
    assert {limit["enforcement"] for limit in limits} == {"HARD", "SOFT"}
    assert {limit["value"]["__typename"] for limit in limits} == {"LimitedTo", "Unlimited"}
    assert {"MONTH", "WEEK"} == {limit["cadence"] for limit in limits}
    assert {"agents", None} == {limit["product"] for limit in limits}
    assert {"OK", "NEAR", "OVER"} <= {user["budget"]["status"] for user in found["users"]["nodes"]}
    assert sorted(request["state"] for request in found["requests"]["nodes"]) == [
        "APPROVED", "DENIED", "PENDING", "PENDING",
    ]  # fmt: skip
    assert len(found["rates"]) > 40
    assert found["settings"]["managerCeiling"] == "2000"
    pasted = [line for line in running.said().splitlines() if line.startswith("curl ") and "/v1/holds" in line]
    [first, again] = [subprocess.run(shlex.split(pasted[0]), capture_output=True, check=True).stdout for _ in range(2)]
    assert json.loads(first)["hold"]["state"] == "HELD"
    assert first == again


def signs_a_browser_in(running: Demo, ready: dict[str, Any]) -> None:
    """Sign in at the address that is printed, as a person would, ask the graph by the cookie, and sign out."""
    assert f"{ready['signIn']}?return_to=/auth/session" in running.said().splitlines()
    with httpx.Client(trust_env=False, timeout=30) as browser:
        page = browser.get(ready["signIn"], params={"return_to": "/auth/session"}, follow_redirects=True)
        [choice] = re.findall(r'<a href="([^"]+)">[^<]*\(MEMBER\)', page.text)
        described = browser.get(html.unescape(choice), follow_redirects=True)
        assert str(described.url) == ready["graphql"].replace("/graphql", "/auth/session")
        assert (described.json()["signedIn"], described.json()["roles"]) == (True, ["MEMBER"])
        headers = {described.json()["csrf"]["header"]: described.json()["csrf"]["value"]}
        answer = browser.post(ready["graphql"], json={"query": QUERY}, headers=headers)
        assert answer.json()["data"]["viewer"] == asked(ready, ready["tokens"]["MEMBER"])
        out = browser.post(ready["graphql"].replace("/graphql", "/auth/logout"), headers=headers).json()["location"]
        assert out.startswith(f"{ready['issuer']}/end-session?")
        assert browser.get(out).headers["location"].startswith(ready["graphql"].replace("/graphql", "/"))
        assert browser.post(ready["graphql"], json={"query": QUERY}, headers=headers).status_code == 401


def test_everything_is_there_for_every_role_and_ctrl_c_leaves_nothing(open_directory: Path) -> None:
    port = free_port()
    with demo(open_directory, "--port", str(port), *SMALL) as running:
        ready = running.ready()
        assert ready["graphql"] == f"http://127.0.0.1:{port}/graphql"
        assert set(ready["tokens"]) == NAMES
        assert stat.S_IMODE(running.ready_file.stat().st_mode) == 0o600
        seen = {name: asked(ready, token) for name, token in ready["tokens"].items()}
        everything = seen["OWNER"]["workspace"]
        assert int(everything["usage"]["requests"]) > 250
        assert everything["groups"]["totalCount"] == 14
        for name in ("ADMIN", "BILLING", "ANALYST", "SERVICE"):
            assert seen[name]["workspace"] == everything
        assert seen["SERVICE"]["user"] is None
        assert seen["GROUP_MANAGER"]["workspace"]["groups"]["totalCount"] == 2
        assert seen["MEMBER"]["workspace"]["usage"] is None
        assert int(seen["MEMBER"]["user"]["usage"]["requests"]) > 5
        assert seen["MEMBER"]["user"]["displayName"] == acme(20).users[5].new.display_name
        assert seen["OTHER_WORKSPACE_OWNER"]["workspace"]["slug"] == "himal"
        pasted = next(line for line in running.said().splitlines() if line.startswith("curl "))
        answer = subprocess.run(shlex.split(pasted), capture_output=True, check=True, timeout=30).stdout
        assert b'"breakdown"' in answer
        assert b'"errors"' not in answer
        has_spend_controls(running, ready)
        signs_a_browser_in(running, ready)
        assert running.end(signal.SIGINT) == 0
        assert not running.ready_file.exists()
    assert processes_of(open_directory) == []
    before = {slug: recorded_before(open_directory, END_OF_TIME, slug) for slug in ("acme", "himal")}
    # The second start keeps the data, and a token of the first one is still good.
    with demo(open_directory, "--port", str(port), *SMALL) as running:
        again = running.ready()
        assert again["issuer"] == ready["issuer"]
        assert asked(again, ready["tokens"]["OWNER"])["user"] == seen["OWNER"]["user"]
        assert running.end(signal.SIGTERM) == 0
    assert processes_of(open_directory) == []
    for slug, count in before.items():
        assert 0 < count <= recorded_before(open_directory, END_OF_TIME, slug) < count + 20


def test_killed_while_loading_it_goes_on_at_the_next_start(open_directory: Path) -> None:
    larger = ("--users", "40", "--days", "60", "--events-per-day", "900")
    with demo(open_directory, "--port", "0", *larger) as running:
        wait_until((open_directory / "data" / "demo").exists, "loading begins")
        wait_until(lambda: recorded_before(open_directory, END_OF_TIME) >= 2_000, "some are recorded")
        running.process.kill()
        running.process.wait()
    at_first = recorded_before(open_directory, END_OF_TIME)
    with demo(open_directory, "--port", "0", *larger) as running:
        running.ready()
        data = str(open_directory / "data")
        reconciled = creditdesk("reconcile", "acme", "himal", CREDITDESK_DATA_DIRECTORY=data)
        assert (reconciled.returncode, reconciled.stderr) == (0, "")
        today = local_day(datetime.now(UTC), "Europe/Berlin")
        first_day, midnight = today - timedelta(days=59), start_of_day(today, "Europe/Berlin")
        stream = stream_of(acme(40), first_day=first_day, events_per_day=900)
        made = [events_of_day(stream, day, now=midnight) for day in days_between(first_day, today)]
        assert recorded_before(open_directory, midnight, "acme") == sum(map(len, made))
        assert at_first < sum(map(len, made))
    assert processes_of(open_directory) == []


RECORD = """mutation ($events: [UsageEventInput!]!) {
  recordUsage(input: {events: $events}) { ... on RecordUsageSuccess { accepted duplicates rejected { code } } }
}"""


def streamed(ready: dict[str, Any], batches: list[list[dict[str, Any]]], outcomes: list[dict[str, Any]]) -> None:
    """Send batches until the server no longer answers, and note what became of each."""
    headers = {"authorization": f"Bearer {ready['tokens']['SERVICE']}"}
    with httpx.Client(headers=headers, trust_env=False, timeout=30) as client, suppress(httpx.TransportError):
        for batch in batches:
            answer = client.post(ready["graphql"], json={"query": RECORD, "variables": {"events": batch}})
            outcomes.append(answer.json()["data"]["recordUsage"])


def test_a_server_killed_while_usage_streams_in_leaves_each_event_once(open_directory: Path) -> None:
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    user = {"externalId": acme(20).users[0].new.external_id}
    batches = [
        [
            {
                "source": "stream",
                "id": f"{batch}-{nth}",
                "at": at,
                "user": user,
                "product": "p",
                "model": "m",
                "credits": "1",
            }
            for nth in range(250)
        ]
        for batch in range(80)
    ]
    before: list[dict[str, Any]] = []
    with demo(open_directory, *SMALL, "--port", "0") as running:
        stream = threading.Thread(target=streamed, args=(running.ready(), batches, before))
        stream.start()
        wait_until(lambda: len(before) >= 5, "five batches recorded")
        assert running.end(signal.SIGKILL) == -signal.SIGKILL
        stream.join()
        running.ready_file.unlink()
    assert 5 <= len(before) < len(batches)
    after: list[dict[str, Any]] = []
    with demo(open_directory, *SMALL, "--port", "0") as running:
        streamed(running.ready(), batches, after)
        reconciled = creditdesk("reconcile", "acme", CREDITDESK_DATA_DIRECTORY=str(open_directory / "data"))
    assert [one["accepted"] + one["duplicates"] for one in after] == [250] * len(batches)
    # A batch that was answered is there; the one under way when the server died is there whole, or not at all.
    assert [one["duplicates"] for one in after[: len(before)]] == [250] * len(before)
    assert {one["duplicates"] for one in after} == {0, 250}
    assert sum(one["duplicates"] for one in after) <= 250 * (len(before) + 1)
    assert "everything adds up" in reconciled.stdout


def test_a_port_in_use_is_one_clear_sentence(open_directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        ended = creditdesk("demo", "--port", port, CREDITDESK_DATA_DIRECTORY=str(open_directory / "data"))
    assert ended.returncode == 1
    assert ended.stderr == (
        f"creditdesk: Cannot listen on 127.0.0.1:{port} (Address already in use): name another port with --port.\n"
    )
    assert not (open_directory / "data").exists()


@pytest.mark.parametrize("arguments", [("--users", "3"), ("--days", "0"), ("--port", "70000"), ("--port", "x")])
def test_numbers_out_of_bounds_are_refused(arguments: tuple[str, str]) -> None:
    ended = creditdesk("demo", *arguments)
    assert ended.returncode == 2
    assert "takes a whole number from" in ended.stderr


def test_the_months_of_the_longest_demo_have_partitions() -> None:
    assert MONTHS_BEHIND * 30 >= 390
