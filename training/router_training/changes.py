"""Changes of rates and ratios between two samples of sessions, with intervals."""

import math
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.stats import t as student

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Reading = Literal["ok", "warning", "alarm", "too few"]
_ALONE = 0.05


class Ratio(Struct, frozen=True):
    """sum a / sum b with its standard error; `n` rows of `n_sessions` sessions."""

    value: float
    standard_error: float
    n: int
    n_sessions: int


class Change(Struct, frozen=True, kw_only=True):
    """How one quantity of the log has moved from the reference to the window.

    `low` and `high` enclose `change` with the level that all comparisons share; `threshold` is
    the least change that matters.
    """

    family: str
    name: str
    reference: float
    window: float
    change: float
    low: float
    high: float
    n_reference: int
    n_window: int
    threshold: float
    reading: Reading


def ratio_of(top: Floats, bottom: Floats, sessions: Ints, *, is_rate: bool = False) -> Ratio:
    """The ratio of two sums, with a standard error that takes sessions as drawn.

    Linearised: V = C / (C - 1) sum over C sessions of (sum of a - r b)^2 / (sum b)^2. A rate is
    given at least the variance of p (1 - p) / n with p = (1 + sum a) / (2 + sum b) (Agresti and
    Coull 1998), n being Kish's effective size: none of twenty is not surely none. NaN for no rows.

    >>> ratio_of(np.array([1.0, 0.0]), np.ones(2), np.arange(2)).value
    0.5
    """
    n_sessions = len(np.unique(sessions))
    total = bottom.sum()
    if total <= 0:
        return Ratio(math.nan, math.nan, len(top), n_sessions)
    value = float(top.sum() / total)
    _, place = np.unique(sessions, return_inverse=True)
    residual = np.bincount(place, weights=top - value * bottom)
    variance = n_sessions / max(1, n_sessions - 1) * float((residual**2).sum()) / total**2
    if is_rate:
        n_effective = total**2 / float((bottom**2).sum())
        p = (1 + value * n_effective) / (2 + n_effective)
        variance = max(variance, p * (1 - p) / n_effective)
    return Ratio(value, math.sqrt(variance), len(top), n_sessions)


def change_between(
    reference: Ratio,
    window: Ratio,
    *,
    family: str,
    name: str,
    threshold: float,
    level: float,
    min_n: int = 30,
) -> Change:
    """The difference window - reference; an alarm when surely not zero and at least `threshold`.

    The interval is Student's with one degree of freedom less than the smaller number of
    sessions. A change of the threshold's size is a warning when it would be significant at 5%
    were it the only comparison.
    """
    change = window.value - reference.value
    error = math.hypot(reference.standard_error, window.standard_error)
    freedom = max(1, min(reference.n_sessions, window.n_sessions) - 1)
    half, alone = (float(student.isf(tail / 2, freedom)) * error for tail in (level, _ALONE))
    reading: Reading = "ok"
    if min(reference.n, window.n) < min_n or not math.isfinite(change):
        reading = "too few"
    elif abs(change) >= threshold and abs(change) > min(half, alone):
        reading = "alarm" if abs(change) > half else "warning"
    return Change(
        family=family,
        name=name,
        reference=reference.value,
        window=window.value,
        change=change,
        low=change - half,
        high=change + half,
        n_reference=reference.n,
        n_window=window.n,
        threshold=threshold,
        reading=reading,
    )


def logarithm(ratio: Ratio) -> Ratio:
    """The logarithm of a positive ratio, its error by the delta method: se / r.

    >>> logarithm(Ratio(1.0, 0.5, 9, 9))
    Ratio(value=0.0, standard_error=0.5, n=9, n_sessions=9)
    """
    if not ratio.value > 0:
        return Ratio(math.nan, math.nan, ratio.n, ratio.n_sessions)
    error = ratio.standard_error / ratio.value
    return Ratio(math.log(ratio.value), error, ratio.n, ratio.n_sessions)
