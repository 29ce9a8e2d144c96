"""What the calls to come cost if a session goes on with one model; see `switching`."""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, floor, inf
from typing import Final

import numpy as np
from msgspec import Struct

from router_model.economics import Economics, Horizon
from router_model.pricing import TOKENS_PER_PRICE, price_at
from router_model.types import ModelCard, PriceCard
from router_model.warmth import HOUR_S

# A piece of s(t) = A + B t: the last turn that it holds for, A and B.
Piece = tuple[float, float, float]
# Dollars per million tokens: input, cache read, cache write, output.
_Rates = tuple[float, float, float, float]
# With 6 values the cost beyond a price tier is within 3% of that of all lengths of a session.
_N_POINTS: Final = 6
_MOST_KEPT: Final = 256
_LEAST: Final = 1e-9


class Option(Struct, frozen=True, kw_only=True, gc=False):
    """A model that may answer a call, and what it remembers of the session.

    `input_tokens` and `output_tokens` are those expected of this call. `warm_tokens` of the input
    are in the model's cache with probability `p_warm`; they were last used `age_s` seconds ago and
    live for `ttl_s` (None: as the card says). `is_kept` says whether the prefix of a call is
    cached: not by a model that needs markers where the request has none.
    """

    card: ModelCard
    p_adequate: float
    input_tokens: int
    output_tokens: float
    warm_tokens: int = 0
    p_warm: float = 0.0
    age_s: float = 0.0
    ttl_s: int | None = None
    is_kept: bool = True


class Course(Struct, frozen=True, gc=False):
    """What the t-th call to come costs with one model, in dollars: linear in t by pieces.

    `extra` is what the first of them costs more if another model answers the call before it.
    """

    model: str
    pieces: tuple[Piece, ...]
    extra: float


class Turns(Struct, frozen=True, kw_only=True):
    """The number T of calls to come: its moments, and values (weight, T) that have them.

    `sum` is E[T], `weighted` is E[T(T + 1) / 2], `p_any` is P(T >= 1), `most` the largest value.
    """

    sum: float
    weighted: float
    p_any: float
    most: float
    points: tuple[tuple[float, float], ...]
    _until: dict[float, tuple[float, float]]  # what `until` has worked out

    def until(self, last: float) -> tuple[float, float]:
        """The two sums up to turn `last` only: E[min(T, last)] and that of the weighted one."""
        if last >= self.most:
            return self.sum, self.weighted
        found = self._until.get(last)
        if found is None:
            if len(self._until) >= _MOST_KEPT:  # every length of a prefix has turns of its own
                self._until.clear()
            reached = [(weight, min(n, last)) for weight, n in self.points]
            found = self._until[last] = (
                sum(weight * n for weight, n in reached),
                sum(weight * 0.5 * n * (n + 1.0) for weight, n in reached),
            )
        return found


# Horizons are few: those of an artifact by step type and turn.
@lru_cache(maxsize=1024)
def turns_of(horizon: Horizon, mean: float) -> Turns:
    """A horizon with its spread, stretched to another mean.

    >>> fixed = Horizon(turns=3.0, low=3.0, high=3.0, second=6.0)
    >>> turns_of(fixed, 3.0).points
    ((1.0, 3.0),)
    """
    if mean <= 0.0 or horizon.turns <= 0.0:
        return Turns(sum=0.0, weighted=0.0, p_any=0.0, most=0.0, points=(), _until={})
    stretch = mean / horizon.turns
    squared = stretch * stretch * (2.0 * horizon.second - horizon.turns)
    p_any = min(horizon.p_any, mean)
    points = _points(p_any, mean / p_any, squared / p_any)
    return Turns(
        sum=sum(weight * n for weight, n in points),
        weighted=sum(weight * 0.5 * n * (n + 1.0) for weight, n in points),
        p_any=p_any,
        most=points[-1][1],
        points=points,
        _until={},
    )


def _points(p_any: float, mean: float, squared: float) -> tuple[tuple[float, float], ...]:
    """Values from 1 on with these moments given T >= 1, in order: those of 1 + a gamma variable.

    Nodes and weights are Gauss's, by Golub and Welsch (1969): the eigenvalues of the Jacobi matrix
    of the generalized Laguerre polynomials, and the squared first entries of its eigenvectors.
    """
    beyond = mean - 1.0
    variance = squared - mean * mean
    if beyond <= _LEAST or variance <= _LEAST * mean * mean:
        return ((p_any, mean),)
    shape = beyond * beyond / variance
    place = np.arange(_N_POINTS, dtype=np.float64)
    beside = np.sqrt(place[1:] * (place[1:] + shape - 1.0))
    jacobi = np.diag(2.0 * place + shape) + np.diag(beside, 1) + np.diag(beside, -1)
    nodes, vectors = np.linalg.eigh(jacobi)
    values = 1.0 + variance / beyond * nodes
    weights = p_any * vectors[0] ** 2
    return tuple(zip(weights.tolist(), values.tolist(), strict=True))


