"""Turns masked columns of a query's answer into plain arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def plain(values: "np.ma.MaskedArray[Any, np.dtype[Any]]") -> NDArray[Any]:
    """The values, NaN for a missing number and None for a missing text.

    >>> plain(np.ma.masked_array([1, 2], mask=[False, True]))
    array([ 1., nan])
    """
    missing = np.ma.getmaskarray(values)
    found: NDArray[Any] = np.asarray(values.data)
    if not missing.any():
        return found
    if found.dtype != object:
        found = found.astype(np.float64)
    found = found.copy()
    found[missing] = None if found.dtype == object else np.nan
    return found
