"""Checks LightGBM's text format before LightGBM reads it.

Its own loader trusts what it reads: a child that is no node, or a size that is not that of its
tree, is read past the end of memory, at once or when a row is scored. What passes here has nodes
and leaves that form one tree, features that exist, and arrays as long as they are said to be.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from router_model.errors import ArtifactError

MAX_BYTES: Final = 256 * 1024 * 1024
MAX_FEATURES: Final = 100_000
MAX_LEAVES: Final = 100_000
END: Final = "end of trees"
_HEADER_KEYS = frozenset(
    (
        *("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx"),
        *("objective", "feature_names", "feature_infos", "tree_sizes"),
    )
)
_PER_NODE = (
    *("split_feature", "split_gain", "decision_type", "left_child", "right_child"),
    *("internal_value", "internal_weight", "internal_count"),
)
_PER_LEAF = ("leaf_value", "leaf_weight", "leaf_count")
_SCALARS = ("num_leaves", "num_cat", "is_linear", "shrinkage")
_TREE_KEYS = frozenset(("threshold", *_PER_NODE, *_PER_LEAF, *_SCALARS))
_NUMBER = r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:e[+-]?[0-9]{1,3})?"
_THRESHOLDS = re.compile(rf"(?:{_NUMBER}|-?inf)(?: (?:{_NUMBER}|-?inf))*")
_NUMBERS = re.compile(rf"(?:{_NUMBER}(?: {_NUMBER})*)?")
_INTEGERS = re.compile(r"(?:-?[0-9]{1,9}(?: -?[0-9]{1,9})*)?")
# A line of the parameters that lacks its colon or its brackets crashes LightGBM too.
_TAIL = re.compile(
    rf"{END}\n\nfeature_importances:\n(?:[^\n=]{{1,200}}=[0-9]{{1,12}}\n)*"
    r"\nparameters:\n(?:\[[a-z0-9_]{1,80}: [\x20-\x5a\x5c\x5e-\x7e]{0,2000}\]\n)*"
    r"\nend of parameters\n(?:\npandas_categorical:(?:null|\[\])\n)?"
)
Integers = NDArray[np.int64]


def check_tree_text(text: str) -> None:
    """ArtifactError that names the first thing which LightGBM did not write.

    >>> check_tree_text("tree\\nversion=v4\\n")
    Traceback (most recent call last):
        ...
    router_model.errors.ArtifactError: trees: the header has no end
    """
    if len(text) > MAX_BYTES:
        raise ArtifactError(f"trees: {len(text)} characters, expected at most {MAX_BYTES}")
    head, blank, _ = text.partition("\n\n")
    if not blank:
        raise ArtifactError("trees: the header has no end")
    n_features, sizes = _header(head)
    start = len(head) + 2
    for number, size in enumerate(sizes):
        block = text[start : start + size]
        start += size
        try:
            _check_tree(block, number, n_features)
        except ArtifactError as error:
            raise ArtifactError(f"trees: tree {number}: {error}") from None
    if not text.startswith(END, start):
        raise ArtifactError(f"trees: tree_sizes do not lead to {END!r}")
    if not _TAIL.fullmatch(text, start):
        raise ArtifactError(f"trees: unexpected lines behind {END!r}")


def _header(head: str) -> tuple[int, Sequence[int]]:
    """Number of features, and the length of each tree's text."""
    first, _, rest = head.partition("\n")
    if first != "tree":
        raise ArtifactError(f"trees: the first line is {first[:20]!r}, expected 'tree'")
    fields = _fields(rest, _HEADER_KEYS)
    for name in ("num_class", "num_tree_per_iteration"):
        if fields.get(name) != "1":
            raise ArtifactError(f"trees: {name}: got {fields.get(name)!r}, expected 1")
    n_features = int(_integers(fields, "max_feature_idx", 1)[0]) + 1
    if not 1 <= n_features <= MAX_FEATURES:
        raise ArtifactError(f"trees: max_feature_idx: got {n_features - 1}")
    for name in ("feature_names", "feature_infos"):
        if (n := len(fields.get(name, "").split(" "))) != n_features:
            raise ArtifactError(f"trees: {name}: got {n}, expected {n_features}")
    sizes = _integers(fields, "tree_sizes", None)
    if (sizes <= 0).any():
        raise ArtifactError("trees: tree_sizes: expected numbers above 0")
    return n_features, sizes.tolist()


