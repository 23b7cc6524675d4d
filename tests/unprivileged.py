"""Tests of files that may not be read, by root too."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[None]:
    """Root may read everything: be somebody else for a while, who can reach the test's directory."""
    if os.geteuid() != 0:
        yield
        return
    own = [each for each in tmp_path.parents if each.name.startswith(("pytest-", "popen-"))]  # pytest's, and xdist's
    for directory in (tmp_path, *own):
        directory.chmod(directory.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
