"""LightGBM trees scored for one context and all models of a catalog at once.

Rows that are scored together share the columns of their context; those that tell of models are
known when a catalog is bound. So each split is judged once for a context, or once for a catalog,
and not once a row. A tree's leaves are bits, from left to right; a split that sends a row to the
right strikes out the leaves on its left, and the first leaf that is left is the row's (QuickScorer,
Lucchese et al., SIGIR 2015). The trees' values are added in their order, as LightGBM adds them: the
sums are equal to the last bit.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final, Self

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bits = NDArray[np.uint64]
Places = NDArray[np.intp]
# As many leaves as a word has bits.
MAX_LEAVES: Final = 64
_ALL: Final = np.uint64(2**64 - 1)
_ONE: Final = np.uint64(1)
_DEFAULT_LEFT: Final = 2
_NO_END: Final = 2**31
# What a split does with values that are missing, from bit 2 on: as 0, never, or NaN on their own.
_NONE_MISSING, _NAN_MISSING = 0, 2


class Splits(Struct, frozen=True):
    """Splits of all trees, in the trees' order: value <= threshold goes left.

    `kept` are the leaves that a row which goes right may still reach, `nan_left` says where NaN
    goes. In front of each tree's splits stands one that strikes nothing out, at `starts`.
    """

    feature: Places
    threshold: Floats
    kept: Bits
    nan_left: NDArray[np.bool_]
    starts: Places

    def reach(self, columns: Floats) -> Bits:
        """The leaves of each tree that rows can reach: (n_trees,) of (n,), or one a row of many."""
        values = columns.take(self.feature, axis=-1)
        goes_left = values <= self.threshold
        if np.isnan(columns).any():
            goes_left = np.where(np.isnan(values), self.nan_left, goes_left)
        reached = np.where(goes_left, _ALL, self.kept)
        return np.asarray(np.bitwise_and.reduceat(reached, self.starts, axis=-1))


class Forest(Struct, frozen=True):
    """The splits by what they look at, with the values of all leaves, tree by tree.

    Columns from `n_context` on tell of models; `model_splits` count from there.
    `before_first_leaf`, shape (n_trees, 1), is the place before each tree's first value.
    """

    context_splits: Splits
    model_splits: Splits
    leaf_values: Floats
    before_first_leaf: Places

    @classmethod
    def of(cls, text: str, *, n_context: int) -> Self | None:
        """The trees of LightGBM's text format, checked before (`tree_text`).

        None for trees of another kind than is scored here: with too many leaves, or splits that
        take 0 for missing.
        """
        blocks = text.partition("\n\n")[2].split("Tree=")[1:]
        trees = [tree for block in blocks if (tree := _tree(block)) is not None]
        if not trees or len(trees) < len(blocks):
            return None
        sizes = np.array([len(tree.leaf_values) for tree in trees])
        return cls(
            context_splits=_splits(trees, 0, n_context),
            model_splits=_splits(trees, n_context, _NO_END),
            leaf_values=np.concatenate([tree.leaf_values for tree in trees]),
            before_first_leaf=(np.cumsum(sizes) - sizes - 1)[:, None],
        )

    def bind(self, model_columns: Floats) -> "BoundForest":
        """The forest for models with these columns, shape (n_models, d)."""
        return BoundForest(self, np.ascontiguousarray(self.model_splits.reach(model_columns).T))


class BoundForest(Struct, frozen=True):
    """A forest with the leaves that each model can reach, shape (n_trees, n_models)."""

    forest: Forest
    reachable: Bits

    def score(self, context_columns: Floats, only: slice | Places) -> Floats:
        """Raw score of one context, shape (n_context,), with the models at these positions."""
        forest = self.forest
        left = self.reachable[:, only] & forest.context_splits.reach(context_columns)[:, None]
        # The first leaf that is left, and the bits below it.
        n_bits = np.bitwise_count(left ^ (left - _ONE))
        values = forest.leaf_values.take(n_bits + forest.before_first_leaf)
        if values.shape[1] == 1:  # which np.sum would add pairwise, in another order than several
            return np.asarray(np.cumsum(values, axis=0)[-1])
        return np.asarray(values.sum(axis=0))


class _Tree(Struct, frozen=True):
    """One tree: its splits with the leaves that each keeps, and the leaves' values in order."""

    feature: Places
    threshold: Floats
    kept: Bits
    nan_left: NDArray[np.bool_]
    leaf_values: Floats


def _tree(block: str) -> _Tree | None:
    """The tree of a block of the text; None if it is not one that is scored here."""
    fields = dict(line.split("=", 1) for line in block.splitlines()[1:] if "=" in line)
    values = np.array([*map(float, fields["leaf_value"].split())])
    if len(values) > MAX_LEAVES:
        return None
    if len(values) == 1:
        none = np.zeros(0)
        return _Tree(none.astype(np.intp), none, none.astype(np.uint64), none.astype(bool), values)
    kinds = np.array([*map(int, fields["decision_type"].split())])
    missing = kinds >> 2
    if not np.isin(missing, (_NONE_MISSING, _NAN_MISSING)).all():
        return None
    threshold = np.array([*map(float, fields["threshold"].split())])
    left, right = fields["left_child"].split(), fields["right_child"].split()
    kept, order = _kept_leaves([*map(int, left)], [*map(int, right)])
    return _Tree(
        feature=np.array([*map(int, fields["split_feature"].split())], dtype=np.intp),
        threshold=threshold,
        kept=np.array(kept, dtype=np.uint64),
        # Without a way of its own, NaN goes where 0 does.
        nan_left=np.where(missing == _NAN_MISSING, kinds & _DEFAULT_LEFT != 0, threshold >= 0.0),
        leaf_values=values[order],
    )


def _kept_leaves(left: Sequence[int], right: Sequence[int]) -> tuple[list[int], list[int]]:
    """The leaves that remain beyond each node's right turn, as bits, and the leaves in order.

    A child below 0 is the leaf ~child; a node stands behind its parent.
    """
    n = len(left)
    n_leaves = [0] * n

    def width(child: int) -> int:
        return 1 if child < 0 else n_leaves[child]

    for node in range(n - 1, -1, -1):
        n_leaves[node] = width(left[node]) + width(right[node])
    first, order = [0] * n, [0] * (n + 1)
    kept = []
    for node in range(n):
        on_left = width(left[node])
        for child, start in ((left[node], first[node]), (right[node], first[node] + on_left)):
            if child < 0:
                order[start] = ~child
            else:
                first[child] = start
        kept.append(int(_ALL) ^ (((1 << on_left) - 1) << first[node]))
    return kept, order


def _splits(trees: Sequence[_Tree], first: int, end: int) -> Splits:
    """The splits of all trees that look at columns `first` to `end`."""
    here = [(tree.feature >= first) & (tree.feature < end) for tree in trees]
    read = list(zip(trees, here, strict=True))
    widths = [1 + int(chosen.sum()) for chosen in here]
    return Splits(
        feature=np.concatenate([np.append(0, t.feature[h] - first) for t, h in read]),
        threshold=np.concatenate([np.append(0.0, t.threshold[h]) for t, h in read]),
        kept=np.concatenate([np.append(_ALL, t.kept[h]) for t, h in read]),
        nan_left=np.concatenate([np.append(True, t.nan_left[h]) for t, h in read]),
        starts=np.array([0, *accumulate(widths[:-1])], dtype=np.intp),
    )
