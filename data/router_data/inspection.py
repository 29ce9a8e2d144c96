"""Finds everything that is wrong with a log folder, without changing it."""

from dataclasses import dataclass
from pathlib import Path

from router_data.checked import MISSING, UNREADABLE, hash_problem, sha256_of
from router_data.leftovers import leftovers, unlisted_rows
from router_data.log import VerifyReport, log_dir, verify
from router_data.manifest import Manifest, ParquetFile, parquet_paths, read_manifest
from router_data.store import decoded_rows
from router_model.errors import LogError

UNLISTED = "not in the manifest, though its rows are nowhere else"
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a log folder holds and what is wrong with it.

    `damaged` has the problem by Parquet file, relative to the log folder; `manifest` is the problem
    with the manifest. `leftovers` are the harmless traces of a crash, or of a compaction that is
    under way.
    """

    segments: VerifyReport
    manifest: str | None
    damaged: dict[str, str]
    n_parquet_files: int
    n_parquet_rows: int
    leftovers: tuple[str, ...]

    @property
    def is_ok(self) -> bool:
        """True when nothing is damaged; leftovers and torn last lines are no damage."""
        return self.segments.is_ok and self.manifest is None and not self.damaged


def inspect(path: Path) -> Inspection:
    """Check every line of every segment, every Parquet file and the manifest."""
    log = log_dir(path)
    for _ in range(_ATTEMPTS):
        before = _manifest(log)
        found = _inspect(log, *before)
        # A compaction may have replaced files while they were looked at.
        if found.is_ok or _manifest(log) == before:
            break
    return found


def parquet_problem(log: Path, file: ParquetFile) -> str | None:
    """What is wrong with a listed Parquet file: missing, altered, unreadable, or other rows."""
    problem = hash_problem(log, file)
    if problem is not None:
        return problem
    n_rows = decoded_rows(log / file.path)
    if n_rows is None:
        return UNREADABLE
    return None if n_rows == file.n_rows else f"has {n_rows} rows, the manifest says {file.n_rows}"


def listing_of(log: Path) -> tuple[tuple[ParquetFile, ...], dict[str, str]]:
    """The Parquet files on disk as a manifest would list them, and those that can't be read."""
    files: list[ParquetFile] = []
    unreadable: dict[str, str] = {}
    for path in parquet_paths(log):
        name = str(path.relative_to(log))
        if (file := listed(log, path)) is None:
            unreadable[name] = UNREADABLE
        else:
            files.append(file)
    return tuple(files), unreadable


def listed(log: Path, path: Path) -> ParquetFile | None:
    """A Parquet file as a manifest would list it, taken as it is; None where it can't be read."""
    n_rows = decoded_rows(path)
    if n_rows is None:
        return None
    return ParquetFile(
        path=str(path.relative_to(log)),
        kind=path.parent.parent.name.removeprefix("kind="),
        date=path.parent.name.removeprefix("date="),
        n_rows=n_rows,
        sha256=sha256_of(path),
    )


def _manifest(log: Path) -> tuple[Manifest | None, str | None]:
    try:
        return read_manifest(log), None
    except LogError as error:
        return None, str(error)


def _inspect(log: Path, manifest: Manifest | None, problem: str | None) -> Inspection:
    if manifest is None:
        files, damaged = listing_of(log)
        left: list[Path] = []
    else:
        files = manifest.files
        found = {file.path: parquet_problem(log, file) for file in files}
        damaged = {name: said for name, said in found.items() if said is not None}
        unlisted = unlisted_rows(log, manifest)
        damaged |= {str(path.relative_to(log)): UNLISTED for path in unlisted}
        left = leftovers(log, manifest)
    return Inspection(
        segments=verify(log),
        manifest=problem,
        damaged=damaged,
        n_parquet_files=len(files),
        n_parquet_rows=sum(file.n_rows for file in files if damaged.get(file.path) != MISSING),
        leftovers=tuple(sorted(str(path.relative_to(log)) for path in left)),
    )
