"""A seeded world with known truth: requests, sessions, models, P(adequate) and cost.

Tests compare estimates with what is drawn from here, and notebooks start from it. In the small
world of `simulate` each session has a difficulty, each model a skill, and dearer models are more
skilled, so that routing pays; with tools it is the other way round, so that the best model
depends on the request and not only on its difficulty. `router_data.agents.simulate_agents` makes
a world of coding agents, whose log is partial and delayed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from router_data.agent_bodies import agent_body
from router_data.agent_outcomes import AgentTraffic
from router_data.contexts import IMPORT_START_MS
from router_data.logging_policy import LoggingPolicy
from router_data.rewards import rewards
from router_data.rounds import Floats, Ints, Rounds, Texts
from router_data.store import write_parquet
from router_model.embedding import N_MATCH
from router_model.errors import DatasetError

TASKS = ("edit", "search", "explain", "tools")
SCHEMA = "simulated"
AGENT_SCHEMA = "simulated-agents"
_GAP_MS = 20_000


@dataclass(frozen=True)
class World:
    """Everything that is true, whether or not it would be observed.

    Row i of each array is request i; columns follow `models`, cheapest first. `features` are
    difficulty, need for tools, turn in the session, and input tokens in thousands, or those of
    `router_data.agents.AGENT_FEATURES`. `cost_usd` of agents is that of a session which stays
    with one model; what a log holds depends on the choices before (see `playthrough`). `agents`
    holds what only their worlds have, None in others.
    """

    seed: int
    models: tuple[str, ...]
    features: NDArray[np.float32]
    session: Texts
    task: Texts
    ts_ms: Ints
    p_adequate: Floats
    adequate: Floats
    cost_usd: Floats
    latency_ms: Floats
    input_tokens: Floats
    output_tokens: Floats
    step_type: Texts
    tenant: Texts
    key: Texts
    turn: Ints
    agents: AgentTraffic | None = None

    @property
    def n_requests(self) -> int:
        """How many requests there are."""
        return len(self.session)

    @property
    def feature_schema(self) -> str:
        """The name of the world's own features."""
        return SCHEMA if self.agents is None else AGENT_SCHEMA

    def policy_value(self, distribution: Floats) -> float:
        """The true expected reward of a policy, given its probabilities by (request, model)."""
        return float((distribution * self.p_adequate).sum(axis=1).mean())

    def distribution(self, policy: LoggingPolicy) -> Floats:
        """The probabilities that a logging policy gives the models, by (request, model)."""
        overall = self.p_adequate.mean(axis=0)
        result = np.empty_like(self.p_adequate)
        for task in sorted(set(self.task.tolist())):
            rows = self.task == task
            on_task = self.p_adequate[rows].mean(axis=0)
            result[rows] = policy.distribution(overall, on_task)
        return result

    def draw(self, policy: LoggingPolicy) -> tuple[Ints, Floats]:
        """The models (columns) that a logging policy draws, and its probabilities of all."""
        probabilities = self.distribution(policy)
        rng = np.random.default_rng((self.seed, policy.seed, 1))
        edges = probabilities.cumsum(axis=1)
        drawn = (rng.random((self.n_requests, 1)) * edges[:, -1:] > edges).sum(axis=1)
        return drawn.astype(np.int64), probabilities

    def rounds(self, policy: LoggingPolicy | None = None) -> Rounds:
        """What a log would show: all outcomes, or with a policy only those of drawn models."""
        n, n_models = self.p_adequate.shape
        if policy is None or policy.name == "full":
            chosen = np.tile(np.arange(n_models), n)
            index = np.repeat(np.arange(n), n_models)
            propensity = np.ones(n * n_models)
        else:
            index = np.arange(n)
            chosen, probabilities = self.draw(policy)
            propensity = probabilities[index, chosen]
        return self._rounds(index, chosen, propensity)

    def write_tables(self, folder: Path) -> None:
        """Write `requests.parquet` and `outcomes.parquet` of the full matrix."""
        folder.mkdir(parents=True, exist_ok=True)
        write_parquet(
            folder / "requests.parquet", [self._request(i) for i in range(self.n_requests)]
        )
        cells = [self._cell(i, j) for i in range(self.n_requests) for j in range(len(self.models))]
        write_parquet(folder / "outcomes.parquet", cells)

    def chat_body(self, index: int) -> bytes:
        """Request `index` as an OpenAI chat body, with the prompt and tools of the tables.

        An agent's is the whole conversation so far, scaled down (see `agent_bodies`).
        """
        if self.agents is not None:
            return agent_body(self.agents, index, seed=self.seed)
        row = self._request(index)
        body = {"model": "auto", "messages": [{"role": "user", "content": row["prompt"]}]}
        if row["tools"] is not None:
            body["tools"] = msgspec.json.decode(row["tools"])
        return msgspec.json.encode(body)

    def reported(self, index: Ints, chosen: Ints) -> Floats:
        """The verdicts that a log shows of models (columns) on requests; NaN where none came back.

        Only agents leave any out, or falsify them.
        """
        adequate: Floats = self.adequate[index, chosen]
        if self.agents is None:
            return adequate
        told = np.where(self.agents.is_falsified[index], 1.0 - adequate, adequate)
        seen = self.agents.has_outcome[index] & self.agents.has_verdict[index]
        return np.where(seen, told, np.nan)

    def _rounds(self, index: Ints, chosen: Ints, propensity: Floats) -> Rounds:
        n_rows = len(index)
        names = tuple(sorted(self.models))
        position = np.array([names.index(name) for name in self.models], dtype=np.int64)
        first = np.searchsorted(index, index)
        missing = np.full(n_rows, np.nan)
        agents = self.agents
        adequate = self.reported(index, chosen)
        seen = np.ones(n_rows) if agents is None else np.where(agents.has_outcome[index], 1, np.nan)
        return Rounds(
            models=names,
            feature_schema=self.feature_schema,
            encoder=SCHEMA,
            features=self.features,
            embedding=np.zeros((self.n_requests, N_MATCH), dtype=np.float32),
            decision_id=_texts([_request_id(i) for i in range(self.n_requests)]),
            tenant=self.tenant,
            key=self.key,
            session=self.session,
            group=self.session,
            task=self.task,
            dataset=_texts(["simulated"] * self.n_requests),
            step_type=self.step_type,
            request_hash=_texts([_request_id(i) for i in range(self.n_requests)]),
            estimated_input_tokens=self.input_tokens.astype(np.int64),
            ts_ms=self.ts_ms,
            context_index=index,
            model_index=position[chosen],
            attempt=np.arange(n_rows, dtype=np.int64) - first,
            adequate=adequate,
            reward=rewards(adequate, reward=missing),
            cost_usd=self.cost_usd[index, chosen] * seen,
            input_tokens=self.input_tokens[index] * seen,
            cached_tokens=seen * (0 if agents is None else agents.cached_tokens[index, chosen]),
            output_tokens=self.output_tokens[index, chosen] * seen,
            latency_ms=self.latency_ms[index, chosen] * seen,
            tool_call_latency_ms=self.latency_ms[index, chosen] * seen,
            tool_call_valid=(
                missing if agents is None else agents.tool_call_valid[index, chosen] * seen
            ),
            propensity=propensity,
            weight=np.ones(n_rows),
        )

    def _request(self, index: int) -> Mapping[str, Any]:
        origin = {
            "request_id": _request_id(index),
            "dataset": "simulated",
            "task": self.task[index],
            "group": self.session[index],
            "session_id": self.session[index],
            "ts_ms": int(self.ts_ms[index]),
        }
        if self.agents is not None:
            body = msgspec.json.decode(self.chat_body(index))
            tools = body.get("tools")
            return origin | {
                "messages": msgspec.json.encode(body["messages"]).decode(),
                "tools": None if tools is None else msgspec.json.encode(tools).decode(),
            }
        difficulty, needs_tools, turn, _ = self.features[index].tolist()
        words = "please " * max(1, round(10 + 5 * difficulty))
        return origin | {
            "prompt": f"{words}{self.task[index]} number {index} in turn {turn:.0f}",
            "tools": _TOOLS if needs_tools > 0 else None,
        }

    def _cell(self, index: int, model: int) -> Mapping[str, Any]:
        return {
            "request_id": _request_id(index),
            "model": self.models[model],
            "success": float(self.adequate[index, model]),
            "cost_usd": float(self.cost_usd[index, model]),
            "input_tokens": int(self.input_tokens[index]),
            "output_tokens": int(self.output_tokens[index, model]),
            "latency_ms": float(self.latency_ms[index, model]),
        }


