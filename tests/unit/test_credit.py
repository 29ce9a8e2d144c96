"""A session's end speaks for the steps that have no evidence of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_samples import KNOWN, decision, outcome, write_log

from router_data.credit import session_ends, steps_from_end, with_session_credit
from router_data.dataset import load_rounds
from router_data.rewards import AdequacyRule, Judged
from router_data.rounds import Rounds

NAN = np.nan


def steps(n: int, *, session: str = "s1", **changes: Any) -> list[dict[str, Any]]:
    """The decisions of a session's steps, each with an outcome that says nothing."""
    rows = []
    for index in range(n):
        key = f"{session}-{index}"
        rows.append(decision(key, ts_ms=1000 * index, session=session, **KNOWN))
        rows.append(outcome(key, ts_ms=1000 * index + 1, adequate=None, signals={}, **changes))
    return rows


def load(log: Path, rows: list[dict[str, Any]], **rule: Any) -> Rounds:
    write_log(log, rows)
    return load_rounds(log, feature_schema="f1", rule=AdequacyRule(**rule))


def ended(rows: list[dict[str, Any]], *, succeeded: bool, at: int = -1) -> list[dict[str, Any]]:
    rows[at] = rows[at] | {"signals": {"session_succeeded": succeeded}}
    return rows


def test_a_success_credits_every_step_less_the_further_from_the_end(tmp_path: Path) -> None:
    rounds = load(tmp_path, ended(steps(4), succeeded=True))
    assert rounds.adequate.tolist() == [1.0] * 4
    np.testing.assert_allclose(rounds.weight, [0.5 * 0.8**3, 0.5 * 0.8**2, 0.5 * 0.8, 0.5])


def test_a_failure_blames_the_last_steps_only(tmp_path: Path) -> None:
    rounds = load(tmp_path, ended(steps(5), succeeded=False), session_blame_steps=2)
    np.testing.assert_array_equal(rounds.adequate, [NAN, NAN, NAN, 0.0, 0.0])
    np.testing.assert_allclose(rounds.weight, [NAN, NAN, NAN, 0.4, 0.5])


def test_own_evidence_is_never_overridden(tmp_path: Path) -> None:
    rows = ended(steps(3), succeeded=True)
    rows[1] = rows[1] | {"signals": {"retried": True}}
    rows[3] = rows[3] | {"adequate": False}
    rounds = load(tmp_path, rows)
    assert rounds.adequate.tolist() == [0.0, 0.0, 1.0]
    np.testing.assert_array_equal(rounds.weight, [0.6, 1.0, 0.5])


def test_the_report_may_come_with_any_outcome_and_the_latest_counts(tmp_path: Path) -> None:
    rows = ended(steps(3), succeeded=False, at=5)
    assert load(tmp_path / "a", ended(rows, succeeded=True, at=1)).adequate.tolist() == [0.0] * 3
    rows[1] = rows[1] | {"ts_ms": 10_000}
    assert load(tmp_path / "b", rows).adequate.tolist() == [1.0] * 3


def test_a_step_without_any_outcome_is_credited_too(tmp_path: Path) -> None:
    rows = ended(steps(3), succeeded=True)
    del rows[1]
    rounds = load(tmp_path, rows)
    assert rounds.adequate.tolist() == [1.0] * 3
    assert np.isnan(rounds.cost_usd[0])
    assert rounds.n_observed == 3


def test_side_calls_are_no_steps(tmp_path: Path) -> None:
    rows = ended(steps(3), succeeded=True)
    rows[2] = rows[2] | {"step_type": "title"}
    rounds = load(tmp_path, rows)
    np.testing.assert_array_equal(rounds.adequate, [1.0, NAN, 1.0])
    np.testing.assert_allclose(rounds.weight, [0.4, NAN, 0.5])


def test_sessions_and_tenants_do_not_share_their_end(tmp_path: Path) -> None:
    rows = ended(steps(1), succeeded=True) + steps(1, session="s2")
    rows += [row | {"tenant": "other"} for row in steps(1)]
    rounds = load(tmp_path, rows)
    np.testing.assert_array_equal(rounds.adequate, [1.0, NAN, NAN])


def test_the_weight_of_zero_switches_session_credit_off(tmp_path: Path) -> None:
    rounds = load(tmp_path, ended(steps(2), succeeded=True), session_succeeded=0.0)
    assert np.isnan(rounds.adequate).all()


