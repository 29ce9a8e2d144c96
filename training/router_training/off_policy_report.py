"""What off-policy evaluation reports: its fields and its JSON.

Numbers that don't exist are null in JSON. `SCHEMA_VERSION` rises when a field changes its meaning
or goes away.
"""

from pathlib import Path

import msgspec
from msgspec import Struct

from router_training.intervals import Interval
from router_training.ope_intervals import Estimate
from router_training.overlap import Overlap, OverlapLimits
from router_training.report import HullCorner

SCHEMA_VERSION = 1
ADEQUATE, COST, UTILITY = "adequate", "cost_usd", "utility_usd"


class Value(Struct, frozen=True, kw_only=True):
    """One outcome under the evaluated policy and under the policy that wrote the log.

    `target` holds the estimates of every estimator, `logging` the on-policy mean (with missing
    outcomes made up for), `difference` the paired difference of the headline estimate and
    that mean.
    """

    n_observed: int
    target: dict[str, Estimate]
    logging: Estimate
    difference: Estimate


class FixedModel(Struct, frozen=True, kw_only=True):
    """A fixed model off-policy, by the headline estimator; `left_out` says why it is no baseline.

    `admissible` is the share of decisions in which it was a candidate; elsewhere what the log did
    stands in for it.
    """

    model: str
    admissible: float
    unsupported: float
    effective_sample_size: float
    adequate: Interval | None = None
    cost_usd: Interval | None = None
    left_out: str = ""


class Mix(Struct, frozen=True, kw_only=True):
    """The best fixed choice of a mean cost: the first model with probability `share`, or the other.

    The same model stands twice where it is best alone.
    """

    models: tuple[str, str]
    share: float
    cost_usd: float
    adequate: float


class Saving(Struct, frozen=True, kw_only=True):
    """What the policy costs less than `against`, in US dollars, the router's own cost paid.

    `adequate` is the change of the share of adequate answers that goes with it.
    """

    against: str
    per_decision_usd: Interval
    total_usd: Interval
    adequate: Interval


class Slice(Struct, frozen=True, kw_only=True):
    """Saving and change of adequacy against the log on a part of the decisions."""

    name: str
    n: int
    effective_sample_size: float
    saving_usd: Interval
    adequate: Interval


class Terms(Struct, frozen=True, kw_only=True):
    """What the dollars in a report rest on."""

    failure_cost_usd: float
    side_call_failure_cost_usd: float
    router_cost_usd: float


class Missing(Struct, frozen=True, kw_only=True):
    """Outcomes that never came, and how they were made up for.

    `share` was observed; `n_clipped` of those had a probability of being observed that was raised
    to the least allowed one; `max_weight` is the greatest weight that was given.
    """

    outcome: str
    n_observed: int
    share: float
    n_clipped: int
    max_weight: float


class OffPolicyReport(Struct, frozen=True, kw_only=True):
    """What a policy would have yielded on logged decisions, beside what was and what could be.

    `outcomes` has the keys "adequate", "cost_usd" and "utility_usd" = -(cost + what an inadequate
    answer costs). `mix` is the best fixed model, or mix of two, of the policy's cost, and
    `minus_hull` the policy's adequacy minus that of the mix; null where no fixed model has support.
    """

    schema_version: int = SCHEMA_VERSION
    policy: str
    n: int
    n_groups: int
    headline: str
    reason: str
    overlap: Overlap
    limits: OverlapLimits
    terms: Terms
    missing: tuple[Missing, ...]
    outcomes: dict[str, Value]
    fixed: tuple[FixedModel, ...]
    hull: tuple[HullCorner, ...]
    mix: Mix | None
    minus_hull: Interval
    savings: tuple[Saving, ...]
    by_tenant: tuple[Slice, ...]
    by_step_type: tuple[Slice, ...]
    skipped: dict[str, int]
    notes: tuple[str, ...]

    def headline_of(self, outcome: str) -> Estimate:
        """The headline estimate of an outcome under the evaluated policy."""
        return self.outcomes[outcome].target[self.headline]


def write_json(report: OffPolicyReport, path: Path) -> None:
    """Write a report as indented JSON, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
