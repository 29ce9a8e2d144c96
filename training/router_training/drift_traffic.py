"""The columns of a log that drift is looked for in."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from router_training.changes import Floats, Ints

Texts = NDArray[np.object_]
_MAX_WEIGHT = 20.0


@dataclass(frozen=True)
class Traffic:
    """Live decisions with what was predicted and what came out; NaN is "not observed".

    One entry per decision, in order of time. `repriced_cost` is the expected cost at today's
    prices. `is_settled` says that an outcome would have come by now. `quarantined_ms` are the
    times of rows that can't be trusted, which are not among the decisions.
    """

    feature_names: tuple[str, ...]
    features: NDArray[np.float32]
    ts_ms: Ints
    session: Ints
    tenant: Texts
    client: Texts
    model: Texts
    catalog: Texts
    p_adequate: Floats
    propensity: Floats
    adequate: Floats
    expected_cost: Floats
    repriced_cost: Floats
    cost_usd: Floats
    is_settled: NDArray[np.bool_]
    quarantined_ms: Ints

    @property
    def n(self) -> int:
        """How many decisions there are."""
        return len(self.ts_ms)

    def between(self, since_ms: int, until_ms: int) -> "Traffic":
        """The decisions and quarantined rows with since_ms <= time < until_ms."""
        mask = (self.ts_ms >= since_ms) & (self.ts_ms < until_ms)
        bad = (self.quarantined_ms >= since_ms) & (self.quarantined_ms < until_ms)
        kept = self.select(mask)
        return replace(kept, quarantined_ms=self.quarantined_ms[bad])

    def select(self, rows: NDArray[np.bool_] | Ints) -> "Traffic":
        """The decisions of a mask, or of positions in their order."""
        names = [f.name for f in fields(self) if f.name not in ("feature_names", "quarantined_ms")]
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def observed(traffic: Traffic) -> NDArray[np.bool_]:
    """Decisions whose adequacy is known and was predicted."""
    return np.isfinite(traffic.adequate) & np.isfinite(traffic.p_adequate)


def weights(traffic: Traffic) -> Floats:
    """Inverse propensities, at most 20, so that a model's figures do not follow the policy.

    Where a model was certain the weight is 1; requests on which it could not be drawn are not
    represented.
    """
    return np.minimum(1.0 / traffic.propensity, _MAX_WEIGHT)