def test_labels_less_sure_than_the_least_weight_are_not_observed(tmp_path: Path) -> None:
    rounds = load(tmp_path, ended(steps(3), succeeded=True), min_weight=0.4)
    np.testing.assert_array_equal(rounds.adequate, [NAN, 1.0, 1.0])


def test_decisions_that_are_too_young_wait_for_more_unless_a_verdict_came(tmp_path: Path) -> None:
    rows = ended(steps(6), succeeded=True)
    rows[11] = rows[11] | {"ts_ms": 5000}
    rows[9] = rows[9] | {"adequate": False}
    rows[7] = rows[7] | {"error": "timeout"}
    rounds = load(tmp_path, rows, outcome_window_s=2.5)
    # The newest row is of 5000 ms: what is younger than 2500 ms waits.
    np.testing.assert_array_equal(rounds.adequate, [1.0, 1.0, 1.0, NAN, 0.0, NAN])
    assert rounds.skipped == {"decision: outcome window still open": 2}
    np.testing.assert_array_equal(np.isnan(rounds.reward), np.isnan(rounds.adequate))
    assert not np.isnan(rounds.cost_usd).any(), "what was paid is known all the same"


def test_the_window_is_counted_back_from_the_end_of_the_snapshot(tmp_path: Path) -> None:
    write_log(tmp_path, steps(2, error="timeout"))
    rule = AdequacyRule(outcome_window_s=60.0)
    late = load_rounds(tmp_path, feature_schema="f1", rule=rule, until_ms=60_500)
    np.testing.assert_array_equal(late.adequate, [0.0, NAN])


def test_imported_matrices_wait_for_nothing(tmp_path: Path) -> None:
    rows = [decision(feedback="full", model="", candidates=[], **KNOWN), outcome(error="x")]
    rounds = load(tmp_path, rows, outcome_window_s=1e6)
    assert rounds.adequate.tolist() == [1.0]


@given(
    st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=1, max_size=12),
    st.sampled_from([0.0, 1.0, NAN]),
    st.floats(0.0, 1.0),
    st.integers(0, 5),
)
def test_credit_only_fills_gaps_and_falls_with_the_distance_from_the_end(
    own: list[float], end: float, discount: float, blame: int
) -> None:
    n = len(own)
    weight = np.where(np.isnan(own), NAN, 0.7)
    no = np.zeros(n, dtype=bool)
    judged = Judged(np.array(own), weight, no, no, np.zeros(n))
    rule = AdequacyRule(session_discount=discount, session_blame_steps=blame, min_weight=0.0)
    left = np.arange(n)[::-1]
    found = with_session_credit(judged, end=np.full(n, end), steps_left=left, rule=rule)
    is_own = ~np.isnan(own)
    np.testing.assert_array_equal(found.adequate[is_own], np.array(own)[is_own])
    np.testing.assert_array_equal(found.weight[is_own], weight[is_own])
    credited = ~is_own & ~np.isnan(found.adequate)
    assert set(found.adequate[credited].tolist()) <= {end}
    assert (np.diff(found.weight[credited]) >= 0).all()
    np.testing.assert_array_equal(np.isnan(found.adequate), np.isnan(found.weight))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.booleans()), max_size=12))
def test_steps_from_the_end_count_the_later_steps_of_the_same_session(
    rows: list[tuple[int, int, bool]],
) -> None:
    session = np.array([row[0] for row in rows], dtype=np.int64)
    ts_ms = np.array([row[1] for row in rows], dtype=np.int64)
    is_side = np.array([row[2] for row in rows], dtype=bool)
    found = steps_from_end(session, ts_ms=ts_ms, is_side_call=is_side).tolist()
    for i, count in enumerate(found):
        later = [
            j
            for j in range(len(rows))
            if not is_side[j] and session[j] == session[i] and (ts_ms[j], j) > (ts_ms[i], i)
        ]
        assert count == (-1 if is_side[i] else len(later))


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_failure_wins_over_a_success_of_the_same_time(order: list[int]) -> None:
    ends = session_ends(
        np.zeros(2, dtype=np.int64),
        succeeded=np.array([1.0, 0.0])[order],
        ts_ms=np.full(2, 5.0),
        n_sessions=1,
    )
    assert ends.tolist() == [0.0]