def staying_cost(course: Course, turns: Turns) -> float:
    """The sum of s(t) over t = 1 ... T, expected over T, in dollars."""
    pieces = course.pieces
    if len(pieces) == 1:
        _, a, b = pieces[0]
        return a * turns.sum + b * turns.weighted
    total, before, before_weighted = 0.0, 0.0, 0.0
    for last, a, b in pieces:
        until, weighted = turns.until(last)
        total += a * (until - before) + b * (weighted - before_weighted)
        before, before_weighted = until, weighted
    return total


def courses_of(
    options: Sequence[Option],
    *,
    economics: Economics,
    most_turns: float,
    failure_cost_usd: float,
    service_tier: str | None,
) -> list[Course]:
    """The course of each option; all of them must have a price.

    `failure_cost_usd` times (1 - p) is part of what every call costs. Changes of price beyond
    `most_turns` are left out.
    """
    return [
        _course(option, economics, most_turns, failure_cost_usd, service_tier) for option in options
    ]


def _course(
    option: Option,
    economics: Economics,
    most_turns: float,
    failure_cost_usd: float,
    service_tier: str | None,
) -> Course:
    card = option.card
    price = card.price
    assert price is not None
    ttl_s = card.cache_ttl_s if option.ttl_s is None else option.ttl_s
    is_long = ttl_s >= HOUR_S
    is_kept = option.is_kept and card.capabilities.caching != "none"
    warm = min(option.warm_tokens, option.input_tokens) if is_kept else 0
    hit = option.p_warm if warm > 0 else economics.cache_of(card.id).p_hit
    growth = economics.growth_tokens * economics.token_ratio_of(card.id)
    p = hit * economics.p_within(ttl_s)
    more = (1.0 - option.p_adequate) * failure_cost_usd

    tokens = option.input_tokens + growth
    rates = _rates(price, tokens, service_tier, is_long=is_long)
    a, b = _line(option, rates, 1, growth=growth, p=p, is_kept=is_kept)
    starts = _starts(option, growth, most_turns, service_tier, is_kept=is_kept)
    pieces = [(starts[0] if starts else inf, a + more, b)]
    for place, start in enumerate(starts):
        later = option.input_tokens + growth * (start + 1)
        then = _rates(price, later, service_tier, is_long=is_long)
        a_then, b_then = _line(option, then, start + 1, growth=growth, p=p, is_kept=is_kept)
        last = starts[place + 1] if place + 1 < len(starts) else inf
        pieces.append((last, a_then + more, b_then))

    plain, read, write, output = rates
    if not is_kept or tokens < card.min_cache_tokens:
        write = plain
    found = warm * hit * economics.p_within(ttl_s - option.age_s) if warm else 0.0
    first = found * read + (tokens - found) * write + option.output_tokens * output
    return Course(card.id, tuple(pieces), first / TOKENS_PER_PRICE - a - b)


def _line(
    option: Option, rates: _Rates, turn: int, *, growth: float, p: float, is_kept: bool
) -> tuple[float, float]:
    """A and B of s(t) = A + B t, in dollars and without failures, as they are at this turn."""
    plain, read, write, output = rates
    card, now = option.card, option.input_tokens
    tokens = now + growth * turn
    if not is_kept or tokens < card.min_cache_tokens:
        write = plain
    if not is_kept or tokens - growth < card.min_cache_tokens:
        p = 0.0
    # Of a prefix in the cache, what does not fill a block is not read: on average half of one.
    lost = growth + 0.5 * (card.cache_block_tokens - 1)
    a = p * ((now - lost) * read + lost * write) + (1.0 - p) * now * write
    b = growth * (p * read + (1.0 - p) * write)
    return (a + option.output_tokens * output) / TOKENS_PER_PRICE, b / TOKENS_PER_PRICE


def _starts(
    option: Option, growth: float, most_turns: float, service_tier: str | None, *, is_kept: bool
) -> list[int]:
    """After how many turns prices or caching change, in order, 0 and what is too late left out."""
    card, now = option.card, option.input_tokens
    price = card.price
    is_short = is_kept and now < card.min_cache_tokens
    if price is None or growth <= 0.0 or not (price.tiers or service_tier or is_short):
        return []
    limits: list[float] = [tier.above_input_tokens for tier in price.tiers]
    if service_tier:
        services = [tier for tier in price.service_tiers if tier.name == service_tier]
        limits += [t.max_input_tokens for t in services if t.max_input_tokens is not None]
    if is_short:  # written as soon as it is long enough, and read one call later
        least = card.min_cache_tokens - 0.5
        limits += [least, least + growth]
    reach = now + growth * most_turns
    turns = {floor((limit - now) / growth) for limit in limits if now < limit < reach}
    return sorted(turns - {0}) if turns else []


def _rates(price: PriceCard, tokens: float, service_tier: str | None, *, is_long: bool) -> _Rates:
    """What a call of so many input tokens is priced at; `is_long` caches for an hour."""
    rates = price
    if price.tiers or service_tier:
        rates = price_at(price, ceil(tokens), service_tier=service_tier)  # type: ignore[assignment]
    read = rates.input if rates.cache_read is None else rates.cache_read
    write = rates.input if rates.cache_write is None else rates.cache_write
    if is_long and rates.cache_write_1h is not None:
        write = rates.cache_write_1h
    return rates.input, read, write, rates.output
