"""The command line: `creditdesk demo`, `serve`, `migrate`, `directory`, `import`, `reconcile`, `audit` and `schema`."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED, UNHEARD, TERMINATED = 130, 141, 143  # as a shell counts SIGINT, SIGPIPE and SIGTERM


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: a module with `add_arguments(parser)` and `run(arguments, settings)`."""

    module: str
    purpose: str


COMMANDS: Mapping[str, Command] = {
    "demo": Command("creditdesk.app.demo.run", "start everything with data in it; nothing needs to be set up"),
    "serve": Command("creditdesk.app.serve", "serve the API, as the environment configures it"),
    "migrate": Command("creditdesk.app.database", "bring the database to this version's schema"),
    "directory": Command("creditdesk.app.directory", "put a workspace, its groups and its people in place"),
    "import": Command("creditdesk.app.imports", "record usage from a file"),
    "reconcile": Command("creditdesk.app.reconcile", "check that the rollups add up to the events"),
    "audit": Command("creditdesk.app.audit", "prove the audit trail, or write it to a file"),
    "schema": Command("creditdesk.app.schema", "print the GraphQL schema"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; what can be expected to fail ends in a sentence, not in a traceback."""
    given = sys.argv[1:] if argv is None else list(argv)
    # SIGTERM unwinds what is open, so that the embedded server is left and not forgotten.
    signal.signal(signal.SIGTERM, _terminate)
    # A shell starts what it puts in the background with interrupts ignored; here they end whatever was started.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = _run(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has gone. Python flushes stdout once more at its end, which must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNHEARD
    except Exception as error:
        failure = _imported("creditdesk.app.failures").failure_of(error)
        if failure is None:
            raise
        sys.stderr.write(f"creditdesk: {failure[0]}\n")
        return int(failure[1])
    return code


def _run(given: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="creditdesk", description="Self-hosted governance of AI credits.")
    parser.add_argument("--version", action="version", version=f"creditdesk {version('creditdesk')}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=command.purpose, description=command.purpose)
        if name in given[:1]:
            _imported(command.module).add_arguments(subparser)
    arguments = parser.parse_args(given)
    settings = _imported("creditdesk.app.settings").load_settings()
    return int(_imported(COMMANDS[arguments.command].module).run(arguments, settings))


def _imported(module: str) -> Any:
    """Import what the chosen command needs and no other: `--help` answers in a tenth of a second."""
    return importlib.import_module(module)


def _terminate(_: int, __: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not end the unwinding half-way
    raise SystemExit(TERMINATED)
