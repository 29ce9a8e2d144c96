"""The policies that are replayed over recorded sessions: fixed, sticky, greedy, and the router's.

All choose among the same models, by the same predictions of p and of the length of the answer.
Where a model is adequate for the call by the rule in effect, each policy takes an adequate one, the
fixed ones aside. Only the router's heeds what ties a call to a model; `within_locks` makes another
policy do so too, for a comparison that no unsafe switch tilts.
"""

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from router_model.choice_horizon import P_STAYS_FIT, choice_horizon
from router_model.economics import Economics
from router_model.pricing import call_cost
from router_model.switching import Option, later_costs
from router_model.types import Usage
from router_model.warmth import Warmth, expected_call_cost, warmth_of
from router_training.session_ledger import lifetime_s
from router_training.session_replay import Floats, Policy, Prepared, Turn


def fixed(place: int) -> Policy:
    """Always the same model; where it can't take the call, the highest p."""

    def choose(turn: Turn) -> int:
        if place in turn.able:
            return place
        return max(turn.able, key=lambda m: (turn.p[m], turn.cards[m].id))

    return choose


def greedy(turn: Turn) -> int:
    """The cheapest adequate model for this call as if nothing were cached anywhere."""
    return _cheapest(turn, [_cold_usd(turn, m) for m in range(len(turn.cards))])


def greedy_with_caches(turn: Turn) -> int:
    """The cheapest adequate model for this call by what is warm now, without a look ahead."""
    return _cheapest(turn, [_warm_usd(turn, m) for m in range(len(turn.cards))])


def sticky(turn: Turn) -> int:
    """The model of the call before; the greedy choice at first, and where it is not adequate."""
    previous = turn.view.model
    for place in turn.adequate(turn.able):
        if turn.cards[place].id == previous and not turn.is_side_call:
            return place
    return greedy(turn)


def within_locks(policy: Policy) -> Policy:
    """The policy with only those models to choose among that the call's lock admits."""
    return lambda turn: policy(replace(turn, able=turn.free))


def highest_mean(prepared: Prepared) -> int:
    """The model with the highest mean p over all calls."""
    return int(np.argmax(mean_p(prepared)))


def mean_p(prepared: Prepared) -> Floats:
    """Mean P(adequate) of each model over all calls."""
    means: Floats = np.concatenate(prepared.p).mean(axis=0)
    return means


def always_able(prepared: Prepared) -> tuple[int, ...]:
    """The models that every call admits."""
    able = set(range(len(prepared.cards)))
    for by_call in prepared.able:
        for admitted in by_call:
            able.intersection_update(admitted)
    return tuple(sorted(able))


def _cheapest(turn: Turn, costs: Sequence[float]) -> int:
    """The least cost and penalty among the adequate; ties to the higher p, then to the name."""
    return min(
        turn.adequate(turn.able),
        key=lambda m: (costs[m] + turn.penalty(m), -turn.p[m], turn.cards[m].id),
    )


def _cold_usd(turn: Turn, place: int) -> float:
    """The call at list prices: nothing cached, nothing written."""
    return _cost(
        turn,
        place,
        Usage(input_tokens=turn.call.input_tokens, output_tokens=turn.output_tokens),
    )


def _warm_usd(turn: Turn, place: int) -> float:
    usage = turn.ledger.usage(turn.cards[place], turn.call)
    return _cost(turn, place, replace(usage, output_tokens=turn.output_tokens))


def _cost(turn: Turn, place: int, usage: Usage) -> float:
    price = turn.cards[place].price
    if price is None:
        return float("inf")
    return call_cost(price, usage, service_tier=turn.call.request.service_tier)


class RouterPolicy:
    """The router's choice: the least cost now and later among the models that are adequate.

    The cost of this call is expected over what is still warm, what comes later is
    `switching.later_costs`; locks keep models out. `economics` is what is known of sessions.
    """

    def __init__(self, economics: Economics, *, p_stays_fit: float = P_STAYS_FIT) -> None:
        self._economics = economics
        self._p_stays_fit = p_stays_fit

    def __call__(self, turn: Turn) -> int:
        """The place of the chosen card."""
        options = [self._option(turn, place) for place in turn.free]
        later = later_costs(
            options,
            horizon=choice_horizon(
                self._economics.horizon(turn.call.step_type, turn.view.turn), self._p_stays_fit
            ),
            economics=self._economics,
            failure_cost_usd=turn.rule.failure_cost_usd,
            min_adequacy=turn.rule.min_adequacy,
            service_tier=turn.call.request.service_tier,
        )
        costs = {
            place: _expected_usd(turn, option) + after.cost_usd
            for place, option, after in zip(turn.free, options, later, strict=True)
        }
        return min(
            turn.adequate(turn.free),
            key=lambda m: (costs[m] + turn.penalty(m), -turn.p[m], turn.cards[m].id),
        )

    def _option(self, turn: Turn, place: int) -> Option:
        card, call = turn.cards[place], turn.call
        prefix = None if turn.is_side_call else turn.view.prefixes.get(card.id)
        warmth = warmth_of(
            card,
            prefix,
            input_tokens=call.input_tokens,
            facts=self._economics.cache_of(card.id),
            is_marked=True,
        )
        return Option(
            card=card,
            p_adequate=float(turn.p[place]),
            input_tokens=call.input_tokens,
            output_tokens=turn.output_tokens,
            warm_tokens=warmth.tokens,
            p_warm=warmth.p,
            age_s=0.0 if prefix is None else prefix.age_s,
            ttl_s=lifetime_s(card, call) if prefix is None else prefix.ttl_s,
        )


def _expected_usd(turn: Turn, option: Option) -> float:
    return expected_call_cost(
        option.card,
        option.input_tokens,
        Warmth(option.warm_tokens, option.p_warm),
        output_tokens=option.output_tokens,
        writes=not turn.is_side_call,
        ttl_s=lifetime_s(option.card, turn.call),
        service_tier=turn.call.request.service_tier,
    )
