"""How well held-out probabilities match what happened."""

import numpy as np

from router_data.rounds import Rounds
from router_training import estimates
from router_training.intervals import Resampling
from router_training.matrix import Floats
from router_training.metrics import auc_score, bin_index, expected_calibration_loss, log_loss
from router_training.report import Bin, Calibration


def calibration_of(rounds: Rounds, p_all: Floats, *, resampling: Resampling) -> Calibration:
    """Calibration over every observed cell, models left out of the policies included.

    The outcome is the reward, which is what the predictor is fitted to: a fraction counts as
    that share of an adequate answer.
    """
    adequate = rounds.matrix("reward")
    observed = np.isfinite(adequate) & np.isfinite(p_all)
    y, p = adequate[observed], np.clip(p_all[observed], 0.0, 1.0)
    context = np.nonzero(observed)[0]
    groups = rounds.group[context].astype(str)
    within = [
        auc_score(adequate[seen, i], p_all[seen, i])
        for i, seen in enumerate(observed.T)
        if seen.any()
    ]
    finite = [value for value in within if np.isfinite(value)]
    return Calibration(
        n_cells=len(y),
        calibration_loss=estimates.calibration_loss(y, p, groups, resampling=resampling),
        calibration_loss_equal_width=expected_calibration_loss(y, p, bins="width"),
        brier_loss=estimates.brier(y, p, groups, resampling=resampling),
        log_loss=log_loss(y, p),
        auc=estimates.auc(y, p, groups, resampling=resampling),
        auc_within_model=float(np.mean(finite)) if finite else float("nan"),
        bins=_bins(y, p),
    )


def _bins(y: Floats, p: Floats) -> tuple[Bin, ...]:
    index = bin_index(p)
    return tuple(
        Bin(
            n=int((index == i).sum()),
            mean_p=float(p[index == i].mean()),
            mean_adequate=float(y[index == i].mean()),
        )
        for i in np.unique(index)
    )
