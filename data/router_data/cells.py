"""How a cell of an interchange table is read, and how an unusable one is counted."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router_data.store import quoted
from router_model.errors import DatasetError

# What table writers put where there is nothing, in lower case.
_NOTHING = frozenset({"", "nan", "none", "null", "<na>"})


def as_text(name: str, kind: str) -> str:
    """SQL that gives a column as text; nested values become JSON."""
    column = quoted(name)
    if kind in ("DOUBLE", "FLOAT"):  # ids 1, 2, null are often stored as 1.0, 2.0, NaN
        whole = f"try_cast({column} as bigint)"
        return f"case when {whole} = {column} then {whole}::varchar else {column}::varchar end"
    is_nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP"))
    return f"to_json({column})::varchar" if is_nested else f"{column}::varchar"


def as_number(name: str, kind: str) -> str:
    """SQL that gives a column as double, NULL where it is no number; booleans are 0 and 1."""
    column = quoted(name)
    if kind == "BOOLEAN":
        return f"{column}::int::double"
    if kind == "VARCHAR":
        return f"coalesce(try_cast({column} as double), try_cast({column} as boolean)::int::double)"
    return f"try_cast({column} as double)"


def cell(value: object) -> str | None:
    """A cell's text; None for a missing one, however its writer spelled that.

    >>> cell("NaN") is None, cell("x")
    (True, 'x')
    """
    text = None if value is None else str(value)
    return None if text is None or text.strip().lower() in _NOTHING else text


def count(problems: Counter[str], reason: str, mask: NDArray[np.bool_]) -> None:
    """Add the number of true entries of `mask` to `problems` under `reason`."""
    if n := int(mask.sum()):
        problems[reason] += n


def existing(folder: Path, name: str) -> Path:
    """The path of a table that must be there."""
    path = folder / name
    if not path.is_file():
        raise DatasetError(f"{path}: not found; expected requests.parquet and outcomes.parquet")
    return path


def require(path: Path, types: Mapping[str, str], *names: str) -> None:
    """Raise when a column is missing."""
    for name in names:
        if name not in types:
            raise DatasetError(f"{path}: no column {name} among {', '.join(types)}")
