"""Follows one choice after the other through a world, and says what each one's log would show."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from router_data.agent_outcomes import MIN_SHARE_ADEQUATE, AgentTraffic
from router_data.rounds import Floats, Ints
from router_data.session_costs import SessionCaches, call_usage, usage_cost
from router_data.simulator import World
from router_model.session_view import NO_SESSION, SessionView
from router_model.types import Outcome, Usage

# Tells the draws of bills from others of the same seed.
_BILLS: Final = 1


class Report(NamedTuple):
    """An outcome as it is reported, and when, in milliseconds since the epoch."""

    outcome: Outcome
    at_ms: int


class Playthrough:
    """The state of a world's sessions while models are chosen: caches, and work done so far.

    Take each session's requests in order; sessions may be mixed. `billed` is the share of
    an agents' world's calls whose bill comes back, drawn by chance, whether or not anything else
    does; when not given, calls with an outcome have one.
    """

    def __init__(self, world: World, *, billed: float | None = None) -> None:
        self.world = world
        self.column = {model: place for place, model in enumerate(world.models)}
        self._is_billed = _bills(world, billed)
        self._caches = None if world.agents is None else SessionCaches(world.agents)
        self._is_last_work = None if world.agents is None else world.agents.calls.last_work
        # Work calls and adequate ones among them, by session.
        self._work: dict[int, tuple[int, int]] = {}

    def warm_tokens(self, index: int) -> Mapping[str, int]:
        """Of request `index`, the tokens that each model has in its cache, 0 left out."""
        if self._caches is None:
            return {}
        warm = {m: self._caches.warm_tokens(index, place) for m, place in self.column.items()}
        return {model: tokens for model, tokens in warm.items() if tokens}

    def session_view(self, index: int) -> SessionView:
        """The session of request `index` as it is known when that request arrives."""
        return NO_SESSION if self._caches is None else self._caches.view(index)

    def expected_cost(self, index: int, model: str, *, output_tokens: float) -> float:
        """US dollars of the model's answer to request `index`, caches as they are now."""
        agents, place = self.world.agents, self.column[model]
        if agents is None or self._caches is None:
            return float(self.world.cost_usd[index, place])
        usage = call_usage(
            agents.cards[place],
            input_tokens=int(agents.calls.input_tokens[index]),
            cached_tokens=self._caches.warm_tokens(index, place),
            output_tokens=round(output_tokens),
            keeps=bool(agents.calls.chain_start[index] >= 0),
        )
        return usage_cost(agents.cards[place], usage)

    def take(self, index: int, model: str, *, decision_id: str) -> Report | None:
        """What comes back after the model has answered request `index`; None for nothing."""
        world, place = self.world, self.column[model]
        latency_ms = float(world.latency_ms[index, place])
        answer = Outcome(
            decision_id=decision_id,
            model=model,
            latency_ms=latency_ms,
            tool_call_latency_ms=latency_ms,
        )
        answered_ms = int(world.ts_ms[index] + latency_ms)
        if world.agents is not None and self._caches is not None:
            usage = self._caches.take(
                index, place, output_tokens=int(world.output_tokens[index, place])
            )
            succeeded = self._count(world.agents, index, place)
            outcome = answer
            if self._is_billed[index]:
                cost = usage_cost(world.agents.cards[place], usage)
                outcome = structs.replace(outcome, usage=usage, cost_usd=cost)
            if not world.agents.has_outcome[index]:
                return Report(outcome, answered_ms) if self._is_billed[index] else None
            outcome = _agent_outcome(outcome, world, index, place, succeeded)
            return Report(outcome, answered_ms + int(world.agents.delay_ms[index]))
        usage = Usage(
            input_tokens=int(world.input_tokens[index]),
            output_tokens=int(world.output_tokens[index, place]),
        )
        adequate = bool(world.adequate[index, place])
        cost_usd = float(world.cost_usd[index, place])
        outcome = structs.replace(answer, adequate=adequate, usage=usage, cost_usd=cost_usd)
        return Report(outcome, answered_ms)

    def _count(self, agents: AgentTraffic, index: int, place: int) -> bool | None:
        """Whether the session has succeeded, after its last work call; else None."""
        if agents.calls.step[index].is_side_call:
            return None
        session = int(agents.calls.session[index])
        is_adequate = bool(self.world.adequate[index, place])
        n, n_adequate = self._work.get(session, (0, 0))
        n, n_adequate = n + 1, n_adequate + is_adequate
        self._work[session] = n, n_adequate
        if self._is_last_work is None or not self._is_last_work[index]:
            return None
        return is_adequate and n_adequate / n >= MIN_SHARE_ADEQUATE


def _bills(world: World, share: float | None) -> NDArray[np.bool_]:
    """Of which calls a bill comes back."""
    if share is not None:
        rng = np.random.default_rng([_BILLS, world.seed])
        return np.asarray(rng.random(world.n_requests) < share)
    if world.agents is None:
        return np.ones(world.n_requests, dtype=bool)
    return np.asarray(world.agents.has_outcome, dtype=bool)


def played_costs(world: World, chosen: Ints) -> Floats:
    """US dollars of each request when `chosen` models (columns) answer all of them in order.

    What a policy truly costs: with agents a switch of model pays for a cold prefix, which
    `World.cost_usd` leaves out.
    """
    if world.agents is None:
        costs: Floats = world.cost_usd[np.arange(world.n_requests), chosen]
        return costs
    caches = SessionCaches(world.agents)
    output = world.output_tokens.astype(np.int64).tolist()
    return np.array(
        [
            usage_cost(
                world.agents.cards[place],
                caches.take(index, place, output_tokens=output[index][place]),
            )
            for index, place in enumerate(chosen.tolist())
        ]
    )


def _agent_outcome(
    answer: Outcome, world: World, index: int, place: int, succeeded: bool | None
) -> Outcome:
    """The answer with what was reported of it, falsified or not."""
    agents = world.agents
    if agents is None:
        return answer
    valid = agents.tool_call_valid[index, place]
    verdict = world.reported(np.array([index]), np.array([place]))[0]
    signals = {name: values[index, place] for name, values in agents.signals.items()}
    told = {name: bool(value) for name, value in signals.items() if not np.isnan(value)}
    if succeeded is not None and agents.signals:
        told["session_succeeded"] = succeeded
    if agents.is_falsified[index]:
        # What the gateway sees for itself, a broken schema, can't be falsified.
        told = {
            name: value if name == "schema_error" else not value for name, value in told.items()
        }
    return structs.replace(
        answer,
        adequate=None if np.isnan(verdict) else bool(verdict),
        signals=told,
        tool_call_valid=None if np.isnan(valid) else bool(valid),
    )
