"""Percentiles and slopes of what was measured."""

from collections.abc import Sequence

import numpy as np


def quantile(values: Sequence[float], q: float) -> float | str:
    """The quantile, rounded to four digits; "none" of nothing.

    >>> quantile([1.0, 2.0, 3.0], 0.5)
    2.0
    """
    return float(f"{np.quantile(values, q):.4g}") if len(values) else "none"


def slope(times_s: Sequence[float], values: Sequence[float]) -> float:
    """Least-squares growth per minute; 0 of fewer than two values.

    >>> round(slope([0.0, 60.0, 120.0], [5.0, 6.0, 7.0]), 6)
    1.0
    """
    if len(values) < 2:
        return 0.0
    return float(np.polyfit(np.asarray(times_s) / 60, np.asarray(values, dtype=float), 1)[0])
