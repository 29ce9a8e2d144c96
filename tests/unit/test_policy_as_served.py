"""The router's policy over recorded sessions chooses as the service's chooser does."""

from collections import Counter

import numpy as np
import pytest
from msgspec.structs import replace
from recorded_samples import call, session

from router_model.catalog import catalog_of
from router_model.economics import CacheFacts
from router_model.features import SCHEMA
from router_model.policy import CheapestAdequate
from router_model.scoring import Asking, Scored, Scorer, Situation
from router_model.tenants import TenantOffsets
from router_model.terms import Exploration
from router_model.types import Candidate
from router_model.warmth import Warmth, expected_call_cost, lifetime_s, warmth_of
from router_model.weighing import Chooser
from router_training.session_policies import RouterPolicy
from router_training.session_replay import Rule, Turn, play, prepare
from router_training.session_study import load_router

ROUTER, KNOWN = load_router(None)
ECONOMICS = replace(KNOWN, any_cache=CacheFacts(p_hit=1.0, n=0), caches={})
PRICED = [card for card in ROUTER.catalog.enabled if card.price is not None]
# Few sell a long lifetime: among those alone it bears on every choice.
CARDS = [card for card in PRICED if card.long_cache_ttl_s is not None] + PRICED[-4:]
CATALOG = catalog_of(CARDS, as_of=ROUTER.catalog.as_of)


def _candidate(turn: Turn, place: int, warm: Warmth) -> Candidate:
    card, n = turn.cards[place], turn.call.input_tokens
    asked = turn.call.request.cache_ttl_s
    cost = expected_call_cost(
        card,
        n,
        warm,
        output_tokens=turn.output_tokens,
        writes=True,
        ttl_s=lifetime_s(card, asked),
    )
    return Candidate(
        model=card.id,
        p_adequate=float(turn.p[place]),
        expected_cost=cost,
        input_tokens=n,
        cached_tokens=warm.tokens,
        output_tokens=turn.output_tokens,
        tool_call_latency_ms=1.0,
    )


def _served(turn: Turn, chooser: Chooser, min_adequacy: float | None) -> str:
    """The model that the service would choose, where the trajectory says nothing."""
    cards = [turn.cards[place] for place in turn.free]
    warmth = {
        card.id: warmth_of(
            card,
            turn.view.prefixes.get(card.id),
            input_tokens=turn.call.input_tokens,
            facts=ECONOMICS.cache_of(card.id),
            is_marked=True,
        )
        for card in cards
    }
    candidates = {
        turn.cards[place].id: _candidate(turn, place, warmth[turn.cards[place].id])
        for place in turn.free
    }
    situation = Situation(
        tenant="t",
        values=np.zeros(SCHEMA.n, dtype=np.float32),
        embedding=np.zeros(1, dtype=np.float32),
        input_tokens=turn.call.input_tokens,
        max_output_tokens=None,
        step_type=turn.call.step_type,
        session=turn.view,
        asking=Asking(is_marked=True, cache_ttl_s=turn.call.request.cache_ttl_s),
    )
    choice = chooser.choose(
        cards,
        Scored(candidates, warmth, ""),
        situation,
        min_adequacy=min_adequacy,
        set_by=None,
        exploration=Exploration(),
        objective="cost",
    )
    return choice.ranked[0].model


@pytest.mark.parametrize("ttl_s", [None, 3600])
@pytest.mark.parametrize("min_adequacy", [None, 0.7])
def test_the_policy_chooses_as_the_service(min_adequacy: float | None, ttl_s: int | None) -> None:
    rng = np.random.default_rng(0)
    plain = call(1_000).request
    asking = [plain, replace(plain, cache_ttl_s=ttl_s)]
    sessions, p = [], []
    for number in range(60):
        tokens = 3_000 + np.cumsum(rng.integers(200, 6_000, size=8))
        gaps = rng.choice([5.0, 200.0, 290.0], size=8)
        calls = [
            call(int(n), gap_s=float(gap), request=asking[int(rng.integers(2))])
            for n, gap in zip(tokens, gaps, strict=True)
        ]
        sessions.append(session(calls, name=f"s{number}"))
        levels = rng.uniform(0.4, 0.9, size=len(CARDS))
        p.append(np.clip(levels + rng.normal(0.0, 0.1, size=(8, len(CARDS))), 0.0, 1.0))
    scorer = Scorer(ROUTER.predictor, CATALOG, offsets=TenantOffsets(), economics=ECONOMICS)
    chooser = Chooser(CheapestAdequate(), scorer)
    ours = RouterPolicy(ECONOMICS)
    chosen: Counter[str] = Counter()

    def both(turn: Turn) -> int:
        place = ours(turn)
        chosen[turn.cards[place].id] += 1
        assert turn.cards[place].id == _served(turn, chooser, min_adequacy)
        return place

    play(prepare(sessions, CATALOG, p, rule=Rule(min_adequacy=min_adequacy)), both)
    assert len(chosen) > 2
