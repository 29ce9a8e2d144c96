"""Forecasts what calls cost before their bill is seen, and compares with the bills.

Every recorded session is walked in order. A call's input cost is forecast from what the session
memory would hold at that moment: the bills of the session's earlier calls, the time since, the
length of the request. There are two forecasts (see `router_model.warmth`): the likely cost, judged
by its median relative error, and the expected cost, judged by its bias, sum(forecast) / sum(bill) -
1. What is learned over sessions (hit rate, block size, tokens per character) comes from the other
half of the sessions. Intervals are over sessions.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from router_model.errors import DatasetError
from router_model.pricing import call_cost
from router_model.types import Capabilities, ModelCard
from router_model.warmth import expected_call_cost, likely_call_cost, warmth_of
from router_training.cache_walk import (
    TTL_S,
    Learned,
    Walked,
    forecast_tokens,
    learn,
    prefix_of,
    walk,
)
from router_training.intervals import (
    Floats,
    Interval,
    Resampling,
    grouped_interval,
    weighted_interval,
)
from router_training.recorded_bills import BilledGroup, read_bills

Ints = NDArray[np.int64]
Progress = Callable[[str, int, int], None]

LEAST_SESSIONS: Final = 4
"""Groups of fewer sessions are left out: nothing could be learned on one half for the other."""


class ForecastRow(Struct, frozen=True, kw_only=True):
    """How one model's costs were forecast; `unit` is that of `cost`, the sum of the bills.

    `endpoints`: "known", "unknown", or "one" where there is one or none is recorded. Errors are
    medians of |forecast - bill| / bill, biases as above; `later_` is without first calls.
    """

    data: str
    model: str
    endpoints: str
    n: int
    n_sessions: int
    unit: str
    cost: float
    reports_cache: bool
    token_error: Interval
    likely_error: Interval
    likely_bias: Interval
    expected_error: Interval
    expected_bias: Interval
    later_likely_error: float
    later_expected_bias: float
    learned: tuple[Learned, Learned]


def forecast_folder(
    folder: Path,
    *,
    resampling: Resampling | None = None,
    progress: Progress | None = None,
) -> list[ForecastRow]:
    """One row for each model of a folder, two where calls went to several endpoints.

    Raises DatasetError where no model has `LEAST_SESSIONS` sessions with input tokens.
    """
    found = read_bills(folder)
    groups = [group for group in found if len(group.sessions) >= LEAST_SESSIONS]
    if not groups:
        most = max(len(group.sessions) for group in found)
        raise DatasetError(
            f"{folder}: at most {most} sessions of a model with input tokens, expected "
            f"{LEAST_SESSIONS} or more"
        )
    rows = []
    for number, group in enumerate(groups):
        if progress is not None:
            progress(group.model, number, len(groups))
        rows += forecast_group(group, data=folder.resolve().name, resampling=resampling)
    return rows


def forecast_group(
    group: BilledGroup, *, data: str, resampling: Resampling | None = None
) -> list[ForecastRow]:
    """The rows of one model."""
    names = {call.endpoint for calls in group.sessions.values() for call in calls}
    modes = ("known", "unknown") if len(names) > 1 else ("one",)
    return [_row(group, mode, data=data, resampling=resampling or Resampling()) for mode in modes]


def _forecast(walked: Walked, card: ModelCard, learned: Learned) -> tuple[float, float, float]:
    """(likely cost, expected cost, input tokens) of a call, its bill unseen."""
    tokens = forecast_tokens(walked, learned)
    prefix = prefix_of(walked, learned)
    warmth = warmth_of(card, prefix, input_tokens=tokens, facts=learned.facts, is_marked=True)
    likely, expected = (
        cost(card, tokens, warmth, output_tokens=0, writes=False)
        for cost in (likely_call_cost, expected_call_cost)
    )
    return likely, expected, float(tokens)


def _row(group: BilledGroup, mode: str, *, data: str, resampling: Resampling) -> ForecastRow:
    recorded = [calls for _, calls in sorted(group.sessions.items())]
    is_known = mode == "known"
    walks = [walk(calls, knows_endpoint=is_known) for calls in recorded]
    halves = np.random.default_rng(resampling.seed).permutation(len(walks)) % 2
    learned = tuple(
        learn([w for w, half in zip(walks, halves, strict=True) if half != side]) for side in (0, 1)
    )
    figures, sessions = [], []
    for number, calls in enumerate(recorded):
        facts = learned[int(halves[number])]
        card = _card(group, facts)
        walked = walk(calls, knows_endpoint=is_known, block=facts.block_tokens)
        for place, one in enumerate(walked):
            usage = structs.replace(one.call.usage, output_tokens=0)
            bill = call_cost(group.price, usage)
            likely, expected, tokens = _forecast(one, card, facts)
            figures.append((bill, likely, expected, usage.input_tokens, tokens, place == 0))
            sessions.append(number)
    table = np.array(figures, dtype=np.float64)
    return ForecastRow(
        data=data,
        model=group.model,
        endpoints=mode,
        n=len(table),
        n_sessions=len(walks),
        unit=group.unit,
        cost=float(table[:, 0].sum()),
        reports_cache=group.reports_cache,
        learned=(learned[0], learned[1]),
        **_errors(table, np.array(sessions), resampling),
    )


def _errors(table: Floats, sessions: Ints, resampling: Resampling) -> dict[str, Any]:
    bill, likely, expected, tokens, forecast_tokens, is_first = (table[:, i] for i in range(6))
    later = np.flatnonzero(is_first == 0.0)
    options = structs.replace(resampling, n_resamples=min(resampling.n_resamples, 300))

    def median(forecast: Floats, truth: Floats) -> Interval:
        errors = np.abs(forecast - truth) / truth
        order = np.argsort(errors)
        return weighted_interval(
            sessions, lambda w: _weighted_median(errors[order], w[order]), resampling=options
        )

    def bias(forecast: Floats) -> Interval:
        columns = np.stack([forecast, bill], axis=1)
        return grouped_interval(
            columns, sessions, lambda s: s[:, 0] / s[:, 1] - 1.0, resampling=resampling
        )

    return {
        "token_error": median(forecast_tokens, tokens),
        "likely_error": median(likely, bill),
        "likely_bias": bias(likely),
        "expected_error": median(expected, bill),
        "expected_bias": bias(expected),
        "later_likely_error": float(np.median(np.abs(likely - bill)[later] / bill[later])),
        "later_expected_bias": float(expected[later].sum() / bill[later].sum() - 1.0),
    }


def _weighted_median(ordered: Floats, weights: Floats) -> float:
    total = np.cumsum(weights)
    return float(ordered[np.searchsorted(total, total[-1] / 2.0)])


def _card(group: BilledGroup, learned: Learned) -> ModelCard:
    return ModelCard(
        id=group.model,
        provider="",
        snapshot=group.model,
        family="",
        context_window=10**9,
        max_output_tokens=10**9,
        capabilities=Capabilities(caching="automatic"),
        price=group.price,
        min_cache_tokens=1,
        cache_ttl_s=TTL_S,
        cache_block_tokens=learned.block_tokens,
    )
