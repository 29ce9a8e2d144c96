"""Turns a folder of interchange tables into log rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from router_data.contexts import TextEncoder, table_contexts
from router_data.dataset import IMPORT_TENANT
from router_data.import_rows import Row, RowMaker
from router_data.log import SEGMENTS, SegmentWriter
from router_data.logging_policy import LoggingPolicy
from router_data.store import Store
from router_data.tables import read_tables

_BATCH = 200
_KNOWN = "select decision_id, versions.artifact as content from decisions where tenant = ?"
FULL = LoggingPolicy()


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did; `problems` counts what could not be used, by reason.

    `n_known` decisions were in the log already with the same content and were not repeated.
    """

    n_requests: int
    n_decisions: int
    n_outcomes: int
    n_known: int
    problems: Mapping[str, int]


def import_tables(
    folder: Path,
    state: Path,
    *,
    encoder: TextEncoder,
    policy: LoggingPolicy = FULL,
    group_by: str | None = None,
    tenant: str = IMPORT_TENANT,
    progress: bool = True,
) -> ImportReport:
    """Append a folder's requests and outcomes to the log of a state folder.

    With the `full` policy each request is one decision without a chosen model, and all its
    outcomes are logged; with another policy one model is drawn and only its outcome is logged,
    with the propensity. Decision ids are derived from dataset, request id and policy, so
    importing again adds nothing, unless requests, outcomes, features or encoder have changed:
    then the new rows replace the old ones.
    """
    tables = read_tables(folder, group_by=group_by)
    problems = Counter(tables.problems)
    contexts = table_contexts(
        tables.requests, encoder=encoder, problems=problems, progress=progress
    )
    log = state / "log"
    with Store(log) as store:
        known = {row["decision_id"]: row["content"] for row in store.query(_KNOWN, (tenant,))}
    maker = RowMaker(tables, policy=policy, tenant=tenant, encoder=encoder.hash)
    counts: Counter[str] = Counter()
    with SegmentWriter(log / SEGMENTS, "import") as writer:
        batch: list[Row] = []
        steps = tqdm(contexts, desc="import", unit="request", disable=not progress)
        for index, context in enumerate(steps):
            rows = maker.rows(index, context, problems)
            if rows and known.get(rows[-1]["decision_id"]) == rows[-1]["versions"]["artifact"]:
                counts["known"] += 1
                continue
            counts["decisions"] += bool(rows)
            counts["outcomes"] += max(0, len(rows) - 1)
            batch += rows
            if len(batch) >= _BATCH:
                writer.append(batch)
                batch = []
        writer.append(batch)
    return ImportReport(
        len(tables.requests),
        counts["decisions"],
        counts["outcomes"],
        counts["known"],
        dict(problems),
    )