_TOOLS = (
    '[{"type":"function","function":{"name":"lookup","parameters":'
    '{"type":"object","properties":{"name":{"type":"string"}}}}}]'
)


def simulate(n_requests: int, *, n_models: int = 5, seed: int = 0) -> World:
    """A world of at least one request; the same for the same arguments.

    P(adequate) = sigmoid(1 + skill - 1.5 difficulty + tool skill x need for tools).
    """
    if n_requests < 1 or n_models < 1:
        raise DatasetError(
            f"simulate: got {n_requests} requests and {n_models} models, expected 1 or more"
        )
    rng = np.random.default_rng(seed)
    session_of, turn = _sessions(n_requests, rng)
    n_sessions = int(session_of[-1]) + 1
    difficulty = rng.normal(0.0, 1.0, n_sessions)[session_of] + rng.normal(0.0, 0.5, n_requests)
    task_of = rng.integers(0, len(TASKS), n_sessions)[session_of]
    needs_tools = (task_of == TASKS.index("tools")).astype(np.float64)
    skill = np.linspace(-1.0, 1.5, n_models)
    tool_skill = np.linspace(1.5, -1.5, n_models)
    logit = 1.0 + skill[None, :] - 1.5 * difficulty[:, None] + needs_tools[:, None] * tool_skill
    p_adequate = 1.0 / (1.0 + np.exp(-logit))
    input_tokens: Floats = (rng.lognormal(8.0, 0.7, n_requests) + 500.0 * turn).round()
    output_tokens = np.round(rng.lognormal(5.0 + 0.2 * skill, 0.5, (n_requests, n_models)))
    price = 0.2 * 2.0 ** np.arange(n_models)  # US dollars per million input tokens
    cost = (input_tokens[:, None] * price + output_tokens * 5.0 * price) / 1e6
    start = IMPORT_START_MS + 60_000 * np.cumsum(rng.integers(1, 5, n_sessions))
    features = np.stack([difficulty, needs_tools, turn, input_tokens / 1e3], axis=1)
    return World(
        seed=seed,
        models=tuple(f"model-{index:02d}" for index in range(n_models)),
        features=features.astype(np.float32),
        session=_texts([f"session-{index:06d}" for index in session_of]),
        task=_texts([TASKS[index] for index in task_of]),
        ts_ms=(start[session_of] + _GAP_MS * turn).astype(np.int64),
        p_adequate=p_adequate,
        adequate=(rng.random(p_adequate.shape) < p_adequate).astype(np.float64),
        cost_usd=cost,
        latency_ms=np.round(400.0 + 12.0 * output_tokens * rng.uniform(0.8, 1.2, n_models)),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        step_type=_texts(["main"] * n_requests),
        tenant=_texts(["simulated"] * n_requests),
        key=_texts([""] * n_requests),
        turn=turn,
    )


def _sessions(n_requests: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Session and turn of each request; sessions have 1 to 8 turns."""
    lengths = rng.integers(1, 9, n_requests)
    session = np.repeat(np.arange(n_requests), lengths)[:n_requests]
    first = np.searchsorted(session, session)
    return session.astype(np.int64), np.arange(n_requests) - first


def _request_id(index: int) -> str:
    return f"request-{index:07d}"


def _texts(values: Sequence[str]) -> Texts:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
