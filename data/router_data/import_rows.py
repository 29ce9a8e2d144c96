"""Makes decision and outcome rows of imported requests."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from router_data.contexts import TableContext, import_id, import_session, import_time
from router_data.logging_policy import LoggingPolicy
from router_data.rows import ROW_SCHEMA, encode_embedding, encode_features
from router_data.tables import TableRequest, Tables
from router_model import features

Row = dict[str, Any]


class RowMaker:
    """Makes the log rows of one request after the other, under one logging policy."""

    def __init__(self, tables: Tables, *, policy: LoggingPolicy, tenant: str, encoder: str) -> None:
        self.requests = tables.requests
        self.outcomes = tables.outcomes
        self.policy = policy
        self.tenant = tenant
        self.encoder = encoder
        self.means = MeanRewards(tables)
        positions = np.arange(len(tables.requests) + 1)
        self.starts = np.searchsorted(tables.outcomes.request_index, positions)

    def rows(self, index: int, context: TableContext | None, problems: Counter[str]) -> list[Row]:
        """The request's outcome rows and, last, its decision row; empty if there is nothing.

        The decision comes last, so that where an import was interrupted a decision in the log
        has all its outcomes.
        """
        span = np.arange(self.starts[index], self.starts[index + 1])
        if context is None:
            if len(span):
                problems["outcome: its request is unreadable"] += len(span)
            return []
        if not len(span):
            problems["request: no outcome"] += 1
            return []
        request = self.requests[index]
        key = import_id(request, policy=self.policy.label, seed=self.policy.seed)
        choice: Row = {"model": "", "propensity": 1.0, "feedback": "full", "candidates": []}
        if self.policy.name != "full":
            drawn = self._draw(request, key, span)
            if drawn is None:
                problems["request: no observed reward to draw from"] += 1
                return []
            choice, span = drawn
        outcomes = [
            self._outcome(request, key, row, attempt=attempt)
            for attempt, row in enumerate(span.tolist())
        ]
        decision = self._decision(request, context, key) | choice
        content = hashlib.sha256(msgspec.json.encode([decision, outcomes])).hexdigest()[:16]
        decision["versions"] = {"artifact": f"import:{content}", "catalog": "", "policy": ""}
        return [*outcomes, decision]

    def _draw(
        self, request: TableRequest, key: str, span: NDArray[np.int64]
    ) -> tuple[Row, NDArray[np.int64]] | None:
        """The drawn model with its propensity, and the one trial of it that was observed."""
        observed = span[~np.isnan(self.outcomes.reward[span])]
        models = sorted(set(self.outcomes.model[observed].tolist()))
        if not models:
            return None
        probabilities = self.policy.distribution(*self.means.of(models, task=request.task))
        rng = self.policy.generator(key)
        chosen = int(rng.choice(len(models), p=probabilities))
        trials = observed[self.outcomes.model[observed] == models[chosen]]
        pairs = zip(models, probabilities.tolist(), strict=True)
        choice: Row = {
            "model": models[chosen],
            "propensity": float(probabilities[chosen]),
            "feedback": "bandit",
            "candidates": [{"model": name, "probability": value} for name, value in pairs],
        }
        return choice, rng.choice(trials, size=1)

    def _decision(self, request: TableRequest, context: TableContext, key: str) -> Row:
        return {
            "schema": ROW_SCHEMA,
            "kind": "decision",
            "ts_ms": import_time(request),
            "decision_id": key,
            "tenant": self.tenant,
            "session": import_session(request),
            "client": context.client or None,
            "format": "openai.chat",
            "requested_model": "",
            "request_hash": request.content_hash,
            "step_type": context.step_type,
            "policy": f"import:{self.policy.label}",
            "reason": "imported",
            "fallbacks": [],
            "excluded": {},
            "features": encode_features(context.features),
            "feature_schema": features.SCHEMA.hash,
            "embedding": encode_embedding(context.embedding),
            "encoder": self.encoder,
            "input_tokens": context.input_tokens,
            "dataset": request.dataset,
            "task": request.task,
            "group": request.group,
        }

    def _outcome(self, request: TableRequest, key: str, row: int, *, attempt: int) -> Row:
        table = self.outcomes
        usage = {
            "input_tokens": _whole(table.input_tokens[row]),
            "cached_tokens": _whole(table.cached_tokens[row]),
            "output_tokens": _whole(table.output_tokens[row]),
        }
        return {
            "schema": ROW_SCHEMA,
            "kind": "outcome",
            "ts_ms": import_time(request),
            "decision_id": key,
            "attempt": attempt,
            "tenant": self.tenant,
            "model": table.model[row],
            "adequate": _flag(table.verdict[row]),
            "reward": _number(table.reward[row]),
            "signals": {},
            "usage": usage,
            "cost_usd": _number(table.cost_usd[row]),
            "latency_ms": _number(table.latency_ms[row]),
            "tool_call_latency_ms": _number(table.tool_call_latency_ms[row]),
            "tool_call_valid": _flag(table.tool_call_valid[row]),
            "error": table.error[row],
        }


class MeanRewards:
    """Mean observed reward of each model, overall and by task; 0 where nothing was observed."""

    def __init__(self, tables: Tables) -> None:
        table = tables.outcomes
        sums: defaultdict[tuple[str, str | None], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for index, model, reward in zip(
            table.request_index.tolist(), table.model.tolist(), table.reward.tolist(), strict=True
        ):
            if reward == reward:  # not NaN
                for key in ((model, None), (model, tables.requests[index].task)):
                    sums[key][0] += reward
                    sums[key][1] += 1.0
        self._means = {key: total / n for key, (total, n) in sums.items()}

    def of(
        self, models: Sequence[str], *, task: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The models' means overall and on the task."""
        overall = [self._means.get((model, None), 0.0) for model in models]
        on_task = [self._means.get((model, task), 0.0) for model in models]
        return np.array(overall), np.array(on_task)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _whole(value: float) -> int | None:
    return None if np.isnan(value) else int(value)


def _flag(value: float) -> bool | None:
    return None if np.isnan(value) else bool(value)
