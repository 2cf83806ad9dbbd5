"""The servers that are compared: creditdesk, the floor, and the peers, each started as it is meant to be run."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from read_dataset import Company
from read_pages import FLOOR, OURS, OURS_ANEW
from read_processes import Served, served
from read_workloads import Asked, Scene, of_creditdesk, of_floor, of_plain, of_postgraphile

from creditdesk.app.database import NAME
from creditdesk.db import embedded
from creditdesk.db.bootstrap import SERVER

AUDIENCE = "bench"
HERE = Path(__file__).parent
GENEROUS: Mapping[str, str] = {
    "CREDITDESK_MAX_COST": "1000000",
    "CREDITDESK_COST_CAPACITY": "2147483647",
    "CREDITDESK_COST_PER_SECOND": "2147483647",
}
"""One caller asks all there is to ask, as fast as it is answered: costs are told and taken, from a share that lasts."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server, and how it is asked."""

    name: str
    server: Served
    ask: Callable[[str, Scene], Asked]


@dataclass(frozen=True, slots=True)
class Setting:
    """What all candidates are started with."""

    server: embedded.EmbeddedServer
    issuer: str
    company: Company
    processes: int = 1

    @property
    def superuser(self) -> str:
        """Return the URL of whoever may do anything: the floor and the peers have no roles of their own."""
        return self.server.dsn(user=embedded.SUPERUSER, database=NAME)


@contextmanager
def node_modules() -> Iterator[Path | None]:
    """Install the Node peer's packages, as its lock names them; None where there is no npm."""
    if shutil.which("npm") is None:
        sys.stderr.write("PostGraphile is left out: there is no npm here.\n")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="cd-peer-") as place:
        folder = Path(place)
        for name in ("package.json", "package-lock.json", ".npmrc", "server.mjs"):
            shutil.copy(HERE / "postgraphile" / name, folder)
        subprocess.run(["npm", "ci", "--no-progress", "--silent"], cwd=folder, check=True)  # noqa: S607 - as the reader's path has it
        yield folder


def _python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def _uvicorn(factory: str, processes: int) -> list[str]:
    """Return the command of uvicorn, set up as creditdesk sets it up."""
    options = ["--factory", "--port", "0", "--no-access-log", "--loop", "uvloop", "--http", "httptools"]
    workers = ["--workers", str(processes)] if processes > 1 else []
    return _python("-m", "uvicorn", factory, "--app-dir", str(HERE), *options, *workers)


def creditdesk(stack: ExitStack, setting: Setting, *, keeps: bool = True) -> Candidate:
    """Start creditdesk with every protection on; it may keep nothing of what people used."""
    own = {
        "DATABASE_URL": setting.server.dsn(user=SERVER, database=NAME),
        "CREDITDESK_OIDC_ISSUER": setting.issuer,
        "CREDITDESK_OIDC_AUDIENCE": AUDIENCE,
        "CREDITDESK_PORT": "0",
        "CREDITDESK_WORKERS": str(setting.processes),
        **GENEROUS,
        **({} if keeps else {"CREDITDESK_KEPT_USAGE_MB": "0"}),
    }
    serve = _python("-c", "import sys; from creditdesk.app.cli import main; sys.exit(main())", "serve")
    name = OURS if keeps else OURS_ANEW
    return Candidate(name, stack.enter_context(served(serve, own, ready="/readyz")), of_creditdesk)


def candidates(stack: ExitStack, setting: Setting, folder: Path | None, *, peers: bool = True) -> list[Candidate]:
    """Start everybody, or the floor and a creditdesk that reads everything each time alone."""
    superuser = setting.superuser
    sqlalchemy = superuser.replace("postgresql://", "postgresql+psycopg://", 1)
    plain = {"SQLALCHEMY_URL": sqlalchemy, "WORKSPACE_ID": str(setting.company.id)}
    floor = served(_uvicorn("read_floor:app", setting.processes), {"DATABASE_URL": superuser})
    peer = served(_uvicorn("read_plain:app", setting.processes), plain)
    raw = Candidate(FLOOR, stack.enter_context(floor), of_floor)
    if not peers:
        return [creditdesk(stack, setting, keeps=False), raw]
    found = [creditdesk(stack, setting)]
    if setting.processes == 1:  # with more, all of them together had more connections than PostgreSQL takes
        found.append(creditdesk(stack, setting, keeps=False))
    found += [raw, Candidate("plain Strawberry", stack.enter_context(peer), of_plain)]
    if folder is None:
        return found
    node = [str(folder / "node_modules" / ".bin" / "node"), "server.mjs"]
    for name, settings in (("PostGraphile", "on"), ("PostGraphile, no pgSettings", "off")):
        environment = {
            "DATABASE_URL": superuser,
            "CALLER_SETTINGS": settings,
            "PROCESSES": str(setting.processes),
            "GRAPHILE_ENV": "production",
        }
        postgraphile = stack.enter_context(served(node, environment, folder=folder))
        found.append(Candidate(name, postgraphile, partial(of_postgraphile, by_settings=settings == "on")))
    return found
