"""Failures of artifacts on live traffic, a session counting once.

Outcomes within a session resemble each other; taken for independent they would break promises
too often. So a session counts with the first outcome that tells.
"""

from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.observations import Observations, numbers, observe
from router_data.rewards import DEFAULT_RULE, AdequacyRule
from router_data.store import Store
from router_training.changes import Floats, Ints

Bools = NDArray[np.bool_]
# The candidate of highest p, the cheaper one in a tie, and the likeliest one: by price, not drawn
# to explore.
_MORE = """
    , coalesce(versions.artifact, '') as artifact, coalesce(contract, '') as contract,
    case when len(options(candidates)) > 0 then list_reduce(options(candidates), lambda a, b:
        case when b.p_adequate > a.p_adequate
                  or (b.p_adequate = a.p_adequate and b.expected_cost < a.expected_cost)
             then b else a end).model end as highest,
    case when len(options(candidates)) > 0 then list_reduce(options(candidates), lambda a, b:
        case when b.probability > a.probability then b else a end).model end as likeliest
"""


class Failures(Struct, frozen=True, kw_only=True):
    """Sessions that were counted, and how many of them failed."""

    n_failed: int = 0
    n: int = 0


class LiveOutcomes(Struct, frozen=True, kw_only=True):
    """Live decisions with a known outcome, in order of time; a failure is 1."""

    ts_ms: Ints
    session: NDArray[np.object_]
    artifact: NDArray[np.object_]
    contract: NDArray[np.object_]
    is_downgraded: Bools
    failed: Floats

    def count(self, rows: Bools) -> Failures:
        """Sessions among these rows, each with its first one."""
        _, first = np.unique(self.session[rows].astype(str), return_index=True)
        return Failures(n_failed=int(self.failed[rows][first].sum()), n=len(first))


def live_outcomes(state: Path, *, rule: AdequacyRule = DEFAULT_RULE) -> LiveOutcomes:
    """The outcomes of drawn models on live decisions, whatever features they were made with.

    A decision is downgraded when the policy took, by price, another candidate than that of
    highest p; draws to explore are not.
    """
    with Store(state) as store:
        found = observe(store, rule=rule, more=_MORE)
    contexts = found.contexts
    adequate = _drawn_adequate(found)
    used = np.flatnonzero(np.isfinite(adequate) & (contexts["feedback"] == "bandit"))
    used = used[np.argsort(numbers(contexts, "ts_ms")[used], kind="stable")]
    model = contexts["model"][used]
    pairs = zip(contexts["tenant"][used].tolist(), contexts["session"][used].tolist(), strict=True)
    return LiveOutcomes(
        ts_ms=contexts["ts_ms"][used].astype(np.int64),
        session=np.array([f"{tenant}\0{session}" for tenant, session in pairs], dtype=object),
        artifact=contexts["artifact"][used],
        contract=contexts["contract"][used],
        is_downgraded=(contexts["likeliest"][used] == model) & (contexts["highest"][used] != model),
        failed=1.0 - adequate[used],
    )


def _drawn_adequate(found: Observations) -> Floats:
    """Adequacy of each decision's first attempt with the drawn model, NaN where not observed."""
    drawn = np.flatnonzero(found.rows["model"] == found.contexts["model"][found.context_index])
    contexts, first = np.unique(found.context_index[drawn], return_index=True)
    adequate = np.full(len(found.contexts["decision_id"]), np.nan)
    adequate[contexts] = found.judged.adequate[drawn[first]]
    return adequate
