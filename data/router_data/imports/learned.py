"""What the calls of an import say, added up while they are read."""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from router_data.imports.naming import OTHERS, count_in
from router_data.imports.what_if import WhatIf
from router_data.rewards import adequacy
from router_model.catalog import Catalog
from router_model.types import Outcome, StepType

Row = dict[str, Any]
_SIDE = frozenset(str(step) for step in StepType if step.is_side_call)


@dataclass(slots=True)
class ModelSums:
    """Calls of one model."""

    n_calls: int = 0
    n_judged: int = 0
    n_adequate: int = 0
    n_with_cost: int = 0
    cost_usd: float = 0.0
    input_tokens: int = 0
    cached_tokens: int = 0

    @property
    def cached_share(self) -> float | None:
        """The share of input tokens that came from a cache; None where no usage is known."""
        return self.cached_tokens / self.input_tokens if self.input_tokens else None


@dataclass(slots=True)
class Learned:
    """Sums over the calls of a file, those that were in the log already included.

    Kinds of step are known of calls with a request (`n_with_request`) only. A call is judged
    when a verdict, a reward, an error or a signal says whether it was adequate.
    """

    what_if: WhatIf
    n_calls: int = 0
    n_with_request: int = 0
    n_with_cost: int = 0
    n_with_usage: int = 0
    n_errors: int = 0
    n_explicit: int = 0
    n_judged: int = 0
    n_drawn: int = 0
    n_calls_checked: int = 0
    n_calls_invalid: int = 0
    cost_usd: float = 0.0
    side_cost_usd: float = 0.0
    first_ms: int | None = None
    last_ms: int | None = None
    models: dict[str, ModelSums] = field(default_factory=dict)
    side_calls: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    sessions: Counter[int] = field(default_factory=Counter)

    def add(self, decision: Row, outcome: Row, *, n_retried: int = 0) -> None:
        """Take one call, as the rows that the log holds of it, and how many it asked again."""
        session = _digest(decision)
        is_side = decision["step_type"] in _SIDE
        self.n_calls += 1
        self.sessions[session] += 1
        self.n_with_request += decision["features"] is not None
        self.n_drawn += decision["feedback"] == "bandit"
        self.n_errors += outcome["error"] is not None
        self.first_ms = min(self.first_ms or decision["ts_ms"], decision["ts_ms"])
        self.last_ms = max(self.last_ms or decision["ts_ms"], decision["ts_ms"])
        if n_retried:
            self.signals["retried"] += n_retried
        if is_side:
            self.side_calls[decision["step_type"]] += 1
        model = self._of_model(decision["model"])
        model.n_calls += 1
        self._add_money(model, outcome, is_side=is_side)
        self._add_evidence(model, outcome)
        self.what_if.add(
            decision["model"],
            outcome["usage"],
            outcome["cost_usd"],
            is_side=is_side,
            session=session,
        )

    def _add_money(self, model: ModelSums, outcome: Row, *, is_side: bool) -> None:
        usage = outcome["usage"] or {}
        if usage.get("input_tokens") is not None:
            self.n_with_usage += 1
            model.input_tokens += usage["input_tokens"]
            model.cached_tokens += usage.get("cached_tokens") or 0
        if outcome["cost_usd"] is not None:
            self.n_with_cost += 1
            self.cost_usd += outcome["cost_usd"]
            model.n_with_cost += 1
            model.cost_usd += outcome["cost_usd"]
            self.side_cost_usd += outcome["cost_usd"] if is_side else 0.0

    def _add_evidence(self, model: ModelSums, outcome: Row) -> None:
        self.n_explicit += outcome["adequate"] is not None or outcome["reward"] is not None
        for name, value in outcome["signals"].items():
            if value is True:
                count_in(self.signals, name)
        if outcome["tool_call_valid"] is not None:
            self.n_calls_checked += 1
            self.n_calls_invalid += not outcome["tool_call_valid"]
        judged = adequacy(
            Outcome(
                decision_id="",
                model="",
                **{
                    name: outcome[name]
                    for name in ("adequate", "reward", "signals", "error", "tool_call_valid")
                },
            )
        )
        if judged is not None:
            self.n_judged += 1
            model.n_judged += 1
            model.n_adequate += judged

    def _of_model(self, name: str) -> ModelSums:
        if name not in self.models and len(self.models) >= 1_000:
            name = OTHERS
        return self.models.setdefault(name, ModelSums())

    @property
    def n_side_calls(self) -> int:
        """Calls that are no work on a task: titles, summaries, commit messages and the like."""
        return self.side_calls.total()

    @property
    def cached_share(self) -> float | None:
        """The share of input tokens that came from a cache; None where no usage is known."""
        whole = sum(model.input_tokens for model in self.models.values())
        return sum(m.cached_tokens for m in self.models.values()) / whole if whole else None


def learned_from(catalog: Catalog) -> Learned:
    """Nothing learned yet; the catalog gives the prices."""
    return Learned(WhatIf(catalog))


def _digest(decision: Row) -> int:
    name = f"{decision['tenant']}\0{decision['session'] or decision['decision_id']}"
    return int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "big")
