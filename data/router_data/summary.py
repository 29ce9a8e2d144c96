"""Counts over a log, for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router_data.log import segment_paths
from router_data.manifest import read_manifest
from router_data.store import Store

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
# Adequacy as the default rule of `rewards` reads it.
_MODELS = """
    with judged as (
        select model, cost_usd, coalesce(adequate, reward >= ?, case
            when error is not null or tool_call_valid = false then false end) as is_adequate
        from outcomes
    )
    select model, count(*) as n_outcomes, avg(is_adequate::int) as adequacy_rate,
           count(is_adequate) as n_judged, sum(cost_usd) as cost_usd
    from judged group by model order by n_outcomes desc, model
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """Rows, tenants and models of a log, and the files they lie in."""

    totals: Mapping[str, int]
    tenants: tuple[Mapping[str, Any], ...]
    models: tuple[Mapping[str, Any], ...]
    n_segments: int
    segment_bytes: int
    n_parquet_files: int
    parquet_bytes: int


def summarize(path: Path, *, min_reward: float = 0.5) -> Summary:
    """The summary of a state or log folder."""
    with Store(path) as store:
        totals = store.query(_TOTALS)[0]
        tenants = store.query(_TENANTS)
        models = store.query(_MODELS, (min_reward,))
        manifest = read_manifest(store.log)
        folded = set(manifest.folded)
        segments = [path for path in segment_paths(store.log) if path.name not in folded]
        files = [store.log / file.path for file in manifest.files]
    return Summary(
        totals=totals,
        tenants=tuple(tenants),
        models=tuple(models),
        n_segments=len(segments),
        segment_bytes=sum(path.stat().st_size for path in segments),
        n_parquet_files=len(files),
        parquet_bytes=sum(path.stat().st_size for path in files if path.exists()),
    )


def summary_lines(summary: Summary) -> list[str]:
    """The summary as lines of text."""
    lines = [
        f"{name.removeprefix('n_').replace('_', ' ')}: {n}" for name, n in summary.totals.items()
    ]
    lines.append(
        f"segments not compacted: {summary.n_segments} ({summary.segment_bytes / 1e6:.1f} MB), "
        f"parquet files: {summary.n_parquet_files} ({summary.parquet_bytes / 1e6:.1f} MB)"
    )
    lines += ["", f"{'tenant':<32} {'decisions':>10} {'sessions':>9} {'imported':>9}"]
    lines += [
        f"{row['tenant'] or '-':<32} {row['n_decisions']:>10} {row['n_sessions']:>9} "
        f"{row['n_imported']:>9}"
        for row in summary.tenants
    ]
    lines += ["", f"{'model':<44} {'outcomes':>9} {'judged':>8} {'adequate':>9} {'USD':>12}"]
    lines += [_model_line(row) for row in summary.models]
    return lines


def _model_line(row: Mapping[str, Any]) -> str:
    rate = "-" if row["adequacy_rate"] is None else f"{100 * row['adequacy_rate']:.1f}%"
    cost = "unknown" if row["cost_usd"] is None else f"{row['cost_usd']:.4f}"
    return (
        f"{row['model'] or '-':<44} {row['n_outcomes']:>9} {row['n_judged']:>8} "
        f"{rate:>9} {cost:>12}"
    )
