"""Makes a damaged log readable again, and keeps everything that it takes out.

Order of the steps, each of which may be the last one before a crash; doing it again goes on:

1. the manifest, if it can't be read, is set aside and made anew from the Parquet files;
2. damaged Parquet files are set aside, and what is still on disk of the segments and files
   they were made of is read again (rows that are there twice are one row in the views);
3. corrupt lines are set aside, then their segment is replaced by one without them;
4. leftovers of crashes are deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from router_data.checked import UNREADABLE
from router_data.inspection import listed, listing_of, parquet_problem
from router_data.leftovers import delete_unused, leftovers, unlisted_rows
from router_data.log import (
    SEGMENTS,
    frame_body,
    is_being_written,
    log_dir,
    scan_lines,
    segment_paths,
)
from router_data.manifest import (
    MANIFEST,
    Manifest,
    ParquetFile,
    is_damaged,
    only_writer,
    read_manifest,
    write_manifest,
)
from router_data.set_aside import set_aside_file, set_aside_lines, write_durably
from router_model.errors import LogError

DAMAGED = "damaged, its rows can't be trusted"


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did, or would do; one sentence each in `actions`.

    `n_lines` corrupt lines were set aside. `n_lost_rows` were listed for Parquet files that were
    set aside or missing; `n_back` segments and merged files are read again instead. `waiting`
    segments are damaged too, but a living writer holds them.
    """

    actions: tuple[str, ...]
    n_lines: int
    n_lost_rows: int
    n_back: int
    waiting: tuple[str, ...]


def repair(path: Path, *, is_dry_run: bool = False) -> RepairReport:
    """Set aside what is damaged in a log (or state) folder; refuses while a compaction runs.

    Nothing is deleted but leftovers whose rows are elsewhere: damaged files and lines are in
    `quarantine/` afterwards, each with its reason. Doing it again does nothing.
    """
    log = log_dir(path)
    if not log.is_dir():
        raise LogError(f"{log}: no such log folder")
    with only_writer(log):
        try:
            return _Repair(log, is_dry_run=is_dry_run).run()
        except OSError as error:
            raise LogError(f"{log}: can't be repaired: {error}") from error


class _Repair:
    """One run over a log folder."""

    def __init__(self, log: Path, *, is_dry_run: bool) -> None:
        self.log = log
        self.is_dry_run = is_dry_run
        self.actions: list[str] = []
        self.n_lines = 0
        self.n_lost_rows = 0
        self.n_back = 0
        self.waiting: list[str] = []

    def run(self) -> RepairReport:
        manifest, is_new = self._readable_manifest()
        found = self._without_damaged(self._with_unlisted(manifest))
        if (is_new or found != manifest) and not self.is_dry_run:
            write_manifest(self.log, found)
        for path in segment_paths(self.log):
            self._clean(path)
        self._delete_leftovers(found)
        return RepairReport(
            tuple(dict.fromkeys(self.actions)),
            n_lines=self.n_lines,
            n_lost_rows=self.n_lost_rows,
            n_back=self.n_back,
            waiting=tuple(self.waiting),
        )

    def _readable_manifest(self) -> tuple[Manifest, bool]:
        if not is_damaged(self.log):
            return read_manifest(self.log), False
        files, unreadable = listing_of(self.log)
        n_rows = sum(file.n_rows for file in files)
        self.actions.append(
            f"{MANIFEST}: made anew from {len(files)} Parquet files with {n_rows} rows; "
            "their content is taken as it is"
        )
        for name, problem in unreadable.items():
            self._set_aside(self.log / name, reason=problem, n_rows=None)
        if not self.is_dry_run and (self.log / MANIFEST).exists():
            set_aside_file(self.log, self.log / MANIFEST, reason="can't be read")
        return Manifest(files=files), True

    def _with_unlisted(self, manifest: Manifest) -> Manifest:
        """The manifest with Parquet files whose rows are nowhere else."""
        added: list[ParquetFile] = []
        for path in unlisted_rows(self.log, manifest):
            if (file := listed(self.log, path)) is None:
                self._set_aside(path, reason=UNREADABLE, n_rows=None)
                continue
            added.append(file)
            self.actions.append(f"{file.path}: listed again, {file.n_rows} rows")
        return msgspec.structs.replace(manifest, files=(*manifest.files, *added))

    def _without_damaged(self, manifest: Manifest) -> Manifest:
        problems = {file.path: parquet_problem(self.log, file) for file in manifest.files}
        damaged = [file for file in manifest.files if problems[file.path] is not None]
        if not damaged:
            return manifest
        for file in damaged:
            self.n_lost_rows += file.n_rows
            reason = f"{problems[file.path]}: {DAMAGED}"
            self._set_aside(self.log / file.path, reason=reason, n_rows=file.n_rows)
        sources, retired = self._sources_again(manifest, damaged)
        good = (file for file in manifest.files if file not in damaged)
        return msgspec.structs.replace(
            manifest,
            files=(*good, *sources),
            folded={},
            retired=retired,
        )

    def _sources_again(
        self, manifest: Manifest, damaged: list[ParquetFile]
    ) -> tuple[list[ParquetFile], Mapping[str, int]]:
        """Merged files of the same days that are still there, and the other retired files."""
        folders = {str(Path(file.path).parent) for file in damaged}
        again: list[ParquetFile] = []
        for name in manifest.retired:
            path = self.log / name
            if str(Path(name).parent) in folders and path.exists():
                file = listed(self.log, path)
                again += [file] if file is not None else []
        n_segments = sum((self.log / SEGMENTS / name).exists() for name in manifest.folded)
        self.n_back += n_segments + len(again)
        if self.n_back:
            self.actions.append(
                f"{n_segments} folded segments and {len(again)} merged files are read again"
            )
        names = {file.path for file in again}
        return again, {name: at for name, at in manifest.retired.items() if name not in names}

    def _clean(self, path: Path) -> None:
        data = path.read_bytes()
        scan = scan_lines(path, data)
        if not scan.corrupt_lines:
            return
        name = str(path.relative_to(self.log))
        if is_being_written(path):
            self.waiting.append(name)
            return
        self.n_lines += len(scan.corrupt_lines)
        self.actions.append(
            f"{name}: {len(scan.corrupt_lines)} corrupt lines set aside, {len(scan.rows)} rows kept"
        )
        if not self.is_dry_run:
            set_aside_lines(self.log, scan, data)
            write_durably(path, b"".join(frame_body(body) for body in scan.rows))

    def _set_aside(self, path: Path, *, reason: str, n_rows: int | None) -> None:
        name = str(path.relative_to(self.log))
        said = "" if n_rows is None else f", {n_rows} rows"
        self.actions.append(f"{name}: set aside{said}: {reason}")
        if not self.is_dry_run:
            set_aside_file(self.log, path, reason=reason, n_rows=n_rows)

    def _delete_leftovers(self, manifest: Manifest) -> None:
        left = leftovers(self.log, manifest)
        self.actions += [f"{path.relative_to(self.log)}: leftover deleted" for path in left]
        if not self.is_dry_run:
            delete_unused(self.log, manifest, before_ms=0)
