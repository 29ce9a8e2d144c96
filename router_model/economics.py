"""What is learned of sessions as a whole: how long they go on, how they grow, what stays warm.

The file `economics.json` of an artifact, absent where nothing was learned. It holds

- for each step type of the main loop and each bucket of turns (`TURN_EDGES`), how many calls of
  the loop are still to come;
- by how many tokens the prefix grows from call to call;
- how long the next call is waited for, as P(gap <= seconds) at `GAP_EDGES_S`;
- for each model, how often a prefix that should be cached is, and billed over estimated tokens.

Without the file `PRIOR` holds. Its horizons, growth and gaps are those of recorded agent sessions:
250 of a coding agent on SWE-bench Verified (mini-swe-agent with one model; 13 to 145 calls) and
1,156 of a tool-using agent in conversation (tau-bench and tau2-bench), each of the two kinds
counting one half; an interval spans what the data sets say apart. Nobody was waited for in any of
them, so their gaps are shorter than with people. The hit rate is that of the coding sessions' calls
which met the endpoint of the call before (0.93; over all of its endpoints 0.89).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct, structs

from router_model.errors import ArtifactError
from router_model.heads import plain_name
from router_model.learned_file import read_learned
from router_model.types import StepType

ECONOMICS_FILE: Final = "economics.json"
ECONOMICS_VERSION: Final = 1
TURN_EDGES: Final = (1, 2, 4, 8, 16, 32, 64)
"""The first turn of every bucket but the first, which holds turn 0 alone."""
GAP_EDGES_S: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Where the distribution of gaps is given; it is linear between, and flat beyond the last."""
MAIN_LOOP: Final = (StepType.MAIN, StepType.TOOL_RESULT)

# No session goes on for as long, and no prefix grows as fast.
_MOST_TURNS: Final = 10_000.0
_MOST_TOKENS: Final = 10_000_000.0
_LARGEST_RATIO: Final = 100.0
_SLACK: Final = 1e-6


