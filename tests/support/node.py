"""Programs of others that run in Node: their packages, put in place once from the lock, and a way to run them."""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support.repository import ROOT

NODE = ROOT / "tests" / "node"
PATIENCE_SECONDS = 300


@cache
def node_packages() -> Path:
    """Return the folder from which Node finds the packages, or skip without Node; with it, they must install."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node here (node and npm)")
    lock, stamp = NODE / "package-lock.json", NODE / "node_modules" / ".of-this-lock"
    with (NODE / "package.json").open() as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)  # the processes that run tests side by side take turns
        if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
            done = subprocess.run(
                ["npm", "ci", "--no-progress"],
                cwd=NODE,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
            assert done.returncode == 0, f"npm cannot put the packages in place: {done.stderr.strip()[-300:]}"
            stamp.write_bytes(lock.read_bytes())
    return NODE


def node_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment without what would lead programs in Node elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NODE_")} | dict(more or {})


def run_node(script: str, *arguments: str) -> Any:
    """Run a script of tests/node to its end, and return the JSON that it printed."""
    done = subprocess.run(
        ["node", str(node_packages() / script), *arguments],
        env=node_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@contextmanager
def node_serving(script: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """Start a script of tests/node that serves; yield the line of JSON that it prints when it listens, and end it."""
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            ["node", str(node_packages() / script), *arguments],
            env=node_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
        )
        with process:
            try:
                assert process.stdout
                line = process.stdout.readline()
                complaints.seek(0)
                assert line, f"it ended: {complaints.read().decode()[-2000:]}"
                yield json.loads(line)
            finally:
                process.terminate()
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
