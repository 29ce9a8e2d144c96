"""Reads a folder of interchange tables: `requests.parquet` and `outcomes.parquet`.

Both files come from many sources, so columns are found by a list of known names and may be
missing, and a cell that makes no sense is counted in `Tables.problems` with its reason, never
dropped in silence. Values that can't be used become "not observed"; rows are left out only
when they name no known request or no model.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from router_data.outcome_table import TableOutcomes, read_outcomes
from router_data.request_table import TableRequest, read_requests
from router_model.errors import DatasetError

__all__ = ["TableOutcomes", "TableRequest", "Tables", "read_tables"]


@dataclass(frozen=True, slots=True)
class Tables:
    """A folder's requests and outcomes; `problems` counts what could not be used, by reason."""

    requests: tuple[TableRequest, ...]
    outcomes: TableOutcomes
    problems: Mapping[str, int]


def read_tables(folder: Path, *, group_by: str | None = None) -> Tables:
    """The tables of a folder.

    `group_by` names a column of `requests.parquet`, or `metadata.KEY`; requests with the same
    value belong together and are never split between training and test. Without it a column
    `group` is used, else requests with the same messages and tools form a group.
    """
    problems: Counter[str] = Counter()
    requests = read_requests(folder, group_by=group_by, problems=problems)
    if not requests:
        raise DatasetError(f"{folder / 'requests.parquet'}: no usable request: {dict(problems)}")
    outcomes = read_outcomes(folder, requests, problems=problems)
    return Tables(tuple(requests), outcomes, dict(problems))
