"""What escalation gains in simulated sessions, against the same policy without it.

Both have the same predictions and pay the same bill: without escalation the failure cost is set
so that it does. In the worlds of `router_data.agents` the calls of a session are the same
whatever was chosen, so there a failure costs the same everywhere and escalation can gain nothing
from knowing that it does not. `breeding` plays sessions in which a failure makes the next one
likelier, as often as recorded sessions say.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from router_data.agent_sessions import TOOLS
from router_data.simulator import World
from router_model.escalation import Escalation, escalation_from
from router_model.features import SCHEMA
from router_model.types import StepType
from router_training.intervals import Interval, Resampling, mean_interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_WIDEST: Final = 6.0
"""The failure cost of equal bill is looked for within this factor of the given one."""


class GainFigures(Struct, frozen=True, kw_only=True):
    """Escalation minus the plain policy, at equal bill, per call of the main conversation.

    `adequacy` is the difference in P(adequate), `stuck_adequacy` that in calls whose level is
    above 0. `failure_usd` is the failure cost that brought the plain policy to the same bill.
    """

    bill_usd: float
    failure_usd: float
    adequacy: Interval
    stuck_adequacy: Interval
    n_changed: int
    n_stuck: int
    n_calls: int


def simulated_escalations(world: World) -> list[Escalation]:
    """What escalation says of every call of a world of agents."""
    if world.agents is None:
        raise ValueError("only worlds of agent sessions have trajectories")
    calls = world.agents.calls
    failed: dict[tuple[int, int], list[bool]] = {}
    found = []
    for i, step in enumerate(calls.step.tolist()):
        past = failed.setdefault((int(calls.session[i]), int(calls.chain_start[i])), [])
        if step is StepType.TOOL_RESULT:
            past.append(bool(calls.is_error[i]))
        known = {
            "n_tool_calls": len(past),
            "n_errors_in_a_row": _at_the_end(past),
            "n_errors_last_4": sum(past[-4:]),
            "is_last_call_repeated": bool(calls.is_repeat[i]),
            "is_last_read": int(calls.tool[i]) == TOOLS.index("read_file"),
            "is_last_search": int(calls.tool[i]) == TOOLS.index("search"),
            "last_result_tokens": int(calls.result_tokens[i]),
        }
        found.append(escalation_from(_row(known), step))
    return found


def gain(
    world: World, p: Floats, *, failure_usd: float, resampling: Resampling | None = None
) -> GainFigures:
    """What escalation gains in a world of agents; `p` is what is predicted of every cell.

    The model of least cost + (1 - p) x failure cost x factor answers.
    """
    escalations = simulated_escalations(world)
    factor = np.array([e.failure_factor for e in escalations])
    work = np.array([task != "side" for task in world.task])
    cost = world.cost_usd

    def chosen(failure: float, factors: Floats | float) -> Ints:
        total = cost + (1.0 - p) * (failure * np.broadcast_to(factors, len(p)))[:, None]
        return np.asarray(total.argmin(axis=1))

    def bill(picked: Ints) -> float:
        return float(_taken(cost, picked)[work].mean())

    escalating = chosen(failure_usd, factor)
    target = bill(escalating)
    equal = _equal(lambda failure: bill(chosen(failure, 1.0)) - target, around=failure_usd)
    plain = chosen(equal, 1.0)
    lead = _taken(world.p_adequate, escalating) - _taken(world.p_adequate, plain)
    stuck = work & np.array([e.level > 0.0 for e in escalations])
    return GainFigures(
        bill_usd=target,
        failure_usd=equal,
        adequacy=mean_interval(lead[work], world.session[work], resampling=resampling),
        stuck_adequacy=mean_interval(lead[stuck], world.session[stuck], resampling=resampling),
        n_changed=int((escalating != plain)[work].sum()),
        n_stuck=int(stuck.sum()),
        n_calls=int(work.sum()),
    )


class Breeding(Struct, frozen=True, kw_only=True):
    """Sessions in which failures breed failures. Everything is made up except `burdens`.

    P(a call fails) = sigmoid(burden of the failed calls in a row before it + what is hard about
    the session and the call - ability). `burdens` by failed calls in a row are the log-odds of
    the next failure in recorded sessions, over those after a success; they are taken for an
    effect here, though hard sessions alone would show some of it.
    """

    abilities: tuple[float, ...] = (2.2, 2.8, 3.4)
    costs_usd: tuple[float, ...] = (0.004, 0.012, 0.036)
    burdens: tuple[float, ...] = (0.0, 0.4, 1.6, 2.3)
    n_sessions: int = 4_000
    n_turns: int = 25
    seed: int = 0


def breeding(
    world: Breeding, *, failure_usd: float, resampling: Resampling | None = None
) -> GainFigures:
    """What escalation gains where failures breed; P(adequate) is known exactly to both."""
    table = _factors()
    flat = np.ones_like(table)
    escalating = _played(world, failure_usd * table)

    def excess(failure: float) -> float:
        return _played(world, failure * flat).bill_usd - escalating.bill_usd

    equal = _equal(excess, around=failure_usd)
    plain = _played(world, equal * flat)
    session = np.repeat(np.arange(world.n_sessions), world.n_turns)
    lead = (escalating.p - plain.p).reshape(-1)
    stuck = (table[escalating.seen] > 1.0).reshape(-1)
    return GainFigures(
        bill_usd=escalating.bill_usd,
        failure_usd=equal,
        adequacy=mean_interval(lead, session, resampling=resampling),
        stuck_adequacy=mean_interval(lead[stuck], session[stuck], resampling=resampling),
        n_changed=int((escalating.model != plain.model).sum()),
        n_stuck=int(stuck.sum()),
        n_calls=len(lead),
    )


class _Played(Struct, frozen=True, kw_only=True):
    """By (session, turn): the model, its P(adequate), and the place in the table of factors."""

    model: Ints
    p: Floats
    seen: Ints
    bill_usd: float


def _played(world: Breeding, failure_by_history: Floats) -> _Played:
    """Plays all sessions turn by turn; equal seeds meet the same luck."""
    rng = np.random.default_rng(world.seed)
    shape = (world.n_sessions, world.n_turns)
    hard = rng.normal(0.0, 0.8, (world.n_sessions, 1)) + rng.normal(0.0, 0.5, shape)
    luck = rng.random(shape)
    cost = np.array(world.costs_usd)
    ability, burden = np.array(world.abilities), np.array(world.burdens)
    last_four = np.zeros((world.n_sessions, 4), dtype=np.int64)
    model, seen = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    p = np.zeros(shape)
    for turn in range(world.n_turns):
        seen[:, turn] = place = _history(last_four, turn)
        depth = np.minimum(_in_a_row(last_four), len(burden) - 1)
        chances = expit(ability - (burden[depth] + hard[:, turn])[:, None])
        total = cost + (1.0 - chances) * failure_by_history[place][:, None]
        model[:, turn] = picked = total.argmin(axis=1)
        p[:, turn] = _taken(chances, picked)
        failed = luck[:, turn] >= p[:, turn]
        last_four = np.column_stack([last_four[:, 1:], failed])
    return _Played(model=model, p=p, seen=seen, bill_usd=float(cost[model].mean()))


def _history(last_four: Ints, turn: int) -> Ints:
    """The place of a history in the table of factors: its failures as bits, early or late."""
    bits = last_four @ (8, 4, 2, 1)
    return np.asarray(bits + 16 * (turn >= 4))


def _factors() -> Floats:
    """The failure factor of every history, see `_history`."""
    factors = np.ones(32)
    for place in range(32):
        past = [bool(place & bit) for bit in (8, 4, 2, 1)]
        row = _row(
            {
                "n_tool_calls": 8 if place >= 16 else 3,
                "n_errors_in_a_row": _at_the_end(past),
                "n_errors_last_4": sum(past),
                "last_result_tokens": 1_000,
            }
        )
        factors[place] = escalation_from(row, StepType.TOOL_RESULT).failure_factor
    return factors


def _in_a_row(last_four: Ints) -> Ints:
    """Failures at the end of each row, four at most."""
    return np.asarray(np.cumprod(last_four[:, ::-1], axis=1).sum(axis=1))


def _at_the_end(past: Sequence[bool]) -> int:
    n = 0
    while n < len(past) and past[-1 - n]:
        n += 1
    return n


def _row(known: Mapping[str, float]) -> NDArray[np.float32]:
    values = np.zeros(SCHEMA.n, dtype=np.float32)
    for name, value in known.items():
        values[SCHEMA.index(name)] = value
    return values


def _taken(cells: Floats, picked: Ints) -> Floats:
    """The cell of the chosen column in every row."""
    return np.asarray(cells[np.arange(len(picked)), picked])


def _equal(excess: Callable[[float], float], *, around: float) -> float:
    """The failure cost of equal bill; bills grow with it in steps, so equal is as near as can be.

    Raises ValueError where it is not within `_WIDEST` of the given one.
    """
    low, high = around / _WIDEST, around * _WIDEST
    return float(brentq(excess, low, high, xtol=around * 1e-6))
