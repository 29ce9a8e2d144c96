"""What recorded sessions cost is known before the bills: at the median to 5%, in sum to 1%."""

from pathlib import Path

import pytest
from paths import DATA, requires_data

from router_training.cost_forecast import ForecastRow, forecast_folder
from router_training.intervals import Resampling

pytestmark = [pytest.mark.statistical, requires_data]

CODING = DATA / "swebench_verified_mini"
TOOLS = DATA / "tau2_bench"


def rows(folder: Path) -> list[ForecastRow]:
    if not folder.is_dir():
        pytest.skip(f"recorded sessions are not at {folder}")
    return forecast_folder(folder, resampling=Resampling(n_resamples=200))


def test_the_costs_of_coding_sessions_are_forecast() -> None:
    found = rows(CODING)
    assert {row.endpoints for row in found} == {"known", "unknown"}
    for row in found:
        assert row.n > 9_000
        assert row.likely_error.high <= 0.05
        assert abs(row.expected_bias.estimate) <= 0.01
        assert row.expected_bias.low <= 0.0 <= row.expected_bias.high


def test_the_most_likely_cost_is_no_forecast_of_a_sum() -> None:
    """A miss costs several times a hit: what is right at the median is far too low in sum."""
    for row in rows(CODING):
        assert row.likely_bias.high < -0.1
        assert row.expected_error.low > row.likely_error.high


def test_where_no_cache_is_reported_the_tokens_alone_give_the_cost() -> None:
    plain = [row for row in rows(TOOLS) if not row.reports_cache]
    assert len(plain) >= 10
    for row in plain:
        assert row.likely_error.high <= 0.05, row.model
        assert abs(row.expected_bias.estimate) <= 0.01, row.model


def test_where_the_cache_is_reported_the_sum_of_costs_is_forecast_too() -> None:
    """Not to 1%: some hundred calls, whose client moves its markers, leave a wide interval."""
    cached = [row for row in rows(TOOLS) if row.reports_cache]
    assert cached
    for row in cached:
        assert row.expected_bias.low <= 0.0 <= row.expected_bias.high, row.model
        assert abs(row.expected_bias.estimate) <= 0.05, row.model
        assert row.likely_error.estimate <= 0.1, row.model