def _check_tree(block: str, number: int, n_features: int) -> None:
    title = f"Tree={number}\n"
    # LightGBM counts the blank lines behind a tree as a part of it.
    if not block.startswith(title) or not block.endswith("\n\n"):
        raise ArtifactError("its size in tree_sizes is not that of its text")
    fields = _fields(block[len(title) :].rstrip("\n"), _TREE_KEYS)
    n_leaves = int(_integers(fields, "num_leaves", 1)[0])
    if not 1 <= n_leaves <= MAX_LEAVES:
        raise ArtifactError(f"num_leaves: got {n_leaves}, expected 1 to {MAX_LEAVES}")
    for name in ("num_cat", "is_linear"):
        if fields.get(name, "0") != "0":
            raise ArtifactError(f"{name}: got {fields[name][:20]!r}, expected 0")
    _numbers(fields, "shrinkage", 1)
    _numbers(fields, "leaf_value", n_leaves)
    for name in (*_PER_NODE, *_PER_LEAF):
        if fields.get(name):
            _numbers(fields, name, n_leaves if name in _PER_LEAF else n_leaves - 1)
    if n_leaves > 1:
        _check_nodes(fields, n_leaves - 1, n_features)


def _check_nodes(fields: Mapping[str, str], n: int, n_features: int) -> None:
    """Node i's children are nodes (>= 0) or leaves (~leaf); each but the root has one parent."""
    features = _integers(fields, "split_feature", n)
    if features.min() < 0 or features.max() >= n_features:
        raise ArtifactError(f"split_feature: expected 0 to {n_features - 1}")
    kinds = _integers(fields, "decision_type", n)
    # Bit 0 would be a categorical split, of which there are none; bits 2 and 3 treat missing ones.
    if kinds.min() < 0 or kinds.max() > 10 or (kinds & 1).any():
        raise ArtifactError("decision_type: expected numerical splits")
    # A split may put everything that is a number on one side.
    if not _THRESHOLDS.fullmatch(text := fields.get("threshold", "")) or text.count(" ") != n - 1:
        raise ArtifactError(f"threshold: expected {n} numbers")
    left, right = _integers(fields, "left_child", n), _integers(fields, "right_child", n)
    if sorted((*left.tolist(), *right.tolist())) != [*range(-n - 1, 0), *range(1, n)]:
        raise ArtifactError("left_child, right_child: expected every node and leaf once")
    # LightGBM numbers a node after its parent, so no path can come back to where it was.
    parents = np.arange(n)
    for children in (left, right):
        if (children[children > 0] <= parents[children > 0]).any():
            raise ArtifactError("left_child, right_child: a node stands before its parent")


def _fields(text: str, allowed: frozenset[str]) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        name, equals, value = line.partition("=")
        if not equals or name not in allowed or name in fields:
            raise ArtifactError(f"trees: unexpected line {line[:40]!r}")
        fields[name] = value
    return fields


def _integers(fields: Mapping[str, str], name: str, n: int | None) -> Integers:
    return _numbers(fields, name, n, pattern=_INTEGERS).astype(np.int64)


def _numbers(
    fields: Mapping[str, str], name: str, n: int | None, *, pattern: re.Pattern[str] = _NUMBERS
) -> NDArray[np.float64]:
    text = fields.get(name, "")
    if not pattern.fullmatch(text):
        raise ArtifactError(f"{name}: expected numbers")
    found = np.array(text.split(), dtype=np.float64)
    if n is not None and len(found) != n:
        raise ArtifactError(f"{name}: got {len(found)} numbers, expected {n}")
    if not np.isfinite(found).all():
        raise ArtifactError(f"{name}: expected finite numbers")
    return found
