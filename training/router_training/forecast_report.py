"""Forecasts of cost beside the bills, as text for the terminal and as JSON."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from router_training.cost_forecast import ForecastRow
from router_training.intervals import Interval
from router_training.report import number, table


def render(rows: Sequence[ForecastRow]) -> str:
    """A table of errors and biases, and what was learned for each model."""
    lines = [
        [
            f"{row.model}{'' if row.reports_cache else ' *'}",
            row.endpoints,
            str(row.n),
            str(row.n_sessions),
            _percent(row.token_error),
            _percent(row.likely_error),
            _percent(row.likely_bias),
            _percent(row.expected_error),
            _percent(row.expected_bias),
            f"{number(row.cost)} {row.unit}",
        ]
        for row in rows
    ]
    header = [
        "model", "endpoint", "calls", "sessions", "tokens: error", "likely: error",
        "likely: bias", "expected: error", "expected: bias", "billed input",
    ]  # fmt: skip
    notes = (
        "error: median of |forecast - bill| / bill; bias: sum of forecasts / sum of bills - 1; "
        "95% intervals over sessions; learned on the other half of the sessions\n"
        "* no cached token is reported: the cost is that of the tokens alone"
    )
    learned = "\n".join(
        f"{row.model}, endpoint {row.endpoints}: "
        + "; ".join(
            f"hit rate {number(one.facts.p_hit)} of {one.facts.n} calls, blocks of "
            f"{one.block_tokens}, {one.frame_tokens} tokens of the first call, "
            f"{number(one.token_ratio)} tokens billed per estimated one"
            for one in row.learned
        )
        for row in rows
        if row.reports_cache
    )
    return "\n\n".join(part for part in (table(header, lines), notes, learned) if part)


def write_json(rows: Sequence[ForecastRow], path: Path) -> None:
    """Write every figure, rounded by nobody, creating the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(list(rows)), indent=2) + b"\n")


def _percent(interval: Interval) -> str:
    ends = (interval.estimate, interval.low, interval.high)
    middle, low, high = (number(100.0 * end, digits=1) for end in ends)
    return f"{middle}% [{low}, {high}]"
