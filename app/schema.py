"""Prints the GraphQL schema, or checks that the committed one is still it."""

import argparse
import difflib
import sys
from pathlib import Path

from creditdesk.app.failures import CommandFailed
from creditdesk.graphql.schema import schema_text

MOST_DIFFERENCES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the file to check."""
    parser.add_argument("--check", type=Path, metavar="FILE", help="print nothing, and fail if FILE is not the schema")


def run(arguments: argparse.Namespace, _: object = None) -> int:
    """Print the schema, or raise CommandFailed with the first differences."""
    text = schema_text().rstrip("\n") + "\n"
    if arguments.check is None:
        sys.stdout.write(text)
    elif (committed := arguments.check.read_text(encoding="utf-8")) != text:
        raise CommandFailed("\n".join([f"{arguments.check} is not the schema.", *_differences(committed, text)]))
    return 0


def _differences(committed: str, text: str) -> list[str]:
    lines = list(
        difflib.unified_diff(committed.splitlines(), text.splitlines(), "committed", "schema", n=0, lineterm="")
    )
    more = [f"... and {len(lines) - MOST_DIFFERENCES} lines more"] if len(lines) > MOST_DIFFERENCES else []
    return [*lines[:MOST_DIFFERENCES], *more]
