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
    p_within: dict[float, float] = {}  # of lifetimes, which are few
    courses = []
    for option in options:
        ttl_s = option.card.cache_ttl_s if option.ttl_s is None else option.ttl_s
        p = p_within.get(ttl_s)
        if p is None:
            p = p_within[ttl_s] = economics.p_within(ttl_s)
        more = (1.0 - option.p_adequate) * failure_cost_usd
        courses.append(_course(option, economics, most_turns, more, service_tier, ttl_s, p))
    return courses


def _course(
    option: Option,
    economics: Economics,
    most_turns: float,
    more: float,
    service_tier: str | None,
    ttl_s: float,
    p_within: float,
) -> Course:
    """The course of an option; every call costs `more`, and comes within `ttl_s` so likely."""
    card, now, written = option.card, option.input_tokens, option.output_tokens
    price, is_long = card.price, ttl_s >= HOUR_S
    assert price is not None
    is_kept = option.is_kept and card.capabilities.caching != "none"
    least = card.min_cache_tokens if is_kept else inf
    warm = min(option.warm_tokens, now) if is_kept else 0
    hit = option.p_warm if warm > 0 else economics.cache_of(card.id).p_hit
    growth = economics.growth_tokens * economics.token_ratio_of(card.id)
    lost = growth + 0.5 * (card.cache_block_tokens - 1)
    p = hit * p_within
    tokens = now + growth
    rates = _rates(price, tokens, service_tier, is_long)
    a, b = _line(rates, now, growth, 1, least, lost, p, written)
    pieces: list[Piece] = []
    a_then, b_then = a, b
    may_rates_change = bool(price.tiers or service_tier)
    if may_rates_change or (is_kept and now < least):
        for start in _starts(option, growth, most_turns, service_tier, least):
            pieces.append((start, a_then + more, b_then))
            then = rates
            if may_rates_change:
                then = _rates(price, now + growth * (start + 1), service_tier, is_long)
            a_then, b_then = _line(then, now, growth, start + 1, least, lost, p, written)
    pieces.append((inf, a_then + more, b_then))
    plain, read, write, output = rates
    if tokens < least:
        write = plain
    found = warm * hit * economics.p_within(ttl_s - option.age_s) if warm else 0.0
    first = found * read + (tokens - found) * write + written * output
    return Course(card.id, tuple(pieces), first / TOKENS_PER_PRICE - a - b)


def _line(
    rates: _Rates,
    now: int,
    growth: float,
    turn: int,
    least: float,
    lost: float,
    p: float,
    written: float,
) -> tuple[float, float]:
    """A and B of s(t) = A + B t, in dollars and without failures, as they are at this turn.

    A prefix of fewer than `least` tokens is not kept. `lost` tokens of one are not read: those
    since the call before, and on average half a block, as it is not full. `written` are answered.
    """
    plain, read, write, output = rates
    tokens = now + growth * turn
    answer = written * output
    if tokens - growth < least:  # nothing to read yet
        if tokens < least:
            write = plain
        return (now * write + answer) / TOKENS_PER_PRICE, growth * write / TOKENS_PER_PRICE
    a = p * ((now - lost) * read + lost * write) + (1.0 - p) * now * write
    b = growth * (p * read + (1.0 - p) * write)
    return (a + answer) / TOKENS_PER_PRICE, b / TOKENS_PER_PRICE


def _starts(
    option: Option, growth: float, most_turns: float, service_tier: str | None, least: float
) -> list[int]:
    """After how many turns prices or caching change, in order, 0 and what is too late left out."""
    now, price = option.input_tokens, option.card.price
    if price is None or growth <= 0.0:
        return []
    limits: list[float] = [tier.above_input_tokens for tier in price.tiers] if price.tiers else []
    if service_tier:
        services = [tier for tier in price.service_tiers if tier.name == service_tier]
        limits += [t.max_input_tokens for t in services if t.max_input_tokens is not None]
    if now < least < inf:  # written as soon as it is long enough, and read one call later
        limits += (least - 0.5, least - 0.5 + growth)
    reach = now + growth * most_turns
    turns = []
    for limit in limits:
        if now < limit < reach and (turn := floor((limit - now) / growth)) not in turns and turn:
            turns.append(turn)
    turns.sort()
    return turns


def _rates(price: PriceCard, tokens: float, service_tier: str | None, is_long: bool) -> _Rates:
    """What a call of so many input tokens is priced at; `is_long` caches for an hour."""
    rates = price
    if price.tiers or service_tier:
        rates = price_at(price, ceil(tokens), service_tier=service_tier)  # type: ignore[assignment]
    read = rates.input if rates.cache_read is None else rates.cache_read
    write = rates.input if rates.cache_write is None else rates.cache_write
    if is_long and rates.cache_write_1h is not None:
        write = rates.cache_write_1h
    return rates.input, read, write, rates.output
