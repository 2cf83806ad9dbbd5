"""The page of results: each benchmark keeps a section of its own."""

import os
import platform
import re
import timeit
from pathlib import Path


def machine() -> str:
    """Return what this runs on, and how fast its Python is right now.

    That differs by half between builds of one version (one that was optimized by a profile, like Debian's and those of
    Docker's official images, and one that was not), and on shared machines from hour to hour.
    """
    step = min(timeit.repeat("x += i * i; i += 1", "x = i = 0", number=1_000_000, repeat=5)) * 1000
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores,"
        f" Python {platform.python_version()} ({step:.0f} ns for `x += i * i; i += 1`)"
    )


def put_section(page: Path, section: str) -> None:
    """Put a section, which starts with its `## ` heading, in the place of the one that has its name, or at the end."""
    heading = section.partition("\n")[0]
    text = page.read_text(encoding="utf-8") if page.exists() else "# Benchmarks\n"
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    kept = [one for one in sections if one.partition("\n")[0] != heading]
    page.write_text("\n\n".join(one.strip() for one in [*kept, section]) + "\n", encoding="utf-8")
