"""The command `router-data replay`: every logged decision made again from its row."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from tqdm import tqdm

from router_data.progress import hidden
from router_data.store import Store
from router_model.artifact import STARTER, read_manifest
from router_model.catalog import load_catalog
from router_model.errors import ArtifactError, LogError, RouterError
from router_model.incumbent import NAME as INCUMBENT
from router_model.replay import FIRST_SCHEMA, Replayed, replay
from router_model.router import CATALOG_FILE, Router
from router_model.types import Versions

PAGE_ROWS = 2_000
N_SHOWN = 20
_FOLDERS = ("artifact", "artifact.v*", "challenger*")
# Where the caller kept its own model, what the router would have decided is replayed.
_LIVE = f"""
    (feedback = 'bandit'
     or (policy = '{INCUMBENT}' and json_extract_string(shadow, '$.model') is not null))
    and dataset is null and (? is null or decision_id = ?)
"""
_VERSIONS = f"""
    select versions.artifact as artifact, versions.catalog as "catalog", versions.policy as policy,
           coalesce("schema", 0) >= ? as is_whole, count(*) as n
    from decisions where {_LIVE} group by all order by all
"""
_PAGE = f"""
    select * from decisions
    where {_LIVE} and "schema" >= ? and (tenant, decision_id) > (?, ?)
    order by tenant, decision_id limit ?
"""


@dataclass
class ReplayReport:
    """What came of the decisions of a log; `elsewhere` counts those of versions not at hand."""

    n_identical: int = 0
    n_older: int = 0
    different: list[Replayed] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    elsewhere: Counter[Versions] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """The report as text, the first of what is wrong in full."""
        n = self.n_identical + len(self.different)
        shown = [f"{n} decisions replayed: {self.n_identical} identical, {len(self.different)} not"]
        for replayed in self.different[:N_SHOWN]:
            shown.append(f"  {replayed.decision_id}: {'; '.join(replayed.differences)}")
        for versions, count in sorted(self.elsewhere.items(), key=lambda item: -item[1]):
            shown.append(
                f"{count} not replayed: artifact {versions.artifact} with catalog "
                f"{versions.catalog} and policy {versions.policy} is not at hand"
            )
        if self.n_older:
            shown.append(f"{self.n_older} not replayed: logged before schema {FIRST_SCHEMA}")
        if self.unreadable:
            shown.append(f"{len(self.unreadable)} not replayed: their rows can't be used")
        return shown + [f"  {problem}" for problem in self.unreadable[:N_SHOWN]]


def replay_command(
    state: Annotated[
        Path,
        typer.Option("--state", envvar="ROUTER_STATE_DIR", help="Folder of the service's state."),
    ] = Path("var"),
    decision: Annotated[
        str | None, typer.Option(help="Only the decisions of this id, of any tenant.")
    ] = None,
    artifact: Annotated[
        list[Path] | None,
        typer.Option(exists=True, file_okay=False, help="A further artifact folder; repeatable."),
    ] = None,
    catalog: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The ROUTER_CATALOG of the service."),
    ] = None,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
) -> None:
    """Make every logged decision again from its row and compare; exit code 1 when one differs.

    Uses the artifacts in the state folder (artifact, artifact.v*, challenger*), the shipped
    starter and those named with --artifact, each for the decisions of its version.

    Example: router-data replay --state ./var --decision 01JD0000000000000000000000
    """
    if not state.is_dir():
        raise typer.BadParameter(f"--state: no folder {state}, expected the state of a service")
    folders = [*artifacts_in(state), STARTER, *(artifact or ())]
    try:
        report = replay_log(
            state, folders, overlay=catalog, decision_id=decision, progress=progress
        )
    except RouterError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    for line in report.lines():
        typer.echo(line)
    if report.different:
        raise typer.Exit(1)


def artifacts_in(state: Path) -> list[Path]:
    """The artifact folders of a state folder."""
    found = [path for pattern in _FOLDERS for path in sorted(state.glob(pattern))]
    return [path for path in found if path.is_dir()]


def replay_log(
    state: Path,
    folders: Sequence[Path],
    *,
    overlay: Path | None = None,
    decision_id: str | None = None,
    progress: bool = False,
) -> ReplayReport:
    """Replay what was logged with the versions that the folders hold.

    Raises LogError where `decision_id` is not in the log.
    """
    report = ReplayReport()
    with Store(state) as store:
        groups = store.query(_VERSIONS, [FIRST_SCHEMA, decision_id, decision_id])
        if decision_id is not None and not groups:
            raise LogError(f"decision: got {decision_id!r}, expected one that is in the log")
        report.n_older = sum(group["n"] for group in groups if not group["is_whole"])
        n_rows = sum(group["n"] for group in groups) - report.n_older
        wanted = {group["artifact"] for group in groups if group["is_whole"]}
        routers = _routers(folders, wanted, overlay)
        rows = _rows(store, decision_id)
        for row in tqdm(rows, total=n_rows, unit="decision", disable=hidden(progress)):
            _replay_row(row, routers, report)
    return report


def _replay_row(
    row: Mapping[str, Any], routers: Mapping[Versions, Router], report: ReplayReport
) -> None:
    if row["versions"] is None or None in row["versions"].values():
        report.unreadable.append(f"decision {row['decision_id']!r}: no versions")
        return
    versions = Versions(**row["versions"])
    router = routers.get(versions)
    if router is None:
        report.elsewhere[versions] += 1
        return
    try:
        replayed = replay(row, router)
    except LogError as error:
        report.unreadable.append(str(error))
        return
    if replayed.is_identical:
        report.n_identical += 1
    else:
        report.different.append(replayed)


def _routers(
    folders: Sequence[Path], wanted: set[str], overlay: Path | None
) -> dict[Versions, Router]:
    """The routers of the wanted artifact versions, with their own catalog and with the overlay."""
    routers: dict[Versions, Router] = {}
    loaded: set[str] = set()
    for folder in folders:
        try:
            version = read_manifest(folder).version
        except ArtifactError:  # no artifact, or one that is being written
            continue
        if version not in wanted or version in loaded:
            continue
        loaded.add(version)
        found = [Router.load(folder)]
        if overlay is not None:
            merged = load_catalog(folder / CATALOG_FILE, overlay)
            found.append(Router.load(folder, catalog=merged))
        routers |= {router.versions: router for router in found}
    return routers


def _rows(store: Store, decision_id: str | None) -> Iterator[dict[str, Any]]:
    """The decisions that can be replayed, by tenant and id, a page at a time."""
    after = ("", "")
    while True:
        params = [decision_id, decision_id, FIRST_SCHEMA, *after, PAGE_ROWS]
        page = store.query(_PAGE, params)
        for row in page:
            yield row | {
                name: msgspec.json.decode(row[name] or b"null")
                for name in ("candidates", "excluded", "shadow", "situation")
            }
        if len(page) < PAGE_ROWS:
            return
        after = (page[-1]["tenant"], page[-1]["decision_id"])
