"""What is learned of sessions, from logs written by hand and from simulated ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_samples import decision, outcome, write_log
from routers import encoder, joint_predictor

from router_data.agents import simulate_agents
from router_data.bandit_log import log_with_policy
from router_data.logging_policy import LoggingPolicy
from router_data.session_turns import SessionTurns, load_session_turns
from router_model.artifact import verify
from router_model.economics import ECONOMICS_FILE, GAP_EDGES_S, PRIOR, Economics, save_economics
from router_model.tenants import TenantOffsets
from router_model.types import StepType
from router_training.artifacts import write_artifact
from router_training.fit import FittedPredictor
from router_training.learned import learned_beside
from router_training.params import TrainingParams
from router_training.session_economics import (
    IDLE_MS,
    LONGEST,
    PriorWeights,
    economics_of,
    fit_economics,
    moments,
)

FULL_WEIGHT = PriorWeights(sessions=1e-9, calls=1e-9)
START = 1_750_000_000_000
LATE = START + 10 * IDLE_MS


def session_rows(
    name: str, steps: Sequence[str], *, start_ms: int = START, gap_s: int = 4, **changes: Any
) -> list[dict[str, Any]]:
    """A session of these steps; each call 1,000 tokens longer than the one before."""
    return [
        decision(
            f"{name}-{place}",
            session=name,
            ts_ms=start_ms + 1_000 * gap_s * place,
            step_type=step,
            input_tokens=10_000 + 1_000 * place,
            **changes,
        )
        for place, step in enumerate(steps)
    ]


def marker(tenant: str = "acme") -> list[dict[str, Any]]:
    """A call long after, so that the sessions before are over; it has no session."""
    return [decision("late", ts_ms=LATE, session=None, tenant=tenant, step_type="title")]


def fitted(folder: Path, rows: Sequence[dict[str, Any]], **changes: Any) -> Economics:
    write_log(folder / "log", rows)
    return fit_economics(folder, weights=FULL_WEIGHT, **changes)


def test_turns_to_come_by_step_and_turn(tmp_path: Path) -> None:
    rows = session_rows("one", ["main", "tool_result", "tool_result"])
    rows += session_rows("two", ["main"], start_ms=START + 50)
    found = fitted(tmp_path, rows + marker())
    first = found.horizon(StepType.MAIN, 0)
    assert first.turns == pytest.approx(1.0)
    assert first.second == pytest.approx((3.0 + 0.0) / 2)
    assert first.p_any == pytest.approx(0.5)
    assert first.n == 2
    assert (first.low, first.high) == pytest.approx((0.0, 2.0), abs=1e-6)
    assert found.horizon(StepType.TOOL_RESULT, 1).turns == pytest.approx(1.0)
    assert found.horizon(StepType.TOOL_RESULT, 2).turns == pytest.approx(0.0, abs=1e-6)
    assert found.n_sessions == 2
    found.check()


def test_side_calls_are_no_turns_and_end_no_session(tmp_path: Path) -> None:
    steps = ["title", "main", "summary", "tool_result", "commit_message"]
    found = fitted(tmp_path, session_rows("one", steps) + marker())
    assert found.horizon(StepType.MAIN, 0).turns == pytest.approx(1.0)
    assert found.growth_tokens == pytest.approx(2_000.0)


def test_sessions_of_one_name_are_each_tenant_s_own(tmp_path: Path) -> None:
    rows = session_rows("same", ["main", "tool_result"])
    theirs = session_rows("same", ["main"] * 4, start_ms=START + 2_000)
    rows += [row | {"tenant": "other"} for row in theirs]
    found = fitted(tmp_path, rows + marker())
    assert found.n_sessions == 2
    assert found.horizon(StepType.MAIN, 0).turns == pytest.approx(2.0)
    own = fit_economics(tmp_path, tenant="acme", weights=FULL_WEIGHT)
    assert own.horizon(StepType.MAIN, 0).turns == pytest.approx(1.0)


def test_an_open_session_counts_as_going_on(tmp_path: Path) -> None:
    """Two that are over after 1 and 3 more calls, and one that is open after 2."""
    rows = session_rows("one", ["main"] * 2) + session_rows("two", ["main"] * 4)
    rows += session_rows("open", ["main"] * 3, start_ms=LATE - 20_000)
    found = fitted(tmp_path, rows + marker()).horizon(StepType.MAIN, 0)
    # P(T >= 2) = 2/3, and all of those known to go on from there reach 3.
    assert found.turns == pytest.approx(1.0 + 2 / 3 + 2 / 3)
    later = fit_economics(tmp_path, weights=FULL_WEIGHT, until_ms=LATE)
    assert later.horizon(StepType.MAIN, 0).turns == pytest.approx(1.0 + 2 / 3 + 2 / 3)


def test_only_open_sessions_say_nothing_of_turns(tmp_path: Path) -> None:
    found = fitted(tmp_path, session_rows("open", ["main"] * 6))
    assert found.horizons == PRIOR.horizons
    assert found.growth_tokens == pytest.approx(1_000.0)


def test_gaps_and_growth(tmp_path: Path) -> None:
    rows = session_rows("one", ["main"] * 3, gap_s=4) + session_rows("two", ["main"] * 3, gap_s=90)
    rewritten = decision(
        "two-3", session="two", ts_ms=START + 270_000, step_type="main", input_tokens=500
    )
    found = fitted(tmp_path, [*rows, rewritten, *marker()])
    assert found.growth_tokens == pytest.approx(1_000.0)
    assert found.p_within(5.0) == pytest.approx(2 / 5)
    assert found.p_within(60.0) == pytest.approx(2 / 5)
    assert found.p_within(120.0) == pytest.approx(1.0)


def candidates(cached: float) -> list[dict[str, Any]]:
    return [
        {"model": "small", "probability": 0.5, "p_adequate": 0.9, "cached_tokens": cached},
        {"model": "large", "probability": 0.5, "p_adequate": 0.9, "cached_tokens": 0},
    ]


def billed(number: int, *, expected: float, read: int, **changes: Any) -> list[dict[str, Any]]:
    row = session_rows("one", ["main"], start_ms=START + number * 5_000)[0]
    row |= {"decision_id": f"b{number}", "candidates": candidates(expected)}
    usage = {"input_tokens": 12_000, "cached_tokens": read, "output_tokens": 7}
    return [row, outcome(f"b{number}", usage=usage, **changes)]


def test_cache_hits_and_token_counts_by_the_model_that_answered(tmp_path: Path) -> None:
    rows = billed(0, expected=0.0, read=0)  # nothing was expected
    rows += billed(1, expected=9_000.0, read=8_900) + billed(2, expected=9_000.0, read=0)
    rows += billed(3, expected=9_000.0, read=9_000) + billed(4, expected=9_000.0, read=9_000)
    # The other model stepped in, of which nothing was expected.
    rows += [*billed(5, expected=9_000.0, read=0, model="large", attempt=1)]
    found = fitted(tmp_path, rows + marker())
    assert found.cache_of("small").p_hit == pytest.approx((8_900 + 18_000) / 36_000)
    assert found.cache_of("small").n == 4
    assert found.any_cache.n == 4
    assert "large" not in found.caches
    assert found.token_ratio_of("small") == pytest.approx(1.2)
    assert found.token_ratio_of("large") == pytest.approx(1.2)


def test_impossible_bills_and_quarantined_decisions_are_left_out(tmp_path: Path) -> None:
    rows = billed(0, expected=0.0, read=0)
    wrong = billed(1, expected=0.0, read=0)
    wrong[1]["usage"] = {"input_tokens": 10**9, "cached_tokens": 0, "output_tokens": 1}
    bad = billed(2, expected=9_000.0, read=0)
    bad[0]["propensity"] = 7.0
    found = fitted(tmp_path, rows + wrong + bad + marker())
    assert found.token_ratio_of("small") == pytest.approx(1.2)
    assert found.any_cache.n == 0
    assert found.horizon(StepType.MAIN, 0).turns == pytest.approx(1.0)


def test_an_empty_log_is_the_prior(tmp_path: Path) -> None:
    assert fitted(tmp_path, marker()) is PRIOR


def test_imports_are_no_sessions(tmp_path: Path) -> None:
    rows = session_rows("one", ["main"] * 4, dataset="bench", feedback="full")
    assert fitted(tmp_path, rows + marker()) is PRIOR


def test_few_sessions_stay_near_the_prior(tmp_path: Path) -> None:
    write_log(tmp_path / "log", session_rows("one", ["main", "tool_result"]) + marker())
    found = fit_economics(tmp_path)
    before, after = (e.horizon(StepType.MAIN, 0) for e in (PRIOR, found))
    assert after.turns == pytest.approx((1.0 + 20 * before.turns) / 21)
    assert after.low < after.turns < after.high
    assert found.horizon(StepType.MAIN, 5) == PRIOR.horizon(StepType.MAIN, 5)
    found.check()


def test_a_session_without_end_leaves_an_artifact_that_loads(tmp_path: Path) -> None:
    n = 12_000
    endless = SessionTurns(
        session=np.zeros(n, dtype=np.int64),
        turn=np.arange(n),
        remaining=np.arange(n)[::-1],
        step_type=np.array(["tool_result"] * n, dtype=object),
        model=np.array(["small"] * n, dtype=object),
        ts_ms=START + 1_000 * np.arange(n),
        input_tokens=np.full(n, 5_000.0),
        billed_tokens=np.full(n, np.nan),
        cached_tokens=np.full(n, np.nan),
        expected_tokens=np.full(n, np.nan),
        latest_ms=LATE + 1_000 * n,
    )
    found = economics_of(endless, weights=FULL_WEIGHT)
    save_economics(found, tmp_path)
    assert Economics.load(tmp_path) == found
    assert found.horizon(StepType.TOOL_RESULT, 1).turns == pytest.approx(LONGEST)


def test_estimates_recover_a_simulated_log(tmp_path: Path) -> None:
    world = simulate_agents(400, n_tenants=2, seed=3)
    log_with_policy(world, tmp_path, policy=LoggingPolicy("uniform"))
    found = fit_economics(tmp_path, weights=FULL_WEIGHT)
    assert world.agents is not None
    calls = world.agents.calls
    in_loop = ~calls.is_side
    n_of = np.bincount(calls.session[in_loop])
    first = found.horizon(StepType.MAIN, 0)
    # The log's last sessions are open and counted as such.
    assert first.turns == pytest.approx(float((n_of - 1).mean()), rel=0.02)
    assert first.low < first.turns < first.high
    assert first.high - first.low < 0.2 * first.turns
    gaps = np.diff(world.ts_ms[in_loop])[np.diff(calls.session[in_loop]) == 0] / 1_000.0
    for edge in GAP_EDGES_S:
        assert found.p_within(edge) == pytest.approx(float((gaps <= edge).mean()), abs=1e-6)
    # Its caches never miss within their lifetime.
    assert found.any_cache.p_hit > 0.99
    assert set(found.caches) == set(world.models)
    found.check()


def test_censored_lengths_are_not_taken_for_short_ones() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.geometric(0.1, 20_000) - 1
    until = rng.geometric(0.05, 20_000) - 1
    is_open = until <= lengths  # whether it ends just there is not known
    seen = np.minimum(lengths, until)
    turns, second, p_any = moments(seen, is_open, np.ones(len(seen)))
    assert turns == pytest.approx(9.0, rel=0.03)
    assert second == pytest.approx(float((lengths * (lengths + 1) / 2).mean()), rel=0.06)
    assert p_any == pytest.approx(0.9, abs=0.01)
    assert float(seen.mean()) < 7.0


def test_intervals_count_sessions_not_calls(tmp_path: Path) -> None:
    """Calls of one session tell the same story: many of them are no more evidence."""
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng(1)
    for number in range(40):
        rows += session_rows(f"s{number}", ["tool_result"] * int(rng.integers(20, 60)))
    found = fitted(tmp_path, rows + marker()).horizon(StepType.TOOL_RESULT, 10)
    lengths = np.bincount(load_session_turns(tmp_path).session)
    error = 1.96 * lengths.std() / np.sqrt(40)
    assert found.high - found.low == pytest.approx(2 * error, rel=0.35)


def test_a_run_puts_what_it_learned_of_sessions_into_the_artifact(tmp_path: Path) -> None:
    world = simulate_agents(30, seed=4)
    log_with_policy(world, tmp_path, policy=LoggingPolicy("uniform"))
    until_ms = int(world.ts_ms.max()) + 1
    params = TrainingParams()
    about = learned_beside(tmp_path, params=params, tags={"trained_until_ms": str(until_ms)})
    expected = fit_economics(tmp_path, until_ms=until_ms, seed=params.seed)
    assert about["economics"] == expected
    joint = joint_predictor()
    folder = tmp_path / "made"
    folder.mkdir()
    fitted = FittedPredictor(joint.space.names, joint, TenantOffsets())
    write_artifact(fitted, folder, encoder=encoder(), about=about)
    assert ECONOMICS_FILE in verify(folder).files
    assert Economics.load(folder) == about["economics"].by_plain_names()
    (folder / "plain").mkdir()
    write_artifact(fitted, folder / "plain", encoder=encoder(), about={})
    assert Economics.load(folder / "plain") is PRIOR
