"""What a training run learns beside the predictor, for `artifacts.write_artifact`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from router_data.behaviour_table import load_behaviour
from router_training.behaviour import behaviour_note, behaviour_of, latency_on_later
from router_training.params import TrainingParams
from router_training.session_economics import fit_economics


def learned_beside(
    state: Path, *, params: TrainingParams, tags: Mapping[str, str]
) -> dict[str, Any]:
    """`behaviour`, the section of the model card on it, `behaviour_note`, and `economics`.

    Like the predictor they learn from nothing written after `trained_until_ms` of the lineage.
    """
    until_ms = int(tags["trained_until_ms"])
    table = load_behaviour(state, rule=params.adequacy, until_ms=until_ms)
    behaviour = behaviour_of(table)
    return {
        "behaviour": behaviour,
        "behaviour_note": behaviour_note(behaviour, latency_on_later(table)),
        "economics": fit_economics(state, until_ms=until_ms, seed=params.seed),
    }
