from dataclasses import replace

import msgspec
import numpy as np
import pytest
from logged_samples import logged_world, texts, without_outcomes

from router_data.logged import Evidence, LoggedDecisions
from router_data.simulator import simulate
from router_model.errors import DatasetError
from router_model.policy import CheapestAdequate
from router_training.bandit_sample import PropensityError
from router_training.off_policy import (
    HEADLINE,
    OffPolicyOptions,
    evaluate_policy,
    paired_difference,
)
from router_training.off_policy_baselines import mix_at
from router_training.off_policy_plots import write_plots
from router_training.off_policy_render import render, render_skipped
from router_training.off_policy_report import ADEQUATE, COST, UTILITY, OffPolicyReport, write_json
from router_training.off_policy_values import LogValues
from router_training.ope import ESTIMATORS
from router_training.report import HullCorner
from router_training.target_policies import (
    CheapestAdequatePolicy,
    FixedPolicy,
    LoggedPolicy,
    MixturePolicy,
    PolicyTable,
)

QUICK = OffPolicyOptions(n_resamples=100)
WORLD = simulate(3_000, n_models=4, seed=5)
UNIFORM = np.full((3_000, 4), 0.25)
LOG = logged_world(WORLD, UNIFORM, seed=6)
VALUES = LogValues(LOG, QUICK.terms)


def report(policy: object = None, log: LoggedDecisions = LOG) -> OffPolicyReport:
    chosen = policy or CheapestAdequatePolicy(CheapestAdequate(min_adequacy=0.7))
    values = VALUES if log is LOG else None
    return evaluate_policy(log, chosen, options=QUICK, values=values)  # type: ignore[arg-type]  # any policy


@pytest.fixture(scope="module")
def found() -> OffPolicyReport:
    return report()


def test_the_headline_covers_the_truth_of_every_outcome(found: OffPolicyReport) -> None:
    policy = CheapestAdequatePolicy(CheapestAdequate(min_adequacy=0.7))
    target = policy.distribution(LOG)
    adequate = WORLD.policy_value(target)
    cost = float((target * WORLD.cost_usd).sum(axis=1).mean())
    truths = {ADEQUATE: adequate, COST: cost, UTILITY: -(cost + (1 - adequate) * 0.25)}
    assert found.headline == HEADLINE == "dr"
    for outcome, truth in truths.items():
        estimate = found.headline_of(outcome)
        assert estimate.low <= truth <= estimate.high
        assert found.outcomes[outcome].target.keys() == ESTIMATORS.keys()


def test_the_log_is_its_own_mean_when_every_outcome_was_observed(found: OffPolicyReport) -> None:
    assert found.outcomes[ADEQUATE].logging.value == pytest.approx(LOG.adequate.mean())
    assert found.outcomes[COST].logging.value == pytest.approx(LOG.cost_usd.mean())


@pytest.mark.parametrize("outcome", [ADEQUATE, COST, UTILITY])
def test_the_difference_is_that_of_its_two_sides(found: OffPolicyReport, outcome: str) -> None:
    value = found.outcomes[outcome]
    expected = value.target[HEADLINE].value - value.logging.value
    assert value.difference.value == pytest.approx(expected)


def test_doing_what_a_certain_log_did_differs_by_exactly_nothing() -> None:
    certain = np.eye(4)[np.arange(3_000) % 4]
    log = logged_world(WORLD, certain, seed=1)
    values = LogValues(without_outcomes(log, np.arange(3_000) % 5 == 0), QUICK.terms)
    difference = paired_difference(values.outcomes[ADEQUATE], certain)
    assert (difference.value, difference.low, difference.high) == pytest.approx((0, 0, 0))


def test_the_logged_policy_estimates_its_own_mean() -> None:
    of_log = report(LoggedPolicy())
    value = of_log.outcomes[ADEQUATE]
    assert value.target["ips"].value == pytest.approx(LOG.adequate.mean())
    assert value.target["snips"].value == pytest.approx(LOG.adequate.mean())
    assert value.difference.low < 0 < value.difference.high
    assert of_log.overlap.max_weight == pytest.approx(1.0)
    assert of_log.overlap.tail_share == pytest.approx(0.01)


def test_a_mix_is_worth_the_mix_of_its_parts() -> None:
    first, second = (report(FixedPolicy(f"model-0{i}")) for i in (0, 3))
    mixed = report(MixturePolicy(("model-00", "model-03"), 0.25))
    for outcome in (ADEQUATE, COST, UTILITY):
        parts = [r.headline_of(outcome).value for r in (first, second)]
        assert mixed.headline_of(outcome).value == pytest.approx(0.25 * parts[0] + 0.75 * parts[1])


