"""What another model would have cost on imported calls, and how far that can be trusted.

A log without propensities says nothing of how models that were not called would have answered.
What it allows is arithmetic: the calls' own tokens at other models' prices. Main calls priced so
say what a fixed model would cost, not whether it would do. For side calls (titles, summaries,
commit messages and the like) one assumption, which is printed with the figure, makes a saving of
it: that the cheap model is adequate for them.

Intervals are a Poisson bootstrap over sessions (Oza and Russell 2001; Chamandy et al. 2012): each
session counts a Poisson(1) number of times in each of the replicates, drawn from its own name, so
that one pass in constant memory gives the same interval whatever the order of the calls.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from router_data.imports.loose import count
from router_data.own_cost import ROUTER_COST_USD
from router_model.catalog import Catalog
from router_model.pricing import call_cost
from router_model.types import PriceCard, Usage

Floats = NDArray[np.float64]
MIN_SESSIONS: Final = 20
"""Fewer sessions give no interval that means anything."""

_REPLICATES: Final = 400
_LEVEL: Final = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class SideSaving:
    """What side calls would have saved with `model`, as a share of all that was paid.

    `share` is net of the router's own cost for every call; `low` and `high` are the ends of its
    95% interval, None with fewer than 20 sessions. `usd_per_1000` is for 1,000 calls of any kind.
    """

    model: str
    share: float
    low: float | None
    high: float | None
    usd_per_1000: float
    n_side_calls: int
    n_sessions: int


class WhatIf:
    """Adds up calls at the prices of every model of a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        priced = [card for card in catalog.enabled if card.price is not None]
        self._names = [card.id for card in priced]
        self._prices: list[PriceCard] = [card.price for card in priced if card.price is not None]
        self._place = {name: place for place, name in enumerate(self._names)}
        n = len(self._names)
        self.n_calls = self.n_side_calls = self.n_assumed = 0
        self.paid = self.paid_for_side = 0.0
        self._explained = self._explained_paid = 0.0
        self._all_at, self._side_at = np.zeros(n), np.zeros(n)
        self._sessions: set[int] = set()
        self._paid_again = np.zeros(_REPLICATES)
        self._calls_again = np.zeros(_REPLICATES)
        self._side_paid_again = np.zeros(_REPLICATES)
        self._side_at_again = np.zeros((_REPLICATES, n))

    def add(
        self,
        model: str,
        usage: dict[str, Any] | None,
        cost: float | None,
        *,
        is_side: bool,
        session: int,
    ) -> None:
        """Take a call with known tokens; without a cost it counts at its model's own price.

        Others are left out.
        """
        tokens = _usage(usage)
        place = self._place.get(model)
        if tokens is None or (cost is None and place is None):
            return
        at = np.array([call_cost(price, tokens) for price in self._prices])
        if place is not None and cost is not None:
            self._explained += float(at[place])
            self._explained_paid += cost
        if cost is None:
            self.n_assumed += 1
            cost = float(at[place or 0])
        weights = np.random.default_rng(session).poisson(1.0, _REPLICATES).astype(np.float64)
        self.n_calls += 1
        self.paid += cost
        self._all_at += at
        self._sessions.add(session)
        self._paid_again += weights * cost
        self._calls_again += weights
        if is_side:
            self._add_side(tokens, cost, weights)

    def _add_side(self, tokens: Usage, cost: float, weights: Floats) -> None:
        """A side call on another model: its prefix is in nobody's cache there."""
        cold = Usage(input_tokens=tokens.input_tokens, output_tokens=tokens.output_tokens)
        at = np.array([call_cost(price, cold) for price in self._prices])
        self.n_side_calls += 1
        self.paid_for_side += cost
        self._side_at += at
        self._side_paid_again += weights * cost
        self._side_at_again += weights[:, None] * at[None, :]

    def explained_share(self) -> float | None:
        """The catalog's prices as a share of what was paid for calls of models that it knows."""
        return self._explained / self._explained_paid if self._explained_paid > 0 else None

    def always(self, model: str) -> float | None:
        """All calls with known tokens at one model's prices, caches kept, in US dollars."""
        place = self._place.get(model)
        return None if place is None or not self.n_calls else float(self._all_at[place])

    def side_saving(self, models: list[str]) -> SideSaving | None:
        """The saving with the one of `models` that makes side calls cheapest; None if none does."""
        places = [self._place[model] for model in models if model in self._place]
        if not self.n_side_calls or not places or self.paid <= 0:
            return None
        best = min(places, key=lambda place: float(self._side_at[place]))
        own = ROUTER_COST_USD * self.n_calls
        saved = self.paid_for_side - float(self._side_at[best]) - own
        if saved <= 0:
            return None
        low, high = self._interval(best)
        return SideSaving(
            model=self._names[best],
            share=saved / self.paid,
            low=low,
            high=high,
            usd_per_1000=1000 * saved / self.n_calls,
            n_side_calls=self.n_side_calls,
            n_sessions=len(self._sessions),
        )

    def _interval(self, place: int) -> tuple[float | None, float | None]:
        if len(self._sessions) < MIN_SESSIONS:
            return None, None
        own = ROUTER_COST_USD * self._calls_again
        saved = self._side_paid_again - self._side_at_again[:, place] - own
        paid = self._paid_again
        shares = saved[paid > 0] / paid[paid > 0]
        low, high = np.percentile(shares, _LEVEL)
        return float(low), float(high)


def _usage(told: dict[str, Any] | None) -> Usage | None:
    """The tokens of a call where both input and output are known."""
    if told is None or told.get("input_tokens") is None or told.get("output_tokens") is None:
        return None
    return Usage(**{name: count(told.get(name)) or 0 for name in Usage.__struct_fields__})
