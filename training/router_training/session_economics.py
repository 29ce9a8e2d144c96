"""What a log says of its sessions: turns to come, growth, gaps, cache hits, token counts.

Everything is shrunk to `router_model.economics.PRIOR`, which counts as a number of observations
(`PriorWeights`): an estimate from n of them and a prior worth k has the weight n / (n + k).

Turns to come. A session is over once it was silent for `IDLE_MS` before the log's last decision;
one that was active later is still open, and of its calls it is known only that so many followed.
The survival of T, the number of calls after one, is therefore that of Kaplan and Meier (1958), for
the calls of a step type and bucket of turns, u calls later:

    P(T >= t) = prod_{u < t} (1 - d_u / n_u),
    E[T] = sum_t P(T >= t),   E[T(T + 1) / 2] = sum_t t P(T >= t),

where d_u ended after u more calls, among n_u that did or are known to have gone on. Where the
longest are still open, both sums stop there and are lower bounds. Calls of one session depend on
each other, so intervals come from resampling whole sessions.

How often a cache is hit is told in tokens: those billed as read of those expected to be cached, so
that the expected bill comes out right where a prefix is read in part.
"""

from collections.abc import Mapping
from math import hypot
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.session_turns import SessionTurns, load_session_turns
from router_model.economics import (
    GAP_EDGES_S,
    MAIN_LOOP,
    PRIOR,
    TURN_EDGES,
    CacheFacts,
    Economics,
    Horizon,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

IDLE_MS: Final = 3_600_000
"""A session that was silent for this long before the end of the log is over."""
LONGEST: Final = 2_000
"""More calls to come than this count as so many: a loop that nobody stopped is no plan."""
N_RESAMPLES: Final = 200
_LOW, _HIGH = 0.025, 0.975
# A ratio of billed to estimated tokens beyond this is a mistake in the bill.
_LARGEST_RATIO: Final = 10.0


class PriorWeights(Struct, frozen=True, kw_only=True):
    """As how many sessions or calls the prior counts."""

    sessions: float = 20.0
    calls: float = 20.0


_WEIGHTS: Final = PriorWeights()


def fit_economics(
    state: Path,
    *,
    tenant: str | None = None,
    until_ms: int | None = None,
    weights: PriorWeights = _WEIGHTS,
    seed: int = 0,
) -> Economics:
    """What the live sessions of a state folder say; `PRIOR` where it has none.

    Raises LogError when the log can't be read.
    """
    turns = load_session_turns(state, tenant=tenant, until_ms=until_ms)
    return economics_of(turns, weights=weights, seed=seed)


def economics_of(
    turns: SessionTurns, *, weights: PriorWeights = _WEIGHTS, seed: int = 0
) -> Economics:
    """The same, of turns that were read."""
    if not turns.n:
        return PRIOR
    any_cache, caches = _cache_facts(turns, weights)
    return Economics(
        horizons=_horizons(turns, weights, seed=seed),
        growth_tokens=_growth(turns, weights),
        gaps=_gaps(turns, weights),
        any_cache=any_cache,
        caches=caches,
        token_ratios=_token_ratios(turns, weights),
        n_sessions=turns.n_sessions,
    )


def _horizons(
    turns: SessionTurns, weights: PriorWeights, *, seed: int
) -> dict[str, tuple[Horizon, ...]]:
    last = np.append(np.flatnonzero(np.diff(turns.session)), turns.n - 1)
    is_open = (turns.latest_ms - turns.ts_ms[last] < IDLE_MS)[turns.session]
    bucket = np.searchsorted(np.array(TURN_EDGES), turns.turn, side="right")
    step = turns.step_type.astype(str)
    found = {}
    for step_type in MAIN_LOOP:
        horizons = []
        for place in range(len(TURN_EDGES) + 1):
            rows = (step == step_type.value) & (bucket == place)
            prior = PRIOR.horizons[step_type.value][place]
            horizons.append(
                horizon_of(
                    np.minimum(turns.remaining[rows], LONGEST),
                    is_open[rows],
                    turns.session[rows],
                    prior=prior,
                    weight=weights.sessions,
                    rng=np.random.default_rng((seed, place)),
                )
            )
        found[step_type.value] = tuple(horizons)
    return found


def horizon_of(
    remaining: Ints,
    is_open: Bools,
    session: Ints,
    *,
    prior: Horizon,
    weight: float,
    rng: np.random.Generator,
) -> Horizon:
    """The horizon of calls after which so many came, at least so many where the session is open.

    `weight` is as how many sessions the prior counts. A group whose sessions are all open says
    nothing.
    """
    names, index = np.unique(session, return_inverse=True)
    if not len(names) or is_open.all():
        return prior
    n = len(names)
    turns, second, p_any = moments(remaining, is_open, np.ones(len(remaining)))
    means = []
    for _ in range(N_RESAMPLES):
        times_drawn = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)
        means.append(moments(remaining, is_open, times_drawn[index])[0])
    low, high = np.quantile(means, (_LOW, _HIGH)).tolist()
    own = Horizon(
        turns=turns, low=min(low, turns), high=max(high, turns), second=second, n=n, p_any=p_any
    )
    return _mixed(own, prior, share=n / (n + weight))