def test_fixed_models_stand_beside_it_and_form_the_hull(found: OffPolicyReport) -> None:
    for column, fixed in enumerate(found.fixed):
        assert fixed.adequate is not None
        error = fixed.adequate.estimate - WORLD.p_adequate[:, column].mean()
        assert abs(error) < 2 * fixed.adequate.half_width
        assert fixed.cost_usd is not None
        assert fixed.cost_usd.estimate == pytest.approx(WORLD.cost_usd[:, column].mean(), rel=0.05)
    assert found.hull[0].model == "model-00"
    costs = [corner.cost for corner in found.hull]
    assert costs == sorted(costs)
    fixed_corner = report(FixedPolicy(found.hull[-1].model))
    assert fixed_corner.minus_hull.estimate == pytest.approx(0.0, abs=0.001)


def test_a_model_without_support_is_left_out_by_name() -> None:
    explored = np.tile([0.5, 0.5, 0.0, 0.0], (3_000, 1))
    found = report(FixedPolicy("model-01"), logged_world(WORLD, explored))
    assert [fixed.adequate is None for fixed in found.fixed] == [False, False, True, True]
    assert found.fixed[2].left_out == "no probability in 100% of decisions"
    assert {corner.model for corner in found.hull} <= {"model-00", "model-01"}
    assert "left out: no probability" in render(found)


def test_the_best_fixed_choice_at_its_cost_is_a_mix(found: OffPolicyReport) -> None:
    assert found.mix is not None
    cost, adequate = found.headline_of(COST).value, found.headline_of(ADEQUATE).value
    assert found.mix.cost_usd == pytest.approx(cost + found.terms.router_cost_usd)
    assert found.minus_hull.estimate == pytest.approx(adequate - found.mix.adequate)


def test_beyond_its_ends_the_hull_is_its_end() -> None:
    corners = [HullCorner(model=m, cost=c, score=s) for m, c, s in (("a", 1, 0.5), ("b", 3, 0.9))]
    for cost, model in ((0.5, "a"), (1.0, "a"), (3.0, "b"), (9.0, "b")):
        mix = mix_at(corners, cost)
        assert mix is not None
        taken = mix.models[0] if mix.share == 1.0 else mix.models[1]
        assert (taken, mix.share in (0.0, 1.0)) == (model, True)


def test_without_a_supported_fixed_model_there_is_no_hull() -> None:
    turns = np.eye(4)[np.arange(3_000) % 4]
    found = report(LoggedPolicy(), logged_world(WORLD, turns))
    assert found.hull == ()
    assert np.isnan(found.minus_hull.estimate)
    assert [saving.against for saving in found.savings] == ["the log"]
    assert found.mix is None
    assert "best fixed choice" not in render(found)


def test_a_fixed_model_with_rare_draws_is_left_out() -> None:
    rare = np.tile([0.003, 0.497, 0.0, 0.5], (3_000, 1))
    found = report(LoggedPolicy(), logged_world(WORLD, rare, seed=3))
    assert found.fixed[0].left_out.startswith("effective sample size")


def test_savings_are_net_of_the_router(found: OffPolicyReport) -> None:
    against_log, against_best = found.savings
    value = found.outcomes[COST]
    gross = value.logging.value - value.target[HEADLINE].value
    router = found.terms.router_cost_usd
    assert against_log.per_decision_usd.estimate == pytest.approx(gross - router)
    assert against_log.total_usd.estimate == pytest.approx(3_000 * (gross - router))
    assert against_best.against == "always model-03"
    assert against_best.per_decision_usd.low > 0


def test_slices_add_up_to_the_whole(found: OffPolicyReport) -> None:
    assert {part.name for part in found.by_tenant} == {"acme", "other"}
    for slices in (found.by_tenant, found.by_step_type):
        assert sum(part.n for part in slices) == 3_000
        total = sum(part.n * part.saving_usd.estimate for part in slices) / 3_000
        assert total == pytest.approx(found.savings[0].per_decision_usd.estimate)


def test_small_slices_are_not_shown() -> None:
    few = replace(LOG, tenant=texts(["small" if i < 20 else "large" for i in range(3_000)]))
    assert [part.name for part in report(log=few).by_tenant] == ["large"]


