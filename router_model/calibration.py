"""Map from a raw score to a probability that matches frequencies.

Every calibration is a rising piecewise-linear map of log-odds, kept as knots: two knots are
Platt's sigmoid (1999), many an isotonic fit (Zadrozny and Elkan, 2002). Rising strictly, it never
turns two scores into a tie and never changes their order.
"""

from typing import Self

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from router_model.errors import ArtifactError

Floats = NDArray[np.float64]


class Calibration(Struct, frozen=True):
    """Knots of the map, both tuples strictly rising; lines beyond the ends are continued."""

    raw: tuple[float, ...]
    calibrated: tuple[float, ...]

    @classmethod
    def identity(cls) -> Self:
        """The map that changes nothing."""
        return cls((-1.0, 1.0), (-1.0, 1.0))

    def check(self) -> None:
        """ArtifactError unless this is a strictly rising map of at least two knots."""
        rises = (np.diff(knots) > 0 for knots in (self.raw, self.calibrated))
        if len(self.raw) != len(self.calibrated) or len(self.raw) < 2:
            raise ArtifactError("calibration: needs two or more knots, as many raw as calibrated")
        if not np.isfinite([self.raw, self.calibrated]).all():
            raise ArtifactError("calibration: the knots must be finite and rise strictly")
        if not all(bool(np.all(rise)) for rise in rises):
            raise ArtifactError("calibration: the knots must rise strictly")

    def logit(self, raw: Floats) -> Floats:
        """Calibrated log-odds, same shape.

        >>> Calibration((0.0, 1.0), (0.0, 0.5)).logit(np.array([-2.0, 0.5, 4.0]))
        array([-1.  ,  0.25,  2.  ])
        """
        x, y = np.asarray(self.raw), np.asarray(self.calibrated)
        found = np.asarray(np.interp(raw, x, y))
        if (is_below := raw < x[0]).any():
            below = y[0] + (raw - x[0]) * (y[1] - y[0]) / (x[1] - x[0])
            found = np.where(is_below, below, found)
        if (is_above := raw > x[-1]).any():
            above = y[-1] + (raw - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2])
            found = np.where(is_above, above, found)
        return found

    def raw_of(self, calibrated: Floats) -> Floats:
        """The raw log-odds of calibrated ones: the inverse map.

        >>> Calibration((0.0, 1.0), (0.0, 0.5)).raw_of(np.array([0.25]))
        array([0.5])
        """
        return Calibration(self.calibrated, self.raw).logit(calibrated)

    def probability(self, raw: Floats, *, shift: Floats | None = None) -> Floats:
        """Calibrated probability of each raw log-odds, same shape.

        `shift` is added to the calibrated log-odds: how a tenant departs from everybody.

        >>> Calibration.identity().probability(np.array([0.0])).item()
        0.5
        """
        log_odds = self.logit(raw)
        return sigmoid(log_odds if shift is None else log_odds + shift)


def sigmoid(x: Floats) -> Floats:
    """Logistic function, stable for large arguments."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, e) / (1.0 + e))
