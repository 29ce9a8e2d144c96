"""What the served policy would have chosen on logged decisions, by the code that serves it."""

import numpy as np
from numpy.typing import NDArray

from router_data.logged import LoggedDecisions
from router_model.policy import CheapestAdequate
from router_model.types import Candidate

Floats = NDArray[np.float64]


def chosen_by(
    policy: CheapestAdequate,
    logged: LoggedDecisions,
    p_adequate: Floats,
    *,
    expected_cost: Floats,
) -> Floats:
    """What the served policy chooses with these probabilities and costs."""
    table = np.zeros(logged.distribution.shape)
    known = np.where(logged.candidates & np.isfinite(expected_cost), expected_cost, 0.0)
    dearest = known.max(axis=1, keepdims=True)
    cost = np.where(np.isfinite(expected_cost), expected_cost, dearest)
    p, latency = np.nan_to_num(p_adequate), np.nan_to_num(logged.tool_call_latency_ms)
    for row in range(logged.n):
        columns = {logged.models[j]: int(j) for j in np.flatnonzero(logged.candidates[row])}
        candidates = [
            Candidate(
                model=model,
                p_adequate=float(p[row, j]),
                expected_cost=float(cost[row, j]),
                input_tokens=0,
                cached_tokens=0,
                output_tokens=0.0,
                tool_call_latency_ms=float(latency[row, j]),
            )
            for model, j in columns.items()
        ]
        choice = policy.choose(candidates, is_side_call=bool(logged.is_side_call[row]))
        for model, probability in choice.distribution.items():
            table[row, columns[model]] = probability
    return table