def test_side_calls_fail_at_less_cost() -> None:
    sides = replace(LOG, is_side_call=np.arange(3_000) % 2 == 0)
    values = LogValues(sides, QUICK.terms)
    assert values.failure_cost_usd[:2].tolist() == [0.001, 0.25]
    reward = values.outcomes[UTILITY].reward
    assert reward[0] == pytest.approx(-(LOG.cost_usd[0] + (1 - LOG.adequate[0]) * 0.001))


def test_missing_outcomes_are_made_up_for_and_reported() -> None:
    # Easy requests are reported more often, so that what was observed looks too good.
    rng = np.random.default_rng(1)
    hidden = rng.random(3_000) < 1 / (1 + np.exp(-LOG.features[:, 0]))
    found = report(LoggedPolicy(), without_outcomes(LOG, hidden))
    value = found.outcomes[ADEQUATE]
    naive = LOG.adequate[~hidden].mean()
    assert abs(value.logging.value - LOG.adequate.mean()) < 0.3 * abs(naive - LOG.adequate.mean())
    assert found.missing[0].share == pytest.approx((~hidden).mean())
    assert value.n_observed == (~hidden).sum()
    assert any("of outcomes were observed" in note for note in found.notes)
    low = LOG.adequate[~hidden].sum() / 3_000
    worst = f"is {low:.3f}, and {low + hidden.mean():.3f} if none was"
    assert any(note.endswith(worst) for note in found.notes)


def test_a_log_without_costs_is_valued_at_what_was_expected() -> None:
    found = report(log=replace(LOG, cost_usd=np.full(3_000, np.nan)))
    expected = LOG.expected_cost[np.arange(3_000), LOG.action].mean()
    assert found.outcomes[COST].logging.value == pytest.approx(expected)
    assert any("no cost was reported" in note for note in found.notes)


def test_failures_that_cost_nothing_are_no_bills() -> None:
    failed_alone = np.where(np.arange(3_000) == 0, 0.0, np.nan)
    found = report(log=replace(LOG, cost_usd=failed_alone))
    assert any("no cost was reported" in note for note in found.notes)


# Two sessions gave an interval of +-0.004 and not a word about it.
def test_few_sessions_are_told_of() -> None:
    sessions = np.array(["a", "b"] * 1_500, dtype=object)
    notes = report(log=replace(LOG, session=sessions)).notes
    assert any("sessions are few" in note for note in notes)
    assert not any("sessions are few" in note for note in report().notes)


def test_weak_labels_are_told_of() -> None:
    found = report(log=replace(LOG, evidence=np.full(3_000, Evidence.SIGNAL)))
    assert any("3000 decisions was judged by weak signals" in note for note in found.notes)


def test_no_outcome_at_all_is_an_error() -> None:
    never = np.full(3_000, np.nan)
    half = np.arange(3_000) % 2 == 0  # never both of one decision
    adequate = np.where(half, LOG.adequate, never)
    apart = replace(LOG, adequate=adequate, cost_usd=np.where(half, never, LOG.cost_usd))
    with pytest.raises(DatasetError, match="utility_usd: none of 3000 was observed"):
        report(log=apart)
    with pytest.raises(DatasetError, match="none of 3000 was observed"):
        report(log=without_outcomes(LOG, np.ones(3_000, dtype=bool)))


def test_a_propensity_of_zero_is_never_used() -> None:
    with pytest.raises(PropensityError, match=r"propensity: got 0\.0 in row 7"):
        report(log=replace(LOG, propensity=np.where(np.arange(3_000) == 7, 0.0, LOG.propensity)))


def test_a_perfect_table_beats_the_hull() -> None:
    best = np.eye(4)[np.argmax(WORLD.p_adequate - 20 * WORLD.cost_usd, axis=1)]
    assert report(PolicyTable("best", best)).minus_hull.low > 0


def test_reports_are_written_rendered_and_drawn(
    found: OffPolicyReport, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("report")
    write_json(found, folder / "deep" / "r.json")
    values = msgspec.json.decode((folder / "deep" / "r.json").read_bytes())
    assert values["outcomes"]["adequate"]["target"]["dr"]["n"] == 3_000
    text = render(found)
    for part in ("DR*", "SNIPS", "difference*", "best fixed choice", "by tenant", "net of 1.0e-07"):
        assert part in text
    for path in write_plots(found, folder / "plots"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_what_was_skipped_is_listed_by_reason() -> None:
    assert render_skipped({}) == "skipped: 0"
    text = render_skipped({"outcome: no decision": 2, "decision: propensity missing": 10})
    assert text.splitlines() == [
        "skipped: 12",
        "  10  decision: propensity missing",
        "   2  outcome: no decision",
    ]
