"""From scored candidates to a distribution over models."""

import hashlib
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from router_model.types import Candidate

THRESHOLD_MET = "cheapest_adequate"
NEAR_BEST = "cheapest_near_best"
BEST_AVAILABLE = "none_adequate_highest_p"


class Choice(Struct, frozen=True):
    """What a policy says: candidates from first to last choice, their probabilities, and why."""

    ranked: tuple[Candidate, ...]
    distribution: dict[str, float]
    reason: str


class CheapestAdequate(Struct, frozen=True, kw_only=True):
    """The least expected cost among the models that are adequate.

    A model is adequate when p >= `min_adequacy`, or when it gives away at most `max_regret` of
    the highest p on offer: where no model is likely to succeed, paying the most for nearly the
    same chance is waste. With `max_regret` 0 only the threshold counts, and if no model reaches
    it the highest p is taken. Side calls (titles, summaries, ...) allow `side_call_regret`.

    `exploration` is the probability, shared evenly, of the next cheapest adequate models (at
    most `n_explored`); 0 makes the choice certain.
    """

    min_adequacy: float = 0.95
    max_regret: float = 0.03
    side_call_regret: float = 0.3
    exploration: float = 0.0
    n_explored: int = 2

    @property
    def name(self) -> str:
        """The policy's name in decisions and logs."""
        return "cheapest_adequate"

    @property
    def version(self) -> str:
        """Name and settings, short: equal versions decide equally."""
        settings = (
            self.min_adequacy,
            self.max_regret,
            self.side_call_regret,
            self.exploration,
            self.n_explored,
        )
        return f"{self.name}-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"

    def choose(
        self,
        candidates: Sequence[Candidate],
        *,
        min_adequacy: float | None = None,
        is_side_call: bool = False,
    ) -> Choice:
        """The choice among admissible candidates, at least one.

        A `min_adequacy` of the request's own is taken literally: it sets the threshold and
        turns `max_regret` off. Ties in cost go to the higher p, then to the name, so that the
        order of candidates never matters.

        >>> cheap = Candidate(model="a", p_adequate=0.8, expected_cost=0.001, input_tokens=1,
        ...                   cached_tokens=0, output_tokens=1, tool_call_latency_ms=1)
        >>> dear = Candidate(model="b", p_adequate=0.9, expected_cost=0.01, input_tokens=1,
        ...                  cached_tokens=0, output_tokens=1, tool_call_latency_ms=1)
        >>> policy = CheapestAdequate()
        >>> policy.choose([cheap, dear], min_adequacy=0.7).ranked[0].model
        'a'
        >>> policy.choose([cheap, dear], min_adequacy=0.85).ranked[0].model
        'b'
        """
        best = max(candidate.p_adequate for candidate in candidates)
        regret = 0.0
        if min_adequacy is None:
            regret = self.side_call_regret if is_side_call else self.max_regret
        threshold = self.min_adequacy if min_adequacy is None else min_adequacy
        floor = min(threshold, best - regret)
        adequate = sorted((c for c in candidates if c.p_adequate >= floor), key=_by_cost)
        others = sorted((c for c in candidates if c.p_adequate < floor), key=_by_p)
        return Choice(
            ranked=(*adequate, *others),
            distribution=self._distribution(adequate, others),
            reason=_reason(adequate[0], threshold=threshold, regret=regret),
        )

    def _distribution(
        self, adequate: Sequence[Candidate], others: Sequence[Candidate]
    ) -> dict[str, float]:
        explored = adequate[1 : 1 + self.n_explored]
        share = self.exploration / len(explored) if explored else 0.0
        distribution = {candidate.model: 0.0 for candidate in (*adequate, *others)}
        for candidate in explored:
            distribution[candidate.model] = share
        distribution[adequate[0].model] = 1.0 - share * len(explored)
        return distribution


def draw(distribution: dict[str, float], *, decision_id: str) -> str:
    """The model drawn for a decision id: the same for a retry, and for a replay years later.

    >>> draw({"a": 0.0, "b": 1.0}, decision_id="any")
    'b'
    """
    seed = int.from_bytes(hashlib.sha256(decision_id.encode()).digest()[:8], "big")
    models = sorted(distribution)
    weights = np.cumsum([distribution[model] for model in models])
    point = np.random.default_rng(seed).random() * weights[-1]
    return models[int(np.searchsorted(weights, point, side="right"))]


def _reason(chosen: Candidate, *, threshold: float, regret: float) -> str:
    if chosen.p_adequate >= threshold:
        return THRESHOLD_MET
    return NEAR_BEST if regret > 0 else BEST_AVAILABLE


def _by_cost(candidate: Candidate) -> tuple[float, float, str]:
    return (candidate.expected_cost, -candidate.p_adequate, candidate.model)


def _by_p(candidate: Candidate) -> tuple[float, float, str]:
    return (-candidate.p_adequate, candidate.expected_cost, candidate.model)
