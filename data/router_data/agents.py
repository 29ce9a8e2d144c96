"""Worlds of coding-agent sessions, with known P(adequate), cost, caches, delays and missingness.

Everything is simulated. Real are only the price cards of the shipped catalog; abilities start
from published figures (`router_data.abilities`). Trajectories are exogenous (see
`router_data.agent_sessions`): `REFERENCE` answers every call that makes up the prefixes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from router_data.abilities import DEFAULT_MODELS, WORK_LEVEL, Abilities, abilities_of, sigmoid
from router_data.agent_outcomes import (
    AgentTraffic,
    Reports,
    draw_reporting,
    draw_signals,
    draw_valid_tool_calls,
)
from router_data.agent_sessions import Calls, draw_calls
from router_data.contexts import IMPORT_START_MS
from router_data.session_costs import staying_cached_tokens, staying_costs
from router_data.simulator import World
from router_model.errors import DatasetError
from router_model.types import ModelCard, StepType

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REFERENCE: Final = "kimi-k2.5"
AGENT_FEATURES: Final = (
    "hint",
    "is_main",
    "is_tool_result",
    "is_side",
    "turn",
    "log_input_tokens",
    "n_errors_in_a_row",
    "is_stuck",
    "is_last_error",
)
HINTS: Final = 5
_HINT_EDGES = (-1.0, -0.3, 0.3, 1.0)
_TENANT_SPREAD = 0.35
_KEYS_PER_TENANT = 3
_SESSION_GAP_MS = 600_000.0


@dataclass(frozen=True)
class _Tenants:
    """Each session's tenant and key, and each tenant's own difference by model."""

    names: tuple[str, ...]
    tenant_of: Ints
    key_of: Ints
    offset: Floats


def simulate_agents(
    n_sessions: int,
    *,
    models: Sequence[str] | None = None,
    n_tenants: int = 1,
    seed: int = 0,
    poisoned: Mapping[str, float] | None = None,
    reports: Reports = "partial",
) -> World:
    """A world of agent sessions; the same for the same arguments.

    P(adequate | call, model) = sigmoid(ability of the model at this kind of step
    - 0.9 difficulty (side calls 0.2) - 0.25 errors in a row (at most 3)
    - (1.0 - 0.5 (ability - 1.6), at least 0.2) if stuck
    - long-context loss x doublings of the prefix above 20k tokens + the tenant's offset).

    Tenants are "simulated-1" and so on, each smaller than the one before; with several, each has
    offsets of its own by model. `poisoned` maps tenants to the share of their reports that are
    falsified. `reports` says what comes back: "partial" is some outcomes, some with a verdict,
    all with signals; "verdicts" is the same without signals and validity of tool calls, so that
    labels are missing at random; "all" is every outcome with its verdict. `world.agents` holds
    what only agent sessions have, missingness included.
    """
    if reports not in get_args(Reports):
        allowed = ", ".join(get_args(Reports))
        raise DatasetError(f"reports: got {reports!r}, expected {allowed}")
    if n_sessions < 1 or n_tenants < 1:
        raise DatasetError(
            f"simulate_agents: got {n_sessions} sessions and {n_tenants} tenants, "
            "expected 1 or more"
        )
    abilities = abilities_of(tuple(models or DEFAULT_MODELS))
    rng = np.random.default_rng((seed, 0xA6E))
    difficulty = rng.normal(0.0, 1.0, n_sessions)
    reference_error = 1.0 - float(abilities_of((REFERENCE,)).valid_tool_call[0])
    calls, starts = draw_calls(difficulty, reference_error=reference_error, rng=rng)
    tenants = _draw_tenants(n_sessions, n_tenants, n_models=len(abilities.cards), rng=rng)
    seen = difficulty + rng.normal(0.0, 0.5, n_sessions)
    hint = np.digitize(seen, _HINT_EDGES)[calls.session].astype(np.int64)
    own = difficulty[calls.session] + rng.normal(0.0, 0.3, len(calls.turn))
    p_adequate = sigmoid(
        _log_odds(calls, abilities, difficulty=own)
        + tenants.offset[tenants.tenant_of[calls.session]]
    )
    return _world(
        seed,
        calls=calls,
        starts=starts,
        abilities=abilities,
        tenants=tenants,
        hint=hint,
        p_adequate=p_adequate,
        poisoned=poisoned or {},
        reports=reports,
        rng=rng,
    )


def _log_odds(calls: Calls, abilities: Abilities, *, difficulty: Floats) -> Floats:
    is_side = calls.is_side
    is_main = np.array([step is StepType.MAIN for step in calls.step], dtype=bool)
    ability = np.where(is_main[:, None], abilities.work, abilities.tools)
    ability = np.where(is_side[:, None], abilities.side, ability)
    slope = np.where(is_side, 0.2, 0.9)
    stuck = np.maximum(1.0 - 0.5 * (abilities.work - WORK_LEVEL), 0.2) * calls.is_repeat[:, None]
    doublings = np.maximum(np.log2(calls.input_tokens / 20_000.0), 0.0)
    result: Floats = (
        ability
        - (slope * difficulty)[:, None]
        - 0.25 * np.minimum(calls.n_errors, 3)[:, None]
        - stuck
        - doublings[:, None] * abilities.long_context
    )
    return result


def _draw_tenants(
    n_sessions: int, n_tenants: int, *, n_models: int, rng: np.random.Generator
) -> _Tenants:
    share = 1.0 / np.arange(1, n_tenants + 1)
    spread = _TENANT_SPREAD if n_tenants > 1 else 0.0
    return _Tenants(
        names=tuple(f"simulated-{number}" for number in range(1, n_tenants + 1)),
        tenant_of=rng.choice(n_tenants, size=n_sessions, p=share / share.sum()),
        key_of=rng.integers(0, _KEYS_PER_TENANT, n_sessions),
        offset=spread * rng.normal(0.0, 1.0, (n_tenants, n_models)),
    )


def _world(
    seed: int,
    *,
    calls: Calls,
    starts: Ints,
    abilities: Abilities,
    tenants: _Tenants,
    hint: Ints,
    p_adequate: Floats,
    poisoned: Mapping[str, float],
    reports: Reports,
    rng: np.random.Generator,
) -> World:
    """Outcomes, costs and times of calls whose P(adequate) is known."""
    adequate = (rng.random(p_adequate.shape) < p_adequate).astype(np.float64)
    output = _output_tokens(calls, n_models=len(abilities.cards), rng=rng)
    valid = draw_valid_tool_calls(adequate, calls=calls, abilities=abilities, rng=rng)
    signals = draw_signals(adequate, valid=valid, calls=calls, rng=rng)
    tells = reports != "verdicts"
    begin = IMPORT_START_MS + np.cumsum(rng.exponential(_SESSION_GAP_MS, len(starts)))
    elapsed = np.cumsum(calls.gap_ms)
    elapsed -= elapsed[starts][calls.session]
    cached = staying_cached_tokens(calls, abilities.cards)
    tenant = np.array(tenants.names, dtype=object)[tenants.tenant_of[calls.session]]
    return World(
        seed=seed,
        models=tuple(card.id for card in abilities.cards),
        features=_features(calls, hint),
        session=_labels("session", calls.session, seed),
        task=np.array([_kind(step) for step in calls.step], dtype=object),
        ts_ms=begin.astype(np.int64)[calls.session] + elapsed,
        p_adequate=p_adequate,
        adequate=adequate,
        cost_usd=staying_costs(calls, abilities.cards, cached=cached, output=output),
        latency_ms=_latency(calls, abilities.cards, output=output, rng=rng),
        input_tokens=calls.input_tokens.astype(np.float64),
        output_tokens=output,
        step_type=np.array([str(step) for step in calls.step], dtype=object),
        tenant=tenant,
        key=_keys(tenant, tenants.key_of[calls.session]),
        turn=calls.turn,
        agents=AgentTraffic(
            calls=calls,
            cards=abilities.cards,
            hint=hint,
            cached_tokens=cached,
            tool_call_valid=valid if tells else np.full_like(valid, np.nan),
            signals=signals if tells else {},
            is_falsified=_falsified(tenant, tenants.names, poisoned, rng),
            **draw_reporting(calls, hint, reports=reports, rng=rng)._asdict(),
        ),
    )


def _kind(step: StepType) -> str:
    return "side" if step.is_side_call else str(step)


def _features(calls: Calls, hint: Ints) -> NDArray[np.float32]:
    """The world's own small features, in the order of `AGENT_FEATURES`."""
    columns = (
        hint,
        [step is StepType.MAIN for step in calls.step],
        [step is StepType.TOOL_RESULT for step in calls.step],
        calls.is_side,
        calls.turn,
        np.log(calls.input_tokens),
        calls.n_errors,
        calls.is_repeat,
        calls.is_error,
    )
    return np.stack([np.asarray(column, dtype=np.float32) for column in columns], axis=1)


def _output_tokens(calls: Calls, *, n_models: int, rng: np.random.Generator) -> Floats:
    typical = {StepType.TITLE: 15.0, StepType.COMMIT_MESSAGE: 60.0, StepType.SUMMARY: 250.0}
    typical |= {StepType.COMPACTION: 1_200.0, StepType.MAIN: 700.0, StepType.TOOL_RESULT: 350.0}
    level = np.log([typical[step] for step in calls.step])[:, None]
    return np.ceil(rng.lognormal(level, 0.5, (len(calls.turn), n_models)))


def _latency(
    calls: Calls, cards: Sequence[ModelCard], *, output: Floats, rng: np.random.Generator
) -> Floats:
    """Milliseconds: a start, reading the prefix, and writing; dear models write slower."""
    dearness = np.array([np.log1p(card.price.output if card.price else 1.0) for card in cards])
    reading = 0.01 * calls.input_tokens[:, None]
    speed = (6.0 + 4.0 * dearness) * rng.uniform(0.8, 1.2, output.shape)
    result: Floats = np.round(300.0 + 80.0 * dearness + reading + speed * output)
    return result


def _falsified(
    tenant: NDArray[np.object_],
    names: Sequence[str],
    poisoned: Mapping[str, float],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    for name, share in poisoned.items():
        if name not in names or not 0.0 <= share <= 1.0:
            raise DatasetError(
                f"poisoned: got {name!r}: {share}, expected a share from 0 to 1 for one of "
                f"{', '.join(names)}"
            )
    shares = np.array([poisoned.get(name, 0.0) for name in tenant])
    return rng.random(len(tenant)) < shares


def _labels(kind: str, numbers: Ints, seed: int) -> NDArray[np.object_]:
    """One shared text for each number."""
    names = np.empty(int(numbers.max()) + 1, dtype=object)
    names[:] = [f"{kind}-{seed}-{number:05d}" for number in range(len(names))]
    return names[numbers]


def _keys(tenant: NDArray[np.object_], number: Ints) -> NDArray[np.object_]:
    keys = [f"{name}-key-{key + 1}" for name, key in zip(tenant, number.tolist(), strict=True)]
    return np.array(keys, dtype=object)
