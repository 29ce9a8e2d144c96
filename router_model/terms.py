"""The terms of a decision: what a request and its tenant's settings ask of the choice."""

from typing import Final, Literal

from msgspec import Struct

# What may set the least P(adequate), beside a contract.
REQUEST, SETTING, ARTIFACT = "request", "setting", "artifact"
SOFT_CAP = "soft_cap"
Objective = Literal["cost", "latency"]


class PolicyOverrides(Struct, frozen=True, kw_only=True):
    """Limits that one request sets for itself; None leaves the tenant's own setting.

    `objective` is what is least among the adequate models: the cost (the default), or the 95th
    percentile of the time to the first tool call. `deterministic` asks for models that honour a
    seed and whose snapshot is pinned; `pin_session` to answer the session's later calls with the
    model of this one.
    """

    min_adequacy: float | None = None
    max_cost_usd: float | None = None
    max_tool_call_latency_ms: float | None = None
    models: tuple[str, ...] | None = None
    objective: Objective | None = None
    deterministic: bool | None = None
    pin_session: bool | None = None


class Exploration(Struct, frozen=True, kw_only=True):
    """How much chance near-ties are given: `share` in all, at least `floor` for each.

    `budget_left_usd` bounds the regret that one decision may be expected to cost, None is no
    bound. `off` says why there is no exploration; None where it is on.
    """

    share: float = 0.0
    floor: float = 0.0
    budget_left_usd: float | None = None
    off: str | None = None


class QualityContract(Struct, frozen=True, kw_only=True):
    """P(inadequate | downgraded) is at most `alpha`, with confidence 1 - `delta`."""

    alpha: float
    delta: float


class Allowance(Struct, frozen=True, kw_only=True):
    """What a budget has left for one call, and whose budget it is, as shown in reasons."""

    left_microusd: int
    budget: str


class Terms(Struct, frozen=True, kw_only=True):
    """What the settings around a request say; None leaves it to the artifact's policy.

    `min_adequacy` is that of the whole service, the others are the tenant's; `models` is a pin: no
    other model may answer. `allowance` shuts out models that could cost more than is left, None
    is no budget. `soft_cap_min_adequacy` is set while the caller is over a soft cap: as much
    adequacy is enough then, whatever else asks for more, and nothing is explored.
    """

    contract: QualityContract | None = None
    min_adequacy: float | None = None
    exploration: Exploration | None = None
    models: tuple[str, ...] | None = None
    allowance: Allowance | None = None
    soft_cap_min_adequacy: float | None = None


NO_TERMS: Final = Terms()
