"""`creditdesk demo` as a process of its own, small."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.processes import COMMAND, clean_environment, wait_until

SMALL = ("--users", "20", "--days", "10", "--events-per-day", "60")


@dataclass(frozen=True)
class Demo:
    process: "subprocess.Popen[bytes]"
    directory: Path

    @property
    def ready_file(self) -> Path:
        return self.directory / "ready.json"

    def said(self) -> str:
        return (self.directory / "out").read_text(encoding="utf-8")

    def ready(self) -> dict[str, Any]:
        def is_there() -> bool:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.said()}"
            return self.ready_file.exists()

        wait_until(is_there, "ready")
        found: dict[str, Any] = json.loads(self.ready_file.read_bytes())
        return found

    def end(self, by: signal.Signals) -> int:
        self.process.send_signal(by)
        return self.process.wait(timeout=60)


@contextmanager
def demo(directory: Path, *arguments: str) -> Iterator[Demo]:
    with (directory / "out").open("wb") as out:
        process = subprocess.Popen(
            [*COMMAND, "demo", "--ready-file", str(directory / "ready.json"), *arguments],
            env=clean_environment({"CREDITDESK_DATA_DIRECTORY": str(directory / "data")}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        yield Demo(process, directory)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=60)
