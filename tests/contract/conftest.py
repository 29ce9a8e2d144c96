"""Every store of the ledger, empty, and two processes that talk to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_stores import LEDGERS, Opener, Process


@pytest.fixture(params=sorted(LEDGERS))
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    with LEDGERS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def a(opener: Opener) -> Process:
    return Process(opener, "a")


@pytest.fixture
def b(opener: Opener) -> Process:
    return Process(opener, "b")
