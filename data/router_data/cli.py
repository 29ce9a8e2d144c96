"""The command line `router-data`."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated, cast

import typer

from router_data.catalog_cli import catalog_app
from router_data.cli_options import DEFAULT_STATE, State, existing, reported
from router_data.gateway_import import DEFAULT_TENANT, import_gateway_log
from router_data.importer import import_tables
from router_data.logging_policy import LoggingPolicy, PolicyName
from router_data.probe_cli import probe_command
from router_data.replay_cli import replay_command
from router_data.simulate_cli import simulate_command
from router_data.store import Store
from router_data.summary import summarize, summary_lines
from router_data.upkeep_cli import (
    compact_command,
    repair_command,
    retain_command,
    snapshot_command,
    verify_command,
)
from router_model.encoder import TABLE_FILE, StaticEncoder

app = typer.Typer(
    name="router-data",
    help="The log of decisions and outcomes: import, check, repair, compact, count, export.",
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(catalog_app, name="catalog")
app.command("probe")(probe_command)
app.command("replay")(replay_command)
app.command("simulate")(simulate_command)
app.command("compact")(compact_command)
app.command("verify")(verify_command)
app.command("repair")(repair_command)
app.command("retain")(retain_command)
app.command("snapshot")(snapshot_command)

Progress = Annotated[bool, typer.Option("--progress/--no-progress", help="Show progress bars.")]
Policy = Annotated[
    str, typer.Option(help="full, uniform, epsilon-greedy or biased: whose outcomes to log.")
]
GroupBy = Annotated[
    str | None, typer.Option(help="Column or metadata.KEY whose equal values stay together.")
]
Encoder = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        file_okay=False,
        help="Artifact whose text encoder to use; default the state's, else the shipped one.",
    ),
]
_MAX_SHOWN = 10
STARTER = Path(str(files("router_model"))) / "starter"
EXPORTS = {
    "decisions": "select * from decisions order by tenant, decision_id",
    "outcomes": "select * from outcomes order by tenant, decision_id, attempt",
    "rounds": "select * from rounds order by tenant, decision_id, attempt",
    "quarantine": "select * from quarantine order by tenant, decision_id, attempt",
}


@app.command("import")
def import_command(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Folder with the two tables.")
    ],
    state: State = DEFAULT_STATE,
    policy: Policy = "full",
    epsilon: Annotated[float, typer.Option(help="Exploration of a simulated policy.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of a simulated policy's draws.")] = 0,
    group_by: GroupBy = None,
    tenant: Annotated[str, typer.Option(help="Tenant the rows are logged for.")] = "import",
    encoder: Encoder = None,
    progress: Progress = True,
) -> None:
    """Turn requests.parquet and outcomes.parquet of a folder into log rows.

    Importing the same folder again adds nothing. Whatever can't be used is counted and listed.

    Example: router-data import ./bfcl --state ./var --policy epsilon-greedy --seed 1
    """
    with reported():
        chosen = LoggingPolicy(cast(PolicyName, policy), epsilon=epsilon, seed=seed)
        report = import_tables(
            folder,
            state,
            encoder=_encoder(encoder, state),
            policy=chosen,
            group_by=group_by,
            tenant=tenant,
            progress=progress,
        )
    typer.echo(
        f"{report.n_requests} requests: {report.n_decisions} decisions and {report.n_outcomes} "
        f"outcomes logged, {report.n_known} decisions were there already"
    )
    for reason, n in sorted(report.problems.items()):
        typer.echo(f"  {n} x {reason}")


@app.command("import-log")
def import_log_command(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="JSON lines, one call each.")
    ],
    state: State = DEFAULT_STATE,
    tenant: Annotated[str, typer.Option(help="Tenant of lines that name none.")] = DEFAULT_TENANT,
    encoder: Encoder = None,
    progress: Progress = True,
) -> None:
    """Turn the plain log of a gateway into log rows.

    A line is a JSON object with ts, request (the client's body) and model; optional are tenant,
    key, user, session, usage, cost_usd, latency_ms, adequate, reward, signals, error, and, for
    a gateway that draws its models, propensity and distribution. Importing again adds nothing.
    Lines that can't be used are counted, named, and kept in the log's quarantine.

    Example: router-data import-log ./gateway.jsonl --state ./var
    """
    with reported():
        report = import_gateway_log(
            file, state, encoder=_encoder(encoder, state), tenant=tenant, progress=progress
        )
    typer.echo(
        f"{report.n_lines} lines: {report.n_decisions} decisions with their outcomes logged, "
        f"{report.n_known} were there already"
    )
    for reason, n in report.problems.items():
        lines = report.bad_lines.get(reason, ())
        shown = ", ".join(str(line) for line in lines[:_MAX_SHOWN])
        more = ", ..." if len(lines) > _MAX_SHOWN else ""
        typer.echo(f"  {n} x {reason}" + (f" (line {shown}{more})" if lines else ""))
    if report.quarantine is not None:
        typer.echo(f"unusable lines are kept in {report.quarantine}", err=True)


@app.command()
def stats(state: State = DEFAULT_STATE) -> None:
    """Print rows, feedback, tenants, models, adequacy rates, spend, files and what is unusable.

    Example: router-data stats --state ./var
    """
    with reported():
        summary = summarize(existing(state))
    for line in summary_lines(summary):
        typer.echo(line)


@app.command()
def export(
    what: Annotated[str, typer.Argument(help="decisions, outcomes, rounds or quarantine.")],
    out: Annotated[Path, typer.Argument(help="File to write, ending in .parquet or .csv.")],
    state: State = DEFAULT_STATE,
) -> None:
    """Write decisions, outcomes, rounds or the quarantine to a file.

    Rounds are outcomes joined to decisions; the quarantine lists rows that are never learned
    from, with the reason.

    Example: router-data export rounds rounds.parquet --state ./var
    """
    if what not in EXPORTS:
        raise typer.BadParameter(f"got {what!r}, expected {', '.join(EXPORTS)}")
    if out.suffix not in (".parquet", ".csv"):
        raise typer.BadParameter(f"{out}: expected a name ending in .parquet or .csv")
    if not out.parent.is_dir():
        raise typer.BadParameter(f"{out.parent}: no such folder, expected an existing one")
    with reported(), Store(existing(state)) as store:
        n_rows = store.export(EXPORTS[what], (), out)
    typer.echo(f"{n_rows} rows written to {out}")


def _encoder(folder: Path | None, state: Path) -> StaticEncoder:
    """The encoder of the given folder, else of the artifact in use."""
    if folder is not None:
        return StaticEncoder.load(folder)
    used = state / "artifact"
    return StaticEncoder.load(used if (used / TABLE_FILE).is_file() else STARTER)
