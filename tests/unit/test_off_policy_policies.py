from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from logged_samples import logged_world, uniform_log

from router_data.logged import LoggedDecisions
from router_data.simulator import simulate
from router_model.artifact import STARTER, read_manifest
from router_model.embedding import N_MATCH
from router_model.encoder import StaticEncoder
from router_model.features import SCHEMA
from router_model.policy import CheapestAdequate
from router_training.decision_view import DecisionView
from router_training.policy_files import load_policy
from router_training.target_policies import (
    ArtifactPolicy,
    CheapestAdequatePolicy,
    FixedPolicy,
    FunctionPolicy,
    LoggedPolicy,
    MixturePolicy,
    PolicyError,
    PolicyTable,
    RestrictedPolicy,
    TargetPolicy,
    distribution_of,
    settings_of,
    training_overlap,
)

LOG = uniform_log(200)


def partial_log() -> LoggedDecisions:
    """model-00 is no candidate in every other decision."""
    world = simulate(200, n_models=3, seed=1)
    candidates = np.ones((200, 3), dtype=bool)
    candidates[::2, 0] = False
    distribution = np.where(candidates, 1.0, 0.0)
    distribution /= distribution.sum(axis=1, keepdims=True)
    return logged_world(world, distribution, candidates=candidates)


@pytest.mark.parametrize(
    "policy",
    [
        LoggedPolicy(),
        FixedPolicy("model-00"),
        MixturePolicy(("model-00", "model-02"), 0.3),
        CheapestAdequatePolicy(CheapestAdequate(exploration=0.1)),
        FunctionPolicy(lambda d: min(d.candidates)),
        RestrictedPolicy(FixedPolicy("model-00")),
    ],
    ids=lambda policy: policy.name,
)
def test_every_policy_gives_a_distribution_over_candidates(policy: TargetPolicy) -> None:
    log = partial_log()
    table = distribution_of(policy, log)
    assert table.sum(axis=1) == pytest.approx(np.ones(200))
    assert (table[~log.candidates] == 0).all()
    assert (policy.distribution(log.select(np.arange(200) < 7)) == table[:7]).all()


def test_a_fixed_model_leaves_to_the_log_what_it_could_not_take() -> None:
    table = FixedPolicy("model-00").distribution(partial_log())
    assert table[0].tolist() == [0.0, 0.5, 0.5]
    assert table[1].tolist() == [1.0, 0.0, 0.0]


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(PolicyError, match="got 'gpt-9', expected one of model-00, model-01"):
        FixedPolicy("gpt-9").distribution(LOG)


def test_the_served_policy_chooses_as_it_would_when_serving() -> None:
    table = CheapestAdequatePolicy(CheapestAdequate(min_adequacy=0.7)).distribution(LOG)
    for row in range(LOG.n):
        adequate = np.flatnonzero(LOG.p_adequate[row] >= 0.7)
        expected = (
            adequate[np.argmin(LOG.expected_cost[row, adequate])]
            if adequate.size
            else np.argmax(LOG.p_adequate[row])
        )
        assert table[row, expected] == 1.0


def test_the_name_of_the_served_policy_tells_its_settings() -> None:
    policy = CheapestAdequatePolicy(CheapestAdequate(min_adequacy=0.8, near_tie=2.0))
    assert policy.name == "cheapest_adequate(min_adequacy=0.8, near_tie=2)"


def test_unknown_costs_count_as_the_dearest_and_unknown_p_as_none() -> None:
    cost, p = LOG.expected_cost.copy(), np.full(LOG.p_adequate.shape, 0.9)
    cost[:, 0], p[:, 1] = np.nan, np.nan
    table = CheapestAdequatePolicy(CheapestAdequate(min_adequacy=0.5)).distribution(
        replace(LOG, expected_cost=cost, p_adequate=p)
    )
    assert (table[:, :2] == 0).all()


