"""Rows that must not be learned from are named, counted and left out; the others are not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_samples import KNOWN, decision, outcome, write_log

from router_data.compact import compact
from router_data.dataset import load_rounds
from router_data.logged import load_logged
from router_data.quarantine import read_quarantine
from router_data.rewards import AdequacyRule
from router_data.rows import ROW_SCHEMA
from router_data.store import Store
from router_model.errors import DatasetError

Row = dict[str, Any]


def candidates(**probabilities: float | None) -> list[Row]:
    return [{"model": name, "probability": p} for name, p in probabilities.items()]


def predicted(**values: float) -> list[Row]:
    """The usual candidates, the first of them with other predictions."""
    first, *others = decision()["candidates"]
    return [first | values, *others]


DEARER = [row | {"expected_cost": 9.0} for row in decision()["candidates"]]


def counts(log: Path, **limits: Any) -> dict[str, int]:
    with Store(log) as store:
        return dict(read_quarantine(store, **limits).counts)


# Each fault with its reason. The first outcome of every decision is good.
DECISION_FAULTS: list[tuple[str, list[Row]]] = [
    ("decision: propensity missing", [{"propensity": None}]),
    ("decision: propensity not in (0, 1]", [{"propensity": 0.0}]),
    ("decision: propensity not in (0, 1]", [{"propensity": -0.5}]),
    ("decision: propensity not in (0, 1]", [{"propensity": 1.5}]),
    ("decision: model missing", [{"model": ""}]),
    ("decision: candidates unreadable", [{"candidates": []}]),
    ("decision: candidates unreadable", [{"candidates": {"small": 0.5}}]),
    ("decision: candidates unreadable", [{"candidates": None}]),
    (
        "decision: candidates unreadable",
        [{"candidates": candidates(small=0.5) + candidates(small=0.5)}],
    ),
    (
        "decision: distribution does not sum to 1",
        [{"candidates": candidates(small=0.5, large=0.4)}],
    ),
    (
        "decision: distribution does not sum to 1",
        [{"candidates": candidates(small=0.5, large=None)}],
    ),
    (
        "decision: distribution does not sum to 1",
        [{"candidates": candidates(small=0.5, large=-0.5, tiny=1.0)}],
    ),
    ("decision: predictions out of range", [{"candidates": predicted(p_adequate=7.0)}]),
    ("decision: predictions out of range", [{"candidates": predicted(expected_cost=-0.1)}]),
    (
        "decision: propensity differs from the distribution",
        [{"candidates": candidates(small=0.4, large=0.6)}],
    ),
    ("decision: propensity differs from the distribution", [{"model": "unknown"}]),
    ("decision: schema 7 unknown", [{"schema": 7}]),
    ("decision: schema missing unknown", [{"schema": None}]),
    ("decision: time not between 1970 and 2100", [{"ts_ms": -(10**17)}]),
    ("decision: time not between 1970 and 2100", [{"ts_ms": 10**18}]),
    ("decision: feedback unknown", [{"feedback": "guessed"}]),
    ("decision: logged twice with different content", [{}, {"model": "large"}]),
    ("decision: logged twice with different content", [{}, {"propensity": None}]),
    (
        "decision: logged twice with different content",
        [{}, {"candidates": candidates(small=0.5, tiny=0.5)}],
    ),
]
OUTCOME_FAULTS: list[tuple[str, Row]] = [
    ("outcome: model was no candidate", {"model": "unknown"}),
    ("outcome: model missing", {"model": None}),
    ("outcome: reward not in [0, 1]", {"reward": 1.5}),
    ("outcome: reward not in [0, 1]", {"reward": -0.1}),
    ("outcome: schema 0 unknown", {"schema": 0}),
]


def faulty_log() -> tuple[list[Row], dict[str, int]]:
    """Every fault once beside good rows, and the count of each reason."""
    rows = [decision("good", **KNOWN), outcome("good")]
    expected: dict[str, int] = {}
    for index, (reason, versions) in enumerate(DECISION_FAULTS):
        rows += [decision(f"bad{index}", **KNOWN | version) for version in versions]
        rows.append(outcome(f"bad{index}"))
        expected[reason] = expected.get(reason, 0) + 1
    for index, (reason, change) in enumerate(OUTCOME_FAULTS):
        rows += [decision(f"half{index}", **KNOWN), outcome(f"half{index}", **change)]
        expected[reason] = expected.get(reason, 0) + 1
    rows.append(outcome("lost"))
    return rows, expected | {"outcome: no decision": 1}


@pytest.mark.parametrize("is_compacted", [False, True])
def test_all_faults_in_one_log_are_counted_exactly_and_nothing_of_them_is_used(
    tmp_path: Path, is_compacted: bool
) -> None:
    rows, expected = faulty_log()
    write_log(tmp_path, rows, segments=3)
    if is_compacted:
        compact(tmp_path)
    assert counts(tmp_path) == expected
    rounds = load_rounds(tmp_path, feature_schema="f1")
    logged = load_logged(tmp_path, feature_schema="f1")
    kept = ["good", *(f"half{index}" for index in range(len(OUTCOME_FAULTS)))]
    assert rounds.decision_id.tolist() == logged.decision_id.tolist() == kept
    assert rounds.skipped == logged.skipped == expected
    # An outcome in quarantine is as good as none.
    np.testing.assert_array_equal(rounds.adequate, [1.0] + [np.nan] * len(OUTCOME_FAULTS))
    np.testing.assert_array_equal(logged.adequate, rounds.adequate)
    assert rounds.models == ("small",)


@pytest.mark.parametrize(("reason", "versions"), DECISION_FAULTS)
def test_a_faulty_decision_is_named_by_its_fault(
    tmp_path: Path, reason: str, versions: list[Row]
) -> None:
    write_log(tmp_path, [*(decision(**version) for version in versions), outcome()])
    with Store(tmp_path) as store:
        (row,) = store.query("select * from quarantine")
    assert row == {
        "tenant": "acme",
        "decision_id": "d1",
        "attempt": None,
        "kind": "decision",
        "reason": reason,
    }


@pytest.mark.parametrize(
    "rows",
    [
        [decision(), decision(ts_ms=5_000), outcome()],
        [decision(), decision(exploration={"budget_left_usd": 1.0}, candidates=DEARER), outcome()],
        [decision(schema=ROW_SCHEMA), outcome(schema=ROW_SCHEMA)],
        [decision(snapshot="small-2026-01-01"), outcome(model="small-2026-01-01")],
        [decision(schema=1), decision("d2", schema=2), outcome(schema=1), outcome("d2")],
        [decision(dataset="bench"), decision(dataset="bench", model="large", ts_ms=2_000)],
        [decision(), outcome(), outcome(adequate=False, ts_ms=9_000)],
        [decision(), outcome(), outcome(attempt=1, model="large")],
        [decision(feedback=None), outcome()],
        [decision(feedback="full", model="", propensity=1.0, candidates=[]), outcome(model="x")],
        [decision(feedback="observational", propensity=None, candidates=[]), outcome()],
        [decision(), decision(tenant="other", model="large")],
        [decision(propensity=0.1 + 0.2, candidates=candidates(small=0.3, large=0.7))],
    ],
    ids=[
        "the same content twice",
        "a retry that met another budget and other estimates",
        "the schema that is written",
        "the drawn model named by its snapshot",
        "mixed schema versions",
        "an import repeated with other content",
        "a corrected outcome",
        "a fallback to another candidate",
        "no feedback named",
        "full feedback",
        "observational feedback",
        "the same id of two tenants",
        "a rounding error",
    ],
)
def test_what_is_legitimate_is_not_in_quarantine(tmp_path: Path, rows: list[Row]) -> None:
    write_log(tmp_path, rows)
    assert counts(tmp_path) == {}


def test_a_copy_in_a_compacted_file_is_the_same_content(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(**KNOWN), outcome()])
    compact(tmp_path)
    write_log(tmp_path, [decision(ts_ms=3_000, **KNOWN)])
    assert counts(tmp_path) == {}
    write_log(tmp_path, [decision(ts_ms=4_000, **KNOWN | {"key": "other"})])
    assert counts(tmp_path) == {"decision: logged twice with different content": 1}


def test_quarantine_is_of_the_asked_tenant_and_time(tmp_path: Path) -> None:
    rows = [
        decision(),
        decision(ts_ms=5_000, model="large"),
        decision("d2", tenant="other", propensity=None),
    ]
    write_log(tmp_path, rows)
    twice = {"decision: logged twice with different content": 1}
    assert counts(tmp_path, tenant="acme") == twice
    assert counts(tmp_path, until_ms=5_000) == {"decision: propensity missing": 1}
    assert counts(tmp_path, tenant="acme", until_ms=5_000) == {}


def test_a_log_of_faults_alone_is_an_error_that_counts_them(tmp_path: Path) -> None:
    write_log(tmp_path, [decision(propensity=None, **KNOWN), outcome()])
    for load in (load_rounds, load_logged):
        with pytest.raises(DatasetError, match=r"propensity missing': 1"):
            load(tmp_path, feature_schema="f1")


@settings(max_examples=20, deadline=None)
@given(
    weights=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6),
    error=st.sampled_from([0.0, 1e-9, 0.01, -0.01]),
    drawn=st.integers(0, 5),
)
def test_a_distribution_passes_exactly_when_it_sums_to_one(
    tmp_path_factory: pytest.TempPathFactory, weights: list[float], error: float, drawn: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    p = np.array(weights) / np.sum(weights)
    index = drawn % len(p)
    options = [{"model": f"m{i}", "probability": float(value)} for i, value in enumerate(p)]
    options[index - 1]["probability"] = float(p[index - 1]) + error
    row = decision(model=f"m{index}", propensity=options[index]["probability"], candidates=options)
    write_log(folder, [row])
    assert bool(counts(folder)) == (abs(error) > 1e-6)


# The verdict of a report of an unknown schema was used when a readable report came after it.
@pytest.mark.parametrize("unknown", [7, None])
@pytest.mark.parametrize("is_later", [False, True])
def test_no_part_of_an_outcome_of_an_unknown_schema_is_used(
    tmp_path: Path, unknown: int | None, is_later: bool
) -> None:
    strange = outcome(schema=unknown, ts_ms=5_000 if is_later else 1_500)
    known = outcome(adequate=None, signals={"retried": False})
    write_log(tmp_path, [decision(**KNOWN), strange, known])
    reason = f"outcome: schema {unknown or 'missing'} unknown"
    assert counts(tmp_path) == {reason: 1}
    assert np.isnan(load_rounds(tmp_path, feature_schema="f1").adequate).all()


# A decision that counts for nothing closed the outcome window of all others.
def test_the_time_of_a_decision_in_quarantine_closes_no_window(tmp_path: Path) -> None:
    lost = decision("lost", ts_ms=10**12, propensity=None, **KNOWN)
    silent = outcome(adequate=None, signals={"retried": True})
    write_log(tmp_path, [decision(**KNOWN), silent, lost])
    rule = AdequacyRule(outcome_window_s=60.0)
    rounds = load_rounds(tmp_path, feature_schema="f1", rule=rule)
    assert rounds.skipped == {
        "decision: outcome window still open": 1,
        "decision: propensity missing": 1,
    }
