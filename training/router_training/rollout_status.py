"""How a rollout is doing: decisions and outcomes of each side, as the log has them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.logged import LoggedDecisions, load_logged
from router_data.rewards import DEFAULT_RULE, AdequacyRule
from router_data.store import Columns, Store
from router_model.errors import DatasetError
from router_training.catalog_in_use import current_catalog
from router_training.changes import Ratio, ratio_of
from router_training.log_columns import aligned, session_numbers
from router_training.registry import Registry, Version
from router_training.report import number, table
from router_training.rollout import RolloutFile, artifact_version, copy_state, read_rollout

SIDES = ("champion", "canary")
_ROWS = """
    select tenant, decision_id, coalesce(rollout, 'champion') as side,
           coalesce(json_extract_string(shadow, '$.artifact'), '') as shadow_artifact,
           coalesce(json_extract_string(shadow, '$.model'), '') as shadow_model,
           try_cast(json_extract(shadow, '$.expected_cost') as double) as shadow_cost
    from decisions where ts_ms >= ?
"""


class Side(Struct, frozen=True, kw_only=True):
    """One side of a canary: decisions, sessions, observed outcomes, adequacy and cost of them."""

    name: str
    n_decisions: int
    n_sessions: int
    n_outcomes: int
    adequate: Ratio
    cost_usd: Ratio


class Shadow(Struct, frozen=True, kw_only=True):
    """The champion's decisions beside which the other artifact's were logged.

    `cost_ratio` is the shadow's expected cost over the champion's, on the same requests.
    """

    n_decisions: int
    agreement: float
    cost_ratio: float


class RolloutStatus(Struct, frozen=True, kw_only=True):
    """What the file says, which version it is about, and what the log has since it began."""

    file: RolloutFile
    version: str
    sides: tuple[Side, ...]
    shadow: Shadow | None
    skipped: Mapping[str, int]


def status_of(
    state: Path, registry: Registry, *, rule: AdequacyRule = DEFAULT_RULE
) -> RolloutStatus:
    """The status of a state folder's rollout; its mode is copied into MLflow's tags."""
    file = read_rollout(state)
    version = copy_state(file, state, registry)
    if not file.artifact:
        return RolloutStatus(file=file, version="", sides=(), shadow=None, skipped={})
    since_ms = began_ms(file, version)
    artifact = artifact_version(state, file)
    try:
        logged = load_logged(state, rule=rule, since_ms=since_ms, catalog=current_catalog(state))
    except DatasetError:
        return RolloutStatus(file=file, version=_number(version), sides=(), shadow=None, skipped={})
    with Store(state) as store:
        rows = aligned(store.arrays(_ROWS, (since_ms,)), logged)
    return RolloutStatus(
        file=file,
        version=_number(version),
        sides=tuple(_side(name, logged, rows["side"] == name) for name in SIDES),
        shadow=_shadow(logged, rows, rows["shadow_artifact"] == artifact),
        skipped=logged.skipped,
    )


def began_ms(file: RolloutFile, version: Version | None) -> int:
    """When the challenger's latest shadow or canary began, also after it was stopped."""
    if file.mode in ("shadow", "canary", "stopped") or version is None:
        return file.since_ms
    times = [version.tags.get(f"rollout_{mode}_ms", "") for mode in ("shadow", "canary")]
    return max((int(time) for time in times if time), default=file.since_ms)


def render_status(status: RolloutStatus) -> str:
    """The status as plain text."""
    file = status.file
    head = f"rollout: {file.mode}"
    if file.mode == "canary":
        head += f", {file.share:.0%} of sessions"
    if status.version:
        head += f", version {status.version}"
    if file.reason:
        head += f" ({file.reason})"
    parts = [head]
    if status.sides:
        rows = [
            [
                side.name,
                str(side.n_decisions),
                str(side.n_sessions),
                str(side.n_outcomes),
                f"{number(side.adequate.value)} +- {number(1.96 * side.adequate.standard_error)}",
                number(side.cost_usd.value, digits=5),
            ]
            for side in status.sides
        ]
        head_row = ["side", "decisions", "sessions", "outcomes", "adequate", "cost of a call"]
        parts.append(table(head_row, rows))
    if status.shadow is not None:
        shadow = status.shadow
        parts.append(
            f"shadow: {shadow.n_decisions} decisions, the same model in {shadow.agreement:.1%}, "
            f"expected cost {number(shadow.cost_ratio)} of the champion's"
        )
    parts += [f"left out: {reason}: {n}" for reason, n in status.skipped.items()]
    return "\n".join(parts)


def _side(name: str, logged: LoggedDecisions, rows: NDArray[np.bool_]) -> Side:
    part = logged.select(rows)
    sessions = session_numbers(part)
    seen, paid = np.isfinite(part.adequate), np.isfinite(part.cost_usd)
    return Side(
        name=name,
        n_decisions=part.n,
        n_sessions=len(set(sessions.tolist())),
        n_outcomes=int(seen.sum()),
        adequate=ratio_of(
            part.adequate[seen], np.ones(int(seen.sum())), sessions[seen], is_rate=True
        ),
        cost_usd=ratio_of(part.cost_usd[paid], np.ones(int(paid.sum())), sessions[paid]),
    )


def _shadow(logged: LoggedDecisions, rows: Columns, is_ours: NDArray[np.bool_]) -> Shadow | None:
    shadowed = is_ours & (rows["side"] == "champion")
    if not shadowed.any():
        return None
    models = np.array(logged.models, dtype=object)[logged.action]
    drawn_cost = logged.expected_cost[np.arange(logged.n), logged.action]
    other_cost = rows["shadow_cost"].astype(np.float64)
    both = shadowed & np.isfinite(other_cost) & np.isfinite(drawn_cost)
    total = drawn_cost[both].sum()
    return Shadow(
        n_decisions=int(shadowed.sum()),
        agreement=float((rows["shadow_model"] == models)[shadowed].mean()),
        cost_ratio=float(other_cost[both].sum() / total) if total > 0 else float("nan"),
    )


def _number(version: Version | None) -> str:
    return "" if version is None else version.number
