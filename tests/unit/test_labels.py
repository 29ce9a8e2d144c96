"""Which labels estimates rest on, and how likely each was to be known."""

from dataclasses import replace

import numpy as np
import pytest
from logged_samples import uniform_log, without_outcomes

from router_data.logged import Evidence, LoggedDecisions
from router_model.errors import DatasetError
from router_training.labels import MIN_VERDICTS, labels_of
from router_training.missingness import MIN_P_OBSERVED
from router_training.reward_model import groups_of

N = 2_000
LOG = uniform_log(N)


def judged_by(evidence: Evidence, *, every: int, log: LoggedDecisions = LOG) -> LoggedDecisions:
    """The log with every n-th label resting on other evidence."""
    is_other = np.arange(log.n) % every == 0
    return replace(log, evidence=np.where(is_other, evidence, log.evidence))


def test_verdicts_on_everything_are_taken_as_they_are() -> None:
    labels = labels_of(LOG, groups_of(LOG))
    assert labels.rests_on_verdicts
    np.testing.assert_array_equal(labels.logged.adequate, LOG.adequate)
    np.testing.assert_array_equal(labels.observation.weight, np.ones(N))


def test_with_enough_verdicts_weak_signals_are_set_aside() -> None:
    log = judged_by(Evidence.SIGNAL, every=2)
    labels = labels_of(log, groups_of(log))
    assert labels.n_set_aside == N // 2
    is_weak = log.evidence == Evidence.SIGNAL
    assert np.isnan(labels.logged.adequate[is_weak]).all()
    assert (labels.observation.weight[is_weak] == 0).all()
    assert labels.observation.weight.sum() == pytest.approx(N, rel=0.02)


def test_with_few_verdicts_every_label_counts() -> None:
    log = replace(LOG, evidence=np.full(N, Evidence.SIGNAL))
    log.evidence[: MIN_VERDICTS - 1] = Evidence.VERDICT
    labels = labels_of(log, groups_of(log))
    assert not labels.rests_on_verdicts
    assert labels.n_set_aside == 0
    np.testing.assert_array_equal(labels.logged.adequate, LOG.adequate)


def test_a_fact_is_as_likely_known_as_a_report_and_a_verdict_less() -> None:
    never = np.arange(N) % 4 == 0
    log = without_outcomes(LOG, never)
    # Of the reports, a third are facts; of the others, half have a verdict.
    place = np.arange(N) % 12
    log.evidence[~never & (place % 3 == 0)] = Evidence.FACT
    silent = ~never & (place % 3 != 0) & (np.arange(N) // 12 % 2 == 0)
    log.evidence[silent] = Evidence.REPORTED
    log = replace(log, adequate=np.where(silent, np.nan, log.adequate))
    weight = labels_of(log, groups_of(log)).observation.weight
    assert weight[log.evidence == Evidence.FACT].mean() == pytest.approx(4 / 3, rel=0.05)
    assert weight[log.evidence == Evidence.VERDICT].mean() == pytest.approx(8 / 3, rel=0.05)
    assert (weight[silent | never] == 0).all()


def test_signals_say_how_likely_a_verdict_was() -> None:
    rng = np.random.default_rng(0)
    warned = rng.random(N) < 0.4
    has_verdict = rng.random(N) < np.where(warned, 0.8, 0.2)
    log = replace(
        LOG,
        signal=np.where(warned, -0.8, 0.0),
        evidence=np.where(has_verdict, Evidence.VERDICT, Evidence.REPORTED),
        adequate=np.where(has_verdict, LOG.adequate, np.nan),
    )
    p = labels_of(log, groups_of(log)).observation.p_observed
    assert p[warned].mean() == pytest.approx(0.8, abs=0.04)
    assert p[~warned].mean() == pytest.approx(0.2, abs=0.04)


def test_what_needs_a_cost_too_is_as_likely_as_both() -> None:
    labels = labels_of(LOG, groups_of(LOG))
    has_cost = np.random.default_rng(1).random(N) < 0.5
    both = labels.known_with(has_cost, groups_of(LOG), seed=0)
    assert both.n_observed == has_cost.sum()
    assert both.p_observed.mean() == pytest.approx(0.5, abs=0.03)
    assert (both.p_observed >= MIN_P_OBSERVED).all()
    assert (both.weight[~has_cost] == 0).all()


def test_a_log_without_labels_is_an_error() -> None:
    log = without_outcomes(LOG, np.ones(N, dtype=bool))
    with pytest.raises(DatasetError, match="none of 2000 was observed"):
        labels_of(log, groups_of(log))
