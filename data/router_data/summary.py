"""Counts over a log, for people."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router_data.log import segment_paths, verify
from router_data.manifest import read_manifest
from router_data.quarantine import read_quarantine
from router_data.rewards import DEFAULT_RULE, STEP_SIGNALS, AdequacyRule, judge
from router_data.set_aside import QUARANTINE, n_set_aside
from router_data.store import Columns, Store

_TOTALS = """
    select (select count(*) from decisions) as n_decisions,
           (select count(*) from outcomes) as n_outcomes,
           (select count(*) from decisions d where not exists (
               select 1 from outcomes o
               where o.tenant = d.tenant and o.decision_id = d.decision_id
           )) as n_decisions_without_outcome,
           (select count(*) from outcomes o where not exists (
               select 1 from decisions d
               where o.tenant = d.tenant and o.decision_id = d.decision_id
           )) as n_outcomes_without_decision
"""
_TENANTS = """
    select tenant, count(*) as n_decisions, count(distinct "session") as n_sessions,
           count(*) filter (where dataset is not null) as n_imported
    from decisions group by tenant order by tenant
"""
_FEEDBACK = """
    select coalesce(feedback, 'bandit') as feedback, count(*) as n_decisions,
           count(*) filter (where propensity < 1) as n_explored
    from decisions group by all order by 1
"""
_OUTCOMES = f"""
    select coalesce(o.model, '') as model, o.cost_usd, o.adequate::int::double as verdict,
           o.reward, o.error is not null as is_error,
           o.tool_call_valid::int::double as tool_call_valid,
           coalesce(d.feedback, 'bandit') as feedback, d.decision_id is not null as has_decision,
           hash(o.tenant, o.decision_id) as decision,
           {", ".join(f"signal(o.signals, '$.{name}') as {name}" for name in STEP_SIGNALS)}
    from outcomes o
    left join decisions d on o.tenant = d.tenant and o.decision_id = d.decision_id
"""
# Rows with a good checksum that can't be told apart from others.
_NAMELESS = """
    select (select count(*) from read_ndjson(getvariable('segments'), ignore_errors = true,
                columns = {"row": 'struct(kind varchar)'})
            where "row".kind in ('decision', 'outcome'))
         - (select count(*) from segment_decisions(getvariable('segments')))
         - (select count(*) from segment_outcomes(getvariable('segments'))) as n
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """Rows, tenants and models of a log, what is unusable, and the files it lies in.

    `feedback` has one row for each kind of feedback: decisions, how many have a judged outcome,
    how many were drawn with a propensity below 1. `quarantine` counts rows that are never learned
    from by reason, `set_aside` records in each file of the folder `quarantine/`, `damage` lines and
    files that can't be read and are left out here.
    """

    totals: Mapping[str, int]
    tenants: tuple[Mapping[str, Any], ...]
    models: tuple[Mapping[str, Any], ...]
    feedback: tuple[Mapping[str, Any], ...]
    quarantine: Mapping[str, int]
    set_aside: Mapping[str, int]
    damage: Mapping[str, int]
    n_segments: int
    segment_bytes: int
    n_parquet_files: int
    parquet_bytes: int


def summarize(path: Path, *, rule: AdequacyRule = DEFAULT_RULE) -> Summary:
    """The summary of a state or log folder.

    Outcomes are judged by `rule` one by one: the end of a session, which needs the others, is
    left out.
    """
    with Store(path, skip_damaged=True) as store:
        totals = store.query(_TOTALS)[0]
        tenants = store.query(_TENANTS)
        kinds = store.query(_FEEDBACK)
        outcomes = store.arrays(_OUTCOMES)
        (nameless,) = store.query(_NAMELESS)
        quarantine = read_quarantine(store).counts
        manifest = read_manifest(store.log)
        folded = set(manifest.folded)
        segments = [path for path in segment_paths(store.log) if path.name not in folded]
        files = [store.log / file.path for file in manifest.files]
        report = verify(store.log)
        n_damaged = len(store.damage.files)
        aside = n_set_aside(store.log)
    adequate = _judged(outcomes, rule)
    return Summary(
        totals=totals,
        tenants=tuple(tenants),
        models=tuple(_models(outcomes, adequate)),
        feedback=tuple(kind | _observed(kind, outcomes, adequate) for kind in kinds),
        quarantine=quarantine,
        set_aside=aside,
        damage={
            "torn last lines": report.n_torn,
            "corrupt lines": sum(len(lines) for lines in report.corrupt.values()),
            "rows without decision_id": nameless["n"],
            "damaged Parquet files": n_damaged,
        },
        n_segments=len(segments),
        segment_bytes=_n_bytes(segments),
        n_parquet_files=len(files),
        parquet_bytes=_n_bytes(files),
    )


