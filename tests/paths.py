"""Where real outcome data and captured client bodies lie, for the tests that can use them."""

import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ROUTER_SHARED_DIR", REPO.parent / "shared"))
CAPTURED = SHARED / "captured_requests"
DATA = SHARED / "data"

requires_captured = pytest.mark.skipif(
    not CAPTURED.is_dir(), reason=f"captured client bodies are not at {CAPTURED}"
)
requires_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"real outcome data is not at {DATA}")
