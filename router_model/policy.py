"""From scored candidates to a distribution over models."""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct, structs

from router_model.errors import ArtifactError
from router_model.exploration import LATENCY, NOT_SET, explore
from router_model.terms import Exploration, Objective
from router_model.types import Candidate

LEAST_TOTAL_COST = "least_total_cost"
CHEAPEST_ADEQUATE = "cheapest_adequate"
HIGHEST_P = "none_adequate_highest_p"
ABSTAINED = "no_certified_contract_highest_p"
FASTEST_ADEQUATE = "fastest_adequate"
# With more than half, a runner-up could be likelier than the first choice.
MAX_EXPLORATION = 0.5

_RANGES = (
    ("min_adequacy", 0.0, 1.0),
    ("failure_cost_usd", 0.0, 1e9),
    ("side_call_failure_cost_usd", 0.0, 1e9),
    ("exploration", 0.0, MAX_EXPLORATION),
    ("exploration_floor", 0.0, MAX_EXPLORATION),
    ("n_explored", 0, 1000),
    ("near_tie", 1.0, 1e9),
)


class Choice(Struct, frozen=True):
    """What a policy says: candidates from first to last choice, their probabilities, and why.

    `exploration` is what was in effect, `expected_regret_usd` what it is expected to cost.
    """

    ranked: tuple[Candidate, ...]
    distribution: dict[str, float]
    reason: str
    exploration: Exploration = Exploration()
    expected_regret_usd: float = 0.0


class CheapestAdequate(Struct, frozen=True, kw_only=True):
    """The least expected cost among the models that are adequate.

    A model is adequate when p >= `min_adequacy`; among those the least expected cost is taken, and
    if there is none, the highest p. Without a threshold (0) every model is a matter of price, and
    the least total cost is taken,

        total cost = expected cost + cost to the later session + (1 - p) * failure cost,

    where `failure_cost_usd` is what an inadequate answer costs the caller (a wasted step, a
    retry, somebody's time), and `side_call_failure_cost_usd` the same for titles, summaries and
    the like.

    `exploration` is the probability shared by the runners-up (at most `n_explored`) that are
    adequate and whose total cost is at most `near_tie` times the least; each of them gets at least
    `exploration_floor`, and as many are explored as the share has room for. 0 makes the choice
    certain. Raises ArtifactError for a setting that is out of range.
    """

    min_adequacy: float = 0.0
    failure_cost_usd: float = 0.25
    side_call_failure_cost_usd: float = 0.001
    exploration: float = 0.0
    n_explored: int = 2
    near_tie: float = 1.5
    exploration_floor: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ArtifactError(f"policy.{name}: got {value}, expected {low:g} to {high:g}")
        if self.exploration_floor > self.exploration > 0.0:
            raise ArtifactError(
                f"policy.exploration_floor: got {self.exploration_floor}, expected at most the "
                f"exploration of {self.exploration}"
            )

    @property
    def name(self) -> str:
        """The policy's name in decisions and logs."""
        return "cheapest_adequate"

    @property
    def version(self) -> str:
        """Name and settings, short: equal versions decide equally."""
        settings = repr(structs.astuple(self)).encode()
        return f"{self.name}-{hashlib.sha256(settings).hexdigest()[:8]}"

    def choose(
        self,
        candidates: Sequence[Candidate],
        *,
        min_adequacy: float | None = None,
        is_side_call: bool = False,
        exploration: Exploration | None = None,
        failure_factor: float = 1.0,
        objective: Objective = "cost",
    ) -> Choice:
        """The choice among admissible candidates, at least one.

        A `min_adequacy` of the request's own replaces the threshold, 0 included; one above 1 is
        that of a contract that nothing keeps, and takes the highest p. `exploration` replaces the
        policy's own; `failure_factor` multiplies the failure cost. Ties go to the higher p, then
        to the name, so that the order of candidates never matters.

        The objective "latency" takes the fastest of the adequate models by the 95th percentile of
        their time to the first tool call, unknown ones last, and explores nothing. Without a
        threshold a model is adequate there when its p is at least that of the least total cost.

        >>> cheap = Candidate(model="a", p_adequate=0.8, expected_cost=0.001, input_tokens=1,
        ...                   cached_tokens=0, output_tokens=1, tool_call_latency_ms=1)
        >>> dear = Candidate(model="b", p_adequate=0.9, expected_cost=0.01, input_tokens=1,
        ...                  cached_tokens=0, output_tokens=1, tool_call_latency_ms=1)
        >>> [CheapestAdequate().choose([cheap, dear], min_adequacy=tau).ranked[0].model
        ...  for tau in (0.7, 0.85, 0.95)]
        ['a', 'b', 'b']
        """
        threshold = self.min_adequacy if min_adequacy is None else min_adequacy
        is_literal = min_adequacy is not None or threshold > 0
        failure = 0.0
        if not is_literal:
            failure = self.failure_cost(is_side_call=is_side_call) * failure_factor
        adequate, others = _by_cost(candidates, threshold=threshold, failure=failure)
        exploring = self.exploring if exploration is None else exploration
        is_for_speed = objective == "latency" and bool(adequate)
        if is_for_speed:
            adequate, others = _by_latency(adequate, others, is_literal=is_literal)
            exploring = structs.replace(
                exploring, off=exploring.off or (LATENCY if exploring.share > 0.0 else NOT_SET)
            )
        explored = explore(
            [total_cost(candidate, failure=failure) for candidate in adequate],
            exploration=exploring,
            near_tie=self.near_tie,
            n_most=self.n_explored,
        )
        ranked = (*adequate, *others)
        reason = _reason(bool(adequate), threshold, is_literal=is_literal)
        return Choice(
            ranked=ranked,
            distribution=_distribution(ranked, explored.probabilities),
            reason=FASTEST_ADEQUATE if is_for_speed else reason,
            exploration=explored.exploration,
            expected_regret_usd=explored.regret_usd,
        )

    def failure_cost(self, *, is_side_call: bool) -> float:
        """US dollars that an inadequate answer costs the caller."""
        return self.side_call_failure_cost_usd if is_side_call else self.failure_cost_usd

    @property
    def exploring(self) -> Exploration:
        """The exploration that holds where a tenant has no settings of its own."""
        return Exploration(share=self.exploration, floor=self.exploration_floor)