def test_a_log_without_predictions_gives_the_served_policy_nothing_to_choose_by() -> None:
    blind = replace(LOG, p_adequate=np.full(LOG.p_adequate.shape, np.nan))
    with pytest.raises(PolicyError, match="holds no prediction"):
        CheapestAdequatePolicy().distribution(blind)


def test_a_function_sees_what_was_known_before_the_draw() -> None:
    seen: list[DecisionView] = []

    def policy(decision: DecisionView) -> Mapping[str, float]:
        seen.append(decision)
        return {"model-00": 0.25, "model-01": 0.75}

    table = FunctionPolicy(policy).distribution(LOG)
    assert table[3].tolist() == [0.25, 0.75, 0.0, 0.0]
    assert seen[3].decision_id == LOG.decision_id[3]
    assert seen[3].step_type == LOG.step_type[3]
    assert seen[3].candidates["model-02"].p_adequate == LOG.p_adequate[3, 2]
    assert seen[3].candidates["model-02"].expected_cost == LOG.expected_cost[3, 2]
    hidden = {"action", "adequate", "reward", "cost_usd", "propensity"}
    assert not hidden & set(DecisionView.__struct_fields__)


def test_features_are_read_by_name() -> None:
    vectors = np.tile(np.arange(len(SCHEMA.names), dtype=np.float32), (LOG.n, 1))
    name = SCHEMA.names[5]
    table = FunctionPolicy(
        lambda d: "model-01" if d.feature(name) == 5.0 else "model-00"
    ).distribution(replace(LOG, features=vectors))
    assert (table[:, 1] == 1.0).all()


@pytest.mark.parametrize("answer", ["gpt-9", {"gpt-9": 1.0}, None, {"model-00": "all"}])
def test_a_wrong_answer_names_decision_and_value(answer: object) -> None:
    policy = FunctionPolicy(lambda _: answer, name="mine")  # type: ignore[arg-type,return-value]  # wrong on purpose
    with pytest.raises(PolicyError, match=r"mine: got .* for decision d000000, expected one of"):
        policy.distribution(LOG)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.5, 0.4, 0.0, 0.0], "adding to 1"),
        ([-0.5, 1.5, 0.0, 0.0], "numbers of at least 0"),
        ([np.nan, 1.0, 0.0, 0.0], "numbers of at least 0"),
    ],
)
def test_a_table_that_is_no_distribution_is_refused(row: list[float], message: str) -> None:
    with pytest.raises(PolicyError, match=rf"table: got .* for decision d000000.*{message}"):
        distribution_of(PolicyTable("table", np.tile(row, (LOG.n, 1))), LOG)


def test_a_table_of_another_shape_or_off_the_candidates_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"got shape \(2, 2\), expected \(200, 4\)"):
        distribution_of(PolicyTable("table", np.eye(2)), LOG)
    with pytest.raises(PolicyError, match="on candidates only"):
        distribution_of(PolicyTable("table", np.tile([1.0, 0, 0], (200, 1))), partial_log())


def test_a_restricted_policy_goes_with_the_log_where_it_has_no_support() -> None:
    world = simulate(10, n_models=2, seed=0)
    log = logged_world(world, np.tile([1.0, 0.0], (10, 1)))
    assert RestrictedPolicy(FixedPolicy("model-01")).distribution(log)[0].tolist() == [1.0, 0.0]


def test_an_artifact_must_read_the_logs_features() -> None:
    with pytest.raises(PolicyError, match=r"feature_schema: got .*, the log has simulated"):
        ArtifactPolicy(STARTER).distribution(LOG)


def test_an_artifact_predicts_anew_and_chooses_by_its_own_policy() -> None:
    encoder = StaticEncoder.load(STARTER)
    width = encoder.encode("text").shape[0] + N_MATCH
    log = replace(
        LOG,
        feature_schema=SCHEMA.hash,
        encoder=read_manifest(STARTER).encoder,
        features=np.zeros((LOG.n, SCHEMA.n), dtype=np.float32),
        embedding=np.zeros((LOG.n, width), dtype=np.float32),
    )
    # One context, four unknown models: p is the same everywhere, so the least cost decides.
    table = distribution_of(ArtifactPolicy(STARTER), log)
    assert (np.argmax(table, axis=1) == np.argmin(log.expected_cost, axis=1)).mean() > 0.9
    unpriced = replace(log, expected_cost=np.full(LOG.expected_cost.shape, np.nan))
    assert distribution_of(ArtifactPolicy(STARTER), unpriced).sum() == pytest.approx(LOG.n)


