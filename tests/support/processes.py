"""`creditdesk` as a process of its own, and apps served in a thread, both on free ports."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

PATIENCE_SECONDS = 60
COMMAND = (sys.executable, "-c", "import sys; from creditdesk.app.cli import main; sys.exit(main())")

COUNTING_COMMAND = (
    sys.executable,
    "-c",
    """
import gc, signal, sys
from creditdesk.app.cli import main

def count(*_):
    gc.collect()
    print("blocks in use:", sys.getallocatedblocks(), file=sys.stderr, flush=True)

signal.signal(signal.SIGUSR1, count)
sys.exit(main())
""",
)
"""The same, and it says on SIGUSR1 how many blocks of memory its objects take: at least one each."""


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without settings that somebody left in it, and with these."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("CREDITDESK_", "PG", "DATABASE_"))
    }
    return {**kept, **settings}


def creditdesk(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=clean_environment(settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.05)


@dataclass
class RunningProcess:
    """A `creditdesk` that serves."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str = field(init=False)

    def logged(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def find_url(self) -> bool:
        assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.logged()}"
        found = re.search(r"listening.*?(http://[^\s\"]+)", self.logged())
        if found:
            self.url = found[1]
        return found is not None

    def answers(self, path: str = "/healthz") -> bool:
        assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.logged()}"
        try:
            return httpx.get(self.url + path, trust_env=False).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def blocks_in_use(self) -> int:
        """Return how much a server that counts holds: only what is reachable, whatever the allocator keeps."""
        pattern = r"blocks in use: (\d+)\n"
        said = len(re.findall(pattern, self.logged()))
        self.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: len(re.findall(pattern, self.logged())) > said, "counted")
        return int(re.findall(pattern, self.logged())[-1])

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal to this process alone, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(by)
        return self.process.wait(timeout=PATIENCE_SECONDS)


@contextmanager
def running(*arguments: str, command: Sequence[str] = COMMAND, **settings: str) -> Iterator[RunningProcess]:
    """Start `creditdesk` on a free port and wait until it answers; it is ended with the block."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [*command, *arguments],
                env=clean_environment({"CREDITDESK_PORT": "0"} | settings),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
        started = RunningProcess(process, log)
        try:
            wait_until(started.find_url, "listening")
            wait_until(started.answers, "healthy")
            yield started
        finally:
            try:
                started.end()
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


@contextmanager
def served(app_at: Callable[[str], Any]) -> Iterator[str]:
    """Serve the app that `app_at(url)` returns, in a thread, on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = "http://{}:{}".format(*listener.getsockname())
        server = uvicorn.Server(uvicorn.Config(app_at(url), log_config=None, ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: server.started, "served")
            yield url
        finally:
            server.should_exit = True
            thread.join()