class Horizon(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """How many calls T of the main loop are expected after this one.

    `turns` is E[T], `low` to `high` the 95% interval of that expectation, `second` is
    E[T(T + 1) / 2], the sum over the turns to come of their number, and `p_any` P(T >= 1). `n`
    sessions of the log are behind it, 0 for what was known before.
    """

    turns: float
    low: float
    high: float
    second: float
    n: int = 0
    p_any: float = 1.0


NO_HORIZON: Final = Horizon(turns=0.0, low=0.0, high=0.0, second=0.0, p_any=0.0)
"""That of calls after which nothing of theirs comes: titles, summaries and the like."""


class CacheFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """How likely a prefix that should be cached is found there; `n` calls say so."""

    p_hit: float
    n: int


class Economics(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of sessions; every part that a file leaves out is that of `PRIOR`.

    `horizons` maps a step type of the main loop to one horizon for each bucket of turns, `gaps` is
    P(gap <= s) at `GAP_EDGES_S`, `any_cache` holds for models that `caches` does not list.
    """

    version: int = ECONOMICS_VERSION
    horizons: Mapping[str, tuple[Horizon, ...]] = msgspec.field(default_factory=lambda: _HORIZONS)
    growth_tokens: float = 440.0
    gaps: tuple[float, ...] = (
        0.07, 0.244, 0.687, 0.88, 0.967, 0.985, 0.996, 0.9998, 0.9999, 1.0, 1.0, 1.0,
    )  # fmt: skip
    any_cache: CacheFacts = CacheFacts(p_hit=0.93, n=0)
    caches: Mapping[str, CacheFacts] = MappingProxyType({})
    token_ratios: Mapping[str, float] = MappingProxyType({})
    n_sessions: int = 0

    @classmethod
    def load(cls, folder: Path) -> "Economics":
        """That of an artifact folder, `PRIOR` without a file; ArtifactError if it is bad."""
        found = read_learned(folder / ECONOMICS_FILE, cls)
        return PRIOR if found is None else found.by_plain_names()

    def by_plain_names(self) -> "Economics":
        """The same, its models also found without regard to case and "provider/"."""
        caches = {plain_name(name): facts for name, facts in self.caches.items()}
        ratios = {plain_name(name): ratio for name, ratio in self.token_ratios.items()}
        return structs.replace(
            self, caches=caches | dict(self.caches), token_ratios=ratios | dict(self.token_ratios)
        )

    def horizon(self, step_type: StepType, turn: int) -> Horizon:
        """What comes after a call of this type that is number `turn` of its session, from 0 on.

        >>> PRIOR.horizon(StepType.MAIN, 0).turns > PRIOR.horizon(StepType.MAIN, 3).turns
        True
        >>> PRIOR.horizon(StepType.TITLE, 0).turns
        0.0
        """
        found = self.horizons.get(step_type)
        return NO_HORIZON if found is None else found[bisect_right(TURN_EDGES, turn)]

    def p_within(self, seconds: float) -> float:
        """P(the next call comes within so many seconds); 0 for none or fewer.

        >>> PRIOR.p_within(0.5), PRIOR.p_within(300.0), PRIOR.p_within(-1.0)
        (0.035, 0.9999, 0.0)
        """
        if seconds <= 0.0:
            return 0.0
        place = bisect_left(GAP_EDGES_S, seconds)
        if place == len(GAP_EDGES_S):
            return self.gaps[-1]
        upper, at_upper = GAP_EDGES_S[place], self.gaps[place]
        lower, at_lower = (GAP_EDGES_S[place - 1], self.gaps[place - 1]) if place else (0.0, 0.0)
        return at_lower + (at_upper - at_lower) * (seconds - lower) / (upper - lower)

    def cache_of(self, model: str) -> CacheFacts:
        """How often a model's cache is hit; that of all models where nothing is known of it."""
        if not self.caches:
            return self.any_cache
        found = self.caches.get(model)
        return found or self.caches.get(plain_name(model), self.any_cache)

    def token_ratio_of(self, model: str) -> float:
        """Billed over estimated input tokens of a model; 1 where nothing is known of it."""
        if not self.token_ratios:
            return 1.0
        found = self.token_ratios.get(model)
        return found or self.token_ratios.get(plain_name(model), 1.0)

    def check(self) -> None:
        """ArtifactError that names the first field which training can't have written."""
        if self.version != ECONOMICS_VERSION:
            raise ArtifactError(f"version: got {self.version}, expected {ECONOMICS_VERSION}")
        if set(self.horizons) != set(_HORIZONS):
            raise ArtifactError(
                f"horizons: got {', '.join(sorted(self.horizons))}, expected "
                f"{', '.join(sorted(_HORIZONS))}"
            )
        for step, horizons in self.horizons.items():
            if len(horizons) != len(TURN_EDGES) + 1:
                raise ArtifactError(
                    f"horizons.{step}: got {len(horizons)}, expected {len(TURN_EDGES) + 1}"
                )
            for place, horizon in enumerate(horizons):
                _check_horizon(f"horizons.{step}[{place}]", horizon)
        _check_gaps(self.gaps)
        _check_range("growth_tokens", self.growth_tokens, 0.0, _MOST_TOKENS)
        _check_range("n_sessions", self.n_sessions, 0.0, float("inf"))
        for name, facts in (("any_cache", self.any_cache), *self.caches.items()):
            _check_range(f"caches: {name}: p_hit", facts.p_hit, 0.0, 1.0)
            _check_range(f"caches: {name}: n", facts.n, 0.0, float("inf"))
        for name, ratio in self.token_ratios.items():
            _check_range(f"token_ratios: {name}", ratio, 1.0 / _LARGEST_RATIO, _LARGEST_RATIO)


def save_economics(economics: Economics, folder: Path) -> None:
    """Write what was learned into an existing folder; no file where nothing was."""
    if economics.n_sessions:
        encoded = msgspec.json.format(msgspec.json.encode(economics, enc_hook=dict), indent=1)
        (folder / ECONOMICS_FILE).write_bytes(encoded + b"\n")


def _check_horizon(name: str, horizon: Horizon) -> None:
    _check_range(f"{name}.turns", horizon.turns, 0.0, _MOST_TURNS)
    _check_range(f"{name}.low", horizon.low, 0.0, horizon.turns + _SLACK)
    _check_range(f"{name}.high", horizon.high, horizon.turns - _SLACK, _MOST_TURNS)
    # E[T(T + 1) / 2] is least where T is fixed.
    least = 0.5 * horizon.turns * (horizon.turns + 1.0)
    _check_range(f"{name}.second", horizon.second, least * (1.0 - _SLACK), _MOST_TURNS**2)
    _check_range(f"{name}.n", horizon.n, 0.0, float("inf"))
    # E[T] is at most P(T >= 1) times the most there can be; so p_any is 0 only where turns are.
    any_least = horizon.turns / _MOST_TURNS
    _check_range(f"{name}.p_any", horizon.p_any, any_least, min(1.0, horizon.turns + _SLACK))


def _check_gaps(gaps: tuple[float, ...]) -> None:
    if len(gaps) != len(GAP_EDGES_S):
        raise ArtifactError(f"gaps: got {len(gaps)}, expected {len(GAP_EDGES_S)}")
    before = 0.0
    for place, share in enumerate(gaps):
        _check_range(f"gaps[{place}]", share, before, 1.0)
        before = share


def _check_range(name: str, value: float, low: float, high: float) -> None:
    is_finite = isfinite(value)
    if not (is_finite and low <= value <= high):
        raise ArtifactError(f"{name}: got {value}, expected {low:g} to {high:g}")


def _horizon(turns: float, low: float, high: float, second: float, p_any: float) -> Horizon:
    return Horizon(turns=turns, low=low, high=high, second=second, p_any=p_any)


# By bucket of turns: 0, 1, 2-3, 4-7, 8-15, 16-31, 32-63, 64 and more. Few recorded sessions were
# given new work after 32 calls, none began with a tool's result: there the neighbour stands.
_HORIZONS: Final[Mapping[str, tuple[Horizon, ...]]] = MappingProxyType(
    {
        StepType.MAIN.value: (
            _horizon(24.1, 9.3, 39.8, 487.0, 0.996),
            _horizon(9.8, 8.5, 12.2, 82.6, 0.998),
            _horizon(8.6, 7.2, 10.4, 71.3, 0.970),
            _horizon(5.4, 4.3, 7.5, 40.5, 0.928),
            _horizon(4.3, 3.4, 5.3, 23.5, 0.884),
            _horizon(4.8, 2.0, 11.7, 44.4, 0.817),
            _horizon(4.8, 2.0, 11.7, 44.4, 0.817),
            _horizon(4.8, 2.0, 11.7, 44.4, 0.817),
        ),
        StepType.TOOL_RESULT.value: (
            _horizon(35.1, 4.8, 38.8, 804.4, 0.998),
            _horizon(35.1, 4.8, 38.8, 804.4, 0.998),
            _horizon(24.2, 6.9, 37.3, 498.4, 0.993),
            _horizon(23.8, 5.5, 34.3, 481.6, 0.967),
            _horizon(22.6, 4.4, 28.3, 438.5, 0.965),
            _horizon(18.3, 3.1, 35.3, 331.4, 0.962),
            _horizon(17.0, 12.8, 53.2, 312.1, 0.942),
            _horizon(16.7, 6.4, 26.8, 297.8, 0.944),
        ),
    }
)

PRIOR: Final = Economics()
