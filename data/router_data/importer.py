"""Turns a folder of interchange tables into log rows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from router_data.contexts import TextEncoder, table_contexts
from router_data.dataset import IMPORT_TENANT
from router_data.import_rows import Row, RowMaker
from router_data.log import SEGMENTS, SegmentWriter
from router_data.logging_policy import LoggingPolicy
from router_data.progress import hidden
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
    steps = tqdm(contexts, desc="import", unit="request", disable=hidden(progress))
    made = (maker.rows(index, context, problems) for index, context in enumerate(steps))
    counts = _append_new((rows for rows in made if rows), log / SEGMENTS, known=known)
    return ImportReport(len(tables.requests), *counts, dict(problems))


def _append_new(
    made: Iterable[list[Row]], segments: Path, *, known: Mapping[str, str]
) -> tuple[int, int, int]:
    """Append what is not in the log yet; counts new decisions, new outcomes, known decisions."""
    n_decisions = n_outcomes = n_known = 0
    batch: list[Row] = []
    with SegmentWriter(segments, "import") as writer:
        for rows in made:
            decision = rows[-1]
            if known.get(decision["decision_id"]) == decision["versions"]["artifact"]:
                n_known += 1
                continue
            n_decisions += 1
            n_outcomes += len(rows) - 1
            batch += rows
            if len(batch) >= _BATCH:
                writer.append(batch)
                batch = []
        writer.append(batch)
    return n_decisions, n_outcomes, n_known
