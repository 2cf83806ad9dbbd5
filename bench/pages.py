"""The page of results: each benchmark keeps a section of its own."""

import re
from pathlib import Path


def put_section(page: Path, section: str) -> None:
    """Put a section, which starts with its `## ` heading, in the place of the one that has its name, or at the end."""
    heading = section.partition("\n")[0]
    text = page.read_text(encoding="utf-8") if page.exists() else "# Benchmarks\n"
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    kept = [one for one in sections if one.partition("\n")[0] != heading]
    page.write_text("\n\n".join(one.strip() for one in [*kept, section]) + "\n", encoding="utf-8")
