import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from router_battery.cli import app
from router_battery.registry import TRIALS, trial
from router_battery.report import markdown, merged, row_of, write
from router_battery.trial import Scale, Tried, not_zero

PASSED = Tried(tried={"kills": 1200}, seen={"lost": 0, "p50 s": 1.23456})
FAILED = Tried(tried={"kills": 2}, seen={"lost": 1}, failed=["1 outcome lost"])
MISSED = Tried(tried={}, seen={}, missed=["ready within 2 s (not 3 times of 4)"])


def test_a_broken_promise_fails_and_a_missed_figure_does_not() -> None:
    assert (PASSED.passed, PASSED.verdict) == (True, "passed")
    assert (FAILED.passed, FAILED.verdict) == (False, "FAILED: 1 outcome lost")
    assert MISSED.passed
    assert MISSED.verdict.startswith("passed; missed: ready within 2 s")


def test_what_could_not_be_tried_says_why() -> None:
    tried = Tried(tried={}, seen={}, not_run="libfaketime is not installed")
    assert tried.verdict == "not run: libfaketime is not installed"


def test_counts_that_should_be_zero_are_named() -> None:
    assert not_zero(outcomes_lost=0, rows_twice=3) == ["3 rows twice"]


def test_rows_that_are_not_run_again_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "battery.md"
    old = [row_of("kill9", PASSED, is_short=False, seconds=60.0)]
    write(path, [*old, row_of("soak", PASSED, is_short=False, seconds=60.0)])
    rows = merged(path.with_suffix(".json"), [row_of("soak", FAILED, is_short=True, seconds=1.0)])
    write(path, rows)
    assert [(row.name, row.passed) for row in rows] == [("kill9", True), ("soak", False)]
    assert [row["name"] for row in json.loads(path.with_suffix(".json").read_text())] == [
        "kill9",
        "soak",
    ]
    text = path.read_text()
    assert "1 of 2 passed" in text
    assert "| `soak` | kills 2 | lost 1 | FAILED: 1 outcome lost |" in text
    assert "kills 1,200" in text


def test_the_table_names_no_machine() -> None:
    row = row_of("kill9", PASSED, is_short=False, seconds=60.0)
    assert "cores" in row.machine
    assert "/" not in row.machine
    assert "| `kill9` |" in markdown([row])


def test_a_scale_has_two_sizes() -> None:
    assert (Scale(is_short=True).of(200, 2), Scale(is_short=False).of(200, 2)) == (2, 200)


def test_an_unknown_trial_is_refused_by_name() -> None:
    result = CliRunner().invoke(app, ["--only", "no-such"])
    assert result.exit_code == 2
    assert "kill9" in result.output
    with pytest.raises(KeyError, match="no-such"):
        trial("no-such")


def test_the_list_names_every_trial() -> None:
    result = CliRunner().invoke(app, ["--list"])
    assert result.exit_code == 0
    assert all(name in result.output for name in TRIALS)
