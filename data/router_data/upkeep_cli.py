"""The commands that keep the log whole: compact, verify, repair, retain, snapshot."""

from pathlib import Path
from typing import Annotated

import typer

from router_data.cli_options import DEFAULT_STATE, State, existing, reported
from router_data.compact import GRACE_S
from router_data.compact import compact as compact_log
from router_data.inspection import Inspection, inspect
from router_data.log import log_dir
from router_data.repair import repair as repair_log
from router_data.retention import RetainReport
from router_data.retention import retain as retain_log
from router_data.set_aside import QUARANTINE
from router_data.snapshot import write_snapshot

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")]
Grace = Annotated[
    float, typer.Option(min=0.0, help="Seconds to keep files out of use for running queries.")
]
_MAX_SHOWN = 10


def compact_command(state: State = DEFAULT_STATE, grace_s: Grace = GRACE_S) -> None:
    """Fold finished segments into date-partitioned Parquet files.

    Safe while the service runs; segments that are still written are left for the next time.

    Example: router-data compact --state ./var
    """
    with reported():
        report = compact_log(existing(state), grace_s=grace_s)
    typer.echo(
        f"{report.n_segments} segments folded: {report.n_rows} rows in {report.n_files} files; "
        f"{report.n_skipped} segments still written, {report.n_deleted} old files deleted"
    )
    if report.n_corrupt:
        typer.echo(
            f"{report.n_corrupt} corrupt lines were left out and are kept in "
            f"{log_dir(state) / QUARANTINE}",
            err=True,
        )
    for path in report.damaged:
        typer.echo(f"damaged, not merged: {path}: run router-data repair", err=True)
    if report.n_corrupt or report.damaged:
        raise typer.Exit(1)


def verify_command(state: State = DEFAULT_STATE) -> None:
    """Check every line, every Parquet file and the manifest; exit code 1 on damage.

    Torn last lines and leftovers are traces of killed processes and no damage.

    Example: router-data verify --state ./var
    """
    with reported():
        found = inspect(existing(state))
    segments = found.segments
    typer.echo(
        f"{segments.n_segments} segments, {segments.n_rows} good rows, "
        f"{segments.n_torn} torn last lines; "
        f"{found.n_parquet_files} Parquet files, {found.n_parquet_rows} rows"
    )
    for name in found.leftovers:
        typer.echo(f"leftover: {name}")
    for line in _damage_lines(found):
        typer.echo(line, err=True)
    if not found.is_ok:
        typer.echo("router-data repair sets aside what is damaged", err=True)
        raise typer.Exit(1)


def _damage_lines(found: Inspection) -> list[str]:
    lines = []
    for name, numbers in found.segments.corrupt.items():
        shown = ", ".join(str(number) for number in numbers[:_MAX_SHOWN])
        more = ", ..." if len(numbers) > _MAX_SHOWN else ""
        lines.append(f"corrupt: {name}: {len(numbers)} lines ({shown}{more})")
    if found.manifest is not None:
        lines.append(f"manifest: {found.manifest}")
    return lines + [f"damaged: {path}: {problem}" for path, problem in found.damaged.items()]


def repair_command(state: State = DEFAULT_STATE, is_dry_run: DryRun = False) -> None:
    """Set aside what is damaged, so that everything else can be read again.

    Corrupt lines and damaged files go to the log's quarantine, each with its reason; the manifest
    is made anew where it can't be read. Safe while the service runs: segments that are still
    written are left (exit code 1). Doing it again does nothing.

    Example: router-data repair --state ./var --dry-run
    """
    with reported():
        report = repair_log(existing(state), is_dry_run=is_dry_run)
    for action in report.actions:
        typer.echo(f"would be: {action}" if is_dry_run else action)
    if not report.actions and not report.waiting:
        typer.echo("nothing to repair")
    if report.n_lines or report.n_lost_rows:
        typer.echo(
            f"{report.n_lines} lines and Parquet files of {report.n_lost_rows} rows set aside; "
            f"{report.n_back} segments and merged files are read instead"
        )
    for name in report.waiting:
        typer.echo(f"{name}: damaged, but still written: repair again when it is closed", err=True)
    if report.waiting:
        raise typer.Exit(1)


def retain_command(
    days: Annotated[int, typer.Option(min=0, help="How many days to keep besides today.")],
    state: State = DEFAULT_STATE,
    outcomes_days: Annotated[
        int | None, typer.Option(min=0, help="The same for outcomes; default as --days.")
    ] = None,
    quarantine_days: Annotated[
        int | None, typer.Option(min=0, help="The same for the quarantine; default as --days.")
    ] = None,
    grace_s: Grace = GRACE_S,
    is_dry_run: DryRun = False,
) -> None:
    """Drop whole days that are older than may be kept, and old pieces of the quarantine.

    Dropped days are not read any more; their files are deleted by the next compaction or retain
    after the grace time. Rows in segments are in no day until they are compacted.

    Example: router-data retain --state ./var --days 90 --dry-run
    """
    with reported():
        report = retain_log(
            existing(state),
            days=days,
            outcomes_days=outcomes_days,
            quarantine_days=quarantine_days,
            grace_s=grace_s,
            is_dry_run=is_dry_run,
        )
    for line in _retain_lines(report, is_dry_run=is_dry_run):
        typer.echo(line)


def _retain_lines(report: RetainReport, *, is_dry_run: bool) -> list[str]:
    did = "would be dropped" if is_dry_run else "dropped"
    lines = [f"{did}: {file.path}, {file.n_rows} rows" for file in report.dropped]
    lines += [f"{did}: {QUARANTINE}/{path.name}" for path in report.quarantine]
    total = f"{len(report.dropped)} files of {report.n_rows} rows {did}"
    lines.append(f"{total}, {len(report.quarantine)} pieces of the quarantine")
    if report.n_deleted:
        lines.append(f"{report.n_deleted} files that were out of use are deleted")
    if report.n_unfolded:
        lines.append(f"{report.n_unfolded} segments are not compacted yet: their rows are kept")
    return lines


def snapshot_command(
    out: Annotated[Path, typer.Argument(help="DuckDB file to write, ending in .duckdb.")],
    state: State = DEFAULT_STATE,
    until_ms: Annotated[
        int | None,
        typer.Option(min=0, help="Only rows from before this Unix time; default now."),
    ] = None,
) -> None:
    """Write the log as it is now into one DuckDB file.

    Safe while the service writes and a compaction runs: all tables are of one moment, each line
    and file is checked, and the file has its name only when it is whole.

    Example: router-data snapshot log.duckdb --state ./var
    """
    if out.suffix != ".duckdb":
        raise typer.BadParameter(f"{out}: expected a name ending in .duckdb")
    if not out.parent.is_dir():
        raise typer.BadParameter(f"{out.parent}: no such folder, expected an existing one")
    with reported():
        report = write_snapshot(existing(state), out, until_ms=until_ms)
    rows = ", ".join(f"{n} {name}" for name, n in report.n_rows.items())
    typer.echo(f"{out}: {rows}; until {report.until_ms}; sha256 {report.sha256}")
    if report.n_corrupt:
        typer.echo(f"{report.n_corrupt} corrupt lines were left out", err=True)
