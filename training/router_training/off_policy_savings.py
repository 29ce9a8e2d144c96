"""What changes, decision by decision, when a policy takes the place of another: paired terms."""

from typing import Self

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_training.bandit_sample import effective_sample_size
from router_training.intervals import Interval
from router_training.off_policy_report import ADEQUATE, COST, Saving, Slice
from router_training.off_policy_values import LogValues
from router_training.ope_intervals import mean_spread

Floats = NDArray[np.float64]
_ANY = (0.0, 0.0)  # only normal intervals are shown, which need no bounds


class Change(Struct, frozen=True, kw_only=True):
    """Terms whose means are the saving in US dollars and the change of the adequate share.

    `weight` is that of the evaluated policy, 0 where adequacy was not observed.
    """

    saving_usd: Floats
    adequate: Floats
    weight: Floats
    groups: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        log: LogValues,
        target: Floats,
        *,
        instead_of: Floats | None = None,
        router_cost_usd: float,
    ) -> Self:
        """What the target changes against another distribution, the log itself by default.

        The router's cost is paid by the target alone, as if the other one needed no router.
        """
        adequate, cost = log.outcomes[ADEQUATE], log.outcomes[COST]
        if instead_of is None:
            before = adequate.logged_terms, cost.logged_terms
        else:
            before = adequate.terms(instead_of), cost.terms(instead_of)
        return cls(
            saving_usd=before[1] - cost.terms(target) - router_cost_usd,
            adequate=adequate.terms(target) - before[0],
            weight=adequate.sample(target).weight,
            groups=log.groups,
        )

    def saving(self, against: str) -> Saving:
        """The saving over all decisions."""
        each, n = interval_of(self.saving_usd, self.groups), len(self.saving_usd)
        return Saving(
            against=against,
            per_decision_usd=each,
            total_usd=Interval(n * each.estimate, n * each.low, n * each.high),
            adequate=interval_of(self.adequate, self.groups),
        )

    def slices(self, names: NDArray[np.object_], *, least: int) -> tuple[Slice, ...]:
        """The saving on the decisions of each name, the most frequent first."""
        found = []
        distinct, index = np.unique(names.astype(str), return_inverse=True)
        for place, name in enumerate(distinct):
            rows = index == place
            if rows.sum() < least:
                continue
            found.append(
                Slice(
                    name=str(name),
                    n=int(rows.sum()),
                    effective_sample_size=effective_sample_size(self.weight[rows]),
                    saving_usd=interval_of(self.saving_usd[rows], self.groups[rows]),
                    adequate=interval_of(self.adequate[rows], self.groups[rows]),
                )
            )
        return tuple(sorted(found, key=lambda part: (-part.n, part.name)))


def interval_of(terms: Floats, groups: NDArray[np.int64]) -> Interval:
    """Mean of paired terms with its clustered normal interval."""
    spread = mean_spread(terms, groups, bounds=_ANY)
    return Interval(float(terms.mean()), spread.low, spread.high)
