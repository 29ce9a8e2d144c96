"""Drift between two parts of a log: what raises an alarm, and what does not."""

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from drift_samples import degraded, texts, traffic

from router_model.errors import DatasetError
from router_training.changes import Change
from router_training.drift import Drift, drift_between
from router_training.drift_rates import Thresholds
from router_training.drift_report import (
    DriftReport,
    Span,
    findings,
    metrics,
    render_drift,
    summary,
)

REFERENCE = traffic(300, seed=1)
WINDOW = traffic(120, seed=2, start_ms=10**7)


def alarms(drift: Drift, thresholds: Thresholds | None = None) -> tuple[str, ...]:
    return findings(drift, thresholds or Thresholds())[0]


def change(drift: Drift, family: str, name: str) -> Change:
    return next(c for c in drift.changes if (c.family, c.name) == (family, name))


def test_the_same_traffic_raises_no_alarm() -> None:
    assert alarms(drift_between(REFERENCE, WINDOW)) == ()


def test_a_shifted_feature_is_an_alarm_that_names_it() -> None:
    features = WINDOW.features.copy()
    features[:, 1] += 0.5
    found = alarms(drift_between(REFERENCE, replace(WINDOW, features=features)))
    assert len(found) == 1
    assert found[0].startswith("feature noise: PSI ")


def test_a_degraded_model_is_an_alarm_of_its_calibration_and_outcomes() -> None:
    found = alarms(drift_between(REFERENCE, degraded(WINDOW, "cheap", by=0.6)))
    assert [text.split(":")[0] for text in found if "cheap" in text] == [
        "calibration_gap of cheap",
        "outcome_rate of cheap",
    ]
    assert not any("strong" in text for text in found)


def test_a_gap_that_shrinks_is_no_alarm() -> None:
    before = degraded(REFERENCE, "cheap", by=0.6)
    drift = drift_between(before, WINDOW)
    assert change(drift, "calibration_gap", "cheap").reading == "ok"


def test_the_calibration_gap_weighs_by_inverse_propensity() -> None:
    part = replace(
        WINDOW.select(np.arange(WINDOW.n) < 40),
        p_adequate=np.full(40, 0.5),
        adequate=np.array([1.0] * 20 + [0.0] * 20),
        propensity=np.array([0.25] * 20 + [1.0] * 20),
    )
    drift = drift_between(REFERENCE, part)
    # (20 x 4 x 0.5 - 20 x 1 x 0.5) / (80 + 20)
    assert change(drift, "calibration_gap", "all models").window == pytest.approx(0.3)


def test_outcomes_that_stop_coming_are_an_alarm_once_they_are_due() -> None:
    missing = np.random.default_rng(0).random(WINDOW.n) < 0.5
    window = replace(WINDOW, adequate=np.where(missing, np.nan, WINDOW.adequate))
    assert any(
        text.startswith("missing_share") for text in alarms(drift_between(REFERENCE, window))
    )
    unsettled = replace(window, is_settled=~missing)
    assert alarms(drift_between(REFERENCE, unsettled)) == ()


def test_a_dearer_model_is_an_alarm_of_cost_and_todays_prices_of_price() -> None:
    dear = np.where(WINDOW.model == "strong", 2.0, 1.0)
    found = alarms(drift_between(REFERENCE, replace(WINDOW, cost_usd=WINDOW.cost_usd * dear)))
    assert [text.split(":")[0] for text in found] == ["log_cost_ratio of strong"]
    repriced = replace(WINDOW, repriced_cost=WINDOW.expected_cost * dear)
    drift = drift_between(REFERENCE, repriced)
    assert alarms(drift) == ("price of strong: now 2.000 of the logged one",)
    assert {p.model: round(p.ratio, 6) for p in drift.prices}["cheap"] == 1.0


def test_an_unknown_price_is_left_out() -> None:
    drift = drift_between(REFERENCE, replace(WINDOW, repriced_cost=np.full(WINDOW.n, np.nan)))
    assert drift.prices == ()


def test_newcomers_are_listed_and_many_are_an_alarm() -> None:
    clients = WINDOW.client.copy()
    clients[:3] = "ide"
    warned = drift_between(REFERENCE, replace(WINDOW, client=clients))
    assert findings(warned, Thresholds())[1] == (
        f"new client: {3 / WINDOW.n:.1%} of the window: ide (3)",
    )
    tenants = texts(["other"] * WINDOW.n)
    drift = drift_between(REFERENCE, replace(WINDOW, tenant=tenants))
    assert alarms(drift) == (f"new tenant: 100.0% of the window: other ({WINDOW.n})",)


