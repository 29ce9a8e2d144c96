"""Artifacts, gains and held-out logs for tests of the gate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import routers
from live_log import live_rows
from log_samples import write_log

from router_data.rewards import DEFAULT_RULE
from router_model.contract import write_contracts
from router_model.embedding import N_MATCH
from router_training.gate_gain import Gain
from router_training.held_out import HeldOut, HeldOutKeys, load_held_out
from router_training.intervals import Resampling

RESAMPLING = Resampling(n_resamples=100)
NEVER_SEEN = HeldOutKeys(seen_until_ms=0, keys=())
CHEAPEST: Mapping[str, float | int] = {"min_adequacy": 1e-6}
STRONGEST: Mapping[str, float | int] = {"min_adequacy": 1.0}
BAD_SMALL = {"small": 0.3, "large": 0.95}


def artifact(folder: Path, policy: Mapping[str, float | int] = CHEAPEST) -> Path:
    """An artifact that always takes the cheapest model, or the one of highest p."""
    routers.write_artifact(folder)
    (folder / "MODEL_CARD.md").write_text("# Model card\n")
    write_contracts([], folder)
    routers.seal(folder, policy=dict(policy))
    return folder


def gain(values: Any, *, is_live: bool = True, **changes: Any) -> Gain:
    terms = np.asarray(values, dtype=np.float64)
    n = len(terms)
    columns: dict[str, Any] = {
        "failure_usd": np.full(n, 0.25),
        "groups": np.arange(n),
        "tenant": np.array(["acme"] * n, dtype=object),
        "step_type": np.array(["main"] * n, dtype=object),
    }
    return Gain(source="live", is_live=is_live, gain_usd=terms, **(columns | changes))


def held_out(folder: Path, rows: list[dict[str, Any]]) -> HeldOut:
    write_log(folder / "log", rows)
    return load_held_out(folder, NEVER_SEEN, rule=DEFAULT_RULE, encoder=routers.encoder().hash)


def explored(n: int = 600, **changes: Any) -> list[dict[str, Any]]:
    return live_rows(
        n,
        p_small=0.5,
        n_dimensions=routers.N_DIMENSIONS + N_MATCH,
        encoder=routers.encoder().hash,
        **changes,
    )
