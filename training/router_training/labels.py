"""Which labels of a log off-policy estimates rest on, and how likely each was to be known.

Weak signals are mostly bad news (a retry, a correction), so a log that is judged by them looks
worse than it is: good answers stay without a label. Where there are enough verdicts and rewards,
estimates rest on these and on facts (errors and invalid tool calls, which every report shows),
and a signal only says how likely it was that a verdict came:

    P(verdict known) = P(reported | x, a) x P(verdict | x, a, signals, reported, no fact)
    P(fact known)    = P(reported | x, a)

Both are cross-fitted logistic regressions; the inverse is the label's weight (inverse probability
weighting with auxiliary variables: Robins, Rotnitzky and Zhao 1994). It restores the whole when
whether a verdict came depends on nothing but these. With fewer verdicts, every label counts.
"""

from dataclasses import replace

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_data.logged import Evidence, LoggedDecisions
from router_training.missingness import MIN_P_OBSERVED, Observation, observation_model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MIN_VERDICTS = 100
"""Fewest verdicts that estimates rest on alone; fewer say less than weak signals do."""


class Labels(Struct, frozen=True, kw_only=True):
    """A log whose `adequate` holds only what estimates rest on, and how likely that was known.

    `n_set_aside` decisions have a label by weak signals that is not used.
    """

    logged: LoggedDecisions
    observation: Observation
    rests_on_verdicts: bool
    n_set_aside: int

    def known_with(self, is_known: Bools, groups: Ints, *, seed: int) -> Observation:
        """The observation of what needs a label and more, `is_known` where both are there.

        The label's weight times that of the rest being known where the label is.
        """
        label = self.observation
        has_label = label.weight > 0
        rest = np.ones(len(is_known))
        if (has_label & ~is_known).any():
            logged = self.logged
            rest[has_label] = observation_model(
                logged.features[has_label],
                logged.action[has_label],
                is_known[has_label],
                groups[has_label],
                seed=seed,
            ).p_observed
        return _observation(label.p_observed * rest, is_known)


def labels_of(logged: LoggedDecisions, groups: Ints, *, seed: int = 0) -> Labels:
    """The labels of a log; DatasetError when it has none."""
    is_verdict = logged.evidence == Evidence.VERDICT
    is_known = np.isfinite(logged.adequate)
    is_weak = is_known & (logged.evidence == Evidence.SIGNAL)
    if is_verdict.sum() < MIN_VERDICTS or not is_weak.any():
        n_set_aside, used = 0, is_known
    else:
        n_set_aside, used = int(is_weak.sum()), is_known & ~is_weak
    rests_on_verdicts = bool(is_verdict.sum() >= MIN_VERDICTS)
    if rests_on_verdicts:
        observation = _of_verdicts(logged, used, groups, seed=seed)
    else:
        observation = observation_model(logged.features, logged.action, used, groups, seed=seed)
    chosen = replace(
        logged,
        adequate=np.where(used, logged.adequate, np.nan),
        reward=np.where(used, logged.reward, np.nan),
        # A fact is always seen and a verdict seldom: as they stand, facts would be too many.
        weight=np.where(used, observation.weight * _sureness(logged), np.nan),
    )
    return Labels(
        logged=chosen,
        observation=observation,
        rests_on_verdicts=rests_on_verdicts,
        n_set_aside=n_set_aside,
    )


def _of_verdicts(logged: LoggedDecisions, used: Bools, groups: Ints, *, seed: int) -> Observation:
    reported = logged.evidence >= Evidence.REPORTED
    p = observation_model(
        logged.features, logged.action, reported, groups, seed=seed
    ).p_observed.copy()
    open_to_verdicts = reported & (logged.evidence != Evidence.FACT)
    rows = np.flatnonzero(open_to_verdicts)
    signal = logged.signal[rows]
    covariates = np.column_stack(
        [logged.features[rows], np.maximum(signal, 0), np.minimum(signal, 0), signal == 0]
    )
    given = observation_model(covariates, logged.action[rows], used[rows], groups[rows], seed=seed)
    p[rows] *= given.p_observed
    return _observation(p, used)


def _observation(p: Floats, is_known: Bools) -> Observation:
    clipped = np.clip(p, MIN_P_OBSERVED, 1.0)
    return Observation(
        weight=np.where(is_known, 1.0 / clipped, 0.0),
        p_observed=clipped,
        n_observed=int(is_known.sum()),
        n_clipped=int((is_known & (p < MIN_P_OBSERVED)).sum()),
    )


def _sureness(logged: LoggedDecisions) -> Floats:
    return np.nan_to_num(logged.weight, nan=1.0)
