"""Fit of the positive targets: output tokens, latency to the first tool call, cost."""

import numpy as np

from router_data.rounds import Rounds
from router_model.heads import Floats
from router_model.predictor import COST, LATENCY, OUTPUT_TOKENS, LogHead
from router_training.bilinear import Cells, Ints, fit_head
from router_training.params import TrainingParams
from router_training.weights import training_weights

# Strong: requests of agents lie far outside of what benchmarks ask, and lines run far.
_RIDGE = 2000.0
_RIDGE_OWN = 4000.0
_LARGEST_RESIDUAL = 5.0


def fit_amounts(
    rounds: Rounds, z: Floats, loadings: Floats, *, context: Ints, params: TrainingParams
) -> dict[str, LogHead]:
    """A head for each target that was observed at least twice; rows weigh as in adequacy.

    `z` (n, p) holds the contexts, `context` (n_rows,) says which is each row's.

    Where the time to the first tool call was not reported, the latency of the whole call
    stands for it: an upper bound.
    """
    latency = np.where(
        np.isfinite(rounds.tool_call_latency_ms), rounds.tool_call_latency_ms, rounds.latency_ms
    )
    columns = {OUTPUT_TOKENS: rounds.output_tokens, LATENCY: latency, COST: rounds.cost_usd}
    heads = {}
    for target, values in columns.items():
        usable = np.isfinite(values) & (values > 0)
        if usable.sum() >= 2:
            logs = np.log(np.where(usable, values, 1.0))
            weight = training_weights(rounds, usable, params)
            cells = Cells(context, rounds.model_index, logs, weight=weight)
            heads[target] = _fit(z, loadings, cells.select(usable))
    return heads


def _fit(z: Floats, loadings: Floats, cells: Cells) -> LogHead:
    head, _ = fit_head(
        z, loadings, cells, link="identity", ridge=_RIDGE, ridge_own=_RIDGE_OWN, max_iter=60
    )
    coef, intercept = head.coefficients(loadings, np.arange(len(loadings)))
    residual = cells.y - (z @ coef + intercept)[cells.context, cells.model]
    # Duan's smearing estimate (1983) turns the median of a log-normal fit into a mean.
    clipped = np.clip(residual, -_LARGEST_RESIDUAL, _LARGEST_RESIDUAL)
    is_known = np.bincount(cells.model, minlength=len(loadings)) > 0
    smearing = np.average(np.exp(clipped), weights=cells.weight)
    return LogHead(head, float(smearing), is_known)
