"""Why a logged decision came out as it did, and what would have changed it."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from router_model import fallback, features
from router_model.catalog import Catalog
from router_model.embedding import MATCH_NAMES, MATCH_UNIT, N_MATCH
from router_model.logged_candidates import candidate_of
from router_model.logged_decision import FIRST_SCHEMA, own_of, read
from router_model.policy import ABSTAINED, CHEAPEST_ADEQUATE, HIGHEST_P, CheapestAdequate
from router_model.predictor import BoundPredictor
from router_model.rules import rules_of
from router_model.types import Candidate, Versions
from router_model.weighing import Chooser

N_SHOWN = 6
TEXT_GROUP = "text_meaning"
OTHER_GROUP = "model_itself"
_NAMES = (*features.SCHEMA.names, *MATCH_NAMES, TEXT_GROUP, OTHER_GROUP)
_UNITS = (*features.SCHEMA.units, *((MATCH_UNIT,) * N_MATCH), None, None)
Floats = NDArray[np.float64]


def explain(
    record: Mapping[str, Any],
    *,
    chooser: Chooser,
    versions: Versions,
    catalog: Catalog,
    dimension: int,
) -> dict[str, Any]:
    """The record's own fields, contributions per candidate, and what would have changed it.

    `rules` says in dollars what each rule meant (`router_model.rules`). Where the caller kept its
    own model, all of this is about what the router would have decided (`shadow`).
    Contributions are log-odds of being adequate before calibration: the linear score's terms
    plus the trees' SHAP values, text dimensions summed under "text_meaning" and everything
    that belongs to the model alone under "model_itself".
    """
    own = own_of(record)
    candidates = [candidate_of(entry) for entry in own.get("candidates") or ()]
    logged = dict(record.get("versions") or {})
    kept = {key: value for key, value in record.items() if key not in ("features", "embedding")}
    current: dict[str, Any] = msgspec.to_builtins(versions)
    return {
        **kept,
        "rules": _rules(own, candidates, catalog, chooser, dimension),
        "contributions": _contributions(own, chooser.scorer.bound, candidates),
        "would_change": _unrouted(own, record) + _alternatives(own, candidates, chooser.policy),
        "prices": {
            c.model: msgspec.to_builtins(catalog.models[c.model].price)
            for c in candidates
            if c.model in catalog.models
        },
        "explained_with": current,
        "is_same_version": logged == current,
    }


def _rules(
    record: Mapping[str, Any],
    candidates: Sequence[Candidate],
    catalog: Catalog,
    chooser: Chooser,
    dimension: int,
) -> list[dict[str, Any]]:
    """Every rule with its dollars; empty where the row does not hold what they read."""
    is_old = (record.get("schema") or 0) < FIRST_SCHEMA or record.get("situation") is None
    if is_old or not candidates or not _is_predicted(record):
        return []
    return rules_of(
        read(record),
        candidates,
        record.get("excluded") or {},
        catalog=catalog,
        chooser=chooser,
        dimension=dimension,
    )


def _contributions(
    record: Mapping[str, Any], bound: BoundPredictor, candidates: Sequence[Candidate]
) -> dict[str, list[dict[str, Any]]]:
    """The largest contributions by model.

    Empty where the log has another feature schema, and where nothing could be predicted.
    """
    if not _is_predicted(record):
        return {}
    values = _vector(record["features"], "<f4")
    embedding = _vector(record.get("embedding") or "", "<f2")
    table = _table(bound, values, embedding)
    named = np.concatenate([values, embedding[-N_MATCH:]])
    shown = {}
    for candidate in candidates:
        if candidate.model in bound.names:
            row = table[bound.names.index(candidate.model)]
            shown[candidate.model] = _largest(row, named)
    return shown


def _table(
    bound: BoundPredictor, values: NDArray[np.float32], embedding: NDArray[np.float32]
) -> Floats:
    """Log-odds (n_models, n_features + N_MATCH + 2): inputs with a name, text, the model itself."""
    n, blend = len(values), bound.predictor.blend
    n_named = n + N_MATCH
    linear = blend.linear * bound.linear_contributions(values, embedding)
    rows = bound.tree_rows(values[None], embedding[None])
    shap = blend.trees * bound.predictor.trees.contributions(rows)
    n_text = bound.predictor.text_components.shape[1]
    named = np.concatenate([linear[:, :n], linear[:, -N_MATCH:]], axis=1) + shap[:, :n_named]
    text = linear[:, n:-N_MATCH].sum(axis=1) + shap[:, n_named : n_named + n_text].sum(axis=1)
    model = blend.linear * bound.intercept + shap[:, n_named + n_text :].sum(axis=1)
    return np.column_stack([named, text, model])


def _largest(row: Floats, values: NDArray[np.float32]) -> list[dict[str, Any]]:
    order = np.argsort(-np.abs(row), kind="stable")[:N_SHOWN]
    return [
        {
            "feature": _NAMES[index],
            "value": float(values[index]) if index < len(values) else None,
            "unit": _UNITS[index],
            "log_odds": round(float(row[index]), 4),
        }
        for index in order
    ]


def _unrouted(own: Mapping[str, Any], record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """That the session is not routed, where that is what keeps the router's choice away."""
    if own is record or own["model"] is None:
        return []
    setting = "the session were routed (`adoption` in tenants.toml)"
    return [{"model": own["model"], "if": setting}]


