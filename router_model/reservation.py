"""What a call may cost at most, which is what a budget reserves for it."""

import math
from collections.abc import Mapping, Sequence

from router_model.constraint_checks import INPUT_HEADROOM
from router_model.exploration import microusd
from router_model.pricing import worst_case_cost
from router_model.scoring import Asking, Scored, Situation
from router_model.types import Candidate, ModelCard
from router_model.warmth import HOUR_S


def reserved_microusd(
    card: ModelCard, candidate: Candidate, *, asking: Asking, max_output_tokens: int | None
) -> int:
    """The most that this call can cost with this model, in whole micro-dollars, rounded up.

    Nothing is found in a cache, all of the prompt is written to it where that is dearer, and the
    answer is as long as it may be: as long as the request allows (`max_output_tokens`), at most
    what the model can write; so is each where several are asked for at once. The prompt counts
    with the headroom of its estimate. A model without a price costs nothing here; it is never
    admissible.
    """
    if card.price is None:
        return 0
    limit = card.max_output_tokens
    longest = limit if max_output_tokens is None else min(limit, max_output_tokens)
    tokens = math.ceil(candidate.input_tokens * INPUT_HEADROOM)
    is_for_an_hour = asking.cache_ttl_s is not None and asking.cache_ttl_s >= HOUR_S
    usd = worst_case_cost(
        card.price,
        input_tokens=tokens,
        max_output_tokens=asking.n_answers * longest,
        cache_write_1h_tokens=tokens if is_for_an_hour else 0,
        service_tier=asking.service_tier,
    )
    return microusd(usd)


def reservations(
    cards: Sequence[ModelCard], scored: Scored, situation: Situation
) -> Mapping[str, int]:
    """The most that the call can cost with each scored model, in micro-dollars."""
    return {
        card.id: reserved_microusd(
            card,
            scored.candidates[card.id],
            asking=situation.asking,
            max_output_tokens=situation.max_output_tokens,
        )
        for card in cards
    }