def total_cost(candidate: Candidate, *, failure: float) -> float:
    """US dollars of this call, of the later session, and of what failing is expected to cost."""
    expected_failure = (1.0 - candidate.p_adequate) * failure
    return candidate.expected_cost + candidate.later_cost + expected_failure


def _by_cost(
    candidates: Sequence[Candidate], *, threshold: float, failure: float
) -> tuple[list[Candidate], list[Candidate]]:
    """The adequate ones from the least total cost on, the others from the highest p on."""
    adequate = [c for c in candidates if c.p_adequate >= threshold]
    others = [c for c in candidates if c.p_adequate < threshold]
    adequate.sort(key=lambda c: (total_cost(c, failure=failure), -c.p_adequate, c.model))
    others.sort(key=lambda c: (-c.p_adequate, c.expected_cost, c.model))
    return adequate, others


def _by_latency(
    adequate: Sequence[Candidate], others: Sequence[Candidate], *, is_literal: bool
) -> tuple[list[Candidate], list[Candidate]]:
    """The same from the fastest on; those that are less adequate than the cheapest come later."""
    least_p = 0.0 if is_literal else adequate[0].p_adequate
    quick = sorted((c for c in adequate if c.p_adequate >= least_p), key=_slowness)
    return quick, [*(c for c in adequate if c.p_adequate < least_p), *others]


def _slowness(candidate: Candidate) -> tuple[float, float, str]:
    latency = candidate.tool_call_latency_ms
    slowness = math.inf if math.isnan(latency) else latency
    return slowness, candidate.expected_cost + candidate.later_cost, candidate.model


def _distribution(ranked: Sequence[Candidate], probabilities: Sequence[float]) -> dict[str, float]:
    """The first choice gets what the near-ties, which follow it in order, leave."""
    distribution = {candidate.model: 0.0 for candidate in ranked}
    for candidate, probability in zip(ranked[1:], probabilities, strict=False):
        distribution[candidate.model] = probability
    distribution[ranked[0].model] = 1.0 - sum(probabilities)
    return distribution


def draw(distribution: dict[str, float], *, decision_id: str) -> str:
    """The model drawn for a decision id: the same for a retry, and for a replay years later.

    >>> draw({"a": 0.0, "b": 1.0}, decision_id="any")
    'b'
    """
    likeliest = max(distribution, key=distribution.__getitem__)
    if distribution[likeliest] == 1.0:  # a random generator costs more than all the rest
        return likeliest
    seed = int.from_bytes(hashlib.sha256(decision_id.encode()).digest()[:8], "big")
    models = sorted(distribution)
    weights = np.cumsum([distribution[model] for model in models])
    point = np.random.default_rng(seed).random() * weights[-1]
    return models[int(np.searchsorted(weights, point, side="right"))]


def _reason(is_any_adequate: bool, threshold: float, *, is_literal: bool) -> str:
    if not is_any_adequate:
        return HIGHEST_P if threshold <= 1.0 else ABSTAINED
    return CHEAPEST_ADEQUATE if is_literal else LEAST_TOTAL_COST
