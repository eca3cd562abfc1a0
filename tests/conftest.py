"""What all tests share: where the public data lies, and a quiet, deterministic process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of public data sets, PONDER_DATA or ../shared/data; the test is skipped where there is none."""
    folder = Path(os.environ.get("PONDER_DATA", ROOT / "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip("no public data sets here: set PONDER_DATA to their folder")
    return folder
