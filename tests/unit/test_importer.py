from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_samples import HashEncoder, write_tables
from paths import DATA, requires_data

from router_data.dataset import load_rounds
from router_data.importer import ImportReport, import_tables
from router_data.log import segment_paths, verify
from router_data.logging_policy import LoggingPolicy, PolicyName
from router_data.simulator import simulate
from router_data.store import Store
from router_model.errors import DatasetError

DRAWN: list[PolicyName] = ["uniform", "epsilon-greedy", "biased"]


def run(
    folder: Path, state: Path, *, policy: LoggingPolicy | None = None, encoder: str = "e1"
) -> ImportReport:
    return import_tables(
        folder,
        state,
        encoder=HashEncoder(encoder),
        policy=policy or LoggingPolicy(),
        progress=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    simulate(40, n_models=3, seed=5).write_tables(tmp_path / "tables")
    return tmp_path / "tables"


def test_an_import_logs_one_decision_per_request_and_all_outcomes(
    folder: Path, tmp_path: Path
) -> None:
    report = run(folder, tmp_path / "var")
    assert report == ImportReport(40, 40, 120, 0, {})
    assert verify(tmp_path / "var" / "log").n_rows == 160
    with Store(tmp_path / "var") as store:
        (row,) = store.query("select feedback, model, count(*) as n from decisions group by all")
        attempts = store.query("select attempt, count(*) as n from outcomes group by 1 order by 1")
    assert row == {"feedback": "full", "model": "", "n": 40}
    assert [(row["attempt"], row["n"]) for row in attempts] == [(0, 40), (1, 40), (2, 40)]


@pytest.mark.parametrize("name", ["full", *DRAWN])
def test_importing_again_adds_nothing(folder: Path, tmp_path: Path, name: PolicyName) -> None:
    policy = LoggingPolicy(name, seed=3)
    run(folder, tmp_path / "var", policy=policy)
    files = {path: path.stat().st_size for path in segment_paths(tmp_path / "var" / "log")}
    report = run(folder, tmp_path / "var", policy=policy)
    assert (report.n_decisions, report.n_outcomes, report.n_known) == (0, 0, 40)
    assert {p: p.stat().st_size for p in segment_paths(tmp_path / "var" / "log")} == files


def test_a_changed_folder_or_encoder_replaces_what_it_changes(folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "var"
    run(folder, state)
    first = load_rounds(state)
    assert run(folder, state, encoder="e2").n_decisions == 40
    second = load_rounds(state)
    assert (second.encoder, second.n_contexts, second.n_rows) == ("e2", 40, 120)
    assert second.snapshot_hash != first.snapshot_hash
    run(folder, state)
    assert load_rounds(state).snapshot_hash == first.snapshot_hash


def test_an_interrupted_import_is_completed_by_the_next(folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "var"
    run(folder, state)
    expected = load_rounds(state).snapshot_hash
    (path,) = segment_paths(state / "log")
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        for old in segment_paths(state / "log"):
            old.unlink()
        path.write_bytes(whole[: int(len(whole) * share)])
        report = run(folder, state)
        assert 0 < report.n_known < 40
        assert load_rounds(state).snapshot_hash == expected


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawn_policy_shows_one_outcome_with_its_propensity(
    folder: Path, tmp_path: Path, name: PolicyName
) -> None:
    state = tmp_path / "var"
    report = run(folder, state, policy=LoggingPolicy(name, epsilon=0.3))
    assert (report.n_decisions, report.n_outcomes) == (40, 40)
    with Store(state) as store:
        rows = [store.decision(row["decision_id"]) for row in store.query("from decisions")]
    for row in rows:
        assert row is not None
        probabilities = {c["model"]: c["probability"] for c in row["candidates"]}
        assert sum(probabilities.values()) == pytest.approx(1.0)
        assert min(probabilities.values()) >= 0.3 / 3 - 1e-12
        assert row["propensity"] == probabilities[row["model"]]
        assert [outcome["model"] for outcome in row["outcomes"]] == [row["model"]]
        assert (row["feedback"], row["dataset"]) == ("bandit", "simulated")


def test_the_draws_depend_on_the_seed_only(folder: Path, tmp_path: Path) -> None:
    def chosen(name: str, seed: int) -> list[str]:
        state = tmp_path / name
        run(folder, state, policy=LoggingPolicy("uniform", seed=seed))
        rounds = load_rounds(state)
        order = np.argsort(rounds.request_hash, kind="stable")
        return [rounds.model[rounds.context_index == index][0] for index in order]

    assert chosen("a", 1) == chosen("b", 1)
    assert chosen("a", 1) != chosen("c", 2)


def test_logs_of_several_policies_live_beside_each_other(folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "var"
    run(folder, state)
    run(folder, state, policy=LoggingPolicy("uniform", seed=1))
    run(folder, state, policy=LoggingPolicy("uniform", seed=2))
    assert load_rounds(state).n_contexts == 120


@pytest.mark.parametrize("name", DRAWN)
def test_inverse_propensities_recover_the_mean_of_the_full_matrix(
    tmp_path: Path, name: PolicyName
) -> None:
    simulate(1500, n_models=3, seed=2).write_tables(tmp_path / "tables")
    run(tmp_path / "tables", tmp_path / "full")
    run(tmp_path / "tables", tmp_path / "drawn", policy=LoggingPolicy(name, epsilon=0.5, seed=4))
    truth = load_rounds(tmp_path / "full").matrix("reward").mean()
    drawn = load_rounds(tmp_path / "drawn")
    terms = drawn.reward / drawn.propensity / 3
    error = terms.std() / np.sqrt(len(terms))
    assert abs(terms.mean() - truth) < 4 * error
    assert error < 0.05


def test_requests_without_anything_to_draw_are_counted(tmp_path: Path) -> None:
    requests = [{"request_id": key, "prompt": key} for key in ("r1", "r2", "r3")]
    outcomes: list[dict[str, object]] = [
        {"request_id": "r1", "model": "m", "score": None, "cost_usd": 1.0},
        {"request_id": "r2", "model": "m", "score": 1.0, "cost_usd": 1.0},
        {"request_id": "r2", "model": "m", "score": 0.0, "cost_usd": 1.0},
        {"request_id": "lost", "model": "m", "score": 0.0, "cost_usd": 1.0},
    ]
    folder = write_tables(tmp_path / "tables", requests, outcomes)
    report = run(folder, tmp_path / "var", policy=LoggingPolicy("uniform"))
    assert (report.n_requests, report.n_decisions, report.n_outcomes) == (3, 1, 1)
    assert report.problems == {
        "outcome: request_id is not in requests.parquet": 1,
        "outcome: neither success nor score (kept, not observed)": 1,
        "request: no observed reward to draw from": 1,
        "request: no outcome": 1,
    }
    report = run(folder, tmp_path / "full")
    assert (report.n_decisions, report.n_outcomes) == (2, 3)
    assert load_rounds(tmp_path / "full").matrix("reward").tolist() in (
        [[0.5], [pytest.approx(np.nan, nan_ok=True)]],
        [[pytest.approx(np.nan, nan_ok=True)], [0.5]],
    )


@given(st.sampled_from(DRAWN), st.floats(0.01, 1.0), st.lists(st.floats(0, 1), min_size=1))
def test_a_logging_policy_is_a_distribution_with_full_support(
    name: PolicyName, epsilon: float, values: list[float]
) -> None:
    array = np.array(values)
    found = LoggingPolicy(name, epsilon=epsilon).distribution(array, array[::-1])
    assert found.sum() == pytest.approx(1.0)
    assert found.min() >= epsilon / len(values) * (1 - 1e-9)


def test_a_policy_that_is_not_known_is_refused() -> None:
    with pytest.raises(DatasetError, match="policy: got 'greedy', expected full, uniform"):
        LoggingPolicy("greedy")  # type: ignore[arg-type] # the point of the test
    with pytest.raises(DatasetError, match="epsilon"):
        LoggingPolicy("uniform", epsilon=0.0)


@requires_data
def test_real_sessions_keep_their_trials_as_attempts(tmp_path: Path) -> None:
    report = run(DATA / "tau2_bench", tmp_path)
    assert (report.n_decisions, report.n_outcomes) == (164, 843)
    rounds = load_rounds(tmp_path)
    cells = len(set(zip(rounds.context_index.tolist(), rounds.model_index.tolist(), strict=True)))
    assert cells < rounds.n_rows
    assert np.isfinite(rounds.matrix("reward")).sum() <= cells
