"""A simulated log of a logging policy with known propensities, without a router: fast."""

from pathlib import Path
from typing import Any

import numpy as np

from router_data.log import SEGMENTS, SegmentWriter
from router_data.logging_policy import LoggingPolicy
from router_data.playthrough import Playthrough
from router_data.rows import ROW_SCHEMA, encode_embedding, encode_features
from router_data.simulator import SCHEMA, World
from router_data.traffic import LogReport, decision_prefix, report_rows
from router_model import formats
from router_model.embedding import N_MATCH
from router_model.errors import DatasetError
from router_model.features import SCHEMA as FEATURES
from router_model.router import Router
from router_model.types import WireFormat

Row = dict[str, Any]


def log_with_policy(
    world: World, state: Path, *, policy: LoggingPolicy, router: Router | None = None
) -> LogReport:
    """Log what a policy that draws would have left, with the propensities of `world.draw`.

    Decisions carry the world's own features under `world.feature_schema`; with a `router`, the
    features and the embedding that it computes of the bodies, about a millisecond each. What a
    candidate was expected to do is crude on purpose: its mean P(adequate) and output on the task.
    Costs are those of one call after the choices that the log made before it: a policy that
    switches less pays less for cold prefixes than an estimate from this log says.
    """
    if policy.name == "full":
        raise DatasetError("policy: got full, expected one that draws")
    chosen, probabilities = world.draw(policy)
    play, maker = Playthrough(world), _RowMaker(world, policy, router)
    rows: list[Row] = []
    n_outcomes = 0
    for index, place in enumerate(chosen.tolist()):
        row = maker.row(play, index, place, probabilities[index].tolist())
        report = play.take(index, world.models[place], decision_id=row["decision_id"])
        reported = report_rows([report], tenant=row["tenant"])
        n_outcomes += len(reported)
        rows += [row, *reported]
    with SegmentWriter(state / "log" / SEGMENTS, "simulated") as writer:
        writer.append(rows)
    return LogReport(world.n_requests, n_outcomes)


class _RowMaker:
    """Makes the decision rows of one world under one policy."""

    def __init__(self, world: World, policy: LoggingPolicy, router: Router | None) -> None:
        self.world = world
        self.router = router
        self.prefix = decision_prefix(world, f"{policy.label}-{policy.seed}")
        self.fixed: Row = {
            "schema": ROW_SCHEMA,
            "kind": "decision",
            "format": str(WireFormat.OPENAI_CHAT),
            "requested_model": "auto",
            "policy": f"simulated:{policy.label}",
            "reason": "simulated",
            "feedback": "bandit",
            "fallbacks": [],
            "excluded": {},
            "versions": {"artifact": "simulated", "catalog": "simulated", "policy": policy.label},
            "rollout": "champion",
        }
        self.blank = encode_embedding(np.zeros(N_MATCH, dtype=np.float32))
        tasks = sorted(set(world.task.tolist()))
        on_task = {task: world.task == task for task in tasks}
        self.p = {task: world.p_adequate[on_task[task]].mean(axis=0).tolist() for task in tasks}
        self.output = {
            task: world.output_tokens[on_task[task]].mean(axis=0).tolist() for task in tasks
        }
        self.latency = {
            task: world.latency_ms[on_task[task]].mean(axis=0).tolist() for task in tasks
        }

    def row(self, play: Playthrough, index: int, place: int, probabilities: list[float]) -> Row:
        """The decision on request `index`, which drew the model in `place`."""
        world = self.world
        return {
            **self.fixed,
            "ts_ms": int(world.ts_ms[index]),
            "decision_id": f"{self.prefix}-{index}",
            "tenant": world.tenant[index],
            "key": world.key[index] or None,
            "session": world.session[index],
            "request_hash": f"{self.prefix}-{index}",
            "step_type": world.step_type[index],
            "model": world.models[place],
            "propensity": probabilities[place],
            "input_tokens": int(world.input_tokens[index]),
            "candidates": self._candidates(play, index, probabilities),
            **self._context(index),
        }

    def _candidates(
        self, play: Playthrough, index: int, probabilities: list[float]
    ) -> list[dict[str, Any]]:
        task = self.world.task[index]
        warm = play.warm_tokens(index)
        return [
            {
                "model": model,
                "p_adequate": self.p[task][place],
                "expected_cost": play.expected_cost(
                    index, model, output_tokens=self.output[task][place]
                ),
                "input_tokens": int(self.world.input_tokens[index]),
                "cached_tokens": warm.get(model, 0),
                "output_tokens": self.output[task][place],
                "tool_call_latency_ms": self.latency[task][place],
                "probability": probabilities[place],
            }
            for place, model in enumerate(self.world.models)
        ]

    def _context(self, index: int) -> Row:
        if self.router is None:
            return {
                "features": encode_features(self.world.features[index]),
                "feature_schema": self.world.feature_schema,
                "embedding": self.blank,
                "encoder": SCHEMA,
            }
        body = self.world.chat_body(index)
        context = self.router.context(formats.parse(body, wire_format=WireFormat.OPENAI_CHAT))
        return {
            "features": encode_features(context.values),
            "feature_schema": FEATURES.hash,
            "embedding": encode_embedding(self.router.embed(context)),
            "encoder": self.router.manifest.encoder,
        }
