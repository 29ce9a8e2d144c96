r"""What answering a call with a model costs the rest of its session, through caches.

A session goes on for T more calls of the main loop (`economics.Horizon`); the t-th of them has
L_t = L + g t input tokens, where L is this call's input and g the growth per call. A model that
answered the call before finds L_{t-1} of them cached with probability

    h = P(hit) * P(gap <= ttl),

reads those at its price for cached tokens and writes the rest; with 1 - h it writes all. (A model
without a cache, or a prefix below the least length that it keeps, pays for plain input.) So the
t-th call of a session that stays with model m costs

    s_m(t) = h (L_{t-1} read + g write) + (1 - h) L_t write + out output + (1 - p_m) F,

where F is what a failure costs if total cost decides, else 0. That is linear in t as long as no
price tier's threshold is passed, and its sum over the turns needs two moments of T only:

    Stay(m) = sum_t P(T >= t) s_m(t) = A E[T] + B E[T(T+1)/2]   for s_m(t) = A + B t.

Where a threshold lies within the horizon, s_m is linear in pieces, and T takes a few values: those
of Gauss's rule for 1 + a gamma variable with its moments given T >= 1. For a fixed T that is exact,
else within 3% where it was compared with the sum over all lengths.

Going on with another model b costs the same but for its first call. There b finds what is left of
its own earlier prefix: W_b tokens of age a, with probability P(hit) P(gap <= ttl - a), so that a
return within the lifetime costs only what was added since:

    Go(b) = Stay(b) + P(T >= 1) (f_b - s_b(1)),
    f_b   = q (W_b read + (L_1 - W_b) write) + (1 - q) L_1 write + out output + (1 - p_b) F.

After m has answered, the session does what costs least: it stays, or goes on with another,

    Q(m) = min(Stay(m), min over b != m of Go(b)),

and the later cost of m is Q(m) - min Q. Under a threshold only adequate models are gone on with
(and stayed with), and if there is none, those of the highest p; a model whose window would not
hold the next call is out. Plans with a second change are
left out: the next call decides anew. Go(b) does not depend on m, so all Q need its two least
values: the work is linear in the number of models.

What is assumed: later calls are as hard and as long in output as this one, and the harness does
not rewrite the history.
"""

from collections.abc import Sequence
from math import inf
from typing import Final

from msgspec import Struct

from router_model.continuation import Course, Turns, courses_of, staying_cost, turns_of
from router_model.continuation import Option as Option
from router_model.economics import Economics, Horizon


class Later(Struct, frozen=True, kw_only=True, gc=False):
    """What choosing a model costs the session later, in dollars beyond the best choice.

    `continues_with` is the model that the session then does best to go on with, "" where nothing
    comes any more. `low_usd` and `high_usd` are the least and most within the horizon's interval.
    """

    cost_usd: float
    continues_with: str
    low_usd: float
    high_usd: float


class Future(Struct, frozen=True, kw_only=True, gc=False):
    """Q of one model: dollars for the calls to come if it answers now, and who answers them."""

    cost_usd: float
    continues_with: str


NOTHING_LATER: Final = Later(cost_usd=0.0, continues_with="", low_usd=0.0, high_usd=0.0)
_Q = tuple[float, str]


def later_costs(
    options: Sequence[Option],
    *,
    horizon: Horizon,
    economics: Economics,
    failure_cost_usd: float = 0.0,
    min_adequacy: float | None = None,
    service_tier: str | None = None,
    with_interval: bool = False,
) -> tuple[Later, ...]:
    """What each choice costs the later session, in the order of the options.

    `failure_cost_usd` counts only without a threshold (`min_adequacy` None or 0), where total cost
    decides. All zeros where nothing comes after this call, or no model has a price. Only
    `with_interval`, which costs as much again for each end, are the least and the most worked out;
    else they are the cost.
    """
    expected = turns_of(horizon, horizon.turns)
    means = (horizon.low, horizon.high) if with_interval else ()
    ranges = [turns_of(horizon, mean) for mean in means]
    courses: list[Course] = []
    if expected.points:
        most = max(turns.most for turns in (expected, *ranges))
        courses = _courses(options, economics, most, failure_cost_usd, min_adequacy, service_tier)
    if not courses:
        return (NOTHING_LATER,) * len(options)
    found = _futures(options, courses, expected)
    costs = _differences(found)
    if not with_interval:
        return tuple(
            Later(cost_usd=c, continues_with=model, low_usd=c, high_usd=c)
            for (_, model), c in zip(found, costs, strict=True)
        )
    ends = [_differences(_futures(options, courses, turns)) for turns in ranges]
    return tuple(
        Later(cost_usd=c, continues_with=model, low_usd=min(c, a, b), high_usd=max(c, a, b))
        for (_, model), c, a, b in zip(found, costs, *ends, strict=True)
    )


def futures(
    options: Sequence[Option],
    *,
    horizon: Horizon,
    economics: Economics,
    failure_cost_usd: float = 0.0,
    min_adequacy: float | None = None,
    service_tier: str | None = None,
) -> tuple[Future, ...]:
    """Q of each option, failures included where they count; `later_costs` are its differences.

    Empty where no option has a price.
    """
    turns = turns_of(horizon, horizon.turns)
    courses = _courses(options, economics, turns.most, failure_cost_usd, min_adequacy, service_tier)
    found = _futures(options, courses, turns) if courses else []
    return tuple(Future(cost_usd=cost, continues_with=model) for cost, model in found)


def _courses(
    options: Sequence[Option],
    economics: Economics,
    most_turns: float,
    failure_cost_usd: float,
    min_adequacy: float | None,
    service_tier: str | None,
) -> list[Course]:
    """Those of the models that a session may go on with.

    A model of unknown price is none of them, nor one whose window does not hold the next call.
    """
    able = [option for option in options if option.card.price is not None]
    able = [option for option in able if _holds_next(option, economics)] or able
    if min_adequacy and able:
        failure_cost_usd = 0.0
        threshold = min(min_adequacy, max(option.p_adequate for option in able))
        able = [option for option in able if option.p_adequate >= threshold]
    return courses_of(
        able,
        economics=economics,
        most_turns=most_turns,
        failure_cost_usd=failure_cost_usd,
        service_tier=service_tier,
    )


def _holds_next(option: Option, economics: Economics) -> bool:
    card = option.card
    window = card.context_window if card.max_input_tokens is None else card.max_input_tokens
    return option.input_tokens + economics.growth_tokens <= window


def _futures(options: Sequence[Option], courses: Sequence[Course], turns: Turns) -> list[_Q]:
    """(Q, continues with) of each option; `courses` are those that may be gone on with."""
    stay: dict[str, float] = {}
    least, second = (inf, ""), (inf, "")
    for course in courses:
        staying = stay[course.model] = staying_cost(course, turns)
        going = staying + turns.p_any * course.extra
        if going < least[0]:
            least, second = (going, course.model), least
        elif going < second[0]:
            second = (going, course.model)
    found = []
    for option in options:
        model = option.card.id
        other = second if least[1] == model else least
        staying = stay.get(model, inf)
        found.append((staying, model) if staying <= other[0] else other)
    return found


def _differences(found: Sequence[_Q]) -> list[float]:
    least = min(cost for cost, _ in found)
    return [cost - least for cost, _ in found]
