"""What simulated calls cost, with a cache for each model in each session.

The cost of a call depends on which models answered the calls before it. Two views exist:
*staying* (the session has been with the model from its beginning), which needs no history and is
the truth of `World.cost_usd`, and `SessionCaches`, which follows the choices that were made.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from router_data.agent_outcomes import AgentTraffic
from router_data.agent_sessions import Calls
from router_model.pricing import call_cost
from router_model.session_view import Prefix, SessionView
from router_model.types import ModelCard, Usage

Floats = NDArray[np.float64]


def staying_cached_tokens(calls: Calls, cards: Sequence[ModelCard]) -> Floats:
    """Cached prefix by (call, model) if a model had answered the whole session.

    The prefix of the call before in the same conversation, when that was no longer ago than the
    model's cache lives and long enough for it to be kept.
    """
    previous = calls.previous
    elapsed = np.cumsum(calls.gap_ms)
    age_s = np.where(previous >= 0, (elapsed - elapsed[previous]) / 1_000.0, np.inf)
    prefix = np.where(previous >= 0, calls.input_tokens[previous], 0)
    result = np.zeros((len(previous), len(cards)))
    for column, card in enumerate(cards):
        if card.capabilities.caching != "none":
            warm = (age_s <= card.cache_ttl_s) & (prefix >= card.min_cache_tokens)
            result[:, column] = np.where(warm, prefix, 0)
    return result


def staying_costs(
    calls: Calls, cards: Sequence[ModelCard], *, cached: Floats, output: Floats
) -> Floats:
    """US dollars by (call, model) if the session had stayed with the model."""
    costs = np.zeros_like(output)
    in_conversation = (calls.chain_start >= 0).tolist()
    tokens = calls.input_tokens.tolist()
    for column, card in enumerate(cards):
        warm, written = cached[:, column].tolist(), output[:, column].tolist()
        usages = (
            call_usage(card, input_tokens=n, cached_tokens=int(c), output_tokens=int(o), keeps=k)
            for n, c, o, k in zip(tokens, warm, written, in_conversation, strict=True)
        )
        costs[:, column] = [usage_cost(card, usage) for usage in usages]
    return costs


def call_usage(
    card: ModelCard, *, input_tokens: int, cached_tokens: int, output_tokens: int, keeps: bool
) -> Usage:
    """The tokens of one call; where `keeps`, what is new in the prefix is written to the cache.

    Nothing is written by a model without a cache, nor below the least length that it keeps.
    """
    keeps = keeps and card.capabilities.caching != "none"
    is_written = keeps and input_tokens >= card.min_cache_tokens
    return Usage(
        input_tokens=input_tokens,
        cached_tokens=cached_tokens,
        cache_write_tokens=input_tokens - cached_tokens if is_written else 0,
        output_tokens=output_tokens,
    )


def usage_cost(card: ModelCard, usage: Usage) -> float:
    """US dollars of one call by the card's prices; 0 where the card has none.

    >>> from router_model.types import PriceCard
    >>> card = ModelCard(id="m", provider="p", snapshot="m", family="m", context_window=10**5,
    ...                  max_output_tokens=100, price=PriceCard(input=1.0, output=5.0))
    >>> usage_cost(card, Usage(input_tokens=10_000, output_tokens=100))
    0.0105
    """
    return 0.0 if card.price is None else call_cost(card.price, usage)


class SessionCaches:
    """Which part of a call's prefix each model has warm, given the choices made so far.

    Calls have to be taken in the order of time within each session.
    """

    def __init__(self, traffic: AgentTraffic) -> None:
        self.cards = traffic.cards
        self.calls = traffic.calls
        self._elapsed = np.cumsum(traffic.calls.gap_ms)
        # Prefix and time of each model's last call in a conversation.
        self._last: dict[tuple[int, int, int], tuple[int, int]] = {}
        # The model that answered last, and the calls so far, of each main conversation.
        self._main: dict[int, tuple[int, int]] = {}

    def view(self, index: int) -> SessionView:
        """The session as a router that saw all of it knows it when call `index` arrives."""
        session, chain = self._conversation(index)
        column, turn = self._main.get(session, (-1, 0))
        now_ms = int(self._elapsed[index])
        prefixes = {}
        for place, card in enumerate(self.cards):
            last = self._last.get((session, chain, place))
            if last is not None and card.capabilities.caching != "none":
                prefixes[card.id] = Prefix(
                    tokens=last[0], age_s=(now_ms - last[1]) / 1_000.0, ttl_s=card.cache_ttl_s
                )
        model = None if column < 0 else self.cards[column].id
        return SessionView(model=model, turn=turn, prefixes=prefixes)

    def warm_tokens(self, index: int, column: int) -> int:
        """Tokens of call `index` that the model in `column` would read from its cache."""
        card = self.cards[column]
        last = self._last.get((*self._conversation(index), column))
        if last is None or card.capabilities.caching == "none":
            return 0
        prefix, then_ms = last
        is_warm = int(self._elapsed[index]) - then_ms <= 1_000 * card.cache_ttl_s
        return prefix if is_warm and prefix >= card.min_cache_tokens else 0

    def take(self, index: int, column: int, *, output_tokens: int) -> Usage:
        """The usage of call `index` by the model in `column`, which is warm from now on."""
        session, chain = self._conversation(index)
        n_tokens = int(self.calls.input_tokens[index])
        usage = call_usage(
            self.cards[column],
            input_tokens=n_tokens,
            cached_tokens=self.warm_tokens(index, column),
            output_tokens=output_tokens,
            keeps=chain >= 0,
        )
        if chain >= 0:
            self._last[session, chain, column] = (n_tokens, int(self._elapsed[index]))
        if not self.calls.step[index].is_side_call:
            _, turn = self._main.get(session, (-1, 0))
            self._main[session] = column, turn + 1
        return usage

    def _conversation(self, index: int) -> tuple[int, int]:
        return int(self.calls.session[index]), int(self.calls.chain_start[index])
