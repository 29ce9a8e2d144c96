"""One look at drift: reads the log, compares, writes the answer where it is needed."""

import time
from pathlib import Path

import msgspec

from router_data.rewards import DEFAULT_RULE, AdequacyRule
from router_model.catalog import Catalog
from router_training.atomic import write_atomic
from router_training.drift import drift_between
from router_training.drift_log import days_before, read_traffic, spans_of
from router_training.drift_rates import Thresholds
from router_training.drift_report import DriftReport, findings, metrics, summary
from router_training.registry import Registry, Version

SUMMARY_FILE = "drift.json"
REPORT_FILE = "drift_report.json"


def look_at_drift(
    state: Path,
    *,
    champion: Version | None = None,
    tenant: str | None = None,
    since_ms: int | None = None,
    days: float | None = None,
    rule: AdequacyRule = DEFAULT_RULE,
    thresholds: Thresholds | None = None,
    catalog: Catalog | None = None,
    feature_schema: str | None = None,
) -> DriftReport:
    """The report on a state folder's log; DatasetError when reference or window is too small.

    The window begins at `since_ms`, or `days` before the latest decision, or where the training
    of the champion ended. `catalog` has today's prices, the service's own when not given.
    """
    limits = thresholds or Thresholds()
    traffic = read_traffic(
        state, rule=rule, tenant=tenant, catalog=catalog, feature_schema=feature_schema
    )
    if days is not None:
        since_ms = days_before(traffic, days)
    reference, window = spans_of(
        traffic, trained_until_ms=_trained_until(champion), since_ms=since_ms
    )
    drift = drift_between(
        traffic.between(reference.since_ms, reference.until_ms),
        traffic.between(window.since_ms, window.until_ms),
        thresholds=limits,
    )
    alarms, warnings = findings(drift, limits)
    return DriftReport(
        generated_ms=time.time_ns() // 1_000_000,
        champion="" if champion is None else champion.number,
        tenant=tenant or "",
        reference=reference,
        window=window,
        thresholds=limits,
        drift=drift,
        alarms=alarms,
        warnings=warnings,
    )


def publish(
    report: DriftReport, state: Path, registry: Registry, *, out: Path | None = None
) -> str:
    """Write the summary for the service and the whole report; the id of the MLflow run.

    The report goes to `<state>/drift_report.json`, and to `out` too when given.
    """
    write_atomic(state / SUMMARY_FILE, msgspec.json.encode(summary(report)))
    whole = state / REPORT_FILE
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=2)
    write_atomic(whole, encoded)
    if out is not None:
        write_atomic(out, encoded)
    tags = {
        "alarm": "yes" if report.alarms else "no",
        "alarms": "; ".join(report.alarms) or "none",
        "champion": report.champion or "none",
        "reference": str(report.reference),
        "window": str(report.window),
    }
    return registry.record("drift", metrics=metrics(report), tags=tags, files=[whole])


def _trained_until(champion: Version | None) -> int | None:
    found = "" if champion is None else champion.tags.get("trained_until_ms", "")
    return int(found) if found.isdecimal() else None
