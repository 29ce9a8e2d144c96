"""Every trial of the battery at a small scale, and the table that it keeps."""

from pathlib import Path

import pytest
from serving_process import requires_starter

from router_battery.registry import TRIALS, summary, trial
from router_battery.trial import NotRunError, Scale

pytestmark = [pytest.mark.service, requires_starter]


@pytest.mark.parametrize("name", TRIALS)
def test_a_fault_breaks_no_promise(name: str, tmp_path: Path) -> None:
    try:
        tried = trial(name).run(Scale(is_short=True), tmp_path)
    except NotRunError as reason:
        pytest.skip(str(reason))
    assert tried.passed, f"{tried.verdict}; {dict(tried.seen)}"
    assert tried.tried
    assert tried.seen


def test_every_trial_says_what_it_does() -> None:
    assert all(summary(name).endswith(".") for name in TRIALS)
