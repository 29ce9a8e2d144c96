"""From scored candidates to a distribution over models."""

import hashlib
from collections.abc import Sequence

import numpy as np
from msgspec import Struct, structs

from router_model.errors import ArtifactError
from router_model.types import Candidate

LEAST_TOTAL_COST = "least_total_cost"
CHEAPEST_ADEQUATE = "cheapest_adequate"
HIGHEST_P = "none_adequate_highest_p"


_RANGES = (
    ("min_adequacy", 0.0, 1.0),
    ("failure_cost_usd", 0.0, 1e9),
    ("side_call_failure_cost_usd", 0.0, 1e9),
    # More than half, and a runner-up could be likelier than the first choice.
    ("exploration", 0.0, 0.5),
    ("n_explored", 0, 1000),
    ("near_tie", 1.0, 1e9),
)


class Choice(Struct, frozen=True):
    """What a policy says: candidates from first to last choice, their probabilities, and why."""

    ranked: tuple[Candidate, ...]
    distribution: dict[str, float]
    reason: str


class CheapestAdequate(Struct, frozen=True, kw_only=True):
    """The least expected cost among the models that are adequate.

    A model is adequate when p >= `min_adequacy`; among those the least expected cost is taken, and
    if there is none, the highest p. Without a threshold (0) every model is a matter of price, and
    the least total cost is taken,

        total cost = expected cost + (1 - p) * failure cost,

    where `failure_cost_usd` is what an inadequate answer costs the caller (a wasted step, a
    retry, somebody's time), and `side_call_failure_cost_usd` the same for titles, summaries and
    the like.

    `exploration` is the probability, shared evenly, of the runners-up (at most `n_explored`)
    whose total cost is below `near_tie` times the least; 0 makes the choice certain.
    Raises ArtifactError for a setting that is out of range.
    """

    min_adequacy: float = 0.0
    failure_cost_usd: float = 0.25
    side_call_failure_cost_usd: float = 0.001
    exploration: float = 0.0
    n_explored: int = 2
    near_tie: float = 1.5

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ArtifactError(f"policy.{name}: got {value}, expected {low:g} to {high:g}")

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
    ) -> Choice:
        """The choice among admissible candidates, at least one.

        A `min_adequacy` of the request's own replaces the threshold, 0 included. Ties go to the
        higher p, then to the name, so that the order of candidates never matters.

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
        failure = self.side_call_failure_cost_usd if is_side_call else self.failure_cost_usd
        failure = 0.0 if is_literal else failure

        def total(candidate: Candidate) -> float:
            return candidate.expected_cost + (1.0 - candidate.p_adequate) * failure

        adequate = sorted(
            (c for c in candidates if c.p_adequate >= threshold),
            key=lambda c: (total(c), -c.p_adequate, c.model),
        )
        others = sorted(
            (c for c in candidates if c.p_adequate < threshold),
            key=lambda c: (-c.p_adequate, c.expected_cost, c.model),
        )
        limit = self.near_tie * total(adequate[0]) if adequate else 0.0
        ties = [c for c in adequate[1 : 1 + self.n_explored] if total(c) <= limit]
        return Choice(
            ranked=(*adequate, *others),
            distribution=self._distribution((*adequate, *others), ties),
            reason=_reason(bool(adequate), is_literal=is_literal),
        )

    def _distribution(
        self, ranked: Sequence[Candidate], ties: Sequence[Candidate]
    ) -> dict[str, float]:
        share = self.exploration / len(ties) if ties else 0.0
        distribution = {candidate.model: 0.0 for candidate in ranked}
        distribution |= {candidate.model: share for candidate in ties}
        distribution[ranked[0].model] = 1.0 - share * len(ties)
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


def _reason(is_any_adequate: bool, *, is_literal: bool) -> str:
    if not is_any_adequate:
        return HIGHEST_P
    return CHEAPEST_ADEQUATE if is_literal else LEAST_TOTAL_COST