def _alternatives(
    record: Mapping[str, Any], candidates: Sequence[Candidate], policy: CheapestAdequate
) -> list[dict[str, Any]]:
    """For each model that was not chosen, what would have made it the choice."""
    chosen = next((c for c in candidates if c.model == record.get("model")), None)
    if chosen is None:
        return []
    excluded = [
        {"model": model, "if": f"it were not excluded ({reason})"}
        for model, reason in (record.get("excluded") or {}).items()
    ]
    first, *_ = candidates
    others = [c for c in candidates if c is not chosen]
    shown = sorted(others, key=lambda c: c.expected_cost)
    conditions = [{"model": c.model, "if": _condition(c, chosen, record, policy)} for c in shown]
    if chosen is not first:
        drawn = f"exploration had not drawn {chosen.model} (its share was {_share(record):.3f})"
        conditions = [{"model": first.model, "if": drawn}] + [
            condition for condition in conditions if condition["model"] != first.model
        ]
    return conditions + excluded


def _share(record: Mapping[str, Any]) -> float:
    return float(record.get("propensity") or float("nan"))


def _condition(
    other: Candidate, chosen: Candidate, record: Mapping[str, Any], policy: CheapestAdequate
) -> str:
    if _is_fallback(record):
        return "a prediction had been possible, or every stronger model were not admissible"
    gain = other.p_adequate - chosen.p_adequate
    extra = _spent(other) - _spent(chosen)
    if record.get("reason") == HIGHEST_P:
        return f"min_adequacy were at most {other.p_adequate:.3f}, its p, and no cheaper one met it"
    if record.get("reason") == ABSTAINED:
        return "a contract were certified at a threshold that it meets, and no cheaper one met it"
    if record.get("reason") == CHEAPEST_ADEQUATE:
        return _threshold_condition(other, chosen)
    if gain > 0 and extra > 0:
        return (
            f"min_adequacy were above {chosen.p_adequate:.3f}, or an inadequate answer cost more "
            f"than ${extra / gain:.4f}"
        )
    if gain <= 0 and extra >= 0:
        return f"it cost ${extra:.6f} less, or its p were higher by more than {-gain:.3f}"
    if gain < 0:
        return f"an inadequate answer cost less than ${extra / gain:.4f}, or its p met min_adequacy"
    return f"exploration had not drawn {chosen.model} (failure cost ${policy.failure_cost_usd:.4f})"


def _threshold_condition(other: Candidate, chosen: Candidate) -> str:
    """The same where a threshold decided, and so the failure cost had no part in it."""
    extra = _spent(other) - _spent(chosen)
    if other.p_adequate > chosen.p_adequate:
        return f"min_adequacy were above {chosen.p_adequate:.3f}, or it cost ${extra:.6f} less"
    if extra < 0:
        return f"min_adequacy were at most {other.p_adequate:.3f}, its p"
    return f"it cost ${extra:.6f} less"


def _spent(candidate: Candidate) -> float:
    return candidate.expected_cost + candidate.later_cost


def _is_predicted(record: Mapping[str, Any]) -> bool:
    """True where the row holds features of this schema, and something was predicted from them."""
    is_same = record.get("feature_schema") == features.SCHEMA.hash
    return is_same and bool(record.get("features")) and not _is_fallback(record)


def _is_fallback(record: Mapping[str, Any]) -> bool:
    return fallback.is_fallback(str(record.get("reason")))


def _vector(text: str, kind: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text), dtype=kind).astype(np.float32)
