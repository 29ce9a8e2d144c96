"""Splits that never put a group, or a session, on both sides."""

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from router_model.errors import DatasetError

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class TimeSplit(Struct, frozen=True):
    """Masks of the oldest, the later and the latest contexts."""

    train: Bools
    calibrate: Bools
    test: Bools


def grouped_folds(groups: ArrayLike, *, n_folds: int, seed: int = 0) -> Ints:
    """Fold number of every context; groups are whole and folds about equally large.

    `n_folds` 0 leaves one group out at a time. Fewer groups than folds means a fold per group.
    Raises DatasetError when there is only one group.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    index = index.reshape(-1)
    if len(names) < 2:
        raise DatasetError(
            f"group: got {len(names)} distinct values, expected at least 2 to hold some out"
        )
    if n_folds == 0 or n_folds >= len(names):
        return index.astype(np.int64)
    sizes = np.bincount(index)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of_group = np.empty(len(names), dtype=np.int64)
    load = np.zeros(n_folds, dtype=np.int64)
    for group in order:
        smallest = int(np.argmin(load))
        fold_of_group[group] = smallest
        load[smallest] += sizes[group]
    return np.asarray(fold_of_group[index])


def time_split(
    ts_ms: ArrayLike,
    *,
    session: ArrayLike,
    group: ArrayLike,
    calibration_share: float,
    test_share: float,
    seed: int = 0,
) -> TimeSplit:
    """Oldest contexts to train on, later ones to calibrate, the latest to test.

    Contexts that share a session or a group stay together, at the place of their latest one, so
    nothing in a later part has a relative in an earlier one. Equal times are ordered by `seed`.
    """
    times = np.asarray(ts_ms, dtype=np.int64)
    unit = linked_units(np.asarray(session), np.asarray(group))
    n_units = int(unit.max()) + 1 if len(unit) else 0
    if n_units < 3:
        raise DatasetError(
            f"session, group: got {n_units} independent units in {len(times)} requests, expected "
            "at least 3 to train, calibrate and test on different ones"
        )
    latest = np.full(n_units, np.iinfo(np.int64).min)
    np.maximum.at(latest, unit, times)
    order = np.lexsort((np.random.default_rng(seed).random(n_units), latest))
    ends = np.cumsum(np.bincount(unit)[order]) / len(times)
    part = np.digitize(ends, [1 - test_share - calibration_share, 1 - test_share], right=True)
    part[0], part[-1] = 0, 2
    if not (part == 1).any():
        part[-2] = 1
    part_of_unit = np.empty(n_units, dtype=np.int64)
    part_of_unit[order] = part
    parts = part_of_unit[unit]
    return TimeSplit(parts == 0, parts == 1, parts == 2)


def linked_units(session: NDArray[np.generic], group: NDArray[np.generic]) -> Ints:
    """Number of the unit of every context: contexts sharing a session or a group, transitively.

    An empty or missing name links nothing.

    >>> linked_units(np.array(["a", "a", "b", ""]), np.array(["x", "y", "y", ""]))
    array([0, 0, 0, 1])
    """
    parent = list(range(len(session)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for names in (session, group):
        first: dict[object, int] = {}
        for i, name in enumerate(names.tolist()):
            if name is not None and name != "":
                parent[root(i)] = root(first.setdefault(name, i))
    roots = [root(i) for i in range(len(parent))]
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(r, len(numbers)) for r in roots], dtype=np.int64)