def _mixed(own: Horizon, prior: Horizon, *, share: float) -> Horizon:
    """The mixture that takes T from the log with probability `share`, else from the prior."""
    rest = 1.0 - share
    turns = share * own.turns + rest * prior.turns
    below = hypot(share * (own.turns - own.low), rest * (prior.turns - prior.low))
    above = hypot(share * (own.high - own.turns), rest * (prior.high - prior.turns))
    return Horizon(
        turns=turns,
        low=max(0.0, turns - below),
        high=turns + above,
        second=share * own.second + rest * prior.second,
        n=own.n,
        p_any=share * own.p_any + rest * prior.p_any,
    )


def moments(remaining: Ints, is_open: Bools, weight: Floats) -> tuple[float, float, float]:
    """E[T], E[T(T + 1) / 2] and P(T >= 1) from counts of calls, some of them lower bounds.

    >>> moments(np.array([2, 0]), np.zeros(2, dtype=bool), np.ones(2))
    (1.0, 1.5, 0.5)
    >>> moments(np.array([2, 1, 1]), np.array([False, False, True]), np.ones(3))
    (1.5, 2.0, 1.0)
    """
    longest = int(remaining.max())
    known = np.bincount(remaining, weights=weight, minlength=longest + 1)
    ended = np.bincount(remaining, weights=weight * ~is_open, minlength=longest + 1)
    # Of a session that is open after u calls, it is not known whether it ends there.
    at_risk = np.cumsum(known[::-1])[::-1] - (known - ended)
    share = np.divide(ended, at_risk, out=np.zeros(longest + 1), where=at_risk > 0.0)
    survival = np.cumprod(1.0 - share)[:longest]
    number = np.arange(1, longest + 1)
    p_any = float(survival[0]) if longest else 0.0
    return float(survival.sum()), float((number * survival).sum()), p_any


def _following(turns: SessionTurns) -> Ints:
    """The places of calls that follow another of their session."""
    return np.flatnonzero(turns.turn > 0)


def _growth(turns: SessionTurns, weights: PriorWeights) -> float:
    """Mean growth of the prefix from call to call; where it shrank, a history was rewritten."""
    later = _following(turns)
    grown = turns.input_tokens[later] - turns.input_tokens[later - 1]
    grown = grown[np.isfinite(grown) & (grown >= 0.0)]
    total = float(grown.sum()) + weights.calls * PRIOR.growth_tokens
    return total / (len(grown) + weights.calls)


def _gaps(turns: SessionTurns, weights: PriorWeights) -> tuple[float, ...]:
    later = _following(turns)
    gaps_s = (turns.ts_ms[later] - turns.ts_ms[later - 1]) / 1_000.0
    within = np.searchsorted(np.sort(gaps_s), np.array(GAP_EDGES_S), side="right")
    counts = within + weights.calls * np.array(PRIOR.gaps)
    return tuple(np.minimum(counts / (len(gaps_s) + weights.calls), 1.0).tolist())


def _cache_facts(
    turns: SessionTurns, weights: PriorWeights
) -> tuple[CacheFacts, Mapping[str, CacheFacts]]:
    """How often caches are hit, of all models (shrunk to the prior) and each (shrunk to those)."""
    is_known = (turns.expected_tokens > 0.0) & np.isfinite(turns.cached_tokens)
    expected = turns.expected_tokens[is_known]
    read = np.minimum(turns.cached_tokens[is_known], expected)
    models = turns.model[is_known].astype(str)
    everyone = _shrunk(read, expected, PRIOR.any_cache.p_hit, weights.calls)
    facts = {
        str(name): _shrunk(
            read[models == name], expected[models == name], everyone.p_hit, weights.calls
        )
        for name in np.unique(models)
    }
    return everyone, facts


def _shrunk(read: Floats, expected: Floats, prior: float, weight: float) -> CacheFacts:
    """The share that was read, with `weight` average calls of the prior's share beside it."""
    n = len(read)
    share = float(read.sum() / expected.sum()) if n else prior
    return CacheFacts(p_hit=(n * share + weight * prior) / (n + weight), n=n)


def _token_ratios(turns: SessionTurns, weights: PriorWeights) -> dict[str, float]:
    """Billed over estimated input tokens by model, shrunk to 1; impossible bills are left out."""
    with np.errstate(divide="ignore", invalid="ignore"):
        each = turns.billed_tokens / turns.input_tokens
    is_known = np.isfinite(each) & (each <= _LARGEST_RATIO) & (each >= 1.0 / _LARGEST_RATIO)
    models = turns.model.astype(str)
    ratios = {}
    for name in np.unique(models[is_known]):
        rows = is_known & (models == name)
        estimated = turns.input_tokens[rows]
        prior = weights.calls * float(estimated.mean())
        billed = float(turns.billed_tokens[rows].sum())
        ratios[str(name)] = (billed + prior) / (float(estimated.sum()) + prior)
    return ratios
