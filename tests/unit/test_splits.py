"""Splits keep groups and sessions whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_model.errors import DatasetError
from router_training.splits import grouped_folds, linked_units, time_split

groups_of = st.lists(st.integers(0, 12), min_size=2, max_size=60).filter(lambda g: len(set(g)) > 1)


@given(groups_of, st.integers(2, 6), st.integers(0, 5))
def test_a_group_is_never_in_two_folds(groups: list[int], n_folds: int, seed: int) -> None:
    folds = grouped_folds(groups, n_folds=n_folds, seed=seed)
    for group in set(groups):
        assert len({f for f, g in zip(folds.tolist(), groups, strict=True) if g == group}) == 1
    assert set(folds.tolist()) == set(range(min(n_folds, len(set(groups)))))


def test_folds_of_single_contexts_are_equally_large() -> None:
    sizes = np.bincount(grouped_folds(np.arange(103), n_folds=5))
    assert sizes.max() - sizes.min() <= 1


def test_zero_folds_leave_one_group_out_at_a_time() -> None:
    assert grouped_folds(["a", "b", "a", "c"], n_folds=0).tolist() == [0, 1, 0, 2]


def test_folds_are_the_same_for_the_same_seed() -> None:
    groups = np.arange(40)
    first = grouped_folds(groups, n_folds=4, seed=1)
    assert first.tolist() == grouped_folds(groups, n_folds=4, seed=1).tolist()
    assert first.tolist() != grouped_folds(groups, n_folds=4, seed=2).tolist()


def test_one_group_can_not_be_held_out() -> None:
    with pytest.raises(DatasetError, match="group: got 1 distinct values, expected at least 2"):
        grouped_folds(["a", "a"], n_folds=5)


def test_the_latest_contexts_are_tested_and_those_before_calibrate() -> None:
    ts = np.arange(100)[::-1]
    names = [f"s{i}" for i in range(100)]
    split = time_split(ts, session=names, group=names, calibration_share=0.15, test_share=0.2)
    assert [int(part.sum()) for part in (split.train, split.calibrate, split.test)] == [65, 15, 20]
    assert ts[split.train].max() < ts[split.calibrate].min()
    assert ts[split.calibrate].max() < ts[split.test].min()


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 15), st.integers(0, 15)),
        min_size=8,
        max_size=60,
    )
)
def test_no_session_or_group_is_on_two_sides_and_training_is_never_later(
    rows: list[tuple[int, int, int]],
) -> None:
    ts, session, group = (np.array(column) for column in zip(*rows, strict=True))
    if linked_units(session, group).max() < 2:
        return
    split = time_split(ts, session=session, group=group, calibration_share=0.2, test_share=0.2)
    parts = np.stack([split.train, split.calibrate, split.test])
    assert (parts.sum(axis=0) == 1).all()
    assert parts.any(axis=1).all()
    for names in (session, group):
        for name in set(names.tolist()):
            assert (parts[:, names == name].any(axis=1)).sum() == 1
    assert ts[split.train].max() <= ts[split.test].max()


def test_equal_times_are_still_split() -> None:
    names = [f"s{i}" for i in range(50)]
    split = time_split(
        np.zeros(50), session=names, group=names, calibration_share=0.2, test_share=0.2
    )
    assert [int(p.sum()) for p in (split.train, split.calibrate, split.test)] == [30, 10, 10]


def test_too_few_independent_units_are_an_error_that_counts_them() -> None:
    with pytest.raises(DatasetError, match="got 1 independent units in 6 requests"):
        time_split(
            np.arange(6),
            session=["s"] * 6,
            group=list("abcdef"),
            calibration_share=0.2,
            test_share=0.2,
        )


def test_missing_names_link_nothing() -> None:
    assert linked_units(np.array(["", ""]), np.array(["", ""])).tolist() == [0, 1]
