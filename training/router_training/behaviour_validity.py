"""P(a model's tool calls fit their schemas), by how complex the schemas are."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from router_data.behaviour_table import BehaviourTable
from router_model.behaviour import LearnedFacts, ModelValidity, Validity
from router_training.glm import fit_glm

Floats = NDArray[np.float64]

MIN_CALLS: Final = 10
"""Answers from which on something is said of a model."""
# Pseudo-answers at the usual complexity, before any is seen: published reliabilities of models
# that are offered for tool use lie around this (BFCL v3, tau-bench).
_PRIOR_VALID: Final = 0.97
_PRIOR_ANSWERS: Final = 10.0
# Models' log-odds differ by about 1 (standard deviation), 1 / sd^2 as the ridge. The slope's own
# column is stretched so that its prior has a deviation of 1 log-odds a unit of complexity.
_MODEL_RIDGE: Final = 1.0


def fit_validity(table: BehaviourTable) -> Validity:
    """A logistic regression: one slope for all, at most 0, and each model's intercept, shrunk.

    A slope above 0 is not believed (simple schemas are not harder) and set to 0. Only answers to
    requests with tools count.
    """
    seen = np.isfinite(table.tool_call_valid) & np.isfinite(table.complexity)
    seen &= table.complexity > 0
    names, model, counts = np.unique(
        table.model[seen].astype(str), return_inverse=True, return_counts=True
    )
    if not len(names) or counts.max() < MIN_CALLS:
        return Validity()
    y, complexity = table.tool_call_valid[seen], table.complexity[seen]
    centre = float(complexity.mean())
    dummies = np.eye(len(names))[model]
    slope, level, own = _fitted(y, complexity - centre, dummies)
    if slope > 0.0:
        slope, level, own = _fitted(y, np.zeros(len(y)), dummies)
        slope = 0.0
    return Validity(
        slope=slope,
        models={
            str(name): ModelValidity(
                intercept=level + float(own[place]) - slope * centre,
                mean_complexity=float(complexity[model == place].mean()),
                n=int(counts[place]),
            )
            for place, name in enumerate(names)
            if counts[place] >= MIN_CALLS
        },
    )


def fit_facts(table: BehaviourTable) -> dict[str, LearnedFacts]:
    """How each model calls tools, from at least `MIN_CALLS` answers that have calls."""
    calls = table.n_tool_calls >= 1
    found = {}
    for name in sorted(set(table.model[calls].tolist())):
        own = calls & (table.model == name)
        if own.sum() < MIN_CALLS:
            continue
        chunks = table.n_tool_call_chunks[own]
        told = chunks > 0
        # More pieces than calls: at least one call came in several.
        chunked = (
            float(np.mean(chunks[told] > table.n_tool_calls[own][told])) if told.any() else None
        )
        found[str(name)] = LearnedFacts(
            parallel_share=float(np.mean(table.n_tool_calls[own] > 1)),
            chunked_share=chunked,
            n=int(own.sum()),
        )
    return found


def _fitted(y: Floats, complexity: Floats, dummies: Floats) -> tuple[float, float, Floats]:
    """(slope, common intercept, each model's own), with the prior's pseudo-answers."""
    rows = np.column_stack([complexity, dummies])
    prior = np.zeros((2, rows.shape[1]))
    weight = np.concatenate(
        [np.ones(len(y)), _PRIOR_ANSWERS * np.array([_PRIOR_VALID, 1.0 - _PRIOR_VALID])]
    )
    glm = fit_glm(
        np.concatenate([rows, prior]),
        np.concatenate([y, [1.0, 0.0]]),
        weight=weight,
        ridge=_MODEL_RIDGE,
    )
    return float(glm.coef[0]), float(glm.intercept), glm.coef[1:]