def test_decisions_older_than_an_artifact_may_have_trained_it() -> None:
    policy = RestrictedPolicy(ArtifactPolicy(STARTER))
    early, late = np.zeros(LOG.n, dtype=np.int64), np.full(LOG.n, 2**45)
    assert training_overlap(policy, replace(LOG, ts_ms=early)) == LOG.n
    assert training_overlap(policy, replace(LOG, ts_ms=late)) == 0
    assert training_overlap(LoggedPolicy(), replace(LOG, ts_ms=early)) == 0


def test_settings_are_the_policys_own_where_it_has_some() -> None:
    own = CheapestAdequate(failure_cost_usd=2.0)
    assert settings_of(RestrictedPolicy(CheapestAdequatePolicy(own))) == own
    assert settings_of(ArtifactPolicy(STARTER)).failure_cost_usd > 0
    assert settings_of(LoggedPolicy()) == CheapestAdequate()


def write(folder: Path, text: str, name: str = "policy.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('policy = "logged"', LoggedPolicy()),
        ('policy = "fixed"\nmodel = "a"', FixedPolicy("a")),
        ('policy = "mixture"\nmodels = ["a", "b"]\nshare = 0.2', MixturePolicy(("a", "b"), 0.2)),
        (
            'policy = "cheapest_adequate"\nmin_adequacy = 0.8\nfailure_cost_usd = 1',
            CheapestAdequatePolicy(CheapestAdequate(min_adequacy=0.8, failure_cost_usd=1.0)),
        ),
    ],
)
def test_policies_are_read_from_toml(tmp_path: Path, text: str, expected: TargetPolicy) -> None:
    assert load_policy(write(tmp_path, text)) == expected


def test_an_artifact_is_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "artifact").mkdir()
    found = load_policy(write(tmp_path, 'policy = "artifact"\nfolder = "artifact"'))
    assert found == ArtifactPolicy(tmp_path / "artifact")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('policy = "best"', "policy: got 'best', expected one of cheapest_adequate, fixed"),
        ("x = 1", "policy: got None"),
        ('policy = ["fixed"]', "policy: got ['fixed'], expected one of"),
        ("policy =", "not valid TOML"),
        ('policy = "fixed"', "missing required field `model`"),
        ('policy = "fixed"\nmodel = "a"\nmodle = "b"', "unknown field `modle`"),
        ('policy = "logged"\nmodel = "a"', "unknown field `model`"),
        ('policy = "cheapest_adequate"\ntau = 1', "unknown key 'tau', allowed are min_adequacy"),
        ('policy = "cheapest_adequate"\nmin_adequacy = 2.0', "min_adequacy: got 2.0, expected 0"),
        ('policy = "cheapest_adequate"\nmin_adequacy = "x"', "Expected `float`"),
        ('policy = "mixture"\nmodels = ["a", "b"]\nshare = 2', "share: got 2.0, expected 0 to 1"),
        ('policy = "artifact"\nfolder = "none"', "expected an existing artifact folder"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_python_file_defines_a_policy(tmp_path: Path) -> None:
    text = "def policy(decision):\n    return max(decision.candidates)\n"
    policy = load_policy(write(tmp_path, text, "mine.py"))
    assert policy.name == "mine"
    assert (policy.distribution(LOG)[:, 3] == 1.0).all()


def test_a_python_file_without_a_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="got None, expected `def policy"):
        load_policy(write(tmp_path, "x = 1\n", "mine.py"))
    with pytest.raises(PolicyError, match="no such file"):
        load_policy(tmp_path / "none.toml")