def _n_bytes(files: Iterable[Path]) -> int:
    """Their size together; a file that a compaction has deleted meanwhile has none."""
    total = 0
    for path in files:
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _judged(outcomes: Columns, rule: AdequacyRule) -> NDArray[np.float64]:
    numbers = {name: outcomes[name].astype(np.float64) for name in ("verdict", "reward")}
    return judge(
        numbers["verdict"],
        reward=numbers["reward"],
        is_error=outcomes["is_error"].astype(bool),
        tool_call_valid=outcomes["tool_call_valid"].astype(np.float64),
        signals={name: outcomes[name].astype(np.float64) for name in STEP_SIGNALS},
        rule=rule,
    ).adequate


def _models(outcomes: Columns, adequate: NDArray[np.float64]) -> list[Mapping[str, Any]]:
    """One row for each model, those with most outcomes first."""
    cost = outcomes["cost_usd"].astype(np.float64)
    rows: list[dict[str, Any]] = []
    for model in sorted(set(outcomes["model"].tolist())):
        is_own = outcomes["model"] == model
        judged = adequate[is_own & ~np.isnan(adequate)]
        paid = cost[is_own & ~np.isnan(cost)]
        rows.append(
            {
                "model": model,
                "n_outcomes": int(is_own.sum()),
                "adequacy_rate": float(judged.mean()) if len(judged) else None,
                "n_judged": len(judged),
                "cost_usd": float(paid.sum()) if len(paid) else None,
            }
        )
    return sorted(rows, key=lambda row: -row["n_outcomes"])


def _observed(
    kind: Mapping[str, Any], outcomes: Columns, adequate: NDArray[np.float64]
) -> dict[str, int]:
    """How many decisions of a kind of feedback have a judged outcome."""
    judged = (outcomes["feedback"] == kind["feedback"]) & outcomes["has_decision"].astype(bool)
    return {"n_observed": len(np.unique(outcomes["decision"][judged & ~np.isnan(adequate)]))}


def summary_lines(summary: Summary) -> list[str]:
    """The summary as lines of text."""
    lines = [
        f"{name.removeprefix('n_').replace('_', ' ')}: {n}" for name, n in summary.totals.items()
    ]
    lines.append(
        f"segments not compacted: {summary.n_segments} ({summary.segment_bytes / 1e6:.1f} MB), "
        f"parquet files: {summary.n_parquet_files} ({summary.parquet_bytes / 1e6:.1f} MB)"
    )
    lines += [f"{reason}: {n}" for reason, n in summary.damage.items() if n]
    lines.append(f"in quarantine: {sum(summary.quarantine.values())}")
    lines += [f"  {n} x {reason}" for reason, n in summary.quarantine.items()]
    if summary.set_aside:
        lines.append(f"records set aside in {QUARANTINE}/: {sum(summary.set_aside.values())}")
        lines += [f"  {n} in {name}" for name, n in summary.set_aside.items()]
    lines += ["", f"{'feedback':<32} {'decisions':>10} {'observed':>9} {'explored':>9}"]
    lines += [_feedback_line(row) for row in summary.feedback]
    lines += ["", f"{'tenant':<32} {'decisions':>10} {'sessions':>9} {'imported':>9}"]
    lines += [
        f"{row['tenant'] or '-':<32} {row['n_decisions']:>10} {row['n_sessions']:>9} "
        f"{row['n_imported']:>9}"
        for row in summary.tenants
    ]
    lines += ["", f"{'model':<44} {'outcomes':>9} {'judged':>8} {'adequate':>9} {'USD':>12}"]
    lines += [_model_line(row) for row in summary.models]
    return lines


def _feedback_line(row: Mapping[str, Any]) -> str:
    n = row["n_decisions"]
    explored = f"{100 * row['n_explored'] / n:.1f}%" if row["feedback"] == "bandit" else "-"
    observed = f"{100 * row['n_observed'] / n:.1f}%"
    return f"{row['feedback']:<32} {n:>10} {observed:>9} {explored:>9}"


def _model_line(row: Mapping[str, Any]) -> str:
    rate = "-" if row["adequacy_rate"] is None else f"{100 * row['adequacy_rate']:.1f}%"
    cost = "unknown" if row["cost_usd"] is None else f"{row['cost_usd']:.4f}"
    return (
        f"{row['model'] or '-':<44} {row['n_outcomes']:>9} {row['n_judged']:>8} "
        f"{rate:>9} {cost:>12}"
    )