def test_rows_that_cannot_be_trusted_are_an_alarm_when_their_share_grows() -> None:
    bad = np.full(WINDOW.n // 4, 10**7, dtype=np.int64)
    found = alarms(drift_between(REFERENCE, replace(WINDOW, quarantined_ms=bad)))
    assert [text.split(":")[0] for text in found] == ["quarantine_share of rows"]
    assert alarms(drift_between(replace(REFERENCE, quarantined_ms=bad), WINDOW)) == ()


def test_catalog_versions_of_the_window_are_counted() -> None:
    catalogs = WINDOW.catalog.copy()
    catalogs[:5] = "c2"
    drift = drift_between(REFERENCE, replace(WINDOW, catalog=catalogs))
    assert drift.catalogs == {"c1": WINDOW.n - 5, "c2": 5}


def test_too_small_a_window_is_an_error_with_its_size() -> None:
    few = WINDOW.select(np.arange(WINDOW.n) < 29)
    with pytest.raises(DatasetError, match="window has 29 decisions, expected at least 30"):
        drift_between(REFERENCE, few)


def test_a_part_of_the_time_takes_its_quarantined_rows_along() -> None:
    part = replace(REFERENCE, quarantined_ms=np.array([500, 1500, 2500])).between(1000, 2000)
    assert (part.n, part.quarantined_ms.tolist()) == (1, [1500])


def report_on(drift: Drift) -> DriftReport:
    found, warned = findings(drift, Thresholds())
    return DriftReport(
        generated_ms=5,
        champion="3",
        tenant="",
        reference=Span(since_ms=0, until_ms=10**7),
        window=Span(since_ms=10**7, until_ms=2 * 10**7),
        thresholds=Thresholds(),
        drift=drift,
        alarms=found,
        warnings=warned,
    )


def test_the_summary_has_the_windows_figures_and_is_json() -> None:
    found = summary(report_on(drift_between(REFERENCE, degraded(WINDOW, "cheap", by=0.6))))
    assert found["alarm"] is True
    assert found["n_window"] == WINDOW.n
    assert set(found["psi"]) == set(REFERENCE.feature_names)
    assert found["calibration_gap"]["cheap"] < -0.2
    assert found["cost_ratio"]["strong"] == pytest.approx(math.exp(0.3**2 / 2), abs=0.1)
    assert found["new_tenant_share"] == 0
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


def test_metrics_are_flat_and_finite() -> None:
    found = metrics(report_on(drift_between(REFERENCE, WINDOW)))
    assert found["alarm"] == 0.0
    assert found["psi.noise"] < 0.25
    assert "schema" not in found
    assert all(math.isfinite(value) for value in found.values())


def test_the_text_says_what_was_compared_and_what_was_found() -> None:
    quiet = render_drift(report_on(drift_between(REFERENCE, WINDOW)))
    assert "1970-01-01T02:46:40+00:00 to" in quiet
    assert quiet.endswith("no alarm")
    loud = render_drift(report_on(drift_between(REFERENCE, degraded(WINDOW, "cheap", by=0.6))))
    assert "alarm: calibration_gap of cheap: " in loud
    assert "no alarm" not in loud


@pytest.mark.statistical
@pytest.mark.parametrize(("n_old", "n_new"), [(100, 40), (400, 150)])
def test_stationary_logs_raise_an_alarm_at_most_once_in_twenty(n_old: int, n_new: int) -> None:
    n_false = sum(
        bool(alarms(drift_between(traffic(n_old, seed=2 * s), traffic(n_new, seed=2 * s + 1))))
        for s in range(200)
    )
    # 10 are expected at most; 16 has probability 0.05 then
    assert n_false <= 16


@pytest.mark.statistical
def test_a_degraded_model_is_found_in_most_windows() -> None:
    n_found = 0
    for seed in range(60):
        window = degraded(traffic(150, seed=1000 + seed), "cheap", by=0.4, seed=seed)
        found = alarms(drift_between(traffic(400, seed=seed), window))
        n_found += any(text.startswith("calibration_gap of cheap") for text in found)
    assert n_found >= 54
