"""A browser on this machine, for tests that look at pages."""

import shutil

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """Return the program, or skip: without a browser there is nothing to look with."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"there is no browser here ({', '.join(CHROMIUM)})")
    return found
