"""How much a tool call has to get right, as one number from the features of the offered tools."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from router_model.features import SCHEMA
from router_model.heads import Floats

_COMPLEXITY_PARTS: Final = (
    "n_properties_max",
    "n_enums",
    "n_unions",
    "n_nested_arrays",
    "n_nested_objects",
)
_DEPTH = SCHEMA.index("schema_depth_max")
_PARTS = np.array([SCHEMA.index(name) for name in _COMPLEXITY_PARTS])
_REQUIRED = SCHEMA.index("n_required")


def schema_complexity(values: NDArray[np.floating]) -> float:
    """How much a tool call has to get right: 0 without tools, about 3 to 12 for agents' tools.

    Deepest nesting + log2(1 + properties of the largest tool + the nested, enumerated and
    alternative ones of all) + log2(1 + required ones) / 2. `values` are those of the feature
    schema, shape (n_features,).
    """
    return float(schema_complexities(np.asarray(values)[None, :])[0])


def schema_complexities(values: NDArray[np.floating]) -> Floats:
    """`schema_complexity` of each row of (n, n_features)."""
    table = np.asarray(values, np.float64)
    parts = np.log2(1.0 + table[:, _PARTS].sum(axis=1))
    found: Floats = table[:, _DEPTH] + parts + 0.5 * np.log2(1.0 + table[:, _REQUIRED])
    return found
