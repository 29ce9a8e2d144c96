"""A logged decision as a policy may see it: everything known before the draw, nothing after."""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.logged import LoggedDecisions
from router_model.features import SCHEMA


class Option(Struct, frozen=True, kw_only=True):
    """A candidate as it was predicted when the decision was made."""

    model: str
    p_adequate: float
    expected_cost: float
    tool_call_latency_ms: float


class DecisionView(Struct, frozen=True, kw_only=True):
    """What a function policy sees of a decision: everything known before the draw."""

    decision_id: str
    tenant: str
    key: str
    session: str
    step_type: str
    client: str
    ts_ms: int
    is_side_call: bool
    min_adequacy: float
    candidates: Mapping[str, Option]
    vector: NDArray[np.float32]

    def feature(self, name: str) -> float:
        """A feature by its name in the schema."""
        return float(self.vector[SCHEMA.index(name)])


def view_of(logged: LoggedDecisions, row: int) -> DecisionView:
    """One decision as a function policy sees it."""
    return DecisionView(
        decision_id=str(logged.decision_id[row]),
        tenant=str(logged.tenant[row]),
        key=str(logged.key[row]),
        session=str(logged.session[row]),
        step_type=str(logged.step_type[row]),
        client=str(logged.client[row]),
        ts_ms=int(logged.ts_ms[row]),
        is_side_call=bool(logged.is_side_call[row]),
        min_adequacy=float(logged.min_adequacy[row]),
        candidates={
            logged.models[j]: Option(
                model=logged.models[j],
                p_adequate=float(logged.p_adequate[row, j]),
                expected_cost=float(logged.expected_cost[row, j]),
                tool_call_latency_ms=float(logged.tool_call_latency_ms[row, j]),
            )
            for j in np.flatnonzero(logged.candidates[row])
        },
        vector=logged.features[row],
    )
